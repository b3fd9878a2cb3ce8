//! Mayfly itself: the binary under test with a directory, a CA and a log of its own.
//!
//! In: what kind of CA key, and an issuer file. Out: a running server, and documents to trust it.
use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PublicKeyData, SignatureAlgorithm, date_time_ymd,
};
use serde_json::Value;
use tempfile::TempDir;
use x509_parser::{prelude::FromDer as _, x509::SubjectPublicKeyInfo};

use super::{
    http::{self, Answer},
    issuers,
    peers::Rekor,
    process::{Outcome, Process, free_port, run},
    softhsm::token::Token,
};

/// The curve of the CA's keys, root included.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CaKey {
    P256,
    P384,
}

impl CaKey {
    fn algorithm(self) -> &'static SignatureAlgorithm {
        match self {
            Self::P256 => &PKCS_ECDSA_P256_SHA256,
            Self::P384 => &PKCS_ECDSA_P384_SHA384,
        }
    }
}

/// A key that a key service holds.
#[derive(Debug)]
pub(crate) struct KeyInService {
    pub(crate) uri: String,
    pub(crate) public_key_der: Vec<u8>,
}

impl KeyInService {
    fn on_token(&self) -> KeyOnToken {
        let (_, parsed) = SubjectPublicKeyInfo::from_der(&self.public_key_der).unwrap();
        let octets = parsed.subject_public_key.data.to_vec();
        let ca = if octets.len() == 65 { CaKey::P256 } else { CaKey::P384 };
        let algorithm = ca.algorithm();
        KeyOnToken { octets, algorithm }
    }
}

/// The public half of a key that rcgen does not hold.
struct KeyOnToken {
    /// What the BIT STRING of a SubjectPublicKeyInfo holds.
    octets: Vec<u8>,
    algorithm: &'static SignatureAlgorithm,
}

