//! What the tests of the log share: doubles for what stands outside, entries, and the invariant.

mod behaviour;
pub(crate) mod doubles;
mod faults;
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
    ct::{Entry, EntryKind, TileLeaves},
    keys::Signer,
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
    create(&key, &*coordinator, &*tiles, crate::time::Clock::now(&now))
        .await
        .unwrap();
    Storage {
        key,
        coordinator,
        tiles,
    }
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
    Log::start(storage, Arc::new(clock.clone()), None)
        .await
        .unwrap()
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
    assert_eq!(
        log.read("checkpoint").await.unwrap().unwrap().bytes,
        checkpoint
    );
    let text = std::str::from_utf8(&checkpoint).unwrap();
    let head = log
        .shared
        .core
        .storage
        .key
        .open_checkpoint(&checkpoint)
        .unwrap_or_else(|| panic!("not signed by the log: {text}"));
    let mut leaves: Vec<Hash> = Vec::new();
    let mut entries = Vec::new();
    let width = u64::from(TILE_WIDTH);
    for index in 0..head.size.div_ceil(width) {
        let tile_width = u16::try_from((head.size - index * width).min(width)).unwrap();
        let path = Tile::entries(index, tile_width).unwrap().to_string();
        let answer = log
            .read(&path)
            .await
            .unwrap()
            .unwrap_or_else(|| panic!("{path} is missing"));
        for leaf in TileLeaves::new(&answer.bytes) {
            let leaf = leaf.unwrap();
            assert_eq!(leaf.index.get(), entries.len() as u64, "{path}");
            let found = leaf.to_entry().unwrap();
            let timestamp = leaf.timestamped_entry.timestamp;
            assert!(timestamp <= head.timestamp);
            leaves.push(leaf_hash(&found.merkle_tree_leaf(timestamp, leaf.index)));
            entries.push((found, timestamp));
        }
    }
    assert_eq!(leaves.len() as u64, head.size);
    let tree: Tree = leaves.iter().copied().collect();
    assert_eq!(
        tree.root(),
        head.root,
        "the checkpoint is not of these entries"
    );
    let expected: BTreeMap<Tile, Vec<u8>> = TileEdge::new()
        .grow(&leaves)
        .into_iter()
        .map(|tile| (tile.tile, tile.bytes))
        .collect();
    for tile in tiles_for_growth(0, head.size) {
        let answer = log.read(&tile.to_string()).await.unwrap();
        assert_eq!(
            answer.expect("every tile is there").bytes,
            expected[&tile],
            "{tile}"
        );
    }
    for (number, promise) in promises {
        let (found, timestamp) = &entries[usize::try_from(promise.index()).unwrap()];
        assert_eq!(
            found,
            &entry(*number),
            "entry {number} is not where its SCT says"
        );
        let sct = promise.sct();
        assert_eq!((sct.timestamp, sct.log_id), (*timestamp, log.id()));
        assert_eq!(promise.entry_digest(), &entry(*number).digest());
        let signed = found.sct_signed_data(*timestamp, &sct.extensions);
        assert!(signer.verifies(&signed, &sct.signature));
    }
}
