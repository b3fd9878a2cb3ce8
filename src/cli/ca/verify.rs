//! `mayfly ca verify`: whether a chain, and a key, are what `mayfly serve` would take.
//!
//! In: a chain, perhaps its key, a time. Out: that it holds, or every rule that it breaks.

use std::{io::Write, path::PathBuf};

use clap::Args;
use serde_json::json;

use super::{CaCommandError, open_key, print, read_chain};
use crate::{
    ca,
    cli::{CliError, error::with_causes},
    keys::KeyUri,
    time::Timestamp,
};

/// Check a chain, and that a key belongs to it, as `mayfly serve` would
///
/// With --key the key signs once, and the signature is verified under the chain's first certificate.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct VerifyArguments {
    /// The chain, PEM: issuing CA first, root last
    #[arg(long, value_name = "FILE")]
    chain: PathBuf,
    /// The key of its first certificate, such as file:issuing.key
    #[arg(long, value_name = "URI")]
    key: Option<KeyUri>,
    /// The key's passphrase: env:NAME or file:PATH
    #[arg(long, value_name = "SOURCE", requires = "key")]
    passphrase: Option<String>,
    /// When, such as 2026-11-20T00:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse_rfc3339)]
    at: Option<Timestamp>,
    /// Allow the published development keys, which everyone has
    #[arg(long, requires = "key")]
    dev: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    arguments: &VerifyArguments,
    now: Timestamp,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let VerifyArguments { chain: path, key, passphrase, at, dev, json } = arguments;
    let at = at.unwrap_or(now);
    let chain = read_chain(path)?;
    let signer = match key {
        Some(uri) => Some(open_key(uri, passphrase.as_deref(), *dev).await?),
        None => None,
    };
    let faults = ca::chain_faults(&chain, signer.as_deref(), at).await;
    let told: Vec<String> = faults.iter().map(|fault| with_causes(fault)).collect();
    let text = if *json {
        let key = signer.as_ref().map(|signer| signer.name());
        let value =
            json!({ "holds": told.is_empty(), "at": at.to_string(), "key": key, "faults": told });
        format!("{value:#}\n")
    } else if told.is_empty() {
        let with_key = if signer.is_some() { ", and the key is its key" } else { "" };
        format!("the chain holds at {at}{with_key}\n")
    } else {
        told.iter().map(|fault| format!("fault  {fault}\n")).collect()
    };
    print(out, &text)?;
    match told.len() {
        0 => Ok(()),
        count => Err(CaCommandError::Chain { count }.into()),
    }
}

const AFTER_HELP: &str = "\
Example:
  mayfly ca verify --chain chain.pem --key file:issuing.key

Exit code: 0 it holds, 1 it does not, 2 could not tell.";
