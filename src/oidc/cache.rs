//! The keys of one issuer, as fresh as they need to be.
//!
//! In: a [`KeySource`], tokens, the time. Out: whether the issuer signed a token, or that it could
//! not be asked. Knows nothing of HTTP and claims.
//!
//! One cache per issuer, so that a key of one issuer is never tried for another, whatever its
//! `kid`, and so that one issuer's troubles stay its own. A token that the keys at hand verify never
//! waits. One that they do not verify may have been signed with a newer key: then the source is
//! asked, by one task for all that wait, and only as often as [`FETCH_BURST`] and
//! [`FETCH_REFILL_MS`] allow.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use tokio::sync::Semaphore;

use super::budget::Budget;
use super::error::TokenError;
use super::keys::Verdict;
use super::source::{FetchError, FetchedKeys, KeySource, Lifetime};
use super::token::UnverifiedToken;
use crate::time::Timestamp;

/// Keys that could not be refreshed are used no longer than this after they were fetched.
pub(super) const MAX_STALE_MS: u64 = 6 * 3_600_000;

/// Fetches that tokens may cause at once, and the time that earns one more: at most six in any
/// minute, three in the long run.
const FETCH_BURST: u64 = 3;
const FETCH_REFILL_MS: u64 = 20_000;

/// One fetch, all its requests together.
const FETCH_TIMEOUT_MS: u64 = 5_000;

/// For so long a failure is the answer, and so is a key's absence.
const FAILURE_HOLDS_MS: u64 = 2_000;
const ABSENCE_HOLDS_MS: u64 = 20_000;
const MAX_ABSENT_KEYS: usize = 64;

/// Tokens that wait for one issuer at a time; each holds a connection of ours.
const MAX_WAITING: usize = 64;

/// Bounds on what an issuer says of the freshness of its keys, and what we assume if it does not.
const MIN_FRESH_MS: u64 = 60_000;
const DEFAULT_FRESH_MS: u64 = 10 * 60_000;
const MAX_FRESH_MS: u64 = 3_600_000;

/// See the module.
pub(super) struct KeyCache {
    source: Arc<dyn KeySource>,
    held: ArcSwapOption<HeldKeys>,
    state: Mutex<State>,
    waiting: Semaphore,
    /// For an issuer that a token named by way of a wildcard: what all such issuers may cause.
    newcomers: Option<Arc<Mutex<Budget>>>,
}

impl fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyCache").field("source", &self.source).finish_non_exhaustive()
    }
}

/// What the operator is told about a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CacheStatus {
    /// How many keys there are and since when; `None` before the first fetch.
    pub(super) held: Option<(usize, Timestamp)>,
    /// Whether a token that they verify is accepted.
    pub(super) usable: bool,
    /// What the last fetch failed with, if it failed.
    pub(super) failure: Option<FetchError>,
    /// How many fetches failed since the last good one.
    pub(super) failures_in_a_row: u32,
}

