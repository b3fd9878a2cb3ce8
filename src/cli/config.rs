//! `mayfly config check`: what a configuration means, and every mistake in it.
//!
//! In: a configuration file. Out: what was understood, as a person or a script reads it, and
//! whether `serve` would take it: keys are opened and chains proven, no port is opened, no log is
//! touched, nothing is asked of the network.

use std::{io::Write, sync::Arc};

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use super::{CliError, configuration::Configuration, error::with_causes};
use crate::{
    api::http::tls::{Pair, TlsFiles},
    config::{
        Authority, Config, ConfigErrors, NextLogKey,
        effective::{Effective, EffectiveAuthority, EffectiveIssuer, EffectiveLog, EffectiveTls},
    },
    ct::LogId,
    log::FinalCheckpoint,
    oidc::IssuerTable,
    serve,
    telemetry::metrics::Metrics,
    time::{Clock, Timestamp},
};

/// Check a configuration
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct ConfigArguments {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    Check(CheckArguments),
}

/// Say what a configuration means, and every mistake in it
///
/// Opens the keys and proves that each belongs to its chain, as `serve` would. Opens no port,
/// touches no log, asks nothing of the network.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
struct CheckArguments {
    #[command(flatten)]
    configuration: Configuration,
    /// Print one JSON object, also where there are mistakes
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// The configuration has mistakes, or its keys cannot be used as it says.
pub async fn run(
    arguments: ConfigArguments,
    clock: Arc<dyn Clock>,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let ConfigCommand::Check(arguments) = arguments.command;
    let output = |source| CliError::Output { source };
    let configuration = match arguments.configuration.load() {
        Ok(configuration) => configuration,
        Err(errors) => {
            if arguments.json {
                writeln!(out, "{:#}", mistakes_json(&errors)).map_err(output)?;
            }
            return Err(errors.into());
        }
    };
    let checked = Checked::of(configuration, &clock).await;
    let text = if arguments.json { format!("{:#}\n", json!(checked)) } else { checked.to_text() };
    out.write_all(text.as_bytes()).map_err(output)?;
    match checked.problems.len() {
        0 => Ok(()),
        count => Err(CliError::Unusable { count }),
    }
}

/// What the configuration says, and what does not hold.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Checked {
    #[serde(flatten)]
    effective: Effective,
    /// What the files of `tls` hold now; `None` where they are no pair, or there are none.
    tls_certificate: Option<TlsCertificate>,
    /// Empty where `serve` would start.
    problems: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TlsCertificate {
    names: Vec<String>,
    not_after: String,
}

impl Checked {
    async fn of(configuration: Config, clock: &Arc<dyn Clock>) -> Self {
        let now = clock.now();
        let mut problems = Vec::new();
        let mut effective = Effective::of(&configuration);
        if let Some(log) = &mut effective.log {
            log.id = log_id(&configuration, clock, &mut problems).await;
        }
        let tls_certificate = configuration
            .tls
            .as_ref()
            .and_then(|files| TlsCertificate::of(files, now, &mut problems));
        if let Err(error) = IssuerTable::new(configuration.issuers, Arc::clone(clock)) {
            problems.push(with_causes(&error));
        }
        let dev = configuration.dev;
        check_authorities(configuration.authorities, now, dev, &mut problems).await;
        Self { effective, tls_certificate, problems }
    }

    fn to_text(&self) -> String {
        let Effective {
            listen,
            url,
            private,
            audit,
            log,
            authorities,
            client_signing_algorithms,
            issuers,
            ..
        } = &self.effective;
        let mut lines = vec![format!("public port   {listen} as {url}")];
        lines.extend(self.tls_lines());
        lines.push(format!("private port  {}", private.as_deref().unwrap_or("none")));
        lines.push(format!("audit log     {audit}"));
        match log {
            Some(log) => lines.extend(log_lines(log)),
            None => lines.push(
                "log           none: Sigstore clients will refuse the certificates".to_owned(),
            ),
        }
        lines.extend(authorities.iter().flat_map(authority_lines));
        let algorithms = client_signing_algorithms.join(", ");
        lines.push(format!("client keys   {algorithms}"));
        lines.extend(issuers.iter().map(|EffectiveIssuer { name, r#type, audience, .. }| {
            format!("issuer        {name}\n                type {type}, audience {audience}")
        }));
        lines.extend(self.problems.iter().map(|problem| format!("problem       {problem}")));
        lines.push(String::new());
        lines.join("\n")
    }

