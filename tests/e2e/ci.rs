//! Tokens of a CI system, and every extension of the certificate read by python cryptography.
use std::fs;

use serde_json::{Value, json};

use crate::support::{
    clients::{PlainClient, certificates, facts},
    issuers,
    mayfly::{CaKey, Mayfly},
    peers::CiOidc,
};

#[test]
fn every_fulcio_extension_of_a_ci_token_is_in_the_certificate() {
    let oidc = CiOidc::start();
    let mayfly = Mayfly::start(CaKey::P384, &issuers::ci(oidc.url()));
    let claims = claims();
    let subject = claims["sub"].as_str().unwrap();

    let answer = mayfly.ask(&PlainClient::new().request(&oidc.token(&claims), subject));
    let leaf = mayfly.path("leaf.pem");
    fs::write(&leaf, &certificates(&answer)[0]).unwrap();
    let facts = facts(&leaf);

    let signer = "https://forge.example.com/o/r/.forge/build.yml@refs/heads/main";
    assert_eq!(facts["names"], json!([["UniformResourceIdentifier", signer]]));
    let extensions = facts["extensions"].as_object().unwrap();
    let fulcio: Vec<(&str, &str)> = extensions
        .iter()
        .filter_map(|(oid, extension)| {
            let number = oid.strip_prefix("1.3.6.1.4.1.57264.1.")?;
            assert_eq!(extension["critical"], false, "1.{number}");
            Some((number, extension["value"].as_str().unwrap()))
        })
        .collect();
    let mut expected = expected(oidc.url());
    expected.sort_unstable();
    let mut fulcio = fulcio;
    fulcio.sort_unstable();
    assert_eq!(fulcio, expected);
}

/// A claim that a template names and the token lacks is an error, not an empty string.
#[test]
fn a_ci_token_without_a_claim_that_a_template_needs_is_refused() {
    let oidc = CiOidc::start();
    let mayfly = Mayfly::start(CaKey::P256, &issuers::ci(oidc.url()));
    let mut claims = claims();
    let subject = claims["sub"].as_str().unwrap().to_owned();
    claims["job_workflow_ref"] = Value::Null;

    let answer = mayfly.ask(&PlainClient::new().request(&oidc.token(&claims), &subject));
    assert_eq!(answer.status, 400, "{answer:?}");
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("There was an error processing the identity token"), "{message}");
    assert!(message.contains("job_workflow_ref"), "{message}");
}

fn claims() -> Value {
    json!({
        "sub": "repo:o/r:ref:refs/heads/main",
        "aud": "sigstore",
        "event_name": "push",
        "sha": "0123456789abcdef0123456789abcdef01234567",
        "workflow": "build",
        "repository": "o/r",
        "ref": "refs/heads/main",
        "job_workflow_ref": "o/r/.forge/build.yml@refs/heads/main",
        "job_workflow_sha": "1123456789abcdef0123456789abcdef01234567",
        "runner_environment": "hosted",
        "repository_id": "1000001",
        "forge.example.com/owner": "o",
        "repository_owner_id": 2_000_002,
        "workflow_ref": "o/r/.forge/main.yml@refs/heads/main",
        "workflow_sha": "2123456789abcdef0123456789abcdef01234567",
        "run_id": 10_000_000_007_u64,
        "run_attempt": "1",
        "repository_visibility": "public",
    })
}

/// By the last arc of the extension's OID; 1 to 6 raw, from 8 on UTF8String.
fn expected(issuer: &str) -> Vec<(&'static str, &str)> {
    vec![
        ("1", issuer),
        ("2", "push"),
        ("3", "0123456789abcdef0123456789abcdef01234567"),
        ("4", "build"),
        ("5", "o/r"),
        ("6", "refs/heads/main"),
        ("8", issuer),
        ("9", "https://forge.example.com/o/r/.forge/build.yml@refs/heads/main"),
        ("10", "1123456789abcdef0123456789abcdef01234567"),
        ("11", "forge-hosted"),
        ("12", "https://forge.example.com/o/r"),
        ("13", "0123456789abcdef0123456789abcdef01234567"),
        ("14", "refs/heads/main"),
        ("15", "1000001"),
        ("16", "https://forge.example.com/o"),
        ("17", "2000002"),
        ("18", "https://forge.example.com/o/r/.forge/main.yml@refs/heads/main"),
        ("19", "2123456789abcdef0123456789abcdef01234567"),
        ("20", "push"),
        ("21", "https://forge.example.com/o/r/runs/10000000007/attempts/1"),
        ("22", "public"),
        ("23", "none"),
        ("24", "repo:o/r:ref:refs/heads/main"),
    ]
}