impl KeyCache {
    /// An empty cache, which asks when it is first needed or [`Self::refresh`]ed.
    pub(super) fn new(
        source: Arc<dyn KeySource>,
        newcomers: Option<Arc<Mutex<Budget>>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            source,
            held: ArcSwapOption::empty(),
            state: Mutex::new(State {
                flight: None,
                budget: Budget::new(FETCH_BURST, FETCH_REFILL_MS),
                failure: None,
                absent: Vec::new(),
            }),
            waiting: Semaphore::new(MAX_WAITING),
            newcomers,
        })
    }

    /// A cache that holds keys from the start.
    pub(super) fn holding(
        source: Arc<dyn KeySource>,
        fetched: FetchedKeys,
        now: Timestamp,
    ) -> Arc<Self> {
        let cache = Self::new(source, None);
        cache.held.store(Some(Arc::new(HeldKeys { fetched, fetched_at: now })));
        cache
    }

    /// Whether this issuer signed the token.
    pub(super) async fn verify(
        self: &Arc<Self>,
        token: &UnverifiedToken<'_>,
        now: Timestamp,
    ) -> Result<(), TokenError> {
        let unavailable = |source| TokenError::Unavailable { source };
        let Some(held) = self.usable(now) else {
            let fetched = self.fetch_for(now).await.map_err(unavailable)?;
            return fetched.verify(token);
        };
        if held.is_due(now) {
            // Nobody waits for this one; the token is judged by the keys at hand.
            drop(self.flight(now));
        }
        let Err(refusal) = held.verify(token) else {
            return Ok(());
        };
        if held.fetched.lifetime == Lifetime::Fixed || self.is_known_absent(token, now) {
            return Err(refusal);
        }
        match self.fetch_for(now).await {
            Ok(fetched) => {
                let verdict = fetched.verify(token);
                if verdict.is_err() {
                    self.remember_absent(token, now);
                }
                verdict
            }
            // Asked a moment ago, and the answer stands.
            Err(FetchError::Paced) if lock(&self.state).failure.is_none() => Err(refusal),
            // "No such key" would be a guess: the key may be one that we could not fetch.
            Err(source) if may_be_a_newer_key(token, &refusal) => Err(unavailable(source)),
            Err(_) => Err(refusal),
        }
    }

    /// Asks now, whatever the pace, and waits for the answer. For the background.
    pub(super) async fn refresh(self: &Arc<Self>, now: Timestamp) -> Result<(), FetchError> {
        let flight = {
            let mut state = lock(&self.state);
            self.join_or_start(&mut state, now)
        };
        flight.await.map(|_| ())
    }

    /// How long the background may sleep before it refreshes; `None` for ever.
    pub(super) fn ms_until_due(&self, now: Timestamp) -> Option<u64> {
        if let Some(failure) = &lock(&self.state).failure {
            let backoff_ms = FAILURE_HOLDS_MS << failure.in_a_row.min(5);
            return Some(failure.at.plus_ms(backoff_ms.min(MIN_FRESH_MS)).ms_since(now));
        }
        let Some(held) = self.held.load_full() else {
            return Some(0);
        };
        let fresh_ms = held.fresh_ms()?;
        if held.is_due(now) {
            return Some(0);
        }
        Some(held.fetched_at.plus_ms(fresh_ms).ms_since(now))
    }

    /// For the operator.
    pub(super) fn status(&self, now: Timestamp) -> CacheStatus {
        let held = self.held.load_full();
        let usable = self.usable(now).is_some();
        let state = lock(&self.state);
        let failure = state.failure.as_ref();
        CacheStatus {
            held: held.map(|held| (held.fetched.keys.len(), held.fetched_at)),
            usable,
            failure: failure.map(|failure| failure.error.clone()),
            failures_in_a_row: failure.map_or(0, |failure| failure.in_a_row.saturating_add(1)),
        }
    }

    fn usable(&self, now: Timestamp) -> Option<Arc<HeldKeys>> {
        self.held.load_full().filter(|held| held.is_usable(now))
    }

    /// Waits, in a bounded crowd, for keys that are newer than those at hand.
    async fn fetch_for(self: &Arc<Self>, now: Timestamp) -> Result<Arc<HeldKeys>, FetchError> {
        let _place = self.waiting.try_acquire().map_err(|_| FetchError::TooManyWaiting)?;
        self.flight(now)?.await
    }

    /// The fetch that is under way, or a new one if the pace allows it.
    fn flight(self: &Arc<Self>, now: Timestamp) -> Result<Flight, FetchError> {
        let mut state = lock(&self.state);
        if let Some(flight) = &state.flight {
            return Ok(flight.clone());
        }
        if let Some(failure) = &state.failure
            && now.ms_since(failure.at) < FAILURE_HOLDS_MS
        {
            return Err(failure.error.clone());
        }
        let newcomer = self.newcomers.as_ref().filter(|_| self.held.load().is_none());
        let granted = newcomer.is_none_or(|all| lock(all).take(now)) && state.budget.take(now);
        if !granted {
            let failure = state.failure.as_ref().map(|failure| failure.error.clone());
            return Err(failure.unwrap_or(FetchError::Paced));
        }
        Ok(self.join_or_start(&mut state, now))
    }

    /// The fetch runs in a task of its own: whoever waits for it may leave without ending it.
    fn join_or_start(self: &Arc<Self>, state: &mut State, now: Timestamp) -> Flight {
        if let Some(flight) = &state.flight {
            return flight.clone();
        }
        let landing = Landing { cache: Arc::clone(self) };
        let task = tokio::spawn(async move { landing.cache.fetch(now).await });
        let flight = task.map(|ended| ended.unwrap_or(Err(FetchError::BrokenOff))).boxed().shared();
        state.flight = Some(flight.clone());
        flight
    }

    /// `started` counts as the age of the answer, which can only be younger.
    async fn fetch(&self, started: Timestamp) -> Result<Arc<HeldKeys>, FetchError> {
        let limit = Duration::from_millis(FETCH_TIMEOUT_MS);
        let answer = match tokio::time::timeout(limit, self.source.fetch()).await {
            Ok(answer) => answer,
            Err(_) => Err(FetchError::TimedOut { after_ms: FETCH_TIMEOUT_MS }),
        };
        let mut state = lock(&self.state);
        match answer {
            Ok(fetched) => {
                let held = Arc::new(HeldKeys { fetched, fetched_at: started });
                self.held.store(Some(Arc::clone(&held)));
                state.failure = None;
                state.absent.clear();
                Ok(held)
            }
            Err(error) => {
                let in_a_row = state.failure.as_ref().map_or(0, |failure| failure.in_a_row + 1);
                let failure = Failure { error: error.clone(), at: started, in_a_row };
                state.failure = Some(failure);
                Err(error)
            }
        }
    }

    /// Whether the source was asked for this token's key a moment ago, in vain. One client with a
    /// stale key must not use up what all may ask.
    fn is_known_absent(&self, token: &UnverifiedToken<'_>, now: Timestamp) -> bool {
        let mut state = lock(&self.state);
        state.absent.retain(|(_, since)| now.ms_since(*since) < ABSENCE_HOLDS_MS);
        state.absent.iter().any(|(key_id, _)| *key_id == token.header.key_id)
    }

    fn remember_absent(&self, token: &UnverifiedToken<'_>, now: Timestamp) {
        let mut state = lock(&self.state);
        if state.absent.len() == MAX_ABSENT_KEYS {
            state.absent.remove(0);
        }
        state.absent.push((token.header.key_id.clone(), now));
    }
}

