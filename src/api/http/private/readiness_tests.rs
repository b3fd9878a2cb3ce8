use std::sync::Arc;

use super::*;
use crate::{log::StopReason, oidc::FetchError};

const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_132_800);

fn issuer(state: IssuerState, last_failure: Option<FetchError>) -> Troubles {
    let mut troubles = Troubles::default();
    let name = "https://a.example.com".to_owned();
    troubles.issuer(&IssuerStatus { name, state, last_failure, failures_in_a_row: 1 });
    troubles
}

#[test]
fn an_issuer_that_cannot_be_asked_is_a_warning_and_never_a_failure() {
    let timed_out = || Some(FetchError::TimedOut { after_ms: 5000 });
    for (state, failure, words) in [
        (IssuerState::NeverFetched, None, "its keys were not fetched yet"),
        (IssuerState::NeverFetched, timed_out(), "its keys were not fetched yet: "),
        (IssuerState::TooStale { age_ms: 1 }, timed_out(), "its keys are too old to trust: "),
        (IssuerState::Ready { keys: 1, age_ms: 1 }, timed_out(), "could not be refreshed: "),
    ] {
        let Troubles { failing, warnings } = issuer(state, failure);
        assert!(failing.is_empty());
        let [Trouble { part, reason }] = &warnings[..] else { panic!("{warnings:?}") };
        assert_eq!(part, "issuer https://a.example.com");
        assert!(reason.contains(words), "{reason}");
    }
    let ready = issuer(IssuerState::Ready { keys: 1, age_ms: 1 }, None);
    assert!(ready.failing.is_empty() && ready.warnings.is_empty());
}

#[test]
fn a_certificate_of_the_port_that_ended_fails_and_one_that_ends_soon_warns() {
    let tls = |valid_until| {
        let mut troubles = Troubles::default();
        troubles.tls(valid_until, None, NOW);
        (troubles.failing.len(), troubles.warnings.len())
    };
    assert_eq!(tls(NOW.minus_ms(1)), (1, 0));
    assert_eq!(tls(NOW.plus_ms(TLS_WARNING_MS - 1)), (0, 1));
    assert_eq!(tls(NOW.plus_ms(TLS_WARNING_MS)), (0, 0));
}

/// The port still serves with the one before.
#[test]
fn a_renewal_of_the_ports_certificate_that_was_refused_is_a_warning_with_its_reason() {
    let mut troubles = Troubles::default();
    troubles.tls(NOW.plus_ms(TLS_WARNING_MS), Some("tls: x is not the key of y"), NOW);
    assert_eq!(troubles.failing, []);
    let [Trouble { part, reason }] = &troubles.warnings[..] else { panic!("{troubles:?}") };
    assert_eq!(part, "tls");
    assert!(reason.ends_with("refused: tls: x is not the key of y"), "{reason}");
}

#[test]
fn a_stopped_log_is_a_failure_and_says_why() {
    let mut status = LogStatus {
        size: 1,
        timestamp: NOW,
        unflushed_entry_tiles: 0,
        clock_alarms: 0,
        stopped: None,
    };
    let mut troubles = Troubles::default();
    troubles.log(&status);
    assert_eq!(troubles.failing, []);
    status.stopped = Some(Arc::new(StopReason::Panicked { task: "sequencer" }));
    troubles.log(&status);
    let reason = "it takes no entries any more: the log's sequencer panicked".to_owned();
    assert_eq!(troubles.failing, [Trouble { part: "log".to_owned(), reason }]);
}

#[test]
fn no_authority_is_a_failure_in_words() {
    let mut troubles = Troubles::default();
    troubles.authorities(&[], NOW);
    assert_eq!(troubles.failing[0].part, "authorities");
}
