//! The client trust config: trusted root and signing config in one file.

use serde::Serialize;

use super::{SigningConfig, TrustedRoot};

/// What `sigstore --trust-config` takes.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientTrustConfig {
    media_type: &'static str,
    trusted_root: TrustedRoot,
    signing_config: SigningConfig,
}

/// Puts the two together.
pub fn client_trust_config(
    trusted_root: TrustedRoot,
    signing_config: SigningConfig,
) -> ClientTrustConfig {
    ClientTrustConfig { media_type: MEDIA_TYPE, trusted_root, signing_config }
}

const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json";
