//! `mayfly ca rotate`: writes the next authority into a configuration; the rest is left to the clock.
//!
//! In: a configuration, the next key and its chain, a time. Out: the configuration's file with that
//! authority in it and every other byte as it was, or why not. What [`plan`](super::plan) would call
//! a mistake, and a key that does not sign for its chain, is found before anything is written.

use std::io::Write;

use clap::Args;
use serde_json::json;

use super::{
    CaCommandError, create::lifetime_seconds, new_files::replace_file, passphrase_source,
    plan::Told, print, read,
};
use crate::{
    ca::{
        Planned,
        plan::{Plan, plan},
    },
    cli::{CliError, configuration::Configuration},
    config::{
        self, Authority, Config,
        edit::{EditError, NextAuthority, Retirement, add_authority},
    },
    serve,
    telemetry::metrics::Metrics,
    time::Timestamp,
};

/// Write the next issuing CA into the configuration, to sign from some time on
///
/// The file is replaced in one step and keeps every byte that it had; the authority that signs until
/// then gets the same time as its `retire`. Nothing is written unless the plan has no mistake, key
/// and chain belong together, and the key signs. A running server takes the file up by itself.
///
/// `activate` is a week away unless it is said: by then every verifier that fetches what it trusts
/// at least once in six days knows the new chain.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct RotateArguments {
    #[command(flatten)]
    configuration: Configuration,
    /// The next key, as it is to stand in the file: relative paths begin at the file's folder
    #[arg(long, value_name = "URI")]
    key: String,
    /// The chain of that key, as it is to stand in the file: issuing CA first, root last
    #[arg(long, value_name = "FILE")]
    chain: String,
    /// The key's passphrase or PIN, as it is to stand in the file: env:NAME or file:PATH
    #[arg(long, value_name = "SOURCE")]
    passphrase: Option<String>,
    /// From when on it signs, such as 2027-06-01T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse_rfc3339)]
    activate: Option<Timestamp>,
    /// From when on it signs, such as 36h or 14d from now [default: 7d]
    #[arg(long, value_name = "DURATION", conflicts_with = "activate", value_parser = lifetime_seconds)]
    activate_in: Option<u64>,
    /// Leave the authority that signs until then without a time to retire: it stays trusted until
    /// its chain ends
    #[arg(long)]
    keep: bool,
    /// Check everything and say what would be, but write nothing
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    arguments: &RotateArguments,
    now: Timestamp,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    passphrase_source(arguments.passphrase.as_deref())?;
    let path = arguments.configuration.path();
    let activate = arguments.activate(now);
    let by_hand = |source| CaCommandError::ByHand { path: path.to_owned(), source };
    let before = read(path)?;
    let text = String::from_utf8(before).map_err(|_| by_hand(EditError::NotUnderstood))?;
    let current = arguments.load(text.clone())?;
    let retirement = arguments.retirement(&current, activate, now);
    let changed = add_authority(&text, &arguments.next(activate), retirement).map_err(by_hand)?;
    let Config { mut authorities, dev, .. } = arguments.load(changed.clone())?;
    let (told, mistakes) = arguments.tell(&authorities, now);
    if mistakes > 0 {
        print(out, &told)?;
        return Err(CaCommandError::Plan { count: mistakes }.into());
    }
    // The last one, which was added.
    if let Some(next) = authorities.pop() {
        prove(next, now, dev).await?;
    }
    if !arguments.dry_run {
        replace_file(path, text.as_bytes(), changed.as_bytes())?;
    }
    print(out, &told)
}

impl RotateArguments {
    /// Whole minutes are easier to speak of.
    fn activate(&self, now: Timestamp) -> Timestamp {
        let notice_seconds = self.activate_in.unwrap_or(NOTICE_SECONDS);
        let minutes = (now.unix_seconds().saturating_add(notice_seconds)).div_ceil(60);
        self.activate.unwrap_or(Timestamp::from_unix_seconds(minutes.saturating_mul(60)))
    }

    fn next(&self, activate: Timestamp) -> NextAuthority {
        let Self { key, passphrase, chain, .. } = self;
        let (key, passphrase, chain) = (key.clone(), passphrase.clone(), chain.clone());
        NextAuthority { key, passphrase, chain, activate }
    }

    /// Of the authority that signs when the next one takes over, unless it has a time to retire.
    fn retirement(&self, current: &Config, at: Timestamp, now: Timestamp) -> Option<Retirement> {
        let planned = planned(&current.authorities);
        let Plan { shifts, .. } = plan(&planned, now);
        // A shift ends where it finds no one to follow it, or with its chain: then the next one
        // takes over at once, or too late, which is a mistake of the plan.
        let shift = shifts.iter().rfind(|shift| shift.from < at)?;
        let authority = current.authorities.get(shift.authority.checked_sub(1)?)?;
        let retires = !self.keep && authority.retire.is_none() && shift.until >= at;
        retires.then_some(Retirement { position: shift.authority, at })
    }

    fn load(&self, text: String) -> Result<Config, CliError> {
        let configuration = &self.configuration;
        Ok(config::load_text(configuration.path(), text, configuration.options())?)
    }

    /// The plan, for people or scripts, and how many mistakes it has: nothing is written then.
    fn tell(&self, authorities: &[Authority], now: Timestamp) -> (String, usize) {
        let planned = planned(authorities);
        let plan = plan(&planned, now);
        let mistakes = plan.mistakes.len();
        let told = Told { authorities, planned: &planned, plan: &plan, at: now };
        let written = mistakes == 0 && !self.dry_run;
        let path = self.configuration.path().display();
        if self.json {
            let mut told = told.to_json();
            told["written"] = json!(written);
            return (format!("{told:#}\n"), mistakes);
        }
        let tail = match (written, mistakes) {
            (true, _) => format!("written       {path}; a running server takes it up by itself\n"),
            (false, 0) => format!("not written   {path}, because of --dry-run\n"),
            (false, _) => String::new(),
        };
        (told.to_text() + &tail, mistakes)
    }
}

fn planned(authorities: &[Authority]) -> Vec<Planned<'_>> {
    let authorities = authorities.iter();
    authorities.map(|one| Planned::new(&one.chain, one.activate, one.retire)).collect()
}

/// Opens the key as `serve` will, and has it sign once.
async fn prove(next: Authority, now: Timestamp, dev: bool) -> Result<(), CaCommandError> {
    // Nobody reads the counts of a command that ends.
    let opened = serve::open_authority(next, now, dev, &Metrics::new()).await;
    opened.map(drop).map_err(|source| CaCommandError::Key { source })
}

/// Ours: a day for verifiers that fetch what they trust daily, and as much again for each day on
/// which publishing it fails or nobody is there.
const NOTICE_SECONDS: u64 = 7 * 24 * 60 * 60;

const AFTER_HELP: &str = "\
Example, after 'mayfly ca create' has made keys/issuing-2027.key and keys/chain-2027.pem:
  mayfly ca rotate --config mayfly.yaml --key file:keys/issuing-2027.key \\
    --chain keys/chain-2027.pem --dry-run

Exit code: 0 written, or with --dry-run could be, 1 it would be a mistake, 2 could not be done.";