    fn tls_lines(&self) -> Vec<String> {
        let Some(EffectiveTls { cert, key }) = &self.effective.tls else {
            return Vec::new();
        };
        let mut lines = vec![format!("                TLS certificate {cert}, key {key}")];
        if let Some(TlsCertificate { names, not_after }) = &self.tls_certificate {
            let names = names.join(", ");
            lines.push(format!("                for {names}, valid to {not_after}"));
        }
        lines
    }
}

impl TlsCertificate {
    fn of(files: &TlsFiles, now: Timestamp, problems: &mut Vec<String>) -> Option<Self> {
        match Pair::read(files, now) {
            Ok(pair) => Some(Self {
                names: pair.names().to_vec(),
                not_after: pair.valid_until().to_string(),
            }),
            Err(error) => {
                problems.push(with_causes(&error));
                None
            }
        }
    }
}

async fn log_id(
    configuration: &Config,
    clock: &Arc<dyn Clock>,
    problems: &mut Vec<String>,
) -> Option<String> {
    for data in serve::frozen_shards(&configuration.log) {
        problems.extend(FinalCheckpoint::read(data).err().map(|error| with_causes(&error)));
    }
    if let Some(NextLogKey { key, passphrase }) = &configuration.next_log {
        let (passphrase, dev) = (passphrase.as_ref(), configuration.dev);
        let opened = serve::open_key(key, passphrase, dev, &Metrics::new()).await;
        problems.extend(opened.err().map(|error| with_causes(&error)));
    }
    match serve::log_settings(configuration, clock, &Metrics::new()).await {
        Ok(settings) => {
            settings.map(|log| LogId::from_spki(log.signer.public_key_der()).to_string())
        }
        Err(error) => {
            problems.push(with_causes(&error));
            None
        }
    }
}

fn authority_lines(authority: &EffectiveAuthority) -> Vec<String> {
    let algorithm = authority.key_algorithm.as_deref().unwrap_or("of an unknown kind");
    let EffectiveAuthority { subject, key, chain, chain_length, not_before, not_after, .. } =
        authority;
    let mut lines = vec![
        format!("authority     {subject}"),
        format!("                key {key}, {algorithm}"),
        format!("                chain {chain}, {chain_length} certificates"),
        format!("                valid {not_before} to {not_after}"),
    ];
    let dates = [("signs from", &authority.activate), ("signs until", &authority.retire)];
    lines.extend(
        dates
            .into_iter()
            .filter_map(|(what, at)| Some(format!("                {what} {}", at.as_ref()?))),
    );
    lines
}

fn log_lines(log: &EffectiveLog) -> Vec<String> {
    let mut lines = vec![
        format!("log           {}", log.origin),
        format!("                data {}, key {}", log.data, log.key),
        format!("                id {}", log.id.as_deref().unwrap_or("unknown")),
    ];
    lines.extend(log.frozen.iter().map(|data| format!("                frozen {data}")));
    lines.extend(log.next_key.iter().map(|key| format!("                next key {key}")));
    lines
}

/// Each authority by itself, so that one bad key does not hide another; then all together.
async fn check_authorities(
    authorities: Vec<Authority>,
    now: Timestamp,
    dev: bool,
    problems: &mut Vec<String>,
) {
    let mut opened = Vec::new();
    let configured = authorities.len();
    for authority in authorities {
        match serve::open_authority(authority, now, dev, &Metrics::new()).await {
            Ok(authority) => opened.push(authority),
            Err(error) => problems.push(with_causes(&error)),
        }
    }
    if opened.len() < configured {
        return;
    }
    let together = serve::authorities_together(opened, now);
    problems.extend(together.err().map(|error| with_causes(&error)));
}

fn mistakes_json(errors: &ConfigErrors) -> serde_json::Value {
    let mistakes = errors.mistakes().iter().map(|mistake| {
        json!({
            "file": mistake.file.display().to_string(),
            "line": mistake.at.map(|at| at.line),
            "column": mistake.at.map(|at| at.column),
            "message": mistake.fault.to_string(),
        })
    });
    json!({ "mistakes": mistakes.collect::<Vec<_>>() })
}

const AFTER_HELP: &str = "\
Example:
  mayfly config check --config mayfly.yaml

Exit code: 0 `serve` would take it, 1 it has mistakes, 2 could not tell.";
