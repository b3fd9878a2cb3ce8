//! Each token once.
//!
//! In: a verified token's signed bytes and expiry. Out: whether they were here before. Knows
//! nothing of issuers.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest;

use super::error::TokenError;
use crate::time::Timestamp;

/// Remembers tokens until they expire: about 64 bytes each.
///
/// It knows the tokens by the hash of what was signed, not of the whole text: whoever has an ECDSA
/// signature can write another that is valid too. A token counts as used from its verification on,
/// whatever becomes of the request.
#[derive(Debug)]
pub(super) struct ReplayGuard {
    capacity: usize,
    seen: Mutex<HashMap<[u8; 32], Timestamp>>,
}

impl ReplayGuard {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, seen: Mutex::default() }
    }

    /// Marks the token as used.
    ///
    /// # Errors
    /// It was used before; or the guard is full, in which case nothing is accepted rather than
    /// anything forgotten.
    pub(super) fn admit(
        &self,
        signing_input: &str,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), TokenError> {
        let mut key = [0; 32];
        key.copy_from_slice(digest::digest(&digest::SHA256, signing_input.as_bytes()).as_ref());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.contains_key(&key) {
            return Err(TokenError::Replayed);
        }
        if seen.len() >= self.capacity {
            // Rare: once per `capacity` tokens, or when under attack by those who can sign.
            seen.retain(|_, expires_at| *expires_at > now);
        }
        if seen.len() >= self.capacity {
            return Err(TokenError::ReplayGuardFull);
        }
        seen.insert(key, expires_at);
        Ok(())
    }
}

/// Tokens that one guard remembers.
pub(super) const CAPACITY: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nt_24_a_token_is_admitted_once() {
        let guard = ReplayGuard::new(2);
        let (now, soon) = (Timestamp::from_unix_seconds(100), Timestamp::from_unix_seconds(200));
        assert_eq!(guard.admit("a.b", soon, now), Ok(()));
        assert_eq!(guard.admit("a.b", soon, now), Err(TokenError::Replayed));
        assert_eq!(guard.admit("a.c", soon, now), Ok(()));
    }

    #[test]
    fn nt_24_a_full_guard_forgets_only_what_has_expired() {
        let guard = ReplayGuard::new(2);
        let at = Timestamp::from_unix_seconds;
        assert_eq!(guard.admit("a.a", at(150), at(100)), Ok(()));
        assert_eq!(guard.admit("a.b", at(200), at(100)), Ok(()));
        assert_eq!(guard.admit("a.c", at(200), at(100)), Err(TokenError::ReplayGuardFull));
        assert_eq!(guard.admit("a.a", at(150), at(100)), Err(TokenError::Replayed));
        assert_eq!(guard.admit("a.c", at(200), at(150)), Ok(()));
        assert_eq!(guard.admit("a.b", at(200), at(150)), Err(TokenError::Replayed));
    }
}
