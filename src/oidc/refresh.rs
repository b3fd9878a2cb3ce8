//! Keeping keys fresh before anybody needs them.
//!
//! In: the caches of the listed issuers, a clock. Out: tasks. Knows nothing of tokens.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::cache::KeyCache;
use crate::time::Clock;

/// The background of an issuer table. Dropping it ends the tasks.
#[derive(Debug)]
#[must_use = "the tasks end when this is dropped"]
pub struct RefreshTasks {
    _tasks: JoinSet<()>,
}

impl RefreshTasks {
    /// One task per cache, so that no issuer waits for another. Must be called inside a runtime.
    pub(super) fn spawn(
        caches: impl IntoIterator<Item = Arc<KeyCache>>,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let mut tasks = JoinSet::new();
        let spread = RandomState::new();
        for (index, cache) in caches.into_iter().enumerate() {
            let jitter = spread.hash_one(index) % MAX_JITTER_PERCENT;
            tasks.spawn(keep_fresh(cache, Arc::clone(clock), jitter));
        }
        Self { _tasks: tasks }
    }
}

/// Asks when the keys are due, a little early, so that many replicas do not ask at once.
async fn keep_fresh(cache: Arc<KeyCache>, clock: Arc<dyn Clock>, jitter_percent: u64) {
    while let Some(due_ms) = cache.ms_until_due(clock.now()) {
        if due_ms > 0 {
            let sleep_ms = (due_ms - due_ms * jitter_percent / 100).max(MIN_SLEEP_MS);
            tokio::time::sleep(Duration::from_millis(sleep_ms)).await;
        }
        // The cache keeps a failure: it says when to try again, and `status` tells the operator.
        drop(cache.refresh(clock.now()).await);
    }
}

const MAX_JITTER_PERCENT: u64 = 20;
/// However short an issuer or a clock makes it.
const MIN_SLEEP_MS: u64 = 1_000;
