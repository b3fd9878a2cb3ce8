//! The transparency log: entries in, verified SCTs out, tiles and checkpoints to read.
//!
//! In: [`crate::ct::Entry`]. Out: [`LoggedSct`], only after the entry's commit is durable; what
//! readers of static-ct-api ask for. Knows nothing of tokens, CA keys and HTTP.
//!
//! An entry's way:
//! 1. [`Log::submit`] puts it into a bounded queue;
//! 2. the [`sequencer`] takes all that gathered there, and commits them in one transaction with the
//!    checkpoint that covers them: the one commit point ([`coordinator`]);
//! 3. the [`tail`] shows them to readers, and `submit` signs the SCT on its caller's task;
//! 4. whenever 256 entries are together, the [`flusher`] writes their tiles ([`tiles`]) and the
//!    coordinator forgets them.
//!
//! Steps 1 to 3 take one to two flushes of the disk; the merge delay is zero. A crash at any
//! moment is met by the ordinary start ([`recovery`]). On a storage error the log stops: it answers
//! [`SubmitError::Stopped`], goes on reading, and [`Log::stopped`] tells the process to end.

mod core;
mod entries;
mod flusher;
mod frozen;
mod key;
mod lock;
mod open_error;
mod reader;
mod recovery;
mod sequencer;
mod stop;
mod submit_error;
mod tail;
mod witness;

pub mod coordinator;
pub mod tiles;

#[cfg(test)]
mod tests;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use futures_util::future::join;
use tokio::sync::{mpsc, oneshot, watch};

pub use frozen::{EndedShard, FinalCheckpoint, FrozenLog};
pub use open_error::OpenError;
pub use reader::{ContentKind, ReadAnswer, ReadError};
pub use stop::StopReason;
pub use submit_error::SubmitError;

use self::{
    coordinator::{
        Coordinator, Head, LogIdentity,
        sqlite::{OpenFile, SqliteCoordinator},
    },
    core::{Core, Storage},
    key::LogKey,
    lock::DirectoryLock,
    recovery::Seen,
    sequencer::{Placed, Sequencer, Submission},
    tiles::{Object, TileStore, fs::FsTiles},
    witness::Witness,
};
use crate::{
    ct::{Entry, LeafIndex, LogId, SignedCertificateTimestamp},
    time::{Clock, Timestamp},
    tlog::Hash,
};

/// An SCT that was verified under the log's key and whose entry is durably committed. Made only
/// by [`Log::submit`].
#[derive(Clone, Debug)]
pub struct LoggedSct {
    sct: SignedCertificateTimestamp,
    entry_digest: [u8; 32],
    index: u64,
}

impl LoggedSct {
    /// The promise itself.
    pub const fn sct(&self) -> &SignedCertificateTimestamp {
        &self.sct
    }

    /// [`Entry::digest`] of the entry it stands for.
    pub const fn entry_digest(&self) -> &[u8; 32] {
        &self.entry_digest
    }

    /// Where in the log the entry is.
    pub const fn index(&self) -> u64 {
        self.index
    }
}

/// Where an embedded log lives and who it is.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// A directory of its own, on a local disk that honours `fsync`.
    pub data: PathBuf,
    /// `log.example.com/2026`, no scheme.
    pub origin: String,
    /// The log's P-256 key; never the CA's.
    pub signer: Arc<dyn crate::keys::Signer>,
    /// What time it is; may jump.
    pub clock: Arc<dyn Clock>,
}

/// What the log says of itself to operators.
#[derive(Clone, Debug)]
pub struct LogStatus {
    /// Entries committed.
    pub size: u64,
    /// Of the latest checkpoint.
    pub timestamp: Timestamp,
    /// Full tiles of entries that wait for their flush.
    pub unflushed_entry_tiles: usize,
    /// How often entries were refused because the clock was behind the log.
    pub clock_alarms: u64,
    /// Why the log takes no entries any more, if so.
    pub stopped: Option<Arc<StopReason>>,
}

/// The embedded log; a cheap handle. When the last handle is dropped, the log commits what is in
/// its queue and closes; [`Log::shutdown`] waits for that.
#[derive(Clone, Debug)]
pub struct Log {
    shards: Arc<Shards>,
}

/// The shard that takes entries, and those that took them before it.
#[derive(Debug)]
struct Shards {
    current: watch::Sender<Arc<Shared>>,
    /// To be read.
    earlier: ArcSwap<Vec<Arc<Core>>>,
}

