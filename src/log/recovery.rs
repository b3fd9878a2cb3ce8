//! From what is stored to a log that can go on. Every start takes this way, also after a crash.
//!
//! In: the coordinator's state and the tile store. Out: the tail at the head, proven to have the
//! root that the log signed. Knows nothing of writing, except that it names the owner of a fresh
//! tile store. Reads the right edge only: at most 255 tiles per level, and the batches that are not
//! in tiles yet.

use bytes::Bytes;
use futures_util::future::try_join_all;

use super::{
    OpenError,
    coordinator::{Batch, Head, LogIdentity, Stored},
    core::Storage,
    entries::EncodedEntries,
    tail::Tail,
    tiles::Object,
};
use crate::tlog::{Hash, HashTile, TILE_WIDTH, Tile, TileEdge, TileKind, Tree};

/// A log at its head.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) tail: Tail,
    /// Size and root after each batch that is not in tiles yet.
    pub(super) batch_roots: Vec<(u64, [u8; 32])>,
}

/// A checkpoint that the log signed before: the head must be that one or a later one.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) size: u64,
    pub(super) root: Hash,
    /// Where it was seen, for messages.
    pub(super) place: String,
}

/// Loads and checks everything that going on relies on.
pub(super) async fn recover(
    storage: &Storage,
    seen: Option<&Seen>,
) -> Result<Recovered, OpenError> {
    let store = storage.coordinator.store();
    let stored = storage.coordinator.load().await?;
    let Some(stored) = stored else {
        return Err(OpenError::Missing { store: store.to_owned() });
    };
    check_identity(storage, &stored.identity)?;
    if !storage.key.confirms(&stored.head) {
        let what = format!("{store}, table head");
        return Err(OpenError::Damaged { what, reason: "the checkpoint does not confirm it" });
    }
    let flushed_size = flushed_size(store, &stored)?;
    check_instance(storage, &stored.identity, flushed_size).await?;
    let (edge, partial_hashes) = load_edge(storage, flushed_size).await?;
    let mut tail = Tail::new(stored.head.clone(), edge, partial_hashes);
    let tree = match replay(store, &stored, &mut tail) {
        Ok(tree) => tree,
        // The tiles come first in the tree: where one of them is wrong every batch looks wrong.
        Err(error) => return Err(damaged_tile(storage, flushed_size).await?.unwrap_or(error)),
    };
    if (tree.size(), tree.root().as_bytes()) != (stored.head.size, &stored.head.root) {
        let what = format!("{store}, table head, or the tiles");
        let error = OpenError::Damaged { what, reason: "the entries have another root" };
        return Err(damaged_tile(storage, flushed_size).await?.unwrap_or(error));
    }
    if let Some(seen) = seen {
        check_extends(storage, &tail, seen).await?;
    }
    let batch_roots = stored.batches.iter().map(|batch| (batch.size_after, batch.root_after));
    Ok(Recovered { tail, batch_roots: batch_roots.collect() })
}

/// A coordinator that was restored from an old copy would sign a second history. The tiles, which
/// are written only after a commit, know better. To be asked at start-up.
pub(super) async fn check_not_behind_tiles(
    storage: &Storage,
    head: &Head,
) -> Result<(), OpenError> {
    let index = head.size / u64::from(TILE_WIDTH);
    let beyond = [Tile::entries(index, TILE_WIDTH), Tile::hashes(0, index, TILE_WIDTH)];
    for tile in beyond.into_iter().flatten() {
        if storage.tiles.read(Object::Tile(tile)).await?.is_some() {
            let object = tile.to_string();
            return Err(OpenError::HeadBehindTiles { object, size: head.size });
        }
    }
    Ok(())
}

/// The head must have the seen checkpoint's entries as its first ones.
async fn check_extends(storage: &Storage, tail: &Tail, seen: &Seen) -> Result<(), OpenError> {
    let store = storage.coordinator.store().to_owned();
    let (size, seen_size, place) = (tail.head().size, seen.size, seen.place.clone());
    if size < seen_size {
        return Err(OpenError::HeadBehind { store, size, seen: place, seen_size });
    }
    if root_at(storage, tail, seen_size).await? != seen.root {
        return Err(OpenError::OtherHistory { store, seen: place, seen_size });
    }
    Ok(())
}

