//! What a set of authorities will do, and every mistake in it, before it is in effect.
//!
//! In: chains with activation and retirement times, and a time. Out: a [`Plan`]. Knows nothing of
//! keys, files and clocks. Who signs and who is trusted when is decided by the same code as in
//! [`CaSet`](super::CaSet); here it is only asked for all times at once.

use super::{
    CaSetError, ChainError, LEAF_LIFETIME_SECONDS, Phase, Planned, chain,
    set::{conflicts, signing_index},
};
use crate::{
    time::Timestamp,
    x509::{Certificate, ClientKeyAlgorithm},
};

/// The life of a set of authorities from some time on. Positions count from 1, as configured.
#[derive(Debug)]
pub struct Plan {
    /// In the order in which they happen.
    pub events: Vec<Event>,
    /// Who signs when, from the beginning of time on; never two at once.
    pub shifts: Vec<Shift>,
    /// What verifiers must have by when, earliest first.
    pub deadlines: Vec<Deadline>,
    /// For each of these the plan should not be put into effect.
    pub mistakes: Vec<PlanMistake>,
    /// What may be meant so, and often is not.
    pub warnings: Vec<PlanWarning>,
}

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: EventKind,
    /// To which authority.
    pub authority: usize,
}

/// What can happen to an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventKind {
    /// Verifiers that ask a server with this configuration learn of it.
    InTrustBundle,
    /// Another takes over, it retires, or its chain does not cover another certificate.
    StopsSigning,
    /// It is the one that signs.
    StartsSigning,
    /// Nothing that it signed is valid any more.
    LastCertificateExpires,
    /// Verifiers need it no more.
    LeavesTrustBundle,
    /// A server that finds it configured after this does not start.
    ChainExpires,
}

/// A time in which one authority signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift {
    /// Which one.
    pub authority: usize,
    /// The first instant.
    pub from: Timestamp,
    /// The first instant that does not belong to it.
    pub until: Timestamp,
}

/// When an authority's chain must be with every verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// Which one.
    pub authority: usize,
    /// When it first signs.
    pub by: Timestamp,
}

/// Why a plan should not be put into effect. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PlanMistake {
    /// They cannot stand beside each other: no server takes them.
    #[error(transparent)]
    Conflict(#[from] CaSetError),
    /// No server takes this chain, or clients do not.
    #[error("authority {authority}: {fault}")]
    Chain {
        /// Whose.
        authority: usize,
        /// What is wrong with it.
        fault: ChainError,
    },
    /// Requests are refused.
    #[error("nobody signs from {from} {}: let the spans of two authorities meet", ending(.until))]
    NobodySigns {
        /// From when on.
        from: Timestamp,
        /// Until when; `None`: for good.
        until: Option<Timestamp>,
    },
    /// Its last certificates would outlive the chain, so they are refused.
    #[error(
        "authority {authority} retires at {retire}, but its chain expires at {chain_ends}: from ten \
         minutes before that it cannot sign; retire it earlier, or renew the certificate"
    )]
    RetiresTooLate {
        /// Which one.
        authority: usize,
        /// As configured.
        retire: Timestamp,
        /// When the first certificate of its chain ends.
        chain_ends: Timestamp,
    },
    /// It does nothing but stand in the trust bundle.
    #[error(
        "authority {authority} never signs: its chain expires or another takes over before its \
         turn; remove it, or change 'activate'"
    )]
    NeverSigns {
        /// Which one.
        authority: usize,
    },
}

