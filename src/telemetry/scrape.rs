//! One answer to a scrape: what was counted, and how things stand at this moment, as text.
//!
//! In: [`Metrics`], and the state of the parts as plain numbers with closed labels. Out: the text
//! exposition format of Prometheus, version 0.0.4. Knows nothing of where the numbers come from.

use prometheus::{Counter, Encoder as _, GaugeVec, Opts, Registry, TextEncoder, core::Collector};

use super::{metrics::Metrics, process};

/// The `Content-Type` of what [`Scrape::text`] writes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The state of the parts, asked when somebody wants to know it and forgotten after.
#[derive(Debug, Default)]
pub struct Scrape {
    registry: Registry,
}

/// Two states of one name, or a name or label that is not well formed: a mistake in this program.
#[derive(Debug, thiserror::Error)]
#[error("the metrics cannot be put together")]
pub struct ScrapeError {
    #[from]
    source: prometheus::Error,
}

impl Scrape {
    /// With the state of the process itself.
    ///
    /// # Errors
    /// See [`ScrapeError`].
    pub fn of_this_process() -> Result<Self, ScrapeError> {
        let scrape = Self::default();
        process::describe(&scrape)?;
        Ok(scrape)
    }

    /// A number that goes up and down.
    ///
    /// # Errors
    /// See [`ScrapeError`].
    pub fn gauge(&self, name: &str, help: &str, value: f64) -> Result<(), ScrapeError> {
        self.gauges(name, help, [], [([], value)])
    }

    /// Such numbers, told apart by labels; none where there are no values.
    ///
    /// # Errors
    /// See [`ScrapeError`].
    pub fn gauges<'a, const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
        values: impl IntoIterator<Item = ([&'a str; N], f64)>,
    ) -> Result<(), ScrapeError> {
        let gauges = GaugeVec::new(Opts::new(name, help), &labels)?;
        for (labels, value) in values {
            gauges.get_metric_with_label_values(&labels)?.set(value);
        }
        self.take(gauges)
    }

    /// A number that only goes up.
    ///
    /// # Errors
    /// See [`ScrapeError`].
    pub fn counter(&self, name: &str, help: &str, value: f64) -> Result<(), ScrapeError> {
        let counter = Counter::new(name, help)?;
        counter.inc_by(value);
        self.take(counter)
    }

    /// All of it, with what `metrics` counted, sorted by name.
    ///
    /// # Errors
    /// See [`ScrapeError`].
    pub fn text(self, metrics: &Metrics) -> Result<Vec<u8>, ScrapeError> {
        let mut families = metrics.gather();
        families.extend(self.registry.gather());
        families.sort_by(|a, b| a.name().cmp(b.name()));
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text)?;
        Ok(text)
    }

    fn take(&self, state: impl Collector + 'static) -> Result<(), ScrapeError> {
        Ok(self.registry.register(Box::new(state))?)
    }
}
