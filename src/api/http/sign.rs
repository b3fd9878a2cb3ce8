//! `POST /api/v2/signingCert`, as Fulcio's API has it (`fulcio.proto`).
//!
//! In: the protobuf JSON that the clients send, token in body or header. Out: the chain with the
//! embedded SCT as the one member of the answer.

use std::sync::Arc;

use axum::{Extension, body::Body, extract::State, response::Response};
use http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::{
    json, problem,
    protobuf_json::{Base64, parse},
};
use crate::{
    api::{
        entry::{Entry, token},
        status::Malformed,
    },
    ca::Issued,
    issue,
    proof::Possession,
    telemetry::RequestId,
};

pub(super) async fn signing_cert(
    State(entry): State<Arc<Entry>>,
    Extension(id): Extension<RequestId>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let request = read(&entry, id, &headers, body).await;
    match entry.issue(id, request).await {
        Ok(issued) => json(SigningCertificate::from(&issued)),
        Err(status) => problem(&status),
    }
}

async fn read(
    entry: &Entry,
    id: RequestId,
    headers: &HeaderMap,
    body: Body,
) -> Result<issue::Request, Malformed> {
    let body = entry.receive(headers, body).await?;
    let parsed: SigningRequest = parse(&body.bytes)?;
    let in_body = parsed.credentials.and_then(|credentials| credentials.oidc_identity_token);
    let token = token(in_body, headers)?;
    let possession = match (parsed.certificate_signing_request, parsed.public_key_request) {
        (Some(csr), _) if !csr.0.is_empty() => Possession::Csr(csr.0),
        (_, Some(PublicKeyRequest { public_key: Some(key), proof_of_possession })) => {
            Possession::Signature {
                public_key: key.content.unwrap_or_default().into_bytes(),
                signature: proof_of_possession.unwrap_or_default().0,
            }
        }
        _ => return Err(Malformed::NoKey),
    };
    Ok(issue::Request { id, token, possession })
}

/// `dev.sigstore.fulcio.v2.CreateSigningCertificateRequest` in protobuf JSON: both spellings of
/// each name, unknown members passed over, `null` the same as absent. `algorithm` is never read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SigningRequest {
    credentials: Option<Credentials>,
    #[serde(alias = "public_key_request")]
    public_key_request: Option<PublicKeyRequest>,
    #[serde(alias = "certificate_signing_request")]
    certificate_signing_request: Option<Base64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Credentials {
    #[serde(alias = "oidc_identity_token")]
    oidc_identity_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PublicKeyRequest {
    #[serde(alias = "public_key")]
    public_key: Option<PublicKeyText>,
    #[serde(alias = "proof_of_possession")]
    proof_of_possession: Option<Base64>,
}

#[derive(Deserialize)]
struct PublicKeyText {
    content: Option<String>,
}

/// The answer has exactly one member: some clients read it as a tagged enum.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SigningCertificate<'a> {
    signed_certificate_embedded_sct: Chained<'a>,
}

#[derive(Serialize)]
struct Chained<'a> {
    chain: Chain<'a>,
}

#[derive(Serialize)]
struct Chain<'a> {
    certificates: Vec<&'a str>,
}

impl<'a> From<&'a Issued> for SigningCertificate<'a> {
    fn from(issued: &'a Issued) -> Self {
        let certificates = issued.pem_chain().collect();
        Self { signed_certificate_embedded_sct: Chained { chain: Chain { certificates } } }
    }
}
