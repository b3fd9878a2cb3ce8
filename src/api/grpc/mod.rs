//! gRPC: `dev.sigstore.fulcio.v2.CA` and `grpc.health.v1.Health`, on the port of HTTP.
//!
//! In: calls of one message each. Out: one message, or a status of the table that all protocols
//! share. Knows nothing of connections. No reflection: the schema is published with the API.

mod health;
mod wire;

use std::{fmt, sync::Arc};

use axum::{
    Extension, Router,
    extract::{Request, State},
    response::Response,
    routing::post,
};
use prost::Message;

use super::{
    entry::{Entry, token},
    http::refuse,
    status::{Malformed, MessageFault, Status},
};
use crate::{
    ca::Issued,
    identity::{PublishedIssuer, PublishedName},
    issue,
    proof::Possession,
    telemetry::RequestId,
};

pub(super) use wire::{GrpcFailure, is_grpc};

/// The methods, one route each, so that a log line can name it.
pub(super) fn routes() -> Router<Arc<Entry>> {
    Router::new()
        .route("/dev.sigstore.fulcio.v2.CA/CreateSigningCertificate", post(signing_certificate))
        .route("/dev.sigstore.fulcio.v2.CA/GetTrustBundle", post(trust_bundle))
        .route("/dev.sigstore.fulcio.v2.CA/GetConfiguration", post(configuration))
        .route("/grpc.health.v1.Health/Check", post(health::check))
}

/// Whether a route is one of [`routes`].
pub(super) fn serves(route: &str) -> bool {
    route.starts_with("/dev.sigstore.fulcio.v2.CA/") || route.starts_with("/grpc.health.v1.Health/")
}

/// The answer to a call of anything else.
pub(super) fn unknown_method() -> Response {
    wire::fail(&Status::from(&Malformed::UnknownMethod))
}

async fn signing_certificate(
    State(entry): State<Arc<Entry>>,
    Extension(id): Extension<RequestId>,
    request: Request,
) -> Response {
    if !is_grpc(&request) {
        return refuse(&Malformed::UnknownPath);
    }
    let read = read(&entry, id, request).await;
    match entry.issue(id, read).await {
        Ok(issued) => wire::answer(&v2::SigningCertificate::from(&issued)),
        Err(status) => wire::fail(&status),
    }
}

async fn read(entry: &Entry, id: RequestId, request: Request) -> Result<issue::Request, Malformed> {
    use v2::{create_signing_certificate_request::Key, credentials::Credentials};
    let (parts, message) = receive::<v2::CreateSigningCertificateRequest>(entry, request).await?;
    let in_body = message.credentials.and_then(|message| message.credentials);
    let in_body = in_body.map(|Credentials::OidcIdentityToken(token)| token);
    let token = token(in_body, &parts.headers)?;
    let possession = match message.key {
        Some(Key::CertificateSigningRequest(csr)) if !csr.is_empty() => Possession::Csr(csr),
        Some(Key::PublicKeyRequest(v2::PublicKeyRequest {
            public_key: Some(key),
            proof_of_possession: signature,
        })) => Possession::Signature { public_key: key.content.into_bytes(), signature },
        _ => return Err(Malformed::NoKey),
    };
    Ok(issue::Request { id, token, possession })
}

async fn trust_bundle(State(entry): State<Arc<Entry>>, request: Request) -> Response {
    respond(&entry, request, |_: v2::GetTrustBundleRequest| {
        let generation = entry.service.generation();
        let trusted = generation.ca.trusted_at(entry.service.now());
        let chains =
            trusted.iter().map(|chain| chain_of(chain.iter().map(|certificate| certificate.pem())));
        Ok(v2::TrustBundle { chains: chains.collect() })
    })
    .await
}

async fn configuration(State(entry): State<Arc<Entry>>, request: Request) -> Response {
    respond(&entry, request, |_: v2::GetConfigurationRequest| {
        let generation = entry.service.generation();
        let issuers = generation.profiles.published().iter().map(v2::OidcIssuer::from);
        Ok(v2::Configuration { issuers: issuers.collect() })
    })
    .await
}

