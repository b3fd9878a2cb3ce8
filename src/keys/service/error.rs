//! What can be wrong with a key in a key service when it is opened.

use std::{io, path::PathBuf};

use crate::keys::{VerifyingKeyError, remote::Fault};

/// A key in a key service does not open.
#[derive(Debug, thiserror::Error)]
#[error("key {key}: {fault}")]
pub struct OpenServiceKeyError {
    /// Which.
    pub key: String,
    /// Why.
    pub fault: Box<ServiceFault>,
}

/// What is wrong. No variant carries a credential.
#[derive(Debug, thiserror::Error)]
pub enum ServiceFault {
    #[error("a key service takes no passphrase; remove 'passphrase'")]
    Passphrase,
    #[error("{what} is not configured; {remedy}")]
    Missing { what: &'static str, remedy: &'static str },
    #[error("{name} must be {expected}")]
    Setting { name: String, expected: &'static str },
    #[error("the file '{}' cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("the file '{}' is empty", path.display())]
    EmptyFile { path: PathBuf },
    #[error("the environment variable {name} is not set")]
    NoVariable { name: String },
    #[error("the file of CA certificates holds no PEM certificate")]
    CaCertificate,
    #[error("no TLS connection can be made: the machine has no CA certificates")]
    NoTls,
    #[error("the service did not answer within {seconds} seconds")]
    Hangs { seconds: u64 },
    #[error("{fault}{}", Remedy(remedy))]
    Call { fault: Fault, remedy: String },
    #[error("its kind is '{kind}'; {permitted}")]
    Kind { kind: String, permitted: &'static str },
    #[error("{problem}; {remedy}")]
    Unusable { problem: String, remedy: &'static str },
    #[error("the public key that the service answers is not usable: {source}")]
    PublicKey { source: VerifyingKeyError },
}

impl From<Fault> for ServiceFault {
    fn from(fault: Fault) -> Self {
        Self::Call { fault, remedy: String::new() }
    }
}

struct Remedy<'a>(&'a str);

impl std::fmt::Display for Remedy<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "; {}", self.0) }
    }
}
