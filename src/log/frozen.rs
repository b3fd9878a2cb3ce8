//! A shard of the log that takes no entries any more: it is read, and nothing else.
//!
//! In: the folder of a log. Out: that log with its final checkpoint ([`Log::freeze`]), later to be
//! read without its key ([`FrozenLog`]). Knows nothing of the shard that came after it.
//!
//! One file makes a log frozen: the final checkpoint and the public key, written once while nobody
//! else has the log open. From then on [`Log::open`] refuses the folder, so that the checkpoint stays
//! final, and the private key is of no use any more and may be destroyed.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    path::Path,
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use serde::{Deserialize, Serialize};

use super::{
    FILE, Log, LogSettings, OpenError, ReadAnswer, ReadError, Shared, TILE_DIRECTORY,
    coordinator::{
        Head,
        sqlite::{OpenFile, SqliteCoordinator},
    },
    core::{Core, Storage},
    entries::EncodedEntries,
    key::LogKey,
    lock::DirectoryLock,
    reader,
    recovery::{self, Seen},
    tiles::fs::FsTiles,
};
use crate::{
    ct::LogId,
    keys::{SignError, SignatureAlgorithm, Signer},
    time::{Clock, Timestamp},
    tlog::Hash,
};

/// What a frozen shard is: enough to trust what it promised.
#[derive(Clone, Debug)]
pub struct FinalCheckpoint {
    /// The shard's name.
    pub origin: String,
    /// DER SubjectPublicKeyInfo of its key.
    pub public_key_der: Vec<u8>,
    /// Entries in it.
    pub size: u64,
    /// When it was frozen; every promise of the shard is older.
    pub timestamp: Timestamp,
    root: Hash,
    checkpoint: Bytes,
    /// Its public half only.
    pub(super) key: Arc<LogKey>,
}

/// The file, as JSON.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Written {
    origin: String,
    /// SubjectPublicKeyInfo, base64.
    public_key: String,
    /// The signed note.
    checkpoint: String,
}

impl Log {
    /// Signs a final checkpoint over what the log has, and makes it one that takes no more. Opens the
    /// log as usual, with every check that this makes, so no other process may have it.
    ///
    /// # Errors
    /// It does not open, is frozen already, or the checkpoint could not be signed or written.
    pub async fn freeze(settings: LogSettings) -> Result<FinalCheckpoint, OpenError> {
        let (data, clock) = (settings.data.clone(), Arc::clone(&settings.clock));
        let log = Self::open(settings).await?;
        // The log stays open, and so locked, until the file is there.
        let written = write_final(&log.current().core, &data, clock.now()).await;
        log.shutdown().await;
        written?;
        FinalCheckpoint::read(&data)
    }

    /// The same log, with earlier shards to be read beside it.
    ///
    /// # Errors
    /// Two of them have one key or one origin.
    pub fn beside(self, frozen: Vec<FrozenLog>) -> Result<Self, OpenError> {
        let earlier: Vec<Arc<Core>> = frozen.into_iter().map(|shard| shard.core).collect();
        refuse_twins(earlier.iter().chain([&self.current().core]))?;
        self.shards.earlier.store(Arc::new(earlier));
        Ok(self)
    }

    /// Another shard takes the entries that come; this one's earlier shards stay, and the one that
    /// took them until now is read on. Nobody who submits notices.
    ///
    /// # Errors
    /// It has the key or the origin of a shard that is there; nothing was changed.
    pub fn switch_to(&self, next: &Log) -> Result<EndedShard, OpenError> {
        let (old, new) = (self.current(), next.current());
        let mut earlier = Vec::clone(&self.shards.earlier.load_full());
        earlier.push(Arc::clone(&old.core));
        refuse_twins(earlier.iter().chain([&new.core]))?;
        // First, so that the old one can be read at every moment.
        self.shards.earlier.store(Arc::new(earlier));
        self.shards.current.send_replace(new);
        Ok(EndedShard { shard: old })
    }
}

