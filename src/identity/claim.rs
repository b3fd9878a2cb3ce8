//! Claims as the text that stands in certificates.

use serde_json::Value;

use super::{IdentityError, UnusableClaim};

/// The one text form of a scalar claim; `None` for null, which is no more than an absent claim.
///
/// Numbers are written without exponent, as the reference does since it met job ids above 10^6;
/// unlike it, a number that is not exact is refused rather than rounded.
pub(super) fn scalar_text(claim: &str, value: &Value) -> Result<Option<String>, IdentityError> {
    let unusable = |reason| IdentityError::UnusableClaim { claim: claim.to_owned(), reason };
    match value {
        Value::Null => Ok(None),
        Value::Bool(truth) => Ok(Some(truth.to_string())),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Number(number) if number.is_u64() || number.is_i64() => Ok(Some(number.to_string())),
        Value::Number(number) => match number.as_f64() {
            // Display of f64 never writes an exponent and reads back to the same number.
            Some(float) if float.abs() < EXACT_INTEGERS_END => Ok(Some(float.to_string())),
            _ => Err(unusable(UnusableClaim::InexactNumber)),
        },
        Value::Array(_) | Value::Object(_) => Err(unusable(UnusableClaim::NotAScalar)),
    }
}

/// Refuses text that could look like two values, or like none, to whoever reads the certificate.
pub(super) fn printable<'a>(claim: &str, text: &'a str) -> Result<&'a str, IdentityError> {
    if text.chars().any(char::is_control) {
        let reason = UnusableClaim::ControlCharacter;
        return Err(IdentityError::UnusableClaim { claim: claim.to_owned(), reason });
    }
    Ok(text)
}

/// 2^53: from here on neighbouring integers share one double.
const EXACT_INTEGERS_END: f64 = 9_007_199_254_740_992.0;
