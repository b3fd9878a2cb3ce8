//! `mayfly ca show`: what stands in CA certificates.
//!
//! In: a file of certificates, or a configuration. Out: each certificate, for people or scripts.
//! Judges nothing; `mayfly ca verify` does.

use std::{io::Write, path::PathBuf};

use clap::{ArgGroup, Args};
use const_oid::db::rfc5280;
use serde::Serialize;
use serde_json::json;

use super::{print, read_chain};
use crate::{
    ca::{Phase, Planned},
    cli::CliError,
    config::{self, Authority, LoadOptions},
    time::Timestamp,
    x509::Certificate,
};

/// Show CA certificates: names, keys, validity, identifiers, and where in the chain they stand
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
#[command(group = ArgGroup::new("what").args(["file", "config"]).required(true))]
pub(super) struct ShowArguments {
    /// A certificate or a chain, PEM
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The chains of every authority of this configuration
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Allow the published development keys, which everyone has
    #[arg(long, requires = "config")]
    dev: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(
    arguments: &ShowArguments,
    now: Timestamp,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    if let Some(path) = &arguments.config {
        let config = config::load(path, LoadOptions { dev: arguments.dev })?;
        let shown: Vec<ShownAuthority> = config
            .authorities
            .iter()
            .enumerate()
            .map(|(index, authority)| ShownAuthority::of(authority, index + 1, now))
            .collect();
        return if arguments.json {
            print(out, &format!("{:#}\n", json!({ "authorities": shown })))
        } else {
            print(out, &shown.iter().map(ShownAuthority::to_text).collect::<String>())
        };
    }
    let chain = read_chain(arguments.file.as_deref().unwrap_or_else(|| "".as_ref()))?;
    let shown = Shown::chain(&chain);
    if arguments.json {
        print(out, &format!("{:#}\n", json!({ "certificates": shown })))
    } else {
        print(out, &shown.iter().map(Shown::to_text).collect::<String>())
    }
}

/// One certificate.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown {
    position: usize,
    of: usize,
    role: &'static str,
    subject: String,
    issuer: String,
    serial: String,
    key: String,
    not_before: String,
    not_after: String,
    path_length: Option<u8>,
    code_signing: &'static str,
    subject_key_id: Option<String>,
    authority_key_id: Option<String>,
    sha256: String,
}

impl Shown {
    /// The certificates of a file, in their order.
    pub(super) fn chain(chain: &[Certificate]) -> Vec<Self> {
        let of = chain.len();
        let shown = |(index, ca): (usize, &Certificate)| Self {
            position: index + 1,
            of,
            role: role(ca, index),
            subject: ca.subject().to_owned(),
            issuer: ca.issuer().to_owned(),
            serial: hex::encode(ca.serial()),
            key: ca
                .key_algorithm()
                .map_or("of an unknown kind".to_owned(), |kind| kind.to_string()),
            not_before: ca.not_before().to_string(),
            not_after: ca.not_after().to_string(),
            path_length: ca.path_len(),
            code_signing: code_signing(ca),
            subject_key_id: ca.subject_key_id().map(hex::encode),
            authority_key_id: ca.authority_key_id().map(hex::encode),
            sha256: hex::encode(ca.fingerprint()),
        };
        chain.iter().enumerate().map(shown).collect()
    }

    /// As a person reads it.
    pub(super) fn to_text(&self) -> String {
        let Self { position, of, role, subject, issuer, serial, key, .. } = self;
        let Self { not_before, not_after, code_signing, sha256, .. } = self;
        let or_none = |id: &Option<String>| id.clone().unwrap_or_else(|| "none".to_owned());
        let path_length = self.path_length.map_or("any".to_owned(), |length| length.to_string());
        let (subject, issuer) = (printable(subject), printable(issuer));
        let (own, above) = (or_none(&self.subject_key_id), or_none(&self.authority_key_id));
        format!(
            "certificate   {position} of {of}: {role}\n\
             \x20 subject       {subject}\n\
             \x20 issuer        {issuer}\n\
             \x20 serial        {serial}\n\
             \x20 key           {key}\n\
             \x20 valid         {not_before} to {not_after}\n\
             \x20 path length   {path_length}\n\
             \x20 code signing  {code_signing}\n\
             \x20 key id        {own}\n\
             \x20 issuer's id   {above}\n\
             \x20 sha256        {sha256}\n"
        )
    }
}

/// Whoever wrote the certificate shall not write on the terminal what they like.
fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() { c.escape_unicode().to_string() } else { c.into() };
    text.chars().map(shown).collect()
}

/// By what it says of itself and by its place; whether that is true is not looked at, the signature
/// of a root apart.
fn role(ca: &Certificate, index: usize) -> &'static str {
    match (ca.is_ca(), ca.is_self_signed(), index) {
        (false, ..) => "no CA",
        (true, true, _) => "root",
        (true, false, 0) => "issuing CA",
        (true, false, _) => "intermediate CA",
    }
}

fn code_signing(ca: &Certificate) -> &'static str {
    match ca.extended_key_usages() {
        None => "not limited to any purpose",
        Some([only]) if *only == rfc5280::ID_KP_CODE_SIGNING => "only",
        Some(_) if ca.allows_code_signing() => "among others",
        Some(_) => "no",
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownAuthority {
    position: usize,
    key: String,
    chain: String,
    phase: &'static str,
    activate: Option<String>,
    retire: Option<String>,
    certificates: Vec<Shown>,
}

impl ShownAuthority {
    fn of(authority: &Authority, position: usize, now: Timestamp) -> Self {
        let Authority { key, chain, chain_path, activate, retire, .. } = authority;
        let planned = Planned::new(chain, *activate, *retire);
        Self {
            position,
            key: key.to_string(),
            chain: chain_path.display().to_string(),
            phase: phase_name(planned.phase_at(now)),
            activate: activate.map(|at| at.to_string()),
            retire: retire.map(|at| at.to_string()),
            certificates: Shown::chain(chain),
        }
    }

    fn to_text(&self) -> String {
        let Self { position, key, chain, phase, certificates, .. } = self;
        let mut text = format!("authority     {position}: {phase}, key {key}, chain {chain}\n");
        for (what, at) in [("signs from", &self.activate), ("signs until", &self.retire)] {
            if let Some(at) = at {
                text += &format!("  {what:<13} {at}\n");
            }
        }
        text.extend(certificates.iter().map(Shown::to_text));
        text
    }
}

/// As metrics and readiness name it.
pub(super) fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Pending => "pending",
        Phase::Active => "active",
        Phase::Retired => "retired",
        Phase::Gone => "gone",
    }
}

const AFTER_HELP: &str = "\
Example:
  mayfly ca show chain.pem
  mayfly ca show --config mayfly.yaml --json

Exit code: 0 shown, 1 it is no certificate or the configuration has mistakes, 2 could not tell.";