/// A shard in whose place another takes the entries. It is not frozen before that is asked for.
#[derive(Debug)]
pub struct EndedShard {
    shard: Arc<Shared>,
}

impl EndedShard {
    /// Commits what is under way, and then freezes the shard, whose folder is `data`.
    ///
    /// # Errors
    /// Another process opened it just then, or the final checkpoint could not be signed or written:
    /// `mayfly log freeze` can do it later.
    pub async fn freeze(self, data: &Path, now: Timestamp) -> Result<(), OpenError> {
        let Self { shard } = self;
        shard.shutdown().await;
        let _lock = DirectoryLock::take(data)?;
        let last = write_final(&shard.core, data, now).await?;
        shard.core.tail_mut().append(last, &EncodedEntries::default());
        Ok(())
    }
}

async fn write_final(core: &Core, data: &Path, now: Timestamp) -> Result<Head, OpenError> {
    let key = &core.storage.key;
    let Head { size, root, timestamp, .. } = core.tail().head().clone();
    // Later than everything that the log has promised.
    let at = now.max(timestamp.plus_ms(1));
    let last = key.sign_head(size, Hash::from_bytes(root), at).await.map_err(OpenError::Sign)?;
    let written = Written {
        origin: key.origin().to_owned(),
        public_key: STANDARD.encode(key.public_key_der()),
        checkpoint: String::from_utf8_lossy(&last.checkpoint).into_owned(),
    };
    let path = data.join(FINAL_FILE);
    write_new(data, &path, &written).map_err(|source| OpenError::Directory {
        path,
        doing: "write it",
        source,
    })?;
    Ok(last)
}

