//! The log's read paths (static-ct-api): `checkpoint`, `tile/…`, `tile/data/…`, `issuer/…`.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};
use http::{HeaderValue, header};

use super::{Shared, refuse, with_type};
use crate::api::status::Malformed;

pub(super) async fn read(State(shared): State<Arc<Shared>>, Path(path): Path<String>) -> Response {
    let _ = (shared, path, with_type, HeaderValue::from_static("x"), header::CACHE_CONTROL);
    refuse(&Malformed::UnknownPath)
}
