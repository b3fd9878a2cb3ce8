//! Keys in Google Cloud KMS.
//!
//! In: a [`GcpKmsUri`], and Google's standard chain of credentials. Out: a [`Signer`] that asks
//! Cloud KMS. The key never leaves it. Knows nothing of what is signed.
//!
//! Every digest, signature and public key travels with its CRC32C, which is checked on both sides
//! (Google's "Verifying end-to-end data integrity"). Two calls are made, so they are made over the
//! HTTP library that is here anyway: Google's client of the whole service brings twenty-odd crates
//! (OpenTelemetry, IAM, long-running operations) and retries of its own, where [`Remote`] has them.
//! Its library of credentials is used, see [`credentials`].

use std::sync::Arc;

use aws_lc_rs::digest::Digest;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    SignatureAlgorithm, Signer, VerifyingKey,
    remote::{Backend, Fault, FaultKind, Remote, RemoteBounds, random_jitter},
    service::{
        Answer, Asked, Client, Endpoint, Environment, OpenServiceKeyError, ServiceFault, fault,
        in_time, public_key_of_pem, told, with_bearer, with_token,
    },
    wrapped::KeyEncryption,
};
use crate::{secret::Secret, telemetry::metrics::KeySeries};

mod credentials;
mod encryption;
mod uri;

pub use uri::GcpKmsUri;

use credentials::GoogleCredentials;
use encryption::KmsEncryption;

/// Opens the version of a key that `uri` names: reads its public half.
///
/// # Errors
/// There are no credentials, the key cannot be read or used, or it took more than
/// [`OPEN_SECONDS`](super::service::OPEN_SECONDS).
pub async fn open(
    uri: &GcpKmsUri,
    series: KeySeries,
) -> Result<Arc<dyn Signer>, OpenServiceKeyError> {
    Ok(Arc::new(opened(uri, RemoteBounds::default(), series).await?))
}

/// Reaches the key that `uri` names, to encrypt other keys under it.
///
/// # Errors
/// There are no credentials.
pub async fn key_encryption(
    uri: &GcpKmsUri,
) -> Result<Arc<dyn KeyEncryption>, OpenServiceKeyError> {
    let kms = in_time(&uri.to_string(), async { CloudKms::reach(uri) }).await?;
    Ok(Arc::new(KmsEncryption { kms }))
}

async fn opened(
    uri: &GcpKmsUri,
    bounds: RemoteBounds,
    series: KeySeries,
) -> Result<Remote<GcpKey>, OpenServiceKeyError> {
    let key = uri.to_string();
    let (backend, public_key) = in_time(&key, find(uri)).await?;
    Ok(Remote::new(key, public_key, backend, bounds, random_jitter(), series))
}

/// One version of a key, behind the calls of [`Backend`].
#[derive(Debug)]
struct GcpKey {
    kms: CloudKms,
    algorithm: SignatureAlgorithm,
}

/// Cloud KMS, asked about one version of a key.
#[derive(Debug)]
struct CloudKms {
    client: Client,
    endpoint: Endpoint,
    credentials: GoogleCredentials,
    /// `projects/…/cryptoKeyVersions/N`.
    name: String,
}

async fn find(uri: &GcpKmsUri) -> Result<(GcpKey, VerifyingKey), ServiceFault> {
    if !uri.has_version() {
        let what = "the version of the key";
        let remedy = "add '/cryptoKeyVersions/N', because signing keys have no primary one";
        return Err(ServiceFault::Missing { what, remedy });
    }
    let kms = CloudKms::reach(uri)?;
    let read = kms.read().await?;
    let public_key = read.public_key(&kms.name)?;
    let algorithm = public_key.algorithm();
    Ok((GcpKey { kms, algorithm }, public_key))
}

impl GcpKey {
    async fn sign(&self, digest: Digest) -> Result<Vec<u8>, Fault> {
        let hash = match self.algorithm {
            SignatureAlgorithm::EcdsaP384Sha384 => "sha384",
            SignatureAlgorithm::EcdsaP256Sha256 | SignatureAlgorithm::RsaPkcs1Sha256 => "sha256",
        };
        let body = json!({
            "digest": { hash: STANDARD.encode(digest.as_ref()) },
            // An int64 is text in the JSON of protocol buffers.
            "digestCrc32c": crc32c::crc32c(digest.as_ref()).to_string(),
        });
        let path = format!("{}:asymmetricSign", self.kms.name);
        let answer = self.kms.call(SIGN, &path, Some(&body)).await?;
        let signed: Signed = answer.expected(SIGN)?;
        signed
            .checked(&self.kms.name)
            // Google's advice: discard the answer and ask again, a limited number of times.
            .map_err(|what| fault(FaultKind::Transient, SIGN, what.to_owned()))
    }
}

impl Backend for GcpKey {
    fn sign_digest(&self, digest: Digest) -> BoxFuture<'_, Result<Vec<u8>, Fault>> {
        Box::pin(self.sign(digest))
    }
}

impl CloudKms {
    fn reach(uri: &GcpKmsUri) -> Result<Self, ServiceFault> {
        let (name, expected) = ("endpoint".to_owned(), Endpoint::EXPECTED);
        let endpoint = uri.endpoint.clone().or_else(|| Endpoint::parse(ENDPOINT));
        Ok(Self {
            client: Client::new(None, &Environment::of_process())?,
            endpoint: endpoint.ok_or(ServiceFault::Setting { name, expected })?,
            credentials: GoogleCredentials::new(uri.credentials.clone())?,
            name: uri.name.clone(),
        })
    }

