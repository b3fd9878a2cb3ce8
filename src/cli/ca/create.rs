//! `mayfly ca create`: a root, an issuing CA, or the request for one.
//!
//! In: key URIs, names, a lifetime. Out: one new PEM file, and a new key file where that was asked
//! for; both or none. The profile is not chosen here: `ca::ceremony` has but one.

use std::{io::Write, path::PathBuf, sync::Arc};

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use serde_json::json;

use super::{
    CaCommandError,
    new_files::{NewFile, Readers},
    open_key, passphrase_source, print, read, read_chain,
    show::Shown,
};
use crate::{
    ca::{
        self, Serial,
        ceremony::{self, CeremonyError, NewCa},
    },
    cli::CliError,
    keys::{
        KeyUri, SignatureAlgorithm, Signer, file,
        wrapped::{self, SealingRandom},
    },
    secret::Secret,
    time::Timestamp,
    x509::{Certificate, Csr, PublicKey},
};

/// Create a root, an issuing CA, or the request for one
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct CreateArguments {
    #[command(subcommand)]
    command: CreateCommand,
}

#[derive(Debug, Subcommand)]
enum CreateCommand {
    Root(RootArguments),
    Intermediate(IntermediateArguments),
    Csr(CsrArguments),
}

/// Create a self-signed root
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
struct RootArguments {
    #[command(flatten)]
    key: KeyArguments,
    #[command(flatten)]
    name: NameArguments,
    /// How long it is valid: y (365 days), d or h
    #[arg(long, value_name = "DURATION", default_value = "10y", value_parser = lifetime_seconds)]
    lifetime: u64,
    /// How many levels of CAs may stand below it
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u8).range(1..=8))]
    path_length: u8,
    #[command(flatten)]
    output: OutputArguments,
}

/// Create an issuing CA below a root, for a key or from a certificate signing request
///
/// The file that it writes is the chain for `mayfly.yaml`: the new certificate first, then those of
/// --issuer-cert. Of a request only its key is taken, after its signature was checked; name and
/// extensions are never copied from it.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
#[command(group = ArgGroup::new("subject key").args(["key", "csr"]).required(true))]
struct IntermediateArguments {
    /// The key to certify, such as file:issuing.key
    #[arg(long, value_name = "URI")]
    key: Option<KeyUri>,
    /// Its passphrase: env:NAME or file:PATH
    #[arg(long, value_name = "SOURCE", requires = "key")]
    passphrase: Option<String>,
    /// Make the key: in a new file, encrypted by the key service of a wrapped: URI, or as PKCS #8,
    /// encrypted if there is a passphrase
    #[arg(long, value_name = "KIND", value_enum, requires = "key")]
    new_key: Option<NewKey>,
    /// Certify the key of this certificate signing request, PEM
    #[arg(long, value_name = "FILE")]
    csr: Option<PathBuf>,
    /// The certificate that signs, PEM; above it, if it is no root, those up to the root
    #[arg(long, value_name = "FILE")]
    issuer_cert: PathBuf,
    /// The key of that certificate
    #[arg(long, value_name = "URI")]
    issuer_key: KeyUri,
    /// Its passphrase: env:NAME or file:PATH
    #[arg(long, value_name = "SOURCE")]
    issuer_passphrase: Option<String>,
    #[command(flatten)]
    name: NameArguments,
    /// How long it is valid: y (365 days), d or h; not beyond its issuer
    #[arg(long, value_name = "DURATION", default_value = "3y", value_parser = lifetime_seconds)]
    lifetime: u64,
    /// How many levels of CAs may stand below it
    #[arg(long, value_name = "N", default_value_t = 0,
          value_parser = clap::value_parser!(u8).range(0..=8))]
    path_length: u8,
    #[command(flatten)]
    output: OutputArguments,
}

/// Create a certificate signing request, for a root on another machine
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
struct CsrArguments {
    #[command(flatten)]
    key: KeyArguments,
    #[command(flatten)]
    name: NameArguments,
    #[command(flatten)]
    output: OutputArguments,
}

// No doc comments on these three: clap would print them as help of the command.
#[derive(Debug, Args)]
struct KeyArguments {
    /// The key, such as file:root.key
    #[arg(long, value_name = "URI")]
    key: KeyUri,
    /// Its passphrase: env:NAME or file:PATH
    #[arg(long, value_name = "SOURCE")]
    passphrase: Option<String>,
    /// Make the key: in a new file, encrypted by the key service of a wrapped: URI, or as PKCS #8,
    /// encrypted if there is a passphrase
    #[arg(long, value_name = "KIND", value_enum)]
    new_key: Option<NewKey>,
}

#[derive(Debug, Args)]
struct NameArguments {
    /// O of the subject
    #[arg(long, value_name = "TEXT")]
    organization: String,
    /// CN of the subject; another one than that of every earlier CA
    #[arg(long, value_name = "TEXT")]
    common_name: String,
}

