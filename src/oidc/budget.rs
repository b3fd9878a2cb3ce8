//! How often strangers may make us do something.
//!
//! In: the time. Out: yes or no. Knows nothing of what is done.

use crate::time::Timestamp;

/// A token bucket: `burst` at once, then one each `refill_ms`.
#[derive(Debug)]
pub(super) struct Budget {
    burst: u64,
    refill_ms: u64,
    left: u64,
    counted_from: Timestamp,
}

impl Budget {
    /// A full one.
    pub(super) fn new(burst: u64, refill_ms: u64) -> Self {
        Self { burst, refill_ms, left: burst, counted_from: Timestamp::from_unix_ms(0) }
    }

    /// Takes one, if there is one.
    pub(super) fn take(&mut self, now: Timestamp) -> bool {
        let refills = now.ms_since(self.counted_from) / self.refill_ms;
        if self.left.saturating_add(refills) >= self.burst {
            self.left = self.burst;
            self.counted_from = now;
        } else {
            self.left += refills;
            self.counted_from = self.counted_from.plus_ms(refills * self.refill_ms);
        }
        // A clock that was set back must not close the bucket until it has caught up.
        if now < self.counted_from {
            self.counted_from = now;
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nt_16_a_flood_gets_the_burst_and_then_a_trickle() {
        let mut budget = Budget::new(3, 20_000);
        let start = Timestamp::from_unix_seconds(1_800_000_000);
        let granted = |budget: &mut Budget, from_ms: u64, to_ms: u64| {
            (from_ms..to_ms).step_by(10).filter(|ms| budget.take(start.plus_ms(*ms))).count()
        };
        assert_eq!(granted(&mut budget, 0, 10_000), 3);
        assert_eq!(granted(&mut budget, 10_000, 60_000), 2);
        assert_eq!(granted(&mut budget, 60_000, 120_000), 3);
        assert_eq!(granted(&mut budget, 1_000_000, 1_010_000), 3);
    }

    #[test]
    fn a_clock_set_back_neither_opens_nor_closes_it() {
        let mut budget = Budget::new(1, 20_000);
        let start = Timestamp::from_unix_seconds(1_800_000_000);
        assert!(budget.take(start));
        let earlier = start.minus_ms(3_600_000);
        assert!(!budget.take(earlier));
        assert!(budget.take(earlier.plus_ms(20_000)));
    }
}
