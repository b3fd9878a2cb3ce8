//! The text of a checkpoint (C2SP tlog-checkpoint).
//!
//! In: origin, size and root, or note text. Out: the other of the two. Knows nothing of
//! signatures.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Hash, KeyName};

/// What a log says of itself at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
    extension_lines: Vec<String>,
}

impl Checkpoint {
    /// A checkpoint without extension lines.
    pub fn new(origin: &KeyName, size: u64, root: Hash) -> Self {
        Self { origin: origin.as_str().to_owned(), size, root, extension_lines: Vec::new() }
    }

    /// Reads the text of a note strictly; as everywhere in notes, trust it only once verified.
    ///
    /// # Errors
    /// A line is missing, empty or not in its one canonical form.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let text = text.strip_suffix('\n').ok_or(CheckpointError::NoFinalNewline)?;
        let mut lines = text.split('\n');
        let origin = lines.next().filter(|origin| !origin.is_empty());
        let origin = origin.ok_or(CheckpointError::Origin)?.to_owned();
        let size_text = lines.next().ok_or(CheckpointError::Size)?;
        let size: u64 = size_text.parse().map_err(|_| CheckpointError::Size)?;
        // No sign and no leading zeros: a size has one text.
        if size.to_string() != size_text {
            return Err(CheckpointError::Size);
        }
        let root = lines.next().and_then(|line| STANDARD.decode(line).ok());
        let root = root.and_then(|bytes| bytes.try_into().ok()).ok_or(CheckpointError::Root)?;
        let extension_lines: Vec<String> = lines.map(str::to_owned).collect();
        if extension_lines.iter().any(String::is_empty) {
            return Err(CheckpointError::EmptyLine);
        }
        Ok(Self { origin, size, root: Hash::from_bytes(root), extension_lines })
    }

    /// Which log it is about.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The number of entries.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree of that size.
    pub const fn root(&self) -> Hash {
        self.root
    }

    /// Whatever lines follow, opaque.
    pub fn extension_lines(&self) -> &[String] {
        &self.extension_lines
    }
}

/// The note text, ending in a newline.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, STANDARD.encode(self.root))?;
        self.extension_lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Why a text is not a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The text is cut off.
    #[error("the checkpoint does not end with a newline")]
    NoFinalNewline,
    /// The first line is empty.
    #[error("the checkpoint's first line is not an origin")]
    Origin,
    /// The second line is not a canonical decimal number below 2^64.
    #[error("the checkpoint's second line is not a tree size")]
    Size,
    /// The third line is not canonical base64 of 32 bytes.
    #[error("the checkpoint's third line is not a root hash in base64")]
    Root,
    /// An extension line is empty.
    #[error("the checkpoint has an empty line")]
    EmptyLine,
}
