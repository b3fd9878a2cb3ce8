//! The command line: one file per command, and one error type that becomes the exit code.
//!
//! In: parsed arguments. Out: text on standard output, or a [`CliError`]. Decides nothing about
//! certificates: each command loads a configuration, calls the library and says what came of it.

pub mod ambient;
pub mod ca;
pub mod client;
pub mod config;
mod configuration;
pub mod demo;
mod error;
pub mod log;
pub mod login;
pub mod request;
pub mod serve;
pub mod trust;
pub mod verify;

use std::{io, sync::Arc};

use clap::{Parser, Subcommand};

pub use self::error::{CliError, FileAction};
use crate::time::{Clock, SystemClock};

/// A short-lived certificate authority: an OIDC token in, a logged ten-minute certificate out
#[derive(Debug, Parser)]
#[command(name = "mayfly", version, arg_required_else_help = true, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::DemoArguments),
    Serve(serve::ServeArguments),
    Config(config::ConfigArguments),
    Request(request::RequestArguments),
    Trust(trust::TrustArguments),
    Log(log::LogArguments),
    Ca(ca::CaArguments),
}

/// Runs one command to its end.
///
/// # Errors
/// What the command found not to be so, or could not find out.
pub fn run(cli: Cli) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| CliError::Runtime { source })?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    // Colours only where standard output is a terminal that shows them.
    let mut out = anstream::stdout();
    runtime.block_on(dispatch(cli.command, clock, &mut out))
}

/// Tells a person on standard error why a command failed: what, then why, cause by cause.
pub fn report(error: &CliError) {
    anstream::eprintln!("{}error:{:#} {}", ERROR_STYLE, ERROR_STYLE, error::with_causes(error));
}

async fn dispatch(
    command: Command,
    clock: Arc<dyn Clock>,
    out: &mut dyn io::Write,
) -> Result<(), CliError> {
    match command {
        Command::Demo(arguments) => demo::run(arguments, clock, out).await,
        Command::Serve(arguments) => serve::run(arguments, clock, out).await,
        Command::Config(arguments) => config::run(arguments, clock, out).await,
        Command::Request(arguments) => request::run(arguments, out).await,
        Command::Trust(arguments) => trust::run(arguments, clock, out).await,
        Command::Log(arguments) => log::run(arguments, clock, out).await,
        Command::Ca(arguments) => ca::run(arguments, clock, out).await,
    }
}

const ERROR_STYLE: anstyle::Style = anstyle::AnsiColor::Red.on_default().bold();

const AFTER_HELP: &str = "\
Example, needs nothing else:
  mayfly demo

Exit code: 0 it is so, 1 it is not so, 2 could not tell.";
