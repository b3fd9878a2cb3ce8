//! Leaves and tile entries read back.
//!
//! In: wire bytes. Out: views that borrow from them. Knows nothing of trees: the parts to hash
//! are given, the hash is the caller's.

use super::{
    entry::{Entry, EntryKind, PRECERT_ENTRY, V1_ZERO, X509_ENTRY},
    extensions::LeafIndex,
    wire::{DecodeError, OutOfBounds, Reader},
};
use crate::time::Timestamp;

/// RFC 6962, 3.4 `TimestampedEntry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampedEntry<'a> {
    /// When the log took it up.
    pub timestamp: Timestamp,
    /// What it took up.
    pub signed_entry: SignedEntry<'a>,
    /// The extensions, byte-exact.
    pub extensions: &'a [u8],
    bytes: &'a [u8],
}

/// RFC 6962, 3.2: what an SCT is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedEntry<'a> {
    /// `x509_entry`.
    X509 {
        /// The final certificate, DER.
        certificate: &'a [u8],
    },
    /// `precert_entry`.
    Precert {
        /// SHA-256 of the issuing CA's SubjectPublicKeyInfo.
        issuer_key_hash: &'a [u8; 32],
        /// DER TBSCertificate without the poison extension.
        tbs_certificate: &'a [u8],
    },
}

impl<'a> TimestampedEntry<'a> {
    /// The `MerkleTreeLeaf` of this entry, in parts to be hashed one after the other.
    pub const fn merkle_tree_leaf_parts(&self) -> [&'a [u8]; 2] {
        [&V1_ZERO, self.bytes]
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let before = reader.rest();
        let timestamp = Timestamp::from_unix_ms(reader.u64("timestamp")?);
        let signed_entry = match *reader.array("entry_type")? {
            X509_ENTRY => SignedEntry::X509 { certificate: reader.vector_u24("certificate")? },
            PRECERT_ENTRY => SignedEntry::Precert {
                issuer_key_hash: reader.array("issuer_key_hash")?,
                tbs_certificate: reader.vector_u24("tbs_certificate")?,
            },
            entry_type => {
                let value = u16::from_be_bytes(entry_type);
                return Err(DecodeError::Unsupported { field: "entry_type", value });
            }
        };
        let extensions = reader.vector_u16("extensions")?;
        let bytes = &before[..before.len() - reader.rest().len()];
        Ok(Self { timestamp, signed_entry, extensions, bytes })
    }
}

/// RFC 6962, 3.4 `MerkleTreeLeaf`, version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MerkleTreeLeaf<'a> {
    /// All there is to it.
    pub timestamped_entry: TimestampedEntry<'a>,
}

impl<'a> MerkleTreeLeaf<'a> {
    /// Reads a leaf to its last byte.
    ///
    /// # Errors
    /// The bytes are not exactly one leaf of version 1.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        for field in ["version", "leaf_type"] {
            match reader.u8(field)? {
                0 => {}
                value => {
                    return Err(DecodeError::Unsupported { field, value: value.into() });
                }
            }
        }
        let timestamped_entry = TimestampedEntry::read(&mut reader)?;
        reader.finish("MerkleTreeLeaf")?;
        Ok(Self { timestamped_entry })
    }
}

/// static-ct-api `TileLeaf`: an entry of a data tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TileLeaf<'a> {
    /// What the Merkle tree has of it.
    pub timestamped_entry: TimestampedEntry<'a>,
    /// Where the entry says it stands: the caller compares this with where it found it.
    pub index: LeafIndex,
    /// The precertificate as it was signed, of a `precert_entry`; no hash of the tree covers it.
    pub precertificate: Option<&'a [u8]>,
    /// SHA-256 of each certificate above the leaf, issuer first.
    pub chain_fingerprints: &'a [[u8; 32]],
}

impl<'a> TileLeaf<'a> {
    /// Reads one entry off the front of `bytes`; gives what follows it as well.
    ///
    /// # Errors
    /// The bytes do not begin with an entry of a static log.
    pub fn decode_first(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError> {
        let mut reader = Reader::new(bytes);
        let timestamped_entry = TimestampedEntry::read(&mut reader)?;
        let index = LeafIndex::from_extensions(timestamped_entry.extensions)?;
        let precertificate = match timestamped_entry.signed_entry {
            SignedEntry::X509 { .. } => None,
            SignedEntry::Precert { .. } => Some(reader.vector_u24("pre_certificate")?),
        };
        let chain = reader.vector_u16("certificate_chain")?;
        let (chain_fingerprints, []) = chain.as_chunks() else {
            let (field, length_bytes) = ("certificate_chain", chain.len());
            return Err(DecodeError::PartialElement { field, length_bytes });
        };
        let leaf = Self { timestamped_entry, index, precertificate, chain_fingerprints };
        Ok((leaf, reader.rest()))
    }

    /// The entry as it was submitted, copied out.
    ///
    /// # Errors
    /// None for a leaf that was decoded: its lengths came out of the same prefixes.
    pub fn to_entry(&self) -> Result<Entry, OutOfBounds> {
        let kind = match self.timestamped_entry.signed_entry {
            SignedEntry::X509 { certificate } => {
                EntryKind::X509 { certificate: certificate.to_vec() }
            }
            SignedEntry::Precert { issuer_key_hash, tbs_certificate } => EntryKind::Precert {
                issuer_key_hash: *issuer_key_hash,
                tbs_certificate: tbs_certificate.to_vec(),
                precertificate: self.precertificate.unwrap_or_default().to_vec(),
            },
        };
        Entry::new(kind, self.chain_fingerprints.to_vec())
    }
}

/// The entries of a data tile, one after the other. After an error there is no next one.
#[derive(Clone, Debug)]
pub struct TileLeaves<'a> {
    rest: &'a [u8],
}

impl<'a> TileLeaves<'a> {
    /// Begins at the first entry of `tile`.
    pub const fn new(tile: &'a [u8]) -> Self {
        Self { rest: tile }
    }
}

impl<'a> Iterator for TileLeaves<'a> {
    type Item = Result<TileLeaf<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        // Where one entry cannot be read, nothing says where the next begins.
        let rest = std::mem::take(&mut self.rest);
        Some(TileLeaf::decode_first(rest).map(|(leaf, after)| {
            self.rest = after;
            leaf
        }))
    }
}

impl std::iter::FusedIterator for TileLeaves<'_> {}
