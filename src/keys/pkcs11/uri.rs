//! `pkcs11:` URIs (RFC 7512), as far as they name a private key.
//!
//! In: the text after `pkcs11:`. Out: a [`Pkcs11Uri`], or what is wrong with the text. Reads
//! nothing else. Errors name attributes and never repeat values: one may be a PIN in a wrong place.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// Which token, which key on it, and how both are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pkcs11Uri {
    /// What the token must be.
    pub token: TokenMatch,
    /// CKA_LABEL of the key.
    pub object: Option<String>,
    /// CKA_ID of the key.
    pub id: Option<Vec<u8>>,
    /// The library that speaks to the token.
    pub module_path: PathBuf,
    /// A file whose first line is the PIN.
    pub pin_source: Option<PathBuf>,
}

/// What a token must be; what is `None` may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenMatch {
    pub token: Option<String>,
    pub manufacturer: Option<String>,
    pub model: Option<String>,
    pub serial: Option<String>,
    pub slot_id: Option<u64>,
}

/// Why a text names no key on a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Pkcs11UriError {
    #[error("'pkcs11:': each attribute is written 'name=value', and one has no '='")]
    NoValue,
    #[error("'pkcs11:': the attribute '{name}' stands twice")]
    Twice { name: &'static str },
    #[error(
        "'pkcs11:': '{name}' is no attribute that is understood here; {} are{}",
        known(),
        Hint(*.suggestion)
    )]
    Unknown { name: String, suggestion: Option<&'static str> },
    #[error("'pkcs11:': '{name}' stands {}", if *.in_query { "before '?'" } else { "after '?'" })]
    Misplaced { name: &'static str, in_query: bool },
    #[error(
        "'pkcs11:': the value of '{name}' has a character that must be percent-encoded, or a '%' \
         without two hexadecimal digits"
    )]
    Encoding { name: &'static str },
    #[error("'pkcs11:': the value of '{name}' must be {expected}")]
    Value { name: &'static str, expected: &'static str },
    #[error(
        "'pkcs11:': 'pin-value' is refused, because secrets do not belong in a configuration; use \
         'passphrase: env:NAME', 'passphrase: file:PATH' or 'pin-source=file:PATH'"
    )]
    PinValue,
    #[error("'pkcs11:': no library is named; add '?module-path=/path/of/the/library.so'")]
    NoModule,
}

impl Pkcs11Uri {
    /// The same key with relative paths taken from `directory`.
    #[must_use]
    pub fn resolved_in(self, directory: &Path) -> Self {
        Self {
            module_path: directory.join(self.module_path),
            pin_source: self.pin_source.map(|path| directory.join(path)),
            ..self
        }
    }

    fn set(&mut self, name: &'static str, value: Vec<u8>) -> Result<(), Pkcs11UriError> {
        let expected = |expected| Pkcs11UriError::Value { name, expected };
        if name == "id" {
            return put(&mut self.id, name, value);
        }
        let text = String::from_utf8(value).map_err(|_| expected("UTF-8"))?;
        match name {
            "token" => put(&mut self.token.token, name, text),
            "manufacturer" => put(&mut self.token.manufacturer, name, text),
            "model" => put(&mut self.token.model, name, text),
            "serial" => put(&mut self.token.serial, name, text),
            "slot-id" => {
                let number = text.parse().map_err(|_| expected("a number"))?;
                put(&mut self.token.slot_id, name, number)
            }
            "object" => put(&mut self.object, name, text),
            "type" if text == "private" => Ok(()),
            "type" => Err(expected("'private': only private keys sign")),
            "pin-source" => {
                let path = text.strip_prefix("file:").unwrap_or_default();
                let path = path.strip_prefix("//").unwrap_or(path);
                if path.is_empty() {
                    return Err(expected("file:PATH"));
                }
                put(&mut self.pin_source, name, PathBuf::from(path))
            }
            // The last of the known.
            _ if text.is_empty() => Err(expected("the path of a library")),
            _ if self.module_path != Path::new("") => Err(Pkcs11UriError::Twice { name }),
            _ => {
                self.module_path = PathBuf::from(text);
                Ok(())
            }
        }
    }
}

