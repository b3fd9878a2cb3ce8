//! Why an entry got no SCT.

use std::sync::Arc;

use super::{StopReason, tiles::TileStoreError};
use crate::keys::SignError;

/// Cheap to clone: one reason may be the answer to a whole batch.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SubmitError {
    /// The queue is full. The entry is not in the log; trying again later helps.
    #[error("the log has more to do than it can")]
    Overloaded,
    /// Other writers of the same log were faster, several times. Trying again helps.
    #[error("the log's head moved too often")]
    Contended,
    /// The log is shutting down.
    #[error("the log is shutting down")]
    ShuttingDown,
    /// A storage error ended the log in this process. Whether the entry is in the log is known
    /// after the restart; no SCT was given for it.
    #[error("the log stopped")]
    Stopped(#[source] Arc<StopReason>),
    /// What time it is cannot be known: the clock is behind the log's last entry.
    #[error("the clock is {behind_ms} ms behind the log's last timestamp")]
    ClockJump {
        /// How far.
        behind_ms: u64,
    },
    /// The entry refers to a certificate that was not registered with `add_issuer`.
    #[error("issuer {fingerprint} was not registered with the log")]
    UnknownIssuer {
        /// SHA-256 of the certificate, in hex.
        fingerprint: String,
    },
    /// 2^40 entries: static-ct-api has no index for the next one.
    #[error("the log is full")]
    Full,
    /// The log's key did not sign, or its signature did not verify. If it was the SCT's, the entry
    /// is in the log without a promise.
    #[error("the log's key did not sign")]
    Sign(#[source] Arc<SignError>),
    /// An issuer certificate could not be read or written.
    #[error("the log's tile store failed")]
    Tiles(#[source] Arc<TileStoreError>),
}

impl SubmitError {
    pub(super) fn tiles(error: TileStoreError) -> Self {
        Self::Tiles(Arc::new(error))
    }
}
