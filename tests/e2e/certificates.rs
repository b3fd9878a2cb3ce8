//! Certificates and their SCTs before foreign judges: OpenSSL, pkilint, python cryptography.
use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::support::{
    clients::{PlainClient, certificates, csr_request, facts, log_holds, openssl, python},
    issuers,
    mayfly::{CaKey, Mayfly},
    peers::{CiOidc, Oidc, venv},
    process::run,
};

#[test]
fn strict_judges_accept_certificates_of_a_p256_ca() {
    strict_judges_accept_certificates(CaKey::P256);
}

#[test]
fn strict_judges_accept_certificates_of_a_p384_ca() {
    strict_judges_accept_certificates(CaKey::P384);
}

fn strict_judges_accept_certificates(ca: CaKey) {
    let oidc = CiOidc::start();
    let mayfly = Mayfly::start(ca, &issuers::email(oidc.url()));
    let token = oidc.token(&jane());
    let trust = mayfly.trusted_root();
    let mut leaves = String::new();
    for (name, options) in CLIENT_KEYS {
        let csr = csr(&mayfly, name, options);
        let chain = certificates(&mayfly.ask(&csr_request(&token, &csr)));
        let leaf = mayfly.path(&format!("{name}.leaf.pem"));
        fs::write(&leaf, &chain[0]).unwrap();
        leaves += &(chain[0].clone() + "\n");

        assert_chain_is_the_ceremonys(&mayfly, &chain);
        assert_openssl_verifies(&mayfly, &leaf);
        assert_same_key(&leaf, &mayfly.path(&format!("{name}.key.pem")));
        assert_pkilint_finds_only_the_known(&leaf);
        assert!(
            python("sct_verify", &[&leaf, &trust])
                .success()
                .starts_with("SCT ok")
        );
    }
    let all = mayfly.path("leaves.pem");
    fs::write(&all, leaves).unwrap();
    let log = format!("{}/log", mayfly.url());
    let (count, size) = log_holds(&log, &trust, &mayfly.path("checkpoints"), &all);
    assert_eq!((count, size), (CLIENT_KEYS.len(), CLIENT_KEYS.len()));
}

/// Every kind of key that WIRE 1.2 allows, as `openssl genpkey` makes it.
const CLIENT_KEYS: [(&str, &[&str]); 5] = [
    (
        "p256",
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    ),
    (
        "p384",
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
    ),
    (
        "p521",
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"],
    ),
    (
        "rsa2048",
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    ),
    ("ed25519", &["-algorithm", "ED25519"]),
];

/// A key and a CSR for it that asks for what no client may have (NT-41).
fn csr(mayfly: &Mayfly, name: &str, options: &[&str]) -> std::path::PathBuf {
    let (key, csr) = (
        mayfly.path(&format!("{name}.key.pem")),
        mayfly.path(&format!("{name}.csr")),
    );
    let (key_text, csr_text) = (key.to_str().unwrap(), csr.to_str().unwrap());
    openssl(&[&["genpkey", "-out", key_text], options].concat()).success();
    let wishes = [
        "req",
        "-new",
        "-key",
        key_text,
        "-out",
        csr_text,
        "-subj",
        "/CN=mallory.example.com",
        "-addext",
        "subjectAltName=DNS:mallory.example.com",
        "-addext",
        "basicConstraints=critical,CA:TRUE",
        "-addext",
        "extendedKeyUsage=serverAuth",
    ];
    openssl(&wishes).success();
    csr
}

fn jane() -> Value {
    json!({"sub": "jane", "aud": "sigstore", "email": "jane@example.com", "email_verified": true})
}

/// WIRE 1.4: leaf, all intermediates, root; sigstore-java compares the bytes.
fn assert_chain_is_the_ceremonys(mayfly: &Mayfly, chain: &[String]) {
    let of_the_ceremony = |name: &str| fs::read_to_string(mayfly.path(name)).unwrap();
    let [_, intermediate, root] = chain else {
        panic!("{} certificates", chain.len())
    };
    // rcgen ends its lines with CR LF; the bytes that count are in between.
    let lines = |pem: &str| pem.lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        lines(intermediate),
        lines(&of_the_ceremony("keys/intermediate.pem"))
    );
    assert_eq!(lines(root), lines(&of_the_ceremony("keys/root.pem")));
    assert!(
        chain.iter().all(|pem| !pem.ends_with('\n')),
        "WIRE 1.4: without the last line break"
    );
}

fn assert_openssl_verifies(mayfly: &Mayfly, leaf: &Path) {
    let (root, intermediate) = (
        mayfly.path("keys/root.pem"),
        mayfly.path("keys/intermediate.pem"),
    );
    let arguments = [
        "verify",
        "-x509_strict",
        "-check_ss_sig",
        "-purpose",
        "any",
        "-CAfile",
        root.to_str().unwrap(),
        "-untrusted",
        intermediate.to_str().unwrap(),
        leaf.to_str().unwrap(),
    ];
    openssl(&arguments).success();
}

