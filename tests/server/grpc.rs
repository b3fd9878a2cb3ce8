//! gRPC by a generated client of another implementation, on the port of HTTP.

use std::convert::Infallible;

use axum::body::{Bytes, HttpBody};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tonic::{Code, transport::Channel};

use crate::{
    token::{email_claims, key_and_proof, with},
    world::{EMAIL_ISSUER, World},
};

pub(crate) mod v2 {
    #![expect(clippy::allow_attributes_without_reason, unreachable_pub, reason = "generated")]
    include!(concat!(env!("OUT_DIR"), "/client/dev.sigstore.fulcio.v2.rs"));
}

mod health {
    #![expect(clippy::allow_attributes_without_reason, unreachable_pub, reason = "generated")]
    include!(concat!(env!("OUT_DIR"), "/client/grpc.health.v1.rs"));
}

use v2::{ca_client::CaClient, create_signing_certificate_request::Key};

pub(crate) async fn channel(world: &World) -> Channel {
    let endpoint = Channel::from_shared(world.url("")).unwrap();
    endpoint.connect().await.unwrap()
}

/// As sigstore-java asks: token in the message, a key of one line of base64 without a newline at
/// the end.
pub(crate) fn request(token: &str, challenge: &str) -> v2::CreateSigningCertificateRequest {
    let (pem, proof) = key_and_proof(challenge);
    let token = v2::credentials::Credentials::OidcIdentityToken(token.to_owned());
    v2::CreateSigningCertificateRequest {
        credentials: Some(v2::Credentials { credentials: Some(token) }),
        key: Some(Key::PublicKeyRequest(v2::PublicKeyRequest {
            public_key: Some(v2::PublicKey {
                algorithm: v2::PublicKeyAlgorithm::Ecdsa.into(),
                content: pem.trim_end().to_owned(),
            }),
            proof_of_possession: decode(&proof),
        })),
    }
}

pub(crate) fn chain_of(answer: v2::SigningCertificate) -> Vec<mayfly::x509::Certificate> {
    use v2::signing_certificate::Certificate;
    let Some(Certificate::SignedCertificateEmbeddedSct(embedded)) = answer.certificate else {
        panic!("no embedded SCT: {answer:?}");
    };
    let pems = embedded.chain.unwrap().certificates.join("\n");
    mayfly::x509::Certificate::parse_pem_chain(pems.as_bytes()).unwrap()
}

fn decode(base64: &str) -> Vec<u8> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.decode(base64).unwrap()
}

#[tokio::test]
async fn a_call_gets_a_chain_that_ends_in_the_trust_bundle() {
    let world = World::start().await;
    let mut client = CaClient::new(channel(&world).await);
    let token = world.issuer_key.sign(&email_claims());
    let answer = client.create_signing_certificate(request(&token, "jane@example.com")).await;
    let answer = answer.unwrap();
    assert_eq!(answer.metadata().get("x-request-id").unwrap().len(), 32);
    let chain = chain_of(answer.into_inner());
    assert!(chain[0].is_signed_by(&chain[1]) && chain[1].is_signed_by(&chain[2]));
    assert_eq!(world.log_size().await, 1);

    let bundle = client.get_trust_bundle(v2::GetTrustBundleRequest {}).await.unwrap().into_inner();
    assert_eq!(bundle.chains[0].certificates, [chain[1].pem(), chain[2].pem()]);
}

#[tokio::test]
async fn a_token_may_come_as_metadata_and_a_key_as_a_request_in_pem() {
    let world = World::start().await;
    let mut client = CaClient::new(channel(&world).await);
    let token = world.issuer_key.sign(&email_claims());
    let key = rcgen::KeyPair::generate().unwrap();
    let parameters = rcgen::CertificateParams::new(vec![]).unwrap();
    let csr = parameters.serialize_request(&key).unwrap().pem().unwrap();
    let mut call = tonic::Request::new(v2::CreateSigningCertificateRequest {
        credentials: None,
        key: Some(Key::CertificateSigningRequest(csr.into_bytes())),
    });
    let bearer = format!("Bearer {token}").parse().unwrap();
    call.metadata_mut().insert("authorization", bearer);
    let answer = client.create_signing_certificate(call).await.unwrap();
    assert_eq!(chain_of(answer.into_inner()).len(), 3);
}

#[tokio::test]
async fn the_configuration_is_that_of_the_json_api() {
    let world = World::start().await;
    let mut client = CaClient::new(channel(&world).await);
    let answer = client.get_configuration(v2::GetConfigurationRequest {}).await.unwrap();
    let issuers = answer.into_inner().issuers;
    let json = world.get("/api/v2/configuration").await.json();
    assert_eq!(issuers.len(), json["issuers"].as_array().unwrap().len());
    let url = v2::oidc_issuer::Issuer::IssuerUrl(EMAIL_ISSUER.to_owned());
    let email = issuers.iter().find(|issuer| issuer.issuer.as_ref() == Some(&url)).unwrap();
    assert_eq!((email.audience.as_str(), email.challenge_claim.as_str()), ("sigstore", "email"));
    let wild =
        v2::oidc_issuer::Issuer::WildcardIssuerUrl("https://*.wild.example.com/id/*".to_owned());
    assert!(issuers.iter().any(|issuer| issuer.issuer.as_ref() == Some(&wild)));
}

