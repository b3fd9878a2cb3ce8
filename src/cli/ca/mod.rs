//! `mayfly ca`: CA certificates, and the plan by which one follows another.
//!
//! In: keys by their URI, certificates in files, a configuration. Out: new files, or what stands in
//! those that are there. The certificates are made in [`crate::ca::ceremony`]; here is only what a
//! person says and sees. Asks no network but what a key URI names.

mod create;
mod error;
mod new_files;
mod plan;
mod rotate;
mod show;
mod verify;

use std::{
    fs::File,
    io::{Read, Write},
    path::Path,
    sync::Arc,
};

use clap::{Args, Subcommand};

pub use self::error::CaCommandError;
use super::{CliError, FileAction};
use crate::{
    config::PassphraseSource,
    keys::{KeyUri, Signer},
    serve,
    telemetry::metrics::Metrics,
    time::Clock,
    x509::Certificate,
};

/// Create CA certificates, look at them, and plan which one signs when
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct CaArguments {
    #[command(subcommand)]
    command: CaCommand,
}

#[derive(Debug, Subcommand)]
enum CaCommand {
    Create(create::CreateArguments),
    Show(show::ShowArguments),
    Verify(verify::VerifyArguments),
    Plan(plan::PlanArguments),
    Rotate(rotate::RotateArguments),
}

/// Runs the command.
///
/// # Errors
/// A certificate was not made, a chain or plan does not hold, or it could not be told.
pub async fn run(
    arguments: CaArguments,
    clock: Arc<dyn Clock>,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    match arguments.command {
        CaCommand::Create(arguments) => create::run(arguments, clock.now(), out).await,
        CaCommand::Show(arguments) => show::run(&arguments, clock.now(), out),
        CaCommand::Verify(arguments) => verify::run(&arguments, clock.now(), out).await,
        CaCommand::Plan(arguments) => plan::run(&arguments, clock.now(), out),
        CaCommand::Rotate(arguments) => rotate::run(&arguments, clock.now(), out).await,
    }
}

/// Opens a key as `serve` would.
async fn open_key(
    uri: &KeyUri,
    passphrase: Option<&str>,
    dev: bool,
) -> Result<Arc<dyn Signer>, CliError> {
    let passphrase = passphrase_source(passphrase)?;
    // Nobody reads the counts of a command that ends.
    serve::open_key(uri, passphrase.as_ref(), dev, &Metrics::new())
        .await
        .map_err(|source| CaCommandError::Key { source }.into())
}

fn passphrase_source(text: Option<&str>) -> Result<Option<PassphraseSource>, CaCommandError> {
    let parse = |text| PassphraseSource::parse(text).ok_or(CaCommandError::PassphraseSource);
    text.map(parse).transpose()
}

fn read_chain(path: &Path) -> Result<Vec<Certificate>, CliError> {
    Certificate::parse_pem_chain(&read(path)?)
        .map_err(|source| CliError::Chain { path: path.to_owned(), source })
}

/// At most a little more than the readers of certificates and requests take, so that they refuse
/// what is longer.
fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let failed =
        |source| CliError::File { action: FileAction::Read, path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn print(out: &mut dyn Write, text: &str) -> Result<(), CliError> {
    out.write_all(text.as_bytes()).map_err(|source| CliError::Output { source })
}

const MAX_FILE_BYTES: u64 = 1 << 20;

const AFTER_HELP: &str = "\
Example, a root on an offline machine and an issuing CA below it:
  mayfly ca create root --key file:root.key --new-key p384 --passphrase file:root.pass \\
    --organization example.com --common-name 'Example root 2026' --out root.pem
  mayfly ca create intermediate --csr issuing.csr --issuer-cert root.pem \\
    --issuer-key file:root.key --issuer-passphrase file:root.pass \\
    --organization example.com --common-name 'Example issuing CA 2026' --out chain.pem
  mayfly ca plan --config mayfly.yaml

Exit code: 0 it is so, 1 it is not so, 2 could not tell.";
