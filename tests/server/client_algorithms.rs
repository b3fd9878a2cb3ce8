//! `client-signing-algorithms`: which keys, proven how, are certified.

use std::fs;

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P521_SHA256, PKCS_ECDSA_P521_SHA512, PKCS_ED25519};
use serde_json::{Value, json};

use crate::{
    grpc::{self, v2},
    token::{email_claims, key_and_proof},
    world::{Answer, World, answer, load, mayfly_yaml, signing_request},
};

const TEXT: &str = "signing algorithm not permitted: ";

fn csr(algorithm: &'static rcgen::SignatureAlgorithm) -> String {
    let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
    let parameters = rcgen::CertificateParams::new(vec![]).unwrap();
    parameters.serialize_request(&key).unwrap().pem().unwrap()
}

fn csr_request(token: &str, algorithm: &'static rcgen::SignatureAlgorithm) -> Value {
    json!({
        "credentials": { "oidcIdentityToken": token },
        "certificateSigningRequest": STANDARD.encode(csr(algorithm)),
    })
}

async fn v1(world: &World, token: &str, body: &Value) -> Answer {
    let request = world.client.post(world.url("/api/v1/signingCert")).bearer_auth(token);
    answer(request.body(body.to_string())).await
}

fn assert_refused(what: &str, answer: &Answer, text: &str) {
    assert_eq!((answer.status, &answer.json()["code"]), (400, &json!(3)), "{what}");
    assert_eq!(answer.message(), format!("{TEXT}{text}"), "{what}");
}

#[tokio::test]
async fn nt_06_the_list_holds_in_every_protocol_for_keys_and_for_requests() {
    let world = World::start_with("client-signing-algorithms: [ed25519]\n").await;
    let token = world.issuer_key.sign(&email_claims());
    let text = "ECDSA P-256; permitted are ed25519";

    assert_refused("v2, key", &world.request(&token, "jane@example.com").await, text);
    let body = csr_request(&token, &PKCS_ECDSA_P256_SHA256);
    assert_refused("v2, CSR", &world.post(&body).await, text);
    let (pem, proof) = key_and_proof("jane@example.com");
    let body =
        json!({ "publicKey": { "content": STANDARD.encode(pem) }, "signedEmailAddress": proof });
    assert_refused("v1, key", &v1(&world, &token, &body).await, text);
    let request = STANDARD.encode(csr(&PKCS_ECDSA_P256_SHA256));
    let body = json!({ "certificateSigningRequest": request });
    assert_refused("v1, CSR", &v1(&world, &token, &body).await, text);

    let mut client = v2::ca_client::CaClient::new(grpc::channel(&world).await);
    let with_key = grpc::request(&token, "jane@example.com");
    let mut with_csr = with_key.clone();
    let pem = csr(&PKCS_ECDSA_P256_SHA256).into_bytes();
    with_csr.key =
        Some(v2::create_signing_certificate_request::Key::CertificateSigningRequest(pem));
    for request in [with_key, with_csr] {
        let refused = client.create_signing_certificate(request).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
        assert_eq!(refused.message(), format!("{TEXT}{text}"));
    }

    let lines = world.audit_lines();
    assert_eq!(lines.iter().filter(|line| line["event"] == "refused").count(), 6);
    assert_eq!(world.log_size().await, 0, "nothing was signed");
    assert_eq!(world.post(&csr_request(&token, &PKCS_ED25519)).await.chain().len(), 3);
}

/// As in the reference, what a request is signed with counts, not its key alone.
#[tokio::test]
async fn nt_48_a_request_signed_with_another_hash_than_the_keys_own_is_another_algorithm() {
    let world = World::start().await;
    let token = world.issuer_key.sign(&email_claims());
    let unusual = csr_request(&token, &PKCS_ECDSA_P521_SHA256);
    let usual = csr_request(&token, &PKCS_ECDSA_P521_SHA512);
    let refused = world.post(&unusual).await;
    assert_eq!(refused.status, 400);
    let text = format!("{TEXT}ECDSA P-521 with SHA-256; permitted are rsa-sign-pkcs1-2048-sha256,");
    assert!(refused.message().starts_with(&text), "{}", refused.message());
    assert_eq!(world.post(&usual).await.chain().len(), 3);

    let list = "client-signing-algorithms:\n  - ecdsa-sha2-256-nistp521\n";
    fs::write(world.path("mayfly.yaml"), mayfly_yaml("issuing", list)).unwrap();
    world.running.reload(load(world.folder.path()).unwrap()).await.unwrap();
    assert_eq!(world.post(&unusual).await.chain().len(), 3, "a reload changes the list");
    let text = "ECDSA P-521; permitted are ecdsa-sha2-256-nistp521";
    assert_refused("the usual", &world.post(&usual).await, text);
}

/// Upstream's order: what is not proven is not judged.
#[tokio::test]
async fn possession_is_checked_before_the_list() {
    let world = World::start_with("client-signing-algorithms: [ed25519]\n").await;
    let token = world.issuer_key.sign(&email_claims());
    let refused = world.post(&signing_request(&token, "somebody@example.com")).await;
    let text = "The signature supplied in the request could not be verified: ";
    assert!(refused.message().starts_with(text), "{}", refused.message());
}
