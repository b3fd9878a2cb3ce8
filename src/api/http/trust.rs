//! `GET /api/v2/trustBundle` and `GET /api/v2/configuration` (WIRE 1.5).

use std::sync::Arc;

use axum::{extract::State, response::Response};
use serde::Serialize;

use super::{Shared, json};
use crate::identity::PublishedIssuer;

/// Every chain a verifier must know now: issuing CA first, root last, no leaf.
pub(super) async fn trust_bundle(State(shared): State<Arc<Shared>>) -> Response {
    #[derive(Serialize)]
    struct TrustBundle<'a> {
        chains: Vec<Chain<'a>>,
    }
    #[derive(Serialize)]
    struct Chain<'a> {
        certificates: Vec<&'a str>,
    }
    let generation = shared.service.generation();
    let trusted = generation.ca.trusted_at(shared.service.now());
    let chains = trusted
        .iter()
        .map(|chain| Chain { certificates: chain.iter().map(|each| each.pem()).collect() })
        .collect();
    json(TrustBundle { chains })
}

/// The trusted issuers, as the issuer file has them.
pub(super) async fn configuration(State(shared): State<Arc<Shared>>) -> Response {
    #[derive(Serialize)]
    struct Configuration<'a> {
        issuers: &'a [PublishedIssuer],
    }
    json(Configuration { issuers: shared.service.generation().profiles.published() })
}
