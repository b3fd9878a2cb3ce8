//! The private port: whether the process lives, what of it works, what it counts and what it was
//! told.
//!
//! In: the pipeline, the configuration in effect, and whether the process stops. Out: `GET /livez`
//! (the process runs), `GET /readyz` ([`readiness`]), `GET /metrics` ([`metrics`]) and `GET
//! /config` ([`in_effect`]). For operators only: names of keys and issuers stand in it, so it
//! listens on loopback unless configured otherwise. docs/operations.md is the reference.

mod in_effect;
mod metrics;
mod readiness;

use std::sync::Arc;

use axum::{Router, middleware::map_response, response::Response, routing::get};
use http::header;
use serde::Serialize;
use tokio::sync::watch;

pub use in_effect::InEffect;

use super::{NOSNIFF, json, refuse, tls::Tls, with_type};
use crate::{api::status::Malformed, ca::Phase, issue::Service};

/// What the handlers share.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The pipeline.
    pub service: Arc<Service>,
    /// What the public port proves itself with, if it does.
    pub tls: Option<Arc<Tls>>,
    /// What the process was told.
    pub in_effect: Arc<InEffect>,
    /// Becomes true when the process was told to stop.
    pub stopping: watch::Receiver<bool>,
}

/// The private port's routes.
pub fn router(watched: Watched) -> Router {
    Router::new()
        .route("/livez", get(|| async { json(Alive { alive: true }) }))
        .route("/readyz", get(readiness::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/config", get(in_effect::config))
        .fallback(|| async { refuse(&Malformed::UnknownPath) })
        .method_not_allowed_fallback(|| async { refuse(&Malformed::WrongMethod) })
        .layer(map_response(async |mut response: Response| {
            response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
            response
        }))
        .with_state(watched)
}

#[derive(Serialize)]
struct Alive {
    alive: bool,
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Pending => "pending",
        Phase::Active => "active",
        Phase::Retired => "retired",
        Phase::Gone => "gone",
    }
}
