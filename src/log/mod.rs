//! The transparency log: entries in, verified SCTs out, tiles and checkpoints to read.
//!
//! In: [`crate::ct::Entry`]. Out: [`LoggedSct`], only after the entry's commit is durable. Knows
//! nothing of tokens and CA keys.
use std::sync::Arc;

use bytes::Bytes;

use crate::{ct::{Entry, LogId, SignedCertificateTimestamp}, time::Clock};

/// An SCT that was verified under the log's key and whose entry is durably committed. Made only
/// by [`Log::submit`].
#[derive(Clone, Debug)]
pub struct LoggedSct {
    sct: SignedCertificateTimestamp,
    entry_digest: [u8; 32],
    index: u64,
}

impl LoggedSct {
    pub fn sct(&self) -> &SignedCertificateTimestamp {
        &self.sct
    }
    /// [`Entry::digest`] of the entry it stands for.
    pub fn entry_digest(&self) -> &[u8; 32] {
        &self.entry_digest
    }
    pub fn index(&self) -> u64 {
        self.index
    }
}

/// The embedded log; a cheap handle.
#[derive(Clone, Debug)]
pub struct Log {}

#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    // Overloaded (pool full -> 503), Stopped (storage error), ClockJump...
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {}

/// Where an embedded log lives and who it is.
#[derive(Debug)]
pub struct LogSettings {
    pub data: std::path::PathBuf,
    /// `log.example.com/2026`, no scheme.
    pub origin: String,
    pub signer: Arc<dyn crate::keys::Signer>,
    pub clock: Arc<dyn Clock>,
}

impl Log {
    /// `mayfly log init`: creates an empty log; refuses where one exists.
    pub async fn init(_settings: &LogSettings) -> Result<(), OpenError> {
        todo!()
    }
    /// Opens an existing log, recovering through the normal path; refuses where there is none.
    pub async fn open(_settings: LogSettings) -> Result<Self, OpenError> {
        todo!()
    }
    /// Returns only after the entry is committed (merge delay zero).
    pub async fn submit(&self, _entry: Entry) -> Result<LoggedSct, SubmitError> {
        todo!()
    }
    pub fn id(&self) -> LogId {
        todo!()
    }
    /// The latest signed checkpoint (a signed note).
    pub fn checkpoint(&self) -> Bytes {
        todo!()
    }
    /// Registers the chain certificates so that `issuer/<fingerprint>` can serve them, durably.
    pub async fn add_issuer(&self, _der: &[u8]) -> Result<(), SubmitError> {
        todo!()
    }
    /// `path` below the log's prefix: `checkpoint`, `tile/...`, `tile/data/...`, `issuer/...`.
    pub async fn read(&self, _path: &str) -> Result<Option<Bytes>, ReadError> {
        todo!()
    }
    /// Flushes what is committed into tiles and stops.
    pub async fn shutdown(&self) {
        todo!()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {}