/// The root of the first `size` entries, from at most eight tiles.
async fn root_at(storage: &Storage, tail: &Tail, size: u64) -> Result<Hash, OpenError> {
    let mut partial = Vec::new();
    for tile in TileEdge::tiles(size) {
        let bytes = match tail.partial(tile).or_else(|| tail.full(tile.full())) {
            Some(bytes) => bytes,
            None => required_tile(storage, tile.full(), tail.head().size).await?,
        };
        let width_bytes = usize::from(tile.width()) * Hash::LEN_BYTES;
        partial.push(HashTile { tile, bytes: bytes.iter().copied().take(width_bytes).collect() });
    }
    Ok(edge_of(size, &partial)?.tree().root())
}

/// The bytes that name the owner of a tile store.
pub(super) fn instance_text(identity: &LogIdentity) -> Bytes {
    Bytes::from(format!("{}\n", hex::encode(identity.instance)))
}

fn check_identity(storage: &Storage, identity: &LogIdentity) -> Result<(), OpenError> {
    let store = storage.coordinator.store().to_owned();
    let key = &storage.key;
    if identity.log_id != key.id() {
        return Err(OpenError::OtherKey {
            store,
            key: key.name().to_owned(),
            expected: key.id().to_string(),
            found: identity.log_id.to_string(),
        });
    }
    if identity.origin != key.origin() {
        let expected = key.origin().to_owned();
        return Err(OpenError::OtherOrigin { store, expected, found: identity.origin.clone() });
    }
    Ok(())
}

/// Every entry below this size, a multiple of 256, is in a full tile.
fn flushed_size(store: &str, stored: &Stored) -> Result<u64, OpenError> {
    let head_size = stored.head.size;
    let mut expected = stored.batches.first().map_or(head_size, |batch| batch.first_index);
    // Batches are dropped whole, once the tiles with all their entries are flushed: the first one
    // left may begin within a tile, and then that tile is flushed to its end.
    let flushed_size = expected.next_multiple_of(u64::from(TILE_WIDTH));
    for batch in &stored.batches {
        if batch.first_index != expected {
            let what = format!("{store}, table batch, first_index {expected}");
            return Err(OpenError::Damaged { what, reason: "the row is missing" });
        }
        expected = batch.size_after;
    }
    if expected != head_size || flushed_size > head_size {
        let what = format!("{store}, table batch");
        return Err(OpenError::Damaged { what, reason: "the rows do not end at the head" });
    }
    Ok(flushed_size)
}

async fn check_instance(
    storage: &Storage,
    identity: &LogIdentity,
    flushed_size: u64,
) -> Result<(), OpenError> {
    let expected = instance_text(identity);
    match storage.tiles.read(Object::Instance).await? {
        Some(found) if found == expected => Ok(()),
        // A crash came between the two steps of `init`, and nothing was flushed since.
        None if flushed_size == 0 => Ok(storage.tiles.create(Object::Instance, expected).await?),
        _ => Err(OpenError::OtherInstance { object: Object::Instance.to_string() }),
    }
}

/// The edge of the tree of `flushed_size`, and its partial tiles, from the full tiles below them.
async fn load_edge(
    storage: &Storage,
    flushed_size: u64,
) -> Result<(TileEdge, Vec<HashTile>), OpenError> {
    let mut partial = Vec::new();
    for tile in TileEdge::tiles(flushed_size) {
        let roots = children(tile).map(|child| async move {
            let bytes = required_tile(storage, child, flushed_size).await?;
            Ok::<_, OpenError>(subtree_root(&bytes))
        });
        let roots = try_join_all(roots).await?;
        let bytes = roots.iter().flat_map(|root| *root.as_bytes()).collect();
        partial.push(HashTile { tile, bytes });
    }
    Ok((edge_of(flushed_size, &partial)?, partial))
}

fn edge_of(size: u64, partial: &[HashTile]) -> Result<TileEdge, OpenError> {
    let edge = TileEdge::load(size, |tile| {
        let found = partial.iter().find(|partial| partial.tile == *tile);
        found.map(|partial| partial.bytes.as_slice()).ok_or(NotRead)
    });
    // Unreachable as long as `tiles` and `load` agree, which their own tests hold.
    edge.map_err(|_| OpenError::Damaged { what: "tiles".into(), reason: "no edge" })
}

