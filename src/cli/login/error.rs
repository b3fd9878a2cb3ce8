//! Why nobody was signed in.
//!
//! In: the errors of this module and what a provider says. Out: one closed list. A provider's
//! words are kept as text made safe for a terminal ([`printable`]), not as the library's error
//! values: those carry whole bodies, which may hold tokens.

use std::{error::Error, io};

use super::callback::CallbackError;
use crate::cli::client::printable;

/// Why nobody was signed in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The issuer that was given is no URL.
    #[error("the issuer '{issuer}' is no URL")]
    Issuer {
        /// As given.
        issuer: String,
    },
    /// An address that neither a token nor a browser should be sent to.
    #[error("the {what} of the provider is at '{origin}', which is not safe: {reason}")]
    UnsafeAddress {
        /// Which address.
        what: &'static str,
        /// Scheme, host and port, nothing more.
        origin: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The HTTPS client could not be made.
    #[error("the HTTPS client could not be set up")]
    SetUp {
        /// What the HTTP library says.
        #[source]
        source: reqwest::Error,
    },
    /// The provider's documents.
    #[error("the provider {issuer} cannot be used: {said}")]
    Discovery {
        /// Whose.
        issuer: String,
        /// What is wrong.
        said: String,
    },
    /// No port for the browser to come back to.
    #[error("this machine gives no port of 127.0.0.1 for the browser to come back to")]
    Listen {
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// Standard error is closed.
    #[error("the sign-in could not be shown")]
    Told {
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// The person took too long.
    #[error("nobody signed in within {seconds} s (--login-timeout)")]
    TooLate {
        /// How long we waited.
        seconds: u64,
    },
    /// What the browser brought back.
    #[error(transparent)]
    Callback(#[from] CallbackError),
    /// `--device` at a provider without it.
    #[error("the provider {issuer} has no device flow: leave --device out")]
    NoDeviceFlow {
        /// Whose.
        issuer: String,
    },
    /// The provider said no, or the person did.
    #[error("the provider refused: {said}")]
    Refused {
        /// `error` and `error_description`.
        said: String,
    },
    /// No answer, or none that can be read.
    #[error("the provider's answer cannot be used: {said}")]
    Answer {
        /// What is wrong.
        said: String,
    },
    /// `openid` was asked for, and no ID token came.
    #[error("the provider's answer has no ID token")]
    NoIdToken,
    /// An ID token that fails a check.
    #[error("the provider's ID token cannot be trusted: {said}")]
    Untrusted {
        /// Which check.
        said: String,
    },
}

impl LoginError {
    /// Whether the question was answered with no, rather than not answered.
    pub fn is_an_answer(&self) -> bool {
        match self {
            Self::Issuer { .. } | Self::UnsafeAddress { .. } | Self::NoDeviceFlow { .. } => true,
            Self::Callback(_) | Self::Refused { .. } => true,
            Self::NoIdToken | Self::Untrusted { .. } => true,
            Self::SetUp { .. } | Self::Discovery { .. } | Self::Answer { .. } => false,
            Self::Listen { .. } | Self::Told { .. } | Self::TooLate { .. } => false,
        }
    }
}

/// A library's error with its causes, safe for a terminal.
pub(super) fn said(error: &dyn Error) -> String {
    printable(&crate::cli::error::with_causes(error))
}
