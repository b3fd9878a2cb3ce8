//! HTTP: the routes, and what every answer has in common.
//!
//! In: requests, of which each handler sees only what it needs. Out: answers of the
//! form that Fulcio's clients read, all with a request id and `nosniff`, every failure as the JSON
//! of [`status`](super::status).
//! Knows nothing of how connections are accepted.

mod log;
pub mod private;
mod protobuf_json;
pub mod server;
mod sign;
pub mod tls;
mod trust;
mod v1;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{MatchedPath, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderName, HeaderValue, Method, header};
use serde::Serialize;
use tower_http::cors::{Any, CorsLayer};

pub use crate::api::entry::RequestBounds;
use crate::{
    api::{
        entry::Entry,
        grpc::{self, GrpcFailure},
        status::{Malformed, Status},
    },
    issue::Service,
    telemetry::{
        RequestId,
        metrics::{OTHER, RouteTimes},
    },
};

/// The public port's routes.
pub fn router(service: Arc<Service>, bounds: RequestBounds) -> Router {
    let times = Arc::new(service.metrics().routes(&ROUTES));
    let entry = Arc::new(Entry::new(service, bounds));
    Router::new()
        .route("/api/v1/signingCert", post(v1::signing_cert))
        .route("/api/v1/rootCert", get(v1::root_cert))
        .route("/api/v2/signingCert", post(sign::signing_cert))
        .route("/api/v2/trustBundle", get(trust::trust_bundle))
        .route("/api/v2/configuration", get(trust::configuration))
        .route("/healthz", get(healthz))
        .route("/log/{*path}", get(log::read))
        .merge(grpc::routes())
        .fallback(unknown)
        .method_not_allowed_fallback(|| async { refuse(&Malformed::WrongMethod) })
        .layer(cors())
        .layer(middleware::from_fn_with_state(times, frame))
        .with_state(entry)
}

/// Any web page may ask, as in the reference: what counts is the token in the request, and a
/// browser adds nothing of its own to it (no cookies, no client certificates).
fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE])
        .vary([])
}

/// Each protocol's own word for a path that is not served.
async fn unknown(request: Request) -> Response {
    if grpc::is_grpc(&request) { grpc::unknown_method() } else { refuse(&Malformed::UnknownPath) }
}

/// Whether the process serves; which parts work is readiness, on the private port.
async fn healthz() -> Response {
    json(StatusOk { status: "SERVING" })
}

#[derive(Serialize)]
struct StatusOk {
    status: &'static str,
}

/// Gives each request its id, each answer its common headers, and the process one log line and one
/// measurement.
async fn frame(State(times): State<Arc<RouteTimes>>, mut request: Request, next: Next) -> Response {
    let id = match request_id() {
        Some(id) => id,
        None => return problem(&Status::from(&crate::issue::Error::Randomness)),
    };
    let started = tokio::time::Instant::now();
    let method = request.method().clone();
    // The matched route, not the path: a path is the caller's text and could be anything.
    let route = request.extensions().get::<MatchedPath>().cloned();
    request.extensions_mut().insert(id);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        headers.insert(X_REQUEST_ID, value);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    let route = route.as_ref().map(MatchedPath::as_str);
    let failure = response.extensions().get::<GrpcFailure>();
    let status = failure.map_or(response.status(), |failure| failure.http).as_u16();
    let took = started.elapsed();
    times.answered(route, status, took);
    if failure.is_none() && !route.is_some_and(grpc::serves) {
        times.answered_http(method.as_str(), status, took);
    }
    tracing::info!(
        request = %id,
        %method,
        route = route.unwrap_or(OTHER),
        status,
        micros = took.as_micros(),
        "answered"
    );
    response
}

fn request_id() -> Option<RequestId> {
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).ok()?;
    Some(RequestId::from_random(random))
}

/// The JSON envelope of grpc-gateway, which every client reads.
pub(super) fn problem(status: &Status) -> Response {
    #[derive(Serialize)]
    struct Envelope<'a> {
        code: u8,
        message: &'a str,
        details: [(); 0],
    }
    let envelope = Envelope { code: status.grpc, message: &status.message, details: [] };
    let mut response = json(envelope);
    *response.status_mut() = status.http;
    if status.is_overload() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

pub(super) fn refuse(malformed: &Malformed) -> Response {
    problem(&Status::from(malformed))
}

fn json(value: impl Serialize) -> Response {
    let mut body = Vec::with_capacity(TYPICAL_ANSWER_BYTES);
    match serde_json::to_writer(&mut body, &value) {
        Ok(()) => with_type(APPLICATION_JSON, body),
        // Values of ours always serialise; if one did not, no half answer may leave.
        Err(_) => http::StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn with_type(content_type: HeaderValue, body: impl Into<Body>) -> Response {
    ([(header::CONTENT_TYPE, content_type)], body.into()).into_response()
}

/// Every path of the public port, for the metrics; those that are asked most come first.
const ROUTES: [&str; 11] = [
    "/api/v2/signingCert",
    "/api/v1/signingCert",
    "/dev.sigstore.fulcio.v2.CA/CreateSigningCertificate",
    "/healthz",
    "/log/{*path}",
    "/api/v2/trustBundle",
    "/api/v2/configuration",
    "/api/v1/rootCert",
    "/grpc.health.v1.Health/Check",
    "/dev.sigstore.fulcio.v2.CA/GetTrustBundle",
    "/dev.sigstore.fulcio.v2.CA/GetConfiguration",
];

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// No browser may take an answer for something else than it says it is (NT-64).
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const APPLICATION_JSON: HeaderValue = HeaderValue::from_static("application/json");
/// A leaf and two CA certificates.
const TYPICAL_ANSWER_BYTES: usize = 4096;
