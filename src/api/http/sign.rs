//! `POST /api/v2/signingCert`, as Fulcio's API has it (`fulcio.proto`).
//!
//! In: the protobuf JSON that the clients send, token in body or header. Out: the chain with the
//! embedded SCT as the one member of the answer.

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::State,
    response::Response,
};
use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, header};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::error::Category;

use super::{Shared, json, problem};
use crate::{
    api::status::{BodyFault, Malformed, Status},
    ca::Issued,
    issue,
    proof::Possession,
    secret::Secret,
    telemetry::RequestId,
};

pub(super) async fn signing_cert(
    State(shared): State<Arc<Shared>>,
    Extension(id): Extension<RequestId>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let request = match read(&shared, id, &headers, body).await {
        Ok(request) => request,
        Err(malformed) => return refuse(&shared, id, &malformed),
    };
    match shared.service.issue(request).await {
        Ok(issued) => json(SigningCertificate::from(&issued)),
        Err(error) => fail(id, &error),
    }
}

fn refuse(shared: &Shared, id: RequestId, malformed: &Malformed) -> Response {
    // A refusal that cannot be recorded is a refusal all the same, but one that says so.
    match shared.service.record_refusal(&id, &malformed.to_string()) {
        Ok(()) => problem(&Status::from(malformed)),
        Err(error) => fail(id, &issue::Error::Audit(error)),
    }
}

/// Answers with what the caller may know, and logs the rest.
fn fail(id: RequestId, error: &issue::Error) -> Response {
    let status = Status::from(error);
    if status.http.is_server_error() {
        tracing::error!(request = %id, label = status.label, error = %chain(error), "not issued");
    } else {
        tracing::info!(request = %id, label = status.label, reason = %error, "refused");
    }
    problem(&status)
}

/// An error with all its causes, for the log.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

async fn read(
    shared: &Shared,
    id: RequestId,
    headers: &HeaderMap,
    body: Body,
) -> Result<issue::Request, Malformed> {
    refuse_encoded(headers)?;
    let body = shared.bodies.receive(headers, body).await?;
    let parsed: SigningRequest =
        serde_json::from_slice(&body.bytes).map_err(|error| body_fault(&error))?;
    let token = match parsed.credentials.and_then(|credentials| credentials.oidc_identity_token) {
        // The body wins over the header, as in the reference.
        Some(token) if !token.is_empty() => Secret::from(token),
        _ => bearer_token(headers)?,
    };
    let limit_bytes = shared.token_limit_bytes;
    if token.expose().len() > limit_bytes {
        return Err(Malformed::TokenTooLong { limit_bytes });
    }
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

/// Where and of which kind, but not in the words of the JSON reader: those repeat what stands
/// there, which may be a token in the wrong place (NT-60).
fn body_fault(error: &serde_json::Error) -> Malformed {
    let fault = match error.classify() {
        Category::Eof => BodyFault::EndsEarly,
        Category::Data => BodyFault::Member,
        Category::Syntax | Category::Io => BodyFault::NotJson,
    };
    Malformed::Body { fault, line: error.line(), column: error.column() }
}

fn bearer_token(headers: &HeaderMap) -> Result<Secret, Malformed> {
    let value = headers.get(header::AUTHORIZATION).ok_or(Malformed::NoToken)?;
    let (scheme, token) = value.as_bytes().split_at_checked(7).ok_or(Malformed::NotBearer)?;
    if !scheme.eq_ignore_ascii_case(b"Bearer ") {
        return Err(Malformed::NotBearer);
    }
    Ok(Secret::new(token.trim_ascii().to_vec()))
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

/// Protobuf JSON `bytes`: either base64 alphabet, padded or not.
#[derive(Default)]
struct Base64(Vec<u8>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let url_safe = text.bytes().any(|byte| matches!(byte, b'-' | b'_'));
        let engine = if url_safe { &LENIENT_URL_SAFE } else { &LENIENT_STANDARD };
        engine.decode(text).map(Self).map_err(|_| D::Error::custom("a member is not base64"))
    }
}

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const LENIENT_STANDARD: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const LENIENT_URL_SAFE: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

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
