//! The log's promise kept: the entry is in the tree that the log signed.
//!
//! In: a [`Promise`], who the log is, and a way to read its public files. Out: the signed tree
//! that holds the entry. Believes nothing that is fetched until the log's signature and the
//! Merkle proof bind it together.

use std::{collections::HashMap, convert::Infallible};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

use super::sct::Promise;
use crate::{
    cli::client::ClientError,
    ct::LogId,
    tlog::{
        KeyName, OpenCheckpointError, ProofPlan, ProofRangeError, ReadTileError, Tile, TreeHead,
        TreeHeadKey, VerifyProofError, verify_inclusion,
    },
};

/// Who a log is, known beforehand.
#[derive(Clone, Debug)]
pub struct KnownLog {
    /// Its origin: the name under which its checkpoints stand.
    pub origin: KeyName,
    /// Its P-256 public key, DER SubjectPublicKeyInfo.
    pub spki_der: Vec<u8>,
}

/// Fetches the log's checkpoint and the tiles of the proof through `fetch`, which takes a path
/// below the log's prefix, and checks that the promised entry is there.
///
/// # Errors
/// Something could not be fetched, or does not hold.
pub async fn verify(
    promise: &Promise,
    log: &KnownLog,
    fetch: impl AsyncFn(String) -> Result<Vec<u8>, ClientError>,
) -> Result<TreeHead, InclusionFault> {
    let note = fetch("checkpoint".to_owned()).await?;
    let head = open_checkpoint(&note, log)?;
    // Merge delay zero: a promise is given only after the checkpoint that keeps it.
    let index = promise.index.get();
    let plan = ProofPlan::inclusion(index, head.size)?;
    let mut tiles: HashMap<Tile, Vec<u8>> = HashMap::new();
    for tile in plan.tiles() {
        tiles.insert(tile, fetch(tile.to_string()).await?);
    }
    // A tile that was not planned reads as empty, which is no tile's length.
    let read = |tile: &Tile| Ok(tiles.get(tile).map_or(&[][..], Vec::as_slice));
    let proof = plan.hashes(read)?;
    verify_inclusion(&promise.leaf, index, head.size, &proof, &head.root)?;
    Ok(head)
}

/// Why the entry is not shown to be in the log.
#[derive(Debug, thiserror::Error)]
pub enum InclusionFault {
    /// The log did not give a file.
    #[error("the log could not be read")]
    Fetch(#[from] ClientError),
    /// No checkpoint of this log.
    #[error("the log's checkpoint does not hold")]
    Checkpoint(#[from] OpenCheckpointError),
    /// The signed tree ends before the promised entry.
    #[error("the log broke its promise")]
    NotYet(#[from] ProofRangeError),
    /// A file that is no tile.
    #[error("a tile of the log is malformed")]
    Tile(#[from] ReadTileError<Infallible>),
    /// The tree holds something else there.
    #[error("the entry is not in the tree that the log signed")]
    Proof(#[from] VerifyProofError),
}

fn open_checkpoint(note: &[u8], log: &KnownLog) -> Result<TreeHead, OpenCheckpointError> {
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &log.spki_der);
    TreeHeadKey::new(log.origin.clone(), &LogId::from_spki(&log.spki_der).0)
        .open(note, |signed, signature| key.verify(signed, signature).is_ok())
}
