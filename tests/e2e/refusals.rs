//! Requests that get nothing: the right status, the caller's own fault by name, and no log entry.
use std::fs;

use serde_json::{Value, json};

use crate::support::{
    clients::{PlainClient, log_holds, openssl},
    http, issuers,
    mayfly::{CaKey, Mayfly},
    peers::{CiOidc, Oidc},
};

#[test]
fn refused_requests_name_the_fault_and_leave_no_entry_in_the_log() {
    let (oidc, stranger) = (CiOidc::start(), Oidc::start("ES256"));
    let mayfly = Mayfly::start(CaKey::P256, &issuers::email(oidc.url()));
    let client = PlainClient::new();
    let good = client.request(&oidc.token(&jane()), "jane@example.com");
    let mut bad = requests_with_a_bad_token(&oidc, &client, &good);
    bad.push((TOKEN, client.request(&stranger.token(), "jane@example.com")));
    bad.extend(requests_with_a_bad_key_or_proof(&client, &good, &weak_key(&mayfly)));
    for (text, request) in &bad {
        let answer = mayfly.ask(request);
        assert_eq!(answer.status, 400, "{answer:?} to {request}");
        let body = answer.json();
        assert_eq!(body["code"], 3, "{body}");
        let message = body["message"].as_str().unwrap();
        assert!(message.starts_with(text), "{message:?} does not start with {text:?}: {request}");
    }

    let nobody = mayfly.path("nobody.pem");
    fs::write(&nobody, "").unwrap();
    let log = format!("{}/log", mayfly.url());
    let memory = mayfly.path("checkpoints");
    assert_eq!(log_holds(&log, &mayfly.trusted_root(), &memory, &nobody), (0, 0));
    // All of the above failed for what it was changed in: unchanged, it is taken.
    assert_eq!(mayfly.ask(&good).status, 200);
}

fn requests_with_a_bad_token(
    oidc: &CiOidc,
    client: &PlainClient,
    good: &Value,
) -> Vec<(&'static str, Value)> {
    let changes = [
        ("aud", json!("sigstore-evil")),
        ("aud", Value::Null),
        ("exp", json!(1_000_000_000)),
        ("nbf", json!(4_000_000_000_u64)),
        ("iss", json!("https://other.example.com")),
        ("email_verified", json!(false)),
        ("email", Value::Null),
    ];
    let mut requests: Vec<Value> = changes
        .into_iter()
        .map(|(claim, value)| {
            let mut claims = jane();
            claims[claim] = value;
            client.request(&oidc.token(&claims), "jane@example.com")
        })
        .collect();
    let token = "/credentials/oidcIdentityToken";
    requests.extend(["", "not a token", "a.b.c"].map(|text| changed(good, token, text)));
    requests.into_iter().map(|request| (TOKEN, request)).collect()
}

fn requests_with_a_bad_key_or_proof(
    client: &PlainClient,
    good: &Value,
    weak_key: &str,
) -> [(&'static str, Value); 5] {
    let token = good["credentials"]["oidcIdentityToken"].as_str().unwrap();
    let other = PlainClient::new().request(token, "jane@example.com");
    let other_proof = other["publicKeyRequest"]["proofOfPossession"].as_str().unwrap();
    let key = "/publicKeyRequest/publicKey/content";
    let csr = json!({"credentials": good["credentials"], "certificateSigningRequest": "bm8="});
    [
        (KEY, changed(good, key, "not a key")),
        (WEAK, changed(good, key, weak_key)),
        (PROOF, client.request(token, "mallory@example.com")),
        (PROOF, changed(good, "/publicKeyRequest/proofOfPossession", other_proof)),
        (CSR, csr),
    ]
}

/// `request` with the text at `pointer` (RFC 6901) replaced.
fn changed(request: &Value, pointer: &str, text: &str) -> Value {
    let mut request = request.clone();
    *request.pointer_mut(pointer).unwrap() = json!(text);
    request
}

/// The upstream texts, which scripts and tests of clients match.
const TOKEN: &str = "There was an error processing the identity token";
const KEY: &str = "The public key supplied in the request could not be parsed";
const WEAK: &str = "The public key supplied in the request is insecure";
const PROOF: &str = "The signature supplied in the request could not be verified";
const CSR: &str = "The certificate signing request could not be parsed";

fn jane() -> Value {
    json!({"sub": "jane", "aud": "sigstore", "email": "jane@example.com", "email_verified": true})
}

/// An RSA key of 1024 bits, PEM.
fn weak_key(mayfly: &Mayfly) -> String {
    let key = mayfly.path("weak.pem");
    let key = key.to_str().unwrap();
    openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024", "-out", key])
        .success();
    openssl(&["pkey", "-in", key, "-pubout"]).success()
}

#[test]
fn unknown_paths_and_methods_are_answered_in_the_envelope_of_the_api() {
    let oidc = CiOidc::start();
    let mayfly = Mayfly::start(CaKey::P256, &issuers::email(oidc.url()));
    let unknown = http::get(&format!("{}/api/v2/nothing", mayfly.url())).unwrap();
    assert_eq!((unknown.status, &unknown.json()["code"]), (404, &json!(5)));
    let wrong_method = http::get(&format!("{}/api/v2/signingCert", mayfly.url())).unwrap();
    assert_eq!((wrong_method.status, &wrong_method.json()["code"]), (501, &json!(12)));
}

#[test]
fn nt_60_neither_token_nor_private_key_stands_in_what_the_server_writes() {
    let oidc = CiOidc::start();
    let mut mayfly = Mayfly::start(CaKey::P256, &issuers::email(oidc.url()));
    let client = PlainClient::new();
    let taken = oidc.token(&jane());
    assert_eq!(mayfly.ask(&client.request(&taken, "jane@example.com")).status, 200);
    let refused = oidc.token(&json!({"sub": "jane", "aud": "other"}));
    assert_eq!(mayfly.ask(&client.request(&refused, "jane@example.com")).status, 400);
    assert!(mayfly.stop().success());

    let audit = fs::read_to_string(mayfly.path("data/audit.jsonl")).unwrap();
    let log = mayfly.log();
    assert!(audit.contains("jane@example.com"), "the audit names the identity: {audit}");
    for token in [&taken, &refused] {
        // Each part by itself: a token cut to its claims is one still.
        for part in token.split('.') {
            assert!(!audit.contains(part) && !log.contains(part), "{part}\n{log}\n{audit}");
        }
    }
    for key in ["keys/issuing.pem", "keys/log.pem"] {
        for line in fs::read_to_string(mayfly.path(key)).unwrap().lines().skip(1) {
            assert!(!audit.contains(line) && !log.contains(line), "a line of {key}");
        }
    }
}
