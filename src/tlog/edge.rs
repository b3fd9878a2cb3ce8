//! The rightmost tile of each level: what the flush of a growth needs, and the start-up.
//!
//! In: the partial tiles of a size, then leaf hashes. Out: the tiles of the growth with their
//! bytes, and the [`Tree`]. Knows nothing of where tiles are stored. Start-up reads at most eight
//! tiles and hashes no entry.

use super::{
    hash::{Hash, node_hash},
    tile::{MAX_LEVEL, ReadTileError, TILE_HEIGHT, TILE_WIDTH, Tile, hashes_in_level},
    tree::Tree,
};

/// The hashes of the partial tile of every level of a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TileEdge {
    size: u64,
    /// `levels[l]` holds the last `hashes_in_level(size, l) % 256` hashes of level l.
    levels: [Vec<Hash>; MAX_LEVEL as usize + 1],
}

/// A tile of hashes and its bytes: `32 * tile.width()`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashTile {
    /// Where it belongs.
    pub tile: Tile,
    /// The hashes, end to end.
    pub bytes: Vec<u8>,
}

impl TileEdge {
    /// The edge of the tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tiles [`TileEdge::load`] reads for a tree of `size` leaves: its partial ones.
    pub fn tiles(size: u64) -> impl Iterator<Item = Tile> {
        (0..=MAX_LEVEL).filter_map(move |level| partial_tile(size, level))
    }

    /// The edge of a tree of `size` leaves, from the partial tiles that `read` gives.
    ///
    /// The caller compares `edge.tree().root()` with the root it trusts for `size`: bytes of the
    /// right length with the wrong content are noticed only there.
    ///
    /// # Errors
    /// `read` failed, or gave another number of bytes than the tile has.
    pub fn load<B: AsRef<[u8]>, E: std::error::Error + 'static>(
        size: u64,
        mut read: impl FnMut(&Tile) -> Result<B, E>,
    ) -> Result<Self, ReadTileError<E>> {
        let mut edge = Self { size, ..Self::default() };
        for (level, hashes) in (0..=MAX_LEVEL).zip(&mut edge.levels) {
            let Some(tile) = partial_tile(size, level) else {
                continue;
            };
            let bytes = read(&tile).map_err(|source| ReadTileError::Read { tile, source })?;
            *hashes = tile_hashes(&tile, bytes.as_ref())
                .ok_or(ReadTileError::Length { tile, length_bytes: bytes.as_ref().len() })?;
        }
        Ok(edge)
    }

    /// How many leaves the tree has.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The accumulator of the same tree.
    pub fn tree(&self) -> Tree {
        let mut peaks = Vec::with_capacity(u64::BITS as usize);
        for hashes in self.levels.iter().rev() {
            let mut rest = hashes.as_slice();
            // A partial tile of width w holds one complete subtree for each set bit of w.
            while let Some(height) = rest.len().checked_ilog2() {
                let (subtree, after) = rest.split_at(1 << height);
                peaks.push(subtree_root(subtree));
                rest = after;
            }
        }
        // The widths are the base-256 digits of the size, so the peaks are as many as its bits.
        Tree { size: self.size, peaks }
    }

    /// Appends leaf hashes and gives the tiles that come to be, as [`super::tiles_for_growth`]
    /// names them, in no particular order.
    pub fn grow(&mut self, leaves: &[Hash]) -> Vec<HashTile> {
        let mut full = Vec::new();
        let old_size = self.size;
        for &leaf in leaves {
            self.append(leaf, &mut full);
        }
        let changed = |level| hashes_in_level(old_size, level) != hashes_in_level(self.size, level);
        let partial = (0..=MAX_LEVEL).filter(|&level| changed(level)).filter_map(|level| {
            let tile = partial_tile(self.size, level)?;
            Some(HashTile { tile, bytes: concatenated(&self.levels[usize::from(level)]) })
        });
        full.extend(partial);
        full
    }

    fn append(&mut self, leaf: Hash, full: &mut Vec<HashTile>) {
        self.size += 1;
        let mut hash = leaf;
        for (level, hashes) in (0..=MAX_LEVEL).zip(&mut self.levels) {
            hashes.push(hash);
            if hashes.len() < usize::from(TILE_WIDTH) {
                return;
            }
            let index = (hashes_in_level(self.size, level) >> TILE_HEIGHT) - 1;
            if let Some(tile) = Tile::hashes(level, index, TILE_WIDTH) {
                full.push(HashTile { tile, bytes: concatenated(hashes) });
            }
            hash = subtree_root(hashes);
            hashes.clear();
        }
    }
}

/// The hashes in the bytes of `tile`; `None` if the length is not 32 bytes for each.
pub(super) fn tile_hashes(tile: &Tile, bytes: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<{ Hash::LEN_BYTES }>();
    let fits = rest.is_empty() && hashes.len() == usize::from(tile.width());
    fits.then(|| hashes.iter().copied().map(Hash::from_bytes).collect())
}

/// The root over hashes of complete, equally high subtrees; their number is a power of two.
pub(super) fn subtree_root(hashes: &[Hash]) -> Hash {
    let (mut row, mut count) = ([Hash::EMPTY_ROOT; TILE_WIDTH as usize / 2], hashes.len() / 2);
    if count == 0 {
        return hashes.first().copied().unwrap_or(Hash::EMPTY_ROOT);
    }
    for (parent, pair) in row.iter_mut().zip(hashes.chunks_exact(2)) {
        *parent = node_hash(&pair[0], &pair[1]);
    }
    while count > 1 {
        count /= 2;
        for i in 0..count {
            row[i] = node_hash(&row[2 * i], &row[2 * i + 1]);
        }
    }
    row[0]
}

fn partial_tile(size: u64, level: u8) -> Option<Tile> {
    let hashes = hashes_in_level(size, level);
    // The remainder of a division by 256 fits; where it is zero there is no partial tile.
    let width = u16::try_from(hashes % u64::from(TILE_WIDTH)).unwrap_or(0);
    Tile::hashes(level, hashes >> TILE_HEIGHT, width)
}

fn concatenated(hashes: &[Hash]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(hashes.len() * Hash::LEN_BYTES);
    hashes.iter().for_each(|hash| bytes.extend_from_slice(hash.as_bytes()));
    bytes
}
