//! A Mayfly of a test's own: keys, chain, log and configuration in a temporary folder.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use mayfly::{
    ca::{Serial, ceremony},
    config::{self, LoadOptions},
    keys::{self, SignatureAlgorithm},
    log::Log,
    serve,
    telemetry::metrics::Metrics,
    time::{Clock, SystemClock, Timestamp},
    x509::Certificate,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::token::IssuerKey;

/// The issuers of every world; their keys are the same test key.
pub(crate) const EMAIL_ISSUER: &str = "https://accounts.example.com";
pub(crate) const CI_ISSUER: &str = "https://ci.example.com";
pub(crate) const DEX_ISSUER: &str = "https://dex.example.com/auth";
pub(crate) const DOWN_ISSUER: &str = "http://127.0.0.1:9";

pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) issuer_key: IssuerKey,
    pub(crate) running: serve::Running,
    pub(crate) client: reqwest::Client,
}

/// An answer, read whole.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    pub(crate) fn message(&self) -> String {
        self.json()["message"].as_str().unwrap_or_else(|| panic!("{}", self.body)).to_owned()
    }

    /// The chain of a successful answer, leaf first.
    pub(crate) fn chain(&self) -> Vec<Certificate> {
        assert_eq!(self.status, 200, "{}", self.body);
        let body = self.json();
        let members: Vec<&String> = body.as_object().unwrap().keys().collect();
        assert_eq!(members, ["signedCertificateEmbeddedSct"]);
        let pems = body["signedCertificateEmbeddedSct"]["chain"]["certificates"].as_array();
        pems.unwrap()
            .iter()
            .map(|pem| {
                let mut chain =
                    Certificate::parse_pem_chain(pem.as_str().unwrap().as_bytes()).unwrap();
                assert_eq!(chain.len(), 1);
                chain.remove(0)
            })
            .collect()
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// `more` is added to the end of `mayfly.yaml`.
    pub(crate) async fn start_with(more: &str) -> Self {
        Self::start_as(|yaml| format!("{yaml}{more}")).await
    }

    /// `issuer_file` is written with the key of the world's issuers.
    pub(crate) async fn start_serving(
        issuer_file: impl FnOnce(&IssuerKey) -> String,
        more: &str,
    ) -> Self {
        Self::over(furnish_with(issuer_file, |yaml| format!("{yaml}{more}")).await).await
    }

    /// With `mayfly.yaml` as `change` makes it.
    pub(crate) async fn start_as(change: impl FnOnce(String) -> String) -> Self {
        Self::over(furnish(change).await).await
    }

    async fn over((folder, issuer_key): (TempDir, IssuerKey)) -> Self {
        let config = load(folder.path()).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let running = serve::start(config, clock).await.unwrap();
        Self { folder, issuer_key, running, client: reqwest::Client::new() }
    }

    /// Stops; what it leaves behind.
    pub(crate) async fn stop(self) -> TempDir {
        self.running.shutdown().await;
        self.folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running.public_address())
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        answer(self.client.get(self.url(path))).await
    }

    /// `POST /api/v2/signingCert` with any body.
    pub(crate) async fn post(&self, body: &Value) -> Answer {
        let request = self.client.post(self.url("/api/v2/signingCert"));
        answer(request.body(body.to_string())).await
    }

    /// A well-made request for `token`, with a fresh key and a proof over `challenge`.
    pub(crate) async fn request(&self, token: &str, challenge: &str) -> Answer {
        self.post(&signing_request(token, challenge)).await
    }

    /// The number of entries in the log, as its checkpoint says.
    pub(crate) async fn log_size(&self) -> u64 {
        let checkpoint = self.get("/log/checkpoint").await;
        checkpoint.body.lines().nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn audit_lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("audit.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A folder with everything that `mayfly.yaml` names, and a log unless that says `none`.
pub(crate) async fn furnish(change: impl FnOnce(String) -> String) -> (TempDir, IssuerKey) {
    furnish_with(issuers, change).await
}

async fn furnish_with(
    issuer_file: impl FnOnce(&IssuerKey) -> String,
    change: impl FnOnce(String) -> String,
) -> (TempDir, IssuerKey) {
    let folder = tempfile::tempdir().unwrap();
    let issuer_key = IssuerKey::generate();
    write_authority(folder.path(), "issuing", SignatureAlgorithm::EcdsaP256Sha256).await;
    let log_key = keys::file::generate(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    log_key.write_new(&folder.path().join("log.pem")).unwrap();
    fs::write(folder.path().join("issuers.yaml"), issuer_file(&issuer_key)).unwrap();
    fs::write(folder.path().join("mayfly.yaml"), change(mayfly_yaml("issuing", ""))).unwrap();
    let config = load(folder.path()).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    if let Some(settings) = serve::log_settings(&config, &clock, &Metrics::new()).await.unwrap() {
        Log::init(&settings).await.unwrap();
    }
    (folder, issuer_key)
}

pub(crate) async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    Answer { status, headers, body: response.text().await.unwrap() }
}

pub(crate) fn load(folder: &Path) -> Result<config::Config, config::ConfigErrors> {
    config::load(&folder.join("mayfly.yaml"), LoadOptions { dev: false })
}

/// A request with a fresh P-256 key and a proof over `challenge`.
pub(crate) fn signing_request(token: &str, challenge: &str) -> Value {
    let (public_key, proof) = crate::token::key_and_proof(challenge);
    json!({
        "credentials": { "oidcIdentityToken": token },
        "publicKeyRequest": {
            "publicKey": { "algorithm": "ECDSA", "content": public_key },
            "proofOfPossession": proof,
        },
    })
}

/// `NAME.pem` and `NAME-chain.pem` in `folder`.
pub(crate) async fn write_authority(folder: &Path, name: &str, algorithm: SignatureAlgorithm) {
    write_authority_for(folder, name, algorithm, 20 * 86_400).await;
}

/// As [`write_authority`], valid for so long from a minute ago.
pub(crate) async fn write_authority_for(
    folder: &Path,
    name: &str,
    algorithm: SignatureAlgorithm,
    lifetime_seconds: u64,
) {
    let now = SystemClock.now().minus_ms(60_000);
    let root_key = keys::file::generate(algorithm).unwrap();
    let key = keys::file::generate(algorithm).unwrap();
    let new = |common_name, lifetime_seconds| ceremony::NewCa {
        organization: "Test",
        common_name,
        now,
        lifetime_seconds,
        serial: random_serial(),
    };
    let root = new("Test Root", 30 * 86_400);
    let root = ceremony::create_root(&*root_key.signer, &root).await.unwrap();
    let common_name = format!("Test {name}");
    let new = new(&common_name, lifetime_seconds);
    let made = ceremony::create_intermediate(&root, &*root_key.signer, &*key.signer, &new);
    let issuing = made.await.unwrap();
    key.write_new(&folder.join(format!("{name}.pem"))).unwrap();
    let chain = format!("{}{}", issuing.pem(), root.pem());
    fs::write(folder.join(format!("{name}-chain.pem")), chain).unwrap();
}

pub(crate) fn random_serial() -> Serial {
    let mut random = [0; 20];
    aws_lc_rs::rand::fill(&mut random).unwrap();
    Serial::from_random(random)
}

pub(crate) fn mayfly_yaml(authority: &str, more: &str) -> String {
    format!(
        "listen: 127.0.0.1:0\n\
         private: 127.0.0.1:0\n\
         url: https://ca.example.com\n\
         issuers: issuers.yaml\n\
         authorities:\n  - key: file:{authority}.pem\n    chain: {authority}-chain.pem\n\
         log:\n  data: log\n  origin: log.example.com/test\n  key: file:log.pem\n\
         audit: audit.jsonl\n{more}"
    )
}

pub(crate) fn issuers(key: &IssuerKey) -> String {
    let jwks = key.jwks();
    format!(
        r#"oidc-issuers:
  {EMAIL_ISSUER}:
    issuer-url: {EMAIL_ISSUER}
    client-id: sigstore
    type: email
    jwks: '{jwks}'
    max-token-age: 10m
    replay-guard: false
  https://once.example.com:
    issuer-url: https://once.example.com
    client-id: sigstore
    type: email
    jwks: '{jwks}'
    replay-guard: true
  {DEX_ISSUER}:
    issuer-url: {DEX_ISSUER}
    client-id: sigstore
    type: email
    issuer-claim: $.federated_claims.connector_id
    jwks: '{jwks}'
  {CI_ISSUER}:
    issuer-url: {CI_ISSUER}
    client-id: sigstore
    type: ci-provider
    ci-provider: test-ci
    jwks: '{jwks}'
  {DOWN_ISSUER}:
    issuer-url: {DOWN_ISSUER}
    client-id: sigstore
    type: email
meta-issuers:
  https://*.wild.example.com/id/*:
    client-id: sigstore
    type: email
ci-issuer-metadata:
  test-ci:
    default-template-values:
      url: "https://ci.example.com"
      environment: ""
    extension-templates:
      build-signer-uri: "{{{{ .url }}}}/{{{{ .workflow }}}}"
      source-repository-identifier: "repository_id"
      deployment-environment: "environment"
      run-invocation-uri: "{{{{ .url }}}}/runs/{{{{ .run_id }}}}"
    subject-alternative-name-template: "{{{{ .url }}}}/{{{{ .workflow }}}}"
"#
    )
}

pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}
