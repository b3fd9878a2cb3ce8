//! `mayfly trust`: the documents by which clients learn to trust a configuration.
//!
//! In: a configuration file, and what is to be said of the Rekor and TSA of others. Out: JSON. Only
//! public halves are read; the CA keys are not opened.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{Args, Subcommand};
use serde::Serialize;
use url::Url;

use super::{CliError, FileAction, client::endpoint, configuration::Configuration};
use crate::{
    config::{Authority, Config, NextLogKey},
    ct::LogId,
    identity::PublishedName,
    log::{FinalCheckpoint, LogSettings},
    serve,
    telemetry::metrics::Metrics,
    time::{Clock, Timestamp},
    trust::{
        self, Service, SigningServices, Span, TrustMaterial, TrustedChain, TrustedLog, TrustedRoot,
    },
    x509::Certificate,
};

/// Write the documents by which clients trust this CA
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct TrustArguments {
    #[command(subcommand)]
    command: TrustCommand,
}

#[derive(Debug, Subcommand)]
enum TrustCommand {
    /// Write trusted_root.json: the CA, its log, and the Rekor and TSA of others
    Root(DocumentArguments),
    /// Write the client trust config that sigstore-python takes: trusted root and signing config
    Config(DocumentArguments),
}

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
struct DocumentArguments {
    #[command(flatten)]
    configuration: Configuration,
    /// Where clients write their signature entries
    #[arg(long, value_name = "URL", requires = "rekor_key")]
    rekor_url: Option<Url>,
    /// Public key of that Rekor, PEM or DER
    #[arg(long, value_name = "FILE", requires = "rekor_url")]
    rekor_key: Option<PathBuf>,
    /// Since when that key signs, such as 2026-11-20T00:00:00Z [default: as long as this CA]
    #[arg(long, value_name = "TIME", requires = "rekor_url", value_parser = Timestamp::parse_rfc3339)]
    rekor_start: Option<Timestamp>,
    /// Which API that Rekor speaks
    #[arg(long, value_name = "1|2", requires = "rekor_url", default_value = "2",
          value_parser = clap::value_parser!(u32).range(1..=2))]
    rekor_api: u32,
    /// Under which URL that Rekor's checkpoints stand, if it is another
    #[arg(long, value_name = "URL", requires = "rekor_url")]
    rekor_log_url: Option<Url>,
    /// Where clients get timestamps: the full URL
    #[arg(long, value_name = "URL", requires = "tsa_chain")]
    tsa_url: Option<Url>,
    /// Chain of that timestamp authority, PEM, its signing certificate first
    #[arg(long, value_name = "FILE", requires = "tsa_url")]
    tsa_chain: Option<PathBuf>,
    /// Where people sign in [default: the configured issuers of type email]
    #[arg(long, value_name = "URL")]
    oidc_url: Vec<Url>,
    /// Write here, replacing what is there [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// The configuration is refused, a file cannot be read, or clients would not take the document.
pub async fn run(
    arguments: TrustArguments,
    clock: Arc<dyn Clock>,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    match arguments.command {
        TrustCommand::Root(arguments) => {
            let subject = Subject::read(&arguments, clock).await?;
            finish(&subject.trusted_root()?, arguments.out.as_deref(), out)
        }
        TrustCommand::Config(arguments) => {
            let subject = Subject::read(&arguments, clock).await?;
            let services = trust::signing_config(subject.services()?);
            let document = trust::client_trust_config(subject.trusted_root()?, services);
            finish(&document, arguments.out.as_deref(), out)
        }
    }
}

/// What the documents speak of.
struct Subject<'a> {
    arguments: &'a DocumentArguments,
    configuration: Config,
    /// Oldest first: the shards that take no more entries, the one that does, the one to come.
    shards: Vec<Shard>,
    /// Since when the oldest authority is valid: the log and the services are said to be as old.
    since: Timestamp,
}

impl<'a> Subject<'a> {
    async fn read(
        arguments: &'a DocumentArguments,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CliError> {
        let configuration = arguments.configuration.load()?;
        let log = serve::log_settings(&configuration, &clock, &Metrics::new())
            .await
            .map_err(|source| CliError::Start { source })?;
        let starts = configuration.authorities.iter().filter_map(|one| span(one).map(|s| s.start));
        let since = starts.min().unwrap_or_else(|| clock.now());
        let shards = shards(&configuration, log).await?;
        Ok(Self { arguments, configuration, shards, since })
    }

    fn trusted_root(&self) -> Result<TrustedRoot, CliError> {
        let url = &self.configuration.url;
        let chains = self.configuration.authorities.iter().filter_map(|authority| {
            Some(TrustedChain::of_ca(&authority.chain, url, span(authority)?))
        });
        let log = |shard: &Shard| {
            let valid_for = Span { start: self.since, end: shard.until };
            TrustedLog::new(&endpoint(url, &shard.path), &shard.spki_der, valid_for)
        };
        Ok(trust::trusted_root(TrustMaterial {
            certificate_authorities: chains.collect::<Result<_, _>>()?,
            ct_logs: self.shards.iter().map(log).collect::<Result<_, _>>()?,
            signature_logs: self.signature_log()?.into_iter().collect(),
            timestamp_authorities: self.timestamp_authority()?.into_iter().collect(),
        }))
    }