    async fn read(&self) -> Result<PublicKey, ServiceFault> {
        let path = format!("{}/publicKey", self.name);
        let answer = self.call(READ, &path, None).await.map_err(|fault| {
            let remedy = match fault.kind {
                _ if fault.operation == credentials::OPERATION => {
                    "set GOOGLE_APPLICATION_CREDENTIALS to a file of credentials, or run on a \
                     machine of Google's with a service account"
                }
                FaultKind::Unauthorized => {
                    "the account needs cloudkms.cryptoKeyVersions.viewPublicKey \
                    and cloudkms.cryptoKeyVersions.useToSign on the key, which \
                    roles/cloudkms.signerVerifier has"
                }
                FaultKind::Permanent => {
                    "the version must be there, ENABLED, and of a key whose \
                    purpose is ASYMMETRIC_SIGN"
                }
                FaultKind::Transient | FaultKind::Throttled => "",
            };
            ServiceFault::Call { fault, remedy: remedy.to_owned() }
        })?;
        Ok(answer.expected(READ)?)
    }

    /// Asks with a token, and once more with another one if that is refused.
    async fn call(
        &self,
        operation: &'static str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, Fault> {
        let url = &self.endpoint.at(std::iter::once("v1").chain(path.split('/')));
        with_token(&self.credentials, |token| async move {
            let request = match body {
                Some(body) => self.client.post_json(url.clone(), body),
                None => self.client.get(url.clone()),
            };
            let answer = self.client.send(operation, with_bearer(request, &token)).await?;
            match failure(operation, &answer, &token) {
                None => Ok(Asked::Answered(answer)),
                Some(fault) if answer.status == 401 => Ok(Asked::Refused(fault)),
                Some(fault) => Err(fault),
            }
        })
        .await
    }
}

/// What `cryptoKeyVersions.getPublicKey` answers.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PublicKey {
    pem: String,
    algorithm: String,
    pem_crc32c: Value,
    name: String,
}

impl PublicKey {
    fn public_key(&self, name: &str) -> Result<VerifyingKey, ServiceFault> {
        let algorithm = match self.algorithm.as_str() {
            "EC_SIGN_P256_SHA256" => SignatureAlgorithm::EcdsaP256Sha256,
            "EC_SIGN_P384_SHA384" => SignatureAlgorithm::EcdsaP384Sha384,
            "RSA_SIGN_PKCS1_2048_SHA256"
            | "RSA_SIGN_PKCS1_3072_SHA256"
            | "RSA_SIGN_PKCS1_4096_SHA256" => SignatureAlgorithm::RsaPkcs1Sha256,
            other => {
                let permitted = "EC_SIGN_P256_SHA256, EC_SIGN_P384_SHA384 and \
                                 RSA_SIGN_PKCS1_4096_SHA256 (or 2048, 3072) sign here";
                return Err(ServiceFault::Kind { kind: other.to_owned(), permitted });
            }
        };
        let wrong = |what: &str| fault(FaultKind::Permanent, READ, what.to_owned()).into();
        if self.name != name {
            return Err(wrong("the answer is about another key"));
        }
        if !is_crc32c_of(&self.pem_crc32c, self.pem.as_bytes()) {
            return Err(wrong("the public key was damaged on its way (CRC32C)"));
        }
        let public_key = public_key_of_pem(READ, &self.pem)?;
        if public_key.algorithm() != algorithm {
            return Err(wrong("the public key is not of the algorithm that goes with it"));
        }
        Ok(public_key)
    }
}

/// What `cryptoKeyVersions.asymmetricSign` answers.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Signed {
    signature: String,
    signature_crc32c: Value,
    /// Left out where it is false.
    #[serde(default)]
    verified_digest_crc32c: bool,
    name: String,
}

impl Signed {
    fn checked(&self, name: &str) -> Result<Vec<u8>, &'static str> {
        if self.name != name {
            return Err("another key signed");
        }
        if !self.verified_digest_crc32c {
            return Err("the digest was damaged on its way (verifiedDigestCrc32c is false)");
        }
        let signature = STANDARD.decode(&self.signature).unwrap_or_default();
        if !is_crc32c_of(&self.signature_crc32c, &signature) {
            return Err("the signature was damaged on its way (signatureCrc32c)");
        }
        Ok(signature)
    }
}

/// An int64 is text in the JSON of protocol buffers, and may be a number.
fn is_crc32c_of(value: &Value, bytes: &[u8]) -> bool {
    let crc32c = crc32c::crc32c(bytes);
    match value {
        Value::String(text) => *text == crc32c.to_string(),
        value => value.as_u64() == Some(u64::from(crc32c)),
    }
}

/// What the answer says of why it is none; `None` if it is one. Google's errors are
/// `google.rpc.Status` in JSON.
fn failure(operation: &'static str, answer: &Answer, token: &Secret) -> Option<Fault> {
    #[derive(Deserialize)]
    struct Body {
        error: Status,
    }
    #[derive(Deserialize)]
    struct Status {
        #[serde(default)]
        status: String,
        #[serde(default)]
        message: String,
    }
    let status = answer.status;
    if status == 200 {
        return None;
    }
    let kind = match status {
        429 => FaultKind::Throttled,
        401 | 403 => FaultKind::Unauthorized,
        408 | 409 | 499 | 500..=599 => FaultKind::Transient,
        _ => FaultKind::Permanent,
    };
    let code = match answer.json::<Body>() {
        Some(Body { error }) => {
            format!(
                "HTTP {status} {}: {}",
                told(&error.status, &[token]),
                told(&error.message, &[token])
            )
        }
        None => format!("HTTP {status}"),
    };
    Some(fault(kind, operation, code))
}

const ENDPOINT: &str = "https://cloudkms.googleapis.com";
const READ: &str = "getPublicKey";
const SIGN: &str = "asymmetricSign";

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
