//! Private keys that sign, wherever they live.
//!
//! In: a key URI and what unlocks it. Out: a [`Signer`]. Knows nothing of certificates and logs.

use std::{fmt, sync::Arc};

use const_oid::{ObjectIdentifier, db::rfc5912};
use der::{Decode, Encode, asn1::UintRef};
use futures_util::future::{BoxFuture, FutureExt as _};

use crate::{
    secret::Secret,
    telemetry::metrics::{KeySeries, Metrics},
    x509::{ClientKeyAlgorithm, PublicKey, public_key::KeyError},
};

pub mod aws_kms;
pub mod azure_kms;
#[cfg(test)]
pub(crate) mod contract;
pub mod dev;
pub mod file;
pub mod gcp_kms;
#[cfg(test)]
#[expect(dead_code, reason = "the tests under tests/ use the rest")]
#[path = "../../tests/support/key_services/mod.rs"]
pub(crate) mod key_services;
pub mod pkcs11;
pub mod remote;
pub mod service;
mod spki;
#[cfg(test)]
pub(crate) mod trial;
mod uri;
pub mod vault;
pub mod wrapped;

pub use uri::{KeyUri, KeyUriError};

/// The signature algorithms a key of ours may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// ecdsa-with-SHA256 over P-256.
    EcdsaP256Sha256,
    /// ecdsa-with-SHA384 over P-384.
    EcdsaP384Sha384,
    /// sha256WithRSAEncryption (PKCS #1 v1.5); 2048, 3072 or 4096 bits.
    RsaPkcs1Sha256,
}

impl SignatureAlgorithm {
    /// The algorithm that a key of this kind signs with; `None` if it is no kind for a CA or log:
    /// clients do not take Ed25519 and P-521 there.
    pub fn of_key(key: ClientKeyAlgorithm) -> Option<Self> {
        match key {
            ClientKeyAlgorithm::EcdsaP256 => Some(Self::EcdsaP256Sha256),
            ClientKeyAlgorithm::EcdsaP384 => Some(Self::EcdsaP384Sha384),
            ClientKeyAlgorithm::Rsa { .. } => Some(Self::RsaPkcs1Sha256),
            ClientKeyAlgorithm::EcdsaP521 | ClientKeyAlgorithm::Ed25519 => None,
        }
    }

    /// Its object identifier.
    pub fn oid(self) -> ObjectIdentifier {
        match self {
            Self::EcdsaP256Sha256 => rfc5912::ECDSA_WITH_SHA_256,
            Self::EcdsaP384Sha384 => rfc5912::ECDSA_WITH_SHA_384,
            Self::RsaPkcs1Sha256 => rfc5912::SHA_256_WITH_RSA_ENCRYPTION,
        }
    }

    /// Its AlgorithmIdentifier in DER, as it stands in a certificate: without parameters for
    /// ECDSA (RFC 5758, 3.2), with NULL for RSA (RFC 4055, 5).
    pub fn identifier_der(self) -> &'static [u8] {
        match self {
            Self::EcdsaP256Sha256 => &[
                0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02, //
            ],
            Self::EcdsaP384Sha384 => &[
                0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03, //
            ],
            Self::RsaPkcs1Sha256 => &[
                0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b, 0x05,
                0x00,
            ],
        }
    }
}

impl SignatureAlgorithm {
    /// Whether bytes have the form of a signature of this algorithm, as they stand in a BIT
    /// STRING. Costs next to nothing, and catches the raw `r || s` that some key services answer.
    pub fn has_form(self, signature: &[u8]) -> bool {
        let ecdsa = |scalar_bytes: usize| {
            EcdsaSigValue::from_der(signature).is_ok_and(|EcdsaSigValue { r, s }| {
                [r, s].iter().all(|number| {
                    let bytes = number.as_bytes();
                    bytes != [0] && bytes.len() <= scalar_bytes
                })
            })
        };
        match self {
            Self::EcdsaP256Sha256 => ecdsa(32),
            Self::EcdsaP384Sha384 => ecdsa(48),
            Self::RsaPkcs1Sha256 => [256, 384, 512].contains(&signature.len()),
        }
    }
}

