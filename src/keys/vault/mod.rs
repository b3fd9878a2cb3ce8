//! Keys in the transit engine of HashiCorp Vault or OpenBao.
//!
//! In: a [`VaultUri`], and what the environment says of the way to Vault. Out: a [`Signer`] that
//! asks the transit engine. The key never leaves it. Knows nothing of what is signed.
//!
//! The version of the key is fixed when it is opened: one that is rotated in Vault goes on signing
//! here with the version that stands in the chain. Three calls of two kinds are made (read the
//! key, sign; and those of the token), which is why this is a client of our own over the HTTP
//! library that is here anyway.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc};

use aws_lc_rs::digest::Digest;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    SignatureAlgorithm, Signer, VerifyingKey,
    remote::{Backend, Fault, FaultKind, Remote, RemoteBounds, random_jitter},
    service::{
        self, Answer, Asked, Environment, OpenServiceKeyError, ServiceFault, Tokens, fault,
        in_time, public_key_of_pem,
    },
    wrapped::KeyEncryption,
};
use crate::telemetry::metrics::KeySeries;

mod encryption;
mod login;
mod uri;

pub use uri::VaultUri;

use encryption::TransitEncryption;
use login::{Server, VaultLogin, failure, with_token};

/// Opens the key that `uri` names: logs in, reads the key, fixes its version.
///
/// # Errors
/// Any of these failed, or took more than [`OPEN_SECONDS`](super::service::OPEN_SECONDS).
pub async fn open(
    uri: &VaultUri,
    series: KeySeries,
) -> Result<Arc<dyn Signer>, OpenServiceKeyError> {
    let opened = opened(uri, &Environment::of_process(), RemoteBounds::default(), series).await?;
    Ok(Arc::new(opened))
}

/// Reaches the key that `uri` names, to encrypt other keys under it.
///
/// # Errors
/// The login failed, or took more than [`OPEN_SECONDS`](super::service::OPEN_SECONDS).
pub async fn key_encryption(uri: &VaultUri) -> Result<Arc<dyn KeyEncryption>, OpenServiceKeyError> {
    let environment = Environment::of_process();
    let transit = in_time(&uri.to_string(), Transit::reach(uri, &environment)).await?;
    Ok(Arc::new(TransitEncryption { transit, version: uri.version }))
}

async fn opened(
    uri: &VaultUri,
    environment: &Environment,
    bounds: RemoteBounds,
    series: KeySeries,
) -> Result<Remote<VaultKey>, OpenServiceKeyError> {
    let key = uri.to_string();
    let (backend, public_key) = in_time(&key, find(uri, environment)).await?;
    Ok(Remote::new(key, public_key, backend, bounds, random_jitter(), series))
}

async fn find(
    uri: &VaultUri,
    environment: &Environment,
) -> Result<(VaultKey, VerifyingKey), ServiceFault> {
    let transit = Transit::reach(uri, environment).await?;
    let key = transit.read().await?;
    let version = key.version(uri.version)?;
    let public_key = key.public_key(version)?;
    let algorithm = public_key.algorithm();
    Ok((VaultKey { transit, version, algorithm }, public_key))
}

/// One version of a key, behind the calls of [`Backend`].
#[derive(Debug)]
struct VaultKey {
    transit: Transit,
    version: NonZeroU32,
    algorithm: SignatureAlgorithm,
}

impl VaultKey {
    async fn sign(&self, digest: Digest) -> Result<Vec<u8>, Fault> {
        let hash = match self.algorithm {
            SignatureAlgorithm::EcdsaP384Sha384 => "sha2-384",
            SignatureAlgorithm::EcdsaP256Sha256 | SignatureAlgorithm::RsaPkcs1Sha256 => "sha2-256",
        };
        let mut body = json!({
            "input": STANDARD.encode(digest.as_ref()),
            "prehashed": true,
            "hash_algorithm": hash,
            "key_version": self.version,
        });
        match self.algorithm {
            SignatureAlgorithm::RsaPkcs1Sha256 => body["signature_algorithm"] = "pkcs1v15".into(),
            _ => body["marshaling_algorithm"] = "asn1".into(),
        }
        let signed = self.transit.authorized(SIGN, "sign", Some(&body)).await;
        let answer = signed.map_err(|fault| self.with_remedy(fault))?;
        let Envelope { data: Signed { signature } } = answer.expected(SIGN)?;
        self.signature_in(&signature).ok_or_else(|| {
            let code = format!("the answer is no signature of version {}", self.version);
            fault(FaultKind::Permanent, SIGN, code)
        })
    }

    /// `vault:vN:BASE64`, of our version.
    fn signature_in(&self, text: &str) -> Option<Vec<u8>> {
        let (version, signature) = text.strip_prefix("vault:v")?.split_once(':')?;
        (version == self.version.to_string()).then_some(())?;
        STANDARD.decode(signature).ok()
    }

    /// What a test signature at start says of a policy that lets the key be read only.
    fn with_remedy(&self, fault: Fault) -> Fault {
        if fault.kind != FaultKind::Unauthorized {
            return fault;
        }
        let Transit { mount, name, .. } = &self.transit;
        let Fault { kind, operation, code } = fault;
        let code = format!("{code}; it takes 'update' on '{mount}/sign/{name}'");
        Fault { kind, operation, code }
    }
}

