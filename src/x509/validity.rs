//! From when to when a certificate is valid.
//!
//! In: an instant and a lifetime. Out: a [`Validity`], already encoded. Knows nothing of clocks.

use jiff::{civil::DateTime, tz::Offset};

use super::tlv;
use crate::time::Timestamp;

/// `Validity` of RFC 5280, 4.1.2.5: whole seconds, both ends inclusive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validity {
    not_before: Timestamp,
    not_after: Timestamp,
    der: Vec<u8>,
}

impl Validity {
    /// From the second in which `now` lies, for exactly `lifetime_seconds`. Both ends come from
    /// the one `now`, so that the lifetime is exact.
    ///
    /// # Errors
    /// The end lies after the year 9999, where X.509 time stops.
    pub fn starting_at(now: Timestamp, lifetime_seconds: u64) -> Result<Self, TimeOutOfRange> {
        let first_second = now.unix_seconds();
        let last_second = first_second.saturating_add(lifetime_seconds);
        let not_before = encode_time(first_second)?;
        let not_after = encode_time(last_second)?;
        let content_bytes = not_before.len() + not_after.len();
        let mut der = Vec::with_capacity(tlv::element_bytes(content_bytes));
        tlv::push_header(tlv::TAG_SEQUENCE, content_bytes, &mut der);
        der.extend_from_slice(&not_before);
        der.extend_from_slice(&not_after);
        Ok(Self {
            not_before: Timestamp::from_unix_seconds(first_second),
            not_after: Timestamp::from_unix_seconds(last_second),
            der,
        })
    }

    /// The first instant.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// The last second.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// DER `Validity`.
    pub fn der(&self) -> &[u8] {
        &self.der
    }
}

/// A certificate cannot say this time.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{unix_seconds} seconds after 1970 is after the year 9999, which no certificate can say")]
pub struct TimeOutOfRange {
    /// What was asked for.
    pub unix_seconds: u64,
}

/// UTCTime through 2049, GeneralizedTime from 2050 on (RFC 5280, 4.1.2.5: MUST), both with
/// seconds and `Z`, without fractions.
fn encode_time(unix_seconds: u64) -> Result<Vec<u8>, TimeOutOfRange> {
    let out_of_range = || TimeOutOfRange { unix_seconds };
    let seconds = i64::try_from(unix_seconds).map_err(|_| out_of_range())?;
    let instant = jiff::Timestamp::from_second(seconds).map_err(|_| out_of_range())?;
    let at = Offset::UTC.to_datetime(instant);
    let mut der = Vec::with_capacity(17);
    if at.year() < FIRST_GENERALIZED_YEAR {
        tlv::push_element(TAG_UTC_TIME, &digits(at, 2), &mut der);
    } else {
        tlv::push_element(TAG_GENERALIZED_TIME, &digits(at, 4), &mut der);
    }
    Ok(der)
}

/// `YYMMDDHHMMSSZ`, the year with as many of its last digits as asked for.
fn digits(at: DateTime, year_digits: u32) -> Vec<u8> {
    let mut text = Vec::with_capacity(15);
    push_decimal(&mut text, at.year().unsigned_abs(), year_digits);
    for part in [at.month(), at.day(), at.hour(), at.minute(), at.second()] {
        push_decimal(&mut text, u16::from(part.unsigned_abs()), 2);
    }
    text.push(b'Z');
    text
}

fn push_decimal(text: &mut Vec<u8>, number: u16, digits: u32) {
    for place in (0..digits).rev() {
        let digit = number / 10_u16.pow(place) % 10;
        text.push(b"0123456789"[usize::from(digit)]);
    }
}

const FIRST_GENERALIZED_YEAR: i16 = 2050;
/// UTCTime.
const TAG_UTC_TIME: u8 = 0x17;
/// GeneralizedTime.
const TAG_GENERALIZED_TIME: u8 = 0x18;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use x509_cert::der::Decode;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn both_ends_come_from_the_one_instant() {
        let validity = Validity::starting_at(at("2026-11-20T10:20:30.999Z"), 600).unwrap();
        assert_eq!(validity.not_before(), at("2026-11-20T10:20:30Z"));
        assert_eq!(validity.not_after(), at("2026-11-20T10:30:30Z"));
        assert_eq!(validity.der(), b"\x30\x1e\x17\x0d261120102030Z\x17\x0d261120103030Z");
    }

    #[test]
    fn utc_time_ends_with_the_year_2049() {
        let validity = Validity::starting_at(at("2049-12-31T23:59:59Z"), 1).unwrap();
        assert_eq!(validity.der(), b"\x30\x20\x17\x0d491231235959Z\x18\x0f20500101000000Z");
    }

    #[test]
    fn a_time_after_the_year_9999_is_refused() {
        let last = at("9999-12-30T22:00:00Z");
        assert!(Validity::starting_at(last, 0).is_ok());
        assert!(Validity::starting_at(last, 86_400 * 2).is_err());
        assert!(Validity::starting_at(Timestamp::from_unix_ms(u64::MAX), 600).is_err());
    }

    proptest! {
        #[test]
        fn x509_cert_reads_the_times_back(second in 0_u64..250_000_000_000, lifetime in 0_u64..86_400) {
            let validity = Validity::starting_at(Timestamp::from_unix_seconds(second), lifetime)
                .unwrap();
            let read: x509_cert::time::Validity = x509_cert::time::Validity::from_der(validity.der()).unwrap();
            prop_assert_eq!(read.not_before.to_unix_duration().as_secs(), second);
            prop_assert_eq!(read.not_after.to_unix_duration().as_secs(), second + lifetime);
        }
    }
}
