//! The files an operator writes -> values that need no further checking.
//!
//! In: the path of `mayfly.yaml`, and the files that it names. Out: a [`Config`], or every mistake
//! in all of them at once, each with its line. Knows nothing of networks; opens no key; nothing
//! below knows of files or the environment.
//!
//! Strict throughout: an unknown key, a duplicate, an empty file, a type not built yet is a
//! mistake and nothing starts. There is no default trust and no default log.
//! docs/configuration.md is the reference.

mod document;
mod fault;
mod fields;
mod issuer_file;
mod limits;
mod passphrase;
mod server_file;
mod units;

use std::{
    io::{ErrorKind, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
};

pub use fault::{ConfigErrors, DomainFault, Fault, Mistake, Position, Suggestion, UrlFault};
pub use issuer_file::{Issuer, IssuerFile};
pub use passphrase::{PassphraseError, PassphraseSource};

use crate::{
    api::http::tls::TlsFiles, identity::Profiles, keys::KeyUri, oidc::IssuerSettings,
    time::Timestamp, x509::Certificate,
};

/// Everything that `mayfly.yaml` and the files beside it say.
#[derive(Debug)]
pub struct Config {
    /// `listen`: the public port.
    pub listen: SocketAddr,
    /// `tls`: what the public port proves itself with; `None`: it speaks plainly.
    pub tls: Option<TlsFiles>,
    /// `private`: metrics, readiness, configuration in effect. `None` for `private: none`.
    pub private: Option<SocketAddr>,
    /// `url`: what clients and trust documents call this server; no path.
    pub url: url::Url,
    /// The path of the issuer file.
    pub issuers_path: PathBuf,
    /// Whose tokens are believed, in the order of the issuer file.
    pub issuers: Vec<IssuerSettings>,
    /// How their claims become names.
    pub profiles: Profiles,
    /// `authorities`: at least one.
    pub authorities: Vec<Authority>,
    /// `log`: always said.
    pub log: LogChoice,
    /// `audit`: the file of audit lines.
    pub audit: PathBuf,
    /// `limits`.
    pub limits: Limits,
    /// Whether development keys are taken, as [`LoadOptions::dev`] said.
    pub dev: bool,
}

/// A CA key and its chain.
#[derive(Debug)]
pub struct Authority {
    /// Where the key is; paths are resolved.
    pub key: KeyUri,
    /// What unlocks it.
    pub passphrase: Option<PassphraseSource>,
    /// Issuing CA first, root last; never empty. Whether it is a good chain is for `ca` to say.
    pub chain: Vec<Certificate>,
    /// The file the chain came from.
    pub chain_path: PathBuf,
    /// Signs from then on; `None`: at once.
    pub activate: Option<Timestamp>,
    /// Signs no more from then on; `None`: until its certificate expires.
    pub retire: Option<Timestamp>,
}

/// Where certificates are logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogChoice {
    /// The log inside this process.
    Embedded {
        /// Its directory.
        data: PathBuf,
        /// Its name, and the path under which it is served: `host/path` without scheme.
        origin: String,
        /// Where its key is; paths are resolved.
        key: KeyUri,
        /// What unlocks it.
        passphrase: Option<PassphraseSource>,
    },
    /// `log: none`, written out: certificates carry no SCT, and common clients refuse them.
    None,
}

/// How much work and waiting is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests worked on at once; the next is answered 429.
    pub requests_in_flight: usize,
    /// For a whole issuance, shared out to its stages.
    pub deadline_ms: u64,
    /// Of a request's body.
    pub body_bytes: usize,
    /// For a client to send its request's header.
    pub header_timeout_ms: u64,
    /// For a connection on which nothing is asked and nothing of an answer taken.
    pub idle_timeout_ms: u64,
    /// Open at once on the public port; for a further one, one that waits is closed.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_in_flight: 256,
            deadline_ms: 5_000,
            body_bytes: 256 << 10,
            header_timeout_ms: 10_000,
            idle_timeout_ms: 60_000,
            connections: 4096,
        }
    }
}

/// How a configuration is to be read.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions {
    /// Accept the development keys, which everyone has.
    pub dev: bool,
}

/// Reads `mayfly.yaml` at `path`, and the issuer file and chains that it names.
///
/// # Errors
/// Every mistake in these files.
pub fn load(path: &Path, options: LoadOptions) -> Result<Config, ConfigErrors> {
    server_file::load(path, options)
}

/// Reads a file of text, noting why not.
fn read_text(path: &Path) -> Result<String, Fault> {
    let bytes = read_bounded(path).map_err(|source| match source.kind() {
        ErrorKind::FileTooLarge => Fault::FileTooLarge { limit_bytes: document::MAX_FILE_BYTES },
        _ => Fault::Unreadable { source },
    })?;
    String::from_utf8(bytes).map_err(|_| Fault::NotUtf8)
}

/// Reads a file of at most [`document::MAX_FILE_BYTES`], whatever length it claims to have.
fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit_bytes = document::MAX_FILE_BYTES as u64;
    std::fs::File::open(path)?.take(limit_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() > document::MAX_FILE_BYTES {
        return Err(ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod providers_tests;
#[cfg(test)]
mod tests;
