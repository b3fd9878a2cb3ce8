//! What the routes answer when all is well.

use serde_json::json;

use crate::{
    token::{email_claims, key_and_proof},
    world::{EMAIL_ISSUER, World, answer, signing_request},
};

#[tokio::test]
async fn a_request_gets_a_chain_that_ends_in_the_trust_bundle() {
    let world = World::start().await;
    let token = world.issuer_key.sign_by_library(&email_claims());
    let answer = world.request(&token, "jane@example.com").await;
    let chain = answer.chain();
    assert_eq!(chain.len(), 3);
    assert!(chain[0].is_signed_by(&chain[1]) && chain[1].is_signed_by(&chain[2]));
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(world.log_size().await, 1);

    let bundle = world.get("/api/v2/trustBundle").await.json();
    let bundle = bundle["chains"][0]["certificates"].as_array().unwrap();
    let pems: Vec<&str> = bundle.iter().map(|pem| pem.as_str().unwrap()).collect();
    assert_eq!(pems, [chain[1].pem(), chain[2].pem()], "untrimmed, issuing CA first, no leaf");
}

#[tokio::test]
async fn the_token_may_come_in_the_header_and_members_in_either_spelling() {
    let world = World::start().await;
    let token = world.issuer_key.sign(&email_claims());
    let (key, proof) = key_and_proof("jane@example.com");
    let body = json!({
        "credentials": null,
        "unknown": { "deep": [1, 2] },
        "certificate_signing_request": null,
        "public_key_request": {
            "public_key": { "algorithm": "no such thing", "content": key },
            "proof_of_possession": proof,
        },
    });
    let request = world.client.post(world.url("/api/v2/signingCert")).body(body.to_string());
    let request = request.bearer_auth(&token).header("accept", "application/pem-certificate-chain");
    let answer = answer(request).await;
    assert_eq!(answer.headers["content-type"], "application/json", "whatever Accept says");
    assert_eq!(answer.chain().len(), 3);
}

#[tokio::test]
async fn the_body_wins_over_the_header() {
    let world = World::start().await;
    let token = world.issuer_key.sign(&email_claims());
    let body = signing_request(&token, "jane@example.com").to_string();
    let request = world.client.post(world.url("/api/v2/signingCert")).body(body);
    assert_eq!(answer(request.bearer_auth("garbage")).await.status, 200);
}

#[tokio::test]
async fn a_proof_over_the_subject_is_as_good_as_one_over_the_email() {
    let world = World::start().await;
    let token = world.issuer_key.sign(&email_claims());
    assert_eq!(world.request(&token, "jane-1").await.chain().len(), 3);
}

#[tokio::test]
async fn the_configuration_names_the_issuers() {
    let world = World::start().await;
    let issuers = world.get("/api/v2/configuration").await.json();
    let issuers = issuers["issuers"].as_array().unwrap();
    let email = issuers.iter().find(|issuer| issuer["issuerUrl"] == EMAIL_ISSUER).unwrap();
    assert_eq!(email["audience"], "sigstore");
    assert_eq!(email["challengeClaim"], "email");
    assert_eq!(email["issuerType"], "email");
    assert_eq!(email["skipEmailVerification"], false);
    let wild = "https://*.wild.example.com/id/*";
    assert!(issuers.iter().any(|issuer| issuer["wildcardIssuerUrl"] == wild));
}

#[tokio::test]
async fn health_says_that_the_process_serves() {
    let world = World::start().await;
    let health = world.get("/healthz").await;
    assert_eq!((health.status, health.json()), (200, json!({ "status": "SERVING" })));
}

#[tokio::test]
async fn stopping_finishes_what_began_and_the_next_start_goes_on() {
    let world = World::start().await;
    let token = world.issuer_key.sign(&email_claims());
    world.request(&token, "jane@example.com").await.chain();
    let World { folder, running, client, .. } = world;
    let address = running.public_address();
    running.shutdown().await;
    assert!(client.get(format!("http://{address}/healthz")).send().await.is_err());

    let clock = std::sync::Arc::new(mayfly::time::SystemClock);
    let config = crate::world::load(folder.path()).unwrap();
    let again = mayfly::serve::start(config, clock).await.unwrap();
    let checkpoint = client.get(format!("http://{}/log/checkpoint", again.public_address()));
    let checkpoint = answer(checkpoint).await.body;
    assert_eq!(checkpoint.lines().nth(1), Some("1"));
    again.shutdown().await;
    let audit = std::fs::File::open(folder.path().join("audit.jsonl")).unwrap();
    // started, intent, issued, stopped, started, stopped
    assert_eq!(mayfly::audit::verify_chain(audit).unwrap(), 6);
}
