//! Proofs made from tiles.
//!
//! In: sizes and an index, then the bytes of the tiles the plan asks for. Out: the hashes of an
//! inclusion or consistency proof, or a root. Knows nothing of how tiles are fetched: a plan
//! first names its tiles, so that the caller can fetch them together and asynchronously.

use super::{
    edge::{subtree_root, tile_hashes},
    hash::{Hash, node_hash},
    tile::{ReadTileError, TILE_HEIGHT, Tile},
};

/// Which hashes of a tree answer a question, and in which tiles they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofPlan {
    /// The size of the tree whose tiles are read.
    size: u64,
    /// For each hash of the proof the subtree it is the root of.
    subtrees: Vec<Subtree>,
}

impl ProofPlan {
    /// The audit path of RFC 6962, 2.1.1: that the leaf at `index` is in the tree of `size`.
    ///
    /// # Errors
    /// `index` is not below `size`.
    pub fn inclusion(index: u64, size: u64) -> Result<Self, ProofRangeError> {
        if index >= size {
            return Err(ProofRangeError::Inclusion { index, size });
        }
        let mut subtrees = Vec::new();
        let mut around = Subtree { start: 0, leaves: size };
        while around.leaves > 1 {
            let (left, right) = around.split();
            let (inside, beside) = if index < right.start { (left, right) } else { (right, left) };
            subtrees.push(beside);
            around = inside;
        }
        // Walked from the root down; a proof goes from the leaf up.
        subtrees.reverse();
        Ok(Self { size, subtrees })
    }

    /// The consistency proof of RFC 6962, 2.1.2: that the tree of `old_size` is the beginning of
    /// the tree of `new_size`. Empty when the sizes are equal or the old tree is empty.
    ///
    /// # Errors
    /// `old_size` is above `new_size`.
    pub fn consistency(old_size: u64, new_size: u64) -> Result<Self, ProofRangeError> {
        if old_size > new_size {
            return Err(ProofRangeError::Consistency { old_size, new_size });
        }
        let mut subtrees = Vec::new();
        let mut around = Subtree { start: 0, leaves: new_size };
        while old_size > 0 && around.start + around.leaves != old_size {
            let (left, right) = around.split();
            let (inside, beside) =
                if old_size <= right.start { (left, right) } else { (right, left) };
            subtrees.push(beside);
            around = inside;
        }
        // A remainder that starts at zero is the old tree itself, whose root the verifier has.
        if around.start > 0 {
            subtrees.push(around);
        }
        subtrees.reverse();
        Ok(Self { size: new_size, subtrees })
    }

    /// The root of the tree of `size`, as a plan that yields one hash.
    pub fn root(size: u64) -> Self {
        Self { size, subtrees: vec![Subtree { start: 0, leaves: size }] }
    }

    /// The tiles the plan reads, each once, in order.
    pub fn tiles(&self) -> Vec<Tile> {
        let complete = self.subtrees.iter().flat_map(|subtree| subtree.complete());
        let mut tiles: Vec<Tile> = complete.map(|one| one.tile(self.size)).collect();
        tiles.sort_unstable();
        tiles.dedup();
        tiles
    }

    /// The hashes of the proof, in order, from the tiles that `read` gives.
    ///
    /// `read` is asked for a tile once for each hash taken from it; let it look into what was
    /// fetched for [`ProofPlan::tiles`]. The proof is only as true as the bytes: verify it.
    ///
    /// # Errors
    /// `read` failed, or gave another number of bytes than the tile has.
    pub fn hashes<B: AsRef<[u8]>, E: std::error::Error + 'static>(
        &self,
        mut read: impl FnMut(&Tile) -> Result<B, E>,
    ) -> Result<Vec<Hash>, ReadTileError<E>> {
        self.subtrees.iter().map(|subtree| subtree.root(self.size, &mut read)).collect()
    }
}

/// The question has no answer in a tree of this size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofRangeError {
    /// The leaf is not in the tree.
    #[error("a tree of {size} leaves has no leaf {index}")]
    Inclusion {
        /// The leaf asked for.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// The sizes are the wrong way round.
    #[error("a tree of {new_size} leaves cannot continue one of {old_size}")]
    Consistency {
        /// The size of the earlier tree.
        old_size: u64,
        /// The size of the later tree.
        new_size: u64,
    },
}

/// A node of the RFC 6962 tree, by the leaves below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Subtree {
    start: u64,
    leaves: u64,
}

impl Subtree {
    /// RFC 6962, 2.1: split at the largest power of two smaller than the number of leaves, which
    /// must be at least two.
    fn split(self) -> (Self, Self) {
        let left_leaves = 1 << (self.leaves - 1).ilog2();
        let left = Self { start: self.start, leaves: left_leaves };
        let right = Self { start: self.start + left_leaves, leaves: self.leaves - left_leaves };
        (left, right)
    }

    /// The complete subtrees it consists of, the largest first.
    fn complete(self) -> impl DoubleEndedIterator<Item = CompleteSubtree> {
        (0..64_u8).rev().filter(move |&height| self.leaves >> height & 1 == 1).map(move |height| {
            // The leaves of all higher bits come before this subtree.
            let before = self.leaves >> height >> 1 << height << 1;
            CompleteSubtree { height, nth: (self.start + before) >> height }
        })
    }

    fn root<B: AsRef<[u8]>, E: std::error::Error + 'static>(
        self,
        size: u64,
        read: &mut impl FnMut(&Tile) -> Result<B, E>,
    ) -> Result<Hash, ReadTileError<E>> {
        let mut folded = None;
        for part in self.complete().rev() {
            let left = part.hash(size, read)?;
            folded = Some(folded.map_or(left, |right| node_hash(&left, &right)));
        }
        Ok(folded.unwrap_or(Hash::EMPTY_ROOT))
    }
}

/// The `nth` subtree of 2^`height` leaves.
#[derive(Clone, Copy, Debug)]
struct CompleteSubtree {
    height: u8,
    nth: u64,
}

impl CompleteSubtree {
    fn hash<B: AsRef<[u8]>, E: std::error::Error + 'static>(
        self,
        size: u64,
        read: &mut impl FnMut(&Tile) -> Result<B, E>,
    ) -> Result<Hash, ReadTileError<E>> {
        let tile = self.tile(size);
        let bytes = read(&tile).map_err(|source| ReadTileError::Read { tile, source })?;
        let length_bytes = bytes.as_ref().len();
        let wrong_length = ReadTileError::Length { tile, length_bytes };
        let Some(hashes) = tile_hashes(&tile, bytes.as_ref()) else {
            return Err(wrong_length);
        };
        // A tile is 256 wide, so the lowest byte is the place within it.
        let [.., lowest] = self.first_hash().to_be_bytes();
        let first = usize::from(lowest);
        // In a tile as long as it should be the range exists: plans stay within their tree.
        let below = hashes.get(first..first + (1 << self.height_in_tile())).ok_or(wrong_length)?;
        Ok(subtree_root(below))
    }

    /// The tile that holds the hashes it is the root over, in a tree of `size` leaves.
    fn tile(self, size: u64) -> Tile {
        Tile::holding(self.height / TILE_HEIGHT, self.first_hash(), size)
    }

    /// The first of those hashes, counted in its tile level.
    const fn first_hash(self) -> u64 {
        self.nth << self.height_in_tile()
    }

    const fn height_in_tile(self) -> u8 {
        self.height % TILE_HEIGHT
    }
}
