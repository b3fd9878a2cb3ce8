//! Keys in AWS KMS.
//!
//! In: an [`AwsKmsUri`]; credentials come by AWS's standard chain. Out: a [`Signer`] that asks KMS,
//! or a [`KeyEncryption`]. Only hashes and data keys go there. Knows nothing of what is signed.
//!
//! An alias is resolved once, when the key is opened: whoever moves it under a running server does
//! not change the key. Attempts and their deadlines are those of [`super::remote`], so the SDK's
//! own retries are off.

use std::{fmt, sync::Arc, time::Duration};

use aws_config::{
    AppName, BehaviorVersion, Region, retry::RetryConfig,
    stalled_stream_protection::StalledStreamProtectionConfig, timeout::TimeoutConfig,
};
use aws_lc_rs::digest::Digest;
use aws_sdk_kms::{
    Client,
    operation::get_public_key::GetPublicKeyOutput,
    primitives::Blob,
    types::{KeyUsageType, MessageType, SigningAlgorithmSpec},
};
use futures_util::future::BoxFuture;

use super::{
    SignatureAlgorithm, Signer, VerifyingKey,
    remote::{Backend, Fault, Remote, RemoteBounds, persistently, random_jitter},
    wrapped::{Binding, KeyEncryption},
};
use crate::{secret::Secret, telemetry::metrics::KeySeries};

mod error;
mod uri;

pub use error::{AwsKeyFault, OpenAwsKeyError};
pub use uri::{AwsKmsUri, AwsKmsUriError};

use error::fault_of;

/// Opens the key that `uri` names: finds region and credentials, fetches the public key, and sees
/// whether it may be one of ours. That it signs, its user proves.
///
/// # Errors
/// Any of these failed, or took longer than [`OPEN_SECONDS`].
pub async fn open(
    uri: &AwsKmsUri,
    passphrase: Option<&Secret>,
    series: KeySeries,
) -> Result<Arc<dyn Signer>, OpenAwsKeyError> {
    let key = uri.to_string();
    let failed = |fault| OpenAwsKeyError { key: key.clone(), fault: Box::new(fault) };
    if passphrase.is_some() {
        return Err(failed(AwsKeyFault::Passphrase));
    }
    let opening = tokio::time::timeout(Duration::from_secs(OPEN_SECONDS), backend(uri));
    let opened = opening
        .await
        .unwrap_or(Err(AwsKeyFault::Hangs { seconds: OPEN_SECONDS }))
        .map_err(failed)?;
    let (backend, public_key) = opened;
    let bounds = RemoteBounds::default();
    Ok(Arc::new(Remote::new(key, public_key, backend, bounds, random_jitter(), series)))
}

/// The key that `uri` names, to encrypt other keys with.
///
/// # Errors
/// No region is known, or credentials and region took longer than [`OPEN_SECONDS`].
pub async fn key_encryption(uri: &AwsKmsUri) -> Result<Arc<dyn KeyEncryption>, OpenAwsKeyError> {
    let opening = tokio::time::timeout(Duration::from_secs(OPEN_SECONDS), client(uri));
    let client = opening
        .await
        .unwrap_or(Err(AwsKeyFault::Hangs { seconds: OPEN_SECONDS }))
        .map_err(|fault| OpenAwsKeyError { key: uri.to_string(), fault: Box::new(fault) })?;
    Ok(Arc::new(AwsKeyEncryption { client, key_id: uri.key_id.clone() }))
}

/// A key in KMS, behind the calls of [`Backend`].
struct AwsKmsBackend {
    client: Client,
    key_arn: String,
    algorithm: SigningAlgorithmSpec,
}

impl Backend for AwsKmsBackend {
    fn sign_digest(&self, digest: Digest) -> BoxFuture<'_, Result<Vec<u8>, Fault>> {
        Box::pin(async move {
            let answer = self
                .client
                .sign()
                .key_id(&self.key_arn)
                .message(Blob::new(digest.as_ref()))
                .message_type(MessageType::Digest)
                .signing_algorithm(self.algorithm.clone())
                .send()
                .await
                .map_err(|error| fault_of("kms:Sign", &error))?;
            // An answer without one is no signature, which who verifies it finds.
            Ok(answer.signature.map(Blob::into_inner).unwrap_or_default())
        })
    }
}

/// The client knows credentials, so it has no text here.
impl fmt::Debug for AwsKmsBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsKmsBackend").field("key_arn", &self.key_arn).finish_non_exhaustive()
    }
}

/// A key in KMS that encrypts others.
struct AwsKeyEncryption {
    client: Client,
    key_id: String,
}

