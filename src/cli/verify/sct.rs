//! The log's promise inside the certificate.
//!
//! In: the leaf, its issuer, the log's public key, a time. Out: a [`Promise`], or why there is
//! none. The signed bytes are put together here from RFC 6962, 3.2, not by the code that issues.

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey},
};

use super::presented::{Presented, PresentedError};
use crate::{
    ct::{
        DecodeError, LeafIndex, LogId, SignedCertificateTimestamp, SignedCertificateTimestampList,
    },
    time::Timestamp,
    tlog::{Hash, leaf_hash},
};

/// What a log promised, under its own signature: this precertificate is my entry number `index`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// When it promised.
    pub timestamp: Timestamp,
    /// Which entry it is.
    pub index: LeafIndex,
    /// The Merkle hash that this entry must have.
    pub leaf: Hash,
}

/// Checks that `leaf` embeds exactly one SCT and that the log with the key `log_spki_der` gave it
/// for this certificate, not after `at`.
///
/// # Errors
/// The first thing that does not hold.
pub fn verify(
    leaf: &Presented,
    issuer: &Presented,
    log_spki_der: &[u8],
    at: Timestamp,
) -> Result<Promise, SctFault> {
    let list = SignedCertificateTimestampList::decode(&leaf.sct_list()?)?;
    // Verifiers take neither zero nor two.
    let [sct] = list.0.as_slice() else {
        return Err(SctFault::Count { count: list.0.len() });
    };
    if sct.log_id != LogId::from_spki(log_spki_der) {
        return Err(SctFault::OtherLog { log_id: sct.log_id });
    }
    if sct.timestamp > at {
        return Err(SctFault::Future { timestamp: sct.timestamp });
    }
    let signed = signed_data(sct, issuer, &leaf.tbs_without_sct_list()?)?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, log_spki_der)
        .verify(&signed, &sct.signature)
        .map_err(|_| SctFault::BadSignature)?;
    let index = LeafIndex::from_extensions(&sct.extensions)?;
    // RFC 6962, 3.4: `MerkleTreeLeaf` is version and leaf type, both zero, before the same fields
    // that the SCT's version and signature type, both zero, stand before.
    Ok(Promise { timestamp: sct.timestamp, index, leaf: leaf_hash(&signed) })
}

/// Why a certificate proves no promise of the log.
#[derive(Debug, thiserror::Error)]
pub enum SctFault {
    /// No list, or one that cannot be cut out.
    #[error(transparent)]
    Certificate(#[from] PresentedError),
    /// The list or its extensions are malformed.
    #[error("the SCT is malformed")]
    Malformed(#[from] DecodeError),
    /// Zero or several.
    #[error("the certificate embeds {count} SCTs, not one")]
    Count {
        /// How many.
        count: usize,
    },
    /// Another log's.
    #[error("the SCT is of the unknown log {log_id}")]
    OtherLog {
        /// Whose it says it is.
        log_id: LogId,
    },
    /// Given after now.
    #[error("the SCT is from the future: {timestamp}")]
    Future {
        /// When it says it was given.
        timestamp: Timestamp,
    },
    /// Not the log's, or for another certificate.
    #[error("the SCT's signature does not verify for this certificate under the log's key")]
    BadSignature,
    /// A field longer than its length prefix can say.
    #[error("the certificate is too large for an SCT")]
    TooLarge,
}

/// RFC 6962, 3.2: version v1, `certificate_timestamp`, timestamp, `precert_entry`, the issuer's
/// key hash, the TBS with a u24 length, the extensions with a u16 length.
fn signed_data(
    sct: &SignedCertificateTimestamp,
    issuer: &Presented,
    tbs: &[u8],
) -> Result<Vec<u8>, SctFault> {
    let tbs_length = u32::try_from(tbs.len()).map_err(|_| SctFault::TooLarge)?.to_be_bytes();
    let [0, tbs_length @ ..] = tbs_length else {
        return Err(SctFault::TooLarge);
    };
    let extensions: &[u8] = &sct.extensions;
    let extensions_length = u16::try_from(extensions.len()).map_err(|_| SctFault::TooLarge)?;
    Ok([
        &[0, 0],
        sct.timestamp.unix_ms().to_be_bytes().as_slice(),
        &[0, 1],
        digest(&SHA256, issuer.spki_der()).as_ref(),
        &tbs_length,
        tbs,
        &extensions_length.to_be_bytes(),
        extensions,
    ]
    .concat())
}
