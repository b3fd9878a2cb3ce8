//! Payload -> who, for whom, since when and until when.
//!
//! In: a parsed payload, what the operator expects, the time. Out: subject and expiry, or the claim
//! at fault. Knows nothing of keys. Every check is here: the library that other programs leave them
//! to has skipped claims of the wrong type (CVE-2026-25537).

use serde_json::{Map, Value};

use super::error::TokenError;
use crate::time::Timestamp;

/// How far `nbf` and `iat` may lie ahead of our clock. `exp` has no such leeway.
pub const MAX_CLOCK_SKEW_MS: u64 = 60_000;

/// How far ahead `exp` may lie. Identity tokens live minutes to hours; a token that is good for
/// longer than this is a password.
pub const MAX_TOKEN_LIFETIME_MS: u64 = 7 * 24 * 3_600_000;

/// What one issuer's tokens must say.
#[derive(Clone, Debug)]
pub(super) struct Expectations {
    pub(super) client_id: String,
    pub(super) max_age_seconds: Option<u64>,
}

/// What the checks found out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CheckedClaims {
    pub(super) subject: String,
    pub(super) expires_at: Timestamp,
}

/// The `iss` claim, which chooses the rules for all others.
pub(super) fn issuer(payload: &Map<String, Value>) -> Result<&str, TokenError> {
    non_empty_string(payload, "iss")
}

/// Checks everything but `iss`, whose text chose `expected`.
pub(super) fn check(
    payload: &Map<String, Value>,
    expected: &Expectations,
    now: Timestamp,
) -> Result<CheckedClaims, TokenError> {
    check_audience(payload, &expected.client_id)?;
    let subject = non_empty_string(payload, "sub")?.to_owned();
    let expires_at = check_expiry(payload, now)?;
    check_not_before(payload, now)?;
    check_issued_at(payload, expected.max_age_seconds, now)?;
    Ok(CheckedClaims { subject, expires_at })
}

/// `aud` is our client id, or an array of strings that contains it. An array may name others too:
/// RFC 7519, section 4.1.3, asks only that we are among them, and providers that serve several
/// relying parties make such tokens. Compared byte by byte.
fn check_audience(payload: &Map<String, Value>, client_id: &str) -> Result<(), TokenError> {
    let claim = "aud";
    let wrong = TokenError::ClaimValue { claim, expected: "a string or an array of strings" };
    let named = match payload.get(claim) {
        None => return Err(TokenError::ClaimMissing { claim }),
        Some(Value::String(audience)) => audience == client_id,
        Some(Value::Array(audiences)) => {
            if !audiences.iter().all(Value::is_string) {
                return Err(wrong);
            }
            audiences.iter().any(|audience| audience == client_id)
        }
        Some(_) => return Err(wrong),
    };
    if named { Ok(()) } else { Err(TokenError::Audience { expected: client_id.to_owned() }) }
}

/// RFC 7519, section 4.1.4: "on or after which the JWT MUST NOT be accepted".
fn check_expiry(payload: &Map<String, Value>, now: Timestamp) -> Result<Timestamp, TokenError> {
    let expires_at = required_date(payload, "exp")?;
    if expires_at <= now {
        return Err(TokenError::Expired { seconds_ago: now.ms_since(expires_at) / 1000 });
    }
    let ahead_ms = expires_at.ms_since(now);
    if ahead_ms > MAX_TOKEN_LIFETIME_MS {
        return Err(TokenError::LivesTooLong {
            seconds_ahead: ahead_ms / 1000,
            max_seconds: MAX_TOKEN_LIFETIME_MS / 1000,
        });
    }
    Ok(expires_at)
}

fn check_not_before(payload: &Map<String, Value>, now: Timestamp) -> Result<(), TokenError> {
    let Some(not_before) = date(payload, "nbf")? else {
        return Ok(());
    };
    let ahead_ms = not_before.ms_since(now);
    if ahead_ms > MAX_CLOCK_SKEW_MS {
        return Err(TokenError::NotYetValid { seconds_ahead: ahead_ms / 1000 });
    }
    Ok(())
}

