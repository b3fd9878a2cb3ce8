//! sigstore-python signs and verifies with certificates of ours, people known by oidc-provider.
use std::fs;

use crate::support::{
    clients::SigstorePython,
    issuers,
    mayfly::{CaKey, Mayfly},
    peers::{Oidc, Rekor},
};

#[test]
fn sigstore_python_signs_and_verifies_under_a_p256_ca() {
    signs_and_verifies_across_a_key_rotation(CaKey::P256);
}

#[test]
fn sigstore_python_signs_and_verifies_under_a_p384_ca() {
    signs_and_verifies_across_a_key_rotation(CaKey::P384);
}

fn signs_and_verifies_across_a_key_rotation(ca: CaKey) {
    let mut oidc = Oidc::start("ES256");
    let rekor = Rekor::start();
    let mayfly = Mayfly::start(ca, &issuers::email(oidc.url()));
    let client = SigstorePython { trust_config: mayfly.trust_config(&rekor) };
    let (before, after) = (mayfly.path("before.txt"), mayfly.path("after.txt"));
    fs::write(&before, "signed before the rotation").unwrap();
    fs::write(&after, "signed after the rotation").unwrap();

    client.sign(&oidc.token(), &before).success();
    client.verify(&before, "jane@example.com", oidc.url()).success();

    // The provider changes its key and algorithm at once; Mayfly has cached the old key set.
    oidc.rotate("RS256", "key-2");
    client.sign(&oidc.token(), &after).success();
    client.verify(&after, "jane@example.com", oidc.url()).success();
    client.verify(&before, "jane@example.com", oidc.url()).success();

    let said = client.verify(&after, "mallory@example.com", oidc.url()).failure();
    assert!(said.contains("Certificate's SANs do not match mallory@example.com"), "{said}");
    let said = client.verify(&after, "jane@example.com", "https://other.example.com").failure();
    assert!(said.contains("OIDCIssuer does not match"), "{said}");
}
