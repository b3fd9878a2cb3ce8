//! `trusted_root.json`: whose keys made what a verifier sees.
//!
//! In: [`TrustMaterial`]. Out: a [`TrustedRoot`] in the JSON form of Sigstore's
//! `dev.sigstore.trustroot.v1.TrustedRoot`.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;
use url::Url;

use super::{Span, TrustError};
use crate::{
    ct::LogId,
    x509::{Certificate, ClientKeyAlgorithm, PublicKey},
};

/// Everything a trusted root speaks of. Entries are written as given: list the oldest first.
#[derive(Clone, Debug, Default)]
pub struct TrustMaterial {
    /// Our CA, one chain per authority.
    pub certificate_authorities: Vec<TrustedChain>,
    /// The logs whose SCTs stand in certificates.
    pub ct_logs: Vec<TrustedLog>,
    /// Signature logs (Rekor) of others.
    pub signature_logs: Vec<TrustedLog>,
    /// Timestamp authorities of others.
    pub timestamp_authorities: Vec<TrustedChain>,
}

/// A chain of certificates to trust, and since when.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustedChain {
    subject: Subject,
    uri: String,
    cert_chain: CertChain,
    valid_for: Span,
}

/// A log to trust: where it is and its key.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustedLog {
    base_url: String,
    hash_algorithm: &'static str,
    public_key: LogKey,
    log_id: KeyId,
}

/// The document. Members that later versions of the format added (`operator`,
/// `checkpointKeyId`) are not written: strict readers of this version refuse them.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustedRoot {
    media_type: &'static str,
    tlogs: Vec<TrustedLog>,
    certificate_authorities: Vec<TrustedChain>,
    ctlogs: Vec<TrustedLog>,
    timestamp_authorities: Vec<TrustedChain>,
}

/// Puts the document together.
pub fn trusted_root(material: TrustMaterial) -> TrustedRoot {
    TrustedRoot {
        media_type: MEDIA_TYPE,
        tlogs: material.signature_logs,
        certificate_authorities: material.certificate_authorities,
        ctlogs: material.ct_logs,
        timestamp_authorities: material.timestamp_authorities,
    }
}

impl TrustedChain {
    /// A chain of our CA: issuing CA first, root last, no leaf; `url` is the CA's.
    ///
    /// # Errors
    /// The chain is empty, or the URL has no host or a path.
    pub fn of_ca(chain: &[Certificate], url: &Url, valid_for: Span) -> Result<Self, TrustError> {
        no_path(url)?;
        Self::new(chain, url, valid_for, 1)
    }

    /// A timestamp authority: its signing certificate first, root last; `url` is where it answers.
    ///
    /// # Errors
    /// Fewer than two certificates, or the URL has no host.
    pub fn of_timestamp_authority(
        chain: &[Certificate],
        url: &Url,
        valid_for: Span,
    ) -> Result<Self, TrustError> {
        Self::new(chain, url, valid_for, 2)
    }

    fn new(
        chain: &[Certificate],
        url: &Url,
        valid_for: Span,
        needed: usize,
    ) -> Result<Self, TrustError> {
        let uri = absolute(url)?;
        let count = chain.len();
        let Some(root) = chain.last().filter(|_| count >= needed) else {
            return Err(TrustError::ChainTooShort { url: uri, count, needed });
        };
        // Readers demand both names; the host stands in for one that the root does not have.
        let or_host =
            |name: Option<&str>| name.or(url.host_str()).map(str::to_owned).unwrap_or_default();
        let subject = Subject {
            organization: or_host(root.organization()),
            common_name: or_host(root.common_name()),
        };
        let raw = |certificate: &Certificate| RawBytes { raw_bytes: base64(certificate.der()) };
        let cert_chain = CertChain { certificates: chain.iter().map(raw).collect() };
        Ok(Self { subject, uri, cert_chain, valid_for })
    }
}

impl TrustedLog {
    /// A log with this address (an identity more than a place: for Rekor v2 its host is the
    /// checkpoint's origin) and this public key as PEM or DER SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// The URL has no host, or the key is none that all clients take.
    pub fn new(url: &Url, public_key: &[u8], valid_for: Span) -> Result<Self, TrustError> {
        let base_url = absolute(url)?;
        let key = PublicKey::parse(public_key)
            .map_err(|source| TrustError::LogKey { url: base_url.clone(), source })?;
        let key_details = key_details(key.algorithm())
            .ok_or_else(|| TrustError::LogKeyKind { url: base_url.clone() })?;
        let spki_der = key.spki_der();
        Ok(Self {
            base_url,
            hash_algorithm: "SHA2_256",
            // NT-55: the id is over the SubjectPublicKeyInfo, for every kind of key.
            log_id: KeyId { key_id: base64(&LogId::from_spki(spki_der).0) },
            public_key: LogKey { raw_bytes: base64(spki_der), key_details, valid_for },
        })
    }
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Subject {
    organization: String,
    common_name: String,
}

#[derive(Clone, Debug, Serialize)]
struct CertChain {
    certificates: Vec<RawBytes>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RawBytes {
    raw_bytes: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LogKey {
    raw_bytes: String,
    key_details: &'static str,
    valid_for: Span,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyId {
    key_id: String,
}

/// `PublicKeyDetails` of Sigstore's common protocol; `None` for sizes that have no name there.
fn key_details(algorithm: ClientKeyAlgorithm) -> Option<&'static str> {
    match algorithm {
        ClientKeyAlgorithm::EcdsaP256 => Some("PKIX_ECDSA_P256_SHA_256"),
        ClientKeyAlgorithm::EcdsaP384 => Some("PKIX_ECDSA_P384_SHA_384"),
        ClientKeyAlgorithm::EcdsaP521 => Some("PKIX_ECDSA_P521_SHA_512"),
        ClientKeyAlgorithm::Rsa { bits: 2048 } => Some("PKIX_RSA_PKCS1V15_2048_SHA256"),
        ClientKeyAlgorithm::Rsa { bits: 3072 } => Some("PKIX_RSA_PKCS1V15_3072_SHA256"),
        ClientKeyAlgorithm::Rsa { bits: 4096 } => Some("PKIX_RSA_PKCS1V15_4096_SHA256"),
        ClientKeyAlgorithm::Rsa { .. } => None,
        ClientKeyAlgorithm::Ed25519 => Some("PKIX_ED25519"),
    }
}

/// The URL without a slash at its end: clients glue paths onto it.
pub(super) fn absolute(url: &Url) -> Result<String, TrustError> {
    if url.host_str().is_none_or(str::is_empty) {
        return Err(TrustError::NoHost { url: url.to_string() });
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

pub(super) fn no_path(url: &Url) -> Result<(), TrustError> {
    if url.path().trim_matches('/').is_empty() && url.query().is_none() {
        Ok(())
    } else {
        Err(TrustError::CaPath { url: url.to_string() })
    }
}

fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The format's own text asks for version 0.2, but three clients read 0.1 only.
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.trustedroot+json;version=0.1";
