//! Private keys in files.
//!
//! In: a path and, where the file is encrypted, its passphrase. Out: a [`Signer`] that holds the
//! key in this process. Knows nothing of what is signed.
//!
//! Taken are PKCS #8 (RFC 5958) as PEM or DER, PKCS #8 encrypted with PBES2 (PBKDF2 or scrypt with
//! AES), and the `EC PRIVATE KEY` of RFC 5915. Whatever holds private octets here is wiped when it
//! is dropped; inside aws-lc that is aws-lc's own doing.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Read, Write},
    path::Path,
    sync::Arc,
};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _, RsaKeyPair},
};
use const_oid::{ObjectIdentifier, db::rfc5912};
use der::Decode;
use futures_util::future::BoxFuture;
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef, pkcs5::pbes2::Parameters};
use zeroize::Zeroizing;

use super::{SignError, SignatureAlgorithm, Signer, VerifyingKey};
use crate::{
    secret::Secret,
    x509::pem::{self, PemError},
};

/// Why a file is no key that we can sign with. No variant carries octets of the file.
#[derive(Debug, thiserror::Error)]
pub enum OpenKeyError {
    #[error("key {key}: the file cannot be read")]
    Read {
        key: String,
        #[source]
        source: io::Error,
    },
    #[error("key {key}: the file has more than {limit_bytes} bytes, so it is no key")]
    TooLong { key: String, limit_bytes: usize },
    #[error("key {key}: the file is not PEM")]
    Pem {
        key: String,
        #[source]
        source: PemError,
    },
    #[error("key {key}: the file holds no private key{}", found(.labels))]
    NoPrivateKey { key: String, labels: Vec<String> },
    #[error("key {key}: the file holds more than one private key")]
    SeveralKeys { key: String },
    #[error("key {key}: it is encrypted, and no passphrase is configured")]
    PassphraseMissing { key: String },
    #[error("key {key}: a passphrase is configured, but the file is not encrypted")]
    NotEncrypted { key: String },
    #[error("key {key}: it cannot be decrypted: the passphrase is wrong, or the file is damaged")]
    PassphraseWrong { key: String },
    #[error("key {key}: it is encrypted in a way that is not supported; PBES2 with AES is")]
    Encryption { key: String },
    #[error("key {key}: it is not a PKCS #8 or EC private key in DER, or it is inconsistent")]
    Malformed { key: String },
    #[error(
        "key {key}: its kind is not permitted; P-256, P-384 and RSA of 2048, 3072 or 4096 bits are"
    )]
    Kind { key: String },
}

/// A new key: its private half to be stored, and the signer it already is.
#[derive(Debug)]
pub struct GeneratedKey {
    /// DER PKCS #8, unencrypted.
    pub pkcs8: Secret,
    /// The same key, ready to sign.
    pub signer: Arc<dyn Signer>,
}

/// The random source or the library failed while making a key.
#[derive(Debug, thiserror::Error)]
#[error("a new {algorithm} key could not be made")]
pub struct GenerateKeyError {
    pub algorithm: SignatureAlgorithm,
}

/// The library failed while encrypting a key.
#[derive(Debug, thiserror::Error)]
#[error("the new key could not be encrypted")]
pub struct EncryptKeyError;

/// Reads the key in `path`. A file that others than its owner may read is opened with a warning:
/// in containers, group-readable secrets are the norm.
///
/// # Errors
/// The file cannot be read, decrypted or understood, or its key is of no permitted kind.
pub fn open(path: &Path, passphrase: Option<&Secret>) -> Result<Arc<dyn Signer>, OpenKeyError> {
    let name = format!("file:{}", path.display());
    let content = read(path, &name)?;
    parse(&name, &content, passphrase)
}

/// Reads a key from the content of a file; `name` is how messages call it.
///
/// # Errors
/// As [`open`].
pub fn parse(
    name: &str,
    content: &[u8],
    passphrase: Option<&Secret>,
) -> Result<Arc<dyn Signer>, OpenKeyError> {
    let stored = StoredKey::from_content(name, content)?;
    let key = || name.to_owned();
    let key_pair = match (stored, passphrase) {
        (StoredKey::Encrypted(der), Some(passphrase)) => {
            KeyPair::from_pkcs8(name, &decrypt(name, &der, passphrase)?)?
        }
        (StoredKey::Encrypted(_), None) => {
            return Err(OpenKeyError::PassphraseMissing { key: key() });
        }
        (_, Some(_)) => return Err(OpenKeyError::NotEncrypted { key: key() }),
        (StoredKey::Pkcs8(der), None) => KeyPair::from_pkcs8(name, &der)?,
        (StoredKey::Ec(der), None) => KeyPair::from_rfc5915(name, &der)?,
    };
    Ok(Arc::new(FileSigner::new(name, key_pair)?))
}

