//! The issuers that are trusted, and the verification of their tokens.
//!
//! In: the operator's settings; then tokens and the time. Out: verified tokens. Knows nothing of
//! files and HTTP.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use moka::future::Cache;
use url::Origin;

use super::algorithm::AlgorithmSet;
use super::budget::Budget;
use super::cache::KeyCache;
use super::claims::{self, Expectations};
use super::discovery::Discovery;
use super::error::TokenError;
use super::fetch::Fetcher;
use super::keys::{KeySet, KeySetError};
use super::origin::{self, KeyOrigins};
use super::pattern::Pattern;
use super::refresh::RefreshTasks;
use super::replay::{self, ReplayGuard};
use super::settings::{IssuerSettings, KeyOrigin};
use super::source::{FetchError, FetchedKeys, KeySource, Lifetime};
use super::token::UnverifiedToken;
use super::{Claims, VerifiedToken};
use crate::time::{Clock, Timestamp};

/// Every issuer whose tokens are accepted, with its keys.
#[derive(Debug)]
pub struct IssuerTable {
    listed: HashMap<Arc<str>, Arc<Issuer>>,
    wildcards: Vec<Arc<Wildcard>>,
    clock: Arc<dyn Clock>,
}

impl IssuerTable {
    /// Checks the settings and prepares what can be prepared. Asks nobody: keys are fetched by
    /// [`Self::spawn_refresh`], or by the first token.
    ///
    /// # Errors
    /// The first entry that is wrong in itself, or that clashes with an earlier one.
    pub fn new(
        settings: Vec<IssuerSettings>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, IssuerTableError> {
        let shared_fetcher = Arc::new(Fetcher::default());
        let mut table = Self { listed: HashMap::new(), wildcards: Vec::new(), clock };
        for entry in settings {
            if entry.client_id.is_empty() {
                let reason = "client-id is empty";
                return Err(IssuerTableError::Setting { name: entry.name, reason });
            }
            if entry.name.contains('*') {
                table.add_wildcard(&entry, &shared_fetcher)?;
            } else {
                table.add_listed(&entry, &shared_fetcher)?;
            }
        }
        Ok(table)
    }

    /// As [`Self::new`], but entries whose settings did not change go on as they are: with the keys
    /// at hand, so that an issuer that is down just now stays usable, and with the tokens that a
    /// replay guard has seen, so that a reload makes none of them good again.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn succeeding(
        previous: &Self,
        settings: Vec<IssuerSettings>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, IssuerTableError> {
        let mut table = Self::new(settings, clock)?;
        for (name, issuer) in &mut table.listed {
            if let Some(old) = previous.listed.get(name)
                && old.rules.settings == issuer.rules.settings
            {
                *issuer = Arc::clone(old);
            }
        }
        for wildcard in &mut table.wildcards {
            let same = |old: &&Arc<Wildcard>| old.rules.settings == wildcard.rules.settings;
            if let Some(old) = previous.wildcards.iter().find(same) {
                *wildcard = Arc::clone(old);
            }
        }
        Ok(table)
    }

    /// Token text -> verified token. Waits only if the keys at hand do not verify the token; bounded
    /// in time and in the number of those who wait. Dropping the future loses nothing but its answer.
    ///
    /// # Errors
    /// What is wrong with the token; or, with [`TokenError::is_unavailable`], that the issuer could
    /// not be asked.
    pub async fn verify(&self, token: &str, now: Timestamp) -> Result<VerifiedToken, TokenError> {
        let token = UnverifiedToken::parse(token)?;
        let issuer = self.issuer(claims::issuer(&token.payload)?).await?;
        let checked = claims::check(&token.payload, &issuer.rules.expected, now)?;
        issuer.keys.verify(&token, now).await?;
        if let Some(guard) = &issuer.rules.replay_guard {
            guard.admit(token.signing_input, checked.expires_at, now)?;
        }
        Ok(VerifiedToken {
            issuer: Arc::clone(&issuer.name),
            configured_as: Arc::clone(&issuer.rules.configured_as),
            subject: checked.subject,
            claims: Claims(token.payload),
        })
    }

    /// Starts to keep the listed issuers' keys fresh, at once and until the answer is dropped. Must
    /// be called inside a tokio runtime.
    pub fn spawn_refresh(self: &Arc<Self>) -> RefreshTasks {
        let caches = self.listed.values().map(|issuer| Arc::clone(&issuer.keys));
        RefreshTasks::spawn(caches, &self.clock)
    }

    /// How each entry is doing, by name.
    pub fn status(&self) -> Vec<IssuerStatus> {
        let now = self.clock.now();
        let listed = self.listed.values().map(|issuer| issuer.status(now));
        let wildcards = self.wildcards.iter().map(|wildcard| wildcard.status());
        let mut all: Vec<_> = listed.chain(wildcards).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// The entry for this exact `iss`: listed, or else of the one wildcard that matches. No text is
    /// normalised: an `iss` that a URL parser would change is another text, and matches nothing.
    async fn issuer(&self, name: &str) -> Result<Arc<Issuer>, TokenError> {
        if let Some(issuer) = self.listed.get(name) {
            return Ok(Arc::clone(issuer));
        }
        let matching = self.wildcards.iter().find(|wildcard| wildcard.matches(name));
        let unknown = || TokenError::UnknownIssuer {
            issuer: name.chars().take(MAX_NAME_SHOWN).flat_map(char::escape_default).collect(),
        };
        matching.ok_or_else(unknown)?.issuer(name).await.ok_or_else(unknown)
    }

    fn add_listed(
        &mut self,
        entry: &IssuerSettings,
        shared_fetcher: &Arc<Fetcher>,
    ) -> Result<(), IssuerTableError> {
        let name: Arc<str> = entry.name.as_str().into();
        if self.listed.contains_key(&name) {
            return Err(IssuerTableError::Twice { name: entry.name.clone() });
        }
        let issuer = Issuer {
            name: Arc::clone(&name),
            rules: Arc::new(Rules::new(entry)),
            keys: listed_keys(entry, shared_fetcher, self.clock.now())?,
        };
        self.listed.insert(name, Arc::new(issuer));
        Ok(())
    }

    fn add_wildcard(
        &mut self,
        entry: &IssuerSettings,
        shared_fetcher: &Arc<Fetcher>,
    ) -> Result<(), IssuerTableError> {
        let wildcard = Wildcard::new(entry, shared_fetcher)?;
        let overlapping =
            self.wildcards.iter().find(|other| other.pattern.overlaps(&wildcard.pattern));
        if let Some(other) = overlapping {
            return Err(IssuerTableError::Overlap {
                name: entry.name.clone(),
                other: other.pattern.text().to_owned(),
            });
        }
        self.wildcards.push(Arc::new(wildcard));
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn replace_source(&mut self, name: &str, source: Arc<dyn KeySource>) {
        let old = self.listed.remove(name).expect("it is listed");
        let issuer = Issuer {
            name: Arc::clone(&old.name),
            rules: Arc::clone(&old.rules),
            keys: KeyCache::new(source, None),
        };
        self.listed.insert(name.into(), Arc::new(issuer));
    }
}

/// What the operator is told about one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerStatus {
    /// As it is configured.
    pub name: String,
    /// Whether its tokens can be verified.
    pub state: IssuerState,
    /// What the last fetch failed with, if it failed.
    pub last_failure: Option<FetchError>,
}

/// Whether an issuer's tokens can be verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerState {
    /// Yes.
    Ready {
        /// How many keys it has.
        keys: usize,
        /// How long ago they were fetched.
        age_ms: u64,
    },
    /// Not yet: its keys were never fetched.
    NeverFetched,
    /// No longer: its keys are older than can be trusted, and could not be refreshed.
    TooStale {
        /// How long ago they were fetched.
        age_ms: u64,
    },
    /// A wildcard: its issuers come with their tokens.
    Wildcard {
        /// How many are known now.
        issuers: u64,
    },
}

/// What is wrong with the settings.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum IssuerTableError {
    /// An entry is wrong in itself.
    #[error("issuer '{name}': {reason}")]
    Setting { name: String, reason: &'static str },
    /// A static key set cannot be used.
    #[error("issuer '{name}': its keys cannot be used")]
    Keys {
        name: String,
        #[source]
        source: KeySetError,
    },
    /// Two entries of one name.
    #[error("issuer '{name}' is configured twice")]
    Twice { name: String },
    /// Two patterns that one token could match.
    #[error("the patterns '{name}' and '{other}' can match the same issuer")]
    Overlap { name: String, other: String },
}

#[derive(Debug)]
struct Issuer {
    name: Arc<str>,
    rules: Arc<Rules>,
    keys: Arc<KeyCache>,
}

impl Issuer {
    fn status(&self, now: Timestamp) -> IssuerStatus {
        let cache = self.keys.status(now);
        let state = match cache.held {
            None => IssuerState::NeverFetched,
            Some((keys, fetched_at)) => {
                let age_ms = now.ms_since(fetched_at);
                if cache.usable {
                    IssuerState::Ready { keys, age_ms }
                } else {
                    IssuerState::TooStale { age_ms }
                }
            }
        };
        IssuerStatus { name: self.name.as_ref().to_owned(), state, last_failure: cache.failure }
    }
}

/// What one entry of the issuer file asks of its tokens.
#[derive(Debug)]
struct Rules {
    settings: IssuerSettings,
    configured_as: Arc<str>,
    expected: Expectations,
    replay_guard: Option<ReplayGuard>,
}

impl Rules {
    fn new(entry: &IssuerSettings) -> Self {
        Self {
            settings: entry.clone(),
            configured_as: entry.name.as_str().into(),
            expected: Expectations {
                client_id: entry.client_id.clone(),
                max_age_seconds: entry.max_age_seconds,
            },
            replay_guard: entry.replay_guard.then(|| ReplayGuard::new(replay::CAPACITY)),
        }
    }
}

fn listed_keys(
    entry: &IssuerSettings,
    shared_fetcher: &Arc<Fetcher>,
    now: Timestamp,
) -> Result<Arc<KeyCache>, IssuerTableError> {
    let wrong = |reason| IssuerTableError::Setting { name: entry.name.clone(), reason };
    // Nobody is asked for static keys, so http is harmless there; but a name must be no puzzle.
    let is_static = matches!(entry.keys, KeyOrigin::Static { .. });
    let allow_http = entry.allow_http || is_static;
    let origins = KeyOrigins::of_listed(&entry.name, allow_http, &entry.allowed_key_origins)
        .map_err(wrong)?;
    match &entry.keys {
        KeyOrigin::Discovery { ca_cert_pem } => {
            let fetcher = fetcher(ca_cert_pem.as_ref(), shared_fetcher).map_err(wrong)?;
            let issuer = entry.name.as_str().into();
            Ok(KeyCache::new(Arc::new(Discovery { issuer, origins, fetcher }), None))
        }
        KeyOrigin::Static { jwks_json } => {
            let keys = KeySet::parse(jwks_json)
                .map_err(|source| IssuerTableError::Keys { name: entry.name.clone(), source })?;
            let source = StaticKeys { keys };
            let fetched = source.answer();
            Ok(KeyCache::holding(Arc::new(source), fetched, now))
        }
    }
}

fn fetcher(
    ca_cert_pem: Option<&Vec<u8>>,
    shared: &Arc<Fetcher>,
) -> Result<Arc<Fetcher>, &'static str> {
    match ca_cert_pem {
        None => Ok(Arc::clone(shared)),
        Some(pem) => Ok(Arc::new(Fetcher::trusting_only(pem.clone())?)),
    }
}

