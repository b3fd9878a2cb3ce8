//! A provider whose tokens name no key and carry `aud` as an array (RFC 7519, 4.1.3 allows it).
use std::fs;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::support::{
    clients::{PlainClient, certificates, facts},
    issuers,
    mayfly::{CaKey, Mayfly},
    peers::MockOidc,
};

#[test]
fn a_token_without_kid_and_with_an_array_as_aud_gets_a_certificate() {
    let oidc = MockOidc::start();
    let mayfly = Mayfly::start(CaKey::P256, &issuers::email(oidc.url()));
    let token = oidc.token();
    let [header, claims] = [part(&token, 0), part(&token, 1)];
    assert_eq!(header.get("kid"), None, "the peer names its key now: {header}");
    assert_eq!(claims["aud"], json!(["sigstore"]), "the peer writes aud otherwise now");

    let answer = mayfly.ask(&PlainClient::new().request(&token, "jane@example.com"));
    let leaf = mayfly.path("leaf.pem");
    fs::write(&leaf, &certificates(&answer)[0]).unwrap();
    assert_eq!(facts(&leaf)["names"], json!([["RFC822Name", "jane@example.com"]]));
}

/// One part of a token, not verified.
fn part(token: &str, index: usize) -> Value {
    let text = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}
