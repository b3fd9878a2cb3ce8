//! The form that the URIs of key services share: `scheme://NAME?name=value&name=value`.
//!
//! In: the text after `scheme:`. Out: the name, and the decoded values of known parameters. Errors
//! name parameters and never repeat values: one may be a secret in a wrong place.

/// Why a text names no key in a key service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceUriError {
    #[error("'{scheme}:' is not followed by {expected}")]
    Form { scheme: &'static str, expected: &'static str },
    #[error("'{scheme}:': each parameter is written 'name=value', and one has no '=' or no value")]
    NoValue { scheme: &'static str },
    #[error("'{scheme}:': the parameter '{name}' stands twice")]
    Twice { scheme: &'static str, name: &'static str },
    #[error(
        "'{scheme}:': '{name}' is no parameter that is understood here; {} are{}",
        known.join(", "),
        Hint(*.suggestion)
    )]
    Unknown {
        scheme: &'static str,
        name: String,
        known: &'static [&'static str],
        suggestion: Option<&'static str>,
    },
    #[error(
        "'{scheme}:': the value of '{name}' has a '%' without two hexadecimal digits, or is not UTF-8"
    )]
    Encoding { scheme: &'static str, name: &'static str },
    #[error("'{scheme}:': '{name}' must be {expected}")]
    Value { scheme: &'static str, name: &'static str, expected: &'static str },
    #[error("'{scheme}:': '{name}' goes with '{with}'")]
    Without { scheme: &'static str, name: &'static str, with: &'static str },
}

/// What stands between `//` and `?`, and after it.
pub(in crate::keys) fn authority_and_query(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix("//")?;
    Some(text.split_once('?').unwrap_or((text, "")))
}

/// The parameters of a URI, each at most once.
#[derive(Debug)]
pub(in crate::keys) struct Query {
    scheme: &'static str,
    values: Vec<(&'static str, String)>,
}

impl Query {
    pub(in crate::keys) fn parse(
        scheme: &'static str,
        text: &str,
        known: &'static [&'static str],
    ) -> Result<Self, ServiceUriError> {
        let mut values: Vec<(&'static str, String)> = Vec::new();
        for parameter in text.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter
                .split_once('=')
                .filter(|(_, value)| !value.is_empty())
                .ok_or(ServiceUriError::NoValue { scheme })?;
            let name = *known.iter().find(|known| **known == name).ok_or_else(|| {
                let suggestion = nearest(name, known);
                ServiceUriError::Unknown { scheme, name: name.to_owned(), known, suggestion }
            })?;
            if values.iter().any(|(earlier, _)| *earlier == name) {
                return Err(ServiceUriError::Twice { scheme, name });
            }
            let value = decode(value).ok_or(ServiceUriError::Encoding { scheme, name })?;
            values.push((name, value));
        }
        Ok(Self { scheme, values })
    }

    /// Takes a value out.
    pub(in crate::keys) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.values.iter().position(|(known, _)| *known == name)?;
        Some(self.values.remove(at).1)
    }

    /// Takes a value out as what `parse` makes of it.
    pub(in crate::keys) fn take_as<T>(
        &mut self,
        name: &'static str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ServiceUriError> {
        let scheme = self.scheme;
        self.take(name)
            .map(|value| parse(&value).ok_or(ServiceUriError::Value { scheme, name, expected }))
            .transpose()
    }

    /// What was not taken has no place beside the rest, but beside `with`.
    pub(in crate::keys) fn refuse_rest(self, with: &'static str) -> Result<(), ServiceUriError> {
        let scheme = self.scheme;
        match self.values.first() {
            Some((name, _)) => Err(ServiceUriError::Without { scheme, name, with }),
            None => Ok(()),
        }
    }
}

fn nearest(name: &str, known: &'static [&'static str]) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(known, &name), *known))
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map(|(_, known)| known)
}

/// RFC 3986, 2.1.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, others @ ..] = rest {
        rest = others;
        if *first == b'%' {
            let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok())?;
            bytes.extend(hex::decode(digits).ok()?);
            rest = &rest[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

struct Hint(Option<&'static str>);

impl std::fmt::Display for Hint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(known) => write!(f, "; did you mean '{known}'?"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["mount", "version"];

    #[test]
    fn parameters_are_known_decoded_and_stand_once() {
        let mut query = Query::parse("s", "mount=a%2Fb+c&version=3", KNOWN).unwrap();
        assert_eq!(query.take("mount").as_deref(), Some("a/b+c"));
        assert_eq!(query.take("mount"), None);
        let error = query.refuse_rest("x=y").unwrap_err();
        assert_eq!(error.to_string(), "'s:': 'version' goes with 'x=y'");
        for (text, message) in [
            (
                "mount",
                "'s:': each parameter is written 'name=value', and one has no '=' or no value",
            ),
            (
                "mount=",
                "'s:': each parameter is written 'name=value', and one has no '=' or no value",
            ),
            ("mount=a&mount=b", "'s:': the parameter 'mount' stands twice"),
            (
                "mout=a",
                "'s:': 'mout' is no parameter that is understood here; mount, version are; did \
                 you mean 'mount'?",
            ),
            (
                "mount=%1",
                "'s:': the value of 'mount' has a '%' without two hexadecimal digits, or is not \
                 UTF-8",
            ),
            (
                "mount=%ff",
                "'s:': the value of 'mount' has a '%' without two hexadecimal digits, or is not \
                 UTF-8",
            ),
        ] {
            assert_eq!(Query::parse("s", text, KNOWN).unwrap_err().to_string(), message);
        }
    }
}
