//! Why a command failed, and which exit code says so.
//!
//! In: the errors of the layers below. Out: one closed list, its exit code, its text.

use std::{fmt, io, path::PathBuf};

use super::{
    ambient::AmbientError,
    ca::CaCommandError,
    client::{ClientError, ClientKeyError},
    demo::DemoError,
    login::LoginError,
};
pub(super) use crate::telemetry::with_causes;
use crate::{
    config::{ConfigErrors, Fault},
    log::OpenError,
    serve::StartError,
    trust::TrustError,
    x509::certificate::CertificateError,
};

/// Why a command did not end well.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration has mistakes; they are told one by one.
    #[error(transparent)]
    Configuration(#[from] ConfigErrors),
    /// The configuration reads well, but what it names does not hold; each problem was told.
    #[error("the configuration was understood, but not all that it names can be used (see above)")]
    Unusable {
        /// How many problems.
        count: usize,
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
    /// Nobody signed in.
    #[error("not signed in")]
    Login {
        /// Why not.
        #[source]
        source: LoginError,
    },
    /// The system that this runs on gave no token.
    #[error("no token")]
    Ambient {
        /// Why not.
        #[source]
        source: AmbientError,
    },
    /// The private key that was given cannot be used.
    #[error("{} is no private key to use", path.display())]
    ClientKey {
        /// Where it was read.
        path: PathBuf,
        /// Why not.
        #[source]
        source: ClientKeyError,
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
    /// No CA certificate, or what was asked about one does not hold.
    #[error(transparent)]
    Ca(#[from] CaCommandError),
    /// The log could not be created.
    #[error("the log was not created")]
    LogInit {
        /// Why not.
        #[source]
        source: OpenError,
    },
    /// The log could not be ended.
    #[error("the log was not frozen")]
    LogFreeze {
        /// Why not.
        #[source]
        source: OpenError,
    },
    /// What was asked needs an embedded log.
    #[error("the configuration has no embedded log: {consequence}")]
    NoEmbeddedLog {
        /// What cannot be done.
        consequence: &'static str,
    },
    /// A chain that was given is none.
    #[error("{} is no chain of certificates", path.display())]
    Chain {
        /// Where it was read.
        path: PathBuf,
        /// Why.
        #[source]
        source: CertificateError,
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
    /// The person at the terminal.
    #[error("interrupted; no certificate came")]
    Interrupted,
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
    /// Replace it.
    Write,
}

impl CliError {
    /// 1 says that it is not so, 2 that it could not be told.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(errors) if only_unread(errors) => UNKNOWN,
            Self::Configuration(_) | Self::Unusable { .. } | Self::NoEmbeddedLog { .. } => NO,
            Self::Chain { .. } | Self::Trust(_) | Self::UnsafeUrl { .. } => NO,
            Self::LogInit { source: OpenError::Exists { .. } } => NO,
            Self::LogFreeze { source: OpenError::Frozen { .. } } => NO,
            Self::Client { source } if source.is_an_answer() => NO,
            Self::Login { source } if source.is_an_answer() => NO,
            Self::ClientKey { .. } => NO,
            Self::Login { .. } | Self::Ambient { .. } => UNKNOWN,
            Self::Demo(error) if error.is_an_answer() => NO,
            Self::Ca(error) if error.is_an_answer() => NO,
            Self::Ca(_) => UNKNOWN,
            Self::Client { .. } | Self::Demo(_) | Self::NoToken { .. } => UNKNOWN,
            Self::Start { .. } | Self::Stopped | Self::Runtime { .. } => UNKNOWN,
            Self::LogInit { .. } | Self::LogFreeze { .. } => UNKNOWN,
            Self::File { .. } | Self::Output { .. } | Self::Interrupted => UNKNOWN,
        }
    }
}

impl fmt::Display for FileAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Create => "create",
            Self::Write => "write",
        })
    }
}

/// Whether no mistake was found, only files that could not be read.
fn only_unread(errors: &ConfigErrors) -> bool {
    let unread =
        |fault: &Fault| matches!(fault, Fault::Unreadable { .. } | Fault::UnreadablePart { .. });
    errors.mistakes().iter().all(|mistake| unread(&mistake.fault))
}

const NO: u8 = 1;
const UNKNOWN: u8 = 2;
