//! The two hashes of a Merkle tree (RFC 6962, 2.1).
//!
//! In: leaf bytes or two hashes. Out: a [`struct@Hash`]. Knows nothing of where in the tree they stand.

use std::fmt;

use aws_lc_rs::digest::{self, SHA256};

/// A SHA-256 value in a Merkle tree: of a leaf, of a node, or of a whole tree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; Hash::LEN_BYTES]);

impl Hash {
    /// The length of a hash in bytes.
    pub const LEN_BYTES: usize = 32;

    /// The root of the tree without leaves: SHA-256 of nothing (RFC 6962, 2.1).
    pub const EMPTY_ROOT: Self = Self([
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9,
        0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52,
        0xb8, 0x55,
    ]);

    /// A hash that was computed elsewhere or read back.
    pub const fn from_bytes(bytes: [u8; Self::LEN_BYTES]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN_BYTES] {
        &self.0
    }
}

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Lower-case hex.
impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

/// The hash of a leaf: SHA-256(0x00 ‖ leaf).
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    leaf_hash_of_parts(&[leaf])
}

/// [`leaf_hash`] of the parts laid end to end, without copying them together.
pub fn leaf_hash_of_parts(parts: &[&[u8]]) -> Hash {
    let mut context = digest::Context::new(&SHA256);
    context.update(&[LEAF_PREFIX]);
    for part in parts {
        context.update(part);
    }
    from_digest(&context.finish())
}

/// The hash of an inner node: SHA-256(0x01 ‖ left ‖ right).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut message = [0; 1 + 2 * Hash::LEN_BYTES];
    message[0] = NODE_PREFIX;
    message[1..=Hash::LEN_BYTES].copy_from_slice(&left.0);
    message[1 + Hash::LEN_BYTES..].copy_from_slice(&right.0);
    from_digest(&digest::digest(&SHA256, &message))
}

fn from_digest(digest: &digest::Digest) -> Hash {
    let mut hash = [0; Hash::LEN_BYTES];
    hash.copy_from_slice(digest.as_ref());
    Hash(hash)
}

/// The prefixes keep leaves and nodes apart, so that no node passes for a leaf (RFC 6962, 2.1).
const LEAF_PREFIX: u8 = 0;
const NODE_PREFIX: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_root_is_sha256_of_nothing() {
        assert_eq!(Hash::EMPTY_ROOT, from_digest(&digest::digest(&SHA256, b"")));
    }

    #[test]
    fn a_leaf_in_parts_hashes_like_the_leaf_in_one_piece() {
        assert_eq!(leaf_hash_of_parts(&[b"ab", b"", b"c"]), leaf_hash(b"abc"));
    }

    #[test]
    fn a_leaf_that_looks_like_a_node_has_another_hash() {
        let (left, right) = (leaf_hash(b"l"), leaf_hash(b"r"));
        let forged = [left.as_bytes().as_slice(), right.as_bytes()].concat();
        assert_ne!(leaf_hash(&forged), node_hash(&left, &right));
    }
}
