//! Several authorities, and which of them signs and is trusted when.
//!
//! In: authorities with activation and retirement times, and a time. Out: the one that signs, the
//! chains a verifier must know. Everything here is a pure function of the clock (docs: rotation);
//! nothing is kept, so a restart changes nothing.

use std::sync::Arc;

use super::{CaError, Issuer, LEAF_LIFETIME_SECONDS};
use crate::{time::Timestamp, x509::Certificate};

/// An issuer with the span in which it signs.
#[derive(Clone, Debug)]
pub struct Authority {
    /// Key and chain.
    pub issuer: Arc<Issuer>,
    /// From when on it signs; `None`: always has.
    pub activate: Option<Timestamp>,
    /// From when on it signs no more; `None`: not planned.
    pub retire: Option<Timestamp>,
}

/// Where an authority is in its life. Phases follow each other in this order only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Verifiers learn of it; it does not sign yet.
    Pending,
    /// Signs, unless a newer one is active too.
    Active,
    /// Signs no more; some of its certificates may still be valid.
    Retired,
    /// None of its certificates is valid any more.
    Gone,
}

/// What of an authority decides when it signs and is trusted: no key is needed to know it.
#[derive(Clone, Copy, Debug)]
pub struct Planned<'a> {
    /// Issuing CA first, root last.
    pub chain: &'a [Certificate],
    /// From when on it signs; `None`: always has.
    pub activate: Option<Timestamp>,
    /// From when on it signs no more; `None`: not planned.
    pub retire: Option<Timestamp>,
    /// The last second in which every certificate of the chain is valid.
    pub valid_until: Timestamp,
}

impl<'a> Planned<'a> {
    /// For this chain; one that is empty was never valid.
    pub fn new(
        chain: &'a [Certificate],
        activate: Option<Timestamp>,
        retire: Option<Timestamp>,
    ) -> Self {
        let ends = chain.iter().map(Certificate::not_after);
        let valid_until = ends.min().unwrap_or(Timestamp::from_unix_ms(0));
        Self { chain, activate, retire, valid_until }
    }

    /// Where it is in its life at `now`.
    pub fn phase_at(&self, now: Timestamp) -> Phase {
        if now >= self.gone_from() {
            Phase::Gone
        } else if self.retire.is_some_and(|retire| now >= retire) {
            Phase::Retired
        } else if self.activate.is_none_or(|activate| now >= activate) {
            Phase::Active
        } else {
            Phase::Pending
        }
    }

    /// No certificate lives longer than its issuer, nor longer than ten minutes from the last
    /// moment at which one could be signed. Until then it is in the trust bundle.
    pub fn last_certificate_expires(&self) -> Timestamp {
        match self.retire {
            Some(retire) => self.valid_until.min(retire.plus_ms(LEAF_LIFETIME_SECONDS * 1000)),
            None => self.valid_until,
        }
    }

    /// The first second whose certificate the chain does not cover to its end: the issuer refuses
    /// instead of cutting it short (NT-43).
    pub fn signs_no_more_from(&self) -> Timestamp {
        let last_second = self.valid_until.unix_seconds().checked_sub(LEAF_LIFETIME_SECONDS);
        Timestamp::from_unix_seconds(last_second.map_or(0, |second| second + 1))
    }

    /// The first instant at which nothing that it signed is valid. The last second of a certificate
    /// belongs to it whole (RFC 5280, 4.1.2.5: notAfter is inclusive), and X.509 knows no fractions.
    pub fn gone_from(&self) -> Timestamp {
        Timestamp::from_unix_seconds(self.last_certificate_expires().unix_seconds() + 1)
    }
}

impl Authority {
    /// Its public half.
    pub fn planned(&self) -> Planned<'_> {
        Planned {
            chain: self.issuer.chain(),
            activate: self.activate,
            retire: self.retire,
            valid_until: self.issuer.valid_until(),
        }
    }

    /// Where it is in its life at `now`.
    pub fn phase_at(&self, now: Timestamp) -> Phase {
        self.planned().phase_at(now)
    }
}

/// Which of several authorities signs at `now`: of the active ones the last that was activated.
/// `None` sorts before every time, so that always active is the oldest.
pub(super) fn signing_index<'a>(
    authorities: impl Iterator<Item = Planned<'a>>,
    now: Timestamp,
) -> Option<usize> {
    authorities
        .enumerate()
        .filter(|(_, authority)| authority.phase_at(now) == Phase::Active)
        .max_by_key(|(_, authority)| authority.activate)
        .map(|(index, _)| index)
}

