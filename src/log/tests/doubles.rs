//! Doubles for what stands outside the log: key, clock, stores, and stores that fail.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair,
        UnparsedPublicKey,
    },
};
use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::{
    keys::{SignError, SignatureAlgorithm, Signer},
    log::{
        coordinator::{
            Batch, Commit, CommitOutcome, Coordinator, CoordinatorError, Head, LogIdentity, Stored,
        },
        tiles::{Object, TileStore, TileStoreError},
    },
    time::{Clock, Timestamp},
};

/// A P-256 key that can be told to lie about its algorithm, to sign badly, or to panic.
#[derive(Debug)]
pub(crate) struct TestSigner {
    pair: EcdsaKeyPair,
    spki: Vec<u8>,
    pub(crate) algorithm: SignatureAlgorithm,
    pub(crate) signs_badly: AtomicBool,
    pub(crate) panics: AtomicBool,
}

impl TestSigner {
    pub(crate) fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        let spki = spki.as_ref().to_vec();
        let algorithm = SignatureAlgorithm::EcdsaP256Sha256;
        Self {
            pair,
            spki,
            algorithm,
            signs_badly: AtomicBool::new(false),
            panics: AtomicBool::new(false),
        }
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, self.pair.public_key());
        key.verify(message, signature).is_ok()
    }
}

impl Signer for TestSigner {
    fn name(&self) -> &str {
        "file:test.pem"
    }
    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }
    fn public_key_der(&self) -> &[u8] {
        &self.spki
    }
    fn sign<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<Vec<u8>, SignError>> {
        let other: &[u8] = b"something else";
        assert!(!self.panics.load(Ordering::SeqCst), "a bug in the key's library");
        let bad = self.signs_badly.load(Ordering::SeqCst);
        let signed = if bad { other } else { message };
        let signature = self.pair.sign(&SystemRandom::new(), signed).unwrap();
        Box::pin(async move { Ok(signature.as_ref().to_vec()) })
    }
}

/// A clock that stands still unless it is moved, or ticks at each look.
#[derive(Clone, Debug)]
pub(crate) struct ManualClock {
    now_ms: Arc<AtomicU64>,
    tick_ms: u64,
}

impl ManualClock {
    pub(crate) fn new() -> Self {
        Self { now_ms: Arc::new(AtomicU64::new(1_795_132_800_000)), tick_ms: 0 }
    }

    /// Later by two milliseconds each time it is asked.
    pub(crate) fn ticking() -> Self {
        Self { tick_ms: 2, ..Self::new() }
    }

    pub(crate) fn move_ms(&self, by_ms: i64) {
        self.now_ms.fetch_add(by_ms.cast_unsigned(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.now_ms.fetch_add(self.tick_ms, Ordering::SeqCst))
    }
}

/// A coordinator without a disk.
#[derive(Debug, Default)]
pub(crate) struct MemoryCoordinator {
    stored: Mutex<Option<Stored>>,
    closed: AtomicBool,
}

impl MemoryCoordinator {
    fn locked<T>(
        &self,
        work: impl FnOnce(&mut Option<Stored>) -> Result<T, CoordinatorError>,
    ) -> Result<T, CoordinatorError> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(closed());
        }
        work(&mut self.stored.lock().unwrap())
    }
}

fn closed() -> CoordinatorError {
    CoordinatorError::Closed { store: "memory".into(), reason: "it was closed".into() }
}

impl Coordinator for MemoryCoordinator {
    fn store(&self) -> &str {
        "memory"
    }

    fn create(
        &self,
        identity: LogIdentity,
        head: Head,
    ) -> BoxFuture<'_, Result<(), CoordinatorError>> {
        let created = self.locked(|stored| match stored {
            Some(_) => Err(CoordinatorError::AlreadyExists { store: "memory".into() }),
            None => {
                *stored = Some(Stored { identity, head, batches: Vec::new() });
                Ok(())
            }
        });
        Box::pin(async move { created })
    }

    fn load(&self) -> BoxFuture<'_, Result<Option<Stored>, CoordinatorError>> {
        Box::pin(async { self.locked(|stored| Ok(stored.clone())) })
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, CommitOutcome> {
        let outcome = self.locked(|stored| {
            let stored = stored.as_mut().unwrap();
            if stored.head != commit.expected {
                return Ok(CommitOutcome::Conflict);
            }
            stored.batches.push(Batch {
                first_index: commit.expected.size,
                size_after: commit.next.size,
                root_after: commit.next.root,
                entries: commit.entries,
            });
            stored.head = commit.next;
            Ok(CommitOutcome::Committed)
        });
        Box::pin(async move { outcome.unwrap_or_else(CommitOutcome::Unknown) })
    }

    fn drop_batches(&self, below: u64) -> BoxFuture<'_, Result<(), CoordinatorError>> {
        let dropped = self.locked(|stored| {
            stored.as_mut().unwrap().batches.retain(|batch| batch.size_after > below);
            Ok(())
        });
        Box::pin(async move { dropped })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.closed.store(true, Ordering::SeqCst);
        Box::pin(async {})
    }
}

/// A tile store without a disk.
#[derive(Debug, Default)]
pub(crate) struct MemoryTiles {
    pub(crate) objects: Mutex<BTreeMap<Object, Bytes>>,
}

