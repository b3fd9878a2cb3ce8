//! The documents against the shape that the strictest client of each kind accepts.

use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::FutureExt;
use p256::pkcs8::EncodePublicKey;
use serde_json::{Value, json};
use url::Url;

use super::*;
use crate::{
    ca::{
        Serial,
        ceremony::{NewCa, create_intermediate, create_root},
    },
    keys::{self, SignatureAlgorithm},
    time::Timestamp,
    x509::Certificate,
};

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

fn since_september() -> Span {
    Span { start: Timestamp::parse_rfc3339("2026-09-01T00:00:00.999Z").unwrap(), end: None }
}

/// Issuing CA and root.
fn chain(common_name: &str) -> [Certificate; 2] {
    let key = || keys::file::generate(SignatureAlgorithm::EcdsaP256Sha256).unwrap().signer;
    let (root_key, issuing_key) = (key(), key());
    let new = |common_name| NewCa {
        organization: "example.com",
        common_name,
        now: since_september().start,
        lifetime_seconds: 3600,
        serial: Serial::from_random([5; 20]),
    };
    let (new_root, new_issuing) = (new(common_name), new("below"));
    let root = create_root(&*root_key, &new_root).now_or_never().unwrap().unwrap();
    let issuing = create_intermediate(&root, &*root_key, &*issuing_key, &new_issuing);
    [issuing.now_or_never().unwrap().unwrap(), root]
}

fn p256_spki() -> Vec<u8> {
    let key = p256::SecretKey::from_slice(&[7; 32]).unwrap().public_key();
    key.to_public_key_der().unwrap().as_bytes().to_vec()
}

fn log(address: &str) -> TrustedLog {
    TrustedLog::new(&url(address), &p256_spki(), since_september()).unwrap()
}

fn document<T: serde::Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap()
}

fn expected_log(address: &str) -> Value {
    let id = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &p256_spki());
    json!({
        "baseUrl": address,
        "hashAlgorithm": "SHA2_256",
        "publicKey": {
            "rawBytes": STANDARD.encode(p256_spki()),
            "keyDetails": "PKIX_ECDSA_P256_SHA_256",
            "validFor": {"start": "2026-09-01T00:00:00Z"},
        },
        "logId": {"keyId": STANDARD.encode(id)},
    })
}

fn example_root(ca: &[Certificate; 2], tsa: &[Certificate; 2]) -> TrustedRoot {
    let valid_for = since_september();
    let ca_url = url("https://sigstore.example.com");
    let tsa_url = url("https://sigstore.example.com/api/v1/timestamp");
    trusted_root(TrustMaterial {
        certificate_authorities: vec![TrustedChain::of_ca(ca, &ca_url, valid_for).unwrap()],
        ct_logs: vec![log("https://sigstore.example.com/ct/2026")],
        signature_logs: vec![log("https://log2026.rekor.example.com")],
        timestamp_authorities: vec![
            TrustedChain::of_timestamp_authority(tsa, &tsa_url, valid_for).unwrap(),
        ],
    })
}

#[test]
fn the_trusted_root_is_the_worked_example() {
    let (ca, tsa) = (chain("example sigstore root"), chain("example tsa root"));
    let raw = |c: &Certificate| json!({"rawBytes": STANDARD.encode(c.der())});
    let authority = |chain: &[Certificate; 2], common_name: &str, uri: &str| {
        json!({
            "subject": {"organization": "example.com", "commonName": common_name},
            "uri": uri,
            "certChain": {"certificates": [raw(&chain[0]), raw(&chain[1])]},
            "validFor": {"start": "2026-09-01T00:00:00Z"},
        })
    };
    let tsa_uri = "https://sigstore.example.com/api/v1/timestamp";
    let expected = json!({
        "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
        "tlogs": [expected_log("https://log2026.rekor.example.com")],
        "certificateAuthorities": [
            authority(&ca, "example sigstore root", "https://sigstore.example.com"),
        ],
        "ctlogs": [expected_log("https://sigstore.example.com/ct/2026")],
        "timestampAuthorities": [authority(&tsa, "example tsa root", tsa_uri)],
    });
    assert_eq!(document(&example_root(&ca, &tsa)), expected);
}

fn example_config() -> SigningConfig {
    let (valid_for, operator) = (since_september(), "example.com");
    let tsa = url("https://sigstore.example.com/api/v1/timestamp");
    let rekor = url("https://rekor.example.com");
    signing_config(SigningServices {
        ca: vec![Service::ca(&url("https://sigstore.example.com/"), operator, valid_for).unwrap()],
        oidc: vec![
            Service::oidc(&url("https://dex.example.com/auth"), operator, valid_for).unwrap(),
        ],
        signature_logs: vec![Service::signature_log(&rekor, 2, operator, valid_for).unwrap()],
        timestamp_authorities: vec![
            Service::timestamp_authority(&tsa, operator, valid_for).unwrap(),
        ],
    })
}

