//! The files an operator writes -> values that need no further checking.
//!
//! In: the path of `mayfly.yaml`, and the files that it names. Out: a [`Config`], or every mistake
//! in all of them at once, each with its line. Knows nothing of networks; opens no key; nothing
//! below knows of files or the environment.
//!
//! Strict throughout: an unknown key, a duplicate, an empty file, a type not built yet is a
//! mistake and nothing starts. There is no default trust and no default log.
//! docs/configuration.md is the reference.

mod client_algorithms;
mod document;
pub mod edit;
pub mod effective;
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

use aws_lc_rs::digest::{Context, SHA256};

pub use fault::{ConfigErrors, DomainFault, Fault, Mistake, Position, Suggestion, UrlFault};
pub use issuer_file::{Issuer, IssuerFile};
pub use passphrase::{PassphraseError, PassphraseSource};

use crate::{
    api::http::tls::TlsFiles,
    identity::Profiles,
    keys::KeyUri,
    oidc::{IssuerSettings, KeyOrigin},
    policy::ClientAlgorithms,
    time::Timestamp,
    x509::Certificate,
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
    /// `log.next`: the key of the shard that will follow, for trust documents only.
    pub next_log: Option<NextLogKey>,
    /// `audit`: the file of audit lines.
    pub audit: PathBuf,
    /// `client-signing-algorithms`: never empty.
    pub client_algorithms: ClientAlgorithms,
    /// `limits`.
    pub limits: Limits,
    /// Whether development keys are taken, as [`LoadOptions::dev`] said.
    pub dev: bool,
    /// Every file that a reload reads again, each once or more: this one, the issuer file and what
    /// it names, chains, keys and passphrases. Not those of TLS, which are followed by themselves,
    /// nor the log's key, which takes a restart.
    pub files: Vec<PathBuf>,
    /// SHA-256 over all that these values were read from, private keys and passphrases apart;
    /// `None` if a file went away meanwhile. Two processes with the same one do the same.
    pub files_sha256: Option<[u8; 32]>,
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
    /// Whether a key that it certifies signs precertificates for it.
    pub precertificate_signer: bool,
}

/// A log key that signs nothing yet.
#[derive(Debug)]
pub struct NextLogKey {
    /// Where it is; paths are resolved.
    pub key: KeyUri,
    /// What unlocks it.
    pub passphrase: Option<PassphraseSource>,
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
        /// The directories of earlier shards, which take no entries any more; oldest first.
        frozen: Vec<PathBuf>,
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
    let mut config = server_file::load(path, read_text(path), options)?;
    config.files_sha256 = digest(path, &config).ok();
    Ok(config)
}

/// As [`load`], with `text` where the file at `path` has, or will have, its own: what would be in
/// effect if it were written there.
///
/// # Errors
/// Every mistake in it, and in the files that it names.
pub fn load_text(path: &Path, text: String, options: LoadOptions) -> Result<Config, ConfigErrors> {
    server_file::load(path, Ok(text), options)
}

/// The two documents as they stand right after they were read, and the files they name as they were
/// read.
fn digest(path: &Path, config: &Config) -> std::io::Result<[u8; 32]> {
    let mut digest = Context::new(&SHA256);
    let mut add = |bytes: &[u8]| {
        digest.update(&(bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    };
    add(&read_bounded(path)?);
    add(&read_bounded(&config.issuers_path)?);
    for certificate in config.authorities.iter().flat_map(|authority| &authority.chain) {
        add(certificate.der());
    }
    for issuer in &config.issuers {
        match &issuer.keys {
            KeyOrigin::Discovery { ca_cert_pem } => add(ca_cert_pem.as_deref().unwrap_or_default()),
            KeyOrigin::Static { jwks_json } => add(jwks_json),
        }
    }
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(digest.finish().as_ref());
    Ok(sha256)
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
