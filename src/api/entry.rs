//! The one way from every adapter into the pipeline.
//!
//! In: what an adapter made of a request's bytes, or why it could make nothing of them. Out: the
//! certificate, or the [`Status`] that tells the caller why there is none. Knows nothing of the
//! adapters' forms. Each refusal is recorded here, so that no route can forget it (NT-06).

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use http::{HeaderMap, header};
use tokio::sync::Semaphore;

use super::{
    body::{BodyBounds, Received},
    status::{Malformed, Status},
};
use crate::{
    audit::AuditError,
    ca::Issued,
    issue::{self, Service},
    secret::Secret,
    telemetry::{RequestId, metrics::OTHER},
};

/// What bounds the requests of the public port.
#[derive(Clone, Copy, Debug)]
pub struct RequestBounds {
    /// The largest body that is read.
    pub body_bytes: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
}

/// What the handlers of the public port share.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) service: Arc<Service>,
    /// Reads of the log at once: each holds a tile, which may be 10 MiB, before anybody counts it.
    pub(super) log_reads: Semaphore,
    bodies: BodyBounds,
}

impl Entry {
    pub(super) fn new(service: Arc<Service>, bounds: RequestBounds) -> Self {
        let bodies = BodyBounds::new(bounds.body_bytes, bounds.body_timeout);
        Self { service, log_reads: Semaphore::new(LOG_READS), bodies }
    }

    /// Reads a body to its end.
    pub(super) async fn receive(
        &self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Received, Malformed> {
        refuse_encoded(headers)?;
        self.bodies.receive(headers, body).await
    }

    /// Issues what was asked for. `read` is what the adapter read.
    ///
    /// # Errors
    /// What the caller may know of why nothing was issued; the rest is in the process's log.
    pub(super) async fn issue(
        &self,
        id: RequestId,
        read: Result<issue::Request, Malformed>,
    ) -> Result<Issued, Status> {
        let request = read.map_err(|malformed| self.refuse(id, &malformed))?;
        let refused = match self.service.issue(request).await {
            Ok(issued) => return Ok(issued),
            Err(refused) => refused,
        };
        let status = tell(id, &refused.error);
        self.service.metrics().refused(status.label, &refused.issuer);
        Err(status)
    }

    fn refuse(&self, id: RequestId, malformed: &Malformed) -> Status {
        // A refusal that cannot be recorded is a refusal all the same, but one that says so.
        let status = match self.service.record_refusal(&id, &malformed.to_string()) {
            Ok(()) => Status::from(malformed),
            Err(error) => unrecorded(id, error),
        };
        self.service.metrics().refused(status.label, OTHER);
        status
    }
}

/// The token that a request carries: the one in its body wins over the one in its header, as in
/// the reference.
pub(super) fn token(in_body: Option<String>, headers: &HeaderMap) -> Result<Secret, Malformed> {
    match in_body {
        Some(token) if !token.is_empty() => Ok(Secret::from(token)),
        _ => bearer_token(headers),
    }
}

fn bearer_token(headers: &HeaderMap) -> Result<Secret, Malformed> {
    let value = headers.get(header::AUTHORIZATION).ok_or(Malformed::NoToken)?;
    let (scheme, token) = value.as_bytes().split_at_checked(7).ok_or(Malformed::NotBearer)?;
    if !scheme.eq_ignore_ascii_case(b"Bearer ") {
        return Err(Malformed::NotBearer);
    }
    Ok(Secret::new(token.trim_ascii().to_vec()))
}

fn refuse_encoded(headers: &HeaderMap) -> Result<(), Malformed> {
    match headers.get(header::CONTENT_ENCODING) {
        None => Ok(()),
        Some(encoding) if encoding.as_bytes().eq_ignore_ascii_case(b"identity") => Ok(()),
        Some(encoding) => {
            let encoding = encoding.to_str().unwrap_or("?").chars().take(40).collect();
            Err(Malformed::Encoded { encoding })
        }
    }
}

fn unrecorded(id: RequestId, error: AuditError) -> Status {
    tell(id, &issue::Error::Audit(error))
}

/// What the caller may know; all of it goes to the process's log.
fn tell(id: RequestId, error: &issue::Error) -> Status {
    let status = Status::from(error);
    if status.http.is_server_error() {
        tracing::error!(request = %id, label = status.label, error = %chain(error), "not issued");
    } else {
        tracing::info!(request = %id, label = status.label, reason = %error, "refused");
    }
    status
}

/// An error with all its causes, for the log.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

/// More would only wait for the same disk.
const LOG_READS: usize = 16;
