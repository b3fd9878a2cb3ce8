//! A CA whose key is on a token, through PKCS #11: SoftHSM 2, kryoptic, a TPM.
use std::fs;

use serde_json::{Value, json};

use crate::support::{
    clients::{PlainClient, certificates, openssl},
    http, issuers,
    kryoptic::Kryoptic,
    mayfly::{CaKey, Mayfly},
    peers::CiOidc,
    softhsm::{self, PIN, SoftHsm, token::Token},
    tpm::Tpm,
};

#[test]
fn openssl_verifies_what_a_p256_key_on_a_token_signed() {
    certificates_are_issued(CaKey::P256, "EC:prime256v1", &SoftHsm::new());
}

#[test]
fn openssl_verifies_what_a_p384_key_on_a_token_signed() {
    certificates_are_issued(CaKey::P384, "EC:secp384r1", &SoftHsm::new());
}

#[test]
fn openssl_verifies_what_a_p256_key_in_kryoptic_signed() {
    certificates_are_issued(CaKey::P256, "EC:prime256v1", &Kryoptic::new());
}

#[test]
fn openssl_verifies_what_a_p384_key_in_kryoptic_signed() {
    certificates_are_issued(CaKey::P384, "EC:secp384r1", &Kryoptic::new());
}

#[test]
fn openssl_verifies_what_a_p256_key_in_a_tpm_signed() {
    certificates_are_issued(CaKey::P256, "EC:prime256v1", &Tpm::new());
}

#[test]
fn openssl_verifies_what_a_p384_key_in_a_tpm_signed() {
    certificates_are_issued(CaKey::P384, "EC:secp384r1", &Tpm::new());
}

fn certificates_are_issued(ca: CaKey, kind: &str, hsm: &Token) {
    hsm.generate(kind, "ca", "01");
    let oidc = CiOidc::start();
    let mayfly = Mayfly::start_on_hsm(ca, hsm, "ca", &issuers::email(oidc.url()));
    let request = PlainClient::new().request(&oidc.token(&jane()), "jane@example.com");
    for _ in 0..5 {
        let chain = certificates(&mayfly.ask(&request));
        assert_eq!(chain.len(), 3);
        let leaf = mayfly.path("leaf.pem");
        fs::write(&leaf, &chain[0]).unwrap();
        let file = |name: &str| mayfly.path(name).to_str().unwrap().to_owned();
        let (root, issuing) = (file("keys/root.pem"), file("keys/intermediate.pem"));
        let leaf = leaf.to_str().unwrap();
        let verify = ["verify", "-x509_strict", "-purpose", "any", "-CAfile", &root];
        openssl(&[&verify[..], &["-untrusted", &issuing, leaf]].concat()).success();
    }
    // One signature to prove key and chain, then a precertificate and a certificate each time.
    let key = "key=\"pkcs11:token=mayfly;object=ca\"";
    let ok = format!("mayfly_key_calls_total{{{key},result=\"ok\"}}");
    assert!(value(&mayfly, &ok) >= 11.0);
    assert_eq!(value(&mayfly, &format!("mayfly_key_circuit_open{{{key}}}")), 0.0);
    for text in [mayfly.log(), metrics(&mayfly), fs::read_to_string(audit(&mayfly)).unwrap()] {
        assert!(!text.contains(PIN), "{text}");
    }
}

