//! What is counted and timed while the process works, for Prometheus.
//!
//! In: events, by calls on handles that were made beforehand. Out: counters and histograms, which
//! [`scrape`](super::scrape) turns into text. Knows nothing of HTTP, certificates and tokens.
//!
//! Label values come from closed sets only (NT-61): constants of this program, and the names that
//! stand in the operator's issuer file. No text of a request ever becomes one; what is not known
//! is `other`. Handles are resolved when a configuration is loaded, so that counting on the way to
//! a certificate is a handful of atomic additions.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    core::Collector, proto::MetricFamily,
};

mod keys;

pub use keys::{CallResult, KeySeries, MAX_KEYS};

use keys::Keys;

/// All counters and histograms of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    new_certificates: IntCounter,
    certificates: IntCounterVec,
    refusals: IntCounterVec,
    requests: HistogramVec,
    api_latency: HistogramVec,
    stages: [Histogram; Step::ALL.len()],
    reloads: Reloads,
    tls_reloads: Reloads,
    keys: Keys,
    issuers: Mutex<HashSet<(String, &'static str)>>,
}

/// A kind of client key, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    EcdsaP256,
    EcdsaP384,
    EcdsaP521,
    Rsa2048,
    Rsa3072,
    Rsa4096,
    Ed25519,
}

/// A part of an issuance, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The token is verified; includes a fetch of its issuer's keys where that is needed.
    Token,
    /// Identity, proof of possession and policy.
    Proof,
    /// The precertificate is made and signed.
    Precertificate,
    /// The log takes the precertificate: durable, with its SCT.
    Log,
    /// The certificate is made and signed.
    Certificate,
}

impl KeyKind {
    /// Every kind, in the order of their declaration.
    pub const ALL: [Self; 7] = [
        Self::EcdsaP256,
        Self::EcdsaP384,
        Self::EcdsaP521,
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
        Self::Ed25519,
    ];

    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::EcdsaP521 => "ecdsa-p521",
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa3072 => "rsa-3072",
            Self::Rsa4096 => "rsa-4096",
            Self::Ed25519 => "ed25519",
        }
    }
}

impl Step {
    /// Every step, in the order of their declaration.
    pub const ALL: [Self; 5] =
        [Self::Token, Self::Proof, Self::Precertificate, Self::Log, Self::Certificate];

    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Proof => "proof",
            Self::Precertificate => "precertificate",
            Self::Log => "log",
            Self::Certificate => "certificate",
        }
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let registry = Registry::new();
        let stages = in_registry(&registry, histograms(STAGES, &["stage"], FINE_SECONDS));
        Self {
            new_certificates: in_registry(&registry, IntCounter::with_opts(opts(NEW_CERTS))),
            certificates: counters(&registry, CERTIFICATES, &["issuer", "issuer_type", "key"]),
            refusals: counters(&registry, REFUSALS, &["reason", "issuer"]),
            requests: in_registry(
                &registry,
                histograms(REQUESTS, &["route", "code"], FINE_SECONDS),
            ),
            api_latency: in_registry(
                &registry,
                histograms(API_LATENCY, &["code", "method"], prometheus::DEFAULT_BUCKETS),
            ),
            stages: Step::ALL.map(|step| stages.with_label_values(&[step.as_str()])),
            reloads: Reloads::new(&registry, RELOADS, RELOAD_SUCCESSFUL, RELOAD_TIME),
            tls_reloads: Reloads::new(&registry, TLS_RELOADS, TLS_SUCCESSFUL, TLS_TIME),
            keys: Keys::new(&registry),
            issuers: Mutex::new(HashSet::new()),
            registry,
        }
    }

    /// The counters of a configuration's issuers: each by its name in the issuer file, and its
    /// type. Those of earlier configurations stay, since a counter that vanishes looks like one
    /// that never was; so that reloads cannot add to them without end, what is over
    /// [`MAX_ISSUERS`] in the life of the process is counted as [`OTHER`].
    pub fn issuers<'a>(
        &self,
        issuers: impl IntoIterator<Item = (&'a str, &'static str)>,
    ) -> IssuerCounters {
        let mut known = self.issuers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut by_name = HashMap::new();
        for (name, issuer_type) in issuers {
            let entry = (name.to_owned(), issuer_type);
            let room = known.len() < MAX_ISSUERS;
            let label = if known.contains(&entry) || room { name } else { OTHER };
            if room {
                known.insert(entry);
            }
            let certificates = KeyKind::ALL.map(|key| {
                self.certificates.with_label_values(&[label, issuer_type, key.as_str()])
            });
            by_name.insert(name.to_owned(), OfIssuer { label: label.to_owned(), certificates });
        }
        IssuerCounters { by_name }
    }

    /// The series of a key that lives elsewhere. `key` is its URI in the configuration.
    pub fn key(&self, key: &str) -> KeySeries {
        self.keys.of(key)
    }

    /// A certificate was issued; `of` is its issuer's counter.
    pub fn issued(&self, of: &IntCounter) {
        of.inc();
        self.new_certificates.inc();
    }

    /// A request for a certificate came to nothing. `reason` is a constant, `issuer` a label of
    /// [`IssuerCounters::label`]. Rare and dear already, so this one looks its counter up.
    pub fn refused(&self, reason: &'static str, issuer: &str) {
        self.refusals.with_label_values(&[reason, issuer]).inc();
    }

    /// How long a part of an issuance took.
    pub fn took(&self, step: Step, time: Duration) {
        self.stages[step as usize].observe(time.as_secs_f64());
    }

    /// The histograms of a port that serves these routes, and no others.
    pub fn routes(&self, routes: &'static [&'static str]) -> RouteTimes {
        let classes = |route: &str| {
            STATUS_CLASSES.map(|class| self.requests.with_label_values(&[route, class]))
        };
        RouteTimes {
            routes: routes.iter().map(|route| (*route, classes(route))).collect(),
            other: classes(OTHER),
            upstream: METHODS.map(|method| {
                CODES.map(|code| Lazy {
                    family: self.api_latency.clone(),
                    labels: [code.1, method.1],
                    made: std::sync::OnceLock::new(),
                })
            }),
        }
    }

    /// The configuration was read again.
    pub fn reloaded(&self, now_unix_seconds: u64, good: bool) {
        self.reloads.count(now_unix_seconds, good);
    }

    /// The files of the public port's certificate changed.
    pub fn tls_reloaded(&self, now_unix_seconds: u64, good: bool) {
        self.tls_reloads.count(now_unix_seconds, good);
    }

    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// The counters of one configuration's issuers.
