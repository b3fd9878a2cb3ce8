//! Token text -> its parts, parsed once.
//!
//! In: the text of a JWT in compact serialisation (RFC 7515, section 7.1). Out: header, payload,
//! the bytes that were signed, the signature. Knows nothing of issuers; verifies nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm::TokenAlgorithm;
use super::error::{TokenError, TokenPart};
use super::json;

/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN_BYTES: usize = 32 * 1024;

/// A token that nobody has verified. Borrows the text, because those bytes were signed.
#[derive(Debug)]
pub(super) struct UnverifiedToken<'t> {
    pub(super) header: Header,
    /// The one parse of the payload: `iss` chooses the issuer from it, and it becomes the verified
    /// claims.
    pub(super) payload: Map<String, Value>,
    /// `header.payload` (RFC 7515, section 5.2, step 8).
    pub(super) signing_input: &'t str,
    pub(super) signature: Vec<u8>,
}

/// What we read of the JOSE header. `jwk`, `jku`, `x5u` and `x5c` are keys that the token brings
/// for itself: they have no field here, so nothing can trust them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) algorithm: TokenAlgorithm,
    pub(super) key_id: Option<String>,
}

impl<'t> UnverifiedToken<'t> {
    /// Takes the text apart, never in more pieces than three.
    pub(super) fn parse(text: &'t str) -> Result<Self, TokenError> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong { bytes: text.len(), max: MAX_TOKEN_BYTES });
        }
        let (signing_input, signature) = text.rsplit_once('.').ok_or(TokenError::NotThreeParts)?;
        let (header, payload) = signing_input.split_once('.').ok_or(TokenError::NotThreeParts)?;
        if header.is_empty() || payload.is_empty() || payload.contains('.') {
            return Err(TokenError::NotThreeParts);
        }
        let header = object(header, TokenPart::Header, MAX_HEADER_VALUES)?;
        Ok(Self {
            header: Header::from_json(&header)?,
            payload: object(payload, TokenPart::Payload, MAX_PAYLOAD_VALUES)?,
            signing_input,
            signature: base64(signature, TokenPart::Signature)?,
        })
    }
}

impl Header {
    fn from_json(header: &Map<String, Value>) -> Result<Self, TokenError> {
        // `crit` says that the token means something else to those who know an extension (RFC 7515,
        // section 4.1.11); we know none. `b64` (RFC 7797) and `zip` change what the payload is.
        for member in ["crit", "b64", "zip", "enc"] {
            if header.contains_key(member) {
                return Err(TokenError::HeaderMember { member });
            }
        }
        check_type(header)?;
        let algorithm = string(header, "alg")?
            .ok_or(TokenError::HeaderValue { member: "alg", expected: "there" })?;
        let algorithm =
            TokenAlgorithm::from_name(algorithm).ok_or(TokenError::UnsupportedAlgorithm)?;
        let key_id = match string(header, "kid")? {
            Some(key_id) if key_id.len() > MAX_KEY_ID_BYTES => {
                let expected = "at most 512 bytes long";
                return Err(TokenError::HeaderValue { member: "kid", expected });
            }
            key_id => key_id.map(str::to_owned),
        };
        Ok(Self { algorithm, key_id })
    }
}

/// `typ` may be absent. Where it is there it says JWT, or the access-token type of RFC 9068; any
/// other kind of signed object (a logout token, a DPoP proof) is not an identity token (RFC 8725,
/// section 3.11).
fn check_type(header: &Map<String, Value>) -> Result<(), TokenError> {
    let Some(kind) = string(header, "typ")? else {
        return Ok(());
    };
    let kind = kind
        .get(..12)
        .filter(|p| p.eq_ignore_ascii_case("application/"))
        .map_or(kind, |_| kind.get(12..).unwrap_or_default());
    if kind.eq_ignore_ascii_case("JWT") || kind.eq_ignore_ascii_case("at+jwt") {
        Ok(())
    } else {
        Err(TokenError::HeaderValue { member: "typ", expected: "JWT" })
    }
}

fn string<'h>(
    header: &'h Map<String, Value>,
    member: &'static str,
) -> Result<Option<&'h str>, TokenError> {
    match header.get(member) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(TokenError::HeaderValue { member, expected: "a string" }),
    }
}

fn object(
    text: &str,
    part: TokenPart,
    max_values: usize,
) -> Result<Map<String, Value>, TokenError> {
    let bytes = base64(text, part)?;
    json::parse_object(&bytes, max_values).map_err(|fault| TokenError::Json { part, fault })
}

fn base64(text: &str, part: TokenPart) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Base64 { part })
}

