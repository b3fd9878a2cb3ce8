//! `POST /api/v1/signingCert` and `GET /api/v1/rootCert`, which gitsign and older libraries use.
//!
//! In: JSON with the key as bytes, the token in the header. Out: PEM, and 201 for a certificate.
//! There is no `SCT` header: it belongs to a detached SCT, and ours stands in the certificate.

use std::{collections::HashSet, sync::Arc};

use axum::{Extension, body::Body, extract::State, response::Response};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;

use super::{
    problem,
    protobuf_json::{Base64, parse},
    with_type,
};
use crate::{
    api::{
        entry::{Entry, token},
        status::Malformed,
    },
    issue,
    proof::Possession,
    telemetry::RequestId,
    x509::Certificate,
};

pub(super) async fn signing_cert(
    State(entry): State<Arc<Entry>>,
    Extension(id): Extension<RequestId>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let request = read(&entry, id, &headers, body).await;
    match entry.issue(id, request).await {
        Ok(issued) => {
            let mut response = pem(issued.pem_chain());
            *response.status_mut() = StatusCode::CREATED;
            response
        }
        Err(status) => problem(&status),
    }
}

/// The certificates of the trust bundle, one after the other.
pub(super) async fn root_cert(State(entry): State<Arc<Entry>>) -> Response {
    let generation = entry.service.generation();
    let trusted = generation.ca.trusted_at(entry.service.now());
    // Authorities commonly share a root, and here are no chains, only certificates (NT-47).
    let mut seen = HashSet::new();
    let certificates = trusted.into_iter().flatten().map(Certificate::pem);
    pem(certificates.filter(|pem| seen.insert(*pem)))
}

/// Certificates as the reference writes them: one newline between two, none at the end.
fn pem<'a>(certificates: impl Iterator<Item = &'a str>) -> Response {
    let trimmed: Vec<&str> = certificates.map(str::trim_end).collect();
    with_type(PEM_CHAIN, trimmed.join("\n"))
}

async fn read(
    entry: &Entry,
    id: RequestId,
    headers: &HeaderMap,
    body: Body,
) -> Result<issue::Request, Malformed> {
    let body = entry.receive(headers, body).await?;
    let parsed: SigningRequest = parse(&body.bytes)?;
    let token = token(None, headers)?;
    let possession = match (parsed.certificate_signing_request, parsed.public_key) {
        (Some(csr), _) if !csr.0.is_empty() => Possession::Csr(csr.0),
        (_, Some(key)) => Possession::Signature {
            public_key: key.content.unwrap_or_default().0,
            signature: parsed.signed_email_address.unwrap_or_default().0,
        },
        _ => return Err(Malformed::NoKey),
    };
    Ok(issue::Request { id, token, possession })
}

/// `dev.sigstore.fulcio.v1beta.CreateSigningCertificateRequest`. Its protobuf names are those of
/// the JSON. `algorithm` is never read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SigningRequest {
    public_key: Option<PublicKey>,
    /// A proof of possession: over an e-mail address or a subject, whatever its name says.
    signed_email_address: Option<Base64>,
    certificate_signing_request: Option<Base64>,
}

/// PEM or DER.
#[derive(Deserialize)]
struct PublicKey {
    content: Option<Base64>,
}

const PEM_CHAIN: HeaderValue = HeaderValue::from_static("application/pem-certificate-chain");
