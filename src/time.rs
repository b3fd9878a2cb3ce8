//! Instants as numbers, and the one place that reads the machine's clock.
//!
//! In: nothing, or RFC 3339 text. Out: a [`Timestamp`]. Knows nothing of certificates or tokens.
//! `now` is read once per request by `issue` and handed down, so everything below is a pure
//! function of its arguments; `clippy.toml` bans the standard library's clock elsewhere.

use std::fmt;

/// Milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted (the unit of RFC 6962, 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From milliseconds since the epoch.
    pub const fn from_unix_ms(unix_ms: u64) -> Self {
        Self(unix_ms)
    }

    /// From whole seconds since the epoch; saturates at the end of time.
    pub const fn from_unix_seconds(unix_seconds: u64) -> Self {
        Self(unix_seconds.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    pub const fn unix_ms(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn unix_seconds(self) -> u64 {
        self.0 / 1000
    }

    /// This instant moved later, saturating.
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// This instant moved earlier, saturating at the epoch.
    pub const fn minus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_sub(ms))
    }

    /// Milliseconds from `earlier` to `self`; zero if `earlier` is the later one.
    pub const fn ms_since(self, earlier: Timestamp) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Parses RFC 3339 text with an offset, such as `2026-11-20T00:00:00Z`.
    ///
    /// # Errors
    /// The text is not RFC 3339, or lies before 1970.
    pub fn parse_rfc3339(text: &str) -> Result<Self, InvalidTimestamp> {
        let invalid = || InvalidTimestamp { text: text.to_owned() };
        let instant: jiff::Timestamp = text.parse().map_err(|_| invalid())?;
        let unix_ms = u64::try_from(instant.as_millisecond()).map_err(|_| invalid())?;
        Ok(Self(unix_ms))
    }
}

/// RFC 3339 in UTC with milliseconds only where there are any: `2026-11-20T00:00:00Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unix_ms = i64::try_from(self.0).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_millisecond(unix_ms) {
            Ok(instant) => write!(f, "{instant}"),
            // Past the year 9999, where RFC 3339 ends: the number says as much.
            Err(_) => write!(f, "{unix_ms} ms after 1970"),
        }
    }
}

/// The text is no RFC 3339 instant after 1970.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{text}' is not a time like 2026-11-20T00:00:00Z")]
pub struct InvalidTimestamp {
    /// What was given.
    pub text: String,
}

/// Where the current time comes from.
///
/// Contract: `now` never blocks and never fails. It may jump, also backwards; whoever needs
/// monotony (the log) must see to it.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The current time.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the machine is asked")]
    fn now(&self) -> Timestamp {
        let since_epoch =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_text_survives_a_round_trip() {
        let at = Timestamp::parse_rfc3339("2026-11-20T00:00:00Z").unwrap();
        assert_eq!(at.unix_seconds(), 1_795_132_800);
        assert_eq!(at.to_string(), "2026-11-20T00:00:00Z");
        assert_eq!(at.plus_ms(5).to_string(), "2026-11-20T00:00:00.005Z");
    }

    #[test]
    fn text_without_an_offset_is_refused() {
        for text in ["2026-11-20", "2026-11-20T00:00:00", "1960-01-01T00:00:00Z", ""] {
            assert!(Timestamp::parse_rfc3339(text).is_err(), "{text}");
        }
    }
}
