//! A Merkle tree that remembers only its right edge.
//!
//! In: leaf hashes in order. Out: the root, in O(log n) memory. Knows nothing of tiles and
//! storage. Cloning one costs at most 2 KB, so that a commit can be tried on a copy.

use super::hash::{Hash, node_hash};

/// The size of a tree and the roots of the complete subtrees it consists of.
///
/// A tree of n leaves is a row of complete subtrees, one for each set bit of n, the largest
/// first; their roots, the *peaks*, are all that appending and the root need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    pub(super) size: u64,
    /// Largest subtree first; always `size.count_ones()` of them.
    pub(super) peaks: Vec<Hash>,
}

impl Tree {
    /// The tree without leaves.
    pub const fn new() -> Self {
        Self { size: 0, peaks: Vec::new() }
    }

    /// A tree that was stored as its size and peaks, largest subtree first.
    ///
    /// # Errors
    /// The number of peaks is not the number of set bits in `size`.
    pub fn from_peaks(size: u64, peaks: Vec<Hash>) -> Result<Self, WrongPeakCount> {
        if peaks.len() != size.count_ones() as usize {
            return Err(WrongPeakCount { size, count: peaks.len() });
        }
        Ok(Self { size, peaks })
    }

    /// How many leaves it has.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The roots of its complete subtrees, the largest first.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Adds one leaf at the end, given its [`super::leaf_hash`].
    pub fn append(&mut self, leaf: Hash) {
        let mut peak = leaf;
        // Each trailing one bit of the size is a complete subtree as large as the new one.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                peak = node_hash(&left, &peak);
            }
        }
        self.peaks.push(peak);
        self.size += 1;
    }

    /// The Merkle Tree Hash of RFC 6962, 2.1.
    pub fn root(&self) -> Hash {
        let folded =
            self.peaks.iter().rev().copied().reduce(|right, left| node_hash(&left, &right));
        folded.unwrap_or(Hash::EMPTY_ROOT)
    }
}

impl Extend<Hash> for Tree {
    fn extend<I: IntoIterator<Item = Hash>>(&mut self, leaves: I) {
        leaves.into_iter().for_each(|leaf| self.append(leaf));
    }
}

impl FromIterator<Hash> for Tree {
    fn from_iter<I: IntoIterator<Item = Hash>>(leaves: I) -> Self {
        let mut tree = Self::new();
        tree.extend(leaves);
        tree
    }
}

/// A stored right edge does not fit its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tree of {size} leaves does not have {count} complete subtrees")]
pub struct WrongPeakCount {
    /// The size that was given.
    pub size: u64,
    /// How many peaks were given.
    pub count: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tlog::leaf_hash;

    fn leaves(count: u64) -> impl Iterator<Item = Hash> {
        (0..count).map(|i| leaf_hash(&i.to_be_bytes()))
    }

    #[test]
    fn a_tree_continues_from_its_stored_peaks() {
        for size in 0..70 {
            let whole: Tree = leaves(size + 9).collect();
            let early: Tree = leaves(size).collect();
            let mut again = Tree::from_peaks(size, early.peaks().to_vec()).unwrap();
            again.extend(leaves(size + 9).skip(usize::try_from(size).unwrap()));
            assert_eq!(again, whole);
        }
    }

    #[test]
    fn peaks_that_do_not_fit_the_size_are_refused() {
        let peaks = vec![Hash::EMPTY_ROOT; 2];
        assert!(Tree::from_peaks(4, peaks.clone()).is_err());
        assert!(Tree::from_peaks(0, peaks.clone()).is_err());
        assert!(Tree::from_peaks(5, peaks).is_ok());
    }
}