/// Makes a new key from the machine's random source; RSA with 3072 bits.
///
/// # Errors
/// The library could not make one.
pub fn generate(algorithm: SignatureAlgorithm) -> Result<GeneratedKey, GenerateKeyError> {
    let failed = |_| GenerateKeyError { algorithm };
    let ecdsa = |kind| {
        EcdsaKeyPair::generate(kind).and_then(|pair| {
            let pkcs8 = Secret::new(pair.to_pkcs8v1()?.as_ref().to_vec());
            Ok((KeyPair::Ecdsa { pair, algorithm }, pkcs8))
        })
    };
    let (pair, pkcs8) = match algorithm {
        SignatureAlgorithm::EcdsaP256Sha256 => ecdsa(&signature::ECDSA_P256_SHA256_ASN1_SIGNING),
        SignatureAlgorithm::EcdsaP384Sha384 => ecdsa(&signature::ECDSA_P384_SHA384_ASN1_SIGNING),
        SignatureAlgorithm::RsaPkcs1Sha256 => {
            RsaKeyPair::generate(KeySize::Rsa3072).and_then(|pair| {
                let der: Pkcs8V1Der<'_> = pair.as_der()?;
                Ok((KeyPair::Rsa(pair), Secret::new(der.as_ref().to_vec())))
            })
        }
    }
    .map_err(failed)?;
    let signer = FileSigner::new("new key", pair).map_err(|_| GenerateKeyError { algorithm })?;
    Ok(GeneratedKey { pkcs8, signer: Arc::new(signer) })
}

impl GeneratedKey {
    /// PKCS #8 as PEM, unencrypted.
    pub fn pkcs8_pem(&self) -> Secret {
        Secret::from(pem::encode(PKCS8_LABEL, self.pkcs8.expose()))
    }

    /// PKCS #8 as PEM, encrypted with PBES2 (PBKDF2 with HMAC-SHA-256, AES-256-CBC), which OpenSSL
    /// reads too. `random` becomes salt and initialisation vector.
    ///
    /// # Errors
    /// The library could not encrypt it.
    pub fn encrypted_pkcs8_pem(
        &self,
        passphrase: &Secret,
        random: [u8; 32],
    ) -> Result<Secret, EncryptKeyError> {
        let (salt, iv) = random.split_at(16);
        let iv = iv.try_into().map_err(|_| EncryptKeyError)?;
        let parameters = Parameters::generate_pbkdf2_sha256_aes256cbc(PBKDF2_ITERATIONS, salt, iv)
            .map_err(|_| EncryptKeyError)?;
        let info = PrivateKeyInfoRef::from_der(self.pkcs8.expose()).map_err(|_| EncryptKeyError)?;
        let encrypted = info
            .encrypt_with_params(parameters, passphrase.expose())
            .map_err(|_| EncryptKeyError)?;
        Ok(Secret::from(pem::encode(ENCRYPTED_LABEL, encrypted.as_bytes())))
    }

    /// Writes [`Self::pkcs8_pem`] to a new file that only its owner may read, and syncs it.
    ///
    /// # Errors
    /// The file is there already, or cannot be written.
    pub fn write_new(&self, path: &Path) -> io::Result<()> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        file.write_all(self.pkcs8_pem().expose())?;
        file.sync_all()
    }
}

