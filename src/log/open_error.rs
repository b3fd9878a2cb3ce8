//! Why a log could not be made or opened, in words that say what to do.

use std::path::PathBuf;

use super::{coordinator::CoordinatorError, tiles::TileStoreError};
use crate::keys::{SignError, SignatureAlgorithm, VerifyingKeyError};

/// Nothing was changed, and no other process is disturbed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A log never creates itself silently.
    #[error("{store}: there is no log; create it once with `mayfly log init`")]
    Missing {
        /// Where it was looked for.
        store: String,
    },
    /// `init` where a log, or a part of one, is.
    #[error(
        "{store}: there is a log already; to begin a new one choose another directory and origin"
    )]
    Exists {
        /// The file that says so.
        store: String,
    },
    /// Two processes, one log.
    #[error("{lock}: another process has this log open")]
    InUse {
        /// The file that is locked.
        lock: PathBuf,
    },
    /// The directory is there, but this process may not use it.
    #[error("{path}: could not {doing}")]
    Directory {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// The system's own words.
        #[source]
        source: std::io::Error,
    },
    /// Some clients verify SCTs with P-256 only, and static-ct-api wants ECDSA with SHA-256.
    #[error("{key}: a log key is ECDSA P-256, this one is for {algorithm}")]
    KeyAlgorithm {
        /// The key's name.
        key: String,
        /// What it is.
        algorithm: SignatureAlgorithm,
    },
    /// The signer's public key is not one.
    #[error("{key}: its public key cannot be read")]
    UnreadableKey {
        /// The key's name.
        key: String,
        /// What is wrong with it.
        #[source]
        source: VerifyingKeyError,
    },
    /// The origin cannot stand in a checkpoint.
    #[error("log origin '{origin}': {reason}; give it like log.example.com/2026")]
    Origin {
        /// What was given.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The log was created with another key.
    #[error("{store}: the log there has id {found}, the key {key} makes {expected}")]
    OtherKey {
        /// The store.
        store: String,
        /// The key's name.
        key: String,
        /// Id of the configured key, in hex.
        expected: String,
        /// Id in the store, in hex.
        found: String,
    },
    /// The log was created under another name.
    #[error("{store}: the log there has origin '{found}', the configuration says '{expected}'")]
    OtherOrigin {
        /// The store.
        store: String,
        /// The configured origin.
        expected: String,
        /// The origin in the store.
        found: String,
    },
    /// The tiles are another log's.
    #[error(
        "{object}: the tiles belong to another log than the coordinator; restore both together"
    )]
    OtherInstance {
        /// The object that names the owner of the tiles.
        object: String,
    },
    /// A tile that should be there is not.
    #[error("{object}: missing, but the log has {size} entries; restore it from a copy")]
    MissingTile {
        /// Which tile.
        object: String,
        /// Entries in the head.
        size: u64,
    },
    /// The tiles know more than the coordinator: it was restored from an old copy.
    #[error("{object}: exists, but the head has only {size} entries; the coordinator is too old")]
    HeadBehindTiles {
        /// Which tile.
        object: String,
        /// Entries in the head.
        size: u64,
    },
    /// The log signed more than the coordinator knows of.
    #[error(
        "{store}: has {size} entries, but {seen} says that the log signed a checkpoint of \
         {seen_size}: it is an old copy, or has lost its last commits; restore the newest copy. \
         If there is none, this log is lost: begin a new one with another directory, origin and \
         key, for going on here would sign a second history"
    )]
    HeadBehind {
        /// The coordinator.
        store: String,
        /// Entries in its head.
        size: u64,
        /// What knows better.
        seen: String,
        /// Entries in the checkpoint there.
        seen_size: u64,
    },
    /// The log signed something else than the coordinator knows of.
    #[error(
        "{store}: its first {seen_size} entries are not those of the checkpoint in {seen}; \
         one of the two is another history of this log, restored from elsewhere: restore \
         the whole directory from one copy"
    )]
    OtherHistory {
        /// The coordinator.
        store: String,
        /// What knows otherwise.
        seen: String,
        /// Entries in the checkpoint there.
        seen_size: u64,
    },
    /// What was read is not what was committed.
    #[error("{what}: damaged ({reason}); restore it from a copy")]
    Damaged {
        /// Which file, tile or row.
        what: String,
        /// How it shows.
        reason: &'static str,
    },
    /// It takes no entries any more.
    #[error(
        "{path}: this log is frozen and takes no more entries; name its folder under 'frozen', and \
         begin a new log with another folder, origin and key"
    )]
    Frozen {
        /// The file that says so.
        path: PathBuf,
    },
    /// It is to be read as one that takes no entries any more, and it may still take some.
    #[error("{path}: is not there, so this log is not frozen; freeze it with `mayfly log freeze`")]
    NotFrozen {
        /// The file that would say so.
        path: PathBuf,
    },
    /// Two shards with one key or one origin: an SCT, or a checkpoint, could be of either.
    #[error("two shards of the log have the id {id} or the origin '{origin}': give each its own")]
    Twins {
        /// Of one of them.
        id: String,
        /// Of one of them.
        origin: String,
    },
    /// The log's key did not sign.
    #[error("the first or final checkpoint could not be signed")]
    Sign(#[source] SignError),
    /// The coordinator failed.
    #[error("the coordinator failed")]
    Coordinator(#[from] CoordinatorError),
    /// The tile store failed.
    #[error("the tile store failed")]
    Tiles(#[from] TileStoreError),
}