/// Answers a call that issues nothing.
async fn respond<M: Message + Default, A: Message>(
    entry: &Entry,
    request: Request,
    answer: impl FnOnce(M) -> Result<A, Malformed>,
) -> Response {
    if !is_grpc(&request) {
        return refuse(&Malformed::UnknownPath);
    }
    match receive(entry, request).await.and_then(|(_, message)| answer(message)) {
        Ok(answer) => wire::answer(&answer),
        Err(malformed) => wire::fail(&Status::from(&malformed)),
    }
}

/// Under the bounds that hold for every body of the port.
async fn receive<M: Message + Default>(
    entry: &Entry,
    request: Request,
) -> Result<(http::request::Parts, M), Malformed> {
    let (parts, body) = request.into_parts();
    let received = entry.receive(&parts.headers, body).await?;
    let message = wire::message(&parts.headers, &received.bytes)?;
    // What the reader found is not told: it can repeat what stands there (NT-60).
    let message =
        M::decode(message).map_err(|_| Malformed::Message { fault: MessageFault::Protobuf })?;
    Ok((parts, message))
}

impl From<&Issued> for v2::SigningCertificate {
    fn from(issued: &Issued) -> Self {
        use v2::signing_certificate::Certificate;
        let embedded =
            v2::SigningCertificateEmbeddedSct { chain: Some(chain_of(issued.pem_chain())) };
        Self { certificate: Some(Certificate::SignedCertificateEmbeddedSct(embedded)) }
    }
}

impl From<&PublishedIssuer> for v2::OidcIssuer {
    fn from(issuer: &PublishedIssuer) -> Self {
        use v2::oidc_issuer::Issuer;
        let name = match &issuer.name {
            PublishedName::Url(url) => Issuer::IssuerUrl(url.as_str().to_owned()),
            PublishedName::Wildcard(pattern) => {
                Issuer::WildcardIssuerUrl(pattern.as_str().to_owned())
            }
        };
        Self {
            issuer: Some(name),
            audience: issuer.audience.clone(),
            challenge_claim: issuer.challenge_claim.clone(),
            spiffe_trust_domain: issuer.spiffe_trust_domain.clone(),
            issuer_type: issuer.issuer_type.as_str().to_owned(),
            subject_domain: issuer.subject_domain.clone(),
            skip_email_verification: issuer.skip_email_verification,
        }
    }
}

fn chain_of<'a>(pems: impl Iterator<Item = &'a str>) -> v2::CertificateChain {
    v2::CertificateChain { certificates: pems.map(str::to_owned).collect() }
}

/// The messages of `proto/fulcio.proto`.
#[expect(unreachable_pub, reason = "generated")]
mod v2 {
    include!(concat!(env!("OUT_DIR"), "/dev.sigstore.fulcio.v2.rs"));
}

// Neither may print the token (NT-60).
impl fmt::Debug for v2::Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

impl fmt::Debug for v2::credentials::Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nt_60_a_message_prints_no_token() {
        let token = v2::credentials::Credentials::OidcIdentityToken("a-token".to_owned());
        let credentials = Some(v2::Credentials { credentials: Some(token) });
        let message = v2::CreateSigningCertificateRequest { credentials, key: None };
        let printed = format!("{message:?}");
        assert!(printed.contains("Credentials") && !printed.contains("a-token"), "{printed}");
    }

    proptest! {
        #[test]
        fn nt_02_random_bytes_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            nested in 0_usize..2000,
        ) {
            let _ = wire::message(&http::HeaderMap::new(), &bytes);
            let _ = v2::CreateSigningCertificateRequest::decode(&*bytes);
            // Groups of unknown fields, one in the other: the reader must not recurse without end.
            let groups = vec![0x23; nested];
            let _ = v2::CreateSigningCertificateRequest::decode(&*groups);
        }
    }
}
