//! What the operator says about one issuer.
//!
//! In: nothing; plain values made by `config`. Out: nothing. Knows nothing of files.

/// One entry of the issuer file. Checked by `IssuerTable::new`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerSettings {
    /// The issuer's URL exactly as its tokens' `iss` has it, or a pattern with `*`.
    pub name: String,
    /// What `aud` must contain, exactly.
    pub client_id: String,
    /// Where its keys come from.
    pub keys: KeyOrigin,
    /// Plain http to a host that is not loopback. Never for a pattern.
    pub allow_http: bool,
    /// Further origins (`https://keys.example.com`) that this issuer's `jwks_uri` may name. Written
    /// by the operator, so they may be private addresses.
    pub allowed_key_origins: Vec<String>,
    /// Refuse tokens whose `iat` is longer ago than this. `None`: only `exp` bounds their age.
    pub max_age_seconds: Option<u64>,
    /// Accept each token once only. Remembered by this process alone: replicas do not share it.
    pub replay_guard: bool,
}

/// Where an issuer's keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyOrigin {
    /// `{name}/.well-known/openid-configuration` and the `jwks_uri` it names.
    Discovery {
        /// The only certificates that may vouch for this issuer's servers, in PEM; otherwise the
        /// machine's own.
        ca_cert_pem: Option<Vec<u8>>,
    },
    /// A JWKS document that the operator keeps. Never for a pattern.
    Static {
        /// The document, JSON.
        jwks_json: Vec<u8>,
    },
}
