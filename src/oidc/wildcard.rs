//! The issuers that one pattern lets in.
//!
//! In: the operator's settings for a pattern; then names that match it, as tokens bring them. Out:
//! the issuer of a name, with keys of its own. Knows nothing of tokens and of other patterns.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use moka::future::Cache;
use url::Origin;

use super::budget::Budget;
use super::cache::KeyCache;
use super::discovery::Discovery;
use super::fetch::Fetcher;
use super::issuers::{Issuer, IssuerState, IssuerStatus, IssuerTableError, Rules, fetcher};
use super::origin::{self, KeyOrigins};
use super::pattern::Pattern;
use super::settings::{IssuerSettings, KeyOrigin};

/// A pattern, and the issuers that tokens have named by it.
pub(super) struct Wildcard {
    pattern: Pattern,
    rules: Arc<Rules>,
    strangers: Arc<Strangers>,
}

impl fmt::Debug for Wildcard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wildcard({})", self.pattern.text())
    }
}

impl Wildcard {
    /// `previous`: the wildcard of the same pattern before, which hands on what it has learnt.
    pub(super) fn new(
        entry: IssuerSettings,
        shared_fetcher: &Arc<Fetcher>,
        previous: Option<&Self>,
    ) -> Result<Self, IssuerTableError> {
        let wrong = |reason| IssuerTableError::Setting { name: entry.name.clone(), reason };
        let pattern = Pattern::parse(&entry.name).map_err(wrong)?;
        let known = previous.filter(|old| entry.has_the_keys_of(&old.rules.settings));
        let strangers = match known {
            Some(old) => Arc::clone(&old.strangers),
            None => Arc::new(Strangers::new(&entry, shared_fetcher).map_err(wrong)?),
        };
        let rules = Arc::new(Rules::new(entry, previous.map(|old| &*old.rules)));
        Ok(Self { pattern, rules, strangers })
    }

    pub(super) fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        name.len() <= MAX_NAME_BYTES && self.pattern.matches(name)
    }

    /// `None`: the text matches the pattern but is no URL that may be asked.
    pub(super) async fn issuer(&self, name: &str) -> Option<Arc<Issuer>> {
        let keys = self.strangers.keys_of(name).await?;
        Some(Arc::new(Issuer { name: name.into(), rules: Arc::clone(&self.rules), keys }))
    }

    pub(super) fn status(&self) -> IssuerStatus {
        IssuerStatus {
            name: self.pattern.text().to_owned(),
            state: IssuerState::Wildcard { issuers: self.strangers.known.entry_count() },
            last_failure: None,
            failures_in_a_row: 0,
        }
    }
}

/// Issuers that tokens named, and how they may be asked.
struct Strangers {
    listed_origins: Vec<Origin>,
    fetcher: Arc<Fetcher>,
    /// Bounded, so that a flood of names costs no memory. An issuer that is crowded out is asked
    /// for its keys again.
    known: Cache<String, Arc<KeyCache>>,
    newcomers: Arc<Mutex<Budget>>,
}

impl Strangers {
    fn new(entry: &IssuerSettings, shared_fetcher: &Arc<Fetcher>) -> Result<Self, &'static str> {
        if entry.allow_http {
            return Err("allow-http is not for patterns");
        }
        let KeyOrigin::Discovery { ca_cert_pem } = &entry.keys else {
            return Err("static keys are not for patterns: each issuer has its own");
        };
        let origins =
            entry.allowed_key_origins.iter().map(|text| origin::listed_origin(text, false));
        Ok(Self {
            listed_origins: origins.collect::<Result<_, _>>()?,
            fetcher: fetcher(ca_cert_pem.as_ref(), shared_fetcher)?,
            known: Cache::builder()
                .max_capacity(MAX_KNOWN_ISSUERS)
                .time_to_idle(Duration::from_secs(KNOWN_IDLE_SECONDS))
                .build(),
            newcomers: Arc::new(Mutex::new(Budget::new(NEWCOMER_BURST, NEWCOMER_REFILL_MS))),
        })
    }

    async fn keys_of(&self, name: &str) -> Option<Arc<KeyCache>> {
        if let Some(keys) = self.known.get(name).await {
            return Some(keys);
        }
        let origins = KeyOrigins::of_stranger(name, self.listed_origins.clone()).ok()?;
        let fetcher = Arc::clone(&self.fetcher);
        let source = Arc::new(Discovery { issuer: name.into(), origins, fetcher });
        let keys = KeyCache::new(source, Some(Arc::clone(&self.newcomers)));
        // Of several that come at once the first is kept, and its fetch with it.
        Some(self.known.get_with(name.to_owned(), async { keys }).await)
    }
}

/// Longer than any URL of an issuer.
pub(super) const MAX_NAME_BYTES: usize = 1024;
const MAX_KNOWN_ISSUERS: u64 = 1_000;
const KNOWN_IDLE_SECONDS: u64 = 24 * 3_600;
/// First fetches for issuers of one pattern: anybody can invent names that match it.
const NEWCOMER_BURST: u64 = 20;
const NEWCOMER_REFILL_MS: u64 = 1_000;
