//! Why a command failed, and which exit code says so.
//!
//! In: the errors of the layers below. Out: one closed list, its exit code, its text.

use std::{error::Error, fmt, io, path::PathBuf};

use super::{client::ClientError, demo::DemoError, trust::TrustError};
use crate::{config::ConfigErrors, serve::StartError};

/// Why a command did not end well.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration has mistakes; they are told one by one.
    #[error(transparent)]
    Configuration(#[from] ConfigErrors),
    /// The configuration reads well, but an authority or the log does not hold what it says.
    #[error("the configuration was understood, but {failed} of its keys cannot be used as it says")]
    UnusableKeys {
        /// How many.
        failed: usize,
    },
    /// The service did not start.
    #[error("mayfly did not start")]
    Start {
        /// Which part.
        #[source]
        source: StartError,
    },
    /// The service ran and could not go on.
    #[error("mayfly stopped because a part of it failed; its log lines say which")]
    Stopped,
    /// No certificate.
    #[error("no certificate")]
    Client {
        /// Why.
        #[source]
        source: ClientError,
    },
    /// No token where one was said to be.
    #[error("no token: {reason}")]
    NoToken {
        /// What was missing.
        reason: String,
    },
    /// A URL that no token should be sent to.
    #[error("'{url}' is not a URL to send a token to: {reason}")]
    UnsafeUrl {
        /// As given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The demonstration did not verify, or could not run.
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// No trust document.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The log could not be created.
    #[error("the log was not created")]
    LogInit {
        /// Why not.
        #[source]
        source: crate::log::OpenError,
    },
    /// What was asked needs an embedded log.
    #[error("the configuration has no embedded log: {consequence}")]
    NoEmbeddedLog {
        /// What cannot be done.
        consequence: &'static str,
    },
    /// A key of the configuration cannot be opened.
    #[error("the key of {role} cannot be opened")]
    Key {
        /// What it is for.
        role: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A file.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried.
        action: FileAction,
        /// Where.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// Standard output is closed or full.
    #[error("the result could not be written")]
    Output {
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// Signals or threads.
    #[error("the operating system gave no threads, timers or signals")]
    Runtime {
        /// What it says.
        #[source]
        source: io::Error,
    },
}

/// What was tried with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileAction {
    /// Read it.
    Read,
    /// Create it where none was.
    Create,
    /// Make a directory.
    MakeDirectory,
}

impl CliError {
    /// DESIGN.md, 6: 1 says that it is not so, 2 that it could not be told.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) | Self::UnusableKeys { .. } | Self::NoEmbeddedLog { .. } => NO,
            Self::Client { source } if source.is_an_answer() => NO,
            Self::Demo(error) if error.is_an_answer() => NO,
            Self::UnsafeUrl { .. } => NO,
            Self::Client { .. } | Self::Demo(_) | Self::NoToken { .. } => UNKNOWN,
            Self::Start { .. } | Self::Stopped | Self::Runtime { .. } => UNKNOWN,
            Self::Trust(_) | Self::LogInit { .. } | Self::Key { .. } => UNKNOWN,
            Self::File { .. } | Self::Output { .. } => UNKNOWN,
        }
    }
}

impl fmt::Display for FileAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Create => "create",
            Self::MakeDirectory => "make the directory",
        })
    }
}

/// What, then why: each cause once, also where a text already repeats its cause.
pub(super) fn with_causes(error: &dyn Error) -> String {
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

const NO: u8 = 1;
const UNKNOWN: u8 = 2;