/// OpenID Connect Core, section 2, requires `iat`; without it a token's age is unknown.
fn check_issued_at(
    payload: &Map<String, Value>,
    max_age_seconds: Option<u64>,
    now: Timestamp,
) -> Result<(), TokenError> {
    let issued_at = required_date(payload, "iat")?;
    let ahead_ms = issued_at.ms_since(now);
    if ahead_ms > MAX_CLOCK_SKEW_MS {
        return Err(TokenError::IssuedInFuture { seconds_ahead: ahead_ms / 1000 });
    }
    let age_ms = now.ms_since(issued_at);
    match max_age_seconds {
        Some(max_age_seconds) if age_ms > max_age_seconds.saturating_mul(1000) => {
            Err(TokenError::TooOld { age_seconds: age_ms / 1000, max_age_seconds })
        }
        _ => Ok(()),
    }
}

fn non_empty_string<'p>(
    payload: &'p Map<String, Value>,
    claim: &'static str,
) -> Result<&'p str, TokenError> {
    match payload.get(claim) {
        None => Err(TokenError::ClaimMissing { claim }),
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        Some(_) => Err(TokenError::ClaimValue { claim, expected: "a string that is not empty" }),
    }
}

fn required_date(
    payload: &Map<String, Value>,
    claim: &'static str,
) -> Result<Timestamp, TokenError> {
    date(payload, claim)?.ok_or(TokenError::ClaimMissing { claim })
}

/// A NumericDate (RFC 7519, section 2): a JSON number of seconds, which may have a fraction; what
/// lies below a millisecond is dropped. A claim that is there but is no such number is an error,
/// never as if it were absent.
fn date(
    payload: &Map<String, Value>,
    claim: &'static str,
) -> Result<Option<Timestamp>, TokenError> {
    let Some(value) = payload.get(claim) else {
        return Ok(None);
    };
    let wrong = TokenError::ClaimValue { claim, expected: "a number of seconds since 1970" };
    let Value::Number(number) = value else {
        return Err(wrong);
    };
    if let Some(seconds) = number.as_u64() {
        return if seconds < MAX_DATE_SECONDS {
            Ok(Some(Timestamp::from_unix_seconds(seconds)))
        } else {
            Err(wrong)
        };
    }
    match number.as_f64() {
        // Also false for NaN, which JSON cannot say.
        #[expect(clippy::cast_precision_loss, reason = "2^53 is a float")]
        Some(seconds) if seconds >= 0.0 && seconds < MAX_DATE_SECONDS as f64 => {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it lies between 0 and 2^53 * 1000, and rounding down is meant"
            )]
            let unix_ms = (seconds * 1000.0) as u64;
            Ok(Some(Timestamp::from_unix_ms(unix_ms)))
        }
        _ => Err(wrong),
    }
}