/// Real headers have three; an `x5c` chain makes a few more.
const MAX_HEADER_VALUES: usize = 64;
/// Real payloads have forty; lists of groups make some hundreds.
const MAX_PAYLOAD_VALUES: usize = 2048;
const MAX_KEY_ID_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::error::JsonFault;
    use super::*;

    fn encode(text: impl AsRef<[u8]>) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }

    fn with_header(header: &str) -> Result<Header, TokenError> {
        let text = format!("{}.{}.{}", encode(header), encode("{}"), encode("sig"));
        UnverifiedToken::parse(&text).map(|token| token.header)
    }

    #[test]
    fn a_plain_token_is_taken_apart() {
        let text = format!("{}.{}.{}", encode(r#"{"alg":"ES256"}"#), encode("{}"), encode("sig"));
        let token = UnverifiedToken::parse(&text).unwrap();
        assert_eq!(token.header, Header { algorithm: TokenAlgorithm::Es256, key_id: None });
        assert_eq!(token.signing_input, &text[..text.len() - 5]);
        assert_eq!(token.signature, b"sig");
    }

    #[test]
    fn nt_01_a_body_of_dots_is_refused_by_its_length_alone() {
        let dots = ".".repeat(4 << 20);
        let too_long = TokenError::TooLong { bytes: 4 << 20, max: MAX_TOKEN_BYTES };
        assert_eq!(UnverifiedToken::parse(&dots).unwrap_err(), too_long);
        let dots = &dots[..MAX_TOKEN_BYTES];
        assert_eq!(UnverifiedToken::parse(dots).unwrap_err(), TokenError::NotThreeParts);
    }

    #[test]
    fn nt_22_other_serialisations_are_refused() {
        let header = encode(r#"{"alg":"ES256"}"#);
        for text in [
            "",
            ".",
            "..",
            "a",
            "a.b",
            &header,
            &format!("{header}.e30"),
            &format!("{header}.e30.a.b"),
            &format!("{header}.a.b.c.d"),
            &format!(".{header}.e30.c2ln"),
            r#"{"payload":"e30","protected":"e30","signature":"c2ln"}"#,
        ] {
            assert_eq!(
                UnverifiedToken::parse(text).unwrap_err(),
                TokenError::NotThreeParts,
                "{text}"
            );
        }
    }

    #[test]
    fn nt_22_base64_has_one_spelling_only() {
        let header = encode(r#"{"alg":"ES256"}"#);
        let cases = [
            (format!("{header}=.e30.c2ln"), TokenPart::Header),
            (format!("{header}.e30=.c2ln"), TokenPart::Payload),
            (format!("{header}.e 30.c2ln"), TokenPart::Payload),
            (format!("{header}.e30\n.c2ln"), TokenPart::Payload),
            (format!("{header}.e30.c2ln\n"), TokenPart::Signature),
            (format!("{header}.e30.+/+/"), TokenPart::Signature),
            // The same bytes, with bits set that no byte uses.
            (format!("{header}.e31.c2ln"), TokenPart::Payload),
        ];
        for (text, part) in cases {
            assert_eq!(UnverifiedToken::parse(&text).unwrap_err(), TokenError::Base64 { part });
        }
    }

    #[test]
    fn nt_22_headers_that_change_the_meaning_are_refused() {
        for (member, value) in [
            ("crit", r#"["exp"]"#),
            ("crit", "[]"),
            ("b64", "false"),
            ("b64", "true"),
            ("zip", "\"DEF\""),
        ] {
            let header = format!(r#"{{"alg":"ES256","{member}":{value}}}"#);
            assert_eq!(with_header(&header).unwrap_err(), TokenError::HeaderMember { member });
        }
    }

    #[test]
    fn nt_22_keys_that_the_token_brings_are_ignored() {
        let header = r#"{"alg":"ES256","kid":"1","jwk":{"kty":"oct","k":"AA"},"jku":"http://127.0.0.1/",
            "x5u":"file:///","x5c":["AA"]}"#;
        let expected = Header { algorithm: TokenAlgorithm::Es256, key_id: Some("1".to_owned()) };
        assert_eq!(with_header(header).unwrap(), expected);
    }

    #[test]
    fn nt_20_alg_is_there_and_asymmetric() {
        let missing = TokenError::HeaderValue { member: "alg", expected: "there" };
        assert_eq!(with_header("{}").unwrap_err(), missing);
        let wrong = TokenError::HeaderValue { member: "alg", expected: "a string" };
        assert_eq!(with_header(r#"{"alg":["ES256"]}"#).unwrap_err(), wrong);
        for name in ["none", "HS256", "es256", ""] {
            let header = format!(r#"{{"alg":"{name}"}}"#);
            assert_eq!(with_header(&header).unwrap_err(), TokenError::UnsupportedAlgorithm);
        }
    }

    #[test]
    fn typ_and_kid_are_strings_of_the_right_kind() {
        for typ in ["JWT", "jwt", "at+jwt", "application/jwt", "application/at+jwt"] {
            assert!(with_header(&format!(r#"{{"alg":"ES256","typ":"{typ}"}}"#)).is_ok(), "{typ}");
        }
        for typ in ["\"dpop+jwt\"", "\"logout+jwt\"", "\"JOSE\"", "\"\"", "1", "null"] {
            let error = with_header(&format!(r#"{{"alg":"ES256","typ":{typ}}}"#)).unwrap_err();
            assert!(matches!(error, TokenError::HeaderValue { member: "typ", .. }), "{typ}");
        }
        for kid in ["1", "null", "[\"a\"]", &format!("\"{}\"", "k".repeat(513))] {
            let error = with_header(&format!(r#"{{"alg":"ES256","kid":{kid}}}"#)).unwrap_err();
            assert!(matches!(error, TokenError::HeaderValue { member: "kid", .. }), "{kid}");
        }
    }

    #[test]
    fn nt_25_duplicate_keys_are_refused_in_header_and_payload() {
        let twice = |part| TokenError::Json { part, fault: JsonFault::DuplicateKey };
        let error = with_header(r#"{"alg":"none","alg":"ES256"}"#).unwrap_err();
        assert_eq!(error, twice(TokenPart::Header));
        let text = format!(
            "{}.{}.{}",
            encode(r#"{"alg":"ES256"}"#),
            encode(r#"{"iss":"https://a","iss":"https://b"}"#),
            encode("sig")
        );
        assert_eq!(UnverifiedToken::parse(&text).unwrap_err(), twice(TokenPart::Payload));
    }

    proptest! {
        #[test]
        fn nt_02_no_text_makes_it_panic(text in "[a-zA-Z0-9_.=-]{0,200}", any: String) {
            let _ = UnverifiedToken::parse(&text);
            let _ = UnverifiedToken::parse(&any);
            let header = encode(&any);
            let _ = UnverifiedToken::parse(&format!("{header}.{header}.{header}"));
        }
    }
}