/// What may be meant so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanWarning {
    /// Verifiers that did not hear of it refuse what it signs.
    #[error(
        "authority {authority} signs from {from}, less than a day from now: verifiers that fetch \
         what they trust once a day do not know it by then; activate it later"
    )]
    ShortNotice {
        /// Which one.
        authority: usize,
        /// When it first signs.
        from: Timestamp,
    },
    /// Its key is worth stealing for longer than it is of use.
    #[error(
        "authority {authority} signs only until {signs_until} but is trusted until \
         {trusted_until}: give it 'retire: {signs_until}'"
    )]
    StaysTrusted {
        /// Which one.
        authority: usize,
        /// When its last shift ends.
        signs_until: Timestamp,
        /// When it leaves the trust bundle.
        trusted_until: Timestamp,
    },
    /// No fault: RFC 5280 allows it, and clients take it.
    #[error(
        "authority {authority}: certificate {position} of the chain has a P-384 key, but the one \
         above it signs with P-256: the chain is no stronger than that"
    )]
    WeakerIssuer {
        /// Whose chain.
        authority: usize,
        /// Which certificate in it, counted from 1.
        position: usize,
    },
    /// The one that took over goes first.
    #[error("authority {authority} signs again from {from}, after another took over from it")]
    ComesBack {
        /// Which one.
        authority: usize,
        /// From when on.
        from: Timestamp,
    },
    /// Time to plan the next.
    #[error("nobody signs after {at}, less than 30 days from now: add the next authority")]
    EndsSoon {
        /// When the last shift ends.
        at: Timestamp,
    },
}

