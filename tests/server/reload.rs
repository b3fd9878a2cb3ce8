//! Another configuration while the service runs: all of it, or nothing (NT-65).

use std::fs;

use axum::routing::get;
use mayfly::{keys::SignatureAlgorithm, serve::StartError};
use serde_json::json;

use crate::{
    token::{IssuerKey, email_claims, with},
    world::{DOWN_ISSUER, World, load, mayfly_yaml, write_authority},
};

#[tokio::test]
async fn a_good_reload_changes_who_signs() {
    let world = World::start().await;
    let token = world.issuer_key.sign(&email_claims());
    let before = world.request(&token, "jane@example.com").await.chain();
    write_authority(world.folder.path(), "next", SignatureAlgorithm::EcdsaP384Sha384).await;
    fs::write(world.path("mayfly.yaml"), mayfly_yaml("next", "")).unwrap();
    world.running.reload(load(world.folder.path()).unwrap()).await.unwrap();
    let after = world.request(&token, "jane@example.com").await.chain();
    assert_ne!(before[1].der(), after[1].der());
    assert!(after[0].is_signed_by(&after[1]));
    assert_eq!(world.audit_lines().iter().filter(|line| line["event"] == "reload").count(), 1);
}

#[tokio::test]
async fn nt_65_a_bad_reload_keeps_the_old_and_says_why() {
    let world = World::start().await;
    write_authority(world.folder.path(), "next", SignatureAlgorithm::EcdsaP256Sha256).await;
    // A key that does not belong to the chain.
    fs::copy(world.path("issuing.pem"), world.path("next.pem")).unwrap();
    fs::write(world.path("mayfly.yaml"), mayfly_yaml("next", "")).unwrap();
    let refused = world.running.reload(load(world.folder.path()).unwrap()).await;
    assert!(matches!(refused, Err(StartError::Chain { .. })), "{refused:?}");

    let moved = mayfly_yaml("issuing", "").replace("audit.jsonl", "other.jsonl");
    fs::write(world.path("mayfly.yaml"), moved).unwrap();
    let refused = world.running.reload(load(world.folder.path()).unwrap()).await;
    assert!(matches!(refused, Err(StartError::NeedsRestart { key: "audit" })), "{refused:?}");

    let token = world.issuer_key.sign(&email_claims());
    assert_eq!(world.request(&token, "jane@example.com").await.status, 200);
    let reloads: Vec<_> =
        world.audit_lines().into_iter().filter(|line| line["event"] == "reload").collect();
    assert_eq!(reloads.len(), 2);
    assert!(reloads[0]["error"].as_str().unwrap().contains("key"));
}

#[tokio::test]
async fn nt_24_a_reload_does_not_make_a_used_token_good_again() {
    let world = World::start().await;
    let claims = with(email_claims(), json!({ "iss": "https://once.example.com" }));
    let token = world.issuer_key.sign(&claims);
    world.request(&token, "jane@example.com").await.chain();
    world.running.reload(load(world.folder.path()).unwrap()).await.unwrap();
    let again = world.request(&token, "jane@example.com").await;
    assert_eq!(again.status, 400, "{}", again.body);
    assert!(again.message().contains("used before"), "{}", again.message());
}

/// The key sets of issuers that did not change survive: one that cannot be asked just now is as
/// good after a reload as before.
#[tokio::test]
async fn nt_18_a_reload_during_an_issuers_outage_keeps_its_keys() {
    let world = World::start().await;
    let mut issuer = Issuer::start(&world.issuer_key).await;
    let file = fs::read_to_string(world.path("issuers.yaml")).unwrap();
    let file = file.replace(DOWN_ISSUER, &issuer.url);
    fs::write(world.path("issuers.yaml"), &file).unwrap();
    world.running.reload(load(world.folder.path()).unwrap()).await.unwrap();
    let claims = with(email_claims(), json!({ "iss": issuer.url }));
    let token = world.issuer_key.sign(&claims);
    world.request(&token, "jane@example.com").await.chain();

    issuer.stop().await;
    let file = file.replace("max-token-age: 10m", "max-token-age: 9m");
    fs::write(world.path("issuers.yaml"), &file).unwrap();
    world.running.reload(load(world.folder.path()).unwrap()).await.unwrap();
    world.request(&token, "jane@example.com").await.chain();
}

#[tokio::test]
async fn an_issuer_that_never_answers_costs_no_more_than_the_deadline() {
    let world = World::start_with("limits:\n  deadline: 400ms\n").await;
    // Accepts into the kernel's queue, and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let file = fs::read_to_string(world.path("issuers.yaml")).unwrap();
    fs::write(world.path("issuers.yaml"), file.replace(DOWN_ISSUER, &url)).unwrap();
    world.running.reload(load(world.folder.path()).unwrap()).await.unwrap();
    let token = world.issuer_key.sign(&with(email_claims(), json!({ "iss": url })));
    let started = std::time::Instant::now();
    let answer = world.request(&token, "jane@example.com").await;
    assert!(started.elapsed().as_millis() < 3000);
    assert_eq!((answer.status, &answer.json()["code"]), (503, &json!(14)), "{}", answer.body);
    assert!(answer.message().contains("out of time"), "{}", answer.message());
    assert_eq!(world.audit_lines().last().unwrap()["event"], "refused");
    // The others are served meanwhile.
    let token = world.issuer_key.sign(&email_claims());
    world.request(&token, "jane@example.com").await.chain();
}

/// A provider of discovery and keys, and of nothing else.
struct Issuer {
    url: String,
    serving: tokio::task::JoinHandle<()>,
}

impl Issuer {
    async fn start(key: &IssuerKey) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let document = json!({
            "issuer": url, "jwks_uri": format!("{url}/keys"),
            "id_token_signing_alg_values_supported": ["ES256"],
        });
        let (document, keys) = (document.to_string(), key.jwks());
        let routes = axum::Router::new()
            .route("/.well-known/openid-configuration", get(async || document))
            .route("/keys", get(async || keys));
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { url, serving }
    }

    async fn stop(&mut self) {
        self.serving.abort();
        assert!((&mut self.serving).await.is_err_and(|error| error.is_cancelled()));
    }
}
