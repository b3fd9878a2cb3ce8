//! Keys in Azure Key Vault and Managed HSM.
//!
//! In: an [`AzureKmsUri`], and what the environment says of who we are. Out: a [`Signer`] that asks
//! the vault. The key never leaves it. Knows nothing of what is signed.
//!
//! The version of the key is fixed when it is opened: one that is rotated in the vault goes on
//! signing here with the version that stands in the chain. Two calls are made, so they are made
//! over the HTTP library that is here anyway; [`login`] says why the logins are, too.

use std::sync::Arc;

use aws_lc_rs::digest::Digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use const_oid::db::rfc5912;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    SignatureAlgorithm, Signer, VerifyingKey,
    remote::{Backend, Fault, FaultKind, Remote, RemoteBounds, random_jitter},
    service::{
        Answer, Asked, Client, Endpoint, Environment, OpenServiceKeyError, ServiceFault, Tokens,
        fault, in_time, told, with_bearer, with_token,
    },
    spki,
    wrapped::KeyEncryption,
};
use crate::{secret::Secret, telemetry::metrics::KeySeries};

mod encryption;
mod login;
mod uri;

pub use uri::AzureKmsUri;

use encryption::VaultEncryption;
use login::EntraLogin;

/// Opens the key that `uri` names: logs in, reads the key, fixes its version.
///
/// # Errors
/// Any of these failed, or took more than [`OPEN_SECONDS`](super::service::OPEN_SECONDS).
pub async fn open(
    uri: &AzureKmsUri,
    series: KeySeries,
) -> Result<Arc<dyn Signer>, OpenServiceKeyError> {
    let opened = opened(uri, &Environment::of_process(), RemoteBounds::default(), series).await?;
    Ok(Arc::new(opened))
}

/// Reaches the key that `uri` names, to encrypt other keys under it.
///
/// # Errors
/// The login failed, or took more than [`OPEN_SECONDS`](super::service::OPEN_SECONDS).
pub async fn key_encryption(
    uri: &AzureKmsUri,
) -> Result<Arc<dyn KeyEncryption>, OpenServiceKeyError> {
    let environment = Environment::of_process();
    let vault = in_time(&uri.to_string(), KeyVault::reach(uri, &environment)).await?;
    let (name, version) = (uri.key.clone(), uri.version.clone());
    Ok(Arc::new(VaultEncryption { vault, name, version }))
}

async fn opened(
    uri: &AzureKmsUri,
    environment: &Environment,
    bounds: RemoteBounds,
    series: KeySeries,
) -> Result<Remote<AzureKey>, OpenServiceKeyError> {
    let key = uri.to_string();
    let (backend, public_key) = in_time(&key, find(uri, environment)).await?;
    Ok(Remote::new(key, public_key, backend, bounds, random_jitter(), series))
}

/// One version of a key, behind the calls of [`Backend`].
#[derive(Debug)]
struct AzureKey {
    vault: KeyVault,
    name: String,
    version: String,
    /// How the vault calls this version: its URL.
    kid: String,
    algorithm: SignatureAlgorithm,
}

/// A vault.
#[derive(Debug)]
struct KeyVault {
    client: Client,
    endpoint: Endpoint,
    tokens: Tokens<EntraLogin>,
}

async fn find(
    uri: &AzureKmsUri,
    environment: &Environment,
) -> Result<(AzureKey, VerifyingKey), ServiceFault> {
    let vault = KeyVault::reach(uri, environment).await?;
    let KeyBundle { key } = vault.read(uri).await?;
    let public_key = key.public_key()?;
    let version = key.version(uri)?;
    let algorithm = public_key.algorithm();
    let name = uri.key.clone();
    Ok((AzureKey { vault, name, version, kid: key.kid, algorithm }, public_key))
}

