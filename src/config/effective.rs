//! A configuration as it may be shown: everything that it decides, and no secret.
//!
//! In: a [`Config`]. Out: [`Effective`], which `mayfly config check` prints and the private port
//! serves. Each part is taken apart field by field, so that a new one has to be shown or left out on
//! purpose; keys and passphrases are named by where they are, never opened (NT-60).

use serde::Serialize;

use super::{Authority, Config, Limits, LogChoice, NextLogKey, PassphraseSource};
use crate::{
    identity::PublishedIssuer,
    oidc::{IssuerSettings, KeyOrigin},
    time::Timestamp,
};

/// What a configuration says.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Effective {
    pub listen: String,
    pub private: Option<String>,
    pub url: String,
    /// `None`: the public port speaks plainly.
    pub tls: Option<EffectiveTls>,
    pub issuers_file: String,
    pub issuers: Vec<EffectiveIssuer>,
    /// In the names of Sigstore's registry.
    pub client_signing_algorithms: Vec<&'static str>,
    pub authorities: Vec<EffectiveAuthority>,
    /// `None` for `log: none`.
    pub log: Option<EffectiveLog>,
    pub audit: String,
    pub limits: EffectiveLimits,
    /// Whether the published development keys are taken.
    pub dev: bool,
    /// See [`Config::files_sha256`]; hex.
    pub files_sha256: Option<String>,
}

/// Where the public port's certificate and key are; what stands in them changes without a reload.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveTls {
    pub cert: String,
    pub key: String,
}

/// Whose tokens are believed.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveIssuer {
    /// A URL, or a pattern with `*`.
    pub name: String,
    pub r#type: &'static str,
    pub audience: String,
    pub challenge_claim: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub spiffe_trust_domain: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject_domain: String,
    pub skip_email_verification: bool,
    /// `discovery` or `static`.
    pub keys: &'static str,
    /// Whether its servers are known by certificates of the operator's own.
    pub own_ca: bool,
    pub allow_http: bool,
    pub allowed_key_origins: Vec<String>,
    pub max_token_age_seconds: Option<u64>,
    pub replay_guard: bool,
}

/// A CA key and its chain.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveAuthority {
    pub subject: String,
    pub key: String,
    /// `env` or `file`: from where, but not from which, since people have written the passphrase
    /// itself there.
    pub passphrase: Option<&'static str>,
    pub key_algorithm: Option<String>,
    pub not_before: String,
    pub not_after: String,
    pub activate: Option<String>,
    pub retire: Option<String>,
    pub chain: String,
    pub chain_length: usize,
    pub precertificate_signer: bool,
}

/// The embedded log.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveLog {
    pub origin: String,
    pub data: String,
    pub key: String,
    /// As in [`EffectiveAuthority`].
    pub passphrase: Option<&'static str>,
    /// The folders of earlier shards.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub frozen: Vec<String>,
    /// The key of the shard that will follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_key: Option<String>,
    /// Hex. Only who opened the key knows it, so it is filled in from outside.
    pub id: Option<String>,
}

/// As [`Limits`].
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveLimits {
    pub requests_in_flight: usize,
    pub connections: usize,
    pub deadline_ms: u64,
    pub body_bytes: usize,
    pub header_timeout_ms: u64,
    pub idle_timeout_ms: u64,
}

impl Effective {
    /// What `config` says.
    pub fn of(config: &Config) -> Self {
        let Config {
            listen,
            tls,
            private,
            url,
            issuers_path,
            issuers,
            profiles,
            client_algorithms,
            authorities,
            log,
            next_log,
            audit,
            limits,
            dev,
            // Each is named where it is used.
            files: _,
            files_sha256,
        } = config;
        let published = profiles.published().iter();
        Self {
            listen: listen.to_string(),
            private: private.map(|address| address.to_string()),
            url: url.to_string(),
            tls: tls.as_ref().map(|files| EffectiveTls {
                cert: files.cert.display().to_string(),
                key: files.key.display().to_string(),
            }),
            issuers_file: issuers_path.display().to_string(),
            issuers: published.map(|one| EffectiveIssuer::of(one, issuers)).collect(),
            client_signing_algorithms: client_algorithms.names().collect(),
            authorities: authorities.iter().map(EffectiveAuthority::of).collect(),
            log: EffectiveLog::of(log, next_log.as_ref()),
            audit: audit.display().to_string(),
            limits: EffectiveLimits::of(*limits),
            dev: *dev,
            files_sha256: files_sha256.map(hex::encode),
        }
    }
}