impl FromStr for Pkcs11Uri {
    type Err = Pkcs11UriError;

    fn from_str(text: &str) -> Result<Self, Pkcs11UriError> {
        let mut uri = Self {
            token: TokenMatch::default(),
            object: None,
            id: None,
            module_path: PathBuf::new(),
            pin_source: None,
        };
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        for (attributes, separator, in_query) in [(path, ';', false), (query, '&', true)] {
            for attribute in attributes.split(separator).filter(|text| !text.is_empty()) {
                let (name, value) = attribute.split_once('=').ok_or(Pkcs11UriError::NoValue)?;
                let name = known_name(name, in_query)?;
                let value = decode(value, in_query).ok_or(Pkcs11UriError::Encoding { name })?;
                uri.set(name, value)?;
            }
        }
        if uri.module_path == Path::new("") { Err(Pkcs11UriError::NoModule) } else { Ok(uri) }
    }
}

/// Without what follows `?`: how the key is called, not how it is reached.
impl fmt::Display for Pkcs11Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TokenMatch { token, manufacturer, model, serial, slot_id } = &self.token;
        let slot_id = slot_id.map(|number| number.to_string());
        let text = |value: &Option<String>| value.as_ref().map(|text| encode(text.as_bytes()));
        let attributes = [
            ("token", text(token)),
            ("manufacturer", text(manufacturer)),
            ("model", text(model)),
            ("serial", text(serial)),
            ("slot-id", slot_id),
            ("object", text(&self.object)),
            ("id", self.id.as_ref().map(|id| encode_all(id))),
        ];
        let given = attributes.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        let given: Vec<String> = given.map(|(name, value)| format!("{name}={value}")).collect();
        write!(f, "pkcs11:{}", given.join(";"))
    }
}

impl fmt::Display for TokenMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slot_id = self.slot_id.map(|number| number.to_string());
        let wanted: Vec<String> = [
            ("token", &self.token),
            ("manufacturer", &self.manufacturer),
            ("model", &self.model),
            ("serial", &self.serial),
            ("slot-id", &slot_id),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name} '{}'", value.as_ref()?)))
        .collect();
        if wanted.is_empty() { f.write_str("any") } else { f.write_str(&wanted.join(", ")) }
    }
}

fn put<T>(place: &mut Option<T>, name: &'static str, value: T) -> Result<(), Pkcs11UriError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Pkcs11UriError::Twice { name }),
    }
}

fn known_name(name: &str, in_query: bool) -> Result<&'static str, Pkcs11UriError> {
    if name == "pin-value" {
        return Err(Pkcs11UriError::PinValue);
    }
    let (here, there) = if in_query { (QUERY, PATH) } else { (PATH, QUERY) };
    let find = |names: &[&'static str]| names.iter().find(|known| **known == name).copied();
    if let Some(known) = find(here) {
        return Ok(known);
    }
    if let Some(name) = find(there) {
        return Err(Pkcs11UriError::Misplaced { name, in_query });
    }
    let suggestion = PATH
        .iter()
        .chain(QUERY)
        .map(|known| (strsim::damerau_levenshtein(known, &name.to_ascii_lowercase()), *known))
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map(|(_, known)| known);
    Err(Pkcs11UriError::Unknown { name: name.to_owned(), suggestion })
}

/// RFC 7512, 2.3: `pk11-pchar` and `&` in the path, `pk11-qchar` in the query.
fn decode(text: &str, in_query: bool) -> Option<Vec<u8>> {
    let more: &[u8] = if in_query { b"/?|" } else { b"&" };
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let value = digit(bytes.next())? * 16 + digit(bytes.next())?;
            decoded.push(u8::try_from(value).ok()?);
        } else if is_unreserved(byte) || b":[]@!$'()*+,=".contains(&byte) || more.contains(&byte) {
            decoded.push(byte);
        } else {
            return None;
        }
    }
    Some(decoded)
}

fn encode(bytes: &[u8]) -> String {
    let one = |byte: &u8| match is_unreserved(*byte) {
        true => char::from(*byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    bytes.iter().map(one).collect()
}

/// RFC 7512, 2.3: an `id` is best written in percent-encoding throughout.
fn encode_all(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02X}")).collect()
}

/// RFC 3986, 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn known() -> String {
    format!("{} and, after '?', {}", PATH.join(", "), QUERY.join(", "))
}