#[derive(Debug)]
pub struct IssuerCounters {
    by_name: HashMap<String, OfIssuer>,
}

#[derive(Debug)]
struct OfIssuer {
    label: String,
    certificates: [IntCounter; KeyKind::ALL.len()],
}

impl IssuerCounters {
    /// What counts this issuer's certificates for keys of one kind; `None` for an issuer that is
    /// not configured.
    pub fn certificates(&self, name: &str, key: KeyKind) -> Option<&IntCounter> {
        Some(&self.by_name.get(name)?.certificates[key as usize])
    }

    /// The label of an issuer; [`OTHER`] for one that is not configured.
    pub fn label(&self, name: Option<&str>) -> &str {
        name.and_then(|name| self.by_name.get(name)).map_or(OTHER, |of| &of.label)
    }
}

/// The histograms of one port's routes.
#[derive(Debug)]
pub struct RouteTimes {
    routes: Vec<(&'static str, [Histogram; STATUS_CLASSES.len()])>,
    other: [Histogram; STATUS_CLASSES.len()],
    upstream: [[Lazy; CODES.len()]; METHODS.len()],
}

/// A series that is there only once it was used: most of these combinations never are.
#[derive(Debug)]
struct Lazy {
    family: HistogramVec,
    labels: [&'static str; 2],
    made: std::sync::OnceLock<Histogram>,
}

impl RouteTimes {
    /// A request was answered. `route` is the pattern that matched, if one did.
    pub fn answered(&self, route: Option<&str>, code: u16, time: Duration) {
        // A dozen lengths to compare: cheaper than any hash.
        let known = route.and_then(|route| self.routes.iter().find(|(name, _)| *name == route));
        let classes = known.map_or(&self.other, |(_, classes)| classes);
        let class = usize::from(code / 100).clamp(2, STATUS_CLASSES.len() + 1) - 2;
        classes[class].observe(time.as_secs_f64());
    }

    /// As upstream times what came over HTTP; gRPC is not in it there either.
    pub fn answered_http(&self, method: &str, code: u16, time: Duration) {
        let position = METHODS.iter().position(|(name, _)| *name == method);
        let of_method = &self.upstream[position.unwrap_or(METHODS.len() - 1)];
        let code = CODES.iter().position(|(number, _)| *number == code).unwrap_or(CODES.len() - 1);
        let Lazy { family, labels, made } = &of_method[code];
        made.get_or_init(|| family.with_label_values(labels)).observe(time.as_secs_f64());
    }
}

/// What became of reading something again.
#[derive(Debug)]
struct Reloads {
    good: IntCounter,
    refused: IntCounter,
    successful: IntGauge,
    last_success: IntGauge,
}

impl Reloads {
    fn new(registry: &Registry, total: Named, successful: Named, last_success: Named) -> Self {
        let counters = counters(registry, total, &["result"]);
        let gauge = |named| in_registry(registry, IntGauge::with_opts(opts(named)));
        let reloads = Self {
            good: counters.with_label_values(&["ok"]),
            refused: counters.with_label_values(&["refused"]),
            successful: gauge(successful),
            last_success: gauge(last_success),
        };
        // What the process started with was good, or it would not have started.
        reloads.successful.set(1);
        reloads
    }

