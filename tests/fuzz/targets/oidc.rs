//! Tokens and the documents of issuers.

use der::Decode as _;
use mayfly::{
    cli::client::token::challenge,
    identity::Identity,
    oidc::{KeySet, MAX_TOKEN_BYTES, Provider, TokenError},
    x509::names::NameKind,
};
use serde_json::Value;
use x509_cert::ext::pkix::{SubjectAltName, name::GeneralName};

use super::world::{self, Issuers};

/// The text of a token.
pub(crate) fn token(input: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(input) else { return false };
    let verified = Issuers::golden().verify(text);
    let taken = verified.is_ok();
    match verified {
        Ok(verified) => {
            assert!(text.len() <= MAX_TOKEN_BYTES && text.matches('.').count() == 2);
            assert!(!verified.subject().is_empty());
            let own_challenge = challenge(text).expect("a good token has a challenge");
            let identity = Issuers::golden().profiles.derive(verified);
            if let Ok(identity) = identity {
                check_identity(&identity);
                let email = identity.issuer().starts_with("https://email.");
                // A client that reads its own token signs what the server will look at.
                assert!(!email || identity.challenges().contains(&own_challenge));
            }
        }
        Err(error) => check_refusal(&error, text),
    }
    if let Err(error) = challenge(text) {
        assert!(error.to_string().len() < 200);
    }
    taken
}

/// The payload of a token that is well signed.
pub(crate) fn claims(input: &[u8]) -> bool {
    let issuers = Issuers::golden();
    let token = world::sign(input);
    let verified = match issuers.verify(&token) {
        Ok(verified) => verified,
        Err(error) => {
            check_refusal(&error, &token);
            return false;
        }
    };
    let payload: Value = serde_json::from_slice(input).expect("what is taken is JSON");
    assert_eq!(Some(verified.claims().as_map()), payload.as_object());
    assert_eq!(payload["iss"], verified.issuer());
    assert_eq!(payload["sub"], verified.subject());
    let subject = verified.subject().to_owned();
    match issuers.profiles.derive(verified) {
        Ok(identity) => {
            assert_eq!(identity.subject(), subject);
            check_identity(&identity);
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// A JWKS document.
pub(crate) fn key_set(input: &[u8]) -> bool {
    match KeySet::parse(input) {
        Ok(set) => {
            let document: Value = serde_json::from_slice(input).expect("what is taken is JSON");
            let keys = document["keys"].as_array().expect("with keys");
            assert!((1..=100).contains(&set.len()) && !set.is_empty());
            assert_eq!(set.len() + set.skipped(), keys.len());
            let is_private = |key: &Value| {
                ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].iter().any(|m| key.get(m).is_some())
            };
            assert!(!keys.iter().any(is_private));
            true
        }
        Err(error) => {
            assert!(error.to_string().len() < 200);
            false
        }
    }
}

/// A discovery document, of an issuer that is known.
pub(crate) fn discovery(input: &[u8]) -> bool {
    const ISSUER: &str = "https://accounts.example.com";
    match Provider::parse("https://accounts.example.com/x", input, ISSUER) {
        Ok(provider) => {
            let document: Value = serde_json::from_slice(input).expect("what is taken is JSON");
            assert_eq!(document["issuer"], ISSUER);
            assert_eq!(document["jwks_uri"], provider.jwks_uri);
            let names = document.get("id_token_signing_alg_values_supported");
            assert!(names.is_none_or(Value::is_array));
            true
        }
        // Whatever stands there, a line of the log stays a line.
        Err(error) => {
            let text = error.to_string();
            assert!(text.len() < 4096 && !text.contains(char::is_control), "{text:?}");
            false
        }
    }
}

/// What every identity promises to the certificate that will carry it.
pub(crate) fn check_identity(identity: &Identity) {
    assert!(identity.challenges().iter().all(|challenge| !challenge.is_empty()));
    let san = identity.san();
    let value = san.value();
    assert!(value.bytes().all(|byte| byte.is_ascii_graphic()), "{value:?}");
    let mut der = Vec::new();
    san.write_general_names(&mut der);
    assert_eq!(der.len(), san.general_names_bytes());
    let SubjectAltName(names) = SubjectAltName::from_der(&der).expect("a SAN is DER");
    match (san.kind(), names.as_slice()) {
        (NameKind::Email, [GeneralName::Rfc822Name(name)]) => assert_eq!(name.as_str(), value),
        (NameKind::Uri, [GeneralName::UniformResourceIdentifier(name)]) => {
            assert_eq!(name.as_str(), value);
        }
        (NameKind::Username, [GeneralName::OtherName(name)]) => {
            let text: der::asn1::Utf8StringRef<'_> = name.value.decode_as().expect("UTF8String");
            assert_eq!(text.as_str(), value);
        }
        (kind, names) => panic!("{kind:?} is written as {names:?}"),
    }
    for (row, value) in identity.extensions().iter() {
        assert!(!value.is_empty() && !value.contains(char::is_control), "{row:?}: {value:?}");
    }
    let mut der = Vec::new();
    identity.extensions().write_der(&mut der);
    assert_eq!(der.len(), identity.extensions().der_bytes());
}

/// A refusal is short, and repeats neither signature nor payload.
fn check_refusal(error: &TokenError, token: &str) {
    let text = error.to_string();
    assert!(text.len() < 4096, "{} bytes", text.len());
    for part in token.rsplit('.').take(2).filter(|part| is_telling(part)) {
        assert!(!text.contains(part), "a part of the token is told: {text}");
    }
}

/// Whether a part of a token is long enough to know it by, and no words of ours.
pub(crate) fn is_telling(part: &str) -> bool {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    part.len() >= 24 && part.bytes().all(is_base64)
}
