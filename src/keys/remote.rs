//! What all keys have in common that live elsewhere: in an HSM or a key service.
//!
//! In: a [`Backend`], which can try one signature, and its public key. Out: a [`Signer`] that waits
//! no longer than a deadline, tries again where that helps, asks no more than is allowed at once,
//! leaves a service alone that keeps failing, and returns no signature that does not verify. Knows
//! nothing of protocols and credentials.

use std::{fmt, time::Duration};

use aws_lc_rs::digest::{self, Digest};
use futures_util::future::BoxFuture;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, sleep_until, timeout_at},
};

use super::{SignError, SignatureAlgorithm, Signer, VerifyingKey, ecdsa_der_of_raw};
use crate::telemetry::metrics::{CallResult, KeySeries};

mod breaker;

use breaker::Breaker;

/// A key elsewhere, as far as its protocol goes.
pub trait Backend: Send + Sync + fmt::Debug {
    /// Tries once to sign `digest`, the hash of a message by the key's algorithm. ECDSA may be
    /// answered in DER or as raw `r || s`. Whoever calls may stop waiting at any time.
    fn sign_digest(&self, digest: Digest) -> BoxFuture<'_, Result<Vec<u8>, Fault>>;
}

/// Why one attempt gave no signature. Carries no secret: `code` is what the provider calls it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{operation}: {code}")]
pub struct Fault {
    /// What may help.
    pub kind: FaultKind,
    /// The provider's name of the call that failed.
    pub operation: &'static str,
    /// The provider's name of the failure.
    pub code: String,
}

/// What may help against a [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Trying again, soon.
    Transient,
    /// Trying again, less often.
    Throttled,
    /// An operator: the credentials are not good, or not any more.
    Unauthorized,
    /// An operator: the service refuses this key or this use of it.
    Permanent,
}

/// How long and how often a key is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteBounds {
    /// For one signature with all its attempts; below the deadline of an issuance.
    pub deadline: Duration,
    /// For one attempt.
    pub attempt: Duration,
    /// Attempts for one signature, the first included.
    pub attempts: u32,
    /// Before the second attempt; twice as long before each further one. Jitter takes off up to
    /// half of it.
    pub pause: Duration,
    /// As `pause`, after the service said that it is asked too often.
    pub throttled_pause: Duration,
    /// Attempts under way at once.
    pub in_flight: usize,
    /// Failures in a row after which the service is left alone.
    pub failures: u32,
    /// For so long; then one attempt finds out whether it is back.
    pub rest: Duration,
}

impl Default for RemoteBounds {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(3),
            attempt: Duration::from_millis(1500),
            attempts: 3,
            pause: Duration::from_millis(50),
            throttled_pause: Duration::from_millis(400),
            in_flight: 32,
            failures: 10,
            rest: Duration::from_secs(2),
        }
    }
}

impl RemoteBounds {
    /// `base`, twice as long for each attempt after the first, less up to half of it.
    fn pause(base: Duration, attempt: u32, jitter: &Jitter) -> Duration {
        let longest = base.saturating_mul(1 << attempt.saturating_sub(1).min(8));
        longest - longest.mul_f64(f64::from(jitter()) / 512.0)
    }
}

/// Asks what is asked to open a key, again where that may help: a service that is busy for a moment
/// keeps no server from starting. Who calls sees to a deadline for all of it.
///
/// # Errors
/// What the last attempt ended with.
pub async fn persistently<T, F>(
    bounds: &RemoteBounds,
    jitter: &Jitter,
    mut ask: impl FnMut() -> F,
) -> Result<T, Fault>
where
    F: Future<Output = Result<T, Fault>>,
{
    let mut attempt = 1;
    loop {
        let fault = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(fault) => fault,
        };
        let base = match fault.kind {
            FaultKind::Transient => bounds.pause,
            FaultKind::Throttled => bounds.throttled_pause,
            FaultKind::Unauthorized | FaultKind::Permanent => return Err(fault),
        };
        if attempt == bounds.attempts {
            return Err(fault);
        }
        sleep(RemoteBounds::pause(base, attempt, jitter)).await;
        attempt += 1;
    }
}

/// Where jitter comes from: any number each time.
pub type Jitter = Box<dyn Fn() -> u8 + Send + Sync>;

/// A [`Signer`] on a [`Backend`].
pub struct Remote<B> {
    name: String,
    public_key: VerifyingKey,
    backend: B,
    bounds: RemoteBounds,
    permits: Semaphore,
    breaker: Breaker,
    jitter: Jitter,
    series: KeySeries,
}

impl<B: Backend> Remote<B> {
    /// `name` is the key's URI without secrets; `series` counts what becomes of its calls.
    pub fn new(
        name: String,
        public_key: VerifyingKey,
        backend: B,
        bounds: RemoteBounds,
        jitter: Jitter,
        series: KeySeries,
    ) -> Self {
        let permits = Semaphore::new(bounds.in_flight);
        let breaker = Breaker::new(bounds.failures, bounds.rest);
        Self { name, public_key, backend, bounds, permits, breaker, jitter, series }
    }

    #[cfg(test)]
    pub(super) fn backend(&self) -> &B {
        &self.backend
    }

    #[cfg(test)]
    pub(super) fn set_attempt(&mut self, attempt: Duration) {
        self.bounds.attempt = attempt;
    }

