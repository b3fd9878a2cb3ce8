//! Certificates and their SCTs before foreign judges: OpenSSL, pkilint, python cryptography.
use std::{
    fs,
    path::{Path, PathBuf},
};

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
        openssl(&openssl_verify(&mayfly, &leaf)).success();
        assert_same_key(&leaf, &mayfly.path(&format!("{name}.key.pem")));
        assert_pkilint_finds_nothing(&mayfly, &leaf);
        assert!(python("sct_verify", &[&leaf, &trust]).success().starts_with("SCT ok"));
    }
    let all = mayfly.path("leaves.pem");
    fs::write(&all, leaves).unwrap();
    let log = format!("{}/log", mayfly.url());
    let (count, size) = log_holds(&log, &trust, &mayfly.path("checkpoints"), &all);
    assert_eq!((count, size), (CLIENT_KEYS.len(), CLIENT_KEYS.len()));
}

/// Every kind of key that may be certified, as `openssl genpkey` makes it.
const CLIENT_KEYS: [(&str, &[&str]); 5] = [
    ("p256", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
    ("p384", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
    ("p521", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"]),
    ("rsa2048", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
    ("ed25519", &["-algorithm", "ED25519"]),
];

/// A key and a CSR for it that asks for what no client may have (NT-41).
fn csr(mayfly: &Mayfly, name: &str, options: &[&str]) -> PathBuf {
    let (key, csr) = (mayfly.path(&format!("{name}.key.pem")), mayfly.path(&format!("{name}.csr")));
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
    // Each kind of key with its own hash, as `client-signing-algorithms` has it by default.
    let hash: &[&str] = match name {
        "p384" => &["-sha384"],
        "p521" => &["-sha512"],
        _ => &[],
    };
    openssl(&[&wishes[..], hash].concat()).success();
    csr
}

fn jane() -> Value {
    json!({"sub": "jane", "aud": "sigstore", "email": "jane@example.com", "email_verified": true})
}

/// Leaf, all intermediates, root; sigstore-java compares the bytes.
fn assert_chain_is_the_ceremonys(mayfly: &Mayfly, chain: &[String]) {
    let of_the_ceremony = |name: &str| fs::read_to_string(mayfly.path(name)).unwrap();
    let [_, intermediate, root] = chain else { panic!("{} certificates", chain.len()) };
    // rcgen ends its lines with CR LF; the bytes that count are in between.
    let lines = |pem: &str| pem.lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(intermediate), lines(&of_the_ceremony("keys/intermediate.pem")));
    assert_eq!(lines(root), lines(&of_the_ceremony("keys/root.pem")));
    assert!(chain.iter().all(|pem| !pem.ends_with('\n')), "without the last line break");
}

pub(crate) fn openssl_verify(mayfly: &Mayfly, leaf: &Path) -> Vec<String> {
    let text = |path: PathBuf| path.into_os_string().into_string().unwrap();
    let mut arguments: Vec<String> =
        ["verify", "-x509_strict", "-check_ss_sig", "-purpose", "any"].map(str::to_owned).to_vec();
    arguments.extend(["-CAfile".to_owned(), text(mayfly.path("keys/root.pem"))]);
    arguments.extend(["-untrusted".to_owned(), text(mayfly.path("keys/intermediate.pem"))]);
    arguments.push(text(leaf.to_path_buf()));
    arguments
}

fn assert_same_key(leaf: &Path, key: &Path) {
    let certified =
        openssl(&["x509", "-in", leaf.to_str().unwrap(), "-noout", "-pubkey"]).success();
    let held = openssl(&["pkey", "-in", key.to_str().unwrap(), "-pubout"]).success();
    assert_eq!(certified, held);
}

/// Not a notice on the certificate, nor on it and its issuer together.
pub(crate) fn assert_pkilint_finds_nothing(mayfly: &Mayfly, leaf: &Path) {
    assert_eq!(pkilint_findings(mayfly, leaf), Vec::<String>::new());
}

/// The codes of what pkilint finds in the certificate, then in it and its issuer together.
pub(crate) fn pkilint_findings(mayfly: &Mayfly, leaf: &Path) -> Vec<String> {
    let (issuer, leaf) = (mayfly.path("keys/intermediate.pem"), leaf.to_str().unwrap());
    let options = ["lint", "-s", "NOTICE", "-f", "JSON"];
    let alone = [&options[..], &[leaf]].concat();
    let with_issuer = [&options[..], &[issuer.to_str().unwrap(), leaf]].concat();
    let mut codes = Vec::new();
    for (linter, arguments) in
        [("lint_pkix_cert", alone), ("lint_pkix_signer_signee_cert_chain", with_issuer)]
    {
        // Its exit code is the number of findings.
        let outcome = run(venv(linter), &arguments);
        let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
        let results = report["results"].as_array().unwrap();
        assert_eq!(outcome.succeeded, results.is_empty(), "{report}");
        let findings =
            results.iter().flat_map(|result| result["finding_descriptions"].as_array().unwrap());
        codes.extend(findings.map(|finding| finding["code"].as_str().unwrap().to_owned()));
    }
    codes
}

/// The judges above can also say no.
#[test]
fn judges_refuse_a_certificate_of_another_instance() {
    let oidc = CiOidc::start();
    let (ours, other) = (
        Mayfly::start(CaKey::P256, &issuers::email(oidc.url())),
        Mayfly::start(CaKey::P256, &issuers::email(oidc.url())),
    );
    let request = PlainClient::new().request(&oidc.token(&jane()), "jane@example.com");
    let leaf = ours.path("leaf.pem");
    fs::write(&leaf, &certificates(&ours.ask(&request))[0]).unwrap();

    openssl(&openssl_verify(&ours, &leaf)).success();
    openssl(&openssl_verify(&other, &leaf)).failure();
    python("sct_verify", &[&leaf, &ours.trusted_root()]).success();
    python("sct_verify", &[&leaf, &other.trusted_root()]).failure();
}

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
    assert_eq!(extensions[EXTENDED_KEY_USAGE]["value"], "300a06082b06010505070303");
    assert!(!extensions.contains_key(BASIC_CONSTRAINTS));
    let order = facts["order"].as_array().unwrap();
    assert_eq!(order.last().unwrap(), SCT_LIST, "the SCT list comes last");
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
        run(crate::support::mayfly::binary(), &[&arguments, style].concat()).success();
        openssl(&openssl_verify(&mayfly, Path::new(&leaf))).success();
        assert_same_key(Path::new(&leaf), Path::new(&key));
        fs::remove_file(&leaf).unwrap();
        fs::remove_file(&key).unwrap();
    }
}
