//! `GET /api/v2/trustBundle` and `GET /api/v2/configuration`, as Fulcio's API has them.
//!
//! In: the configuration in effect. Out: what verifiers and clients may know of it.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use serde::Serialize;

use super::json;
use crate::{
    api::entry::Entry,
    identity::{PublishedIssuer, PublishedName},
};

/// Every chain a verifier must know now: issuing CA first, root last, no leaf.
pub(super) async fn trust_bundle(State(entry): State<Arc<Entry>>) -> Response {
    #[derive(Serialize)]
    struct TrustBundle<'a> {
        chains: Vec<Chain<'a>>,
    }
    #[derive(Serialize)]
    struct Chain<'a> {
        certificates: Vec<&'a str>,
    }
    let generation = entry.service.generation();
    let trusted = generation.ca.trusted_at(entry.service.now());
    let chains = trusted
        .iter()
        .map(|chain| Chain { certificates: chain.iter().map(|each| each.pem()).collect() })
        .collect();
    json(TrustBundle { chains })
}

/// The trusted issuers, as the issuer file has them.
pub(super) async fn configuration(State(entry): State<Arc<Entry>>) -> Response {
    #[derive(Serialize)]
    struct Configuration<'a> {
        issuers: Vec<IssuerJson<'a>>,
    }
    let generation = entry.service.generation();
    let issuers = generation.profiles.published().iter().map(IssuerJson::from).collect();
    json(Configuration { issuers })
}

/// `dev.sigstore.fulcio.v2.OIDCIssuer` in protobuf JSON: unset members are written too, but for
/// the name, of which there is one of two.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IssuerJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wildcard_issuer_url: Option<&'a str>,
    audience: &'a str,
    challenge_claim: &'a str,
    spiffe_trust_domain: &'a str,
    issuer_type: &'a str,
    subject_domain: &'a str,
    skip_email_verification: bool,
}

impl<'a> From<&'a PublishedIssuer> for IssuerJson<'a> {
    fn from(issuer: &'a PublishedIssuer) -> Self {
        let (issuer_url, wildcard_issuer_url) = match &issuer.name {
            PublishedName::Url(url) => (Some(url.as_str()), None),
            PublishedName::Wildcard(pattern) => (None, Some(pattern.as_str())),
        };
        Self {
            issuer_url,
            wildcard_issuer_url,
            audience: &issuer.audience,
            challenge_claim: &issuer.challenge_claim,
            spiffe_trust_domain: &issuer.spiffe_trust_domain,
            issuer_type: issuer.issuer_type.as_str(),
            subject_domain: &issuer.subject_domain,
            skip_email_verification: issuer.skip_email_verification,
        }
    }
}
