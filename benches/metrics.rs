//! What the metrics cost each certificate.
//!
//! In: nothing. Out: nanoseconds for all that is counted and timed on the way to one certificate,
//! clocks included: five stages, the route, upstream's histogram, the issuer's counter. From one
//! thread, and from two at once on the same series, the worst there is.

#![expect(clippy::print_stdout, reason = "a benchmark tells its numbers")]

use std::{
    hint::black_box,
    thread,
    time::{Duration, Instant},
};

use mayfly::telemetry::metrics::{IssuerCounters, KeyKind, Metrics, RouteTimes, Step};

fn main() {
    let metrics = Metrics::new();
    let issuers: Vec<String> =
        (0..50).map(|n| format!("https://{n}.issuers.example.com")).collect();
    let counters = metrics.issuers(issuers.iter().map(|issuer| (issuer.as_str(), "email")));
    let routes = metrics.routes(&ROUTES);
    let one = Certificate { metrics: &metrics, counters: &counters, routes: &routes };
    let issuer = issuers[7].as_str();
    one.count_many(issuer);
    println!("one thread:  {:.0} ns a certificate", one.count_many(issuer));
    let both = thread::scope(|scope| {
        let other = scope.spawn(|| one.count_many(issuer));
        let mine = one.count_many(issuer);
        other.join().map_or(mine, |other| mine.max(other))
    });
    println!("two threads: {both:.0} ns a certificate");
}

struct Certificate<'a> {
    metrics: &'a Metrics,
    counters: &'a IssuerCounters,
    routes: &'a RouteTimes,
}

impl Certificate<'_> {
    /// Nanoseconds for each.
    fn count_many(&self, issuer: &str) -> f64 {
        let began = Instant::now();
        for _ in 0..ROUNDS {
            self.count(black_box(issuer));
        }
        began.elapsed().as_nanos() as f64 / f64::from(ROUNDS)
    }

    fn count(&self, issuer: &str) {
        let mut began = Instant::now();
        for step in Step::ALL {
            let now = Instant::now();
            // As long as a stage takes: the bucket is found by going up from the smallest.
            let took = now - began + Duration::from_micros(80);
            self.metrics.took(step, took);
            began = now;
        }
        if let Some(counter) = self.counters.certificates(issuer, black_box(KeyKind::EcdsaP256)) {
            self.metrics.issued(counter);
        }
        let took = began.elapsed() + Duration::from_micros(400);
        self.routes.answered(Some(black_box(ROUTES[0])), 200, took);
        self.routes.answered_http(black_box("POST"), 200, took);
    }
}

const ROUTES: [&str; 3] = ["/api/v2/signingCert", "/api/v1/signingCert", "/healthz"];
const ROUNDS: u32 = 1_000_000;
