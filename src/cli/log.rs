//! `mayfly log`: the transparency log of a configuration.
//!
//! In: a configuration file. Out: a new, empty log where it says, or the one that is there with its
//! final checkpoint. A log never creates itself: a wrong path must not quietly begin a second
//! history under the same key.

use std::{io::Write, sync::Arc};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{CliError, configuration::Configuration};
use crate::{
    ct::LogId,
    log::{FinalCheckpoint, Log, LogSettings},
    serve,
    telemetry::metrics::Metrics,
    time::Clock,
};

/// Create the transparency log, or end it
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct LogArguments {
    #[command(subcommand)]
    command: LogCommand,
}

#[derive(Debug, Subcommand)]
enum LogCommand {
    Init(LogOfConfiguration),
    Freeze(FreezeArguments),
}

/// Create the empty log that the configuration describes; refused where one exists
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
struct LogOfConfiguration {
    #[command(flatten)]
    configuration: Configuration,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Sign a final checkpoint of the log that the configuration describes; it takes no entries any more
///
/// Stop the server that has it open first. This cannot be undone. The log is read from then on by
/// a configuration that names its folder under 'frozen', and its private key is not needed any more.
#[derive(Debug, Args)]
#[command(after_help = FREEZE_AFTER_HELP)]
struct FreezeArguments {
    #[command(flatten)]
    log: LogOfConfiguration,
}

/// Runs the command.
///
/// # Errors
/// The configuration is refused or has no embedded log, there is a log already, or none to end.
pub async fn run(
    arguments: LogArguments,
    clock: Arc<dyn Clock>,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    match arguments.command {
        LogCommand::Init(arguments) => init(&arguments, clock, out).await,
        LogCommand::Freeze(FreezeArguments { log }) => freeze(&log, clock, out).await,
    }
}

async fn freeze(
    arguments: &LogOfConfiguration,
    clock: Arc<dyn Clock>,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let settings = arguments.settings(&clock, "there is nothing to freeze").await?;
    let last = Log::freeze(settings).await.map_err(|source| CliError::LogFreeze { source })?;
    let FinalCheckpoint { origin, size, timestamp, .. } = &last;
    let id = last.id();
    let written = if arguments.json {
        let told = json!({
            "origin": origin,
            "id": id.to_string(),
            "size": size,
            "finalCheckpoint": timestamp.to_string(),
        });
        writeln!(out, "{told:#}")
    } else {
        writeln!(out, "log {origin} frozen at {timestamp} with {size} entries, id {id}")
    };
    written.map_err(|source| CliError::Output { source })
}

impl LogOfConfiguration {
    async fn settings(
        &self,
        clock: &Arc<dyn Clock>,
        consequence: &'static str,
    ) -> Result<LogSettings, CliError> {
        let configuration = self.configuration.load()?;
        serve::log_settings(&configuration, clock, &Metrics::new())
            .await
            .map_err(|source| CliError::Start { source })?
            .ok_or(CliError::NoEmbeddedLog { consequence })
    }
}

async fn init(
    arguments: &LogOfConfiguration,
    clock: Arc<dyn Clock>,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let settings = arguments.settings(&clock, "there is nothing to create").await?;
    Log::init(&settings).await.map_err(|source| CliError::LogInit { source })?;
    let id = LogId::from_spki(settings.signer.public_key_der());
    let written = if arguments.json {
        writeln!(out, "{:#}", json!({ "origin": settings.origin, "id": id.to_string() }))
    } else {
        writeln!(out, "log {} created in {}, id {id}", settings.origin, settings.data.display())
    };
    written.map_err(|source| CliError::Output { source })
}

const AFTER_HELP: &str = "\
Example, once, before the first `mayfly serve`:
  mayfly log init --config mayfly.yaml

Exit code: 0 created, 1 there is one already or none is configured, 2 could not tell.";

const FREEZE_AFTER_HELP: &str = "\
Example, with the configuration that the server ran with until then:
  mayfly log freeze --config mayfly.yaml

Exit code: 0 frozen, 1 it is frozen already or none is configured, 2 could not be done.";
