//! The private port: whether the process lives, and what of it works.
//!
//! In: the pipeline, and whether it stops. Out: `GET /livez` (the process runs) and `GET /readyz`
//! (each issuer, authority and store by name; 503 where nothing could be issued, and from the
//! moment the process was told to stop, so that load balancers send nothing more). For operators
//! only: names of keys and issuers stand in it, so it listens on loopback unless configured
//! otherwise.

use std::sync::Arc;

use axum::{Router, extract::State, middleware::map_response, response::Response, routing::get};
use http::{StatusCode, header};
use serde::Serialize;
use tokio::sync::watch;

use super::{NOSNIFF, json, refuse};
use crate::{
    api::status::Malformed,
    ca::Phase,
    issue::Service,
    oidc::{IssuerState, IssuerStatus},
};

/// What the handlers share.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The pipeline.
    pub service: Arc<Service>,
    /// Becomes true when the process was told to stop.
    pub stopping: watch::Receiver<bool>,
}

/// The private port's routes.
pub fn router(watched: Watched) -> Router {
    Router::new()
        .route("/livez", get(|| async { json(Alive { alive: true }) }))
        .route("/readyz", get(ready))
        .fallback(|| async { refuse(&Malformed::UnknownPath) })
        .method_not_allowed_fallback(|| async { refuse(&Malformed::WrongMethod) })
        .layer(map_response(async |mut response: Response| {
            response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
            response
        }))
        .with_state(watched)
}

async fn ready(State(watched): State<Watched>) -> Response {
    let readiness = Readiness::of(&watched);
    let ready = readiness.ready;
    let mut response = json(readiness);
    if !ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

#[derive(Serialize)]
struct Alive {
    alive: bool,
}

/// `ready` says whether a request could be served now. An issuer that cannot be asked does not
/// count against it: the others go on, and taking the process out of service would not help it.
#[derive(Serialize)]
struct Readiness {
    ready: bool,
    stopping: bool,
    authorities: Vec<AuthorityReadiness>,
    log: Option<LogReadiness>,
    issuers: Vec<IssuerReadiness>,
}

#[derive(Serialize)]
struct AuthorityReadiness {
    key: String,
    phase: &'static str,
    valid_until: String,
}

#[derive(Serialize)]
struct LogReadiness {
    size: u64,
    timestamp: String,
    unflushed_entry_tiles: usize,
    clock_alarms: u64,
    stopped: Option<String>,
}

#[derive(Serialize)]
struct IssuerReadiness {
    name: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_failure: Option<String>,
}

impl Readiness {
    fn of(watched: &Watched) -> Self {
        let Watched { service, stopping } = watched;
        let stopping = *stopping.borrow();
        let now = service.now();
        let generation = service.generation();
        let authorities = generation.ca.authorities().iter().map(|authority| AuthorityReadiness {
            key: authority.issuer.key_name().to_owned(),
            phase: phase_name(authority.phase_at(now)),
            valid_until: authority.issuer.valid_until().to_string(),
        });
        let log = service.log().map(|log| {
            let status = log.status();
            LogReadiness {
                size: status.size,
                timestamp: status.timestamp.to_string(),
                unflushed_entry_tiles: status.unflushed_entry_tiles,
                clock_alarms: status.clock_alarms,
                stopped: status.stopped.map(|reason| reason.to_string()),
            }
        });
        Self {
            ready: !stopping && service.can_issue(),
            stopping,
            authorities: authorities.collect(),
            log,
            issuers: generation.issuers.status().into_iter().map(IssuerReadiness::from).collect(),
        }
    }
}

impl From<IssuerStatus> for IssuerReadiness {
    fn from(status: IssuerStatus) -> Self {
        let state = match status.state {
            IssuerState::Ready { .. } => "ready",
            IssuerState::NeverFetched => "never_fetched",
            IssuerState::TooStale { .. } => "too_stale",
            IssuerState::Wildcard { .. } => "wildcard",
        };
        let last_failure = status.last_failure.map(|failure| failure.to_string());
        Self { name: status.name, state, last_failure }
    }
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Pending => "pending",
        Phase::Active => "active",
        Phase::Retired => "retired",
        Phase::Gone => "gone",
    }
}
