//! The log's read paths (static-ct-api): `checkpoint`, `tile/…`, `tile/data/…`, `issuer/…`.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};
use http::{HeaderValue, header};

use super::{refuse, with_type};
use crate::{
    api::{entry::Entry, status::Malformed},
    log::ReadAnswer,
};

pub(super) async fn read(State(entry): State<Arc<Entry>>, Path(path): Path<String>) -> Response {
    let Some(log) = entry.service.log() else {
        return refuse(&Malformed::UnknownPath);
    };
    // It is never closed.
    let _turn = entry.log_reads.acquire().await;
    match log.read(&path).await {
        Ok(Some(answer)) => respond(answer),
        Ok(None) => refuse(&Malformed::UnknownPath),
        Err(error) => {
            tracing::error!(%path, %error, "the log could not be read");
            refuse(&Malformed::LogUnreadable)
        }
    }
}

fn respond(answer: ReadAnswer) -> Response {
    let caching = if answer.immutable { FOR_EVER } else { NOT_AT_ALL };
    let content_type = HeaderValue::from_static(answer.kind.media_type());
    let mut response = with_type(content_type, answer.bytes);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    response
}

/// static-ct-api, "Merkle Tree": tiles never change.
const FOR_EVER: &str = "public, max-age=604800, immutable";
const NOT_AT_ALL: &str = "no-store";
