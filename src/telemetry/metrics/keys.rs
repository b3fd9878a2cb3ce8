//! What is counted of keys that live elsewhere.
//!
//! In: the ends of calls to HSMs and key services. Out: a counter, a histogram and a gauge per key.
//! The label is the key's URI as it stands in the configuration, without what unlocks it.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use prometheus::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
};

use super::{FINE_SECONDS, Named, OTHER, counters, histograms, in_registry, opts};

/// What became of a call to a key, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallResult {
    Ok,
    /// The service failed or could not be reached.
    Unavailable,
    TimedOut,
    Throttled,
    Unauthorized,
    /// The service refuses this key or this use of it.
    Refused,
    /// The answer did not verify.
    BadSignature,
}

impl CallResult {
    /// Every result, in the order of their declaration.
    pub const ALL: [Self; 7] = [
        Self::Ok,
        Self::Unavailable,
        Self::TimedOut,
        Self::Throttled,
        Self::Unauthorized,
        Self::Refused,
        Self::BadSignature,
    ];

    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unavailable => "unavailable",
            Self::TimedOut => "timed_out",
            Self::Throttled => "throttled",
            Self::Unauthorized => "unauthorized",
            Self::Refused => "refused",
            Self::BadSignature => "bad_signature",
        }
    }
}

/// The series of one key. Cheap to clone.
#[derive(Clone, Debug)]
pub struct KeySeries {
    calls: [IntCounter; CallResult::ALL.len()],
    duration: Histogram,
    rejected: IntCounter,
    circuit_open: IntGauge,
}

impl KeySeries {
    /// A call ended.
    pub fn called(&self, result: CallResult, time: Duration) {
        self.calls[result as usize].inc();
        self.duration.observe(time.as_secs_f64());
    }

    /// A call was not made, because the key keeps failing.
    pub fn rejected(&self) {
        self.rejected.inc();
    }

    /// Whether the key is left alone now.
    pub fn set_circuit_open(&self, open: bool) {
        self.circuit_open.set(i64::from(open));
    }

    /// How many calls ended so.
    pub fn calls(&self, result: CallResult) -> u64 {
        self.calls[result as usize].get()
    }

    /// How many calls were not made.
    pub fn rejections(&self) -> u64 {
        self.rejected.get()
    }
}

/// The series of all keys.
#[derive(Debug)]
pub(super) struct Keys {
    calls: IntCounterVec,
    durations: HistogramVec,
    rejected: IntCounterVec,
    circuit_open: IntGaugeVec,
    known: Mutex<HashSet<String>>,
}

impl Keys {
    pub(super) fn new(registry: &Registry) -> Self {
        let gauges = IntGaugeVec::new(opts(CIRCUIT_OPEN), &["key"]);
        Self {
            calls: counters(registry, CALLS, &["key", "result"]),
            durations: in_registry(registry, histograms(DURATIONS, &["key"], FINE_SECONDS)),
            rejected: counters(registry, REJECTED, &["key"]),
            circuit_open: in_registry(registry, gauges),
            known: Mutex::new(HashSet::new()),
        }
    }

    /// Reloads cannot add series without end: what is over [`MAX_KEYS`] is counted as [`OTHER`].
    pub(super) fn of(&self, key: &str) -> KeySeries {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < MAX_KEYS {
            known.insert(key.to_owned());
        }
        let label = if known.contains(key) { key } else { OTHER };
        KeySeries {
            calls: CallResult::ALL
                .map(|result| self.calls.with_label_values(&[label, result.as_str()])),
            duration: self.durations.with_label_values(&[label]),
            rejected: self.rejected.with_label_values(&[label]),
            circuit_open: self.circuit_open.with_label_values(&[label]),
        }
    }
}

/// Keys that get series of their own, in the life of a process.
pub const MAX_KEYS: usize = 100;

const CALLS: Named = Named {
    name: "mayfly_key_calls_total",
    help: "Attempts of an HSM or key service to sign, by what came of them",
};
const DURATIONS: Named = Named {
    name: "mayfly_key_call_duration_seconds",
    help: "Time that an attempt of an HSM or key service to sign took",
};
const REJECTED: Named = Named {
    name: "mayfly_key_calls_rejected_total",
    help: "Attempts that were not made, because the HSM or key service keeps failing",
};
const CIRCUIT_OPEN: Named = Named {
    name: "mayfly_key_circuit_open",
    help: "1 while an HSM or key service that keeps failing is left alone",
};