impl PublicKeyData for KeyOnToken {
    fn der_bytes(&self) -> &[u8] {
        &self.octets
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

/// A running `mayfly serve`.
#[derive(Debug)]
pub(crate) struct Mayfly {
    process: Process,
    url: String,
    directory: TempDir,
    environment: Environment,
}

/// What the binary finds in its environment beside what this process has.
pub(crate) type Environment = Vec<(&'static str, PathBuf)>;

impl Mayfly {
    /// Makes keys, chain, configuration and log, and serves them.
    pub(crate) fn start(ca: CaKey, issuers: &str) -> Self {
        let issuing_key = KeyPair::generate_for(ca.algorithm()).unwrap();
        Self::start_after(issuers, |keys| {
            hold_ceremony(ca, keys, &issuing_key);
            write_key(&keys.join("issuing.pem"), &issuing_key);
        })
    }

    /// As [`Self::start`], with what `ceremony` puts into the directory `keys`, which it makes:
    /// `issuing.pem` and `log.pem`, `chain.pem` and its two halves `intermediate.pem`, `root.pem`.
    pub(crate) fn start_after(issuers: &str, ceremony: impl FnOnce(&Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = write_configuration(directory.path(), issuers);
        ceremony(&directory.path().join("keys"));
        Self::on(directory, url, Vec::new())
    }

    /// As [`Self::start`], with the issuing key `object` of a token.
    pub(crate) fn start_on_hsm(ca: CaKey, hsm: &Token, object: &str, issuers: &str) -> Self {
        let (directory, url) = Self::set_up_on_hsm(ca, hsm, object, issuers);
        Self::on(directory, url, hsm.environment())
    }

    /// What `command` says as it fails with the configuration of [`Self::start_on_hsm`]. Somebody
    /// else has the port: whoever opens it before the key would complain of that.
    pub(crate) fn failure_on_hsm(ca: CaKey, hsm: &Token, object: &str, command: &[&str]) -> String {
        let issuers = issuers::email("https://issuer.example.com");
        let (directory, url) = Self::set_up_on_hsm(ca, hsm, object, &issuers);
        let environment = hsm.environment();
        fs::create_dir(directory.path().join("data")).unwrap();
        command_of(directory.path(), &environment, &["log", "init"]).success();
        let _taken = TcpListener::bind(url.strip_prefix("http://").unwrap()).unwrap();
        command_of(directory.path(), &environment, command).failure()
    }

    fn set_up_on_hsm(ca: CaKey, hsm: &Token, object: &str, issuers: &str) -> (TempDir, String) {
        let directory = tempfile::tempdir().unwrap();
        let url = write_configuration(directory.path(), issuers);
        let configuration = directory.path().join("mayfly.yaml");
        let text = fs::read_to_string(&configuration).unwrap();
        let (uri, pin) = (hsm.uri(object), hsm.pin_file());
        let key = format!(
            "key: {uri}
    passphrase: file:{}",
            pin.display()
        );
        fs::write(configuration, text.replace("key: file:keys/issuing.pem", &key)).unwrap();
        let issuing_key =
            KeyOnToken { octets: hsm.public_point(object), algorithm: ca.algorithm() };
        hold_ceremony(ca, &directory.path().join("keys"), &issuing_key);
        (directory, url)
    }

    /// As [`Self::start`], with an issuing key in a key service, which its URI names.
    pub(crate) fn start_on_service(
        ca: CaKey,
        key: &KeyInService,
        environment: Environment,
        issuers: &str,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = write_configuration(directory.path(), issuers);
        name_key(directory.path(), &key.uri);
        hold_ceremony(ca, &directory.path().join("keys"), &key.on_token());
        Self::on(directory, url, environment)
    }

    /// As [`Self::start_after`], with the issuing key that `uri` names.
    pub(crate) fn start_after_with_key(
        issuers: &str,
        environment: Environment,
        uri: &str,
        ceremony: impl FnOnce(&Path),
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = write_configuration(directory.path(), issuers);
        name_key(directory.path(), uri);
        ceremony(&directory.path().join("keys"));
        Self::on(directory, url, environment)
    }

    /// Another issuing key than that of `uri`, and a chain for it.
    pub(crate) fn replace_authority(&self, ca: CaKey, uri: &str, key: &KeyInService) {
        let file = self.path("mayfly.yaml");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(file, text.replace(uri, &key.uri)).unwrap();
        let keys = self.path("keys");
        let log_key = fs::read(keys.join("log.pem")).unwrap();
        fs::remove_dir_all(&keys).unwrap();
        hold_ceremony(ca, &keys, &key.on_token());
        fs::write(keys.join("log.pem"), log_key).unwrap();
    }

    /// What commands and restarts find in their environment from now on.
    pub(crate) fn set_environment(&mut self, environment: Environment) {
        self.environment = environment;
    }

    /// The process that serves.
    pub(crate) fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Asks for a reload of the configuration.
    pub(crate) fn hang_up(&self) {
        self.process.hang_up();
    }

    /// One value of the metrics.
    #[track_caller]
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let configuration = fs::read_to_string(self.path("mayfly.yaml")).unwrap();
        let private = configuration.lines().find_map(|line| line.strip_prefix("private: "));
        let metrics = http::get(&format!("http://{}/metrics", private.unwrap())).unwrap().text;
        let value = metrics.lines().find_map(|line| line.strip_prefix(series));
        value.unwrap_or_else(|| panic!("no {series} in {metrics}")).trim().parse().unwrap()
    }

    fn on(directory: TempDir, url: String, environment: Environment) -> Self {
        fs::create_dir(directory.path().join("data")).unwrap();
        command_of(directory.path(), &environment, &["log", "init"]).success();
        let process = serve(directory.path(), &environment, &url);
        Self { process, url, directory, environment }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A path beside its configuration, keys and data; tests put their own files here too.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Serves the same directory again, after [`Self::kill`].
    pub(crate) fn restart(&mut self) {
        self.process = serve(self.directory.path(), &self.environment, &self.url);
    }

    /// Asks for a graceful stop and waits for it.
    pub(crate) fn stop(&mut self) -> std::process::ExitStatus {
        self.process.terminate()
    }

    /// What the server has printed.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// `POST /api/v2/signingCert`.
    pub(crate) fn ask(&self, body: &Value) -> Answer {
        http::post(&format!("{}/api/v2/signingCert", self.url), body)
    }

    /// Runs a command of the binary on this instance's configuration.
    pub(crate) fn command(&self, arguments: &[&str]) -> Outcome {
        command_of(self.directory.path(), &self.environment, arguments)
    }

    /// The client trust config for this instance and `rekor`, in a file.
    pub(crate) fn trust_config(&self, rekor: &Rekor) -> PathBuf {
        let file = self.path("trust_config.json");
        let (key, out) = (rekor.key().to_str().unwrap(), file.to_str().unwrap());
        let rekor = ["--rekor-api", "1", "--rekor-url", rekor.url(), "--rekor-key", key];
        let arguments = [&["trust", "config", "--out", out], &rekor[..]].concat();
        self.command(&arguments).success();
        file
    }

    /// The trusted root of this instance alone, in a file.
    pub(crate) fn trusted_root(&self) -> PathBuf {
        let file = self.path("trusted_root.json");
        self.command(&["trust", "root", "--out", file.to_str().unwrap()]).success();
        file
    }
}

/// The binary: the one just built, or the one that is named (a release build, say).
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("MAYFLY_BINARY")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_mayfly")), PathBuf::from)
}

fn command_of(directory: &Path, environment: &Environment, arguments: &[&str]) -> Outcome {
    let config = directory.join("mayfly.yaml");
    let mut words: Vec<String> =
        environment.iter().map(|(name, value)| format!("{name}={}", value.display())).collect();
    words.push(binary().to_str().unwrap().to_owned());
    words.extend(arguments.iter().map(|&word| word.to_owned()));
    words.extend(["--config".to_owned(), config.to_str().unwrap().to_owned()]);
    run("env", &words)
}

fn serve(directory: &Path, environment: &Environment, url: &str) -> Process {
    let mut command = Command::new(binary());
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command.arg("serve").arg("--config").arg(directory.join("mayfly.yaml"));
    let mut process = Process::start("mayfly", &mut command, directory);
    process.wait_for_answer(&format!("{url}/healthz"));
    process
}

fn write_configuration(directory: &Path, issuers: &str) -> String {
    let listen = format!("127.0.0.1:{}", free_port());
    let url = format!("http://{listen}");
    let private = free_port();
    let configuration = format!(
        "listen: {listen}\n\
         private: 127.0.0.1:{private}\n\
         url: {url}\n\
         issuers: issuers.yaml\n\
         authorities:\n  \
           - key: file:keys/issuing.pem\n    \
             chain: keys/chain.pem\n\
         log:\n  \
           data: data/log\n  \
           origin: log.example.com/2026\n  \
           key: file:keys/log.pem\n\
         audit: data/audit.jsonl\n"
    );
    fs::write(directory.join("mayfly.yaml"), configuration).unwrap();
    fs::write(directory.join("issuers.yaml"), issuers).unwrap();
    url
}

/// Puts another issuing key into the configuration.
fn name_key(directory: &Path, uri: &str) {
    let file = directory.join("mayfly.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(file, text.replace("key: file:keys/issuing.pem", &format!("key: {uri}"))).unwrap();
}

/// Root and issuing CA as the certificate profile wants them, and the log's key.
fn hold_ceremony(ca: CaKey, directory: &Path, issuing_key: &impl PublicKeyData) {
    fs::create_dir(directory).unwrap();
    let root_key = KeyPair::generate_for(ca.algorithm()).unwrap();
    let root = CertifiedIssuer::self_signed(authority("Test Root", 1), root_key).unwrap();
    let mut issuing = authority("Test Issuing CA", 0);
    issuing.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    issuing.use_authority_key_identifier_extension = true;
    let issuing = issuing.signed_by(issuing_key, &root).unwrap();
    fs::write(directory.join("chain.pem"), issuing.pem() + &root.pem()).unwrap();
    fs::write(directory.join("root.pem"), root.pem()).unwrap();
    fs::write(directory.join("intermediate.pem"), issuing.pem()).unwrap();
    let log_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    write_key(&directory.join("log.pem"), &log_key);
}

fn authority(common_name: &str, path_length: u8) -> CertificateParams {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Mayfly Tests");
    name.push(DnType::CommonName, common_name);
    let mut params = CertificateParams::default();
    params.distinguished_name = name;
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2045, 1, 1);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn write_key(file: &Path, key: &KeyPair) {
    fs::write(file, key.serialize_pem()).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}
