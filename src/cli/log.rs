//! `mayfly log`: the transparency log of a configuration.
//!
//! In: a configuration file. Out: a new, empty log where it says. A log never creates itself: a
//! wrong path must not quietly begin a second history under the same key.

use std::{io::Write, sync::Arc};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{CliError, configuration::Configuration};
use crate::{ct::LogId, log::Log, serve, telemetry::metrics::Metrics, time::Clock};

/// Create the transparency log
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct LogArguments {
    #[command(subcommand)]
    command: LogCommand,
}

#[derive(Debug, Subcommand)]
enum LogCommand {
    Init(InitArguments),
}

/// Create the empty log that the configuration describes; refused where one exists
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
struct InitArguments {
    #[command(flatten)]
    configuration: Configuration,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// The configuration is refused or has no embedded log, or there is a log already.
pub async fn run(
    arguments: LogArguments,
    clock: Arc<dyn Clock>,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let LogCommand::Init(arguments) = arguments.command;
    let configuration = arguments.configuration.load()?;
    let settings = serve::log_settings(&configuration, &clock, &Metrics::new())
        .await
        .map_err(|source| CliError::Start { source })?
        .ok_or(CliError::NoEmbeddedLog { consequence: "there is nothing to create" })?;
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
