//! What the tests of the log share: doubles for what stands outside, entries, and the invariant.

mod behaviour;
pub(crate) mod doubles;
mod faults;
mod frozen;
mod random;
mod storage;

use std::{collections::BTreeMap, sync::Arc};

use futures_util::future::join_all;

use super::{
    Log, LoggedSct, SubmitError,
    core::Storage,
    create,
    key::LogKey,
    tests::doubles::{FaultPlan, Faulty, ManualClock, MemoryCoordinator, MemoryTiles, TestSigner},
};
use crate::{
    ct::{Entry, EntryKind, LeafIndex, TileLeaves},
    keys::Signer,
    time::{Clock, Timestamp},
    tlog::{Hash, TILE_WIDTH, Tile, TileEdge, Tree, leaf_hash, tiles_for_growth},
};

pub(crate) const ORIGIN: &str = "log.example.com/2026";

/// A precertificate entry without a chain; entries with different numbers differ.
pub(crate) fn entry(number: u32) -> Entry {
    let kind = EntryKind::Precert {
        issuer_key_hash: [7; 32],
        tbs_certificate: [b"tbs ".as_slice(), &number.to_be_bytes()].concat(),
        precertificate: [b"precertificate ".as_slice(), &number.to_be_bytes()].concat(),
    };
    Entry::new(kind, Vec::new()).unwrap()
}

/// A log's storage in memory, as `init` leaves it.
pub(crate) async fn memory(signer: &Arc<TestSigner>) -> Storage {
    let key = Arc::new(LogKey::new(Arc::clone(signer) as Arc<dyn Signer>, ORIGIN).unwrap());
    let coordinator = Arc::new(MemoryCoordinator::default());
    let tiles = Arc::new(MemoryTiles::default());
    let now = ManualClock::new();
    create(&key, &*coordinator, &*tiles, now.now()).await.unwrap();
    Storage { key, coordinator, tiles }
}

/// The same storage, as a process sees it in which `plan` happens. Closing it leaves the storage
/// open for the next start.
pub(crate) fn faulty(storage: &Storage, plan: &Arc<FaultPlan>) -> Storage {
    Storage {
        key: Arc::clone(&storage.key),
        coordinator: Faulty::new(&storage.coordinator, plan),
        tiles: Faulty::new(&storage.tiles, plan),
    }
}

pub(crate) async fn start(storage: Storage, clock: &ManualClock) -> Log {
    Log::start(storage, Arc::new(clock.clone()), None).await.unwrap()
}

/// Submits all of them at once, and answers in their order.
pub(crate) async fn submit(
    log: &Log,
    numbers: impl IntoIterator<Item = u32>,
) -> Vec<(u32, Result<LoggedSct, SubmitError>)> {
    let submit_one = |number| async move { (number, log.submit(entry(number)).await) };
    join_all(numbers.into_iter().map(submit_one)).await
}

/// The promises that were given: entry number to SCT.
pub(crate) type Promises = BTreeMap<u32, LoggedSct>;

/// The invariant: under the latest checkpoint, signed by the log, stand exactly the entries of the
/// data tiles; every tile of that size is what these entries make; every promise is kept.
pub(crate) async fn check_log(log: &Log, signer: &TestSigner, promises: &Promises) {
    let checkpoint = log.checkpoint();
    let answer = log.read("checkpoint").await.unwrap().unwrap();
    assert_eq!(answer.bytes, checkpoint);
    let key = &log.current().core.storage.key;
    let head = key.open_checkpoint(&checkpoint).expect("a checkpoint that the log signed");
    let entries = read_entries(log, head.size).await;
    let leaf = |(index, (entry, at)): (u64, &(Entry, Timestamp))| {
        leaf_hash(&entry.merkle_tree_leaf(*at, LeafIndex::new(index).unwrap()))
    };
    let leaves: Vec<Hash> = (0..).zip(&entries).map(leaf).collect();
    let tree: Tree = leaves.iter().copied().collect();
    assert_eq!((tree.size(), tree.root()), (head.size, head.root));
    assert!(entries.iter().all(|(_, timestamp)| *timestamp <= head.timestamp));
    check_tiles(log, &leaves).await;
    for (number, promise) in promises {
        let (found, timestamp) = &entries[usize::try_from(promise.index()).unwrap()];
        assert_eq!(found, &entry(*number), "entry {number} is not where its SCT says");
        let sct = promise.sct();
        assert_eq!((sct.timestamp, sct.log_id), (*timestamp, log.id()));
        assert_eq!(promise.entry_digest(), &entry(*number).digest());
        let signed = found.sct_signed_data(*timestamp, &sct.extensions);
        assert!(signer.verifies(&signed, &sct.signature));
    }
}

/// All entries, as a reader gets them.
async fn read_entries(log: &Log, size: u64) -> Vec<(Entry, Timestamp)> {
    let mut entries = Vec::new();
    let width = u64::from(TILE_WIDTH);
    for index in 0..size.div_ceil(width) {
        let entries_in_tile = u16::try_from((size - index * width).min(width)).unwrap();
        let path = Tile::entries(index, entries_in_tile).unwrap().to_string();
        let answer = log.read(&path).await.unwrap().expect("every tile is there");
        for leaf in TileLeaves::new(&answer.bytes) {
            let leaf = leaf.unwrap();
            assert_eq!(leaf.index.get(), entries.len() as u64, "{path}");
            entries.push((leaf.to_entry().unwrap(), leaf.timestamped_entry.timestamp));
        }
    }
    entries
}

async fn check_tiles(log: &Log, leaves: &[Hash]) {
    let tiles = TileEdge::new().grow(leaves).into_iter();
    let expected: BTreeMap<Tile, Vec<u8>> = tiles.map(|tile| (tile.tile, tile.bytes)).collect();
    for tile in tiles_for_growth(0, leaves.len() as u64) {
        let answer = log.read(&tile.to_string()).await.unwrap().expect("every tile is there");
        assert_eq!(answer.bytes, expected[&tile], "{tile}");
    }
}
