//! What the public port proves itself with: a certificate and its key, read anew when they change.
//!
//! In: the paths of two PEM files. Out: a TLS acceptor (1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN)
//! that always has a whole pair: a bad one on disk keeps the one in use (NT-63). Knows nothing of
//! the connections, nor of who asks it to look again.

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{Context, SHA256};
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

/// A certificate and key that belong together, ready for use.
#[derive(Debug)]
pub struct Pair {
    certified: Arc<CertifiedKey>,
    names: Vec<String>,
    valid_until: Timestamp,
    seen: Seen,
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
    /// What the files held at the last look.
    seen: Mutex<Seen>,
    /// Of the certificate in use; milliseconds since 1970.
    valid_until_ms: AtomicU64,
}

impl Tls {
    /// Reads the pair.
    ///
    /// # Errors
    /// As for [`Tls::load`].
    pub fn open(files: TlsFiles, now: Timestamp) -> Result<Self, TlsError> {
        let pair = Pair::read(&files, now)?;
        let (seen, valid_until) = (Mutex::new(pair.seen), pair.valid_until.unix_ms());
        let in_use = Arc::new(InUse(ArcSwap::new(pair.certified)));
        let versions = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13, &TLS12]);
        let mut config = versions
            .map_err(|source| TlsError::Provider { source })?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&in_use) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let valid_until_ms = AtomicU64::new(valid_until);
        Ok(Self { files, in_use, config: Arc::new(config), seen, valid_until_ms })
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
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = pair.seen;
        self.valid_until_ms.store(pair.valid_until.unix_ms(), Ordering::Relaxed);
        self.in_use.0.store(pair.certified);
    }

    /// The last second of the certificate in use.
    pub fn valid_until(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.valid_until_ms.load(Ordering::Relaxed))
    }

    /// Looks at the files, and uses what they hold if that changed since the last look; `None` if
    /// it did not. The file system is asked for contents, not for times or events: neither tells
    /// of every way in which files are replaced, such as the symbolic links of Kubernetes.
    ///
    /// # Errors
    /// What changed is not good. Told once for each change, not at each look.
    pub fn look(&self, now: Timestamp) -> Result<Option<Timestamp>, TlsError> {
        let texts = Texts::read(&self.files);
        let seen = texts.as_ref().map_or(Seen::Unreadable, Texts::seen);
        {
            let mut last = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *last == seen {
                return Ok(None);
            }
            *last = seen;
        }
        let pair = texts?.pair(&self.files, now)?;
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Unreadable,
    Sha256([u8; 32]),
}

/// What stands in the two files.
#[derive(PartialEq, Eq)]
struct Texts {
    cert: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl Texts {
    /// Reads until nothing changes, so that a swap in between does not pair the old certificate
    /// with the new key.
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let mut texts = Self::read_once(files)?;
        for _ in 0..READINGS {
            let again = Self::read_once(files)?;
            if again == texts {
                break;
            }
            texts = again;
        }
        Ok(texts)
    }

    fn read_once(files: &TlsFiles) -> Result<Self, TlsError> {
        let read = |path: &Path| {
            let unreadable = |source| TlsError::Unreadable { path: path.to_owned(), source };
            let length = fs::metadata(path).map_err(unreadable)?.len();
            if length > FILE_LIMIT_BYTES {
                return Err(unreadable(io::Error::from(io::ErrorKind::FileTooLarge)));
            }
            fs::read(path).map_err(unreadable)
        };
        Ok(Self { cert: read(&files.cert)?, key: Zeroizing::new(read(&files.key)?) })
    }

    fn seen(&self) -> Seen {
        let mut digest = Context::new(&SHA256);
        digest.update(&(self.cert.len() as u64).to_be_bytes());
        digest.update(&self.cert);
        digest.update(&self.key);
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest.finish().as_ref());
        Seen::Sha256(sha256)
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
        Ok(Pair { certified: Arc::new(certified), names, valid_until, seen: self.seen() })
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

/// Of one look, beyond the first.
const READINGS: usize = 3;
const FILE_LIMIT_BYTES: u64 = 1 << 20;
