//! Where an issuer's keys come from, as seen by the cache.
//!
//! In: nothing. Out: keys, the algorithms that may use them, and how long they are fresh. Knows
//! nothing of tokens.

use std::fmt;

use futures_util::future::BoxFuture;

use super::algorithm::AlgorithmSet;
use super::keys::{KeySet, KeySetError};

/// The outside: whoever can say what an issuer's keys are.
///
/// Contract:
/// - one call asks once; retries, pacing and caching belong to the caller;
/// - the answer is about one issuer, whose identity the source has checked: a discovery document of
///   another issuer is an error, never keys;
/// - memory is bounded whatever the other side sends; time is bounded by the caller, who may drop
///   the future at any point;
/// - it never panics on what the other side sends.
pub trait KeySource: Send + Sync + fmt::Debug {
    /// Asks for the keys in force now.
    fn fetch(&self) -> BoxFuture<'_, Result<FetchedKeys, FetchError>>;
}

/// One answer of a [`KeySource`].
#[derive(Clone, Debug)]
pub struct FetchedKeys {
    /// The keys that verify signatures.
    pub keys: KeySet,
    /// What the issuer signs with.
    pub algorithms: AlgorithmSet,
    /// When to ask again.
    pub lifetime: Lifetime,
}

/// How long an answer is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// For ever: the operator wrote it out, and asking again would give the same.
    Fixed,
    /// As long as the other side said, if it said so. The cache bounds it both ways.
    FreshFor {
        /// `Cache-Control: max-age`, in milliseconds.
        ms: Option<u64>,
    },
}

/// Why a [`KeySource`] had no keys. The texts are for the operator; callers see none of them.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum FetchError {
    /// No HTTP client could be made: no trusted certificates on this machine, or unreadable ones.
    #[error("no HTTPS client can be made; are the system's CA certificates installed?")]
    Client,
    /// DNS, TCP or TLS failed, or the host resolves to an address that is not allowed.
    #[error("{url} cannot be reached: {reason}")]
    Unreachable { url: String, reason: String },
    /// Too slow, in whatever phase.
    #[error("no complete answer within {after_ms} ms")]
    TimedOut { after_ms: u64 },
    /// Redirects are never followed (CVE-2026-49478).
    #[error("{url} answers with a redirect ({status}), which is not followed")]
    Redirect { url: String, status: u16 },
    /// Any other answer than 200.
    #[error("{url} answers with status {status}")]
    Status { url: String, status: u16 },
    /// A body longer than we read.
    #[error("{url} answers with more than {max_bytes} bytes")]
    TooLarge { url: String, max_bytes: usize },
    /// Not a discovery document.
    #[error("{url} is not a discovery document: {reason}")]
    NotDiscovery { url: String, reason: &'static str },
    /// The discovery document is that of another issuer (OpenID Connect Discovery, section 4.3).
    #[error("{url} says that its issuer is '{says}'")]
    WrongIssuer { url: String, says: String },
    /// A `jwks_uri` that a document may not send us to.
    #[error("'jwks_uri' {uri} is refused: {reason}")]
    KeysElsewhere { uri: String, reason: &'static str },
    /// Not a usable key set.
    #[error("the key set is refused")]
    KeySet {
        #[source]
        source: KeySetError,
    },
    /// Too many tokens wait for this issuer's keys already.
    #[error("too many tokens wait for the keys of this issuer")]
    TooManyWaiting,
    /// It was asked too often in the last minute, or failed a moment ago.
    #[error("it was asked too often, and will be asked again later")]
    Paced,
    /// The task that asked ended before it had an answer.
    #[error("the request was broken off")]
    BrokenOff,
}