/// The content of a key file, wiped when dropped.
fn read(path: &Path, name: &str) -> Result<Zeroizing<Vec<u8>>, OpenKeyError> {
    let failed = |source| OpenKeyError::Read { key: name.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    warn_if_others_may_read(&file.metadata().map_err(failed)?, name);
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let mut content = Zeroizing::new(Vec::with_capacity(MAX_FILE_BYTES + 1));
    file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() > MAX_FILE_BYTES {
        let (key, limit_bytes) = (name.to_owned(), MAX_FILE_BYTES);
        return Err(OpenKeyError::TooLong { key, limit_bytes });
    }
    Ok(content)
}

#[cfg(unix)]
fn warn_if_others_may_read(metadata: &fs::Metadata, name: &str) {
    let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions());
    if mode & 0o077 != 0 {
        let mode = format!("{:o}", mode & 0o777);
        tracing::warn!(key = name, mode, "others than its owner may read this private key");
    }
}

#[cfg(not(unix))]
fn warn_if_others_may_read(_metadata: &fs::Metadata, _name: &str) {}

/// A private key as it lies in a file.
enum StoredKey {
    Pkcs8(Zeroizing<Vec<u8>>),
    Encrypted(Zeroizing<Vec<u8>>),
    Ec(Zeroizing<Vec<u8>>),
}

impl StoredKey {
    fn from_content(name: &str, content: &[u8]) -> Result<Self, OpenKeyError> {
        let key = || name.to_owned();
        if !pem::looks_like_pem(content) {
            let der = Zeroizing::new(content.to_vec());
            let encrypted = EncryptedPrivateKeyInfoRef::from_der(content).is_ok();
            return Ok(if encrypted { Self::Encrypted(der) } else { Self::Pkcs8(der) });
        }
        let blocks =
            pem::blocks(content).map_err(|source| OpenKeyError::Pem { key: key(), source })?;
        let labels = blocks.iter().map(|block| block.label.clone()).collect();
        let mut keys = blocks.into_iter().filter_map(|block| match block.label.as_str() {
            PKCS8_LABEL => Some(Self::Pkcs8(block.der)),
            ENCRYPTED_LABEL => Some(Self::Encrypted(block.der)),
            "EC PRIVATE KEY" => Some(Self::Ec(block.der)),
            // `EC PARAMETERS`, which openssl writes before a key, and certificates beside it.
            _ => None,
        });
        match (keys.next(), keys.next()) {
            (Some(stored), None) => Ok(stored),
            (Some(_), Some(_)) => Err(OpenKeyError::SeveralKeys { key: key() }),
            (None, _) => Err(OpenKeyError::NoPrivateKey { key: key(), labels }),
        }
    }
}

fn decrypt(
    name: &str,
    der: &[u8],
    passphrase: &Secret,
) -> Result<Zeroizing<Vec<u8>>, OpenKeyError> {
    let key = || name.to_owned();
    // An algorithm that the reader does not know shows here, before any passphrase is used.
    let encrypted = EncryptedPrivateKeyInfoRef::from_der(der)
        .map_err(|_| OpenKeyError::Encryption { key: key() })?;
    match encrypted.decrypt(passphrase.expose()) {
        Ok(document) => Ok(document.to_bytes()),
        Err(pkcs8::Error::EncryptedPrivateKey(
            pkcs8::pkcs5::Error::UnsupportedAlgorithm { .. }
            | pkcs8::pkcs5::Error::AlgorithmParametersInvalid { .. },
        )) => Err(OpenKeyError::Encryption { key: key() }),
        // A wrong passphrase is seen as bad padding, or by chance as plaintext that is no key.
        Err(_) => Err(OpenKeyError::PassphraseWrong { key: key() }),
    }
}

enum KeyPair {
    Ecdsa { pair: EcdsaKeyPair, algorithm: SignatureAlgorithm },
    Rsa(RsaKeyPair),
}

impl KeyPair {
    fn from_pkcs8(name: &str, der: &[u8]) -> Result<Self, OpenKeyError> {
        let malformed = || OpenKeyError::Malformed { key: name.to_owned() };
        let kind = || OpenKeyError::Kind { key: name.to_owned() };
        let info = PrivateKeyInfoRef::from_der(der).map_err(|_| malformed())?;
        match info.algorithm.oid {
            rfc5912::ID_EC_PUBLIC_KEY => {
                let curve = info.algorithm.parameters_oid().map_err(|_| malformed())?;
                let (kind, algorithm) = curve_algorithms(curve).ok_or_else(kind)?;
                let pair = EcdsaKeyPair::from_pkcs8(kind, der).map_err(|_| malformed())?;
                Ok(Self::Ecdsa { pair, algorithm })
            }
            rfc5912::RSA_ENCRYPTION => {
                RsaKeyPair::from_pkcs8(der).map(Self::Rsa).map_err(|_| malformed())
            }
            _ => Err(kind()),
        }
    }

