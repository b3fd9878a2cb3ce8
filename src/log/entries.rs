//! Entries in the form in which they are committed.
//!
//! In: entries and the place of the first, or stored bytes. Out: the bytes of a data tile's part,
//! and leaf hashes. Knows nothing of trees and stores. The leaf hashes of `encode` come from the
//! entries as they were submitted, those of `decode` from the bytes alone, so that comparing the
//! two shows what happened to the bytes in between.

use bytes::Bytes;

use crate::{
    ct::{DecodeError, Entry, LeafIndex, TileLeaf},
    time::Timestamp,
    tlog::{Hash, leaf_hash, leaf_hash_of_parts},
};

/// Serialised entries, with what was learned about them on the way.
#[derive(Clone, Debug, Default)]
pub(super) struct EncodedEntries {
    /// The tile leaves, one behind the other.
    pub(super) bytes: Bytes,
    /// Where each of them ends in `bytes`.
    pub(super) ends: Vec<usize>,
    /// The leaf hash of each.
    pub(super) leaves: Vec<Hash>,
}

impl EncodedEntries {
    /// Serialises `entries`, the first one to stand at `first_index`; `None` if the log has no
    /// room for them.
    pub(super) fn encode<'a>(
        entries: impl ExactSizeIterator<Item = &'a Entry> + Clone,
        timestamp: Timestamp,
        first_index: u64,
    ) -> Option<Self> {
        let mut bytes = Vec::with_capacity(entries.clone().map(Entry::tile_leaf_bytes).sum());
        let mut ends = Vec::with_capacity(entries.len());
        let mut leaves = Vec::with_capacity(entries.len());
        for (number, entry) in (first_index..).zip(entries) {
            let index = LeafIndex::new(number)?;
            entry.put_tile_leaf(timestamp, index, &mut bytes);
            ends.push(bytes.len());
            leaves.push(leaf_hash(&entry.merkle_tree_leaf(timestamp, index)));
        }
        Some(Self { bytes: Bytes::from(bytes), ends, leaves })
    }

    /// Reads serialised entries back, the first one standing at `first_index`.
    ///
    /// # Errors
    /// The bytes are not whole entries, or one of them names another index.
    pub(super) fn decode(bytes: Bytes, first_index: u64) -> Result<Self, DecodeEntriesError> {
        let mut ends = Vec::new();
        let mut leaves = Vec::new();
        let mut rest: &[u8] = &bytes;
        let mut index = first_index;
        while !rest.is_empty() {
            let (leaf, after) = TileLeaf::decode_first(rest)
                .map_err(|source| DecodeEntriesError::Malformed { index, source })?;
            if leaf.index.get() != index {
                return Err(DecodeEntriesError::Misplaced { index, found: leaf.index.get() });
            }
            leaves.push(leaf_hash_of_parts(&leaf.timestamped_entry.merkle_tree_leaf_parts()));
            ends.push(bytes.len() - after.len());
            (rest, index) = (after, index + 1);
        }
        Ok(Self { bytes, ends, leaves })
    }

    /// Without the first `count` entries.
    pub(super) fn skip(mut self, count: usize) -> Self {
        let Some(last) = count.checked_sub(1) else {
            return self;
        };
        let cut = self.ends.get(last).copied().unwrap_or(self.bytes.len());
        self.bytes = self.bytes.slice(cut..);
        self.ends = self.ends.iter().skip(count).map(|end| end - cut).collect();
        self.leaves = self.leaves.split_off(count.min(self.leaves.len()));
        self
    }
}

/// Where the first `count` entries of a tile end; `None` if it has fewer.
pub(super) fn end_of_entry(tile: &[u8], count: usize) -> Option<usize> {
    let mut rest = tile;
    for _ in 0..count {
        rest = TileLeaf::decode_first(rest).ok()?.1;
    }
    Some(tile.len() - rest.len())
}

/// Why bytes are not the entries they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DecodeEntriesError {
    #[error("entry {index} cannot be read")]
    Malformed {
        index: u64,
        #[source]
        source: DecodeError,
    },
    #[error("entry {index} says that it is entry {found}")]
    Misplaced { index: u64, found: u64 },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::tests::entry;

    #[test]
    fn what_was_encoded_decodes_to_the_same_leaves() {
        let entries = [entry(1), entry(2), entry(3)];
        let at = Timestamp::from_unix_ms(7);
        let encoded = EncodedEntries::encode(entries.iter(), at, 255).unwrap();
        let decoded = EncodedEntries::decode(encoded.bytes.clone(), 255).unwrap();
        assert_eq!((&decoded.ends, &decoded.leaves), (&encoded.ends, &encoded.leaves));
        let last = EncodedEntries::encode(entries[2..].iter(), at, 257).unwrap();
        let rest = encoded.skip(2);
        assert_eq!((rest.bytes, rest.ends, rest.leaves), (last.bytes, last.ends, last.leaves));
    }

    #[test]
    fn nt_54_entries_at_another_index_or_with_a_flipped_bit_are_noticed() {
        let at = Timestamp::from_unix_ms(7);
        let encoded = EncodedEntries::encode([entry(1)].iter(), at, 9).unwrap();
        assert_eq!(
            EncodedEntries::decode(encoded.bytes.clone(), 8).unwrap_err(),
            DecodeEntriesError::Misplaced { index: 8, found: 9 },
        );
        let mut flipped = encoded.bytes.to_vec();
        flipped[60] ^= 1;
        let decoded = EncodedEntries::decode(Bytes::from(flipped), 9);
        assert!(decoded.is_err() || decoded.unwrap().leaves != encoded.leaves);
    }

    #[test]
    fn a_log_of_two_to_the_forty_entries_is_full() {
        let at = Timestamp::from_unix_ms(7);
        assert!(EncodedEntries::encode([entry(1)].iter(), at, (1 << 40) - 1).is_some());
        assert!(EncodedEntries::encode([entry(1)].iter(), at, 1 << 40).is_none());
    }
}