/// Above 2^53, not every whole number is a float, and readers of one token may differ.
const MAX_DATE_SECONDS: u64 = 1 << 53;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    fn good() -> Map<String, Value> {
        let claims = json!({
            "iss": "https://issuer.example", "aud": "sigstore", "sub": "someone",
            "exp": 1_800_000_300, "iat": 1_799_999_990, "nbf": 1_799_999_990,
        });
        claims.as_object().unwrap().clone()
    }

    fn check_with(claim: &str, value: impl Into<Value>) -> Result<CheckedClaims, TokenError> {
        let mut claims = good();
        claims.insert(claim.to_owned(), value.into());
        check_all(&claims)
    }

    fn check_without(claim: &str) -> Result<CheckedClaims, TokenError> {
        let mut claims = good();
        claims.remove(claim).unwrap();
        check_all(&claims)
    }

    fn check_all(claims: &Map<String, Value>) -> Result<CheckedClaims, TokenError> {
        issuer(claims)?;
        let expected =
            Expectations { client_id: "sigstore".to_owned(), max_age_seconds: Some(3600) };
        check(claims, &expected, NOW)
    }

    #[test]
    fn good_claims_pass() {
        let checked = check_all(&good()).unwrap();
        assert_eq!(checked.subject, "someone");
        assert_eq!(checked.expires_at.unix_seconds(), 1_800_000_300);
    }

    #[test]
    fn every_claim_but_nbf_must_be_there() {
        for claim in ["iss", "aud", "sub", "exp", "iat"] {
            let error = check_without(claim).unwrap_err();
            assert!(
                matches!(error, TokenError::ClaimMissing { claim: c } if c == claim),
                "{claim}"
            );
        }
        assert!(check_without("nbf").is_ok());
    }

    #[test]
    fn iss_and_sub_are_strings_with_something_in_them() {
        for claim in ["iss", "sub"] {
            for value in [json!(""), json!(1), json!(null), json!(["a"]), json!({}), json!(true)] {
                let error = check_with(claim, value.clone()).unwrap_err();
                let named = matches!(error, TokenError::ClaimValue { claim: c, .. } if c == claim);
                assert!(named, "{claim} {value}");
            }
        }
    }

    #[test]
    fn nt_21_aud_is_ours_or_contains_ours_exactly() {
        for value in [json!("sigstore"), json!(["sigstore"]), json!(["other", "sigstore"])] {
            assert!(check_with("aud", value.clone()).is_ok(), "{value}");
        }
        for value in [
            json!("other"),
            json!("Sigstore"),
            json!("sigstore-evil"),
            json!("sigstor"),
            json!(" sigstore"),
            json!("sigstore,other"),
            json!(""),
            json!([]),
            json!(["other"]),
            json!(["sigstore-evil"]),
        ] {
            let error = check_with("aud", value.clone()).unwrap_err();
            assert!(matches!(error, TokenError::Audience { .. }), "{value}");
        }
        for value in [
            json!(1),
            json!(null),
            json!({"sigstore": "sigstore"}),
            json!(["sigstore", 1]),
            json!([["sigstore"]]),
        ] {
            let error = check_with("aud", value.clone()).unwrap_err();
            assert!(matches!(error, TokenError::ClaimValue { claim: "aud", .. }), "{value}");
        }
    }

    #[test]
    fn nt_23_dates_are_numbers_and_nothing_else() {
        for claim in ["exp", "nbf", "iat"] {
            for value in [
                json!("1800000100"),
                json!("never"),
                json!(-1),
                json!(-0.5),
                json!(1e308),
                json!(9_007_199_254_740_992_u64),
                json!(u64::MAX),
                json!(null),
                json!([1_800_000_100]),
                json!({}),
                json!(true),
            ] {
                let error = check_with(claim, value.clone()).unwrap_err();
                let named = matches!(error, TokenError::ClaimValue { claim: c, .. } if c == claim);
                assert!(named, "{claim} {value}");
            }
        }
    }

    #[test]
    fn nt_23_fractions_of_seconds_are_numbers_too() {
        let checked = check_with("exp", 1_800_000_300.75).unwrap();
        assert_eq!(checked.expires_at.unix_ms(), 1_800_000_300_750);
        assert!(check_with("iat", 1_799_999_990.5).is_ok());
        assert!(check_with("nbf", 1_799_999_990.5).is_ok());
        let error = check_with("exp", 1_799_999_999.999).unwrap_err();
        assert_eq!(error, TokenError::Expired { seconds_ago: 0 });
    }

    #[test]
    fn nt_23_exp_has_no_leeway_and_an_end() {
        assert_eq!(
            check_with("exp", 1_800_000_000).unwrap_err(),
            TokenError::Expired { seconds_ago: 0 }
        );
        assert_eq!(
            check_with("exp", 0).unwrap_err(),
            TokenError::Expired { seconds_ago: 1_800_000_000 }
        );
        assert!(check_with("exp", 1_800_000_001).is_ok());
        let last = 1_800_000_000 + MAX_TOKEN_LIFETIME_MS / 1000;
        assert!(check_with("exp", last).is_ok());
        let error = check_with("exp", last + 1).unwrap_err();
        assert!(matches!(error, TokenError::LivesTooLong { .. }));
    }

    #[test]
    fn nt_23_nbf_and_iat_may_be_ahead_by_a_minute() {
        for claim in ["nbf", "iat"] {
            assert!(check_with(claim, 1_800_000_060).is_ok());
        }
        let ahead = check_with("nbf", 1_800_000_061).unwrap_err();
        assert_eq!(ahead, TokenError::NotYetValid { seconds_ahead: 61 });
        let ahead = check_with("iat", 1_800_000_061).unwrap_err();
        assert_eq!(ahead, TokenError::IssuedInFuture { seconds_ahead: 61 });
    }

    #[test]
    fn nt_24_a_token_older_than_its_issuer_allows_is_refused() {
        assert!(check_with("iat", 1_800_000_000 - 3600).is_ok());
        let error = check_with("iat", 1_800_000_000 - 3601).unwrap_err();
        assert_eq!(error, TokenError::TooOld { age_seconds: 3601, max_age_seconds: 3600 });
    }
}
