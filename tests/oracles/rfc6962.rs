//! RFC 6962, 2.1 to 2.1.2, word by word: recursive, slow, and without anything of ours but `Hash`.

use mayfly::tlog::Hash;
use sha2::{Digest, Sha256};

/// The i-th test leaf.
pub(crate) fn leaf(i: u64) -> Vec<u8> {
    format!("leaf {i}").into_bytes()
}

/// D[n].
pub(crate) fn leaves(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(leaf).collect()
}

/// MTH(D[n]).
pub(crate) fn mth(d: &[Vec<u8>]) -> Hash {
    match d {
        [] => sha256(&[]),
        [only] => sha256(&[&[0], only]),
        _ => {
            let (left, right) = d.split_at(k(d.len()));
            sha256(&[&[1], mth(left).as_bytes(), mth(right).as_bytes()])
        }
    }
}

/// PATH(m, D[n]).
pub(crate) fn path(m: usize, d: &[Vec<u8>]) -> Vec<Hash> {
    if d.len() == 1 {
        return Vec::new();
    }
    let (left, right) = d.split_at(k(d.len()));
    if m < left.len() {
        [path(m, left), vec![mth(right)]].concat()
    } else {
        [path(m - left.len(), right), vec![mth(left)]].concat()
    }
}

/// PROOF(m, D[n]).
pub(crate) fn proof(m: usize, d: &[Vec<u8>]) -> Vec<Hash> {
    subproof(m, d, true)
}

fn subproof(m: usize, d: &[Vec<u8>], is_whole_old_tree: bool) -> Vec<Hash> {
    if m == d.len() {
        return if is_whole_old_tree { Vec::new() } else { vec![mth(d)] };
    }
    let (left, right) = d.split_at(k(d.len()));
    if m <= left.len() {
        [subproof(m, left, is_whole_old_tree), vec![mth(right)]].concat()
    } else {
        [subproof(m - left.len(), right, false), vec![mth(left)]].concat()
    }
}

/// The largest power of two smaller than n.
fn k(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}

fn sha256(parts: &[&[u8]]) -> Hash {
    Hash::from_bytes(Sha256::digest(parts.concat()).into())
}
