//! `mayfly ca plan`: what the authorities of a configuration will do, and every mistake in it.
//!
//! In: a configuration and a time. Out: the timeline of [`crate::ca::plan`]. Opens no key.

use std::io::Write;

use clap::Args;
use serde_json::{Value, json};

use super::{CaCommandError, print, show::phase_name};
use crate::{
    ca::{
        Planned,
        plan::{Deadline, Event, EventKind, Plan, plan},
    },
    cli::{CliError, configuration::Configuration},
    config::Authority,
    time::Timestamp,
};

/// Say who will sign when, who is in the trust bundle when, and what verifiers must have by when
///
/// Reads the configuration and its chains; no key is opened.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct PlanArguments {
    #[command(flatten)]
    configuration: Configuration,
    /// As it would be said then, such as 2026-11-20T00:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse_rfc3339)]
    at: Option<Timestamp>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(
    arguments: &PlanArguments,
    now: Timestamp,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let at = arguments.at.unwrap_or(now);
    let configuration = arguments.configuration.load()?;
    let authorities = &configuration.authorities;
    let planned: Vec<Planned<'_>> = authorities
        .iter()
        .map(|authority| Planned::new(&authority.chain, authority.activate, authority.retire))
        .collect();
    let plan = plan(&planned, at);
    let told = Told { authorities, planned: &planned, plan: &plan, at };
    let text = if arguments.json { format!("{:#}\n", told.to_json()) } else { told.to_text() };
    print(out, &text)?;
    match plan.mistakes.len() {
        0 => Ok(()),
        count => Err(CaCommandError::Plan { count }.into()),
    }
}

/// A plan with the names that stand in the configuration.
pub(super) struct Told<'a> {
    pub(super) authorities: &'a [Authority],
    pub(super) planned: &'a [Planned<'a>],
    pub(super) plan: &'a Plan,
    pub(super) at: Timestamp,
}

impl Told<'_> {
    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        for (index, authority) in self.authorities.iter().enumerate() {
            let phase = self.planned.get(index).map_or("", |one| phase_name(one.phase_at(self.at)));
            let (position, subject) = (index + 1, self.subject(index + 1));
            let key = &authority.key;
            text += &format!("authority {position}   {subject}\n              {key}, {phase}\n");
        }
        for Event { at, kind, authority } in &self.plan.events {
            // With milliseconds, where there are any, 24 columns.
            let (at, what) = (at.to_string(), in_words(*kind));
            text += &format!("{at:<24}  authority {authority} {what}\n");
        }
        for Deadline { authority, by } in &self.plan.deadlines {
            let sha256 = self.fingerprints(*authority).join(", ");
            text += &format!(
                "verifiers     must have the chain of authority {authority} by {by}\n              \
                 sha256 {sha256}\n"
            );
        }
        for warning in &self.plan.warnings {
            text += &format!("warning       {warning}\n");
        }
        for mistake in &self.plan.mistakes {
            text += &format!("mistake       {mistake}\n");
        }
        text
    }

    pub(super) fn to_json(&self) -> Value {
        let authorities = self.authorities.iter().enumerate().map(|(index, authority)| {
            let planned = self.planned.get(index);
            json!({
                "position": index + 1,
                "subject": self.subject(index + 1),
                "key": authority.key.to_string(),
                "phase": planned.map(|one| phase_name(one.phase_at(self.at))),
                "activate": authority.activate.map(|at| at.to_string()),
                "retire": authority.retire.map(|at| at.to_string()),
                "chainExpires": planned.map(|one| one.valid_until.to_string()),
            })
        });
        let events = self.plan.events.iter().map(|Event { at, kind, authority }| {
            json!({ "at": at.to_string(), "authority": authority, "event": in_json(*kind) })
        });
        let deadlines = self.plan.deadlines.iter().map(|Deadline { authority, by }| {
            json!({
                "authority": authority,
                "by": by.to_string(),
                "subject": self.subject(*authority),
                "sha256": self.fingerprints(*authority),
            })
        });
        let texts = |found: &mut dyn Iterator<Item = String>| found.collect::<Vec<_>>();
        json!({
            "at": self.at.to_string(),
            "authorities": authorities.collect::<Vec<_>>(),
            "events": events.collect::<Vec<_>>(),
            "verifiersNeed": deadlines.collect::<Vec<_>>(),
            "warnings": texts(&mut self.plan.warnings.iter().map(ToString::to_string)),
            "mistakes": texts(&mut self.plan.mistakes.iter().map(ToString::to_string)),
        })
    }

    fn subject(&self, position: usize) -> &str {
        let chain = self.authorities.get(position - 1).map(|authority| &authority.chain);
        chain.and_then(|chain| chain.first()).map_or("", |issuing| issuing.subject())
    }

    /// Of the whole chain, issuing CA first.
    fn fingerprints(&self, position: usize) -> Vec<String> {
        let chain = self.authorities.get(position - 1).map(|authority| authority.chain.iter());
        chain.into_iter().flatten().map(|ca| hex::encode(ca.fingerprint())).collect()
    }
}

fn in_words(kind: EventKind) -> &'static str {
    match kind {
        EventKind::InTrustBundle => "is in the trust bundle of servers with this configuration",
        EventKind::StopsSigning => "signs no more",
        EventKind::StartsSigning => "signs",
        EventKind::LastCertificateExpires => "has no valid certificate any more",
        EventKind::LeavesTrustBundle => "leaves the trust bundle",
        EventKind::ChainExpires => "has expired: no server starts or reloads with it from then on",
    }
}

fn in_json(kind: EventKind) -> &'static str {
    match kind {
        EventKind::InTrustBundle => "inTrustBundle",
        EventKind::StopsSigning => "stopsSigning",
        EventKind::StartsSigning => "startsSigning",
        EventKind::LastCertificateExpires => "lastCertificateExpires",
        EventKind::LeavesTrustBundle => "leavesTrustBundle",
        EventKind::ChainExpires => "chainExpires",
    }
}

const AFTER_HELP: &str = "\
Example, before a configuration is put into effect:
  mayfly ca plan --config mayfly.yaml

Exit code: 0 no mistake, 1 it has mistakes, 2 could not tell.";