#[tokio::test]
async fn a_refusal_has_the_code_and_text_of_the_table_and_its_request_id() {
    let world = World::start().await;
    let mut client = CaClient::new(channel(&world).await);
    let claims = with(email_claims(), serde_json::json!({ "aud": "größe 100%" }));
    let token = world.issuer_key.sign(&claims);
    let refused = client.create_signing_certificate(request(&token, "jane@example.com")).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let json = world.request(&token, "jane@example.com").await;
    assert_eq!(refused.message(), json.message(), "the same as in JSON");
    let id = refused.metadata().get("x-request-id").unwrap().to_str().unwrap();
    let audited = world.audit_lines().into_iter().find(|line| line["request"] == id).unwrap();
    assert_eq!(audited["event"], "refused");
}

#[tokio::test]
async fn health_is_what_could_be_issued_and_nothing_else_is_served() {
    use health::{HealthCheckRequest, health_check_response::ServingStatus};
    let world = World::start().await;
    let channel = channel(&world).await;
    let mut client = health::health_client::HealthClient::new(channel.clone());
    for service in ["", "dev.sigstore.fulcio.v2.CA"] {
        let asked = HealthCheckRequest { service: service.to_owned() };
        let answer = client.check(asked).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
    let asked = HealthCheckRequest { service: "grpc.reflection.v1.ServerReflection".to_owned() };
    assert_eq!(client.check(asked).await.unwrap_err().code(), Code::NotFound);

    for path in [
        "/grpc.health.v1.Health/Watch",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/dev.sigstore.fulcio.v2.CA/Nothing",
        "/nothing",
    ] {
        let mut raw = tonic::client::Grpc::new(channel.clone());
        raw.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckRequest>::default();
        let asked = tonic::Request::new(HealthCheckRequest::default());
        let refused = raw.unary(asked, path.parse().unwrap(), codec).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unimplemented, "{path}");
    }
}

#[tokio::test]
async fn a_broken_message_is_refused_and_recorded() {
    let world = World::start().await;
    for (body, code, text) in [
        (&b""[..], "3", "one message behind its length"),
        (&[0, 0, 0, 0, 9, 1], "3", "one message behind its length"),
        (&[0, 0, 0, 0, 2, 0xff, 0xff], "3", "not protobuf"),
        // NT-04: "UNIMPLEMENTED", and what is taken instead, says the specification.
        (&[1, 0, 0, 0, 1, 7], "12", "is not taken"),
    ] {
        let audited = world.audit_lines().len();
        let (status, headers) = call(&world, "application/grpc", body.to_vec()).await;
        assert_eq!((status, &headers["grpc-status"]), (StatusCode::OK, &code.parse().unwrap()));
        assert_eq!(headers["grpc-accept-encoding"], "identity");
        let message = headers["grpc-message"].to_str().unwrap();
        assert!(message.contains(text), "{message}");
        assert_eq!(world.audit_lines().len(), audited + 1);
    }
}

#[tokio::test]
async fn nt_03_bodies_have_the_bounds_of_the_port() {
    let world = World::start_with("limits:\n  body-size: 4KiB\n  header-timeout: 200ms\n").await;
    let (_, headers) = call(&world, "application/grpc+proto", vec![0; 5000]).await;
    assert_eq!(headers["grpc-status"], "8", "RESOURCE_EXHAUSTED");
    assert!(headers["grpc-message"].to_str().unwrap().contains("4096"));
    let silent = futures_util::stream::pending::<Result<hyper::body::Frame<Bytes>, Infallible>>();
    let (_, headers) = send(&world, "application/grpc", StreamBody::new(silent)).await;
    assert_eq!(headers["grpc-status"], "4", "DEADLINE_EXCEEDED");
}

#[tokio::test]
async fn another_content_type_finds_nothing_there() {
    let world = World::start().await;
    for content_type in ["application/json", "application/grpc-web", "application/grpc+json"] {
        let (status, _) = call(&world, content_type, vec![0; 5]).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{content_type}");
    }
    let http1 = world.client.post(world.url(METHOD)).header("content-type", "application/grpc");
    assert_eq!(http1.send().await.unwrap().status(), 404);
}

/// A call by hand, for what no gRPC client would send.
async fn call(world: &World, content_type: &str, body: Vec<u8>) -> (StatusCode, http::HeaderMap) {
    send(world, content_type, Full::<Bytes>::from(body)).await
}

async fn send<B>(world: &World, content_type: &str, body: B) -> (StatusCode, http::HeaderMap)
where
    B: HttpBody<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
{
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let request = Request::post(world.url(METHOD)).header("content-type", content_type);
    let response = client.request(request.body(body).unwrap()).await;
    let (parts, body) = response.unwrap().into_parts();
    body.collect().await.unwrap();
    (parts.status, parts.headers)
}

const METHOD: &str = "/dev.sigstore.fulcio.v2.CA/CreateSigningCertificate";
