//! The transparency log's mathematics: Merkle trees, tiles, proofs, checkpoints as signed notes.
//!
//! In: leaf bytes, hashes, tile bytes, note text, and functions that verify a signature. Out:
//! roots, tiles and their paths, proofs, checkpoints. Knows nothing of certificates, storage,
//! the network or private keys; every function here is pure.
//!
//! Trees are those of RFC 6962, 2.1 (the same as RFC 9162, 2.1) with SHA-256; tiles and their
//! paths those of C2SP static-ct-api and tlog-tiles; checkpoints those of C2SP tlog-checkpoint and
//! signed-note.
//!
//! Which part answers which question:
//! - [`Tree`]: what is the root after these leaves? (the commit)
//! - [`TileEdge`]: which tiles does this growth make, with which bytes? (the flush, the start)
//! - [`ProofPlan`]: which tiles prove it, and what is the proof? (readers)
//! - [`verify_inclusion`], [`verify_consistency`]: is it so? (checkers)
//! - [`TreeHeadKey`]: the checkpoint of an RFC 6962 log, sealed and opened.

mod checkpoint;
mod edge;
mod hash;
mod note;
mod proof;
mod tile;
mod tree;
mod tree_head;
mod verify;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use edge::{HashTile, TileEdge};
pub use hash::{Hash, leaf_hash, leaf_hash_of_parts, node_hash};
pub use note::{InvalidKeyName, KeyId, KeyName, Note, NoteError, NoteSignature, VerifyNoteError};
pub use proof::{ProofPlan, ProofRangeError};
pub use tile::{InvalidTilePath, ReadTileError, TILE_WIDTH, Tile, TileKind, tiles_for_growth};
pub use tree::{Tree, WrongPeakCount};
pub use tree_head::{OpenCheckpointError, SignatureTooLong, TreeHead, TreeHeadKey};
pub use verify::{VerifyProofError, verify_consistency, verify_inclusion};