#[derive(Debug, Args)]
struct OutputArguments {
    /// Write to this new file
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum NewKey {
    /// ECDSA P-256
    P256,
    /// ECDSA P-384
    P384,
}

pub(super) async fn run(
    arguments: CreateArguments,
    now: Timestamp,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    match arguments.command {
        CreateCommand::Root(arguments) => root(&arguments, now, out).await,
        CreateCommand::Intermediate(arguments) => intermediate(&arguments, now, out).await,
        CreateCommand::Csr(arguments) => csr(&arguments, out).await,
    }
}

async fn root(
    arguments: &RootArguments,
    now: Timestamp,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let RootArguments { key, name, lifetime, path_length, output } = arguments;
    let mut file = NewFile::create(&output.out, Readers::Everyone)?;
    let key = OpenedKey::open(&key.key, key.passphrase.as_deref(), key.new_key).await?;
    let new = name.new_ca(now, *lifetime)?;
    let root = ceremony::create_root_above(&*key.signer, &new, *path_length).await.map_err(no)?;
    file.fill(root.pem().as_bytes())?;
    output.tell(&[root], out)?;
    key.keep();
    file.keep();
    Ok(())
}

async fn intermediate(
    arguments: &IntermediateArguments,
    now: Timestamp,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let mut file = NewFile::create(&arguments.output.out, Readers::Everyone)?;
    let issuer_chain = arguments.issuer_chain(now).await?;
    let passphrase = arguments.issuer_passphrase.as_deref();
    let issuer_key = open_key(&arguments.issuer_key, passphrase, false).await?;
    let (subject, new_key) = arguments.subject_key().await?;
    let new = arguments.name.new_ca(now, arguments.lifetime)?;
    let [issuer, ..] = issuer_chain.as_slice() else { return Err(no(CeremonyError::NoKeyId)) };
    let made = ceremony::certify(issuer, &*issuer_key, &subject, &new, arguments.path_length).await;
    let chain = [&[made.map_err(no)?], issuer_chain.as_slice()].concat();
    arguments.refuse_faults(&chain, now).await?;
    file.fill(chain.iter().map(Certificate::pem).collect::<String>().as_bytes())?;
    arguments.output.tell(&chain, out)?;
    if let Some(key) = new_key {
        key.keep();
    }
    file.keep();
    Ok(())
}

async fn csr(arguments: &CsrArguments, out: &mut dyn Write) -> Result<(), CliError> {
    let CsrArguments { key, name: NameArguments { organization, common_name }, output } = arguments;
    let mut file = NewFile::create(&output.out, Readers::Everyone)?;
    let key = OpenedKey::open(&key.key, key.passphrase.as_deref(), key.new_key).await?;
    let pem =
        ceremony::create_request(&*key.signer, organization, common_name).await.map_err(no)?;
    file.fill(pem.as_bytes())?;
    let path = output.out.display().to_string();
    let told = if output.json {
        format!("{:#}\n", json!({ "out": path, "key": key.signer.name() }))
    } else {
        format!("{path}: request for the key {}\n", key.signer.name())
    };
    print(out, &told)?;
    key.keep();
    file.keep();
    Ok(())
}

impl IntermediateArguments {
    /// A certificate below a chain that clients refuse would be refused too, and is not made.
    async fn issuer_chain(&self, now: Timestamp) -> Result<Vec<Certificate>, CliError> {
        let chain = read_chain(&self.issuer_cert)?;
        self.refuse_faults(&chain, now).await?;
        Ok(chain)
    }

    async fn refuse_faults(&self, chain: &[Certificate], now: Timestamp) -> Result<(), CliError> {
        let faults = ca::chain_faults(chain, None, now).await;
        if faults.is_empty() {
            return Ok(());
        }
        Err(CaCommandError::IssuerChain { path: self.issuer_cert.clone(), faults }.into())
    }

    /// The key to certify; clap sees to it that one of the two is given.
    async fn subject_key(&self) -> Result<(PublicKey, Option<OpenedKey>), CliError> {
        if let Some(uri) = &self.key {
            let key = OpenedKey::open(uri, self.passphrase.as_deref(), self.new_key).await?;
            let name = || key.signer.name().to_owned();
            let public = PublicKey::parse_der(key.signer.public_key_der())
                .map_err(|source| no(CeremonyError::PublicKey { key: name(), source }))?;
            return Ok((public, Some(key)));
        }
        let path = self.csr.clone().unwrap_or_default();
        let request = Csr::parse_and_verify(&read(&path)?)
            .map_err(|source| CaCommandError::Request { path, source })?;
        Ok((request.into_public_key(), None))
    }
}

impl NameArguments {
    fn new_ca(&self, now: Timestamp, lifetime_seconds: u64) -> Result<NewCa<'_>, CaCommandError> {
        let serial = Serial::from_random(random()?);
        let Self { organization, common_name } = self;
        // Certificates know whole seconds only.
        let now = Timestamp::from_unix_seconds(now.unix_seconds());
        Ok(NewCa { organization, common_name, now, lifetime_seconds, serial })
    }
}

