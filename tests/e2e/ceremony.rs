//! A root on an offline machine, an issuing CA on the one that serves, and foreign judges of both.
use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    certificates::{assert_pkilint_finds_nothing, openssl_verify},
    support::{
        clients::{PlainClient, certificates, openssl},
        issuers,
        mayfly::{Mayfly, binary},
        peers::{CiOidc, venv},
        process::run,
    },
};

#[test]
fn a_p256_ceremony_serves_certificates_that_strict_judges_accept() {
    a_ceremony_serves_certificates("p256");
}

#[test]
fn a_p384_ceremony_serves_certificates_that_strict_judges_accept() {
    a_ceremony_serves_certificates("p384");
}

fn a_ceremony_serves_certificates(kind: &str) {
    let oidc = CiOidc::start();
    let mayfly = Mayfly::start_after(&issuers::email(oidc.url()), |keys| ceremony(kind, keys));
    assert_judges_accept_the_cas(&mayfly);
    mayfly.command(&["config", "check"]).success();
    mayfly.command(&["ca", "plan"]).success();

    let email = "jane@example.com";
    let claims = json!({"sub": "jane", "aud": "sigstore", "email": email, "email_verified": true});
    let request = PlainClient::new().request(&oidc.token(&claims), email);
    let leaf = mayfly.path("leaf.pem");
    fs::write(&leaf, &certificates(&mayfly.ask(&request))[0]).unwrap();
    openssl(&openssl_verify(&mayfly, &leaf)).success();
    assert_pkilint_finds_nothing(&mayfly, &leaf);
}

/// Two machines: `offline` has the root's key, which never leaves it.
fn ceremony(kind: &str, online: &Path) {
    let offline = tempfile::tempdir().unwrap();
    fs::create_dir(online).unwrap();
    let key = |directory: &Path, name: &str| format!("file:{}", text(&directory.join(name)));
    let passphrase = offline.path().join("passphrase");
    fs::write(&passphrase, "correct horse battery staple\n").unwrap();
    let passphrase = format!("file:{}", text(&passphrase));
    let (root, csr) = (online.join("root.pem"), offline.path().join("issuing.csr"));
    let (root_key, issuing_key) = (key(offline.path(), "root.key"), key(online, "issuing.pem"));
    let subject = |name| ["--organization", "Mayfly Tests", "--common-name", name];
    let mayfly = |arguments: &[&[&str]]| run(binary(), &arguments.concat()).success();

    let new_root = ["--key", &root_key, "--new-key", kind, "--passphrase", &passphrase];
    let out = text(&root);
    mayfly(&[&["ca", "create", "root", "--out", &out], &new_root, &subject("Test Root")]);
    let new_key = ["--key", &issuing_key, "--new-key", kind, "--out", &text(&csr)];
    mayfly(&[&["ca", "create", "csr"], &new_key, &subject("Test Issuing CA")]);
    let issuer = ["--issuer-cert", &out, "--issuer-key", &root_key];
    let unlock = ["--issuer-passphrase", &passphrase, "--csr", &text(&csr)];
    let chain = text(&online.join("chain.pem"));
    let named = subject("Test Issuing CA");
    mayfly(&[&["ca", "create", "intermediate", "--out", &chain], &issuer, &unlock, &named]);
    mayfly(&[&["ca", "verify", "--chain", &chain, "--key", &issuing_key]]);

    let chain = fs::read_to_string(&chain).unwrap();
    let end = chain.find(END).unwrap() + END.len();
    fs::write(online.join("intermediate.pem"), &chain[..end]).unwrap();
    let log_key = text(&online.join("log.pem"));
    openssl(&[&["genpkey", "-out", &log_key], &P256[..]].concat()).success();
    // What another tool makes of the encrypted key: it opens with the same passphrase.
    let root_key = root_key.trim_start_matches("file:");
    openssl(&["pkey", "-in", root_key, "-passin", &passphrase, "-noout"]).success();
    openssl(&["req", "-in", &text(&csr), "-verify", "-noout"]).success();
}

fn assert_judges_accept_the_cas(mayfly: &Mayfly) {
    let (root, intermediate) =
        (text(&mayfly.path("keys/root.pem")), text(&mayfly.path("keys/intermediate.pem")));
    let strict = ["verify", "-x509_strict", "-check_ss_sig", "-CAfile", &root];
    openssl(&[&strict[..], &[&root]].concat()).success();
    openssl(&[&strict[..], &[&intermediate]].concat()).success();
    for certificate in [&root, &intermediate] {
        let options = ["lint", "-s", "NOTICE", "-f", "JSON", certificate];
        let report: Value =
            serde_json::from_str(&run(venv("lint_pkix_cert"), &options).stdout).unwrap();
        assert_eq!(report["results"], json!([]), "{report}");
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

const END: &str = "-----END CERTIFICATE-----\n";
const P256: [&str; 4] = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
