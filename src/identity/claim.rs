//! Claims as the text that stands in certificates.

use serde_json::Value;

use super::{EmailVerifiedFault, IdentityError, UnusableClaim};

/// A claim that must be a string with something in it. `name` is its name, or its path.
pub(super) fn text<'t>(name: &str, value: Option<&'t Value>) -> Result<&'t str, IdentityError> {
    match value {
        None | Some(Value::Null) => Err(IdentityError::MissingClaim { claim: name.to_owned() }),
        Some(Value::String(text)) if text.is_empty() => Err(unusable(name, UnusableClaim::Empty)),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(unusable(name, UnusableClaim::NotAString)),
    }
}

/// Accepts what providers send for yes: the boolean (OpenID Connect Core, 5.1), and the strings
/// "true" and "True" that some send instead. Everything else is no.
pub(super) fn check_verified(email_verified: Option<&Value>) -> Result<(), IdentityError> {
    let fault = match email_verified {
        Some(Value::Bool(true)) => return Ok(()),
        Some(Value::String(text)) if text == "true" || text == "True" => return Ok(()),
        None | Some(Value::Null) => EmailVerifiedFault::Missing,
        Some(Value::Bool(false)) => EmailVerifiedFault::False,
        Some(Value::String(text)) if text == "false" || text == "False" => {
            EmailVerifiedFault::False
        }
        Some(_) => EmailVerifiedFault::Unknown,
    };
    Err(IdentityError::EmailNotVerified { fault })
}

/// The one text form of a scalar claim; `None` for null, which is no more than an absent claim.
///
/// Numbers are written without exponent, as the reference does since it met job ids above 10^6;
/// unlike it, a number that is not exact is refused rather than rounded.
pub(super) fn scalar_text(claim: &str, value: &Value) -> Result<Option<String>, IdentityError> {
    match value {
        Value::Null => Ok(None),
        Value::Bool(truth) => Ok(Some(truth.to_string())),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Number(number) if number.is_u64() || number.is_i64() => Ok(Some(number.to_string())),
        Value::Number(number) => match number.as_f64() {
            // Display of f64 never writes an exponent and reads back to the same number.
            Some(float) if float.abs() < EXACT_INTEGERS_END => Ok(Some(float.to_string())),
            _ => Err(unusable(claim, UnusableClaim::InexactNumber)),
        },
        Value::Array(_) | Value::Object(_) => Err(unusable(claim, UnusableClaim::NotAScalar)),
    }
}

/// Refuses text that could look like two values, or like none, to whoever reads the certificate.
pub(super) fn printable<'a>(claim: &str, text: &'a str) -> Result<&'a str, IdentityError> {
    if text.chars().any(char::is_control) {
        return Err(unusable(claim, UnusableClaim::ControlCharacter));
    }
    Ok(text)
}

/// What is wrong with the claim of this name.
pub(super) fn unusable(claim: &str, reason: UnusableClaim) -> IdentityError {
    IdentityError::UnusableClaim { claim: claim.to_owned(), reason }
}

/// 2^53: from here on neighbouring integers share one double.
const EXACT_INTEGERS_END: f64 = 9_007_199_254_740_992.0;