/// Whether a key that we do not have could turn this refusal around.
fn may_be_a_newer_key(token: &UnverifiedToken<'_>, refusal: &TokenError) -> bool {
    matches!(refusal, TokenError::NoSuchKey { .. }) || token.header.key_id.is_none()
}

struct State {
    flight: Option<Flight>,
    budget: Budget,
    failure: Option<Failure>,
    absent: Vec<(Option<String>, Timestamp)>,
}

type Flight = Shared<BoxFuture<'static, Result<Arc<HeldKeys>, FetchError>>>;

struct Failure {
    error: FetchError,
    at: Timestamp,
    in_a_row: u32,
}

/// Ends the flight however its task ends, also by a panic.
struct Landing {
    cache: Arc<KeyCache>,
}

impl Drop for Landing {
    fn drop(&mut self) {
        lock(&self.cache.state).flight = None;
    }
}

struct HeldKeys {
    fetched: FetchedKeys,
    fetched_at: Timestamp,
}

impl HeldKeys {
    fn verify(&self, token: &UnverifiedToken<'_>) -> Result<(), TokenError> {
        let algorithm = token.header.algorithm;
        if !self.fetched.algorithms.contains(algorithm) {
            return Err(TokenError::AlgorithmNotAdvertised { algorithm });
        }
        let key_id = token.header.key_id.as_deref();
        let message = token.signing_input.as_bytes();
        match self.fetched.keys.verify(algorithm, key_id, message, &token.signature) {
            Verdict::Verified => Ok(()),
            Verdict::NoSuchKey => Err(TokenError::NoSuchKey { algorithm }),
            Verdict::WrongSignature => Err(TokenError::Signature),
        }
    }

    fn fresh_ms(&self) -> Option<u64> {
        match self.fetched.lifetime {
            Lifetime::Fixed => None,
            Lifetime::FreshFor { ms } => {
                Some(ms.unwrap_or(DEFAULT_FRESH_MS).clamp(MIN_FRESH_MS, MAX_FRESH_MS))
            }
        }
    }

    /// Also when the clock was set back: how old the keys are is then unknown.
    fn is_due(&self, now: Timestamp) -> bool {
        let past = |fresh_ms| now < self.fetched_at || now.ms_since(self.fetched_at) >= fresh_ms;
        self.fresh_ms().is_some_and(past)
    }

    fn is_usable(&self, now: Timestamp) -> bool {
        self.fetched.lifetime == Lifetime::Fixed || now.ms_since(self.fetched_at) < MAX_STALE_MS
    }
}

/// Nothing that holds these locks can leave half a change behind, so a poisoned one is sound.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
