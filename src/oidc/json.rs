//! JSON bytes -> a value in which nothing is said twice.
//!
//! In: bytes that a stranger wrote. Out: a `serde_json` object, or which bound it broke. Knows
//! nothing of tokens and keys.
//!
//! Two readers of an object with a duplicate key may each believe another half of it (RFC 8259,
//! section 4), so duplicates are refused at every level, as RFC 7519, section 4, allows.

use std::cell::Cell;
use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::error::JsonFault;

/// Parses one object that holds at most `max_values` values, nested at most [`MAX_DEPTH`] deep.
pub(super) fn parse_object(
    bytes: &[u8],
    max_values: usize,
) -> Result<Map<String, Value>, JsonFault> {
    let budget = Budget { values_left: Cell::new(max_values), fault: Cell::new(None) };
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let parsed = StrictValue { budget: &budget, depth_left: MAX_DEPTH }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    match parsed {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(JsonFault::NotAnObject),
        Err(_) => Err(budget.fault.take().unwrap_or(JsonFault::Syntax)),
    }
}

/// Objects and arrays within one another; far more than any issuer writes, far less than a stack.
const MAX_DEPTH: usize = 16;

/// What is left, and why the parse was broken off. serde carries only text in its errors, and
/// ours must be a closed list.
struct Budget {
    values_left: Cell<usize>,
    fault: Cell<Option<JsonFault>>,
}

impl Budget {
    fn broken<E: de::Error>(&self, fault: JsonFault) -> E {
        self.fault.set(Some(fault));
        E::custom("refused")
    }

    fn spend<E: de::Error>(&self) -> Result<(), E> {
        match self.values_left.get().checked_sub(1) {
            Some(left) => {
                self.values_left.set(left);
                Ok(())
            }
            None => Err(self.broken(JsonFault::TooManyValues)),
        }
    }
}

#[derive(Clone, Copy)]
struct StrictValue<'b> {
    budget: &'b Budget,
    depth_left: usize,
}

impl<'b> StrictValue<'b> {
    fn inner<E: de::Error>(self) -> Result<StrictValue<'b>, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left, ..self }),
            None => Err(self.budget.broken(JsonFault::TooDeep)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for StrictValue<'_> {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.budget.spend()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictValue<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut array = Vec::new();
        while let Some(element) = elements.next_element_seed(inner)? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(self.budget.broken(JsonFault::DuplicateKey));
            }
            let value = members.next_value_seed(inner)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fault(text: &str) -> JsonFault {
        parse_object(text.as_bytes(), 100).expect_err(text)
    }

    #[test]
    fn an_object_is_read_as_serde_json_reads_it() {
        let text = r#"{"a":[1,-2,2.5,true,null,"x\n"],"b":{"c":{}}}"#;
        let strict = Value::Object(parse_object(text.as_bytes(), 100).unwrap());
        assert_eq!(strict, serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn nt_25_duplicate_keys_are_refused_at_every_level() {
        assert_eq!(fault(r#"{"iss":"a","iss":"b"}"#), JsonFault::DuplicateKey);
        assert_eq!(fault(r#"{"iss":"a","\u0069ss":"b"}"#), JsonFault::DuplicateKey);
        assert_eq!(fault(r#"{"a":{"b":1,"b":1}}"#), JsonFault::DuplicateKey);
        assert_eq!(fault(r#"{"a":[{"b":1,"b":1}]}"#), JsonFault::DuplicateKey);
    }

    #[test]
    fn nt_01_depth_and_number_of_values_are_bounded() {
        let deep = |levels: usize| {
            format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1))
        };
        assert!(parse_object(deep(MAX_DEPTH).as_bytes(), 100).is_ok());
        assert_eq!(fault(&deep(MAX_DEPTH + 1)), JsonFault::TooDeep);
        assert_eq!(fault(&deep(10_000)), JsonFault::TooDeep);

        let members: Vec<String> = (0..100_000).map(|i| format!("\"k{i}\":0")).collect();
        assert_eq!(fault(&format!("{{{}}}", members.join(","))), JsonFault::TooManyValues);
        // The object itself is a value too.
        assert!(parse_object(format!("{{{}}}", members[..99].join(",")).as_bytes(), 100).is_ok());
        assert_eq!(fault(&format!("{{{}}}", members[..100].join(","))), JsonFault::TooManyValues);
    }

    #[test]
    fn whatever_is_not_one_whole_object_is_refused() {
        for text in
            ["", "{", "{} {}", "{}x", "{'a':1}", "{\"a\":NaN}", "{\"a\":1e400}", "\u{feff}{}"]
        {
            assert_eq!(fault(text), JsonFault::Syntax, "{text}");
        }
        for text in ["[]", "\"a\"", "1", "null"] {
            assert_eq!(fault(text), JsonFault::NotAnObject, "{text}");
        }
        assert_eq!(parse_object(b"{\"a\":\"\xff\"}", 100), Err(JsonFault::Syntax));
    }

    proptest! {
        #[test]
        fn nt_02_no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = parse_object(&bytes, 100);
        }
    }
}
