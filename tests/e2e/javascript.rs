//! sigstore-js signs and verifies with certificates of ours, people known by oidc-provider.
use std::fs;

use crate::support::{
    clients::SigstoreJs,
    issuers,
    mayfly::{CaKey, Mayfly},
    peers::{Oidc, Rekor},
};

#[test]
fn sigstore_js_signs_and_verifies_with_one_sct() {
    let oidc = Oidc::start("ES256");
    let rekor = Rekor::start();
    let mayfly = Mayfly::start(CaKey::P256, &issuers::email(oidc.url()));
    let client = SigstoreJs { trust_config: mayfly.trust_config(&rekor) };
    let artifact = mayfly.path("artifact.txt");
    fs::write(&artifact, "signed by sigstore-js").unwrap();

    client.sign(mayfly.url(), &rekor, &oidc.token(), &artifact).success();
    let said = client.verify(&artifact, "jane@example.com", oidc.url()).success();
    assert_eq!(said.trim(), format!("verified jane@example.com {}", oidc.url()));

    let said = client.verify(&artifact, "mallory@example.com", oidc.url()).failure();
    assert!(said.contains("certificate identity error"), "{said}");
}

#[test]
fn sigstore_js_shows_its_user_why_a_token_was_refused() {
    let (oidc, stranger) = (Oidc::start("ES256"), Oidc::start("ES256"));
    let rekor = Rekor::start();
    let mayfly = Mayfly::start(CaKey::P256, &issuers::email(oidc.url()));
    let client = SigstoreJs { trust_config: mayfly.trust_config(&rekor) };
    let artifact = mayfly.path("artifact.txt");
    fs::write(&artifact, "never signed").unwrap();

    let said = client.sign(mayfly.url(), &rekor, &stranger.token(), &artifact).failure();
    assert!(said.contains("There was an error processing the identity token"), "{said}");
}
