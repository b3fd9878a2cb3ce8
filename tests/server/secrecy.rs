//! NT-60: no token and no key in any answer, audit line, log line or error.

use std::{
    io,
    sync::{Arc, Mutex},
};

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

/// The runtime of a test has one thread, so that the subscriber of this thread hears every task:
/// the server's, and those of the libraries below it.
#[tokio::test]
async fn nt_60_nothing_is_logged_of_tokens_and_proofs_at_any_level() {
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let world = World::start().await;
    let good = world.issuer_key.sign(&email_claims());
    let unknown = world.issuer_key.sign(&with(email_claims(), json!({ "iss": "https://x.org" })));
    let down = with(email_claims(), json!({ "iss": crate::world::DOWN_ISSUER }));
    let down = world.issuer_key.sign(&down);
    let mut proofs = Vec::new();
    for (token, status) in [(&good, 200), (&unknown, 400), (&down, 503)] {
        let body = signing_request(token, "jane@example.com");
        proofs.push(body["publicKeyRequest"]["proofOfPossession"].as_str().unwrap().to_owned());
        assert_eq!(world.post(&body).await.status, status);
        let header = world.client.post(world.url("/api/v2/signingCert")).bearer_auth(token);
        let mut body = signing_request("", "jane@example.com");
        body.as_object_mut().unwrap().remove("credentials");
        let answer = crate::world::answer(header.body(body.to_string())).await;
        assert_eq!(answer.status, status);
    }
    let logged = logged.text();
    for line in ["not issued", "refused"] {
        assert!(logged.contains(line), "the log was not heard: {logged}");
    }
    for token in [&good, &unknown, &down] {
        for part in token.split('.').chain(proofs.iter().map(String::as_str)) {
            assert!(!logged.contains(part), "a part of a token or proof was logged");
        }
    }
    let key = std::fs::read_to_string(world.path("issuing.pem")).unwrap();
    for line in key.lines().filter(|line| !line.starts_with("-----")) {
        assert!(!logged.contains(line), "a part of a key was logged");
    }
}

/// What was logged, in memory.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Logged {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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