/// All of it, or nothing that counts.
fn write_new(data: &Path, path: &Path, written: &Written) -> io::Result<()> {
    let beside = data.join(format!("{FINAL_FILE}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&beside)?;
    file.write_all(serde_json::to_string_pretty(written)?.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(beside, path)?;
    File::open(data)?.sync_all()
}

/// Refuses the folder of a log that takes no more entries.
pub(super) fn refuse_frozen(data: &Path) -> Result<(), OpenError> {
    let path = data.join(FINAL_FILE);
    match path.try_exists() {
        Ok(false) => Ok(()),
        Ok(true) => Err(OpenError::Frozen { path }),
        Err(source) => Err(OpenError::Directory { path, doing: "look for it", source }),
    }
}

impl FinalCheckpoint {
    /// Reads it from the folder of a frozen log, and verifies it under the public key beside it.
    ///
    /// # Errors
    /// The log was not frozen, or the file is damaged.
    pub fn read(data: &Path) -> Result<Self, OpenError> {
        let path = data.join(FINAL_FILE);
        let damaged = |reason| OpenError::Damaged { what: path.display().to_string(), reason };
        let mut text = String::new();
        File::open(&path)
            .and_then(|file| file.take(FINAL_FILE_BYTES).read_to_string(&mut text))
            .map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => OpenError::NotFrozen { path: path.clone() },
                _ => OpenError::Directory { path: path.clone(), doing: "read it", source },
            })?;
        let Written { origin, public_key, checkpoint } =
            serde_json::from_str(&text).map_err(|_| damaged("it is not what was written"))?;
        let public_key_der =
            STANDARD.decode(public_key).map_err(|_| damaged("its key is no base64"))?;
        let signer = PublicHalf { path: path.display().to_string(), spki_der: public_key_der };
        let public_key_der = signer.spki_der.clone();
        let key = Arc::new(LogKey::new(Arc::new(signer), &origin)?);
        let checkpoint = Bytes::from(checkpoint);
        let head = key
            .open_checkpoint(&checkpoint)
            .ok_or_else(|| damaged("its key did not sign its checkpoint"))?;
        let (size, timestamp, root) = (head.size, head.timestamp, head.root);
        Ok(Self { origin, public_key_der, size, timestamp, root, checkpoint, key })
    }

    /// RFC 6962, 3.2.
    pub fn id(&self) -> LogId {
        self.key.id()
    }
}

/// A frozen shard with everything that it has, proven to be what its final checkpoint says. It takes
/// no entries and signs nothing: there is no key.
#[derive(Debug)]
pub struct FrozenLog {
    core: Arc<Core>,
}

impl FrozenLog {
    /// Opens the folder of a frozen log.
    ///
    /// # Errors
    /// It was not frozen, is damaged, or has other entries than its final checkpoint.
    pub async fn open(data: &Path, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let last = FinalCheckpoint::read(data)?;
        // Only while it is read: what never changes may have many readers.
        let _lock = DirectoryLock::take(data)?;
        let tiles = Arc::new(FsTiles::open(&data.join(TILE_DIRECTORY))?);
        let file = data.join(FILE);
        if !file.exists() {
            return Err(OpenError::Missing { store: file.display().to_string() });
        }
        let coordinator = Arc::new(SqliteCoordinator::open(&file, OpenFile::Existing).await?);
        let storage = Storage { key: Arc::clone(&last.key), coordinator, tiles };
        let place = data.join(FINAL_FILE).display().to_string();
        let seen = Seen { size: last.size, root: last.root, place: place.clone() };
        let recovered = recovery::recover(&storage, Some(&seen)).await;
        storage.coordinator.close().await;
        let mut tail = recovered?.tail;
        if tail.head().size != last.size {
            let reason = "the log has more entries than its final checkpoint";
            return Err(OpenError::Damaged { what: place, reason });
        }
        let FinalCheckpoint { size, root, timestamp, checkpoint, .. } = last;
        let head = Head { size, root: *root.as_bytes(), timestamp, checkpoint };
        tail.append(head, &EncodedEntries::default());
        Ok(Self { core: Arc::new(Core::new(storage, clock, tail)) })
    }

    /// RFC 6962, 3.2.
    pub fn id(&self) -> LogId {
        self.core.storage.key.id()
    }

    /// The shard's name.
    pub fn origin(&self) -> &str {
        self.core.storage.key.origin()
    }

    /// As [`Log::read`].
    ///
    /// # Errors
    /// As for [`Log::read`].
    pub async fn read(&self, path: &str) -> Result<Option<ReadAnswer>, ReadError> {
        reader::read(&self.core, path).await
    }
}

/// In the place of a key that is not there.
#[derive(Debug)]
struct PublicHalf {
    path: String,
    spki_der: Vec<u8>,
}

impl Signer for PublicHalf {
    fn name(&self) -> &str {
        &self.path
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::EcdsaP256Sha256
    }

    fn public_key_der(&self) -> &[u8] {
        &self.spki_der
    }

    fn sign<'a>(&'a self, _: &'a [u8]) -> BoxFuture<'a, Result<Vec<u8>, SignError>> {
        async { Err(SignError::Failed { key: self.path.clone() }) }.boxed()
    }
}

/// Two shards that cannot be told apart.
fn refuse_twins<'a>(shards: impl Iterator<Item = &'a Arc<Core>>) -> Result<(), OpenError> {
    let mut known: Vec<(LogId, &str)> = Vec::new();
    for core in shards {
        let (id, origin) = (core.storage.key.id(), core.storage.key.origin());
        if known.iter().any(|(other, name)| *other == id || *name == origin) {
            return Err(OpenError::Twins { id: id.to_string(), origin: origin.to_owned() });
        }
        known.push((id, origin));
    }
    Ok(())
}

/// In the folder of a frozen log.
pub(super) const FINAL_FILE: &str = "final-checkpoint.json";

/// An origin, a key and a checkpoint have some hundred bytes each.
const FINAL_FILE_BYTES: u64 = 1 << 16;
