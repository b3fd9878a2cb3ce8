//! What the process says about itself: log lines, metrics, and the id that ties them to a request.
//!
//! In: where to write and how. Out: a `tracing` subscriber, installed once by the command line, and
//! [`metrics::Metrics`]. Knows nothing of what is logged; that no secret is logged is held by
//! `secret::Secret` and by the callers' closed field lists (NT-60).

pub mod metrics;
mod process;
pub mod scrape;

use std::{
    error::Error,
    fmt,
    io::{self, IsTerminal},
};

use serde::{Serialize, Serializer};
use tracing_subscriber::EnvFilter;

/// Names one request in the answer's `x-request-id` header, the log lines and the audit log.
/// 128 random bits, made here and never taken from a client, so that ids cannot be forged.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId([u8; 16]);

impl RequestId {
    /// From 16 random bytes.
    pub const fn from_random(random: [u8; 16]) -> Self {
        Self(random)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 32];
        // 16 bytes are 32 hex digits, so neither step can fail.
        match hex::encode_to_slice(self.0, &mut text).map(|()| std::str::from_utf8(&text)) {
            Ok(Ok(text)) => f.write_str(text),
            _ => Err(fmt::Error),
        }
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Installs the process's log: human lines on a terminal, JSON lines otherwise, both on standard
/// error, so that standard output stays for results. `RUST_LOG` filters; the default is `info`.
/// A second call changes nothing.
pub fn install() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // A second subscriber is refused by `tracing`, which is what is wanted.
    let _already_installed = if io::stderr().is_terminal() {
        builder.with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
}

/// What, then why: each cause once, also where a text already repeats its cause.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let why = error.to_string();
        if !text.ends_with(&why) {
            text.push_str(": ");
            text.push_str(&why);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_32_hex_digits_everywhere() {
        let id = RequestId::from_random([0xab; 16]);
        assert_eq!(id.to_string(), "ab".repeat(16));
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{}\"", "ab".repeat(16)));
    }
}
