//! What a client reads in its own token: which claim to sign as proof of possession.
//!
//! In: the text of a JWT that belongs to the caller. Out: its challenge. Nothing is verified:
//! that is the server's work, and the client only needs to know what the server will look at.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

/// The string over which possession of the key is proven: `email` where the token has a verified
/// one, else `sub` (the rule of the Go clients).
///
/// # Errors
/// The text is no JWT, or has neither claim. The error holds nothing of the token.
pub fn challenge(token: &str) -> Result<String, TokenShapeError> {
    let claims = claims(token)?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str).filter(|t| !t.is_empty());
    let verified = match claims.get("email_verified") {
        Some(Value::Bool(verified)) => *verified,
        Some(Value::String(verified)) => verified.eq_ignore_ascii_case("true"),
        _ => false,
    };
    text("email")
        .filter(|_| verified)
        .or_else(|| text("sub"))
        .map(str::to_owned)
        .ok_or(TokenShapeError::NoSubject)
}

/// Why a text cannot be an identity token.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TokenShapeError {
    /// A JWT in compact form is three parts with dots between them.
    #[error("the token is no JWT: it has {parts} part(s) between dots, not 3")]
    Parts {
        /// How many there were.
        parts: usize,
    },
    /// The middle part is not what RFC 7519 says.
    #[error("the token is no JWT: its second part is not base64url of a JSON object")]
    Payload,
    /// Nothing there that a CA could bind a key to.
    #[error("the token has neither a verified `email` nor a `sub` claim")]
    NoSubject,
}

fn claims(token: &str) -> Result<serde_json::Map<String, Value>, TokenShapeError> {
    let parts: Vec<&str> = token.split('.').collect();
    let [_, payload, _] = parts.as_slice() else {
        return Err(TokenShapeError::Parts { parts: parts.len() });
    };
    let json = URL_SAFE_NO_PAD.decode(payload).map_err(|_| TokenShapeError::Payload)?;
    match serde_json::from_slice(&json) {
        Ok(Value::Object(claims)) => Ok(claims),
        _ => Err(TokenShapeError::Payload),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_verified_email_goes_before_the_subject() {
        for (claims, expected) in [
            (r#"{"sub":"s","email":"a@b.c","email_verified":true}"#, "a@b.c"),
            (r#"{"sub":"s","email":"a@b.c","email_verified":"True"}"#, "a@b.c"),
            (r#"{"sub":"s","email":"a@b.c","email_verified":false}"#, "s"),
            (r#"{"sub":"s","email":"a@b.c","email_verified":1}"#, "s"),
            (r#"{"sub":"s","email":"a@b.c"}"#, "s"),
            (r#"{"sub":"s","email":"","email_verified":true}"#, "s"),
            (r#"{"sub":"s"}"#, "s"),
        ] {
            assert_eq!(challenge(&token(claims)).as_deref(), Ok(expected), "{claims}");
        }
    }

    #[test]
    fn what_is_no_token_is_told_without_repeating_it() {
        assert_eq!(challenge("abc"), Err(TokenShapeError::Parts { parts: 1 }));
        assert_eq!(challenge("a.b.c.d"), Err(TokenShapeError::Parts { parts: 4 }));
        assert_eq!(challenge("a.!.c"), Err(TokenShapeError::Payload));
        assert_eq!(challenge(&token("[1]")), Err(TokenShapeError::Payload));
        assert_eq!(challenge(&token("{}")), Err(TokenShapeError::NoSubject));
        assert_eq!(challenge(&token(r#"{"sub":7}"#)), Err(TokenShapeError::NoSubject));
    }
}
