//! The extensions field of SCTs and leaves.
//!
//! In: an index, or bytes. Out: the other of the two. Knows nothing of what it is attached to.

use std::ops::Deref;

use super::wire::{DecodeError, OutOfBounds, Reader, check_u16};

/// RFC 6962, 3.2 `CtExtensions`: opaque there and kept byte-exact, since the SCT's signature
/// covers them. At most 65,535 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions(Vec<u8>);

impl Extensions {
    /// From bytes that came out of a field with a length prefix of 16 bits.
    pub(super) fn from_bounded(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl TryFrom<Vec<u8>> for Extensions {
    type Error = OutOfBounds;

    fn try_from(bytes: Vec<u8>) -> Result<Self, Self::Error> {
        check_u16("extensions", bytes.len())?;
        Ok(Self(bytes))
    }
}

impl From<LeafIndex> for Extensions {
    fn from(index: LeafIndex) -> Self {
        Self(index.extension().to_vec())
    }
}

impl Deref for Extensions {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// Where in a log an entry stands, from 0: static-ct-api `LeafIndex`, 40 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeafIndex(u64);

impl LeafIndex {
    /// `None` from 2^40 on: such an entry has no SCT, and the log is full.
    pub const fn new(index: u64) -> Option<Self> {
        if index < 1 << 40 { Some(Self(index)) } else { None }
    }

    /// The index as a number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// An extensions field with only this `leaf_index`: `00 | 00 05 | uint40`.
    pub fn extension(self) -> [u8; LEAF_INDEX_EXTENSION_BYTES] {
        let mut extension = self.0.to_be_bytes();
        // The three highest bytes of the number are zero; type and length take their place.
        extension[..3].copy_from_slice(&[LEAF_INDEX, 0, 5]);
        extension
    }

    /// The `leaf_index` in an extensions field. Other extensions are passed over, in any order.
    ///
    /// # Errors
    /// The field is not a list of extensions, names one twice, or has no `leaf_index`.
    pub fn from_extensions(extensions: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(extensions);
        let mut seen = [false; 256];
        let mut found = None;
        while !reader.rest().is_empty() {
            let extension_type = reader.u8("extension_type")?;
            let value = reader.vector_u16("extension_data")?;
            if std::mem::replace(&mut seen[usize::from(extension_type)], true) {
                return Err(DecodeError::DuplicateExtension { extension_type });
            }
            if extension_type == LEAF_INDEX {
                found = Some(Self::decode(value)?);
            }
        }
        found.ok_or(DecodeError::NoLeafIndex)
    }

    fn decode(value: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(value);
        let index = reader.array::<5>("leaf_index")?;
        reader.finish("leaf_index")?;
        Ok(Self(index.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))))
    }
}

/// static-ct-api, "SCT Extension".
pub(super) const LEAF_INDEX_EXTENSION_BYTES: usize = 8;

/// static-ct-api `ExtensionType`.
const LEAF_INDEX: u8 = 0;