#[derive(Debug)]
struct Shared {
    core: Arc<Core>,
    /// `None` once the log shuts down.
    submissions: RwLock<Option<mpsc::Sender<Submission>>>,
    /// True once nothing is written any more and the lock is released.
    ended: watch::Receiver<bool>,
}

/// What an open log holds in its data directory, beside its stores.
#[derive(Debug)]
struct Home {
    directory: PathBuf,
    _lock: DirectoryLock,
}

impl Log {
    /// `mayfly log init`: creates an empty log; refuses where one, or a part of one, is.
    ///
    /// # Errors
    /// There is a log, or the key, the origin or the directory cannot be used.
    pub async fn init(settings: &LogSettings) -> Result<(), OpenError> {
        let key = LogKey::new(Arc::clone(&settings.signer), &settings.origin)?;
        let data = &settings.data;
        make_directory(&data.join(TILE_DIRECTORY))?;
        let _lock = DirectoryLock::take(data)?;
        if Witness::exists(data) {
            let store = data.join(witness::FILE).display().to_string();
            return Err(OpenError::Exists { store });
        }
        let tiles = FsTiles::open(&data.join(TILE_DIRECTORY))?;
        if tiles.read(Object::Instance).await?.is_some() {
            let store = data.join(TILE_DIRECTORY).display().to_string();
            return Err(OpenError::Exists { store });
        }
        let coordinator = SqliteCoordinator::open(&data.join(FILE), OpenFile::OrCreate).await?;
        let created = create(&key, &coordinator, &tiles, settings.clock.now()).await;
        coordinator.close().await;
        let checkpoint = created?;
        let (mut witness, _) = Witness::open(data, &key)?;
        witness.begin(&checkpoint)
    }

    /// Opens an existing log, recovering through the normal path; refuses where there is none.
    ///
    /// # Errors
    /// There is no log, it is another one, another process has it, or it is damaged. Nothing was
    /// written, and the message says what to do.
    pub async fn open(settings: LogSettings) -> Result<Self, OpenError> {
        let key = Arc::new(LogKey::new(settings.signer, &settings.origin)?);
        let file = settings.data.join(FILE);
        let tile_directory = settings.data.join(TILE_DIRECTORY);
        for required in [&file, &tile_directory] {
            if !required.exists() {
                return Err(OpenError::Missing { store: required.display().to_string() });
            }
        }
        let lock = DirectoryLock::take(&settings.data)?;
        frozen::refuse_frozen(&settings.data)?;
        let tiles = Arc::new(FsTiles::open(&tile_directory)?);
        let coordinator = Arc::new(SqliteCoordinator::open(&file, OpenFile::Existing).await?);
        let storage = Storage { key, coordinator, tiles };
        let home = Home { directory: settings.data, _lock: lock };
        let opened = Self::start(storage.clone(), settings.clock, Some(home)).await;
        if opened.is_err() {
            // The lock is released as well: whoever mends the store can try again.
            storage.coordinator.close().await;
        }
        opened
    }

    async fn start(
        storage: Storage,
        clock: Arc<dyn Clock>,
        home: Option<Home>,
    ) -> Result<Self, OpenError> {
        let (mut witness, seen) = match &home {
            Some(home) => open_witness(home, &storage.key)?,
            None => (None, None),
        };
        let recovered = recovery::recover(&storage, seen.as_ref()).await?;
        let head = recovered.tail.head();
        recovery::check_not_behind_tiles(&storage, head).await?;
        if let Some(witness) = &mut witness {
            witness.begin(&head.checkpoint)?;
        }
        let core = Arc::new(Core::new(storage, clock, recovered.tail));
        let (submissions, inbox) = mpsc::channel(QUEUE_ENTRIES);
        let (full_tiles, flushes) = mpsc::channel(1);
        let (end, ended) = watch::channel(false);
        let sequencer = Sequencer::new(Arc::clone(&core), inbox, full_tiles, witness).run();
        let sequencer = supervise(Arc::clone(&core), "sequencer", sequencer);
        let flusher = flusher::run(Arc::clone(&core), flushes);
        let flusher = supervise(Arc::clone(&core), "flusher", flusher);
        let coordinator = Arc::clone(&core.storage.coordinator);
        tokio::spawn(async move {
            join(sequencer, flusher).await;
            coordinator.close().await;
            // Only now may another process write.
            drop(home);
            end.send_replace(true);
        });
        let submissions = RwLock::new(Some(submissions));
        let current = watch::Sender::new(Arc::new(Shared { core, submissions, ended }));
        let earlier = ArcSwap::default();
        Ok(Self { shards: Arc::new(Shards { current, earlier }) })
    }