/// Every reason for which authorities cannot stand beside each other, in their order.
pub(super) fn conflicts(authorities: &[Planned<'_>]) -> Vec<CaSetError> {
    if authorities.is_empty() {
        return vec![CaSetError::Empty];
    }
    let mut found = Vec::new();
    for (second, authority) in authorities.iter().enumerate() {
        found.extend(check_span(authority, second + 1).err());
        for (first, earlier) in authorities[..second].iter().enumerate() {
            check_pair(earlier, authority, first + 1, second + 1, &mut found);
        }
    }
    found
}

/// Several authorities; never empty, and at each time at most one of them signs.
#[derive(Clone, Debug)]
pub struct CaSet {
    /// By activation, oldest first.
    authorities: Vec<Authority>,
}

/// Authorities that cannot stand beside each other. Positions count from 1, as configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaSetError {
    #[error("there is no authority: configure one under 'authorities'")]
    Empty,
    #[error("authority {position} retires at {retire}, not after it is activated at {activate}")]
    NeverActive { position: usize, activate: Timestamp, retire: Timestamp },
    #[error(
        "authorities {first} and {second} are activated at the same time: \
         give the one that is to take over a later 'activate'"
    )]
    SameActivation { first: usize, second: usize },
    #[error("authorities {first} and {second} have the same key: give each its own")]
    SameKey { first: usize, second: usize },
    #[error(
        "authorities {first} and {second} have issuing certificates with the same subject, and \
         some clients find an issuer by its name alone: give each its own common name"
    )]
    SameSubject { first: usize, second: usize },
}

impl CaSet {
    /// Puts authorities together.
    ///
    /// # Errors
    /// It would not be clear which one signs, or which one signed.
    pub fn new(mut authorities: Vec<Authority>) -> Result<Self, CaSetError> {
        let planned: Vec<Planned<'_>> = authorities.iter().map(Authority::planned).collect();
        if let Some(conflict) = conflicts(&planned).into_iter().next() {
            return Err(conflict);
        }
        // `None` sorts before every time: always active is the oldest.
        authorities.sort_by_key(|authority| authority.activate);
        Ok(Self { authorities })
    }

    /// All authorities, by activation, oldest first.
    pub fn authorities(&self) -> &[Authority] {
        &self.authorities
    }

    /// The authority that signs at `now`: the newest activated one that is not retired.
    ///
    /// # Errors
    /// [`CaError::NoneActive`].
    pub fn signing_at(&self, now: Timestamp) -> Result<Arc<Issuer>, CaError> {
        signing_index(self.authorities.iter().map(Authority::planned), now)
            .and_then(|index| self.authorities.get(index))
            .map(|authority| Arc::clone(&authority.issuer))
            .ok_or(CaError::NoneActive)
    }

    /// Whether a certificate can be signed at `now`: in the last ten minutes of the chain of the one
    /// that signs none can.
    pub fn signs_at(&self, now: Timestamp) -> bool {
        let index = signing_index(self.authorities.iter().map(Authority::planned), now);
        let authority = index.and_then(|index| self.authorities.get(index));
        authority.is_some_and(|authority| now < authority.planned().signs_no_more_from())
    }

    /// Every chain a verifier must know at `now`, issuing CA first, root last: those that will
    /// sign, sign, or signed certificates that are still valid. Oldest first.
    pub fn trusted_at(&self, now: Timestamp) -> Vec<&[Certificate]> {
        self.authorities
            .iter()
            .filter(|authority| authority.phase_at(now) != Phase::Gone)
            .map(|authority| authority.issuer.chain())
            .collect()
    }

    /// Every certificate that entries made at `now` may refer to: those of [`CaSet::trusted_at`], and
    /// those that sign precertificates.
    pub fn logged_at(&self, now: Timestamp) -> impl Iterator<Item = &Certificate> {
        let of_precertificates =
            self.authorities.iter().filter_map(|it| it.issuer.precertificate_signing_certificate());
        self.trusted_at(now).into_iter().flatten().chain(of_precertificates)
    }
}

fn check_span(authority: &Planned<'_>, position: usize) -> Result<(), CaSetError> {
    match (authority.activate, authority.retire) {
        (Some(activate), Some(retire)) if retire <= activate => {
            Err(CaSetError::NeverActive { position, activate, retire })
        }
        _ => Ok(()),
    }
}

fn check_pair(
    earlier: &Planned<'_>,
    later: &Planned<'_>,
    first: usize,
    second: usize,
    found: &mut Vec<CaSetError>,
) {
    if earlier.activate == later.activate {
        found.push(CaSetError::SameActivation { first, second });
    }
    let (Some(a), Some(b)) = (earlier.chain.first(), later.chain.first()) else { return };
    if a.spki_der() == b.spki_der() {
        found.push(CaSetError::SameKey { first, second });
    }
    if a.subject_der() == b.subject_der() {
        found.push(CaSetError::SameSubject { first, second });
    }
}

#[cfg(test)]
#[path = "set_tests.rs"]
mod tests;
