//! RFC 6962 and static-ct-api values and their exact bytes.
//!
//! In: certificate bytes already encoded, or wire bytes. Out: leaves, tile entries, signed data,
//! SCTs. Knows nothing of keys, storage, or how a certificate is made.
use crate::time::Timestamp;

/// RFC 6962, 3.2: the id of a log is the SHA-256 of its public key's SubjectPublicKeyInfo (NT-55).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogId(pub [u8; 32]);

impl LogId {
    /// From the DER SubjectPublicKeyInfo of the log's key.
    pub fn from_spki(_spki_der: &[u8]) -> Self {
        todo!()
    }
}

/// What a log is asked to take up: one entry before it has an index and a timestamp.
/// RFC 6962, 3.1; static-ct-api "Log Entries" (`TileLeaf`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// A precertificate or a final certificate.
    pub kind: EntryKind,
    /// SHA-256 of each certificate of the chain above the leaf, issuer first, root last.
    pub chain_fingerprints: Vec<[u8; 32]>,
}

/// RFC 6962, 3.1 `LogEntryType` with its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// `x509_entry`: the final certificate, DER.
    X509 { certificate: Vec<u8> },
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
    /// SHA-256 over kind, issuer key hash and (TBS) certificate: what makes two submissions the
    /// same, and what ties an [`crate::log::LoggedSct`] to the entry it was given for.
    pub fn digest(&self) -> [u8; 32] {
        todo!()
    }

    /// RFC 6962, 3.4 `MerkleTreeLeaf` bytes; `index` goes into the extensions as `leaf_index`.
    pub fn merkle_tree_leaf(&self, _timestamp: Timestamp, _index: u64) -> Vec<u8> {
        todo!()
    }

    /// static-ct-api `TileLeaf` bytes.
    pub fn tile_leaf(&self, _timestamp: Timestamp, _index: u64) -> Vec<u8> {
        todo!()
    }

    /// RFC 6962, 3.2: the bytes an SCT signs, with the given `extensions`.
    pub fn sct_signed_data(&self, _timestamp: Timestamp, _extensions: &[u8]) -> Vec<u8> {
        todo!()
    }
}

/// RFC 6962, 3.2, version 1. `extensions` are kept byte-exact (NT-56).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCertificateTimestamp {
    pub log_id: LogId,
    pub timestamp: Timestamp,
    pub extensions: Vec<u8>,
    /// DER ECDSA signature of `DigitallySigned` with hash SHA-256(4) and algorithm ECDSA(3).
    pub signature: Vec<u8>,
}
// + encode()/decode() of the TLS struct, list (SignedCertificateTimestampList) encode/decode,
// + leaf_index extension encode/decode, + parse of TileLeaf and MerkleTreeLeaf (for readers/scrub)
