//! Keys in files that a key service encrypted.
//!
//! In: a [`WrappedUri`]. Out: a [`Signer`] that holds the key in this process, after the service
//! was asked once. Knows nothing of what is signed, and of services only [`KeyEncryption`].
//!
//! The file holds the private key encrypted under a data key of its own, and the data key encrypted
//! by the service under a key that never leaves it (the key encryption key). Both are bound to the
//! public key. Plaintext is in memory that is wiped, in a process whose memory is locked.

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;

use super::{
    KeyUri, Signer, aws_kms, azure_kms,
    file::{self, GeneratedKey},
    gcp_kms,
    remote::{Fault, FaultKind, RemoteBounds, persistently, random_jitter},
    service::OpenServiceKeyError,
    vault,
};
use crate::secret::Secret;

mod envelope;
mod memory;
mod uri;

pub use envelope::{Binding, Envelope, EnvelopeError};
pub use memory::MemoryError;
pub use uri::{WrappedUri, WrappedUriError};

use envelope::{DATA_KEY_BYTES, NONCE_BYTES};

/// A key in a service that encrypts other keys.
///
/// Contract: what `wrap` answers, `unwrap` turns back for the same binding and for no other, where
/// the service can bind (our own encryption does in any case); one attempt each; errors carry no
/// secret.
pub trait KeyEncryption: Send + Sync + fmt::Debug {
    /// Encrypts a data key of [`DATA_KEY_BYTES`] bytes.
    fn wrap<'a>(
        &'a self,
        data_key: &'a Secret,
        binding: &'a Binding,
    ) -> BoxFuture<'a, Result<Vec<u8>, Fault>>;

    /// Decrypts what `wrap` answered.
    fn unwrap<'a>(
        &'a self,
        wrapped: &'a [u8],
        binding: &'a Binding,
    ) -> BoxFuture<'a, Result<Secret, Fault>>;
}

/// The key encryption key behind a URI.
async fn key_encryption(kek: &KeyUri) -> Result<Arc<dyn KeyEncryption>, WrappedFault> {
    match kek {
        KeyUri::AwsKms(uri) => Ok(aws_kms::key_encryption(uri).await?),
        KeyUri::AzureKms(uri) => Ok(azure_kms::key_encryption(uri).await?),
        KeyUri::GcpKms(uri) => Ok(gcp_kms::key_encryption(uri).await?),
        KeyUri::Vault(uri) => Ok(vault::key_encryption(uri).await?),
        KeyUri::File(_) | KeyUri::Pkcs11(_) | KeyUri::Wrapped(_) => Err(WrappedFault::NotAService),
    }
}

/// Locks the memory of this process, reads the file, has its data key decrypted, and holds the key.
///
/// # Errors
/// Any of these failed, or the file is not as it was written.
pub async fn open(
    uri: &WrappedUri,
    passphrase: Option<&Secret>,
) -> Result<Arc<dyn Signer>, OpenWrappedKeyError> {
    let failed = |fault| OpenWrappedKeyError { key: uri.to_string(), fault: Box::new(fault) };
    if passphrase.is_some() {
        return Err(failed(WrappedFault::Passphrase));
    }
    opened(uri).await.map_err(failed)
}

async fn opened(uri: &WrappedUri) -> Result<Arc<dyn Signer>, WrappedFault> {
    memory::seal()?;
    let envelope = Envelope::read(&uri.path)?;
    let binding = envelope.binding();
    let kek = key_encryption(&uri.kek).await?;
    let wrapped = envelope.wrapped_data_key();
    let data_key = ask(|| kek.unwrap(wrapped, &binding))
        .await
        .map_err(|fault| WrappedFault::Unwrap { recorded: envelope.kek().to_owned(), fault })?;
    let pkcs8 = envelope
        .open(&data_key)
        .ok_or_else(|| WrappedFault::Changed { recorded: envelope.kek().to_owned() })?;
    let signer = file::parse(&uri.to_string(), pkcs8.expose(), None)?;
    if signer.public_key_der() != envelope.public_key_der() {
        return Err(WrappedFault::OtherKey);
    }
    Ok(signer)
}

