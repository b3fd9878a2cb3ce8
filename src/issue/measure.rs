//! What the metrics are told of an issuance.
//!
//! In: the steps as they end, and what was asked for. Out: durations, and labels of closed sets
//! (NT-61). Decides nothing.

use tokio::time::Instant;

use super::{Error, Generation, Request};
use crate::{
    telemetry::metrics::{KeyKind, Metrics, Step},
    x509::{ClientKeyAlgorithm, PublicKey},
};

/// Times the steps of one issuance, each from the end of the one before it.
pub(super) struct Steps<'a> {
    metrics: &'a Metrics,
    pub(super) began: Instant,
}

impl<'a> Steps<'a> {
    pub(super) fn begin(metrics: &'a Metrics) -> Self {
        Self { metrics, began: Instant::now() }
    }

    pub(super) fn done(&mut self, step: Step) {
        let now = Instant::now();
        self.metrics.took(step, now - self.began);
        self.began = now;
    }
}

/// The label of the issuer that a refused token names, be that true or not.
pub(super) fn claimed_issuer(generation: &Generation, request: &Request, error: &Error) -> String {
    let name = match error {
        // These did not look at the token, and what refuses a flood must stay cheap.
        Error::Overloaded | Error::TokenNotText => None,
        _ => {
            let token = request.token.expose_text();
            token.and_then(|token| generation.issuers.entry_claimed_by(token))
        }
    };
    generation.counters.label(name).to_owned()
}

pub(super) fn key_kind(key: &PublicKey) -> KeyKind {
    match key.algorithm() {
        ClientKeyAlgorithm::EcdsaP256 => KeyKind::EcdsaP256,
        ClientKeyAlgorithm::EcdsaP384 => KeyKind::EcdsaP384,
        ClientKeyAlgorithm::EcdsaP521 => KeyKind::EcdsaP521,
        ClientKeyAlgorithm::Rsa { bits: ..=2048 } => KeyKind::Rsa2048,
        ClientKeyAlgorithm::Rsa { bits: ..=3072 } => KeyKind::Rsa3072,
        ClientKeyAlgorithm::Rsa { .. } => KeyKind::Rsa4096,
        ClientKeyAlgorithm::Ed25519 => KeyKind::Ed25519,
    }
}