#[derive(Debug, thiserror::Error)]
#[error("the tile is not one of the edge")]
struct NotRead;

/// The full tiles whose roots are the hashes of `tile`, which is not of level 0.
fn children(tile: Tile) -> impl Iterator<Item = Tile> {
    let level = match tile.kind() {
        TileKind::Entries => None,
        TileKind::Hashes { level } => level.checked_sub(1),
    };
    let first = tile.index() * u64::from(TILE_WIDTH);
    (first..first + u64::from(tile.width()))
        .filter_map(move |index| Tile::hashes(level?, index, TILE_WIDTH))
}

async fn required_tile(storage: &Storage, tile: Tile, size: u64) -> Result<Bytes, OpenError> {
    let object = Object::Tile(tile);
    let found = storage.tiles.read(object).await?;
    let bytes = found.ok_or_else(|| OpenError::MissingTile { object: object.to_string(), size })?;
    let is_whole = bytes.len() == usize::from(TILE_WIDTH) * Hash::LEN_BYTES;
    if tile.kind() != TileKind::Entries && !is_whole {
        let what = object.to_string();
        return Err(OpenError::Damaged { what, reason: "it has the wrong length" });
    }
    Ok(bytes)
}

fn subtree_root(tile: &[u8]) -> Hash {
    let (hashes, _) = tile.as_chunks();
    hashes.iter().copied().map(Hash::from_bytes).collect::<Tree>().root()
}

/// Brings the tail from the flushed size to the head.
fn replay(store: &str, stored: &Stored, tail: &mut Tail) -> Result<Tree, OpenError> {
    let mut tree = tail.tree();
    for batch in &stored.batches {
        let damaged = |reason| {
            let what = format!("{store}, table batch, first_index {}", batch.first_index);
            OpenError::Damaged { what, reason }
        };
        let entries = decode(batch).ok_or_else(|| damaged("its entries cannot be read"))?;
        let Some(in_tiles) = tree.size().checked_sub(batch.first_index) else {
            return Err(damaged("the entries before it are missing"));
        };
        if batch.size_after <= tree.size() {
            continue;
        }
        let entries = entries.skip(usize::try_from(in_tiles).unwrap_or(usize::MAX));
        tree.extend(entries.leaves.iter().copied());
        if tree.root().as_bytes() != &batch.root_after {
            return Err(damaged("its entries have another root"));
        }
        tail.append(stored.head.clone(), &entries);
    }
    Ok(tree)
}

fn decode(batch: &Batch) -> Option<EncodedEntries> {
    let entries = EncodedEntries::decode(batch.entries.clone(), batch.first_index).ok()?;
    let count = batch.size_after.checked_sub(batch.first_index)?;
    (u64::try_from(entries.leaves.len()).ok() == Some(count)).then_some(entries)
}

/// Looks for the tile of the edge that does not agree with what it was made of. Slow, and only
/// asked once it is known that something is wrong.
async fn damaged_tile(storage: &Storage, size: u64) -> Result<Option<OpenError>, OpenError> {
    for tile in TileEdge::tiles(size).flat_map(children) {
        let hashes = required_tile(storage, tile, size).await?;
        let (expected, below) = match tile.entries_tile() {
            Some(entries_tile) => {
                let entries = required_tile(storage, entries_tile, size).await?;
                let decoded = EncodedEntries::decode(entries, entries_tile.first_entry());
                (decoded.unwrap_or_default().leaves, entries_tile.to_string())
            }
            None => {
                let below = children(tile).map(|child| required_tile(storage, child, size));
                let below = try_join_all(below).await?;
                let roots = below.iter().map(|bytes| subtree_root(bytes)).collect();
                (roots, "the tiles below it".to_owned())
            }
        };
        if !expected.iter().flat_map(|hash| hash.as_bytes()).eq(hashes.iter()) {
            let what = format!("{tile} or {below}");
            return Ok(Some(OpenError::Damaged { what, reason: "they do not agree" }));
        }
    }
    Ok(None)
}