#[test]
fn the_signing_config_is_the_worked_example() {
    let service = |url: &str, version: u32| {
        json!({
            "url": url,
            "majorApiVersion": version,
            "validFor": {"start": "2026-09-01T00:00:00Z"},
            "operator": "example.com",
        })
    };
    let expected = json!({
        "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
        "caUrls": [service("https://sigstore.example.com", 1)],
        "oidcUrls": [service("https://dex.example.com/auth", 1)],
        "rekorTlogUrls": [service("https://rekor.example.com", 2)],
        "tsaUrls": [service("https://sigstore.example.com/api/v1/timestamp", 1)],
        "rekorTlogConfig": {"selector": "ANY"},
        "tsaConfig": {"selector": "ANY"},
    });
    assert_eq!(document(&example_config()), expected);
}

#[test]
fn the_client_trust_config_holds_both_documents_whole() {
    let (ca, tsa) = (chain("root"), chain("tsa"));
    let root = example_root(&ca, &tsa);
    let expected = json!({
        "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
        "trustedRoot": document(&root),
        "signingConfig": document(&example_config()),
    });
    assert_eq!(document(&client_trust_config(root, example_config())), expected);
}

#[test]
fn lists_and_selections_are_written_even_when_empty() {
    let root = document(&trusted_root(TrustMaterial::default()));
    for list in ["tlogs", "certificateAuthorities", "ctlogs", "timestampAuthorities"] {
        assert_eq!(root[list], json!([]), "{list}");
    }
    let config = document(&signing_config(SigningServices::default()));
    for list in ["caUrls", "oidcUrls", "rekorTlogUrls", "tsaUrls"] {
        assert_eq!(config[list], json!([]), "{list}");
    }
    assert_eq!(config["rekorTlogConfig"], json!({"selector": "ANY"}));
    assert_eq!(config["tsaConfig"], json!({"selector": "ANY"}));
}

#[test]
fn an_end_is_written_in_whole_seconds() {
    let start = Timestamp::from_unix_ms(1_500);
    let span = Span { start, end: Some(start.plus_ms(10_000)) };
    let expected = json!({"start": "1970-01-01T00:00:01Z", "end": "1970-01-01T00:00:11Z"});
    assert_eq!(document(&span), expected);
}

#[test]
fn nt_55_a_logs_id_is_the_hash_of_its_spki_for_every_kind_of_key() {
    let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let p521 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
    let rsa = keys::file::generate(SignatureAlgorithm::RsaPkcs1Sha256).unwrap().signer;
    let der = |key: &rcgen::KeyPair| rcgen::PublicKeyData::subject_public_key_info(key);
    let cases = [
        (der(&ed25519), "PKIX_ED25519"),
        (der(&p384), "PKIX_ECDSA_P384_SHA_384"),
        (der(&p521), "PKIX_ECDSA_P521_SHA_512"),
        (rsa.public_key_der().to_vec(), "PKIX_RSA_PKCS1V15_3072_SHA256"),
    ];
    for (spki, details) in cases {
        // PEM and DER give the same.
        let pem = crate::x509::pem::encode("PUBLIC KEY", &spki);
        let address = url("https://log.example.com");
        let from =
            |key: &[u8]| document(&TrustedLog::new(&address, key, since_september()).unwrap());
        let log = from(&spki);
        assert_eq!(log, from(pem.as_bytes()));
        assert_eq!(log["publicKey"]["keyDetails"], details);
        let id = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &spki);
        assert_eq!(log["logId"]["keyId"], STANDARD.encode(id));
    }
}

#[test]
fn what_some_client_would_choke_on_is_refused() {
    let ca = chain("root");
    let (span, host) = (since_september(), url("https://sigstore.example.com"));
    let no_host = url("mailto:someone@example.com");
    let with_path = url("https://sigstore.example.com/fulcio");
    let of_ca = |chain: &[Certificate], at: &Url| TrustedChain::of_ca(chain, at, span).unwrap_err();
    assert!(matches!(of_ca(&ca, &with_path), TrustError::CaPath { .. }));
    assert!(matches!(of_ca(&[], &host), TrustError::ChainTooShort { count: 0, needed: 1, .. }));
    assert!(matches!(Service::ca(&with_path, "example.com", span), Err(TrustError::CaPath { .. })));
    assert!(matches!(
        TrustedChain::of_timestamp_authority(&ca[..1], &host, span),
        Err(TrustError::ChainTooShort { count: 1, needed: 2, .. })
    ));
    assert!(matches!(
        TrustedLog::new(&no_host, &p256_spki(), span),
        Err(TrustError::NoHost { .. })
    ));
    assert!(matches!(TrustedLog::new(&host, b"not a key", span), Err(TrustError::LogKey { .. })));
}

#[test]
fn the_bundle_has_whole_pems_issuing_ca_first() {
    let (one, other) = (chain("one"), chain("other"));
    let chains: [&[Certificate]; 2] = [&one, &other];
    let expected = json!({"chains": [
        {"certificates": [one[0].pem(), one[1].pem()]},
        {"certificates": [other[0].pem(), other[1].pem()]},
    ]});
    assert_eq!(document(&trust_bundle(&chains)), expected);
    assert!(one[0].pem().ends_with("-----END CERTIFICATE-----\n"), "not trimmed");
    let parsed = Certificate::parse_pem_chain(trust_bundle_pem(&chains).as_bytes()).unwrap();
    assert_eq!(parsed, [&one[..], &other[..]].concat());
}
