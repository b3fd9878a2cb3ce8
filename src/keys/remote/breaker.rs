//! Leaves a service alone that keeps failing.
//!
//! In: what became of each attempt, and when. Out: whether the next may be made. Knows nothing of
//! what is attempted.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Closed until `failures` attempts failed in a row; then it lets one attempt through per `rest`
/// until one succeeds.
#[derive(Debug)]
pub(super) struct Breaker {
    failures: u32,
    rest: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failed_in_a_row: u32,
    /// While it is open: when the next attempt may be made.
    open_until: Option<Instant>,
}

impl Breaker {
    pub(super) fn new(failures: u32, rest: Duration) -> Self {
        Self { failures, rest, state: Mutex::default() }
    }

    /// Whether an attempt may be made now.
    pub(super) fn admits(&self, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.open_until {
            None => true,
            Some(until) if now < until => false,
            Some(_) => {
                // This one finds out. Should nobody wait for its end, the next does.
                state.open_until = Some(now + self.rest);
                true
            }
        }
    }

    /// Takes note of an attempt's end; returns whether the service is left alone now.
    pub(super) fn record(&self, good: bool, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if good {
            *state = State::default();
        } else {
            state.failed_in_a_row = state.failed_in_a_row.saturating_add(1);
            if state.failed_in_a_row >= self.failures {
                state.open_until = Some(now + self.rest);
            }
        }
        state.open_until.is_some()
    }
}
