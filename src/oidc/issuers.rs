//! The issuers that are trusted, and the verification of their tokens.
//!
//! In: the operator's settings; then tokens and the time. Out: verified tokens. Knows nothing of
//! files and HTTP.

use std::collections::HashMap;
use std::sync::Arc;

use super::algorithm::AlgorithmSet;
use super::cache::KeyCache;
use super::claims::{self, Expectations};
use super::discovery::Discovery;
use super::error::TokenError;
use super::fetch::Fetcher;
use super::keys::{KeySet, KeySetError};
use super::origin::KeyOrigins;
use super::refresh::RefreshTasks;
use super::replay::{self, ReplayGuard};
use super::settings::{IssuerSettings, KeyOrigin};
use super::source::{FetchError, FetchedKeys, KeySource, Lifetime};
use super::token::UnverifiedToken;
use super::wildcard::Wildcard;
use super::{Claims, VerifiedToken};
use crate::time::{Clock, Timestamp};

/// Every issuer whose tokens are accepted, with its keys.
#[derive(Debug)]
pub struct IssuerTable {
    listed: HashMap<Arc<str>, Arc<Issuer>>,
    wildcards: Vec<Wildcard>,
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
        Self::build(settings, clock, None)
    }

    /// As [`Self::new`], to take the place of `previous`. Entries of the same name hand on what
    /// they have learnt, so that a reload neither needs an issuer that is down just then, nor
    /// forgets which tokens were used:
    /// - the keys, if nothing changed that says where keys come from;
    /// - the memory of the replay guard, if both have one.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn succeeding(
        previous: &Self,
        settings: Vec<IssuerSettings>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, IssuerTableError> {
        Self::build(settings, clock, Some(previous))
    }

    fn build(
        settings: Vec<IssuerSettings>,
        clock: Arc<dyn Clock>,
        previous: Option<&Self>,
    ) -> Result<Self, IssuerTableError> {
        let shared_fetcher = Arc::new(Fetcher::default());
        let mut table = Self { listed: HashMap::new(), wildcards: Vec::new(), clock };
        for entry in settings {
            if entry.client_id.is_empty() {
                let reason = "client-id is empty";
                return Err(IssuerTableError::Setting { name: entry.name, reason });
            }
            if entry.name.contains('*') {
                table.add_wildcard(entry, &shared_fetcher, previous)?;
            } else {
                table.add_listed(entry, &shared_fetcher, previous)?;
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
        let wildcards = self.wildcards.iter().map(Wildcard::status);
        let mut all: Vec<_> = listed.chain(wildcards).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// The name of the entry that a token claims to be of, whether it is or not; `None` where no
    /// entry would let it in. For counting what was refused: nobody is asked.
    pub fn entry_claimed_by(&self, token: &str) -> Option<&str> {
        let token = UnverifiedToken::parse(token).ok()?;
        let name = claims::issuer(&token.payload).ok()?;
        let listed = self.listed.get(name).map(|issuer| issuer.name.as_ref());
        listed.or_else(|| {
            let wildcard = self.wildcards.iter().find(|wildcard| wildcard.matches(name))?;
            Some(wildcard.pattern().text())
        })
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
        entry: IssuerSettings,
        shared_fetcher: &Arc<Fetcher>,
        previous: Option<&Self>,
    ) -> Result<(), IssuerTableError> {
        let name: Arc<str> = entry.name.as_str().into();
        if self.listed.contains_key(&name) {
            return Err(IssuerTableError::Twice { name: entry.name });
        }
        let old = previous.and_then(|table| table.listed.get(&name));
        let keys = match old.filter(|old| entry.has_the_keys_of(&old.rules.settings)) {
            Some(old) => Arc::clone(&old.keys),
            None => listed_keys(&entry, shared_fetcher, self.clock.now())?,
        };
        let rules = Arc::new(Rules::new(entry, old.map(|old| &*old.rules)));
        self.listed.insert(Arc::clone(&name), Arc::new(Issuer { name, rules, keys }));
        Ok(())
    }

    fn add_wildcard(
        &mut self,
        entry: IssuerSettings,
        shared_fetcher: &Arc<Fetcher>,
        previous: Option<&Self>,
    ) -> Result<(), IssuerTableError> {
        let old = previous.and_then(|table| {
            table.wildcards.iter().find(|wildcard| wildcard.pattern().text() == entry.name)
        });
        let wildcard = Wildcard::new(entry, shared_fetcher, old)?;
        let overlapping =
            self.wildcards.iter().find(|other| other.pattern().overlaps(wildcard.pattern()));
        if let Some(other) = overlapping {
            return Err(IssuerTableError::Overlap {
                name: wildcard.pattern().text().to_owned(),
                other: other.pattern().text().to_owned(),
            });
        }
        self.wildcards.push(wildcard);
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
    /// How many fetches failed since the last good one.
    pub failures_in_a_row: u32,
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

impl IssuerState {
    /// Every name that [`Self::name`] gives.
    pub const NAMES: [&'static str; 4] = ["ready", "never_fetched", "too_stale", "wildcard"];

    /// In one word.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ready { .. } => Self::NAMES[0],
            Self::NeverFetched => Self::NAMES[1],
            Self::TooStale { .. } => Self::NAMES[2],
            Self::Wildcard { .. } => Self::NAMES[3],
        }
    }
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

/// One issuer: who it is, what is asked of its tokens, and what verifies them.
#[derive(Debug)]
pub(super) struct Issuer {
    pub(super) name: Arc<str>,
    pub(super) rules: Arc<Rules>,
    pub(super) keys: Arc<KeyCache>,
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
        IssuerStatus {
            name: self.name.as_ref().to_owned(),
            state,
            last_failure: cache.failure,
            failures_in_a_row: cache.failures_in_a_row,
        }
    }
}

/// What one entry of the issuer file asks of its tokens.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) configured_as: Arc<str>,
    pub(super) settings: IssuerSettings,
    expected: Expectations,
    replay_guard: Option<Arc<ReplayGuard>>,
}

impl Rules {
    /// `previous`: the rules under the same name before, whose guard goes on.
    pub(super) fn new(entry: IssuerSettings, previous: Option<&Self>) -> Self {
        let old_guard = previous.and_then(|rules| rules.replay_guard.clone());
        let guard = || old_guard.unwrap_or_else(|| Arc::new(ReplayGuard::new(replay::CAPACITY)));
        Self {
            configured_as: entry.name.as_str().into(),
            expected: Expectations {
                client_id: entry.client_id.clone(),
                max_age_seconds: entry.max_age_seconds,
            },
            replay_guard: entry.replay_guard.then(guard),
            settings: entry,
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

pub(super) fn fetcher(
    ca_cert_pem: Option<&Vec<u8>>,
    shared: &Arc<Fetcher>,
) -> Result<Arc<Fetcher>, &'static str> {
    match ca_cert_pem {
        None => Ok(Arc::clone(shared)),
        Some(pem) => Ok(Arc::new(Fetcher::trusting_only(pem.clone())?)),
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

#[cfg(test)]
#[path = "issuers_tests.rs"]
mod tests;