    /// Returns only after the entry is committed (merge delay zero). Whoever drops the future may
    /// leave an entry without an SCT, never an SCT without an entry.
    ///
    /// Each call makes a new entry: precertificates of our own have fresh serials, so that none is
    /// ever submitted twice. A path that takes submissions of strangers has to look up
    /// [`Entry::digest`] first and answer with the old promise.
    ///
    /// # Errors
    /// The entry has no SCT; unless the error is [`SubmitError::Sign`] or the log stopped, it is
    /// not in the log either.
    pub async fn submit(&self, entry: impl Into<Arc<Entry>>) -> Result<LoggedSct, SubmitError> {
        let entry: Arc<Entry> = entry.into();
        loop {
            let shard = self.current();
            match shard.submit(Arc::clone(&entry)).await {
                // Another shard took over before the entry found its place in this one.
                Err(SubmitError::ShuttingDown) if !Arc::ptr_eq(&shard, &self.current()) => {}
                outcome => return outcome,
            }
        }
    }

    /// RFC 6962, 3.2: SHA-256 of the key's SubjectPublicKeyInfo.
    pub fn id(&self) -> LogId {
        self.current().core.storage.key.id()
    }

    /// The latest signed checkpoint (a signed note).
    pub fn checkpoint(&self) -> Bytes {
        self.current().core.tail().head().checkpoint.clone()
    }

    /// Registers a certificate of a chain, durably, so that `issuer/<fingerprint>` serves it and
    /// entries may refer to it. May be repeated.
    ///
    /// # Errors
    /// It could not be stored; entries that refer to it are refused.
    pub async fn add_issuer(&self, der: &[u8]) -> Result<(), SubmitError> {
        let core = &self.current().core;
        if let Some(reason) = core.stop.reason() {
            return Err(SubmitError::Stopped(reason));
        }
        let fingerprint = sha256(der);
        let stored = Object::Issuer(fingerprint);
        let created = core.storage.tiles.create(stored, Bytes::copy_from_slice(der)).await;
        created.map_err(SubmitError::tiles)?;
        core.remember_issuer(fingerprint);
        Ok(())
    }

    /// `path` below the log's prefix: `checkpoint`, `tile/...`, `tile/data/...`, `issuer/...`; or any
    /// of these behind the id of a shard, this one's included, where it stays for good. `None`
    /// where nothing is, or can be. Goes on when the log has stopped.
    ///
    /// # Errors
    /// The tile store failed, or gave something that is not a tile.
    pub async fn read(&self, path: &str) -> Result<Option<ReadAnswer>, ReadError> {
        let core = Arc::clone(&self.current().core);
        if let Some((first, rest)) = path.split_once('/') {
            let is_it = |core: &&Arc<Core>| core.storage.key.id().to_string() == first;
            let earlier = self.shards.earlier.load_full();
            if let Some(core) = earlier.iter().chain([&core]).find(is_it) {
                return reader::read(core, rest).await;
            }
        }
        reader::read(&core, path).await
    }

    /// For readiness and metrics.
    pub fn status(&self) -> LogStatus {
        let core = &self.current().core;
        let tail = core.tail();
        LogStatus {
            size: tail.head().size,
            timestamp: tail.head().timestamp,
            unflushed_entry_tiles: tail.unflushed_entry_tiles(),
            clock_alarms: core.clock_alarms(),
            stopped: core.stop.reason(),
        }
    }

    /// Waits until an error stops the log: the process should end, and recover by starting again.
    /// Pending for ever if that does not happen, also after [`Log::shutdown`].
    pub async fn stopped(&self) -> Arc<StopReason> {
        let mut current = self.shards.current.subscribe();
        loop {
            let shard = Arc::clone(&current.borrow_and_update());
            tokio::select! {
                reason = shard.core.stop.stopped() => return reason,
                // Then it is another's stop that counts. The sender lives as long as this handle.
                _another = current.changed() => {}
            }
        }
    }

    /// Commits what was submitted, flushes full tiles, and lets go of the stores; entries in the
    /// last partial tile stay with the coordinator. Reading goes on.
    pub async fn shutdown(&self) {
        self.current().shutdown().await;
    }

    fn current(&self) -> Arc<Shared> {
        Arc::clone(&self.shards.current.borrow())
    }
}