impl Backend for VaultKey {
    fn sign_digest(&self, digest: Digest) -> BoxFuture<'_, Result<Vec<u8>, Fault>> {
        Box::pin(self.sign(digest))
    }
}

/// A key of a transit engine, whatever its version.
#[derive(Debug)]
struct Transit {
    server: Arc<Server>,
    tokens: Tokens<VaultLogin>,
    mount: String,
    name: String,
}

impl Transit {
    async fn reach(uri: &VaultUri, environment: &Environment) -> Result<Self, ServiceFault> {
        let mount = match (&uri.mount, environment.var(MOUNT_VARIABLE)) {
            (Some(mount), _) => mount.clone(),
            (None, Some(text)) => {
                let (name, expected) = (MOUNT_VARIABLE.to_owned(), uri::MOUNT);
                uri::path(&text).ok_or(ServiceFault::Setting { name, expected })?
            }
            (None, None) => "transit".to_owned(),
        };
        let login = VaultLogin::new(uri, environment)?;
        let server = Arc::clone(&login.server);
        let remedy = login.remedy().to_owned();
        let logged_in = Tokens::new(login).await;
        let tokens = logged_in.map_err(|fault| ServiceFault::Call { fault, remedy })?;
        Ok(Self { server, tokens, mount, name: uri.key.clone() })
    }

    async fn read(&self) -> Result<TransitKey, ServiceFault> {
        let answer = self.authorized(READ, "keys", None).await;
        let answer = answer.map_err(|fault| {
            let Self { mount, name, .. } = self;
            let remedy = match fault.kind {
                FaultKind::Unauthorized => format!(
                    "the token must be good, and its policy allow 'read' on '{mount}/keys/{name}' \
                     and 'update' on '{mount}/sign/{name}'"
                ),
                FaultKind::Permanent => format!(
                    "'vault read {mount}/keys/{name}' must find the key; 'mount' and 'namespace' \
                     say where"
                ),
                FaultKind::Transient | FaultKind::Throttled => String::new(),
            };
            ServiceFault::Call { fault, remedy }
        })?;
        let Envelope { data } = answer.expected(READ)?;
        Ok(data)
    }

    /// Asks with the token, and once more with another one if that is refused.
    async fn authorized(
        &self,
        operation: &'static str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, Fault> {
        let path = &[&self.mount, path, &self.name];
        service::with_token(&self.tokens, |token| async move {
            let request = with_token(self.server.request(path, body), &token);
            let answer = self.server.client.send(operation, request).await?;
            match failure(operation, &answer, &[&token]) {
                None => Ok(Asked::Answered(answer)),
                Some(fault) if fault.kind == FaultKind::Unauthorized => Ok(Asked::Refused(fault)),
                Some(fault) => Err(fault),
            }
        })
        .await
    }
}

#[derive(Deserialize)]
struct Envelope<T> {
    data: T,
}

#[derive(Deserialize)]
struct Signed {
    signature: String,
}

/// What `GET transit/keys/NAME` tells, as far as it matters here.
#[derive(Deserialize)]
struct TransitKey {
    #[serde(rename = "type")]
    kind: String,
    latest_version: NonZeroU32,
    /// Older versions do not sign; 0 is the same as the latest.
    #[serde(default)]
    min_encryption_version: u32,
    /// For asymmetric keys with the public half; for others a number.
    keys: BTreeMap<NonZeroU32, Value>,
}

impl TransitKey {
    fn version(&self, wanted: Option<NonZeroU32>) -> Result<NonZeroU32, ServiceFault> {
        if !KINDS.contains(&self.kind.as_str()) {
            let permitted =
                "ecdsa-p256, ecdsa-p384 and rsa-2048, rsa-3072, rsa-4096 keys sign here";
            return Err(ServiceFault::Kind { kind: self.kind.clone(), permitted });
        }
        let version = wanted.unwrap_or(self.latest_version);
        if !self.keys.contains_key(&version) {
            let problem =
                format!("it has no version {version}; the latest is {}", self.latest_version);
            let remedy = "name another 'version', or lower 'min_decryption_version'";
            return Err(ServiceFault::Unusable { problem, remedy });
        }
        if version.get() < self.min_encryption_version {
            let oldest = self.min_encryption_version;
            let problem =
                format!("version {version} may not sign, because {oldest} is the oldest that may");
            let remedy = "name another 'version', or lower 'min_encryption_version'";
            return Err(ServiceFault::Unusable { problem, remedy });
        }
        Ok(version)
    }

    fn public_key(&self, version: NonZeroU32) -> Result<VerifyingKey, ServiceFault> {
        let pem = self.keys.get(&version).and_then(|key| key["public_key"].as_str());
        public_key_of_pem(READ, pem.unwrap_or_default())
    }
}

const READ: &str = "transit/keys";
const SIGN: &str = "transit/sign";
const KINDS: [&str; 5] = ["ecdsa-p256", "ecdsa-p384", "rsa-2048", "rsa-3072", "rsa-4096"];
/// As other Sigstore tools have it.
const MOUNT_VARIABLE: &str = "TRANSIT_SECRET_ENGINE_PATH";

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
