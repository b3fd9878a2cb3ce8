//! `GET /readyz`: whether a request could be served now, and what does not work, in words.
//!
//! In: the state of every part. Out: 200 or 503, always with the same JSON. What keeps a request
//! from being served stands under `failing`; what will, or does so for some only, under `warnings`:
//! an issuer that cannot be asked harms its own tokens, and taking the process out of service for
//! that would harm all others.

use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::Serialize;

use super::{Watched, json, phase_name};
use crate::{
    ca::{Authority, Phase},
    log::LogStatus,
    oidc::{IssuerState, IssuerStatus},
    time::Timestamp,
};

pub(super) async fn ready(State(watched): State<Watched>) -> Response {
    let readiness = Readiness::of(&watched);
    let ready = readiness.ready;
    let mut response = json(readiness);
    if !ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

#[derive(Serialize)]
struct Readiness {
    /// Nothing is failing.
    ready: bool,
    stopping: bool,
    failing: Vec<Trouble>,
    warnings: Vec<Trouble>,
    authorities: Vec<AuthorityReadiness>,
    log: Option<LogReadiness>,
    audit: AuditReadiness,
    tls: Option<TlsReadiness>,
    issuers: Vec<IssuerReadiness>,
}

/// A part by its name, and what is wrong with it.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Trouble {
    part: String,
    reason: String,
}

#[derive(Serialize)]
struct AuthorityReadiness {
    key: String,
    phase: &'static str,
    valid_until: String,
}

#[derive(Serialize)]
struct LogReadiness {
    size: u64,
    timestamp: String,
    unflushed_entry_tiles: usize,
    clock_alarms: u64,
    stopped: Option<String>,
}

#[derive(Serialize)]
struct AuditReadiness {
    writable: bool,
}

#[derive(Serialize)]
struct TlsReadiness {
    valid_until: String,
}

#[derive(Serialize)]
struct IssuerReadiness {
    name: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_failure: Option<String>,
}

/// What is found while the parts are looked at.
#[derive(Debug, Default)]
struct Troubles {
    failing: Vec<Trouble>,
    warnings: Vec<Trouble>,
}

impl Troubles {
    fn fail(&mut self, part: &str, reason: impl Into<String>) {
        self.failing.push(Trouble { part: part.to_owned(), reason: reason.into() });
    }

    fn warn(&mut self, part: impl Into<String>, reason: impl Into<String>) {
        self.warnings.push(Trouble { part: part.into(), reason: reason.into() });
    }

    fn authorities(&mut self, authorities: &[Authority], now: Timestamp) {
        let in_phase = |phase| authorities.iter().any(|one| one.phase_at(now) == phase);
        if !in_phase(Phase::Active) {
            self.fail("authorities", "none is active, so nothing can be signed");
        }
        for authority in authorities.iter().filter(|one| one.phase_at(now) == Phase::Active) {
            let until = authority.issuer.valid_until();
            if until.ms_since(now) < CHAIN_WARNING_MS {
                let reason = format!("its chain is valid only until {until}");
                self.warn(format!("authority {}", authority.issuer.key_name()), reason);
            }
        }
    }

    fn log(&mut self, status: &LogStatus) {
        if let Some(reason) = &status.stopped {
            self.fail("log", format!("it takes no entries any more: {reason}"));
        }
    }

    fn tls(&mut self, valid_until: Timestamp, refusal: Option<&str>, now: Timestamp) {
        if let Some(error) = refusal {
            self.warn("tls", format!("the last change of its files was refused: {error}"));
        }
        if now > valid_until {
            self.fail("tls", format!("the certificate was valid until {valid_until}"));
        } else if valid_until.ms_since(now) < TLS_WARNING_MS {
            self.warn("tls", format!("the certificate is valid only until {valid_until}"));
        }
    }

    fn issuer(&mut self, status: &IssuerStatus) {
        let failure = status.last_failure.as_ref().map(ToString::to_string);
        let because = failure.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
        let reason = match status.state {
            IssuerState::NeverFetched => format!("its keys were not fetched yet{because}"),
            IssuerState::TooStale { .. } => format!("its keys are too old to trust{because}"),
            IssuerState::Ready { .. } | IssuerState::Wildcard { .. } if failure.is_some() => {
                format!("its keys could not be refreshed{because}")
            }
            IssuerState::Ready { .. } | IssuerState::Wildcard { .. } => return,
        };
        self.warn(format!("issuer {}", status.name), reason);
    }
}

impl Readiness {
    fn of(watched: &Watched) -> Self {
        let Watched { service, tls, in_effect, stopping } = watched;
        let (now, generation) = (service.now(), service.generation());
        let stopping = *stopping.borrow();
        let mut troubles = Troubles::default();
        if stopping {
            troubles.fail("process", "it was told to stop");
        }
        let authorities = generation.ca.authorities();
        troubles.authorities(authorities, now);
        if troubles.failing.is_empty() && !generation.ca.signs_at(now) {
            let reason = "the chain of the one that signs ends within ten minutes, so nothing can be \
                          signed";
            troubles.fail("authorities", reason);
        }
        let log = service.log().map(|log| log.status()).inspect(|status| troubles.log(status));
        let writable = service.audit().is_writable();
        if !writable {
            troubles.fail("audit", "the audit log could not be written, so nothing is issued");
        }
        let tls = tls.as_ref().map(|tls| {
            let refusal = tls.refusal();
            troubles.tls(tls.valid_until(), refusal.as_ref().map(|text| text.as_str()), now);
            tls.valid_until()
        });
        let issuers = generation.issuers.status();
        issuers.iter().for_each(|status| troubles.issuer(status));
        if let Some(error) = in_effect.refusal() {
            troubles.warn("config", format!("the last reload was refused: {error}"));
        }
        Self {
            ready: troubles.failing.is_empty(),
            stopping,
            failing: troubles.failing,
            warnings: troubles.warnings,
            authorities: authorities.iter().map(|one| AuthorityReadiness::of(one, now)).collect(),
            log: log.map(LogReadiness::from),
            audit: AuditReadiness { writable },
            tls: tls.map(|until| TlsReadiness { valid_until: until.to_string() }),
            issuers: issuers.into_iter().map(IssuerReadiness::from).collect(),
        }
    }
}

impl AuthorityReadiness {
    fn of(authority: &Authority, now: Timestamp) -> Self {
        Self {
            key: authority.issuer.key_name().to_owned(),
            phase: phase_name(authority.phase_at(now)),
            valid_until: authority.issuer.valid_until().to_string(),
        }
    }
}

impl From<LogStatus> for LogReadiness {
    fn from(status: LogStatus) -> Self {
        Self {
            size: status.size,
            timestamp: status.timestamp.to_string(),
            unflushed_entry_tiles: status.unflushed_entry_tiles,
            clock_alarms: status.clock_alarms,
            stopped: status.stopped.map(|reason| reason.to_string()),
        }
    }
}

impl From<IssuerStatus> for IssuerReadiness {
    fn from(status: IssuerStatus) -> Self {
        let last_failure = status.last_failure.map(|failure| failure.to_string());
        Self { name: status.name, state: status.state.name(), last_failure }
    }
}

/// Time enough to make another chain and have verifiers learn of it.
const CHAIN_WARNING_MS: u64 = 30 * 86_400_000;
/// Certificates that live for a day only are renewed well before.
const TLS_WARNING_MS: u64 = 6 * 3_600_000;

#[cfg(test)]
#[path = "readiness_tests.rs"]
mod tests;