    fn count(&self, now_unix_seconds: u64, good: bool) {
        if good {
            self.good.inc();
            self.last_success.set(i64::try_from(now_unix_seconds).unwrap_or(i64::MAX));
        } else {
            self.refused.inc();
        }
        self.successful.set(i64::from(good));
    }
}

/// A metric's name and what it says.
#[derive(Clone, Copy)]
struct Named {
    name: &'static str,
    help: &'static str,
}

fn opts(Named { name, help }: Named) -> Opts {
    Opts::new(name, help)
}

fn counters(registry: &Registry, named: Named, labels: &[&str]) -> IntCounterVec {
    in_registry(registry, IntCounterVec::new(opts(named), labels))
}

fn histograms(
    Named { name, help }: Named,
    labels: &[&str],
    buckets: &[f64],
) -> prometheus::Result<HistogramVec> {
    HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)
}

#[expect(clippy::expect_used, reason = "names and labels are constants, which every test makes")]
fn in_registry<C: Collector + Clone + 'static>(
    registry: &Registry,
    made: prometheus::Result<C>,
) -> C {
    let made = made.expect("the name and the labels are well formed");
    registry.register(Box::new(made.clone())).expect("no name stands twice");
    made
}

/// The label of whatever is in no closed set.
pub const OTHER: &str = "other";

/// Issuers that get counters of their own, in the life of a process.
pub const MAX_ISSUERS: usize = 1000;

/// From what one signature costs to the deadline of an issuance.
const FINE_SECONDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0,
];

const STATUS_CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// As they come, and as upstream writes them. The last is for all others.
const METHODS: [(&str, &str); 10] = [
    ("POST", "post"),
    ("GET", "get"),
    ("HEAD", "head"),
    ("OPTIONS", "options"),
    ("PUT", "put"),
    ("DELETE", "delete"),
    ("PATCH", "patch"),
    ("CONNECT", "connect"),
    ("TRACE", "trace"),
    ("", "unknown"),
];

/// Every status that the public port answers with; the last is for all others.
const CODES: [(u16, &str); 17] = [
    (200, "200"),
    (201, "201"),
    (204, "204"),
    (206, "206"),
    (304, "304"),
    (400, "400"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (408, "408"),
    (413, "413"),
    (415, "415"),
    (429, "429"),
    (500, "500"),
    (501, "501"),
    (503, "503"),
    (0, OTHER),
];

// Upstream's names, for the dashboards that know them.
const NEW_CERTS: Named =
    Named { name: "fulcio_new_certs", help: "Certificates issued. Fulcio's name for it" };
const API_LATENCY: Named = Named {
    name: "fulcio_api_latency",
    help: "Seconds from a request over HTTP to its answer. Fulcio's name for it",
};
const CERTIFICATES: Named = Named {
    name: "mayfly_certificates_issued_total",
    help: "Certificates issued, by the issuer of the token and the kind of key",
};
const REFUSALS: Named = Named {
    name: "mayfly_refusals_total",
    help: "Requests for a certificate that came to nothing, by reason and by the issuer that the \
           token names",
};
const REQUESTS: Named = Named {
    name: "mayfly_http_request_duration_seconds",
    help: "Time from a request to its answer on the public port, HTTP and gRPC, by route and \
           status",
};
const STAGES: Named = Named {
    name: "mayfly_issuance_stage_duration_seconds",
    help: "Time that each stage of an issuance took",
};
const RELOADS: Named = Named {
    name: "mayfly_config_reloads_total",
    help: "Times that the configuration was read again, by what came of it",
};
const RELOAD_SUCCESSFUL: Named = Named {
    name: "mayfly_config_last_reload_successful",
    help: "1 if the configuration in effect is what the files held when they were last read",
};
const RELOAD_TIME: Named = Named {
    name: "mayfly_config_last_reload_success_timestamp_seconds",
    help: "When the configuration was last read again with success; 0 if never",
};
const TLS_RELOADS: Named = Named {
    name: "mayfly_tls_reloads_total",
    help: "Times that the files of the TLS certificate changed, by what came of it",
};
const TLS_SUCCESSFUL: Named = Named {
    name: "mayfly_tls_last_reload_successful",
    help: "1 if the TLS certificate in use is what its files held when they last changed",
};
const TLS_TIME: Named = Named {
    name: "mayfly_tls_last_reload_success_timestamp_seconds",
    help: "When the TLS certificate was last read again with success; 0 if never",
};

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