/// The content of a new file: `key`, encrypted under the key encryption key of `uri`. `random` is
/// used for nothing else.
///
/// # Errors
/// Memory cannot be locked, or the service does not encrypt.
pub async fn seal(
    uri: &WrappedUri,
    key: &GeneratedKey,
    random: SealingRandom,
) -> Result<Vec<u8>, OpenWrappedKeyError> {
    sealed(uri, key, random)
        .await
        .map_err(|fault| OpenWrappedKeyError { key: uri.to_string(), fault: Box::new(fault) })
}

async fn sealed(
    uri: &WrappedUri,
    key: &GeneratedKey,
    random: SealingRandom,
) -> Result<Vec<u8>, WrappedFault> {
    memory::seal()?;
    let public_key_der = key.signer.public_key_der();
    let kek = key_encryption(&uri.kek).await?;
    let binding = Binding::to_key(public_key_der);
    let wrapped = ask(|| kek.wrap(&random.data_key, &binding))
        .await
        .map_err(|fault| WrappedFault::Wrap { fault })?;
    let SealingRandom { data_key, nonce } = random;
    let kek = uri.kek.to_string();
    let envelope =
        Envelope::seal(key.pkcs8.expose(), public_key_der, &data_key, nonce, kek, wrapped)?;
    Ok(envelope.to_file())
}

/// In time, and again where that may help.
async fn ask<T, F: Future<Output = Result<T, Fault>>>(call: impl FnMut() -> F) -> Result<T, Fault> {
    let (bounds, jitter) = (RemoteBounds::default(), random_jitter());
    let asking = persistently(&bounds, &jitter, call);
    tokio::time::timeout(Duration::from_secs(OPEN_SECONDS), asking).await.unwrap_or_else(|_| {
        let code = format!("no answer within {OPEN_SECONDS} seconds");
        Err(Fault { kind: FaultKind::Transient, operation: "the key service", code })
    })
}

/// What must be random in a new file.
#[derive(Debug)]
pub struct SealingRandom {
    data_key: Secret,
    nonce: [u8; NONCE_BYTES],
}

impl SealingRandom {
    /// How many random bytes it takes.
    pub const BYTES: usize = DATA_KEY_BYTES + NONCE_BYTES;

    /// From bytes that nothing else uses.
    pub fn new(mut random: [u8; Self::BYTES]) -> Self {
        let (data_key, rest) = random.split_at(DATA_KEY_BYTES);
        let data_key = Secret::new(data_key.to_vec());
        let mut nonce = [0; NONCE_BYTES];
        nonce.copy_from_slice(rest);
        zeroize::Zeroize::zeroize(&mut random);
        Self { data_key, nonce }
    }
}

/// A wrapped key does not open, or was not made.
#[derive(Debug, thiserror::Error)]
#[error("key {key}: {fault}")]
pub struct OpenWrappedKeyError {
    /// Which.
    pub key: String,
    /// Why.
    pub fault: Box<WrappedFault>,
}

/// What is wrong. No variant carries a secret.
#[derive(Debug, thiserror::Error)]
pub enum WrappedFault {
    #[error("a passphrase is configured, but the key service decrypts this file: remove it")]
    Passphrase,
    #[error("the key of 'kek=' is in no key service")]
    NotAService,
    #[error(transparent)]
    Memory(#[from] MemoryError),
    #[error("the file '{}' cannot be read: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    #[error("the key service of 'kek=' cannot be used: {0}")]
    AwsKms(#[from] aws_kms::OpenAwsKeyError),
    #[error("the key service of 'kek=' cannot be used: {0}")]
    Service(#[from] OpenServiceKeyError),
    #[error(
        "the key service did not decrypt the file's data key: {fault}; the file says that it was \
         encrypted under {recorded:?}"
    )]
    Unwrap { recorded: String, fault: Fault },
    #[error(
        "it does not decrypt: the file was changed after it was written, or 'kek' names another \
         key than the one that the file says it was encrypted under, {recorded:?}"
    )]
    Changed { recorded: String },
    #[error("the key service did not encrypt the data key: {fault}")]
    Wrap { fault: Fault },
    #[error("what was decrypted is no key: {0}")]
    Key(#[from] file::OpenKeyError),
    #[error("what was decrypted is another key than the file says")]
    OtherKey,
}

/// For all attempts to have a data key decrypted or encrypted.
const OPEN_SECONDS: u64 = 15;

#[cfg(test)]
#[path = "wrapped/tests.rs"]
mod tests;