impl Shared {
    async fn submit(&self, entry: Arc<Entry>) -> Result<LoggedSct, SubmitError> {
        let core = &self.core;
        for fingerprint in entry.chain_fingerprints() {
            // An entry must not refer to what readers cannot get.
            if !core.has_issuer(*fingerprint).await.map_err(SubmitError::tiles)? {
                let fingerprint = hex::encode(fingerprint);
                return Err(SubmitError::UnknownIssuer { fingerprint });
            }
        }
        let Placed { index, timestamp } = self.place(Arc::clone(&entry)).await?;
        // Here rather than in the sequencer, so that signatures take all cores.
        let leaf_index = LeafIndex::new(index).ok_or(SubmitError::Full)?;
        let sct = core.storage.key.sign_sct(&entry, leaf_index, timestamp).await;
        let sct = sct.map_err(|error| SubmitError::Sign(Arc::new(error)))?;
        Ok(LoggedSct { sct, entry_digest: entry.digest(), index })
    }

    async fn place(&self, entry: Arc<Entry>) -> Result<Placed, SubmitError> {
        let core = &self.core;
        let (placed, answer) = oneshot::channel();
        {
            let submissions = self.submissions.read().unwrap_or_else(PoisonError::into_inner);
            let queue = submissions.as_ref().ok_or_else(|| core.stopped_error())?;
            queue.try_send(Submission { entry, placed }).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => SubmitError::Overloaded,
                mpsc::error::TrySendError::Closed(_) => core.stopped_error(),
            })?;
        }
        answer.await.map_err(|_| core.stopped_error())?
    }

    async fn shutdown(&self) {
        let submissions = self.submissions.write().unwrap_or_else(PoisonError::into_inner).take();
        drop(submissions);
        let mut ended = self.ended.clone();
        // An error means that the runtime dropped the writers, which is an end as well.
        let _ = ended.wait_for(|ended| *ended).await;
    }
}

/// Runs a task of the log; a log without it has to stop.
async fn supervise(
    core: Arc<Core>,
    task: &'static str,
    work: impl Future<Output = ()> + Send + 'static,
) {
    if tokio::spawn(work).await.is_err_and(|error| error.is_panic()) {
        core.stop.stop(StopReason::Panicked { task });
    }
}

fn open_witness(home: &Home, key: &LogKey) -> Result<(Option<Witness>, Option<Seen>), OpenError> {
    let (witness, head) = Witness::open(&home.directory, key)?;
    let place = witness.path().display().to_string();
    if head.is_none() {
        tracing::warn!(file = place, "no checkpoint to compare the log with; trusting its head");
    }
    let seen = head.map(|head| Seen { size: head.size, root: head.root, place });
    Ok((Some(witness), seen))
}

/// An empty log; answers with its first checkpoint.
async fn create(
    key: &LogKey,
    coordinator: &dyn Coordinator,
    tiles: &dyn TileStore,
    now: Timestamp,
) -> Result<Bytes, OpenError> {
    if coordinator.load().await?.is_some() {
        return Err(OpenError::Exists { store: coordinator.store().to_owned() });
    }
    let head: Head = key.sign_head(0, Hash::EMPTY_ROOT, now).await.map_err(OpenError::Sign)?;
    // An ECDSA signature is made with a nonce, so no two logs begin with the same checkpoint.
    let instance = sha256(&head.checkpoint);
    let identity = LogIdentity { instance, log_id: key.id(), origin: key.origin().to_owned() };
    let instance_text = recovery::instance_text(&identity);
    let checkpoint = head.checkpoint.clone();
    coordinator.create(identity, head).await?;
    tiles.create(Object::Instance, instance_text).await?;
    Ok(checkpoint)
}

/// Makes a directory, and flushes the one it stands in.
fn make_directory(path: &Path) -> Result<(), OpenError> {
    let failed =
        |doing| move |source| OpenError::Directory { path: path.to_owned(), doing, source };
    fs::create_dir_all(path).map_err(failed("make it"))?;
    for above in path.ancestors().skip(1).take(2).filter(|above| above.exists()) {
        let flushed = fs::File::open(above).and_then(|directory| directory.sync_all());
        flushed.map_err(failed("flush the directory above it"))?;
    }
    Ok(())
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// The coordinator's file in the data directory.
const FILE: &str = "log.sqlite";

/// The tile store's directory in the data directory.
const TILE_DIRECTORY: &str = "static";

/// More than a server works on at once; beyond it, waiting would outlast the callers' patience.
const QUEUE_ENTRIES: usize = 4096;