    async fn sign_in_time(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let deadline = Instant::now() + self.bounds.deadline;
        let digest = digest::digest(digest_of(self.public_key.algorithm()), message);
        let mut attempt = 1;
        loop {
            let failure = match self.attempt(message, digest, deadline).await {
                Ok(signature) => return Ok(signature),
                Err(failure) => failure,
            };
            let Some(pause) = self.pause_after(&failure, attempt) else {
                return Err(self.error_of(failure));
            };
            let next = Instant::now() + pause;
            if attempt == self.bounds.attempts || next >= deadline {
                return Err(self.error_of(failure));
            }
            sleep_until(next).await;
            attempt += 1;
        }
    }

    /// One attempt, counted and judged.
    async fn attempt(
        &self,
        message: &[u8],
        digest: Digest,
        deadline: Instant,
    ) -> Result<Vec<u8>, Failure> {
        // The wait for a turn is no failure of the service, so the breaker does not hear of it.
        let Ok(Ok(_permit)) = timeout_at(deadline, self.permits.acquire()).await else {
            return Err(Failure::Crowded);
        };
        let begun = Instant::now();
        if begun >= deadline {
            return Err(Failure::Crowded);
        }
        if !self.breaker.admits(begun) {
            self.series.rejected();
            return Err(Failure::LeftAlone);
        }
        let until = deadline.min(begun + self.bounds.attempt);
        let outcome = match timeout_at(until, self.backend.sign_digest(digest)).await {
            Ok(Ok(answer)) => self.verified(message, answer).ok_or(Failure::BadSignature),
            Ok(Err(fault)) => Err(Failure::Fault(fault)),
            Err(_elapsed) => Err(Failure::TimedOut),
        };
        let now = Instant::now();
        self.series.called(result_of(outcome.as_ref().err()), now - begun);
        let open = self.breaker.record(outcome.is_ok(), now);
        self.series.set_circuit_open(open);
        outcome
    }

    /// The answer as DER, if it is a signature over `message` by this key.
    fn verified(&self, message: &[u8], answer: Vec<u8>) -> Option<Vec<u8>> {
        // A raw `r || s` may by rare chance have the form of DER too: which it is, its validity
        // says, and not its form.
        let converted = ecdsa_der_of_raw(self.public_key.algorithm(), &answer);
        [Some(answer), converted]
            .into_iter()
            .flatten()
            .find(|signature| self.public_key.verifies(message, signature))
    }

    /// `None` where another attempt would not help.
    fn pause_after(&self, failure: &Failure, attempt: u32) -> Option<Duration> {
        let pause = match failure {
            Failure::TimedOut => self.bounds.pause,
            Failure::Fault(fault) => match fault.kind {
                FaultKind::Transient => self.bounds.pause,
                FaultKind::Throttled => self.bounds.throttled_pause,
                FaultKind::Unauthorized | FaultKind::Permanent => return None,
            },
            // A key that signed something else is not asked until it happens to sign the right
            // thing.
            Failure::BadSignature | Failure::Crowded | Failure::LeftAlone => return None,
        };
        Some(RemoteBounds::pause(pause, attempt, &self.jitter))
    }

    fn error_of(&self, failure: Failure) -> SignError {
        let key = self.name.clone();
        if matches!(failure, Failure::BadSignature) {
            tracing::error!(key, "the service behind the key answered with what is no signature");
            return SignError::BadSignature { key };
        }
        let refused =
            matches!(&failure, Failure::Fault(fault) if fault.kind == FaultKind::Permanent);
        let source = Box::new(failure);
        if refused {
            return SignError::Refused { key, source };
        }
        SignError::Unavailable { key, source: Some(source) }
    }
}

impl<B: Backend> Signer for Remote<B> {
    fn name(&self) -> &str {
        &self.name
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.public_key.algorithm()
    }

    fn public_key_der(&self) -> &[u8] {
        self.public_key.spki_der()
    }

    fn sign<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<Vec<u8>, SignError>> {
        Box::pin(self.sign_in_time(message))
    }
}

impl<B: fmt::Debug> fmt::Debug for Remote<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote")
            .field("name", &self.name)
            .field("algorithm", &self.public_key.algorithm())
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}

/// Jitter from the machine's random source. Without one there is none, which costs politeness only.
pub fn random_jitter() -> Jitter {
    Box::new(|| {
        let mut byte = [0];
        let _without = aws_lc_rs::rand::fill(&mut byte);
        byte[0]
    })
}

/// Why one attempt, or the wait for it, gave no signature.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Fault(Fault),
    #[error("no answer in time")]
    TimedOut,
    #[error("the answer is no signature of this key over what was to be signed")]
    BadSignature,
    #[error("too many signatures are waiting for this key")]
    Crowded,
    #[error("it failed too often in a row and is left alone for a while")]
    LeftAlone,
}

fn result_of(failure: Option<&Failure>) -> CallResult {
    match failure {
        None => CallResult::Ok,
        Some(Failure::Fault(fault)) => match fault.kind {
            FaultKind::Transient => CallResult::Unavailable,
            FaultKind::Throttled => CallResult::Throttled,
            FaultKind::Unauthorized => CallResult::Unauthorized,
            FaultKind::Permanent => CallResult::Refused,
        },
        Some(Failure::BadSignature) => CallResult::BadSignature,
        Some(Failure::TimedOut | Failure::Crowded | Failure::LeftAlone) => CallResult::TimedOut,
    }
}

fn digest_of(algorithm: SignatureAlgorithm) -> &'static digest::Algorithm {
    match algorithm {
        SignatureAlgorithm::EcdsaP256Sha256 | SignatureAlgorithm::RsaPkcs1Sha256 => &digest::SHA256,
        SignatureAlgorithm::EcdsaP384Sha384 => &digest::SHA384,
    }
}

#[cfg(test)]
#[path = "remote_tests.rs"]
mod tests;