/// Ecdsa-Sig-Value (RFC 3279, 2.2.3).
#[derive(der::Sequence)]
struct EcdsaSigValue<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

/// The DER form of a raw `r || s`, which PKCS #11 and some key services answer; `None` if it
/// cannot be one of this algorithm.
fn ecdsa_der_of_raw(algorithm: SignatureAlgorithm, raw: &[u8]) -> Option<Vec<u8>> {
    let scalar_bytes = match algorithm {
        SignatureAlgorithm::EcdsaP256Sha256 => 32,
        SignatureAlgorithm::EcdsaP384Sha384 => 48,
        SignatureAlgorithm::RsaPkcs1Sha256 => return None,
    };
    let (r, s) = raw.split_at_checked(scalar_bytes).filter(|(_, s)| s.len() == scalar_bytes)?;
    let value = EcdsaSigValue { r: UintRef::new(r).ok()?, s: UintRef::new(s).ok()? };
    value.to_der().ok()
}

/// For people: `ECDSA P-256 with SHA-256`.
impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EcdsaP256Sha256 => "ECDSA P-256 with SHA-256",
            Self::EcdsaP384Sha384 => "ECDSA P-384 with SHA-384",
            Self::RsaPkcs1Sha256 => "RSA PKCS #1 v1.5 with SHA-256",
        })
    }
}

/// A private key that can sign.
///
/// Contract, held by the suite in `keys::contract` for every implementation:
/// - `sign` takes the whole message and hashes it itself as `algorithm` says;
/// - the answer is the DER form (ECDSA-Sig-Value, or the RSA octets) as it stands in a BIT STRING;
/// - a remote implementation verifies each signature under `public_key_der` before it returns it;
/// - errors name key and operation, never a secret; `sign` may be called concurrently;
/// - dropping the future abandons the answer, never the key.
pub trait Signer: Send + Sync + fmt::Debug {
    /// How to name this key in messages: its URI without secrets.
    fn name(&self) -> &str;
    /// Which algorithm `sign` uses.
    fn algorithm(&self) -> SignatureAlgorithm;
    /// DER SubjectPublicKeyInfo of the public half.
    fn public_key_der(&self) -> &[u8];
    /// Signs `message`.
    fn sign<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<Vec<u8>, SignError>>;
}

/// Opens the key that a configuration names. A server then asks [`dev::refuse`] about it.
/// `passphrase` is the PIN where the key lies in a token.
///
/// # Errors
/// The key cannot be reached, unlocked or used.
pub async fn open(
    uri: &KeyUri,
    passphrase: Option<&Secret>,
) -> Result<Arc<dyn Signer>, OpenKeyError> {
    open_counted(uri, passphrase, Metrics::new().key(&uri.to_string())).await
}

/// As [`open`]; `series` counts the calls of a key that lives elsewhere.
///
/// # Errors
/// As [`open`].
pub async fn open_counted(
    uri: &KeyUri,
    passphrase: Option<&Secret>,
    series: KeySeries,
) -> Result<Arc<dyn Signer>, OpenKeyError> {
    match uri {
        KeyUri::File(path) => Ok(file::open(path, passphrase)?),
        KeyUri::Pkcs11(uri) => Ok(pkcs11::open(uri, passphrase, series).await?),
        KeyUri::AzureKms(key) => {
            service::refuse_passphrase(uri, passphrase)?;
            Ok(azure_kms::open(key, series).await?)
        }
        KeyUri::GcpKms(key) => {
            service::refuse_passphrase(uri, passphrase)?;
            Ok(gcp_kms::open(key, series).await?)
        }
        KeyUri::Vault(key) => {
            service::refuse_passphrase(uri, passphrase)?;
            Ok(vault::open(key, series).await?)
        }
        // Boxed, or the futures of SDKs are part of all that open keys: the compiler gives up.
        KeyUri::AwsKms(uri) => Ok(aws_kms::open(uri, passphrase, series).boxed().await?),
        KeyUri::Wrapped(uri) => Ok(wrapped::open(uri, passphrase).boxed().await?),
    }
}

