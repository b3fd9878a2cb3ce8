//! What the public port proves itself with: a certificate and its key, read anew when they change.
//!
//! In: the paths of two PEM files. Out: a TLS acceptor (1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN)
//! that always has a whole pair: a bad one on disk keeps the one in use (NT-63). Knows nothing of
//! the connections, nor of who asks it to look again.

use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::{ArcSwap, ArcSwapOption};
use der::Decode as _;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs as provided},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use tokio_rustls::TlsAcceptor;
use x509_cert::ext::pkix::{SubjectAltName, name::GeneralName};
use zeroize::Zeroizing;

use crate::{
    files::{Fingerprint, Snapshot, Watch},
    time::Timestamp,
    x509::{Certificate, certificate::CertificateError},
};

/// The two files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate and those that lead to its root, as PEM.
    pub cert: PathBuf,
    /// The certificate's private key, as PEM, not encrypted.
    pub key: PathBuf,
}

impl TlsFiles {
    fn paths(&self) -> [&Path; 2] {
        [&self.cert, &self.key]
    }
}

/// A certificate and key that belong together, ready for use.
#[derive(Debug)]
pub struct Pair {
    certified: Arc<CertifiedKey>,
    names: Vec<String>,
    valid_until: Timestamp,
    fingerprint: Fingerprint,
}

impl Pair {
    /// Reads the files and checks that they are a pair that clients could accept now.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn read(files: &TlsFiles, now: Timestamp) -> Result<Self, TlsError> {
        Texts::read(files)?.pair(files, now)
    }

    /// The last second of its certificate.
    pub fn valid_until(&self) -> Timestamp {
        self.valid_until
    }

    /// Whom its certificate speaks for: DNS names and IP addresses.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

/// The pair in use, and where the next one comes from.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    in_use: Arc<InUse>,
    config: Arc<ServerConfig>,
    watch: Mutex<Watch>,
    /// Of the certificate in use; milliseconds since 1970.
    valid_until_ms: AtomicU64,
    /// Why what the files hold is not in use, if so.
    refusal: ArcSwapOption<String>,
}

impl Tls {
    /// Reads the pair.
    ///
    /// # Errors
    /// As for [`Tls::load`].
    pub fn open(files: TlsFiles, now: Timestamp) -> Result<Self, TlsError> {
        let pair = Pair::read(&files, now)?;
        let watch = Mutex::new(Watch::from(pair.fingerprint));
        let valid_until_ms = AtomicU64::new(pair.valid_until.unix_ms());
        let in_use = Arc::new(InUse(ArcSwap::new(pair.certified)));
        let versions = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13, &TLS12]);
        let mut config = versions
            .map_err(|source| TlsError::Provider { source })?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&in_use) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let (config, refusal) = (Arc::new(config), ArcSwapOption::empty());
        Ok(Self { files, in_use, config, watch, valid_until_ms, refusal })
    }

    /// Accepts connections, each with the pair in use at its time.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }

    /// Reads the files and checks that they are a pair that clients could accept now; changes
    /// nothing.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn load(&self, now: Timestamp) -> Result<Pair, TlsError> {
        Pair::read(&self.files, now)
    }

    /// Uses another pair for the connections that come.
    pub fn replace(&self, pair: Pair) {
        *self.watch.lock().unwrap_or_else(PoisonError::into_inner) = Watch::from(pair.fingerprint);
        self.valid_until_ms.store(pair.valid_until.unix_ms(), Ordering::Relaxed);
        self.in_use.0.store(pair.certified);
        self.refusal.store(None);
    }

    /// Why what the files held at their last change is not in use, if so.
    pub fn refusal(&self) -> Option<Arc<String>> {
        self.refusal.load_full()
    }

    /// The last second of the certificate in use.
    pub fn valid_until(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.valid_until_ms.load(Ordering::Relaxed))
    }

    /// Looks at the files, and uses what they hold if that changed and has settled; `None` if it did
    /// not.
    ///
    /// # Errors
    /// What changed is not good. Told once for each change, not at each look.
    pub fn look(&self, now: Timestamp) -> Result<Option<Timestamp>, TlsError> {
        let found = Snapshot::of(&self.files.paths()).fingerprint();
        if !self.watch.lock().unwrap_or_else(PoisonError::into_inner).look(found) {
            return Ok(None);
        }
        let loaded = self.load(now);
        let refused = |error: &TlsError| self.refusal.store(Some(Arc::new(error.to_string())));
        let pair = loaded.inspect_err(refused)?;
        let valid_until = pair.valid_until;
        self.replace(pair);
        Ok(Some(valid_until))
    }
}

