//! Signed notes (C2SP signed-note).
//!
//! In: note bytes, or a text and signatures. Out: the other of the two. Knows nothing of
//! signature algorithms: who opens a note brings a function that verifies.

use std::fmt;

use aws_lc_rs::digest::{self, SHA256};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// A text with signature lines. Until [`Note::verify`] says so, it may be anybody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// One signature line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// Whose key.
    pub name: KeyName,
    /// Which key and algorithm of that name.
    pub key_id: KeyId,
    /// What the algorithm made; not empty.
    pub signature: Vec<u8>,
}

impl Note {
    /// A note of `text`, which must end in a newline, and at least one signature.
    ///
    /// # Errors
    /// The text breaks the rules of signed-note, or a signature is missing or empty.
    pub fn new(text: String, signatures: Vec<NoteSignature>) -> Result<Self, NoteError> {
        if !text.ends_with('\n') {
            return Err(NoteError::NoFinalNewline);
        }
        if has_forbidden_control(&text) {
            return Err(NoteError::ControlCharacter);
        }
        if signatures.is_empty() {
            return Err(NoteError::NoSignature);
        }
        if signatures.len() > MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        if signatures.iter().any(|line| line.signature.is_empty()) {
            return Err(NoteError::SignatureLine);
        }
        Ok(Self { text, signatures })
    }

    /// A note whose text is known to be a checkpoint's and whose signature not to be empty.
    pub(super) fn signed(text: String, signature: NoteSignature) -> Self {
        Self { text, signatures: vec![signature] }
    }

    /// Reads a note strictly.
    ///
    /// # Errors
    /// The bytes are not a note, or one larger than this program looks at.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLarge { length_bytes: bytes.len() });
        }
        let note = str::from_utf8(bytes).map_err(|_| NoteError::NotUtf8)?;
        // The text may have empty lines of its own: the last one separates.
        let (before, lines) = note.rsplit_once("\n\n").ok_or(NoteError::NoSignature)?;
        let text = format!("{before}\n");
        let lines = match lines.strip_suffix('\n') {
            Some(lines) => lines,
            None if lines.is_empty() => return Err(NoteError::NoSignature),
            None => return Err(NoteError::NoFinalNewline),
        };
        let signatures = lines
            .split('\n')
            .take(MAX_SIGNATURES + 1)
            .map(NoteSignature::parse_line)
            .collect::<Result<_, _>>()?;
        Self::new(text, signatures)
    }

    /// What is signed, final newline included.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines, in order.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Checks the note under one known key: at least one signature line is of that key, and
    /// `verify` (given a signature) says yes to every one that is. Lines of other keys are
    /// ignored, as signed-note demands.
    ///
    /// # Errors
    /// No line is of the key, or one that is does not verify.
    pub fn verify(
        &self,
        name: &KeyName,
        key_id: KeyId,
        mut verify: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), VerifyNoteError> {
        let mut verified = false;
        for line in &self.signatures {
            if line.name != *name || line.key_id != key_id {
                continue;
            }
            if !verify(&line.signature) {
                return Err(VerifyNoteError::BadSignature);
            }
            verified = true;
        }
        if verified { Ok(()) } else { Err(VerifyNoteError::UnknownKey) }
    }
}

/// The note as it is served.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl NoteSignature {
    fn parse_line(line: &str) -> Result<Self, NoteError> {
        let parts = line.strip_prefix("— ").and_then(|rest| rest.split_once(' '));
        let (name, encoded) = parts.ok_or(NoteError::SignatureLine)?;
        let name = KeyName::new(name).map_err(|_| NoteError::SignatureLine)?;
        let decoded = STANDARD.decode(encoded).map_err(|_| NoteError::SignatureLine)?;
        let (key_id, signature) = decoded.split_first_chunk().ok_or(NoteError::SignatureLine)?;
        Ok(Self { name, key_id: KeyId(*key_id), signature: signature.to_vec() })
    }
}

/// The line without its newline.
impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decoded = [self.key_id.0.as_slice(), &self.signature].concat();
        write!(f, "— {} {}", self.name, STANDARD.encode(decoded))
    }
}

/// The name of a note's key: not empty, no space, no `+`, no control character. A log's is its
/// origin, such as `log.example.com/2026`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyName(String);

impl KeyName {
    /// Checks the rules of signed-note, "Format".
    ///
    /// # Errors
    /// `name` breaks one of them.
    pub fn new(name: &str) -> Result<Self, InvalidKeyName> {
        let forbidden = |c: char| c.is_whitespace() || c == '+' || c.is_control();
        if name.is_empty() || name.contains(forbidden) {
            return Err(InvalidKeyName);
        }
        Ok(Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text cannot name a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key name must not be empty and must not contain spaces, '+' or control characters")]
pub struct InvalidKeyName;

/// Tells the keys of one name apart. Short, so it identifies but proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(pub [u8; 4]);

impl KeyId {
    /// SHA-256(name ‖ 0x0A ‖ `signature_type` ‖ `public_key`), its first four bytes (signed-note,
    /// "Signatures"). What `public_key` is, the signature type says.
    pub fn new(name: &KeyName, signature_type: u8, public_key: &[u8]) -> Self {
        let mut context = digest::Context::new(&SHA256);
        context.update(name.0.as_bytes());
        context.update(&[b'\n', signature_type]);
        context.update(public_key);
        let mut key_id = [0; 4];
        key_id.copy_from_slice(&context.finish().as_ref()[..4]);
        Self(key_id)
    }
}

/// Why bytes are not a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// More than this program reads.
    #[error("the note has {length_bytes} bytes, more than {MAX_NOTE_BYTES}")]
    TooLarge {
        /// How much it is.
        length_bytes: usize,
    },
    /// Not text.
    #[error("the note is not UTF-8")]
    NotUtf8,
    /// Something below U+0020 that is not a newline.
    #[error("the note contains a control character")]
    ControlCharacter,
    /// The text or the last signature line is cut off.
    #[error("the note does not end with a newline")]
    NoFinalNewline,
    /// There is no blank line followed by signature lines.
    #[error("the note has no signature lines")]
    NoSignature,
    /// More than this program looks at.
    #[error("the note has more than {MAX_SIGNATURES} signatures")]
    TooManySignatures,
    /// A line in the place of signatures is none.
    #[error("a signature line is not '— name base64'")]
    SignatureLine,
}

/// Why a note is not taken for the key's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyNoteError {
    /// No signature line has the key's name and id.
    #[error("the note is not signed by the known key")]
    UnknownKey,
    /// A signature line of the key does not verify.
    #[error("the signature of the known key does not verify")]
    BadSignature,
}

fn has_forbidden_control(text: &str) -> bool {
    text.bytes().any(|byte| byte < b' ' && byte != b'\n')
}

/// Generous for signatures of nearly 5 KB each; bounds what a stranger makes us read.
const MAX_NOTE_BYTES: usize = 1 << 20;

/// signed-note demands that at least 16 be accepted.
const MAX_SIGNATURES: usize = 100;