/// Why a key does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenKeyError {
    #[error(transparent)]
    File(#[from] file::OpenKeyError),
    #[error(transparent)]
    Pkcs11(#[from] pkcs11::OpenTokenKeyError),
    #[error(transparent)]
    Service(#[from] service::OpenServiceKeyError),
    #[error(transparent)]
    AwsKms(#[from] aws_kms::OpenAwsKeyError),
    #[error(transparent)]
    Wrapped(#[from] wrapped::OpenWrappedKeyError),
}

/// Why a key did not sign.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The service behind the key did not answer, or not in time.
    #[error("key {key}: could not be reached")]
    Unavailable {
        key: String,
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The service behind the key says that it does not sign with it.
    #[error("key {key}: it was refused")]
    Refused {
        key: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The key answered, but not with a signature that verifies.
    #[error("key {key}: the signature it returned does not verify")]
    BadSignature { key: String },
    /// The library that holds the key here refused to sign.
    #[error("key {key}: signing failed")]
    Failed { key: String },
}

/// A public key of ours or of a log, parsed once, with the one algorithm it is used with. Cheap to
/// clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyingKey {
    algorithm: SignatureAlgorithm,
    key: Arc<PublicKey>,
}

/// Why a public key cannot be one of a CA or log.
#[derive(Debug, thiserror::Error)]
pub enum VerifyingKeyError {
    #[error("the public key is not usable")]
    Key {
        #[source]
        source: KeyError,
    },
    #[error("{kind} keys sign no certificates and no logs here, because clients refuse them")]
    Kind { kind: ClientKeyAlgorithm },
}

impl VerifyingKey {
    /// Parses a DER SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// It is malformed, weak, or of a kind that no CA and no log may have.
    pub fn parse_der(spki_der: &[u8]) -> Result<Self, VerifyingKeyError> {
        let key =
            PublicKey::parse_der(spki_der).map_err(|source| VerifyingKeyError::Key { source })?;
        let algorithm = SignatureAlgorithm::of_key(key.algorithm())
            .ok_or(VerifyingKeyError::Kind { kind: key.algorithm() })?;
        Ok(Self { algorithm, key: Arc::new(key) })
    }

    /// The algorithm its signatures are made with.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// DER SubjectPublicKeyInfo.
    pub fn spki_der(&self) -> &[u8] {
        self.key.spki_der()
    }

    /// Whether `signature` (in the form that [`Signer::sign`] returns) is one over `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        // The default algorithm of each permitted kind is the one that `of_key` names.
        self.key.verifies(message, signature)
    }
}

/// Whether `signature` over `message` verifies under a DER SubjectPublicKeyInfo with `algorithm`;
/// `false` also if the key is not one for it. Where a key is used often, keep a [`VerifyingKey`].
pub fn verify(
    algorithm: SignatureAlgorithm,
    spki_der: &[u8],
    message: &[u8],
    signature: &[u8],
) -> bool {
    VerifyingKey::parse_der(spki_der)
        .is_ok_and(|key| key.algorithm() == algorithm && key.verifies(message, signature))
}

#[cfg(test)]
mod tests {
    use ::spki::AlgorithmIdentifierRef;

    use super::*;
    use crate::x509::public_key::SignatureScheme;

    #[test]
    fn the_algorithm_identifiers_are_der_and_have_the_parameters_that_verifiers_want() {
        for algorithm in [
            SignatureAlgorithm::EcdsaP256Sha256,
            SignatureAlgorithm::EcdsaP384Sha384,
            SignatureAlgorithm::RsaPkcs1Sha256,
        ] {
            let decoded = AlgorithmIdentifierRef::from_der(algorithm.identifier_der()).unwrap();
            assert_eq!(decoded.oid, algorithm.oid());
            assert!(SignatureScheme::from_identifier(&decoded).is_some(), "{algorithm}");
        }
    }
}
