//! `mayfly serve` with a CA key in a key service: issuance, lies, lost credentials, mistakes.
//!
//! The services are protocol servers of ours, see tests/support/key_services. Everything that
//! leads to them stands in the environment, as the vendors' own tools have it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use futures_util::future::BoxFuture;
use mayfly::{
    ca::ceremony,
    keys::{self, SignError, SignatureAlgorithm, Signer, VerifyingKey},
    time::{Clock, SystemClock},
};
use rustix::process::Signal;
use tempfile::TempDir;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::{
    key_services::{
        Act, Kind, Running, Service,
        azure::{Azure, CLIENT_ID, TENANT_ID},
        gcp::Gcp,
        vault::{Lease, Vault},
    },
    process::Process,
    world::{Answer, random_serial},
};

const GCP_KEY: &str = "projects/p/locations/global/keyRings/r/cryptoKeys/ca/cryptoKeyVersions/1";

/// A CA whose key is in a service.
struct Elsewhere<S> {
    service: Running<S>,
    /// Its home: what the environment names lies here, and the chain.
    folder: TempDir,
    key: String,
    variables: Vec<(&'static str, String)>,
}

impl<S: Service> Elsewhere<S> {
    fn yaml(&self, yaml: &str) -> String {
        let chain = self.folder.path().join("chain.pem");
        yaml.replace("key: file:issuing.pem", &format!("key: {}", self.key))
            .replace("chain: issuing-chain.pem", &format!("chain: {}", chain.display()))
    }

    /// The server, in an environment that has nothing else of the kind.
    async fn serve(&self) -> Process {
        let home = ("HOME", self.folder.path().display().to_string());
        let exports: String = std::iter::once(&home)
            .chain(&self.variables)
            .map(|(name, value)| format!("export {name}='{value}'; "))
            .collect();
        Process::start(&exports, |yaml| self.yaml(&yaml)).await
    }

    /// As [`Self::serve`], and stopped again: configuration and log are there, and good.
    async fn served(&self) -> Process {
        let mut process = self.serve().await;
        process.signal(Signal::TERM);
        assert_eq!(process.exit_code().await, Some(0));
        process
    }

    /// `mayfly config check` and `mayfly serve`, which must both fail: what they say.
    fn refusals(&self, process: &Process) -> [String; 2] {
        [&["config", "check"][..], &["serve"]].map(|command| {
            let output = Command::new(env!("CARGO_BIN_EXE_mayfly"))
                .args(command)
                .args(["--config", "mayfly.yaml"])
                .current_dir(process.folder.path())
                .env("HOME", self.folder.path())
                .envs(self.variables.iter().map(|(name, value)| (name, value)))
                .output()
                .unwrap();
            assert!(!output.status.success());
            let said = [output.stdout, output.stderr].concat();
            String::from_utf8(said).unwrap()
        })
    }

    /// Makes a key in a file, wrapped under `kek`, and opens it again.
    fn wraps(&self, kek: &str) {
        for arguments in [&["--new-key", "p256"][..], &[]] {
            let output = self.request_with_wrapped_key(kek, arguments);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{said}");
        }
        let file = fs::read_to_string(self.folder.path().join("ca.wrapped")).unwrap();
        assert!(file.contains("\"mayfly_wrapped_key\": 1"), "{file}");
    }

    fn wraps_no_more(&self, kek: &str, message: &str) {
        let output = self.request_with_wrapped_key(kek, &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(message), "{said}");
    }

    fn request_with_wrapped_key(&self, kek: &str, arguments: &[&str]) -> Output {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let _old = fs::remove_file(path("ca.csr"));
        Command::new(env!("CARGO_BIN_EXE_mayfly"))
            .args(["ca", "create", "csr", "--organization", "Test", "--common-name", "Test CA"])
            .args(["--key", &format!("wrapped:{}?kek={kek}", path("ca.wrapped"))])
            .args(["--out", &path("ca.csr")])
            .args(arguments)
            .env("HOME", self.folder.path())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .output()
            .unwrap()
    }

