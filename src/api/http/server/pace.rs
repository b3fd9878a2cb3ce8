//! How fast all connections together may use something up.
//!
//! In: how much was taken, and what of it is given back because it served a request. Out: whether
//! there is more. What it counts does not matter.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use tokio::time::Instant;

/// Filled at the start, and again as time goes by.
#[derive(Debug)]
pub(super) struct Pace {
    most: i64,
    a_second: i64,
    began: Instant,
    left: AtomicI64,
    refilled_at_ms: AtomicU64,
}

impl Pace {
    /// Never more than `most`, and `a_second` more each second.
    pub(super) fn new(most: i64, a_second: i64) -> Self {
        Self {
            most,
            a_second,
            began: Instant::now(),
            left: AtomicI64::new(most),
            refilled_at_ms: AtomicU64::new(0),
        }
    }

    /// So much is used, whether there is any or not. Who took too much at once makes all wait for it,
    /// but never for longer than a moment.
    pub(super) fn take(&self, amount: i64) {
        let least = -self.a_second / LONGEST_WAIT_SHARE;
        let sub = |left: i64| Some(left.saturating_sub(amount).max(least));
        // Never `Err`: `sub` always has an answer.
        let _before = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sub);
    }

    /// So much of it is as if it had never been taken.
    pub(super) fn give_back(&self, amount: i64) {
        let add = |left: i64| Some(left.saturating_add(amount).min(self.most));
        // Never `Err`: `add` always has an answer.
        let _before = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Whether nothing is left at `now`.
    pub(super) fn is_used_up(&self, now: Instant) -> bool {
        let now_ms = now.saturating_duration_since(self.began).as_millis();
        let now_ms = u64::try_from(now_ms).unwrap_or(u64::MAX);
        let before_ms = self.refilled_at_ms.fetch_max(now_ms, Ordering::Relaxed);
        if let Some(passed_ms @ 1..) = now_ms.checked_sub(before_ms) {
            let passed_ms = i64::try_from(passed_ms).unwrap_or(i64::MAX);
            self.give_back(passed_ms.saturating_mul(self.a_second) / 1000);
        }
        self.left.load(Ordering::Relaxed) <= 0
    }
}

/// Of a second.
const LONGEST_WAIT_SHARE: i64 = 4;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_used_up_comes_back_with_time_and_by_being_given_back() {
        let pace = Pace::new(100, 1000);
        let used_up = || pace.is_used_up(Instant::now());
        pace.take(100);
        assert!(used_up());
        pace.give_back(1);
        assert!(!used_up());
        pace.take(51);
        tokio::time::advance(Duration::from_millis(50)).await;
        assert!(used_up());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!used_up());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_long_for_what_others_took() {
        let pace = Pace::new(100, 1000);
        for _ in 0..100 {
            pace.take(i64::MAX);
        }
        tokio::time::advance(Duration::from_millis(250)).await;
        assert!(pace.is_used_up(Instant::now()));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!pace.is_used_up(Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_never_more_than_at_the_start() {
        let pace = Pace::new(100, 1000);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert!(!pace.is_used_up(Instant::now()));
        pace.give_back(i64::MAX);
        pace.take(100);
        assert!(pace.is_used_up(Instant::now()));
    }
}
