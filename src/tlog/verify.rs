//! Proofs checked.
//!
//! In: hashes, sizes and a proof. Out: yes, or which part does not hold. Knows nothing of where
//! the proof comes from: every input but the trusted root may be an attacker's.

use super::hash::{Hash, node_hash};

/// Checks that the leaf with hash `leaf` is at `index` in the tree of `size` leaves with `root`
/// (RFC 9162, 2.1.3.2).
///
/// # Errors
/// It is not so, or the proof does not show it.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), VerifyProofError> {
    if index >= size {
        return Err(VerifyProofError::Range);
    }
    let mut climb = Climb { node: index, last: size - 1 };
    let mut hash = *leaf;
    for beside in proof {
        hash = match climb.step()? {
            Side::Left => node_hash(beside, &hash),
            Side::Right => node_hash(&hash, beside),
        };
    }
    climb.finish()?;
    if hash == *root { Ok(()) } else { Err(VerifyProofError::Root) }
}

/// Checks that the tree of `old_size` leaves with `old_root` is the beginning of the tree of
/// `new_size` leaves with `new_root` (RFC 9162, 2.1.4.2).
///
/// Equal sizes take an empty proof and equal roots; the empty tree is the beginning of every
/// tree and takes an empty proof (C2SP tlog-witness).
///
/// # Errors
/// It is not so, or the proof does not show it.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), VerifyProofError> {
    if old_size > new_size {
        return Err(VerifyProofError::Range);
    }
    if old_size == 0 && *old_root != Hash::EMPTY_ROOT {
        return Err(VerifyProofError::Root);
    }
    if old_size == 0 || old_size == new_size {
        if !proof.is_empty() {
            return Err(VerifyProofError::Length);
        }
        let same = old_size == 0 || old_root == new_root;
        return if same { Ok(()) } else { Err(VerifyProofError::Root) };
    }
    // A complete old tree is a node of the new one, so the proof leaves its root out. Any other
    // starts with the node that both trees have at the old tree's right edge.
    let (first, rest) = match proof.split_first() {
        Some(_) if old_size.is_power_of_two() => (old_root, proof),
        Some((first, rest)) => (first, rest),
        None => return Err(VerifyProofError::Length),
    };
    let mut climb = Climb { node: old_size - 1, last: new_size - 1 };
    climb.skip(climb.node.trailing_ones());
    let (mut old_hash, mut new_hash) = (*first, *first);
    for beside in rest {
        match climb.step()? {
            Side::Left => {
                old_hash = node_hash(beside, &old_hash);
                new_hash = node_hash(beside, &new_hash);
            }
            Side::Right => new_hash = node_hash(&new_hash, beside),
        }
    }
    climb.finish()?;
    let both = old_hash == *old_root && new_hash == *new_root;
    if both { Ok(()) } else { Err(VerifyProofError::Root) }
}

/// Why a proof was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyProofError {
    /// The leaf or the earlier tree is not within the tree.
    #[error("the proof is about something beyond the tree")]
    Range,
    /// A proof for these sizes has another number of hashes.
    #[error("the proof does not have as many hashes as the tree is high")]
    Length,
    /// The proof leads to another root.
    #[error("the proof does not lead to the root")]
    Root,
}

/// On which side of the path a proof's hash stands.
enum Side {
    Left,
    Right,
}

/// The way from a node up to the root; `fn` and `sn` in RFC 9162, 2.1.3.2.
struct Climb {
    /// The node's place in its level.
    node: u64,
    /// The place of the level's last node.
    last: u64,
}

impl Climb {
    /// One level up, past levels where the node has no sibling.
    fn step(&mut self) -> Result<Side, VerifyProofError> {
        if self.last == 0 {
            return Err(VerifyProofError::Length);
        }
        let is_right_child = self.node & 1 == 1;
        if !is_right_child && self.node != self.last {
            self.skip(1);
            return Ok(Side::Right);
        }
        if !is_right_child {
            // The last node of an odd row rises unchanged until it is a right child. It is not
            // the leftmost one (then `last` were 0), so it has a one bit to stop at.
            self.skip(self.node.trailing_zeros());
        }
        self.skip(1);
        Ok(Side::Left)
    }

    fn skip(&mut self, levels: u32) {
        self.node = self.node.checked_shr(levels).unwrap_or(0);
        self.last = self.last.checked_shr(levels).unwrap_or(0);
    }

    fn finish(self) -> Result<(), VerifyProofError> {
        if self.last == 0 { Ok(()) } else { Err(VerifyProofError::Length) }
    }
}