impl KeyEncryption for AwsKeyEncryption {
    fn wrap<'a>(
        &'a self,
        data_key: &'a Secret,
        binding: &'a Binding,
    ) -> BoxFuture<'a, Result<Vec<u8>, Fault>> {
        Box::pin(async move {
            let mut call = self.client.encrypt().key_id(&self.key_id);
            for (name, value) in binding.pairs() {
                call = call.encryption_context(name, value);
            }
            let call = call.plaintext(Blob::new(data_key.expose())).send();
            let answer = call.await.map_err(|error| fault_of("kms:Encrypt", &error))?;
            Ok(answer.ciphertext_blob.map(Blob::into_inner).unwrap_or_default())
        })
    }

    fn unwrap<'a>(
        &'a self,
        wrapped: &'a [u8],
        binding: &'a Binding,
    ) -> BoxFuture<'a, Result<Secret, Fault>> {
        Box::pin(async move {
            // The key is named although the ciphertext tells it: no other one is to decrypt.
            let mut call = self.client.decrypt().key_id(&self.key_id);
            for (name, value) in binding.pairs() {
                call = call.encryption_context(name, value);
            }
            let call = call.ciphertext_blob(Blob::new(wrapped)).send();
            let answer = call.await.map_err(|error| fault_of("kms:Decrypt", &error))?;
            Ok(Secret::new(answer.plaintext.map(Blob::into_inner).unwrap_or_default()))
        })
    }
}

impl fmt::Debug for AwsKeyEncryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsKeyEncryption").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

async fn backend(uri: &AwsKmsUri) -> Result<(AwsKmsBackend, VerifyingKey), AwsKeyFault> {
    let client = client(uri).await?;
    let answer = persistently(&RemoteBounds::default(), &random_jitter(), || async {
        let call = client.get_public_key().key_id(&uri.key_id).send();
        call.await.map_err(|error| fault_of("kms:GetPublicKey", &error))
    })
    .await
    .map_err(AwsKeyFault::Call)?;
    let public_key = public_key_of(&answer)?;
    let algorithm = aws_algorithm(public_key.algorithm());
    if !answer.signing_algorithms().contains(&algorithm) {
        return Err(AwsKeyFault::Algorithm { algorithm: public_key.algorithm() });
    }
    let key_arn = answer.key_id.ok_or(AwsKeyFault::Incomplete { part: "the key's ARN" })?;
    Ok((AwsKmsBackend { client, key_arn, algorithm }, public_key))
}

fn public_key_of(answer: &GetPublicKeyOutput) -> Result<VerifyingKey, AwsKeyFault> {
    match answer.key_usage() {
        Some(KeyUsageType::SignVerify) => {}
        Some(usage) => return Err(AwsKeyFault::Usage { usage: usage.as_str().to_owned() }),
        None => return Err(AwsKeyFault::Incomplete { part: "the key's usage" }),
    }
    let spki_der = answer.public_key().ok_or(AwsKeyFault::Incomplete { part: "the public key" })?;
    VerifyingKey::parse_der(spki_der.as_ref()).map_err(|source| AwsKeyFault::Kind {
        spec: answer.key_spec().map_or("unknown", |spec| spec.as_str()).to_owned(),
        source,
    })
}

/// A client for the service where the key is. Fetches no credentials yet.
async fn client(uri: &AwsKmsUri) -> Result<Client, AwsKeyFault> {
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build())
        // Answers are small, and who waits for them has a deadline.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Ok(name) = AppName::new("mayfly") {
        loader = loader.app_name(name);
    }
    if let Some(region) = &uri.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(profile) = &uri.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(endpoint) = &uri.endpoint {
        loader = loader.endpoint_url(endpoint.url());
    }
    let config = loader.load().await;
    if config.region().is_none() {
        return Err(AwsKeyFault::NoRegion);
    }
    Ok(Client::new(&config))
}

/// What AWS calls it.
fn aws_algorithm(algorithm: SignatureAlgorithm) -> SigningAlgorithmSpec {
    match algorithm {
        SignatureAlgorithm::EcdsaP256Sha256 => SigningAlgorithmSpec::EcdsaSha256,
        SignatureAlgorithm::EcdsaP384Sha384 => SigningAlgorithmSpec::EcdsaSha384,
        SignatureAlgorithm::RsaPkcs1Sha256 => SigningAlgorithmSpec::RsassaPkcs1V15Sha256,
    }
}

/// Below the time for one attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// From looking for a region and credentials to having the public key: instances and web
/// identities are asked for theirs first.
pub const OPEN_SECONDS: u64 = 15;

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
