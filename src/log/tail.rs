//! What is committed but not yet in the tile store.
//!
//! In: one committed batch after the other. Out: the latest checkpoint, the partial tiles of its
//! size, and the full tiles that wait for their flush. Knows nothing of stores and keys. Holds at
//! most one partial tile per level and the full tiles that [`Tail::forget`] was not called for.

use std::{collections::BTreeMap, mem};

use bytes::Bytes;

use super::{coordinator::Head, entries::EncodedEntries};
use crate::tlog::{Hash, HashTile, TILE_WIDTH, Tile, TileEdge, TileKind, Tree};

/// The right edge of the committed tree.
#[derive(Debug)]
pub(super) struct Tail {
    head: Head,
    edge: TileEdge,
    /// The last tile of hashes of each level, where it is partial.
    partial_hashes: BTreeMap<TileKind, HashTile>,
    partial_entries: PartialEntries,
    full: BTreeMap<Tile, Bytes>,
}

/// The last tile of entries.
#[derive(Debug, Default)]
struct PartialEntries {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Tail {
    /// A tail with no entry that is not in a full tile: `edge` ends with a tile of entries, and
    /// `partial_hashes` are its partial tiles, all of higher levels. [`Tail::append`] brings it to
    /// `head`.
    pub(super) fn new(head: Head, edge: TileEdge, partial_hashes: Vec<HashTile>) -> Self {
        let by_kind = partial_hashes.into_iter().map(|tile| (tile.tile.kind(), tile));
        Self {
            head,
            edge,
            partial_hashes: by_kind.collect(),
            partial_entries: PartialEntries::default(),
            full: BTreeMap::new(),
        }
    }

    /// The latest commit.
    pub(super) const fn head(&self) -> &Head {
        &self.head
    }

    /// Entries that [`Tail::append`] has seen, or that were in tiles before.
    pub(super) const fn size(&self) -> u64 {
        self.edge.size()
    }

    /// The tree over them.
    pub(super) fn tree(&self) -> Tree {
        self.edge.tree()
    }

    /// Takes up entries that are committed, and the head after them.
    pub(super) fn append(&mut self, head: Head, entries: &EncodedEntries) {
        let first_tile = self.edge.size() / u64::from(TILE_WIDTH);
        for tile in self.edge.grow(&entries.leaves) {
            if tile.tile.is_partial() {
                self.partial_hashes.insert(tile.tile.kind(), tile);
            } else {
                self.partial_hashes.remove(&tile.tile.kind());
                self.full.insert(tile.tile, Bytes::from(tile.bytes));
            }
        }
        let mut tile_index = first_tile;
        let mut start = 0;
        for &end in &entries.ends {
            let open = &mut self.partial_entries;
            open.bytes.extend_from_slice(entries.bytes.get(start..end).unwrap_or_default());
            open.ends.push(open.bytes.len());
            start = end;
            if open.ends.len() == usize::from(TILE_WIDTH) {
                if let Some(tile) = Tile::entries(tile_index, TILE_WIDTH) {
                    self.full.insert(tile, Bytes::from(mem::take(&mut open.bytes)));
                }
                open.ends.clear();
                tile_index += 1;
            }
        }
        self.head = head;
    }

    /// The bytes of a tile, if it is here; also where more than `tile.width()` is here and the
    /// tile is still partial.
    pub(super) fn partial(&self, tile: Tile) -> Option<Bytes> {
        let width = usize::from(tile.width());
        if tile.kind() == TileKind::Entries {
            let is_last = tile.index() == self.size() / u64::from(TILE_WIDTH);
            let end = *self.partial_entries.ends.get(width - 1).filter(|_| is_last)?;
            return Some(Bytes::copy_from_slice(self.partial_entries.bytes.get(..end)?));
        }
        let last = self.partial_hashes.get(&tile.kind())?;
        let bytes = last.bytes.get(..width * Hash::LEN_BYTES)?;
        (last.tile.index() == tile.index()).then(|| Bytes::copy_from_slice(bytes))
    }

    /// The bytes of a full tile that waits for its flush.
    pub(super) fn full(&self, tile: Tile) -> Option<Bytes> {
        self.full.get(&tile).cloned()
    }

    /// All full tiles that wait for their flush.
    pub(super) fn unflushed(&self) -> Vec<(Tile, Bytes)> {
        self.full.iter().map(|(tile, bytes)| (*tile, bytes.clone())).collect()
    }

    /// How many full tiles of entries wait for their flush: nearly all the memory of a tail.
    pub(super) fn unflushed_entry_tiles(&self) -> usize {
        self.full.keys().filter(|tile| tile.kind() == TileKind::Entries).count()
    }

    /// Lets go of tiles that the store has.
    pub(super) fn forget(&mut self, tiles: &[(Tile, Bytes)]) {
        for (tile, _) in tiles {
            self.full.remove(tile);
        }
    }
}