    /// Issues; then the service lies, hangs, loses what it knew of us, and has it again.
    async fn live_through(
        &self,
        secrets: &[&str],
        lose: impl FnOnce(&Self),
        regain: impl FnOnce(&Self),
    ) {
        let mut process = self.serve().await;
        for _ in 0..2 {
            verifies(&process.issue().await);
        }
        for lie in [Act::OtherKey, Act::HashTwice, Act::Rubbish] {
            self.service.always(lie);
            no_certificate(&process.issue().await, 500, 13);
        }
        self.service.always(Act::Hang);
        no_certificate(&process.issue().await, 503, 14);
        self.service.always(Act::Sign);
        verifies(&process.issue().await);

        lose(self);
        no_certificate(&process.issue().await, 503, 14);
        regain(self);
        verifies(&process.issue().await);

        process.signal(Signal::TERM);
        assert_eq!(process.exit_code().await, Some(0));
        let audit = fs::read_to_string(process.folder.path().join("audit.jsonl")).unwrap();
        for said in [process.stderr(), audit] {
            for secret in secrets {
                assert!(!said.contains(secret), "{said}");
            }
        }
        // Messages call it by its name, without the way to it.
        let name = self.key.split('?').next().unwrap();
        assert!(process.stderr().contains(name), "{}", process.stderr());
        assert!(!process.stderr().contains(&self.service.url()), "{}", process.stderr());
    }
}

async fn in_transit() -> Elsewhere<Vault> {
    let service = Vault::start();
    service.service().add_key("transit/keys/ca", Kind::P256);
    let folder = tempfile::tempdir().unwrap();
    let token = service.service().add_token(Lease::FULL);
    fs::write(folder.path().join(".vault-token"), token).unwrap();
    let public_der = service.service().public_der("transit/keys/ca", 1);
    write_chain(folder.path(), &public_der).await;
    let variables = vec![("VAULT_ADDR", service.url())];
    Elsewhere { service, folder, key: "hashivault://ca".to_owned(), variables }
}

async fn in_cloud_kms() -> Elsewhere<Gcp> {
    let service = Gcp::start();
    service.service().add_key(GCP_KEY, Kind::P384);
    service.service().machine_has_account = true;
    let folder = tempfile::tempdir().unwrap();
    let public_der = service.service().key(GCP_KEY).public_der();
    write_chain(folder.path(), &public_der).await;
    let host = service.url().replace("http://", "");
    let variables = vec![("GCE_METADATA_HOST", host)];
    let key = format!("gcpkms://{GCP_KEY}?endpoint={}", service.url());
    Elsewhere { service, folder, key, variables }
}

async fn in_key_vault() -> Elsewhere<Azure> {
    let service = Azure::start();
    service.service().add_key("ca", Kind::P256);
    service.service().machine_has_identity = true;
    let folder = tempfile::tempdir().unwrap();
    let public_der = service.service().key("ca").public_der();
    write_chain(folder.path(), &public_der).await;
    let variables = vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", service.url())];
    let key = format!("azurekms://ca-vault/ca?endpoint={}", service.url());
    Elsewhere { service, folder, key, variables }
}

#[tokio::test]
async fn nt_60_a_ca_key_in_transit_issues_and_lives_through_lies_and_a_lost_token() {
    let ca = in_transit().await;
    let lose = |ca: &Elsewhere<Vault>| ca.service.service().revoke_all_tokens();
    let regain = |ca: &Elsewhere<Vault>| {
        let token = ca.service.service().add_token(Lease::FULL);
        fs::write(ca.folder.path().join(".vault-token"), token).unwrap();
    };
    ca.live_through(&["hvs."], lose, regain).await;
}

#[tokio::test]
async fn nt_60_a_ca_key_in_cloud_kms_issues_and_lives_through_lies_and_a_lost_account() {
    let ca = in_cloud_kms().await;
    let lose = |ca: &Elsewhere<Gcp>| {
        ca.service.service().machine_has_account = false;
        ca.service.service().revoke_tokens();
    };
    let regain = |ca: &Elsewhere<Gcp>| ca.service.service().machine_has_account = true;
    ca.live_through(&["ya29."], lose, regain).await;
}

#[tokio::test]
async fn nt_60_a_ca_key_in_key_vault_issues_and_lives_through_lies_and_a_lost_identity() {
    let ca = in_key_vault().await;
    let lose = |ca: &Elsewhere<Azure>| {
        ca.service.service().machine_has_identity = false;
        ca.service.service().revoke_tokens();
    };
    let regain = |ca: &Elsewhere<Azure>| ca.service.service().machine_has_identity = true;
    ca.live_through(&["eyJ0."], lose, regain).await;
}

#[tokio::test]
async fn what_is_wrong_with_a_key_in_transit_is_told_before_a_port_opens() {
    let mut ca = in_transit().await;
    let process = ca.served().await;
    let token = ca.service.service().add_token(Lease { signs: false, ..Lease::FULL });
    fs::write(ca.folder.path().join(".vault-token"), &token).unwrap();
    told(
        &ca,
        &process,
        &["key hashivault://ca", "transit/sign: HTTP 403", "'update' on 'transit/sign/ca'"],
        &token,
    );
    let other = Lease { reads: false, ..Lease::FULL };
    let token = ca.service.service().add_token(other);
    fs::write(ca.folder.path().join(".vault-token"), &token).unwrap();
    told(&ca, &process, &["transit/keys: HTTP 403", "its policy allow 'read'"], &token);
    let token = ca.service.service().add_token(Lease::FULL);
    fs::write(ca.folder.path().join(".vault-token"), &token).unwrap();
    ca.service.service().rotate("transit/keys/ca");
    told(&ca, &process, &["key hashivault://ca", "is not the key of"], &token);
    ca.service.take_down();
    told(&ca, &process, &["key hashivault://ca", "onnection refused"], &token);
}

#[tokio::test]
async fn what_is_wrong_with_a_key_in_cloud_kms_is_told_before_a_port_opens() {
    let mut ca = in_cloud_kms().await;
    let process = ca.served().await;
    ca.service.service().may_sign = false;
    let needs =
        ["asymmetricSign: HTTP 403 PERMISSION_DENIED", "cloudkms.cryptoKeyVersions.useToSign"];
    told(&ca, &process, &needs, "ya29.");
    ca.service.service().may_view = false;
    let needs = ["getPublicKey: HTTP 403", "roles/cloudkms.signerVerifier"];
    told(&ca, &process, &needs, "ya29.");
    ca.service.service().machine_has_account = false;
    let needs =
        ["key gcpkms://projects/p/", "credentials: ", "; set GOOGLE_APPLICATION_CREDENTIALS"];
    told(&ca, &process, &needs, "ya29.");
    // No machine of Google's, and no credentials either.
    ca.variables = vec![("GCE_METADATA_HOST", "127.0.0.1:9".to_owned())];
    told(&ca, &process, &needs, "ya29.");
}

#[tokio::test]
async fn what_is_wrong_with_a_key_in_key_vault_is_told_before_a_port_opens() {
    let mut ca = in_key_vault().await;
    let process = ca.served().await;
    ca.service.service().may_sign = false;
    told(&ca, &process, &["keys/sign: HTTP 403 Forbidden/ForbiddenByRbac"], "eyJ0.");
    ca.service.service().may_get = false;
    told(&ca, &process, &["keys/get: HTTP 403", "'Key Vault Crypto User'"], "eyJ0.");
    let secret = ca.service.service().new_secret();
    ca.variables = vec![
        ("AZURE_AUTHORITY_HOST", ca.service.url()),
        ("AZURE_TENANT_ID", TENANT_ID.to_owned()),
        ("AZURE_CLIENT_ID", CLIENT_ID.to_owned()),
        ("AZURE_CLIENT_SECRET", format!("{secret}x")),
    ];
    told(&ca, &process, &["oauth2/v2.0/token: HTTP 401 invalid_client: AADSTS7000215"], &secret);
}

#[tokio::test]
async fn a_wrapped_key_is_made_and_opened_under_a_key_of_vault() {
    let ca = in_transit().await;
    ca.service.service().add_symmetric_key("transit/keys/kek");
    ca.wraps("hashivault://kek");
    let token = ca.service.service().add_token(Lease { signs: false, ..Lease::FULL });
    fs::write(ca.folder.path().join(".vault-token"), token).unwrap();
    ca.wraps_no_more("hashivault://kek", "takes 'update' on 'transit/decrypt/kek'");
}

#[tokio::test]
async fn a_wrapped_key_is_made_and_opened_under_a_key_of_cloud_kms() {
    let ca = in_cloud_kms().await;
    let kek = GCP_KEY.replace("/ca/cryptoKeyVersions/1", "/kek");
    ca.service.service().add_symmetric_key(&kek);
    let kek = format!("gcpkms://{kek}?endpoint={}", ca.service.url());
    ca.wraps(&kek);
    ca.service.service().may_sign = false;
    ca.wraps_no_more(&kek, "decrypt: HTTP 403 PERMISSION_DENIED");
}

#[tokio::test]
async fn a_wrapped_key_is_made_and_opened_under_a_key_of_key_vault() {
    let ca = in_key_vault().await;
    ca.service.service().add_key_for("kek", Kind::Rsa2048, &["wrapKey", "unwrapKey"]);
    let kek = format!("azurekms://ca-vault/kek?endpoint={}", ca.service.url());
    ca.wraps(&kek);
    ca.service.service().may_sign = false;
    ca.wraps_no_more(&kek, "keys/unwrapkey: HTTP 403 Forbidden/ForbiddenByRbac");
}

fn told<S: Service>(ca: &Elsewhere<S>, process: &Process, messages: &[&str], secret: &str) {
    for said in ca.refusals(process) {
        for message in messages {
            assert!(said.contains(message), "{message}: {said}");
        }
        assert!(!said.contains(secret) && !said.contains("ready on"), "{said}");
    }
}

/// The leaf, by a library that is not ours, under the key that is in the service.
fn verifies(answer: &Answer) {
    let chain = answer.chain();
    let parsed = |at: usize| X509Certificate::from_der(chain[at].der()).unwrap().1;
    parsed(0).verify_signature(Some(parsed(1).public_key())).unwrap();
}

fn no_certificate(answer: &Answer, status: u16, code: u64) {
    assert_eq!(
        (answer.status, answer.json()["code"].as_u64()),
        (status, Some(code)),
        "{}",
        answer.body
    );
    for internal in ["CERTIFICATE", "127.0.0.1", "HTTP", "transit", "projects/", "vault"] {
        assert!(!answer.body.contains(internal), "{}", answer.body);
    }
}

/// The public half of a key that is in a service.
#[derive(Debug)]
struct PublicHalf {
    algorithm: SignatureAlgorithm,
    public_der: Vec<u8>,
}

impl Signer for PublicHalf {
    fn name(&self) -> &str {
        "elsewhere"
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    fn public_key_der(&self) -> &[u8] {
        &self.public_der
    }

    fn sign<'a>(&'a self, _message: &'a [u8]) -> BoxFuture<'a, Result<Vec<u8>, SignError>> {
        Box::pin(async { Err(SignError::Failed { key: "elsewhere".to_owned() }) })
    }
}

/// `chain.pem`: an issuing CA with this key, below a root.
async fn write_chain(folder: &Path, public_der: &[u8]) -> PathBuf {
    let algorithm = VerifyingKey::parse_der(public_der).unwrap().algorithm();
    let key = PublicHalf { algorithm, public_der: public_der.to_vec() };
    let root_key = keys::file::generate(SignatureAlgorithm::EcdsaP384Sha384).unwrap();
    let new = |common_name| ceremony::NewCa {
        organization: "Test",
        common_name,
        now: SystemClock.now().minus_ms(60_000),
        lifetime_seconds: 20 * 86_400,
        serial: random_serial(),
    };
    let root = ceremony::create_root(&*root_key.signer, &new("Test Root")).await.unwrap();
    let issuing = new("Test CA");
    let made = ceremony::create_intermediate(&root, &*root_key.signer, &key, &issuing);
    let chain = folder.join("chain.pem");
    fs::write(&chain, format!("{}{}", made.await.unwrap().pem(), root.pem())).unwrap();
    chain
}
