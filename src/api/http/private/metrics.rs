//! `GET /metrics`: the text exposition format of Prometheus.
//!
//! In: what the process counted, and how its parts stand at this moment. Out: text. Labels are
//! names from the configuration and constants, never text of a request (NT-61).

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode};

use super::{Watched, phase_name, with_type};
use crate::{
    ca::{Authority, Phase},
    log::LogStatus,
    oidc::{IssuerState, IssuerStatus},
    telemetry::scrape::{CONTENT_TYPE, Scrape, ScrapeError},
    time::Timestamp,
};

pub(super) async fn metrics(State(watched): State<Watched>) -> Response {
    match text(&watched) {
        Ok(text) => with_type(HeaderValue::from_static(CONTENT_TYPE), text),
        Err(error) => {
            tracing::error!(cause = %error, "the metrics could not be put together");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn text(watched: &Watched) -> Result<Vec<u8>, ScrapeError> {
    let Watched { service, tls, .. } = watched;
    let generation = service.generation();
    let now = service.now();
    let scrape = Scrape::of_this_process()?;
    let version = [([env!("CARGO_PKG_VERSION")], 1.0)];
    scrape.gauges("mayfly_build_info", "1, with the version", ["version"], version)?;
    let load = service.load();
    let help = "Issuances under way";
    scrape.gauge("mayfly_issuances_in_flight", help, load.in_flight as f64)?;
    let help = "Issuances that may be under way at once; the next is answered 429";
    scrape.gauge("mayfly_issuances_in_flight_limit", help, load.limit as f64)?;
    let help = "1 if a good request could be served now";
    scrape.gauge("mayfly_can_issue", help, f64::from(service.can_issue()))?;
    let help = "1 as long as every line of the audit log could be written";
    scrape.gauge("mayfly_audit_writable", help, f64::from(service.audit().is_writable()))?;
    if let Some(log) = service.log() {
        of_log(&scrape, &log.status())?;
    }
    if let Some(tls) = tls {
        let help = "When the certificate of the public port ends";
        let name = "mayfly_tls_not_after_timestamp_seconds";
        scrape.gauge(name, help, seconds(tls.valid_until()))?;
    }
    of_authorities(&scrape, generation.ca.authorities(), now)?;
    of_issuers(&scrape, &generation.issuers.status())?;
    scrape.text(service.metrics())
}

fn of_log(scrape: &Scrape, status: &LogStatus) -> Result<(), ScrapeError> {
    for (name, help, value) in [
        ("mayfly_log_size", "Entries that are committed", status.size as f64),
        (
            "mayfly_log_checkpoint_timestamp_seconds",
            "When the latest checkpoint was signed",
            seconds(status.timestamp),
        ),
        (
            "mayfly_log_unflushed_entry_tiles",
            "Full tiles of entries that wait to be written",
            status.unflushed_entry_tiles as f64,
        ),
        (
            "mayfly_log_stopped",
            "1 if the log takes no entries any more",
            f64::from(status.stopped.is_some()),
        ),
    ] {
        scrape.gauge(name, help, value)?;
    }
    let help = "Times that entries were refused because the clock was behind the log";
    scrape.counter("mayfly_log_clock_alarms_total", help, status.clock_alarms as f64)
}

fn of_authorities(
    scrape: &Scrape,
    authorities: &[Authority],
    now: Timestamp,
) -> Result<(), ScrapeError> {
    let phases = authorities.iter().flat_map(|authority| {
        let (key, current) = (authority.issuer.key_name(), authority.phase_at(now));
        PHASES.map(|phase| ([key, phase_name(phase)], f64::from(phase == current)))
    });
    let help = "1 for the phase that an authority is in";
    scrape.gauges("mayfly_authority_phase", help, ["key", "phase"], phases)?;
    let ends = authorities.iter();
    let ends = ends.map(|one| ([one.issuer.key_name()], seconds(one.issuer.valid_until())));
    let help = "When the first certificate of an authority's chain ends";
    scrape.gauges("mayfly_authority_not_after_timestamp_seconds", help, ["key"], ends)
}

fn of_issuers(scrape: &Scrape, issuers: &[IssuerStatus]) -> Result<(), ScrapeError> {
    let states = issuers.iter().flat_map(|status| {
        let current = status.state.name();
        IssuerState::NAMES.map(|name| ([status.name.as_str(), name], f64::from(name == current)))
    });
    let help = "1 for the state that an issuer's keys are in";
    scrape.gauges("mayfly_issuer_state", help, ["issuer", "state"], states)?;
    let ages = issuers.iter().filter_map(|status| match status.state {
        IssuerState::Ready { age_ms, .. } | IssuerState::TooStale { age_ms } => {
            Some(([status.name.as_str()], age_ms as f64 / 1000.0))
        }
        IssuerState::NeverFetched | IssuerState::Wildcard { .. } => None,
    });
    let help = "Age of the keys that an issuer's tokens are verified with";
    scrape.gauges("mayfly_issuer_keys_age_seconds", help, ["issuer"], ages)?;
    let failures = issuers.iter();
    let failures =
        failures.map(|status| ([status.name.as_str()], f64::from(status.failures_in_a_row)));
    let help = "Fetches of an issuer's keys that failed since the last good one";
    scrape.gauges("mayfly_issuer_fetch_failures_in_a_row", help, ["issuer"], failures)?;
    let known = issuers.iter().filter_map(|status| match status.state {
        IssuerState::Wildcard { issuers } => Some(([status.name.as_str()], issuers as f64)),
        _ => None,
    });
    let help = "Issuers that a pattern let in and whose keys are held";
    scrape.gauges("mayfly_wildcard_issuers", help, ["issuer"], known)
}

fn seconds(at: Timestamp) -> f64 {
    at.unix_ms() as f64 / 1000.0
}

const PHASES: [Phase; 4] = [Phase::Pending, Phase::Active, Phase::Retired, Phase::Gone];
