//! The one commit point of a log.
//!
//! In: batches of entries with the head they stand on. Out: the head, and the batches that are
//! not yet in tiles. Knows nothing of trees, tiles, keys and certificates: to a coordinator an
//! entry is bytes and a root is 32 of them.

use std::fmt;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::{ct::LogId, time::Timestamp};

pub mod sqlite;

#[cfg(test)]
pub(crate) mod contract;

/// Who a log is; written once, by `create`, and never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogIdentity {
    /// Tells this log from every other, also from one made later with the same key and origin.
    pub instance: [u8; 32],
    /// The key it signs with.
    pub log_id: LogId,
    /// The name in its checkpoints.
    pub origin: String,
}

/// The state of a log after some commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Entries in the tree.
    pub size: u64,
    /// Merkle tree hash over them.
    pub root: [u8; 32],
    /// When it was signed; no entry is later.
    pub timestamp: Timestamp,
    /// The signed note that says all this.
    pub checkpoint: Bytes,
}

/// Entries that were committed together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Index of the first entry.
    pub first_index: u64,
    /// Size of the tree with this batch as its last.
    pub size_after: u64,
    /// Root of that tree: with it a damaged batch is told from a damaged neighbour.
    pub root_after: [u8; 32],
    /// The entries as they stand in a data tile, one behind the other.
    pub entries: Bytes,
}

/// One step from a head to the next.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The head this step starts from; any other head is a [`CommitOutcome::Conflict`].
    pub expected: Head,
    /// The head after it.
    pub next: Head,
    /// The entries from `expected.size` to `next.size`, as in [`Batch::entries`].
    pub entries: Bytes,
}

/// What is known after [`Coordinator::commit`].
#[derive(Debug)]
pub enum CommitOutcome {
    /// Batch and head are durable.
    Committed,
    /// The head is not the expected one. Nothing was changed.
    Conflict,
    /// Nobody can tell; [`Coordinator::load`] has to be asked.
    Unknown(CoordinatorError),
}

/// Everything a log needs to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Who it is.
    pub identity: LogIdentity,
    /// The latest commit.
    pub head: Head,
    /// The batches that were not dropped, in order, without gaps, the last one ending at the head.
    pub batches: Vec<Batch>,
}

/// Where commits become durable.
///
/// Contract, held by the suite in `coordinator::contract` for every implementation:
/// - `create` makes a log where there is none, and refuses where there is one;
/// - `commit` changes head and batches in one step, or not at all; two commits from one head
///   cannot both succeed; when it answers `Committed` the step survives a power cut;
/// - dropping the future of `commit` does not take the step back;
/// - `load` answers with one consistent state, whose entries are those that were committed, or with
///   [`CoordinatorError::Damaged`]. After `Unknown` it tells what happened, or it
///   fails: an implementation that has seen an error after which what it reads may not be what
///   the disk holds answers everything with that error from then on;
/// - `drop_batches(below)` drops the batches that end at or below `below`, and only those; it may
///   be repeated;
/// - after `close` everything fails, and another process may open the store.
pub trait Coordinator: Send + Sync + fmt::Debug {
    /// How to name the store in messages: its file or address, without secrets.
    fn store(&self) -> &str;
    /// Makes an empty log.
    fn create(
        &self,
        identity: LogIdentity,
        head: Head,
    ) -> BoxFuture<'_, Result<(), CoordinatorError>>;
    /// Reads everything; `None` where `create` was never called.
    fn load(&self) -> BoxFuture<'_, Result<Option<Stored>, CoordinatorError>>;
    /// Tries one step.
    fn commit(&self, commit: Commit) -> BoxFuture<'_, CommitOutcome>;
    /// Forgets the batches that end at or below entry `below`.
    fn drop_batches(&self, below: u64) -> BoxFuture<'_, Result<(), CoordinatorError>>;
    /// Lets go of the store.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// Why a coordinator could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CoordinatorError {
    /// `create` on a store that has a log.
    #[error("{store}: there is a log in it already")]
    AlreadyExists {
        /// The file or address of the store.
        store: String,
    },
    /// What was read is not what was written.
    #[error("{store}: {what} is damaged")]
    Damaged {
        /// The file or address of the store.
        store: String,
        /// Table and row.
        what: String,
    },
    /// The store refused.
    #[error("{store}: could not {doing}")]
    Storage {
        /// The file or address of the store.
        store: String,
        /// What was tried.
        doing: &'static str,
        /// The store's own words.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An earlier error made the store untrustworthy, or it was closed.
    #[error("{store}: not used any more: {reason}")]
    Closed {
        /// The file or address of the store.
        store: String,
        /// Why.
        reason: String,
    },
}
