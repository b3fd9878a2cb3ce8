//! NT-60: no token and no key in any answer, audit line or error.

use serde_json::json;

use crate::{
    token::{email_claims, with},
    world::{World, signing_request},
};

#[tokio::test]
async fn nt_60_tokens_and_keys_stand_in_no_answer_and_no_audit_line() {
    let world = World::start().await;
    let good = world.issuer_key.sign(&email_claims());
    let expired = world.issuer_key.sign(&with(email_claims(), json!({ "exp": 1 })));
    let unknown = world.issuer_key.sign(&with(email_claims(), json!({ "iss": "https://x.org" })));
    let mut seen = String::new();
    for token in [&good, &expired, &unknown] {
        let answer = world.request(token, "jane@example.com").await;
        seen.push_str(&answer.body);
    }
    let truncated = &good[..good.len() - 10];
    seen.push_str(&world.request(truncated, "jane@example.com").await.body);
    let mut broken = signing_request(&good, "jane@example.com").to_string();
    broken.truncate(broken.len() - 2);
    let request = world.client.post(world.url("/api/v2/signingCert")).body(broken);
    seen.push_str(&crate::world::answer(request).await.body);
    seen.push_str(&std::fs::read_to_string(world.path("audit.jsonl")).unwrap());

    for token in [&good, &expired, &unknown] {
        for part in token.split('.') {
            assert!(!seen.contains(part), "a part of a token was given away");
        }
    }
    for key in ["issuing.pem", "log.pem"] {
        let key = std::fs::read_to_string(world.path(key)).unwrap();
        for line in key.lines().filter(|line| !line.starts_with("-----")) {
            assert!(!seen.contains(line), "a part of a key was given away");
        }
    }
    assert!(!seen.contains(world.folder.path().to_str().unwrap()), "a path was given away");
}

/// A JSON reader that quotes what it found would give away a token that stands in a wrong place.
#[tokio::test]
async fn nt_60_a_token_in_the_wrong_place_is_not_repeated() {
    let world = World::start().await;
    let token = world.issuer_key.sign(&email_claims());
    for body in [
        json!(token),
        json!({ "credentials": token }),
        json!({ "credentials": { "oidcIdentityToken": [token] } }),
        json!({ "credentials": { "oidcIdentityToken": { token.clone(): 1 } } }),
        json!({ "publicKeyRequest": token }),
        json!({ "publicKeyRequest": { "publicKey": { "content": token } } }),
        json!({ "publicKeyRequest": { "proofOfPossession": token } }),
        json!({ "certificateSigningRequest": { "x": token } }),
    ] {
        let answer = world.post(&body).await;
        assert_eq!(answer.status, 400, "{}", answer.body);
        assert!(!answer.body.contains(&token[..20]), "{}", answer.body);
    }
    let request = world.client.post(world.url("/api/v2/signingCert")).body(token.clone());
    let answer = crate::world::answer(request).await;
    assert!(!answer.body.contains(&token[..20]), "{}", answer.body);
    let audit = std::fs::read_to_string(world.path("audit.jsonl")).unwrap();
    assert!(!audit.contains(&token[..20]));
}

#[tokio::test]
async fn debug_of_the_running_service_shows_no_key() {
    let world = World::start().await;
    let shown = format!("{:?}", world.running);
    let key = std::fs::read(world.path("issuing.pem")).unwrap();
    let key = String::from_utf8(key).unwrap();
    for line in key.lines().filter(|line| !line.starts_with("-----")) {
        assert!(!shown.contains(line));
    }
}