struct Hint(Option<&'static str>);

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(known) => write!(f, "; did you mean '{known}'?"),
            None => Ok(()),
        }
    }
}

const PATH: &[&str] =
    &["token", "manufacturer", "model", "serial", "slot-id", "object", "id", "type"];
const QUERY: &[&str] = &["module-path", "pin-source"];

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Pkcs11Uri, Pkcs11UriError> {
        text.parse()
    }

    #[test]
    fn a_uri_with_every_attribute_is_understood() {
        let uri = parsed(
            "token=My%20Token;manufacturer=Acme;model=M1;serial=00ff;slot-id=7;object=ca%3b;\
             id=%01%FFa;type=private?module-path=lib/p11.so&pin-source=file:/run/pin",
        )
        .unwrap();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            uri.token,
            TokenMatch {
                token: text("My Token"),
                manufacturer: text("Acme"),
                model: text("M1"),
                serial: text("00ff"),
                slot_id: Some(7),
            }
        );
        assert_eq!(uri.object.as_deref(), Some("ca;"));
        assert_eq!(uri.id.as_deref(), Some(&[1, 0xff, b'a'][..]));
        let uri = uri.resolved_in(Path::new("/etc/mayfly"));
        assert_eq!(uri.module_path, Path::new("/etc/mayfly/lib/p11.so"));
        assert_eq!(uri.pin_source.as_deref(), Some(Path::new("/run/pin")));
    }

    #[test]
    fn a_name_in_messages_says_which_key_and_not_how_it_is_unlocked() {
        let text = "token=My%20Token;slot-id=7;object=ca;id=%01a?module-path=/m&pin-source=file:/p";
        let uri = parsed(text).unwrap();
        assert_eq!(uri.to_string(), "pkcs11:token=My%20Token;slot-id=7;object=ca;id=%01%61");
        let again = parsed(&format!("{}?module-path=/m", &uri.to_string()[7..])).unwrap();
        assert_eq!((again.token, again.object, again.id), (uri.token, uri.object, uri.id));
    }

    #[test]
    fn mistakes_are_explained() {
        for (text, message) in [
            ("token=a", "no library is named"),
            ("token?module-path=/m", "one has no '='"),
            ("token=a;token=b?module-path=/m", "'token' stands twice"),
            ("token=a?module-path=/m&module-path=/n", "'module-path' stands twice"),
            ("tokne=a?module-path=/m", "did you mean 'token'?"),
            ("Token=a?module-path=/m", "did you mean 'token'?"),
            ("token=a?module-name=p11", "'module-name' is no attribute that is understood here"),
            ("library-version=3?module-path=/m", "is no attribute that is understood here"),
            ("token=a;module-path=/m", "'module-path' stands after '?'"),
            ("?module-path=/m&object=a", "'object' stands before '?'"),
            ("token=a b?module-path=/m", "'token' has a character that must be percent-encoded"),
            ("token=a/b?module-path=/m", "'token' has a character that must be percent-encoded"),
            ("token=%2?module-path=/m", "without two hexadecimal digits"),
            ("token=%+2?module-path=/m", "without two hexadecimal digits"),
            ("token=%FF?module-path=/m", "'token' must be UTF-8"),
            ("slot-id=x?module-path=/m", "'slot-id' must be a number"),
            ("type=cert?module-path=/m", "'type' must be 'private'"),
            ("?module-path=", "'module-path' must be the path of a library"),
            ("?module-path=/m&pin-source=%7Cprogram", "'pin-source' must be file:PATH"),
        ] {
            let error = parsed(text).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    #[test]
    fn nt_60_a_pin_in_the_uri_is_refused_and_not_repeated() {
        for text in [
            "token=a?module-path=/m&pin-value=hunter2",
            "token=a;pin-value=hunter2?module-path=/m",
            "token=a?module-path=/m&pin-valeu=hunter2",
            "token=a?module-path=/m&pin-source=hunter2",
        ] {
            let error = parsed(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }
}