impl EffectiveIssuer {
    /// The two halves of an entry, how it is verified and what it tells, go by the same name.
    fn of(published: &PublishedIssuer, all: &[IssuerSettings]) -> Self {
        let name = published.name.as_str();
        let settings = all.iter().find(|settings| settings.name == name);
        let keys = settings.map(|settings| &settings.keys);
        Self {
            name: name.to_owned(),
            r#type: published.issuer_type.as_str(),
            audience: published.audience.clone(),
            challenge_claim: published.challenge_claim.clone(),
            spiffe_trust_domain: published.spiffe_trust_domain.clone(),
            subject_domain: published.subject_domain.clone(),
            skip_email_verification: published.skip_email_verification,
            keys: match keys {
                Some(KeyOrigin::Static { .. }) => "static",
                Some(KeyOrigin::Discovery { .. }) | None => "discovery",
            },
            own_ca: matches!(keys, Some(KeyOrigin::Discovery { ca_cert_pem: Some(_) })),
            allow_http: settings.is_some_and(|settings| settings.allow_http),
            allowed_key_origins: settings
                .map(|settings| settings.allowed_key_origins.clone())
                .unwrap_or_default(),
            max_token_age_seconds: settings.and_then(|settings| settings.max_age_seconds),
            replay_guard: settings.is_some_and(|settings| settings.replay_guard),
        }
    }
}

impl EffectiveAuthority {
    fn of(authority: &Authority) -> Self {
        let Authority {
            key,
            passphrase,
            chain,
            chain_path,
            activate,
            retire,
            precertificate_signer,
        } = authority;
        // The configuration refuses an empty chain; this only spares the panic.
        let issuing = chain.first();
        let text = |at: Timestamp| at.to_string();
        Self {
            subject: issuing.map(|one| one.subject().to_owned()).unwrap_or_default(),
            key: key.to_string(),
            passphrase: passphrase.as_ref().map(kind),
            key_algorithm: issuing.and_then(|one| one.key_algorithm()).map(|kind| kind.to_string()),
            not_before: issuing.map(|one| text(one.not_before())).unwrap_or_default(),
            not_after: issuing.map(|one| text(one.not_after())).unwrap_or_default(),
            activate: activate.map(text),
            retire: retire.map(text),
            chain: chain_path.display().to_string(),
            chain_length: chain.len(),
            precertificate_signer: *precertificate_signer,
        }
    }
}

impl EffectiveLog {
    fn of(log: &LogChoice, next: Option<&NextLogKey>) -> Option<Self> {
        match log {
            LogChoice::None => None,
            LogChoice::Embedded { data, origin, key, passphrase, frozen } => Some(Self {
                origin: origin.clone(),
                data: data.display().to_string(),
                key: key.to_string(),
                passphrase: passphrase.as_ref().map(kind),
                frozen: frozen.iter().map(|data| data.display().to_string()).collect(),
                next_key: next.map(|next| next.key.to_string()),
                id: None,
            }),
        }
    }
}

impl EffectiveLimits {
    fn of(limits: Limits) -> Self {
        let Limits {
            requests_in_flight,
            connections,
            deadline_ms,
            body_bytes,
            header_timeout_ms,
            idle_timeout_ms,
        } = limits;
        Self {
            requests_in_flight,
            connections,
            deadline_ms,
            body_bytes,
            header_timeout_ms,
            idle_timeout_ms,
        }
    }
}

fn kind(passphrase: &PassphraseSource) -> &'static str {
    match passphrase {
        PassphraseSource::Env(_) => "env",
        PassphraseSource::File(_) => "file",
    }
}