#[derive(Debug)]
struct InUse(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for InUse {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// What stands in the two files.
struct Texts {
    cert: Zeroizing<Vec<u8>>,
    key: Zeroizing<Vec<u8>>,
    fingerprint: Fingerprint,
}

impl Texts {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let snapshot = Snapshot::of(&files.paths());
        let fingerprint = snapshot.fingerprint();
        let read = files.paths().into_iter().zip(snapshot.into_contents()).map(|(path, read)| {
            read.map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })
        });
        let mut texts = read.collect::<Result<Vec<_>, _>>()?.into_iter();
        let mut next = || texts.next().unwrap_or_default();
        Ok(Self { cert: next(), key: next(), fingerprint })
    }

    fn pair(&self, files: &TlsFiles, now: Timestamp) -> Result<Pair, TlsError> {
        let not_pem = |path: &Path, source| TlsError::Pem { path: path.to_owned(), source };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.cert).collect();
        let chain = chain.map_err(|source| not_pem(&files.cert, source))?;
        let path = || files.cert.clone();
        let Some(first) = chain.first() else {
            return Err(TlsError::NoCertificate { path: path() });
        };
        let server = Certificate::parse_der(first)
            .map_err(|source| TlsError::Certificate { path: path(), source })?;
        if !server.is_valid_at(now) {
            let (from, until) = (server.not_before(), server.not_after());
            return Err(TlsError::NotValidNow { path: path(), from, until });
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|source| not_pem(&files.key, source))?;
        let certified = CertifiedKey::from_der(chain, key, &provider())
            .map_err(|source| TlsError::NoPair { cert: path(), key: files.key.clone(), source })?;
        let (names, valid_until) = (names(server.der()), server.not_after());
        let fingerprint = self.fingerprint;
        Ok(Pair { certified: Arc::new(certified), names, valid_until, fingerprint })
    }
}

/// For people: what a client may call the server. Nothing where the certificate does not say.
fn names(certificate_der: &[u8]) -> Vec<String> {
    let Ok(certificate) = x509_cert::Certificate::from_der(certificate_der) else {
        return Vec::new();
    };
    let found = certificate.tbs_certificate().get_extension::<SubjectAltName>();
    let names = found.ok().flatten().map(|(_, names)| names.0).unwrap_or_default();
    names.iter().filter_map(text_of).collect()
}

fn text_of(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_owned()),
        GeneralName::IpAddress(octets) => {
            let octets = octets.as_bytes();
            let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(provided::default_provider())
}

/// Why a certificate and key are not taken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("tls: cannot read {path}")]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file is not the PEM it should be.
    #[error("tls: {path} is not the PEM it should be")]
    Pem {
        path: PathBuf,
        #[source]
        source: pem::Error,
    },
    /// A file has no certificate in it.
    #[error("tls: {path} holds no certificate")]
    NoCertificate { path: PathBuf },
    /// The server's certificate is not one.
    #[error("tls: the first certificate of {path} cannot be read")]
    Certificate {
        path: PathBuf,
        #[source]
        source: CertificateError,
    },
    /// No client would accept it now.
    #[error("tls: the certificate of {path} is valid from {from} until {until}, which is not now")]
    NotValidNow { path: PathBuf, from: Timestamp, until: Timestamp },
    /// The key is of no kind that is known, or is the key of another certificate.
    #[error("tls: {key} is not the key of {cert}")]
    NoPair {
        cert: PathBuf,
        key: PathBuf,
        #[source]
        source: rustls::Error,
    },
    /// The TLS library does not have what it should.
    #[error("tls: the library refused its own protocol versions")]
    Provider {
        #[source]
        source: rustls::Error,
    },
}