impl AzureKey {
    async fn sign(&self, digest: Digest) -> Result<Vec<u8>, Fault> {
        let algorithm = match self.algorithm {
            SignatureAlgorithm::EcdsaP256Sha256 => "ES256",
            SignatureAlgorithm::EcdsaP384Sha384 => "ES384",
            SignatureAlgorithm::RsaPkcs1Sha256 => "RS256",
        };
        let body = json!({ "alg": algorithm, "value": URL_SAFE_NO_PAD.encode(digest.as_ref()) });
        let path = ["keys", &self.name, &self.version, "sign"];
        let answer = self.vault.call(SIGN, &path, Some(&body)).await?;
        let Operated { kid, value } = answer.expected(SIGN)?;
        if kid != self.kid {
            return Err(fault(FaultKind::Permanent, SIGN, "another key signed".to_owned()));
        }
        let value = value.trim_end_matches('=');
        URL_SAFE_NO_PAD.decode(value).map_err(|_| {
            fault(FaultKind::Permanent, SIGN, "the answer is not base64url".to_owned())
        })
    }
}

impl Backend for AzureKey {
    fn sign_digest(&self, digest: Digest) -> BoxFuture<'_, Result<Vec<u8>, Fault>> {
        Box::pin(self.sign(digest))
    }
}

impl KeyVault {
    async fn reach(uri: &AzureKmsUri, environment: &Environment) -> Result<Self, ServiceFault> {
        let (name, expected) = (uri.vault.clone(), Endpoint::EXPECTED);
        let of_name = || Endpoint::parse(&format!("https://{}", uri.host()));
        let endpoint = uri.endpoint.clone().or_else(of_name);
        let endpoint = endpoint.ok_or(ServiceFault::Setting { name, expected })?;
        let client = Client::new(None, environment)?;
        let login = EntraLogin::new(uri, environment, client.clone())?;
        let remedy = login.remedy().to_owned();
        let logged_in = Tokens::new(login).await;
        let tokens = logged_in.map_err(|fault| ServiceFault::Call { fault, remedy })?;
        Ok(Self { client, endpoint, tokens })
    }

    async fn read(&self, uri: &AzureKmsUri) -> Result<KeyBundle, ServiceFault> {
        // An empty last part asks for the latest version, as the reference has it.
        let path = ["keys", &uri.key, uri.version.as_deref().unwrap_or_default()];
        let answer = self.call(READ, &path, None).await.map_err(|fault| {
            let remedy = match fault.kind {
                FaultKind::Unauthorized => {
                    "the identity needs the role 'Key Vault Crypto User', or the key permissions \
                     'get' and 'sign' where the vault has access policies; and the vault's \
                     firewall must let this machine in"
                }
                FaultKind::Permanent => {
                    "the vault must have the key, and this version of it, enabled"
                }
                FaultKind::Transient | FaultKind::Throttled => "",
            };
            ServiceFault::Call { fault, remedy: remedy.to_owned() }
        })?;
        Ok(answer.expected(READ)?)
    }

