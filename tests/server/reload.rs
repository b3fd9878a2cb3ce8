//! Another configuration while the service runs: all of it, or nothing (NT-65).

use std::fs;

use mayfly::{keys::SignatureAlgorithm, serve::StartError};
use serde_json::json;

use crate::{
    token::{email_claims, with},
    world::{World, load, mayfly_yaml, write_authority},
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
async fn nt_24_a_reload_forgets_no_used_token() {
    let world = World::start().await;
    let claims = with(email_claims(), json!({ "iss": "https://once.example.com" }));
    let token = world.issuer_key.sign(&claims);
    world.request(&token, "jane@example.com").await.chain();
    world.running.reload(load(world.folder.path()).unwrap()).await.unwrap();
    let refused = world.request(&token, "jane@example.com").await;
    assert_eq!(refused.status, 400, "{}", refused.body);
    assert!(refused.message().contains("was used before"), "{}", refused.body);
}

/// The reader of YAML is a library that panics on this text.
#[tokio::test]
async fn nt_65_an_issuer_file_that_breaks_its_reader_is_only_a_bad_reload() {
    let world = World::start().await;
    for text in ["{!,", "", "oidc-issuers: {", "\u{0}", "oidc-issuers:\n  - x"] {
        fs::write(world.path("issuers.yaml"), text).unwrap();
        let refused = load(world.folder.path()).unwrap_err().to_string();
        assert!(refused.contains("issuers.yaml"), "{text:?}: {refused}");
    }
    let token = world.issuer_key.sign(&email_claims());
    assert_eq!(world.request(&token, "jane@example.com").await.status, 200);
}