impl TileStore for MemoryTiles {
    fn create(&self, object: Object, bytes: Bytes) -> BoxFuture<'_, Result<(), TileStoreError>> {
        let mut objects = self.objects.lock().unwrap();
        let differs = objects.entry(object).or_insert_with(|| bytes.clone()) != &bytes;
        Box::pin(async move {
            if differs {
                return Err(TileStoreError::Differs { path: object.to_string() });
            }
            Ok(())
        })
    }

    fn read(&self, object: Object) -> BoxFuture<'_, Result<Option<Bytes>, TileStoreError>> {
        let found = self.objects.lock().unwrap().get(&object).cloned();
        Box::pin(async move { Ok(found) })
    }
}

/// Which call of a store fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Commit,
    Load,
    DropBatches,
    CreateTile,
}

/// How it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It says that it does not know; it was done.
    PersistedOnce,
    /// It says that it does not know; it was not done.
    LostOnce,
    /// It was done; from then on everything fails.
    PersistedAndBroken,
    /// It was not done; from then on everything fails.
    LostAndBroken,
}

impl Fault {
    pub(crate) const ALL: [Self; 4] =
        [Self::PersistedOnce, Self::LostOnce, Self::PersistedAndBroken, Self::LostAndBroken];

    fn persists(self) -> bool {
        matches!(self, Self::PersistedOnce | Self::PersistedAndBroken)
    }
}

/// Passes calls on, except the one that is to fail; `break_all` is the power cut.
#[derive(Debug)]
pub(crate) struct Faulty<S: ?Sized> {
    inner: Arc<S>,
    plan: Arc<FaultPlan>,
}

impl<S: ?Sized> Faulty<S> {
    pub(crate) fn new(inner: &Arc<S>, plan: &Arc<FaultPlan>) -> Arc<Self> {
        Arc::new(Self { inner: Arc::clone(inner), plan: Arc::clone(plan) })
    }
}

#[derive(Debug, Default)]
pub(crate) struct FaultPlan {
    /// Fails at this call of this step, counted from 0.
    at: Option<(Step, usize, Fault)>,
    calls: Mutex<HashMap<Step, usize>>,
    broken: AtomicBool,
    happened: AtomicBool,
}

impl FaultPlan {
    pub(crate) fn new(step: Step, call: usize, fault: Fault) -> Arc<Self> {
        Arc::new(Self { at: Some((step, call, fault)), ..Self::default() })
    }

    pub(crate) fn break_all(&self) {
        self.broken.store(true, Ordering::SeqCst);
    }

    /// Whether the planned call was made at all.
    pub(crate) fn happened(&self) -> bool {
        self.happened.load(Ordering::SeqCst)
    }

    /// The fault for this call, if it is to fail.
    fn next(&self, step: Step) -> Option<Fault> {
        if self.broken.load(Ordering::SeqCst) {
            return Some(Fault::LostAndBroken);
        }
        let call = {
            let mut calls = self.calls.lock().unwrap();
            let call = calls.entry(step).or_default();
            *call += 1;
            *call - 1
        };
        let (_, _, fault) = self.at.filter(|(at, nth, _)| (*at, *nth) == (step, call))?;
        self.happened.store(true, Ordering::SeqCst);
        if matches!(fault, Fault::PersistedAndBroken | Fault::LostAndBroken) {
            self.break_all();
        }
        Some(fault)
    }
}

fn injected() -> CoordinatorError {
    let source = "injected".into();
    CoordinatorError::Storage { store: "memory".into(), doing: "obey", source }
}

impl Coordinator for Faulty<dyn Coordinator> {
    fn store(&self) -> &str {
        self.inner.store()
    }

    fn create(
        &self,
        identity: LogIdentity,
        head: Head,
    ) -> BoxFuture<'_, Result<(), CoordinatorError>> {
        self.inner.create(identity, head)
    }

    fn load(&self) -> BoxFuture<'_, Result<Option<Stored>, CoordinatorError>> {
        match self.plan.next(Step::Load) {
            None => self.inner.load(),
            Some(_) => Box::pin(async { Err(injected()) }),
        }
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, CommitOutcome> {
        let fault = self.plan.next(Step::Commit);
        Box::pin(async move {
            let Some(fault) = fault else {
                return self.inner.commit(commit).await;
            };
            if fault.persists() {
                let outcome = self.inner.commit(commit).await;
                assert!(matches!(outcome, CommitOutcome::Committed), "{outcome:?}");
            }
            CommitOutcome::Unknown(injected())
        })
    }

    fn drop_batches(&self, below: u64) -> BoxFuture<'_, Result<(), CoordinatorError>> {
        let fault = self.plan.next(Step::DropBatches);
        Box::pin(async move {
            let Some(fault) = fault else {
                return self.inner.drop_batches(below).await;
            };
            if fault.persists() {
                self.inner.drop_batches(below).await.unwrap();
            }
            Err(injected())
        })
    }

    /// Leaves the inner one open for the next start.
    fn close(&self) -> BoxFuture<'_, ()> {
        self.plan.break_all();
        Box::pin(async {})
    }
}

impl TileStore for Faulty<dyn TileStore> {
    fn create(&self, object: Object, bytes: Bytes) -> BoxFuture<'_, Result<(), TileStoreError>> {
        let fault = self.plan.next(Step::CreateTile);
        Box::pin(async move {
            let Some(fault) = fault else {
                return self.inner.create(object, bytes).await;
            };
            if fault.persists() {
                self.inner.create(object, bytes).await.unwrap();
            }
            let source = std::io::Error::other("injected");
            Err(TileStoreError::Storage { path: object.to_string(), doing: "obey", source })
        })
    }

    /// Reading goes on, whatever happens to writing.
    fn read(&self, object: Object) -> BoxFuture<'_, Result<Option<Bytes>, TileStoreError>> {
        self.inner.read(object)
    }
}