/// A pattern, and the issuers that tokens have named by it.
struct Wildcard {
    pattern: Pattern,
    rules: Arc<Rules>,
    listed_origins: Vec<Origin>,
    fetcher: Arc<Fetcher>,
    /// Bounded, so that a flood of names costs no memory. An issuer that is crowded out is asked
    /// for its keys again.
    known: Cache<String, Arc<Issuer>>,
    newcomers: Arc<Mutex<Budget>>,
}

impl fmt::Debug for Wildcard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wildcard({})", self.pattern.text())
    }
}

impl Wildcard {
    fn new(
        entry: &IssuerSettings,
        shared_fetcher: &Arc<Fetcher>,
    ) -> Result<Self, IssuerTableError> {
        let wrong = |reason| IssuerTableError::Setting { name: entry.name.clone(), reason };
        if entry.allow_http {
            return Err(wrong("allow-http is not for patterns"));
        }
        let KeyOrigin::Discovery { ca_cert_pem } = &entry.keys else {
            return Err(wrong("static keys are not for patterns: each issuer has its own"));
        };
        let origins =
            entry.allowed_key_origins.iter().map(|text| origin::listed_origin(text, false));
        Ok(Self {
            pattern: Pattern::parse(&entry.name).map_err(wrong)?,
            rules: Arc::new(Rules::new(entry)),
            listed_origins: origins.collect::<Result<_, _>>().map_err(wrong)?,
            fetcher: fetcher(ca_cert_pem.as_ref(), shared_fetcher).map_err(wrong)?,
            known: Cache::builder()
                .max_capacity(MAX_KNOWN_ISSUERS)
                .time_to_idle(Duration::from_secs(KNOWN_IDLE_SECONDS))
                .build(),
            newcomers: Arc::new(Mutex::new(Budget::new(NEWCOMER_BURST, NEWCOMER_REFILL_MS))),
        })
    }

