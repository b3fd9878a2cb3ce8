//! A fresh installation: everything that `mayfly serve` needs, in one new directory.
//!
//! In: an empty directory, addresses, an identity provider. Out: a CA with root and issuing CA, a
//! new log, and the two configuration files, as an operator would have made them by hand. The
//! root's private key signs once and is never written.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    ca::{
        Serial,
        ceremony::{self, CeremonyError, NewCa},
    },
    keys::{SignatureAlgorithm, file, file::GenerateKeyError},
    log::{Log, LogSettings, OpenError},
    time::{Clock, Timestamp},
    tlog::{InvalidKeyName, KeyName},
    x509::Certificate,
};

/// What a new installation shall be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The public port.
    pub listen: SocketAddr,
    /// The private port.
    pub private: SocketAddr,
    /// Whose tokens it takes, as e-mail identities for the audience `sigstore`.
    pub issuer_url: String,
    /// The kind of the two CA keys.
    pub ca_algorithm: SignatureAlgorithm,
}

/// A new installation, and what a verifier must know of it beforehand.
#[derive(Debug)]
pub struct Home {
    /// The configuration, for `mayfly serve --config`.
    pub config_path: PathBuf,
    /// The self-signed root.
    pub root: Certificate,
    /// The CA that issues.
    pub issuing: Certificate,
    /// The log's name.
    pub log_origin: KeyName,
    /// The log's public key, DER SubjectPublicKeyInfo.
    pub log_spki_der: Vec<u8>,
}

impl Home {
    /// Makes the installation in `directory`, which is made where it is not there.
    ///
    /// # Errors
    /// The directory holds something already, or a part could not be made.
    pub async fn create(
        directory: &Path,
        plan: &Plan,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, HomeError> {
        // Absolute, because what is printed is copied into other directories.
        let directory = std::path::absolute(directory).map_err(at(directory))?;
        make_empty(&directory)?;
        let keys = directory.join("keys");
        fs::create_dir(&keys).map_err(at(&keys))?;
        let (root, issuing) = ceremony(&keys, plan.ca_algorithm, clock.now()).await?;
        let (log_origin, log_spki_der) = new_log(&directory, &keys, clock).await?;
        write(&directory.join("issuers.yaml"), &issuers_yaml(&plan.issuer_url))?;
        let config_path = directory.join("mayfly.yaml");
        write(&config_path, &mayfly_yaml(plan))?;
        Ok(Self { config_path, root, issuing, log_origin, log_spki_der })
    }
}

/// Why there is no new installation.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// It must be new: nothing is overwritten, and no old key is taken for a fresh one.
    #[error("{} is not empty; a demo begins in a new or empty directory", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// A file or directory.
    #[error("cannot write {}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// No key.
    #[error(transparent)]
    Generate(#[from] GenerateKeyError),
    /// No randomness for a serial number.
    #[error("the operating system gave no randomness")]
    Randomness,
    /// No certificate.
    #[error("the CA certificates could not be made")]
    Ceremony(#[from] CeremonyError),
    /// No log.
    #[error("the log could not be made")]
    Log(#[from] OpenError),
    /// The log's name is fixed here, so this says that the code is wrong.
    #[error("the log's origin is no key name")]
    Origin(#[from] InvalidKeyName),
}

fn make_empty(directory: &Path) -> Result<(), HomeError> {
    use std::os::unix::fs::DirBuilderExt;

    // Keys will lie in it.
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory).map_err(at(directory))?;
    match fs::read_dir(directory).map_err(at(directory))?.next() {
        Some(_) => Err(HomeError::NotEmpty { path: directory.to_owned() }),
        None => Ok(()),
    }
}

async fn ceremony(
    keys: &Path,
    algorithm: SignatureAlgorithm,
    now: Timestamp,
) -> Result<(Certificate, Certificate), HomeError> {
    // Certificates know whole seconds only, so that both end in the same one.
    let now = Timestamp::from_unix_seconds(now.unix_seconds());
    let new_ca = |common_name| {
        let serial = serial()?;
        let lifetime_seconds = LIFETIME_SECONDS;
        Ok::<_, HomeError>(NewCa {
            organization: "Mayfly demo",
            common_name,
            now,
            lifetime_seconds,
            serial,
        })
    };
    // Lives in memory until the end of this function.
    let root_key = file::generate(algorithm)?.signer;
    let root = ceremony::create_root(&*root_key, &new_ca("Mayfly demo root")?).await?;
    let key = file::generate(algorithm)?;
    let key_path = keys.join("issuing.pem");
    key.write_new(&key_path).map_err(at(&key_path))?;
    let new = new_ca("Mayfly demo issuing CA")?;
    let issuing = ceremony::create_intermediate(&root, &*root_key, &*key.signer, &new).await?;
    write(&keys.join("chain.pem"), &format!("{}{}", issuing.pem(), root.pem()))?;
    Ok((root, issuing))
}

async fn new_log(
    directory: &Path,
    keys: &Path,
    clock: &Arc<dyn Clock>,
) -> Result<(KeyName, Vec<u8>), HomeError> {
    // P-256 whatever the CA has: the only kind that every client verifies.
    let key = file::generate(SignatureAlgorithm::EcdsaP256Sha256)?;
    let key_path = keys.join("log.pem");
    key.write_new(&key_path).map_err(at(&key_path))?;
    let spki_der = key.signer.public_key_der().to_vec();
    let settings = LogSettings {
        data: directory.join("data/log"),
        origin: LOG_ORIGIN.to_owned(),
        signer: key.signer,
        clock: Arc::clone(clock),
    };
    fs::create_dir(directory.join("data")).map_err(at(directory))?;
    Log::init(&settings).await?;
    Ok((KeyName::new(LOG_ORIGIN)?, spki_der))
}

fn serial() -> Result<Serial, HomeError> {
    let mut random = [0; 20];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| HomeError::Randomness)?;
    Ok(Serial::from_random(random))
}

fn write(path: &Path, content: &str) -> Result<(), HomeError> {
    fs::write(path, content).map_err(at(path))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> HomeError {
    let path = path.to_owned();
    move |source| HomeError::File { path, source }
}

fn mayfly_yaml(plan: &Plan) -> String {
    let Plan { listen, private, .. } = plan;
    format!(
        "\
# Written by `mayfly demo`. Serve it again with `mayfly serve --config mayfly.yaml`; its identity
# provider lives only as long as the demo does.
listen: {listen}
private: {private}
url: http://{listen}
issuers: issuers.yaml
authorities:
  - key: file:keys/issuing.pem
    chain: keys/chain.pem
log:
  data: data/log
  origin: {LOG_ORIGIN}
  key: file:keys/log.pem
audit: data/audit.jsonl
"
    )
}

fn issuers_yaml(issuer_url: &str) -> String {
    format!(
        "\
# Written by `mayfly demo`: trust in the development identity provider, for e-mail addresses.
oidc-issuers:
  {issuer_url}:
    issuer-url: {issuer_url}
    client-id: sigstore
    type: email
"
    )
}

/// Long enough for a workshop, short enough that nobody builds on it.
const LIFETIME_SECONDS: u64 = 30 * 24 * 60 * 60;
const LOG_ORIGIN: &str = "mayfly-demo.localhost/log";
