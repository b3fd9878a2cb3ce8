//! Checkpoints with the signature of an RFC 6962 log (note signature type 0x05 of static-ct-api).
//!
//! In: a tree head and its signature, or a signed note. Out: the other of the two. Knows nothing
//! of private keys: it gives the bytes to sign and takes the signature.

use super::{
    Checkpoint, CheckpointError, Hash, KeyId, KeyName, Note, NoteError, NoteSignature,
    VerifyNoteError,
};
use crate::time::Timestamp;

/// What the log signs: RFC 6962, 3.5 `TreeHeadSignature`, version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeHead {
    /// When it was signed; never earlier than the newest entry.
    pub timestamp: Timestamp,
    /// The number of entries.
    pub size: u64,
    /// The root of the tree of that size.
    pub root: Hash,
}

impl TreeHead {
    /// The 50 bytes to sign: version 0, signature type 1 (`tree_hash`), u64 timestamp in ms, u64
    /// size, root. They do not name the log: its key must sign for no other.
    pub fn signed_data(&self) -> [u8; 50] {
        let mut signed = [0; 50];
        signed[1] = 1;
        signed[2..10].copy_from_slice(&self.timestamp.unix_ms().to_be_bytes());
        signed[10..18].copy_from_slice(&self.size.to_be_bytes());
        signed[18..].copy_from_slice(self.root.as_bytes());
        signed
    }
}

/// The public name of the key under which a log's checkpoints stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeHeadKey {
    origin: KeyName,
    id: KeyId,
}

impl TreeHeadKey {
    /// From the log's origin and its 32-byte RFC 6962 log id.
    pub fn new(origin: KeyName, log_id: &[u8; 32]) -> Self {
        let id = KeyId::new(&origin, SIGNATURE_TYPE, log_id);
        Self { origin, id }
    }

    /// The log's origin, which is the key's name.
    pub const fn origin(&self) -> &KeyName {
        &self.origin
    }

    /// The key's id.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The checkpoint of `head`, given the DER ECDSA signature over [`TreeHead::signed_data`].
    /// The caller has verified the signature.
    ///
    /// # Errors
    /// The signature is longer than any ECDSA signature.
    pub fn seal(&self, head: &TreeHead, signature_der: &[u8]) -> Result<Note, SignatureTooLong> {
        let length_bytes = signature_der.len();
        let too_long = SignatureTooLong { length_bytes };
        let length = u16::try_from(length_bytes).map_err(|_| too_long)?;
        let mut signature = Vec::with_capacity(12 + length_bytes);
        signature.extend_from_slice(&head.timestamp.unix_ms().to_be_bytes());
        signature.extend_from_slice(&SHA256_WITH_ECDSA);
        signature.extend_from_slice(&length.to_be_bytes());
        signature.extend_from_slice(signature_der);
        let line = NoteSignature { name: self.origin.clone(), key_id: self.id, signature };
        let text = Checkpoint::new(&self.origin, head.size, head.root).to_string();
        Ok(Note::signed(text, line))
    }

    /// The tree head of a checkpoint, once `verify(signed_data, signature_der)` has said yes.
    ///
    /// # Errors
    /// The bytes are not a checkpoint of this log, or its signature does not verify.
    pub fn open(
        &self,
        note: &[u8],
        mut verify: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<TreeHead, OpenCheckpointError> {
        let note = Note::parse(note)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        if checkpoint.origin() != self.origin.as_str() {
            return Err(OpenCheckpointError::Origin { found: checkpoint.origin().to_owned() });
        }
        // static-ct-api: the signature does not cover extension lines, so there must be none.
        if !checkpoint.extension_lines().is_empty() {
            return Err(OpenCheckpointError::ExtensionLines);
        }
        let mut opened = None;
        note.verify(&self.origin, self.id, |signature| {
            let Some((timestamp, signature_der)) = decode_signature(signature) else {
                return false;
            };
            let head = TreeHead { timestamp, size: checkpoint.size(), root: checkpoint.root() };
            opened = Some(head);
            verify(&head.signed_data(), signature_der)
        })?;
        // `verify` succeeds only after a line of this key was decoded.
        opened.ok_or(OpenCheckpointError::Signature(VerifyNoteError::UnknownKey))
    }
}

/// The signature does not fit the u16 length of RFC 5246, 4.7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a signature of {length_bytes} bytes does not fit into a checkpoint")]
pub struct SignatureTooLong {
    /// How long it is.
    pub length_bytes: usize,
}

/// Why bytes are not taken for a checkpoint of the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenCheckpointError {
    /// Not a signed note.
    #[error("the checkpoint is not a signed note")]
    Note(#[from] NoteError),
    /// A note about something else.
    #[error("the note is not a checkpoint")]
    Checkpoint(#[from] CheckpointError),
    /// Another log's checkpoint.
    #[error("the checkpoint is of log '{found}'")]
    Origin {
        /// The origin it names.
        found: String,
    },
    /// Lines that the signature does not cover.
    #[error("the checkpoint has extension lines, which its signature does not cover")]
    ExtensionLines,
    /// Not signed by the log's key.
    #[error("the checkpoint's signature is not the log's")]
    Signature(#[from] VerifyNoteError),
}

/// static-ct-api `RFC6962NoteSignature`: u64 timestamp, then `DigitallySigned` to the last byte.
fn decode_signature(signature: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (timestamp, rest) = signature.split_first_chunk()?;
    let (algorithm, rest) = rest.split_first_chunk::<2>()?;
    let (length, signature_der) = rest.split_first_chunk()?;
    let exact = *algorithm == SHA256_WITH_ECDSA
        && usize::from(u16::from_be_bytes(*length)) == signature_der.len();
    exact.then(|| (Timestamp::from_unix_ms(u64::from_be_bytes(*timestamp)), signature_der))
}

/// signed-note, "Signature types": RFC 6962 `TreeHeadSignature`s.
const SIGNATURE_TYPE: u8 = 0x05;

/// RFC 5246, 7.4.1.4.1: hash sha256(4), signature ecdsa(3).
const SHA256_WITH_ECDSA: [u8; 2] = [4, 3];
