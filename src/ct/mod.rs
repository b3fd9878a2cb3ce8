//! RFC 6962 and static-ct-api values and their exact bytes.
//!
//! In: certificate bytes already encoded, or wire bytes. Out: leaves, tile entries, signed data,
//! SCTs. Knows nothing of keys, storage, or how a certificate is made.
//!
//! What can be too large for its length prefix cannot be made ([`Entry::new`],
//! [`Extensions::try_from`], [`LeafIndex::new`]), so that encoding cannot fail. Decoders are
//! strict (exact lengths, nothing left over), borrow from their input and never panic.

mod entry;
mod extensions;
mod leaf;
mod sct;
mod wire;

use std::fmt;

use aws_lc_rs::digest::{self, SHA256};

pub use entry::{Entry, EntryKind};
pub use extensions::{Extensions, LeafIndex};
pub use leaf::{MerkleTreeLeaf, SignedEntry, TileLeaf, TileLeaves, TimestampedEntry};
pub use sct::{SignedCertificateTimestamp, SignedCertificateTimestampList, decode_signature};
pub use wire::{DecodeError, OutOfBounds};

/// RFC 6962, 3.2: the id of a log is the SHA-256 of its public key's SubjectPublicKeyInfo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub [u8; 32]);

impl LogId {
    /// From the DER SubjectPublicKeyInfo of the log's key.
    pub fn from_spki(spki_der: &[u8]) -> Self {
        Self(sha256(&[spki_der]))
    }
}

/// Lower-case hex.
impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// SHA-256 of the parts laid end to end.
fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}
