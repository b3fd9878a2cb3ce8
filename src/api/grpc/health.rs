//! `grpc.health.v1.Health/Check`: whether a certificate could be issued now.
//!
//! In: the name of a service. Out: the truth, asked anew at each call. `Watch` and `List` are not
//! served, as in the reference.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};

use super::respond;
use crate::api::{entry::Entry, status::Malformed};

pub(super) async fn check(State(entry): State<Arc<Entry>>, request: Request) -> Response {
    respond(&entry, request, |asked: v1::HealthCheckRequest| {
        use v1::health_check_response::ServingStatus;
        if !SERVICES.contains(&asked.service.as_str()) {
            return Err(Malformed::UnknownService);
        }
        let status = if entry.service.can_issue() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        Ok(v1::HealthCheckResponse { status: status.into() })
    })
    .await
}

/// The messages of `proto/health.proto`.
#[expect(unreachable_pub, reason = "generated")]
mod v1 {
    include!(concat!(env!("OUT_DIR"), "/grpc.health.v1.rs"));
}

/// The empty name is the server as a whole.
const SERVICES: [&str; 2] = ["", "dev.sigstore.fulcio.v2.CA"];
