//! What the parts of one open log share.
//!
//! In: key, clock and stores. Out: the same, with the tail between them. Knows nothing of the order
//! in which they are used.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

use super::{
    SubmitError,
    coordinator::Coordinator,
    key::LogKey,
    stop::StopSwitch,
    tail::Tail,
    tiles::{Object, TileStore, TileStoreError},
};
use crate::time::Clock;

/// Where a log is kept, and under which key.
#[derive(Clone, Debug)]
pub(super) struct Storage {
    pub(super) key: Arc<LogKey>,
    pub(super) coordinator: Arc<dyn Coordinator>,
    pub(super) tiles: Arc<dyn TileStore>,
}

/// The shared part of a log.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) storage: Storage,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) stop: StopSwitch,
    tail: RwLock<Tail>,
    /// Woken after every flush.
    flushed: Notify,
    clock_alarms: AtomicU64,
    /// Issuers that are known to be in the tile store.
    issuers: Mutex<HashSet<[u8; 32]>>,
}

impl Core {
    pub(super) fn new(storage: Storage, clock: Arc<dyn Clock>, tail: Tail) -> Self {
        Self {
            storage,
            clock,
            stop: StopSwitch::new(),
            tail: RwLock::new(tail),
            flushed: Notify::new(),
            clock_alarms: AtomicU64::new(0),
            issuers: Mutex::default(),
        }
    }

    pub(super) fn tail(&self) -> RwLockReadGuard<'_, Tail> {
        self.tail.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tail_mut(&self) -> RwLockWriteGuard<'_, Tail> {
        self.tail.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while as many tiles wait for their flush as memory may hold.
    pub(super) async fn wait_for_flush(&self) {
        loop {
            // Made before the look, so that a flush in between is not missed.
            let flushed = self.flushed.notified();
            if self.tail().unflushed_entry_tiles() < UNFLUSHED_ENTRY_TILES {
                return;
            }
            flushed.await;
        }
    }

    pub(super) fn tell_flushed(&self) {
        self.flushed.notify_waiters();
    }

    pub(super) fn count_clock_alarm(&self) {
        self.clock_alarms.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn clock_alarms(&self) -> u64 {
        self.clock_alarms.load(Ordering::Relaxed)
    }

    /// Why there is no answer any more.
    pub(super) fn stopped_error(&self) -> SubmitError {
        self.stop.reason().map_or(SubmitError::ShuttingDown, SubmitError::Stopped)
    }

    /// Whether the store is known to have the certificate; asks it the first time.
    pub(super) async fn has_issuer(&self, fingerprint: [u8; 32]) -> Result<bool, TileStoreError> {
        if self.issuers().contains(&fingerprint) {
            return Ok(true);
        }
        let found = self.storage.tiles.read(Object::Issuer(fingerprint)).await?.is_some();
        if found {
            self.remember_issuer(fingerprint);
        }
        Ok(found)
    }

    pub(super) fn remember_issuer(&self, fingerprint: [u8; 32]) {
        let mut issuers = self.issuers();
        if issuers.len() >= REMEMBERED_ISSUERS {
            issuers.clear();
        }
        issuers.insert(fingerprint);
    }

    fn issuers(&self) -> std::sync::MutexGuard<'_, HashSet<[u8; 32]>> {
        self.issuers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// About 6 MB of entries.
const UNFLUSHED_ENTRY_TILES: usize = 16;

/// A CA has a handful; whoever submits many makes the store be asked again, no more.
const REMEMBERED_ISSUERS: usize = 1024;
