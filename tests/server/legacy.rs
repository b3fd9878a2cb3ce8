//! Version 1 of the API, as gitsign and the older libraries speak it.

use base64::{Engine, engine::general_purpose::STANDARD};
use mayfly::x509::Certificate;
use serde_json::{Value, json};

use crate::{
    token::{email_claims, key_and_proof},
    world::{Answer, World, answer},
};

async fn post(world: &World, token: &str, body: &Value) -> Answer {
    let request = world.client.post(world.url("/api/v1/signingCert")).bearer_auth(token);
    let request = request.header("content-type", "application/json");
    answer(request.body(body.to_string())).await
}

fn chain(answer: &Answer) -> Vec<Certificate> {
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(answer.headers["content-type"], "application/pem-certificate-chain");
    assert!(!answer.headers.contains_key("sct"), "the SCT is in the certificate");
    assert!(answer.body.ends_with("-----END CERTIFICATE-----") && !answer.body.contains("\n\n"));
    Certificate::parse_pem_chain(answer.body.as_bytes()).unwrap()
}

/// The key as gitsign sends it: DER in base64.
fn der_and_proof() -> (String, String) {
    let (pem, proof) = key_and_proof("jane@example.com");
    let der = pem.lines().filter(|line| !line.starts_with('-')).collect();
    (der, proof)
}

#[tokio::test]
async fn gitsign_gets_a_chain_and_the_roots_are_those_of_the_trust_bundle() {
    let world = World::start().await;
    let token = world.issuer_key.sign(&email_claims());
    let (content, proof) = der_and_proof();
    let body = json!({
        "publicKey": { "content": content, "algorithm": "ecdsa" },
        "signedEmailAddress": proof,
        "certificateSigningRequest": null,
    });
    let chain = chain(&post(&world, &token, &body).await);
    assert_eq!(chain.len(), 3);
    assert!(chain[0].is_signed_by(&chain[1]) && chain[1].is_signed_by(&chain[2]));

    let roots = world.get("/api/v1/rootCert").await;
    assert_eq!(
        (roots.status, &roots.headers["content-type"]),
        (200, &"application/pem-certificate-chain".parse().unwrap(),)
    );
    let expected = format!("{}{}", chain[1].pem(), chain[2].pem());
    assert_eq!(roots.body, expected.trim_end());
}

#[tokio::test]
async fn the_key_may_be_pem_and_the_request_a_csr() {
    let world = World::start().await;
    let token = world.issuer_key.sign(&email_claims());
    let (pem, proof) = key_and_proof("jane@example.com");
    let body = json!({
        "publicKey": { "content": STANDARD.encode(pem), "algorithm": "ecdsa" },
        "signedEmailAddress": proof,
    });
    assert_eq!(chain(&post(&world, &token, &body).await).len(), 3);

    let key = rcgen::KeyPair::generate().unwrap();
    let parameters = rcgen::CertificateParams::new(vec![]).unwrap();
    let csr = parameters.serialize_request(&key).unwrap().pem().unwrap();
    let body = json!({
        "publicKey": null,
        "signedEmailAddress": null,
        "certificateSigningRequest": STANDARD.encode(csr),
    });
    assert_eq!(chain(&post(&world, &token, &body).await).len(), 3);
}

#[tokio::test]
async fn refusals_are_the_json_of_version_2() {
    let world = World::start().await;
    let token = world.issuer_key.sign(&email_claims());
    let (content, _) = der_and_proof();
    let of_another_key = key_and_proof("jane@example.com").1;
    let key = |content: &str, proof: &str| json!({ "publicKey": { "content": content }, "signedEmailAddress": proof });
    for (body, text) in [
        (json!({}), "The public key supplied in the request could not be parsed: neither"),
        (key("", ""), "The public key supplied in the request could not be parsed: "),
        (
            key("AQID", &of_another_key),
            "The public key supplied in the request could not be parsed",
        ),
        (key("no base64!", ""), "the request body is not as the API says"),
        (
            key(&content, &of_another_key),
            "The signature supplied in the request could not be verified",
        ),
        (
            json!({ "certificateSigningRequest": "AQID" }),
            "The certificate signing request could not be parsed",
        ),
    ] {
        let refused = post(&world, &token, &body).await;
        assert_eq!(refused.status, 400, "{body}: {}", refused.body);
        assert_eq!(refused.headers["content-type"], "application/json");
        assert_eq!(refused.json()["code"], 3);
        assert!(refused.message().starts_with(text), "{}", refused.message());
    }
    assert_eq!(world.log_size().await, 0);
}
