//! Clients and judges: who asks for certificates, and who says whether they are right.
use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, SigningKey as _};
use serde_json::{Value, json};

use super::{
    http::Answer,
    peers::{Rekor, node, venv},
    process::{Outcome, run, run_with_input},
};

/// A client that writes its own JSON: a P-256 key and what it signs.
#[derive(Debug)]
pub(crate) struct PlainClient {
    key: KeyPair,
}

impl PlainClient {
    pub(crate) fn new() -> Self {
        Self { key: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap() }
    }

    /// A request (Fulcio API, `publicKeyRequest`) with a proof of possession over `claim`.
    pub(crate) fn request(&self, token: &str, claim: &str) -> Value {
        let proof = self.key.sign(claim.as_bytes()).unwrap();
        json!({
            "credentials": {"oidcIdentityToken": token},
            "publicKeyRequest": {
                "publicKey": {"algorithm": "ECDSA", "content": self.key.public_key_pem()},
                "proofOfPossession": BASE64_STANDARD.encode(proof),
            },
        })
    }
}

/// A request (Fulcio API, `certificateSigningRequest`) with the PEM of a CSR.
pub(crate) fn csr_request(token: &str, csr: &Path) -> Value {
    json!({
        "credentials": {"oidcIdentityToken": token},
        "certificateSigningRequest": BASE64_STANDARD.encode(fs::read(csr).unwrap()),
    })
}

/// The certificates of a good answer, leaf first; the test fails on any other.
#[track_caller]
pub(crate) fn certificates(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text);
    let body = answer.json();
    let chain = &body["signedCertificateEmbeddedSct"]["chain"]["certificates"];
    let chain = chain.as_array().unwrap_or_else(|| panic!("no chain in {body}"));
    chain.iter().map(|pem| pem.as_str().unwrap().to_owned()).collect()
}

/// sigstore-python with a trust config of ours.
#[derive(Debug)]
pub(crate) struct SigstorePython {
    pub(crate) trust_config: PathBuf,
}

impl SigstorePython {
    /// Leaves `ARTIFACT.sigstore.json` beside the artifact.
    pub(crate) fn sign(&self, token: &str, artifact: &Path) -> Outcome {
        let artifact = artifact.to_str().unwrap();
        self.run(&[
            "sign",
            "--rekor-version",
            "1",
            "--overwrite",
            "--identity-token",
            token,
            artifact,
        ])
    }

    pub(crate) fn verify(&self, artifact: &Path, identity: &str, issuer: &str) -> Outcome {
        let artifact = artifact.to_str().unwrap();
        let who = ["--cert-identity", identity, "--cert-oidc-issuer", issuer];
        self.run(&[&["verify", "identity"], &who[..], &[artifact]].concat())
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        let trust = ["--trust-config", self.trust_config.to_str().unwrap()];
        run(venv("sigstore"), &[&trust, arguments].concat())
    }
}

/// sigstore-js with a trust config of ours.
#[derive(Debug)]
pub(crate) struct SigstoreJs {
    pub(crate) trust_config: PathBuf,
}

impl SigstoreJs {
    pub(crate) fn sign(
        &self,
        ca_url: &str,
        rekor: &Rekor,
        token: &str,
        artifact: &Path,
    ) -> Outcome {
        let (artifact, bundle) = Self::files(artifact);
        node("sign", &["sign", ca_url, rekor.url(), token, &artifact, &bundle])
    }

    pub(crate) fn verify(&self, artifact: &Path, identity: &str, issuer: &str) -> Outcome {
        let (artifact, bundle) = Self::files(artifact);
        let trust = self.trust_config.to_str().unwrap();
        node("sign", &["verify", trust, &artifact, &bundle, identity, issuer])
    }

    fn files(artifact: &Path) -> (String, String) {
        let artifact = artifact.to_str().unwrap().to_owned();
        let bundle = format!("{artifact}.js.sigstore.json");
        (artifact, bundle)
    }
}

/// Runs a script of tests/peers.
pub(crate) fn python(script: &str, arguments: &[&Path]) -> Outcome {
    run(venv("python"), &with_script(script, arguments))
}

/// What python cryptography reads in a certificate.
pub(crate) fn facts(leaf: &Path) -> Value {
    serde_json::from_str(&python("certificate_facts", &[leaf]).success()).unwrap()
}

/// Checks by independent code that the log at `url` holds what the SCTs in `leaves` (PEM, any
/// number) promise, and that it only grew since it was last asked (`checkpoints` is its memory).
/// Returns the number of leaves and the size of the log.
#[track_caller]
pub(crate) fn log_holds(
    url: &str,
    trust: &Path,
    checkpoints: &Path,
    leaves: &Path,
) -> (usize, usize) {
    let arguments = with_script("log_inclusion", &[Path::new(url), trust, checkpoints]);
    let said = run_with_input(venv("python"), &arguments, leaves).success();
    let words: Vec<&str> = said.split_whitespace().collect();
    let ["ok", count, "of", size] = words[..] else { panic!("{said}") };
    (count.parse().unwrap(), size.parse().unwrap())
}

fn with_script(script: &str, arguments: &[&Path]) -> Vec<PathBuf> {
    let file = format!("tests/peers/{script}.py");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    [file.as_path()].into_iter().chain(arguments.iter().copied()).map(Path::to_path_buf).collect()
}

/// Runs openssl.
pub(crate) fn openssl<S: AsRef<OsStr>>(arguments: &[S]) -> Outcome {
    run("openssl", arguments)
}