/// Works out what these authorities, in the order in which they are configured, do from `now` on.
pub fn plan(authorities: &[Planned<'_>], now: Timestamp) -> Plan {
    let shifts = shifts(authorities);
    Plan {
        events: events(authorities, &shifts, now),
        deadlines: deadlines(&shifts, now),
        mistakes: mistakes(authorities, &shifts, now),
        warnings: warnings(authorities, &shifts, now),
        shifts,
    }
}

/// Between two of the times at which anything changes nothing changes, so one question for each
/// span answers for all of it.
fn shifts(authorities: &[Planned<'_>]) -> Vec<Shift> {
    let mut changes = vec![Timestamp::from_unix_ms(0)];
    for authority in authorities {
        changes.extend(authority.activate);
        changes.extend(authority.retire);
        changes.push(authority.signs_no_more_from());
        // Gone: an older one that is still active comes back.
        changes.push(authority.gone_from());
    }
    changes.sort_unstable();
    changes.dedup();
    let mut shifts: Vec<Shift> = Vec::new();
    for span in changes.windows(2) {
        let &[from, until] = span else { continue };
        let signing = signing_index(authorities.iter().copied(), from)
            .filter(|index| from < authorities[*index].signs_no_more_from());
        let Some(index) = signing else { continue };
        let authority = index + 1;
        match shifts.last_mut() {
            Some(last) if last.authority == authority && last.until == from => last.until = until,
            _ => shifts.push(Shift { authority, from, until }),
        }
    }
    shifts
}

fn events(authorities: &[Planned<'_>], shifts: &[Shift], now: Timestamp) -> Vec<Event> {
    let mut events = Vec::new();
    for (index, planned) in authorities.iter().enumerate() {
        let authority = index + 1;
        let mut add = |at, kind| events.push(Event { at, kind, authority });
        let own = || shifts.iter().filter(move |shift| shift.authority == authority);
        if planned.phase_at(now) != Phase::Gone {
            add(now, EventKind::InTrustBundle);
            add(planned.last_certificate_expires(), EventKind::LeavesTrustBundle);
        }
        for shift in own().filter(|shift| shift.until > now) {
            add(shift.from.max(now), EventKind::StartsSigning);
            add(shift.until, EventKind::StopsSigning);
        }
        if let Some(last) = own().next_back() {
            add(last_certificate_of(planned, last), EventKind::LastCertificateExpires);
        }
        add(planned.valid_until, EventKind::ChainExpires);
    }
    events.retain(|event| event.at >= now);
    events.sort_unstable();
    events
}

fn last_certificate_of(authority: &Planned<'_>, last: &Shift) -> Timestamp {
    authority.valid_until.min(last.until.plus_ms(LEAF_LIFETIME_SECONDS * 1000))
}

fn deadlines(shifts: &[Shift], now: Timestamp) -> Vec<Deadline> {
    let mut deadlines: Vec<Deadline> = Vec::new();
    for shift in shifts.iter().filter(|shift| shift.until > now) {
        if deadlines.iter().all(|deadline| deadline.authority != shift.authority) {
            let by = shift.from.max(now);
            deadlines.push(Deadline { authority: shift.authority, by });
        }
    }
    deadlines
}

fn mistakes(authorities: &[Planned<'_>], shifts: &[Shift], now: Timestamp) -> Vec<PlanMistake> {
    let conflicts = conflicts(authorities);
    let stand_together = conflicts.is_empty();
    let mut found: Vec<PlanMistake> = conflicts.into_iter().map(PlanMistake::Conflict).collect();
    for (index, planned) in authorities.iter().enumerate() {
        let authority = index + 1;
        let faults = chain::faults(planned.chain, now).into_iter();
        found.extend(faults.map(|fault| PlanMistake::Chain { authority, fault }));
        if let Some(retire) = planned.retire.filter(|retire| *retire > planned.signs_no_more_from())
        {
            let chain_ends = planned.valid_until;
            found.push(PlanMistake::RetiresTooLate { authority, retire, chain_ends });
        }
        // Of two that stand in each other's way the conflict is said already.
        if stand_together && shifts.iter().all(|shift| shift.authority != authority) {
            found.push(PlanMistake::NeverSigns { authority });
        }
    }
    found.extend(gaps(shifts, now));
    found
}

/// When nobody signs, from `now` until the last shift has begun; that one ends some day.
fn gaps(shifts: &[Shift], now: Timestamp) -> Vec<PlanMistake> {
    let mut gaps = Vec::new();
    let mut covered_until = now;
    let mut to_come = shifts.iter().filter(|shift| shift.until > now).peekable();
    if to_come.peek().is_none() {
        gaps.push(PlanMistake::NobodySigns { from: now, until: None });
    }
    for shift in to_come {
        if shift.from > covered_until {
            let until = Some(shift.from);
            gaps.push(PlanMistake::NobodySigns { from: covered_until, until });
        }
        covered_until = shift.until;
    }
    gaps
}

fn warnings(authorities: &[Planned<'_>], shifts: &[Shift], now: Timestamp) -> Vec<PlanWarning> {
    let mut found = Vec::new();
    for (index, planned) in authorities.iter().enumerate() {
        let authority = index + 1;
        let weaker = weaker_issuers(planned.chain).into_iter();
        found.extend(weaker.map(|position| PlanWarning::WeakerIssuer { authority, position }));
        let mut own = shifts.iter().filter(|shift| shift.authority == authority);
        let Some(first) = own.next() else { continue };
        let again: Vec<&Shift> = own.collect();
        if first.from > now && first.from.ms_since(now) < NOTICE_MS {
            found.push(PlanWarning::ShortNotice { authority, from: first.from });
        }
        let to_come = again.iter().filter(|shift| shift.from > now);
        found.extend(to_come.map(|shift| PlanWarning::ComesBack { authority, from: shift.from }));
        let last = again.last().copied().unwrap_or(first);
        let (signs_until, trusted_until) = (last.until, planned.last_certificate_expires());
        if planned.gone_from() > now && trusted_until > last_certificate_of(planned, last) {
            let trusted = PlanWarning::StaysTrusted { authority, signs_until, trusted_until };
            found.push(trusted);
        }
    }
    let end = shifts.last().map(|last| last.until).filter(|end| *end > now);
    if let Some(at) = end.filter(|end| end.ms_since(now) < NEXT_AUTHORITY_MS) {
        found.push(PlanWarning::EndsSoon { at });
    }
    found
}

/// The positions of certificates whose key is stronger than the key that signed them.
fn weaker_issuers(chain: &[Certificate]) -> Vec<usize> {
    let is = |ca: &Certificate, kind| ca.key_algorithm() == Some(kind);
    let pairs = chain.windows(2).enumerate();
    let weaker = pairs.filter(|(_, pair)| {
        is(&pair[0], ClientKeyAlgorithm::EcdsaP384) && is(&pair[1], ClientKeyAlgorithm::EcdsaP256)
    });
    weaker.map(|(index, _)| index + 1).collect()
}

fn ending(until: &Option<Timestamp>) -> String {
    match until {
        Some(until) => format!("until {until}"),
        None => "on".to_owned(),
    }
}

/// Ours: enough for verifiers that fetch what they trust once a day.
const NOTICE_MS: u64 = 24 * 60 * 60 * 1000;
/// Ours, as readiness warns of a chain that ends.
const NEXT_AUTHORITY_MS: u64 = 30 * 24 * 60 * 60 * 1000;

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