#[test]
fn what_is_wrong_is_told_by_config_check_and_by_serve_before_a_port_opens() {
    let hsm = SoftHsm::new();
    hsm.generate("EC:prime256v1", "ca", "01");
    hsm.generate("EC:prime256v1", "another", "02");
    let issuers = issuers::email("https://issuer.example.com");
    let mut mayfly = Mayfly::start_on_hsm(CaKey::P256, &hsm, "ca", &issuers);
    assert!(mayfly.stop().success());
    let file = mayfly.path("mayfly.yaml");
    let good = fs::read_to_string(&file).unwrap();
    mayfly.command(&["config", "check"]).success();

    let wrong_pin = mayfly.path("wrong-pin");
    fs::write(&wrong_pin, "87654321").unwrap();
    let wrong_pin = wrong_pin.to_str().unwrap();
    let pin = hsm.pin_file();
    let pin = pin.to_str().unwrap();
    let passphrase = format!("    passphrase: file:{pin}\n");
    let key = softhsm::uri;
    for (from, to, message) in [
        (pin, wrong_pin, "the token refuses the PIN (CKR_PIN_INCORRECT)"),
        (passphrase.as_str(), "", "no PIN is configured"),
        (&key("ca"), &key("no"), "the token has no private key with object 'no'"),
        (&key("ca"), &key("another"), "is not the key of"),
        ("token=mayfly", "token=gone", "there is no token that is token 'gone'; there are 'mayf"),
        ("libsofthsm2.so", "libnone.so", "cannot be loaded as a PKCS #11 module"),
        ("?module-path", "?pin-value=1&module-path", "'pin-value' is refused"),
    ] {
        let bad = good.replace(from, to);
        assert_ne!(bad, good, "{from}");
        fs::write(&file, bad).unwrap();
        for command in [&["config", "check"][..], &["serve"]] {
            let said = mayfly.command(command).failure();
            assert!(said.contains(message), "{command:?} with {to}: {said}");
        }
        assert!(http::get(&format!("{}/healthz", mayfly.url())).is_none());
    }

    fs::write(&file, &good).unwrap();
    hsm.remove_key("ca");
    let said = mayfly.command(&["config", "check"]).failure();
    assert!(said.contains("the token has no private key with object 'ca'"), "{said}");
}

#[test]
fn a_key_that_is_removed_while_it_serves_yields_no_certificate_and_no_crash() {
    let hsm = SoftHsm::new();
    hsm.generate("EC:prime256v1", "ca", "01");
    let oidc = CiOidc::start();
    let mayfly = Mayfly::start_on_hsm(CaKey::P256, &hsm, "ca", &issuers::email(oidc.url()));
    let request = PlainClient::new().request(&oidc.token(&jane()), "jane@example.com");
    assert_eq!(mayfly.ask(&request).status, 200);
    hsm.remove_key("ca");
    let answer = mayfly.ask(&request);
    assert!(matches!(answer.status, 500 | 503), "{answer:?}");
    assert!(!answer.json().to_string().contains(softhsm::TOKEN), "{answer:?}");
    assert!(http::get(&format!("{}/healthz", mayfly.url())).is_some());
}

/// SoftHSM shows a token that comes back to new processes only.
#[test]
fn a_token_that_is_taken_out_is_an_outage_that_a_restart_ends_when_it_is_back() {
    let hsm = SoftHsm::new();
    hsm.generate("EC:prime256v1", "ca", "01");
    let oidc = CiOidc::start();
    let mut mayfly = Mayfly::start_on_hsm(CaKey::P256, &hsm, "ca", &issuers::email(oidc.url()));
    let request = PlainClient::new().request(&oidc.token(&jane()), "jane@example.com");
    assert_eq!(mayfly.ask(&request).status, 200);
    hsm.take_out();
    for _ in 0..10 {
        let answer = mayfly.ask(&request);
        assert_eq!((answer.status, &answer.json()["code"]), (503, &json!(14)), "{answer:?}");
    }
    let open = "mayfly_key_circuit_open{key=\"pkcs11:token=mayfly;object=ca\"}";
    assert_eq!(value(&mayfly, open), 1.0);
    assert!(mayfly.log().contains("there is no token that is token 'mayfly'"));
    assert!(mayfly.stop().success());
    hsm.put_back();
    mayfly.restart();
    assert_eq!(mayfly.ask(&request).status, 200);
}

fn metrics(mayfly: &Mayfly) -> String {
    let configuration = fs::read_to_string(mayfly.path("mayfly.yaml")).unwrap();
    let private = configuration.lines().find_map(|line| line.strip_prefix("private: ")).unwrap();
    http::get(&format!("http://{private}/metrics")).unwrap().text
}

pub(super) fn value(mayfly: &Mayfly, series: &str) -> f64 {
    let metrics = metrics(mayfly);
    let value = metrics.lines().find_map(|line| line.strip_prefix(series));
    value.unwrap_or_else(|| panic!("no {series} in {metrics}")).trim().parse().unwrap()
}

fn audit(mayfly: &Mayfly) -> std::path::PathBuf {
    mayfly.path("data/audit.jsonl")
}

pub(super) fn jane() -> Value {
    json!({"sub": "jane", "aud": "sigstore", "email": "jane@example.com", "email_verified": true})
}
