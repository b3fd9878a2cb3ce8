//! The certificate authority: signs what was approved, and nothing else.
//!
//! In: [`Approved`], a time and a serial. Out: a [`Precert`], and with its SCT an [`Issued`].
//! Knows nothing of tokens, HTTP and storage.
use std::sync::Arc;

use crate::{ct, keys::SignError, log::LoggedSct, policy::Approved, time::Timestamp, x509::Certificate};

/// 20 octets, positive, at least 64 random bits (NT-45). Randomness is an argument of its maker.
#[derive(Clone, Debug)]
pub struct Serial([u8; 20]);

impl Serial {
    pub fn from_random(_random: [u8; 20]) -> Self {
        todo!()
    }
}

/// One authority: a key and its chain, with everything prepared for signing.
#[derive(Debug)]
pub struct Issuer {}

/// Several authorities with activation and retirement times; which one signs is a pure function
/// of the clock.
#[derive(Debug)]
pub struct CaSet {}

impl CaSet {
    /// The authority that signs at `now`: the newest activated, not retired.
    pub fn signing_at(&self, _now: Timestamp) -> Result<Arc<Issuer>, CaError> {
        todo!()
    }
    /// Every chain a verifier must know at `now`, issuing CA first, root last.
    pub fn trusted_at(&self, _now: Timestamp) -> Vec<&[Certificate]> {
        todo!()
    }
}

impl Issuer {
    pub fn chain(&self) -> &[Certificate] {
        todo!()
    }
    /// Signs the precertificate. The only function that brings bytes to the CA key, with
    /// [`Precert::finish`].
    pub async fn precertify(
        self: Arc<Self>,
        _approved: Approved,
        _now: Timestamp,
        _serial: Serial,
    ) -> Result<Precert, CaError> {
        todo!()
    }
}

/// A signed precertificate. Not `Clone`: two final certificates for one do not compile.
#[derive(Debug)]
pub struct Precert {}

impl Precert {
    /// What the log is to take up.
    pub fn log_entry(&self) -> ct::Entry {
        todo!()
    }
    /// Builds and signs the final certificate; refuses an SCT for another entry; byte-compares
    /// the two TBS.
    pub async fn finish(self, _sct: LoggedSct) -> Result<Issued, CaError> {
        todo!()
    }
}

/// The final certificate with its chain.
#[derive(Debug)]
pub struct Issued {}

impl Issued {
    pub fn der(&self) -> &[u8] {
        todo!()
    }
    /// Leaf first, root last; chain PEM is prepared once per issuer.
    pub fn pem_chain(&self) -> impl Iterator<Item = &str> {
        [].into_iter()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum CaError {
    #[error("no authority signs at this time")]
    NoneActive,
    #[error(transparent)]
    Sign(#[from] SignError),
}