impl OutputArguments {
    fn tell(&self, chain: &[Certificate], out: &mut dyn Write) -> Result<(), CliError> {
        let path = self.out.display().to_string();
        let certificates = Shown::chain(chain);
        if self.json {
            let value = json!({ "out": path, "certificates": certificates });
            return print(out, &format!("{value:#}\n"));
        }
        let texts: String = certificates.iter().map(Shown::to_text).collect();
        print(out, &format!("{path}\n{texts}"))
    }
}

/// A key to sign with or to certify, and the file that was made for it.
struct OpenedKey {
    signer: Arc<dyn Signer>,
    made: Option<NewFile>,
}

impl OpenedKey {
    /// Opens it, or makes it first where that was asked for; what was made is read back, so that it
    /// is known to open again.
    async fn open(
        uri: &KeyUri,
        passphrase: Option<&str>,
        new_key: Option<NewKey>,
    ) -> Result<Self, CliError> {
        let made = match new_key {
            Some(kind) => Some(make_key(uri, passphrase, kind).await?),
            None => None,
        };
        let signer = open_key(uri, passphrase, false).await?;
        Ok(Self { signer, made })
    }

    fn keep(self) {
        if let Some(file) = self.made {
            file.keep();
        }
    }
}

async fn make_key(
    uri: &KeyUri,
    passphrase: Option<&str>,
    kind: NewKey,
) -> Result<NewFile, CliError> {
    let path = match uri {
        KeyUri::File(path) => path,
        KeyUri::Wrapped(uri) => &uri.path,
        _ => return Err(CaCommandError::NewKeyElsewhere.into()),
    };
    let passphrase = passphrase_source(passphrase)?;
    let passphrase: Option<Secret> = match passphrase {
        Some(source) => {
            let unread = |source| CaCommandError::Key { source };
            Some(source.read().map_err(|error| unread(error.into()))?)
        }
        None => None,
    };
    let mut file = NewFile::create(path, Readers::Owner)?;
    let algorithm = match kind {
        NewKey::P256 => SignatureAlgorithm::EcdsaP256Sha256,
        NewKey::P384 => SignatureAlgorithm::EcdsaP384Sha384,
    };
    let key = file::generate(algorithm).map_err(CaCommandError::from)?;
    let content = match (uri, passphrase) {
        // With a passphrase it will not open.
        (KeyUri::Wrapped(uri), _) => {
            let sealed = wrapped::seal(uri, &key, SealingRandom::new(random()?)).await;
            Secret::new(sealed.map_err(CaCommandError::from)?)
        }
        (_, Some(passphrase)) => {
            key.encrypted_pkcs8_pem(&passphrase, random()?).map_err(CaCommandError::from)?
        }
        (_, None) => key.pkcs8_pem(),
    };
    file.fill(content.expose())?;
    Ok(file)
}

fn random<const N: usize>() -> Result<[u8; N], CaCommandError> {
    let mut random = [0; N];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| CaCommandError::Randomness)?;
    Ok(random)
}

fn no(error: CeremonyError) -> CliError {
    CaCommandError::from(error).into()
}

/// `10y`, `3650d` or `12h` in seconds.
pub(super) fn lifetime_seconds(text: &str) -> Result<u64, String> {
    let expected = || "expected a number and y, d or h, such as 10y or 90d".to_owned();
    let (number, unit_seconds) = [("y", 365 * DAY_SECONDS), ("d", DAY_SECONDS), ("h", 3600)]
        .into_iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))
        .ok_or_else(expected)?;
    let number: u64 = number.parse().map_err(|_| expected())?;
    number.checked_mul(unit_seconds).filter(|seconds| *seconds > 0).ok_or_else(expected)
}

const DAY_SECONDS: u64 = 24 * 60 * 60;

const AFTER_HELP: &str = "\
Example:
  mayfly ca create root --key file:root.key --new-key p384 --passphrase file:root.pass \\
    --organization example.com --common-name 'Example root 2026' --out root.pem
  mayfly ca create csr --key file:issuing.key --new-key p256 \\
    --organization example.com --common-name 'Example issuing CA 2026' --out issuing.csr
  mayfly ca create intermediate --csr issuing.csr --issuer-cert root.pem \\
    --issuer-key file:root.key --issuer-passphrase file:root.pass \\
    --organization example.com --common-name 'Example issuing CA 2026' --out chain.pem

No file is ever overwritten, and none is left where something failed.

Exit code: 0 created, 1 it would break a rule, 2 could not be done.";
