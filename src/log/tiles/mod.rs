//! The store of what never changes: full tiles, issuer certificates.
//!
//! In: an [`Object`] and its bytes, once. Out: the same bytes. Knows nothing of trees and heads.
//! All of it is derived from commits, so a write may be repeated, but never with other bytes.

use std::fmt;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::tlog::Tile;

pub mod fs;

#[cfg(test)]
pub(crate) mod contract;

/// What a store holds. Paths are made from numbers and fingerprints, never from text that came
/// from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Object {
    /// A full tile of hashes or entries. Partial tiles are not stored: their entries are still
    /// with the coordinator.
    Tile(Tile),
    /// A certificate of some chain, by its SHA-256.
    Issuer([u8; 32]),
    /// Which log the store belongs to.
    Instance,
}

impl fmt::Display for Object {
    /// The path below the store's root; static-ct-api, "Merkle Tree", "Log Entries", "Issuers".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tile(tile) => tile.fmt(f),
            Self::Issuer(fingerprint) => write!(f, "issuer/{}", hex::encode(fingerprint)),
            Self::Instance => f.write_str("log-instance"),
        }
    }
}

/// Where tiles are kept.
///
/// Contract, held by the suite in `tiles::contract` for every implementation:
/// - after `create` returned, the object is there with these bytes and survives a power cut; a
///   reader sees all of it or nothing;
/// - creating it again with the same bytes succeeds, and is as durable as the first time;
/// - creating it with other bytes changes nothing and answers [`TileStoreError::Differs`];
/// - of two creations at once one wins, and the other is treated as the later one;
/// - `read` answers `None` only where the object is not there, an error where it cannot tell.
pub trait TileStore: Send + Sync + fmt::Debug {
    /// Writes what was not there.
    fn create(&self, object: Object, bytes: Bytes) -> BoxFuture<'_, Result<(), TileStoreError>>;
    /// Reads a whole object.
    fn read(&self, object: Object) -> BoxFuture<'_, Result<Option<Bytes>, TileStoreError>>;
}

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum TileStoreError {
    /// What is written once is there with other bytes: two logs write to one place, or the store
    /// is damaged.
    #[error("{path}: is there already, with other bytes")]
    Differs {
        /// The object's file or key.
        path: String,
    },
    /// The store refused.
    #[error("{path}: could not {doing}")]
    Storage {
        /// The object's file or key.
        path: String,
        /// What was tried.
        doing: &'static str,
        /// The system's own words.
        #[source]
        source: std::io::Error,
    },
}
