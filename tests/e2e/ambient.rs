//! Tokens that a CI system gives by itself. The systems are not there, so each is played by as
//! little as shows what is asked of it: GitHub's endpoint by tests/peers/ci_oidc.mjs, Buildkite's
//! agent by a shell script. The tokens are real ones, and so are the certificates.
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use serde_json::{Value, json};

use crate::{
    certificates::openssl_verify,
    support::{
        clients::openssl,
        issuers,
        mayfly::{CaKey, Mayfly, binary},
        peers::CiOidc,
        process::{Outcome, run_in},
    },
};

#[test]
fn a_job_on_github_gets_a_certificate_for_the_key_it_has() {
    let job = Job::new();
    let ask = format!("{}/github?api-version=2.0", job.oidc.url());
    let github = |right| {
        [
            ("GITHUB_ACTIONS", "true"),
            ("ACTIONS_ID_TOKEN_REQUEST_URL", ask.as_str()),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", right),
        ]
    };
    let done = job.request(&github("may-ask"));
    assert_eq!(done.stderr, "Using the identity token of GitHub Actions.\n");
    job.assert_certified(done);

    let refused = job.request(&github("may-not"));
    assert!(refused.stderr.contains("401"), "{refused:?}");
    assert!(!refused.stderr.contains("may-not"), "{refused:?}");
    let message = job.request(&[("GITHUB_ACTIONS", "true")]).failure();
    assert!(message.contains("permissions: { id-token: write }"), "{message}");
}

#[test]
fn a_job_on_buildkite_gets_its_token_from_the_agent() {
    let job = Job::new();
    let programs = job.mayfly.path("bin");
    fs::create_dir(&programs).unwrap();
    let path = format!("{}:/usr/bin:/bin", programs.display());
    let buildkite = [("BUILDKITE", "true"), ("PATH", path.as_str())];

    let absent = job.request(&buildkite).failure();
    assert!(absent.contains("`buildkite-agent` could not be run"), "{absent}");

    let wanted = "oidc request-token --audience sigstore";
    let script = format!(
        "#!/bin/sh\n[ \"$*\" = '{wanted}' ] || {{ echo \"asked: $*\" >&2; exit 1; }}\n\
         echo '{}'\n",
        job.oidc.token(&jane("sigstore"))
    );
    write_program(&programs.join("buildkite-agent"), &script);
    job.assert_certified(job.request(&buildkite));

    write_program(&programs.join("buildkite-agent"), "#!/bin/sh\necho no rights >&2\nexit 3\n");
    let refused = job.request(&buildkite).failure();
    assert!(refused.contains("`buildkite-agent` said: no rights"), "{refused}");
}

#[test]
fn a_private_key_is_printed_only_where_that_is_asked() {
    let job = Job::new();
    let token = job.oidc.token(&jane("sigstore"));
    let environment = [("SIGSTORE_ID_TOKEN", token.as_str())];
    let made = job.mayfly.path("made.pem");
    let made = made.to_str().unwrap();
    let request = |out: &[&str]| {
        let arguments = [&["request", "--url", job.mayfly.url(), "--key-out"], out].concat();
        run_in(&environment, binary(), &arguments).success()
    };
    let printed = request(&["-"]);
    assert!(printed.starts_with("-----BEGIN PRIVATE KEY-----\n"), "{printed}");
    assert_eq!(printed.matches("BEGIN CERTIFICATE").count(), 3);
    assert!(!Path::new("-").exists(), "it is no file");
    let kept: Value = serde_json::from_str(&request(&[made, "--json"])).unwrap();
    assert_eq!(kept["privateKey"], Value::Null);
    assert_eq!(kept["chain"].as_array().unwrap().len(), 2);
    openssl(&["pkey", "-in", made, "-noout"]).success();
    let shown: Value = serde_json::from_str(&request(&["-", "--json"])).unwrap();
    assert!(shown["privateKey"].as_str().unwrap().contains("PRIVATE KEY"), "{shown}");
}

/// The token of a job is for one audience, and the CA takes no other.
#[test]
fn a_token_for_another_audience_is_refused_by_the_ca() {
    let job = Job::new();
    let token = job.oidc.token(&jane("elsewhere"));
    let refused = job.request(&[("SIGSTORE_ID_TOKEN", &token)]).failure();
    assert!(refused.contains("the server answered 400"), "{refused}");
    assert!(!refused.contains(&token), "{refused}");
}

fn jane(audience: &str) -> Value {
    json!({"sub": "jane", "aud": audience, "email": "jane@example.com", "email_verified": true})
}

fn write_program(path: &Path, script: &str) {
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// What runs in a CI system: a key that is there already, and the environment of the system.
struct Job {
    oidc: CiOidc,
    mayfly: Mayfly,
}

impl Job {
    fn new() -> Self {
        let oidc = CiOidc::start();
        let mayfly = Mayfly::start(CaKey::P256, &issuers::email(oidc.url()));
        let key = mayfly.path("job.key.pem");
        let key = key.to_str().unwrap();
        let kind = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
        openssl(&[&["genpkey", "-out", key], &kind[..]].concat()).success();
        Self { oidc, mayfly }
    }

    fn request(&self, environment: &[(&str, &str)]) -> Outcome {
        let key = self.mayfly.path("job.key.pem");
        let key = key.to_str().unwrap();
        let arguments = ["request", "--url", self.mayfly.url(), "--key", key];
        run_in(environment, binary(), &arguments)
    }

    /// Certificate and chain on standard output, for the job's own key, and no private key.
    fn assert_certified(&self, done: Outcome) {
        let pem = done.success();
        assert_eq!(pem.matches("BEGIN CERTIFICATE").count(), 3, "{pem}");
        assert!(!pem.contains("PRIVATE"), "{pem}");
        let leaf = self.mayfly.path("job.cert.pem");
        fs::write(&leaf, pem).unwrap();
        openssl(&openssl_verify(&self.mayfly, &leaf)).success();
        let key = self.mayfly.path("job.key.pem");
        let certified =
            openssl(&["x509", "-in", leaf.to_str().unwrap(), "-noout", "-pubkey"]).success();
        let held = openssl(&["pkey", "-in", key.to_str().unwrap(), "-pubout"]).success();
        assert_eq!(certified, held);
    }
}