fn assert_same_key(leaf: &Path, key: &Path) {
    let certified =
        openssl(&["x509", "-in", leaf.to_str().unwrap(), "-noout", "-pubkey"]).success();
    let held = openssl(&["pkey", "-in", key.to_str().unwrap(), "-pubout"]).success();
    assert_eq!(certified, held);
}

/// pkilint knows RFC 5280 and 8399, not Sigstore's profile; what it says against that is listed.
fn assert_pkilint_finds_only_the_known(leaf: &Path) {
    let leaf = leaf.to_str().unwrap();
    let arguments = ["lint", "-s", "NOTICE", "-f", "JSON", leaf];
    // Its exit code is the number of findings.
    let report = run(venv("lint_pkix_cert"), &arguments).stdout;
    let report: Value =
        serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {report}"));
    let findings: Vec<&str> = report["results"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|result| result["finding_descriptions"].as_array().unwrap())
        .map(|finding| finding["code"].as_str().unwrap())
        .collect();
    let unknown: Vec<_> = findings
        .iter()
        .filter(|code| !KNOWN_FINDINGS.contains(code))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

const KNOWN_FINDINGS: [&str; 0] = [];

#[test]
fn the_leaf_has_exactly_the_profile_of_its_identity() {
    let oidc = CiOidc::start();
    let mayfly = Mayfly::start(CaKey::P256, &issuers::email(oidc.url()));
    let request = PlainClient::new().request(&oidc.token(&jane()), "jane@example.com");
    let leaf = mayfly.path("leaf.pem");
    fs::write(&leaf, &certificates(&mayfly.ask(&request))[0]).unwrap();
    let facts = facts(&leaf);

    assert_eq!(facts["version"], "v3");
    assert_eq!(facts["subject"], "");
    assert_eq!(facts["issuer"], "CN=Test Issuing CA,O=Mayfly Tests");
    assert_eq!(facts["lifetime_seconds"], 600.0);
    assert_eq!(facts["names"], json!([["RFC822Name", "jane@example.com"]]));
    // NT-45: 20 octets at most, so 159 bits; fewer than 64 would come once in 2^95 times.
    let serial_bits = facts["serial_bits"].as_u64().unwrap();
    assert!((64..=159).contains(&serial_bits), "{serial_bits}");

    let extensions = facts["extensions"].as_object().unwrap();
    let critical: Vec<&str> = extensions
        .iter()
        .filter(|(_, extension)| extension["critical"] == true)
        .map(|(oid, _)| oid.as_str())
        .collect();
    assert_eq!(critical, [KEY_USAGE, SUBJECT_ALTERNATIVE_NAME]);
    // BIT STRING with the first bit alone: digitalSignature.
    assert_eq!(extensions[KEY_USAGE]["value"], "03020780");
    // SEQUENCE of the one OID 1.3.6.1.5.5.7.3.3, codeSigning.
    assert_eq!(
        extensions[EXTENDED_KEY_USAGE]["value"],
        "300a06082b06010505070303"
    );
    assert!(!extensions.contains_key(BASIC_CONSTRAINTS));
    let order = facts["order"].as_array().unwrap();
    assert_eq!(
        order.last().unwrap(),
        SCT_LIST,
        "WIRE 2.1: the SCT list comes last"
    );
}

const KEY_USAGE: &str = "2.5.29.15";
const SUBJECT_ALTERNATIVE_NAME: &str = "2.5.29.17";
const BASIC_CONSTRAINTS: &str = "2.5.29.19";
const EXTENDED_KEY_USAGE: &str = "2.5.29.37";
const SCT_LIST: &str = "1.3.6.1.4.1.11129.2.4.2";

#[test]
fn mayfly_request_brings_a_certificate_for_the_key_it_made() {
    let oidc = Oidc::start("ES256");
    let mayfly = Mayfly::start(CaKey::P256, &issuers::email(oidc.url()));
    let [token, leaf, key] = ["token", "cert.pem", "key.pem"].map(|name| mayfly.path(name));
    fs::write(&token, oidc.token()).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    for style in [&[][..], &["--csr"]] {
        let (token, leaf, key) = (text(&token), text(&leaf), text(&key));
        let arguments = [
            "request",
            "--url",
            mayfly.url(),
            "--token-file",
            &token,
            "--cert-out",
            &leaf,
            "--key-out",
            &key,
        ];
        run(
            crate::support::mayfly::binary(),
            &[&arguments, style].concat(),
        )
        .success();
        assert_openssl_verifies(&mayfly, Path::new(&leaf));
        assert_same_key(Path::new(&leaf), Path::new(&key));
        fs::remove_file(&leaf).unwrap();
        fs::remove_file(&key).unwrap();
    }
}
