//! What a log is asked to take up, and the bytes it becomes.
//!
//! In: certificates already encoded. Out: the leaf, the tile entry, the bytes an SCT signs.
//! Knows nothing of how a certificate or a signature is made.

use super::{
    extensions::{Extensions, LEAF_INDEX_EXTENSION_BYTES, LeafIndex},
    sha256,
    wire::{OutOfBounds, check_u16, check_u24, put_u16_length, put_vector_u16, put_vector_u24},
};
use crate::time::Timestamp;

/// One entry before it has an index and a timestamp: RFC 6962, 3.1; static-ct-api, "Log entries".
/// Every length fits its prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    kind: EntryKind,
    chain_fingerprints: Vec<[u8; 32]>,
}

/// RFC 6962, 3.1 `LogEntryType` with its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// `x509_entry`.
    X509 {
        /// The final certificate, DER.
        certificate: Vec<u8>,
    },
    /// `precert_entry`.
    Precert {
        /// SHA-256 of the issuing CA's SubjectPublicKeyInfo.
        issuer_key_hash: [u8; 32],
        /// DER TBSCertificate without the poison extension.
        tbs_certificate: Vec<u8>,
        /// DER of the precertificate as it was signed.
        precertificate: Vec<u8>,
    },
}

impl Entry {
    /// An entry of `kind`, and the SHA-256 of each certificate of the chain above the leaf, issuer
    /// first, root last.
    ///
    /// # Errors
    /// A certificate is empty or longer than 2^24 - 1 bytes, or the chain has over 2,047 members.
    pub fn new(kind: EntryKind, chain_fingerprints: Vec<[u8; 32]>) -> Result<Self, OutOfBounds> {
        match &kind {
            EntryKind::X509 { certificate } => check_u24("certificate", certificate)?,
            EntryKind::Precert { tbs_certificate, precertificate, .. } => {
                check_u24("tbs_certificate", tbs_certificate)?;
                check_u24("pre_certificate", precertificate)?;
            }
        }
        check_u16("certificate_chain", chain_fingerprints.len().saturating_mul(32))?;
        Ok(Self { kind, chain_fingerprints })
    }

    /// A precertificate or a final certificate.
    pub const fn kind(&self) -> &EntryKind {
        &self.kind
    }

    /// SHA-256 of each certificate of the chain above the leaf, issuer first, root last.
    pub fn chain_fingerprints(&self) -> &[[u8; 32]] {
        &self.chain_fingerprints
    }

    /// SHA-256 over kind, issuer key hash and (TBS) certificate: what makes two submissions the
    /// same, and what ties an [`crate::log::LoggedSct`] to the entry it was given for.
    pub fn digest(&self) -> [u8; 32] {
        match &self.kind {
            EntryKind::X509 { certificate } => sha256(&[&X509_ENTRY, certificate]),
            EntryKind::Precert { issuer_key_hash, tbs_certificate, .. } => {
                sha256(&[&PRECERT_ENTRY, issuer_key_hash, tbs_certificate])
            }
        }
    }

    /// RFC 6962, 3.4 `MerkleTreeLeaf` bytes; `index` goes into the extensions as `leaf_index`.
    ///
    /// They are the same bytes as an SCT with these extensions signs: 3.2 and 3.4 both put two
    /// zero bytes (version v1, then `certificate_timestamp` or `timestamped_entry`) before the
    /// same fields.
    pub fn merkle_tree_leaf(&self, timestamp: Timestamp, index: LeafIndex) -> Vec<u8> {
        self.v1_zero_and_timestamped_entry(timestamp, &index.extension())
    }

    /// RFC 6962, 3.2: the bytes an SCT signs, with the given `extensions`.
    pub fn sct_signed_data(&self, timestamp: Timestamp, extensions: &Extensions) -> Vec<u8> {
        self.v1_zero_and_timestamped_entry(timestamp, extensions)
    }

    /// static-ct-api `TileLeaf` bytes.
    pub fn tile_leaf(&self, timestamp: Timestamp, index: LeafIndex) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.tile_leaf_bytes());
        self.put_tile_leaf(timestamp, index, &mut out);
        out
    }

    /// Appends the `TileLeaf` bytes to a data tile in the making.
    pub fn put_tile_leaf(&self, timestamp: Timestamp, index: LeafIndex, out: &mut Vec<u8>) {
        self.put_timestamped_entry(timestamp, &index.extension(), out);
        if let EntryKind::Precert { precertificate, .. } = &self.kind {
            put_vector_u24(out, precertificate);
        }
        let fingerprints = self.chain_fingerprints.as_flattened();
        put_u16_length(out, fingerprints.len());
        out.extend_from_slice(fingerprints);
    }

    /// How many bytes [`Entry::tile_leaf`] has.
    pub fn tile_leaf_bytes(&self) -> usize {
        let precertificate_bytes = match &self.kind {
            EntryKind::X509 { .. } => 0,
            EntryKind::Precert { precertificate, .. } => 3 + precertificate.len(),
        };
        self.timestamped_entry_bytes(LEAF_INDEX_EXTENSION_BYTES)
            + precertificate_bytes
            + 2
            + self.chain_fingerprints.as_flattened().len()
    }

    fn v1_zero_and_timestamped_entry(&self, timestamp: Timestamp, extensions: &[u8]) -> Vec<u8> {
        let length_bytes = V1_ZERO.len() + self.timestamped_entry_bytes(extensions.len());
        let mut out = Vec::with_capacity(length_bytes);
        out.extend_from_slice(&V1_ZERO);
        self.put_timestamped_entry(timestamp, extensions, &mut out);
        out
    }

    /// RFC 6962, 3.4 `TimestampedEntry`.
    fn put_timestamped_entry(&self, timestamp: Timestamp, extensions: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&timestamp.unix_ms().to_be_bytes());
        match &self.kind {
            EntryKind::X509 { certificate } => {
                out.extend_from_slice(&X509_ENTRY);
                put_vector_u24(out, certificate);
            }
            EntryKind::Precert { issuer_key_hash, tbs_certificate, .. } => {
                out.extend_from_slice(&PRECERT_ENTRY);
                out.extend_from_slice(issuer_key_hash);
                put_vector_u24(out, tbs_certificate);
            }
        }
        put_vector_u16(out, extensions);
    }

    fn timestamped_entry_bytes(&self, extensions_bytes: usize) -> usize {
        let signed_entry_bytes = match &self.kind {
            EntryKind::X509 { certificate } => 3 + certificate.len(),
            EntryKind::Precert { tbs_certificate, .. } => 32 + 3 + tbs_certificate.len(),
        };
        8 + 2 + signed_entry_bytes + 2 + extensions_bytes
    }
}

/// Version v1(0), then leaf type `timestamped_entry`(0) or signature type
/// `certificate_timestamp`(0).
pub(super) const V1_ZERO: [u8; 2] = [0, 0];

/// RFC 6962, 3.1 `LogEntryType`.
pub(super) const X509_ENTRY: [u8; 2] = [0, 0];
pub(super) const PRECERT_ENTRY: [u8; 2] = [0, 1];
