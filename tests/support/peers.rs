//! The servers of others that Mayfly is tested against; each on a free port, gone with its value.
//!
//! The scripts in tests/peers say what each one is. Installed by tests/run.
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    http,
    process::{Outcome, Process, free_port, run},
};

/// A certified OpenID provider with the person jane@example.com logged in.
#[derive(Debug)]
pub(crate) struct Oidc {
    process: Process,
    url: String,
    directory: TempDir,
}

impl Oidc {
    /// Signs with a fresh key for `algorithm` (a JWA name).
    pub(crate) fn start(algorithm: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let keys = directory.path().join("jwks.json");
        make_key(&keys, algorithm, "key-1");
        let (process, url) = start_script("op", &[&keys], directory.path());
        Self { process, url, directory }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A token fetched by authorization code and PKCE.
    pub(crate) fn token(&self) -> String {
        fetch_token(&self.url, "openid email")
    }

    /// Changes to a fresh key; the old one is published no more.
    pub(crate) fn rotate(&mut self, algorithm: &str, key_id: &str) {
        make_key(&self.directory.path().join("jwks.json"), algorithm, key_id);
        self.process.hang_up();
        self.process.wait_for_line("rotated");
    }
}

fn make_key(file: &Path, algorithm: &str, key_id: &str) {
    node("jwks", &[file.to_str().unwrap(), algorithm, key_id]).success();
}

/// An OpenID provider that signs whatever claims it is given.
#[derive(Debug)]
pub(crate) struct CiOidc {
    url: String,
    _process: Process,
    _directory: TempDir,
}

impl CiOidc {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (process, url) = start_script("ci_oidc", &[] as &[&str], directory.path());
        Self { url, _process: process, _directory: directory }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A token with `claims` laid over `iss`, `iat`, `nbf` and `exp`; `null` leaves one out.
    pub(crate) fn token(&self, claims: &Value) -> String {
        let answer = http::post(&format!("{}/mint", self.url), claims);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.text
    }
}

/// An OpenID provider whose tokens have no `kid` and an array as `aud`.
#[derive(Debug)]
pub(crate) struct MockOidc {
    url: String,
    _process: Process,
    _directory: TempDir,
}

impl MockOidc {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}");
        let jane = r#"{"sub": "jane", "email": "jane@example.com", "email_verified": true}"#;
        let mut command = Command::new(venv("oidc-provider-mock"));
        command.args(["--port", &port.to_string(), "--user-claims", jane]);
        let mut process = Process::start("oidc-provider-mock", &mut command, directory.path());
        process.wait_for_answer(&format!("{url}/.well-known/openid-configuration"));
        Self { url, _process: process, _directory: directory }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn token(&self) -> String {
        node("token", &[&self.url, "openid email", "jane"]).success().trim().to_owned()
    }
}

/// An OpenID provider that is right in all but one thing.
#[derive(Debug)]
pub(crate) struct LyingOidc {
    url: String,
    _process: Process,
    _directory: TempDir,
}

impl LyingOidc {
    /// `lie` is a name of tests/peers/lying_op.mjs.
    pub(crate) fn start(lie: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (process, url) = start_script("lying_op", &[lie], directory.path());
        Self { url, _process: process, _directory: directory }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

/// A Rekor v1.
#[derive(Debug)]
pub(crate) struct Rekor {
    url: String,
    key: PathBuf,
    _process: Process,
    _directory: TempDir,
}

impl Rekor {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("rekor.pub");
        let (process, url) = start_script("rekor", &[&key], directory.path());
        Self { url, key, _process: process, _directory: directory }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The file with its public key, PEM.
    pub(crate) fn key(&self) -> &Path {
        &self.key
    }
}

fn fetch_token(issuer: &str, scope: &str) -> String {
    node("token", &[issuer, scope]).success().trim().to_owned()
}

fn start_script<S: AsRef<std::ffi::OsStr>>(
    name: &str,
    arguments: &[S],
    directory: &Path,
) -> (Process, String) {
    let mut command = Command::new("node");
    command.args(NODE_OPTIONS).arg(script(name)).args(arguments);
    let mut process = Process::start(name, &mut command, directory);
    let url = process.wait_for_line("ready ");
    (process, url)
}

/// Runs a script of tests/peers that ends by itself.
pub(crate) fn node(name: &str, arguments: &[&str]) -> Outcome {
    let script = script(name);
    let all: Vec<&str> = NODE_OPTIONS
        .into_iter()
        .chain([script.to_str().unwrap()])
        .chain(arguments.to_vec())
        .collect();
    run("node", &all)
}

/// A script of tests/peers, by the path under which Node finds its packages.
pub(crate) fn script(name: &str) -> PathBuf {
    installed(&format!("js/{name}.mjs"))
}

/// A program of the Python environment.
pub(crate) fn venv(program: &str) -> PathBuf {
    installed(&format!("venv/bin/{program}"))
}

fn installed(path: &str) -> PathBuf {
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers").join(path);
    assert!(fs::exists(&whole).unwrap(), "{} is not there: run tests/run", whole.display());
    whole
}

/// The scripts stand in tests/peers, their packages beside the link to it.
const NODE_OPTIONS: [&str; 2] = ["--preserve-symlinks", "--preserve-symlinks-main"];
