//! `signing_config.v0.2.json`: where a client asks for what.
//!
//! In: [`SigningServices`]. Out: a [`SigningConfig`] in the JSON form of Sigstore's
//! `dev.sigstore.trustroot.v1.SigningConfig`.

use serde::Serialize;
use url::Url;

use super::{
    Span, TrustError,
    root::{absolute, no_path},
};

/// The services a client needs to sign.
#[derive(Clone, Debug, Default)]
pub struct SigningServices {
    /// Our CA.
    pub ca: Vec<Service>,
    /// Where people log in.
    pub oidc: Vec<Service>,
    /// Signature logs (Rekor) of others.
    pub signature_logs: Vec<Service>,
    /// Timestamp authorities of others.
    pub timestamp_authorities: Vec<Service>,
}

/// One service.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    url: String,
    major_api_version: u32,
    valid_for: Span,
    operator: String,
}

/// The document.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SigningConfig {
    media_type: &'static str,
    ca_urls: Vec<Service>,
    oidc_urls: Vec<Service>,
    rekor_tlog_urls: Vec<Service>,
    tsa_urls: Vec<Service>,
    rekor_tlog_config: Selection,
    tsa_config: Selection,
}

/// Puts the document together.
pub fn signing_config(services: SigningServices) -> SigningConfig {
    SigningConfig {
        media_type: MEDIA_TYPE,
        ca_urls: services.ca,
        oidc_urls: services.oidc,
        rekor_tlog_urls: services.signature_logs,
        tsa_urls: services.timestamp_authorities,
        // Both always: one client crashes where a list has no selection.
        rekor_tlog_config: ANY,
        tsa_config: ANY,
    }
}

impl Service {
    /// Our CA. Its version is 1 although its paths say v2: so do all clients.
    ///
    /// # Errors
    /// The URL has no host, or a path.
    pub fn ca(url: &Url, operator: &str, valid_for: Span) -> Result<Self, TrustError> {
        no_path(url)?;
        Self::new(url, 1, operator, valid_for)
    }

    /// An OIDC issuer.
    ///
    /// # Errors
    /// The URL has no host.
    pub fn oidc(url: &Url, operator: &str, valid_for: Span) -> Result<Self, TrustError> {
        Self::new(url, 1, operator, valid_for)
    }

    /// A signature log; `major_api_version` is 1 or 2, and clients that know 2 prefer it.
    ///
    /// # Errors
    /// The URL has no host.
    pub fn signature_log(
        url: &Url,
        major_api_version: u32,
        operator: &str,
        valid_for: Span,
    ) -> Result<Self, TrustError> {
        Self::new(url, major_api_version, operator, valid_for)
    }

    /// A timestamp authority, with the full path at which it answers.
    ///
    /// # Errors
    /// The URL has no host.
    pub fn timestamp_authority(
        url: &Url,
        operator: &str,
        valid_for: Span,
    ) -> Result<Self, TrustError> {
        Self::new(url, 1, operator, valid_for)
    }

    fn new(
        url: &Url,
        major_api_version: u32,
        operator: &str,
        valid_for: Span,
    ) -> Result<Self, TrustError> {
        let url = absolute(url)?;
        Ok(Self { url, major_api_version, valid_for, operator: operator.to_owned() })
    }
}

#[derive(Clone, Debug, Serialize)]
struct Selection {
    selector: &'static str,
}

/// The one selector that every client knows.
const ANY: Selection = Selection { selector: "ANY" };
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.signingconfig.v0.2+json";
