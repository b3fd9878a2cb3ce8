//! `mayfly config check`: what a configuration means, and every mistake in it.
//!
//! In: a configuration file. Out: what was understood, as a person or a script reads it, and
//! whether `serve` would take it: keys are opened and chains proven, no port is opened, no log is
//! touched, nothing is asked of the network.

use std::{io::Write, path::PathBuf, sync::Arc};

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use super::{CliError, error::with_causes};
use crate::{
    config::{self, Authority, Config, ConfigErrors, LoadOptions, LogChoice},
    ct::LogId,
    identity::PublishedIssuer,
    oidc::IssuerTable,
    serve,
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
    /// The configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Allow the published development keys, which everyone has
    #[arg(long)]
    dev: bool,
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
    let configuration = match config::load(&arguments.config, LoadOptions { dev: arguments.dev }) {
        Ok(configuration) => configuration,
        Err(errors) => {
            if arguments.json {
                writeln!(out, "{:#}", mistakes_json(&errors)).map_err(output)?;
            }
            return Err(errors.into());
        }
    };
    let understood = Understood::of(configuration, &clock).await;
    let text =
        if arguments.json { format!("{:#}\n", json!(understood)) } else { understood.to_text() };
    out.write_all(text.as_bytes()).map_err(output)?;
    match understood.problems.len() {
        0 => Ok(()),
        count => Err(CliError::Unusable { count }),
    }
}

/// What the configuration says, and what does not hold.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Understood {
    listen: String,
    private: Option<String>,
    url: String,
    issuers: Vec<IssuerLine>,
    authorities: Vec<AuthorityLine>,
    log: Option<LogLine>,
    audit: String,
    /// Empty where `serve` would start.
    problems: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct IssuerLine {
    name: String,
    r#type: String,
    audience: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AuthorityLine {
    subject: String,
    key: String,
    key_algorithm: Option<String>,
    not_before: String,
    not_after: String,
    activate: Option<String>,
    retire: Option<String>,
    chain: String,
    chain_length: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LogLine {
    origin: String,
    data: String,
    key: String,
    /// Hex; absent where the key does not open.
    id: Option<String>,
}

impl Understood {
    async fn of(configuration: Config, clock: &Arc<dyn Clock>) -> Self {
        let mut problems = Vec::new();
        let log = LogLine::of(&configuration, clock, &mut problems).await;
        let published = configuration.profiles.published();
        let issuers = published.iter().map(IssuerLine::of).collect();
        let authorities = configuration.authorities.iter().map(AuthorityLine::of).collect();
        if let Err(error) = IssuerTable::new(configuration.issuers, Arc::clone(clock)) {
            problems.push(with_causes(&error));
        }
        let dev = configuration.dev;
        check_authorities(configuration.authorities, clock.now(), dev, &mut problems).await;
        Self {
            listen: configuration.listen.to_string(),
            private: configuration.private.map(|address| address.to_string()),
            url: configuration.url.to_string(),
            issuers,
            authorities,
            log,
            audit: configuration.audit.display().to_string(),
            problems,
        }
    }

    fn to_text(&self) -> String {
        let mut lines = vec![
            format!("public port   {} as {}", self.listen, self.url),
            format!("private port  {}", self.private.as_deref().unwrap_or("none")),
            format!("audit log     {}", self.audit),
        ];
        match &self.log {
            Some(log) => lines.extend(log.lines()),
            None => lines.push(
                "log           none: Sigstore clients will refuse the certificates".to_owned(),
            ),
        }
        lines.extend(self.authorities.iter().flat_map(AuthorityLine::lines));
        let issuers = self.issuers.iter();
        lines.extend(issuers.map(|IssuerLine { name, r#type, audience }| {
            format!("issuer        {name}\n                type {type}, audience {audience}")
        }));
        lines.extend(self.problems.iter().map(|problem| format!("problem       {problem}")));
        lines.push(String::new());
        lines.join("\n")
    }
}

impl IssuerLine {
    fn of(issuer: &PublishedIssuer) -> Self {
        Self {
            name: issuer.name.as_str().to_owned(),
            r#type: issuer.issuer_type.to_string(),
            audience: issuer.audience.clone(),
        }
    }
}

impl AuthorityLine {
    fn of(authority: &Authority) -> Self {
        // The configuration refuses an empty chain; this only spares the panic.
        let issuing = authority.chain.first();
        let text = |at: Timestamp| at.to_string();
        Self {
            subject: issuing.map(|one| one.subject().to_owned()).unwrap_or_default(),
            key: authority.key.to_string(),
            key_algorithm: issuing.and_then(|one| one.key_algorithm()).map(|kind| kind.to_string()),
            not_before: issuing.map(|one| text(one.not_before())).unwrap_or_default(),
            not_after: issuing.map(|one| text(one.not_after())).unwrap_or_default(),
            activate: authority.activate.map(text),
            retire: authority.retire.map(text),
            chain: authority.chain_path.display().to_string(),
            chain_length: authority.chain.len(),
        }
    }

    fn lines(&self) -> Vec<String> {
        let algorithm = self.key_algorithm.as_deref().unwrap_or("of an unknown kind");
        let mut lines = vec![
            format!("authority     {}", self.subject),
            format!("                key {}, {algorithm}", self.key),
            format!("                chain {}, {} certificates", self.chain, self.chain_length),
            format!("                valid {} to {}", self.not_before, self.not_after),
        ];
        let dates = [("signs from", &self.activate), ("signs until", &self.retire)];
        lines.extend(
            dates
                .into_iter()
                .filter_map(|(what, at)| Some(format!("                {what} {}", at.as_ref()?))),
        );
        lines
    }
}

impl LogLine {
    async fn of(
        config: &Config,
        clock: &Arc<dyn Clock>,
        problems: &mut Vec<String>,
    ) -> Option<Self> {
        let LogChoice::Embedded { data, origin, key, .. } = &config.log else {
            return None;
        };
        let id = match serve::log_settings(config, clock).await {
            Ok(settings) => settings
                .map(|settings| LogId::from_spki(settings.signer.public_key_der()).to_string()),
            Err(error) => {
                problems.push(with_causes(&error));
                None
            }
        };
        Some(Self {
            origin: origin.clone(),
            data: data.display().to_string(),
            key: key.to_string(),
            id,
        })
    }

    fn lines(&self) -> [String; 3] {
        [
            format!("log           {}", self.origin),
            format!("                data {}, key {}", self.data, self.key),
            format!("                id {}", self.id.as_deref().unwrap_or("unknown")),
        ]
    }
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
        match serve::open_authority(authority, now, dev).await {
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