    fn signature_log(&self) -> Result<Option<TrustedLog>, CliError> {
        let (Some(url), Some(key)) = (&self.arguments.rekor_url, &self.arguments.rekor_key) else {
            return Ok(None);
        };
        let start = self.arguments.rekor_start.unwrap_or(self.since);
        let named = self.arguments.rekor_log_url.as_ref().unwrap_or(url);
        Ok(Some(TrustedLog::new(named, &read(key)?, Span { start, end: None })?))
    }

    fn timestamp_authority(&self) -> Result<Option<TrustedChain>, CliError> {
        let (Some(url), Some(path)) = (&self.arguments.tsa_url, &self.arguments.tsa_chain) else {
            return Ok(None);
        };
        let chain = Certificate::parse_pem_chain(&read(path)?)
            .map_err(|source| CliError::Chain { path: path.clone(), source })?;
        // What it signed before this CA was, no certificate of this CA was in.
        let since = chain.iter().map(Certificate::not_before).max().unwrap_or(self.since);
        let valid_for = Span { start: since, end: None };
        Ok(Some(TrustedChain::of_timestamp_authority(&chain, url, valid_for)?))
    }

    fn services(&self) -> Result<SigningServices, CliError> {
        let url = &self.configuration.url;
        let operator = url.host_str().unwrap_or_default();
        let span = self.open_end();
        let arguments = self.arguments;
        let rekor = arguments
            .rekor_url
            .iter()
            .map(|url| Service::signature_log(url, arguments.rekor_api, operator, span));
        let tsa =
            arguments.tsa_url.iter().map(|url| Service::timestamp_authority(url, operator, span));
        let oidc = self.sign_in_urls();
        let oidc = oidc.iter().map(|url| Service::oidc(url, operator, span));
        Ok(SigningServices {
            ca: vec![Service::ca(url, operator, span)?],
            oidc: oidc.collect::<Result<_, _>>()?,
            signature_logs: rekor.collect::<Result<_, _>>()?,
            timestamp_authorities: tsa.collect::<Result<_, _>>()?,
        })
    }

    fn sign_in_urls(&self) -> Vec<Url> {
        if !self.arguments.oidc_url.is_empty() {
            return self.arguments.oidc_url.clone();
        }
        let published = self.configuration.profiles.published().iter();
        published
            .filter(|issuer| issuer.issuer_type == crate::identity::IssuerType::Email)
            .filter_map(|issuer| match &issuer.name {
                PublishedName::Url(url) => url.parse().ok(),
                PublishedName::Wildcard(_) => None,
            })
            .collect()
    }

    fn open_end(&self) -> Span {
        Span { start: self.since, end: None }
    }
}

/// A log whose promises stand in certificates.
struct Shard {
    spki_der: Vec<u8>,
    /// Below the CA's URL.
    path: String,
    until: Option<Timestamp>,
}

async fn shards(configuration: &Config, log: Option<LogSettings>) -> Result<Vec<Shard>, CliError> {
    let start = |source| CliError::Start { source };
    let mut shards = Vec::new();
    for data in serve::frozen_shards(&configuration.log) {
        let last = FinalCheckpoint::read(data).map_err(|source| start(source.into()))?;
        let path = format!("{LOG_PATH}/{}", last.id());
        // Its last promise may be of the same second, and clients compare milliseconds.
        let until = Some(Timestamp::from_unix_seconds(last.timestamp.unix_seconds() + 1));
        shards.push(Shard { spki_der: last.public_key_der, path, until });
    }
    shards.extend(log.map(|log| {
        let spki_der = log.signer.public_key_der().to_vec();
        Shard { spki_der, path: LOG_PATH.to_owned(), until: None }
    }));
    if let Some(NextLogKey { key, passphrase }) = &configuration.next_log {
        let opened =
            serve::open_key(key, passphrase.as_ref(), configuration.dev, &Metrics::new()).await;
        let spki_der = opened.map_err(start)?.public_key_der().to_vec();
        let path = format!("{LOG_PATH}/{}", LogId::from_spki(&spki_der));
        shards.push(Shard { spki_der, path, until: None });
    }
    Ok(shards)
}

/// From the issuing CA's first second until the last certificate it may sign has expired.
fn span(authority: &Authority) -> Option<Span> {
    let issuing = authority.chain.first()?;
    let end = authority.retire.map(|retire| retire.plus_ms(LEAF_LIFETIME_MS));
    Some(Span { start: issuing.not_before(), end })
}

fn finish(
    document: &impl Serialize,
    path: Option<&Path>,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let json = serde_json::to_string_pretty(document)
        .map_err(|source| CliError::Output { source: source.into() })?;
    let text = format!("{json}\n");
    match path {
        Some(path) => fs::write(path, text).map_err(|source| CliError::File {
            action: FileAction::Write,
            path: path.to_owned(),
            source,
        }),
        None => out.write_all(text.as_bytes()).map_err(|source| CliError::Output { source }),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    fs::read(path).map_err(|source| CliError::File {
        action: FileAction::Read,
        path: path.to_owned(),
        source,
    })
}

/// Below the CA's URL (docs/log.md).
const LOG_PATH: &str = "/log";
/// docs/certificate-profile.md.
const LEAF_LIFETIME_MS: u64 = 600 * 1000;

const AFTER_HELP: &str = "\
Example, with a Rekor and a timestamp authority of others:
  mayfly trust config --config mayfly.yaml --out trust.json \\
    --rekor-url https://rekor.example.com --rekor-key rekor.pem \\
    --tsa-url https://tsa.example.com/api/v1/timestamp --tsa-chain tsa.pem
  sigstore --trust-config trust.json sign file

Exit code: 0 written, 1 clients would not take it, 2 could not tell.";