    fn matches(&self, name: &str) -> bool {
        name.len() <= MAX_NAME_BYTES && self.pattern.matches(name)
    }

    /// `None`: the text matches the pattern but is no URL that may be asked.
    async fn issuer(&self, name: &str) -> Option<Arc<Issuer>> {
        if let Some(issuer) = self.known.get(name).await {
            return Some(issuer);
        }
        let origins = KeyOrigins::of_stranger(name, self.listed_origins.clone()).ok()?;
        let fetcher = Arc::clone(&self.fetcher);
        let source = Arc::new(Discovery { issuer: name.into(), origins, fetcher });
        let issuer = Arc::new(Issuer {
            name: name.into(),
            rules: Arc::clone(&self.rules),
            keys: KeyCache::new(source, Some(Arc::clone(&self.newcomers))),
        });
        // Of several that come at once the first is kept, and its fetch with it.
        Some(self.known.get_with(name.to_owned(), async { issuer }).await)
    }

    fn status(&self) -> IssuerStatus {
        IssuerStatus {
            name: self.pattern.text().to_owned(),
            state: IssuerState::Wildcard { issuers: self.known.entry_count() },
            last_failure: None,
        }
    }
}

/// Keys that the operator wrote out. Whatever fits a key may be signed with it.
#[derive(Debug)]
struct StaticKeys {
    keys: KeySet,
}

impl StaticKeys {
    fn answer(&self) -> FetchedKeys {
        FetchedKeys {
            keys: self.keys.clone(),
            algorithms: AlgorithmSet::ALL,
            lifetime: Lifetime::Fixed,
        }
    }
}

impl KeySource for StaticKeys {
    fn fetch(&self) -> futures_util::future::BoxFuture<'_, Result<FetchedKeys, FetchError>> {
        Box::pin(std::future::ready(Ok(self.answer())))
    }
}

const MAX_NAME_SHOWN: usize = 200;
const MAX_NAME_BYTES: usize = 1024;
const MAX_KNOWN_ISSUERS: u64 = 1_000;
const KNOWN_IDLE_SECONDS: u64 = 24 * 3_600;
/// First fetches for issuers of one pattern: anybody can invent names that match it.
const NEWCOMER_BURST: u64 = 20;
const NEWCOMER_REFILL_MS: u64 = 1_000;

#[cfg(test)]
#[path = "issuers_tests.rs"]
mod tests;