    /// `ECPrivateKey` names its curve in an optional field; aws-lc compares it with the one asked.
    fn from_rfc5915(name: &str, der: &[u8]) -> Result<Self, OpenKeyError> {
        [rfc5912::SECP_256_R_1, rfc5912::SECP_384_R_1]
            .into_iter()
            .filter_map(curve_algorithms)
            .find_map(|(kind, algorithm)| {
                let pair = EcdsaKeyPair::from_private_key_der(kind, der).ok()?;
                Some(Self::Ecdsa { pair, algorithm })
            })
            .ok_or_else(|| OpenKeyError::Malformed { key: name.to_owned() })
    }

    fn public_key_der(&self) -> Option<Vec<u8>> {
        let der: PublicKeyX509Der<'_> = match self {
            Self::Ecdsa { pair, .. } => pair.public_key().as_der().ok()?,
            Self::Rsa(pair) => pair.public_key().as_der().ok()?,
        };
        Some(der.as_ref().to_vec())
    }
}

fn curve_algorithms(
    curve: ObjectIdentifier,
) -> Option<(&'static EcdsaSigningAlgorithm, SignatureAlgorithm)> {
    match curve {
        rfc5912::SECP_256_R_1 => {
            Some((&signature::ECDSA_P256_SHA256_ASN1_SIGNING, SignatureAlgorithm::EcdsaP256Sha256))
        }
        rfc5912::SECP_384_R_1 => {
            Some((&signature::ECDSA_P384_SHA384_ASN1_SIGNING, SignatureAlgorithm::EcdsaP384Sha384))
        }
        _ => None,
    }
}

/// A key held in this process.
struct FileSigner {
    name: String,
    key_pair: KeyPair,
    public_key: VerifyingKey,
}

impl FileSigner {
    fn new(name: &str, key_pair: KeyPair) -> Result<Self, OpenKeyError> {
        // Sizes and exponent of an RSA key are judged where those of clients' keys are.
        let public_key = key_pair
            .public_key_der()
            .and_then(|spki_der| VerifyingKey::parse_der(&spki_der).ok())
            .ok_or_else(|| OpenKeyError::Kind { key: name.to_owned() })?;
        Ok(Self { name: name.to_owned(), key_pair, public_key })
    }

    fn sign_now(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let random = SystemRandom::new();
        let signed = match &self.key_pair {
            KeyPair::Ecdsa { pair, .. } => {
                pair.sign(&random, message).map(|signature| signature.as_ref().to_vec())
            }
            KeyPair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map(|()| signature)
            }
        };
        signed.map_err(|_| SignError::Failed { key: self.name.clone() })
    }
}

impl Signer for FileSigner {
    fn name(&self) -> &str {
        &self.name
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match &self.key_pair {
            KeyPair::Ecdsa { algorithm, .. } => *algorithm,
            KeyPair::Rsa(_) => SignatureAlgorithm::RsaPkcs1Sha256,
        }
    }

    fn public_key_der(&self) -> &[u8] {
        self.public_key.spki_der()
    }

    fn sign<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<Vec<u8>, SignError>> {
        // Tens of microseconds with ECDSA, less than handing it to another thread and back; RSA
        // takes a millisecond or two.
        Box::pin(async move { self.sign_now(message) })
    }
}

/// Name and algorithm; the key itself has no text form here.
impl fmt::Debug for FileSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSigner")
            .field("name", &self.name)
            .field("algorithm", &self.algorithm())
            .finish_non_exhaustive()
    }
}

fn found(labels: &[String]) -> String {
    if labels.is_empty() { String::new() } else { format!(", only '{}'", labels.join("', '")) }
}

const PKCS8_LABEL: &str = "PRIVATE KEY";
const ENCRYPTED_LABEL: &str = "ENCRYPTED PRIVATE KEY";
/// OWASP's figure for PBKDF2 with HMAC-SHA-256.
const PBKDF2_ITERATIONS: u32 = 600_000;
/// Ours: an encrypted RSA key of 4096 bits has 4 KiB of PEM.
const MAX_FILE_BYTES: usize = 64 * 1024;

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
