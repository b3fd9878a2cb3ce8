//! Private keys that sign, wherever they live.
//!
//! In: a key URI and what unlocks it. Out: a [`Signer`]. Knows nothing of certificates and logs.
use std::fmt;

use futures_util::future::BoxFuture;

/// The signature algorithms a key of ours may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// ecdsa-with-SHA256 over P-256.
    EcdsaP256Sha256,
    /// ecdsa-with-SHA384 over P-384.
    EcdsaP384Sha384,
    /// sha256WithRSAEncryption (PKCS #1 v1.5), 2048 to 4096 bits.
    RsaPkcs1Sha256,
}

/// A private key that can sign.
///
/// Contract, held by the suite in `keys::contract` for every implementation:
/// - `sign` takes the whole message and hashes it itself as `algorithm` says;
/// - the answer is the DER form (ECDSA-Sig-Value, or the RSA octets) as it stands in a BIT STRING;
/// - a remote implementation verifies each signature under `public_key` before it returns it;
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

/// Why a key did not sign.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The service behind the key did not answer, or not in time.
    #[error("key {key}: could not be reached")]
    Unavailable { key: String, #[source] source: Option<Box<dyn std::error::Error + Send + Sync>> },
    /// The key answered, but not with a signature that verifies.
    #[error("key {key}: the signature it returned does not verify")]
    BadSignature { key: String },
}