    /// Asks with the token, and once more with another one if that is refused.
    async fn call(
        &self,
        operation: &'static str,
        path: &[&str],
        body: Option<&Value>,
    ) -> Result<Answer, Fault> {
        let mut url = self.endpoint.at(path.iter().copied());
        url.query_pairs_mut().append_pair("api-version", API_VERSION);
        let url = &url;
        with_token(&self.tokens, |token| async move {
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

/// What "Get Key" answers, as far as it matters here.
#[derive(Deserialize)]
struct KeyBundle {
    key: JsonWebKey,
}

#[derive(Deserialize)]
struct JsonWebKey {
    kid: String,
    kty: String,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    key_ops: Vec<String>,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
}

impl JsonWebKey {
    fn version(&self, uri: &AzureKmsUri) -> Result<String, ServiceFault> {
        let version = version_in(&self.kid, &uri.key);
        let wanted = |version: &&str| uri.version.as_deref().is_none_or(|it| it == *version);
        version.filter(wanted).map(str::to_owned).ok_or_else(|| {
            let code = "the answer is about another key".to_owned();
            fault(FaultKind::Permanent, READ, code).into()
        })
    }

    fn public_key(&self) -> Result<VerifyingKey, ServiceFault> {
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok();
        let ec = |curve, bytes: usize| {
            let (x, y) = (decode(&self.x)?, decode(&self.y)?);
            // RFC 7518, 6.2.1.2: as long as the field is wide.
            let point = [&[4][..], &x, &y].concat();
            ([x.len(), y.len()] == [bytes; 2]).then(|| spki::of_ec(curve, &point)).flatten()
        };
        let spki_der = match (self.kty.as_str(), self.crv.as_str()) {
            ("EC" | "EC-HSM", "P-256") => ec(rfc5912::SECP_256_R_1, 32),
            ("EC" | "EC-HSM", "P-384") => ec(rfc5912::SECP_384_R_1, 48),
            ("RSA" | "RSA-HSM", _) => {
                decode(&self.n).zip(decode(&self.e)).and_then(|(n, e)| spki::of_rsa(&n, &e))
            }
            (kty, crv) => {
                let kind = format!("{kty} {crv}").trim_end().to_owned();
                let permitted = "EC P-256, EC P-384 and RSA sign here, in an HSM or not";
                return Err(ServiceFault::Kind { kind, permitted });
            }
        };
        if !self.key_ops.iter().any(|operation| operation == "sign") {
            let problem = "its permitted operations do not include 'sign'".to_owned();
            let remedy = "make a key with --ops sign verify";
            return Err(ServiceFault::Unusable { problem, remedy });
        }
        let code = || "the answer has no public key".to_owned();
        let spki_der = spki_der.ok_or_else(|| fault(FaultKind::Permanent, READ, code()))?;
        VerifyingKey::parse_der(&spki_der).map_err(|source| ServiceFault::PublicKey { source })
    }
}

/// What operations with a key answer. Signatures of ECDSA are raw `r || s`, which [`Remote`] takes.
#[derive(Deserialize)]
struct Operated {
    kid: String,
    value: String,
}

/// The last part of `https://VAULT/keys/NAME/VERSION`.
fn version_in<'a>(kid: &'a str, name: &str) -> Option<&'a str> {
    let (_, version) = kid.rsplit_once(&format!("/keys/{name}/"))?;
    let plain = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain.then_some(version)
}

/// What the answer says of why it is none; `None` if it is one.
fn failure(operation: &'static str, answer: &Answer, token: &Secret) -> Option<Fault> {
    #[derive(Deserialize)]
    struct Body {
        error: Told,
    }
    #[derive(Deserialize)]
    struct Told {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
        innererror: Option<Inner>,
    }
    #[derive(Deserialize)]
    struct Inner {
        code: Option<String>,
    }
    let status = answer.status;
    if status == 200 {
        return None;
    }
    let error = answer.json::<Body>().map(|body| body.error);
    let inner = error.as_ref().and_then(|error| error.innererror.as_ref()?.code.clone());
    let kind = match (status, inner.as_deref()) {
        (429, _) => FaultKind::Throttled,
        (403, Some("KeyDisabled" | "KeyExpired" | "KeyNotYetValid")) => FaultKind::Permanent,
        (401 | 403, _) => FaultKind::Unauthorized,
        (408 | 500..=599, _) => FaultKind::Transient,
        _ => FaultKind::Permanent,
    };
    let code = match error {
        Some(Told { code, message, .. }) => {
            let inner = inner.map(|inner| format!("/{}", told(&inner, &[token])));
            let (code, message) = (told(&code, &[token]), told(&message, &[token]));
            format!("HTTP {status} {code}{}: {message}", inner.unwrap_or_default())
        }
        None => format!("HTTP {status}"),
    };
    Some(fault(kind, operation, code))
}

const API_VERSION: &str = "7.4";
const READ: &str = "keys/get";
const SIGN: &str = "keys/sign";

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
