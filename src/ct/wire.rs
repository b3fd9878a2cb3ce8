//! The presentation language of TLS (RFC 5246, 4), as far as RFC 6962 uses it.
//!
//! In: bytes, or values within bounds. Out: the other of the two. Knows nothing of what the
//! values mean.

/// Reads from the front of a byte string; every read names the field for the error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What was not read yet.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn array<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<&'a [u8; N], DecodeError> {
        let (array, rest) =
            self.rest.split_first_chunk().ok_or(DecodeError::Truncated { field })?;
        self.rest = rest;
        Ok(array)
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array::<1>(field).map(|bytes| bytes[0])
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).copied().map(u16::from_be_bytes)
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.array(field).copied().map(u64::from_be_bytes)
    }

    /// `opaque field<0..2^16-1>`.
    pub(super) fn vector_u16(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let length_bytes = self.u16(field)?;
        self.bytes(usize::from(length_bytes), field)
    }

    /// `opaque field<1..2^24-1>`, such as `ASN.1Cert`.
    pub(super) fn vector_u24(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let &[high, middle, low] = self.array(field)?;
        let length_bytes = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        if length_bytes == 0 {
            return Err(DecodeError::Empty { field });
        }
        self.bytes(length_bytes, field)
    }

    /// The end of `what`: nothing may be left.
    pub(super) fn finish(self, what: &'static str) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            count_bytes => Err(DecodeError::TrailingBytes { what, count_bytes }),
        }
    }

    fn bytes(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let (bytes, rest) =
            self.rest.split_at_checked(count).ok_or(DecodeError::Truncated { field })?;
        self.rest = rest;
        Ok(bytes)
    }
}

/// A byte string within the bounds of a length prefix of 24 bits.
pub(super) fn put_vector_u24(out: &mut Vec<u8>, bytes: &[u8]) {
    debug_assert!(check_u24("", bytes).is_ok(), "checked when the entry was made");
    let length_bytes = (bytes.len() as u64).to_be_bytes();
    out.extend_from_slice(&length_bytes[5..]);
    out.extend_from_slice(bytes);
}

/// A byte string within the bounds of a length prefix of 16 bits.
pub(super) fn put_vector_u16(out: &mut Vec<u8>, bytes: &[u8]) {
    debug_assert!(check_u16("", bytes.len()).is_ok(), "checked when the value was made");
    put_u16_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// A length prefix of 16 bits.
pub(super) fn put_u16_length(out: &mut Vec<u8>, length_bytes: usize) {
    out.extend_from_slice(&(length_bytes as u64).to_be_bytes()[6..]);
}

/// `<1..2^24-1>`.
pub(super) fn check_u24(field: &'static str, bytes: &[u8]) -> Result<(), OutOfBounds> {
    let length_bytes = bytes.len();
    let fits = (1..1 << 24).contains(&length_bytes);
    if fits { Ok(()) } else { Err(OutOfBounds { field, length_bytes }) }
}

/// `<0..2^16-1>`.
pub(super) fn check_u16(field: &'static str, length_bytes: usize) -> Result<(), OutOfBounds> {
    let fits = length_bytes < 1 << 16;
    if fits { Ok(()) } else { Err(OutOfBounds { field, length_bytes }) }
}

/// A value has no encoding: it is empty where it must not be, or too long for its length prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} of {length_bytes} bytes cannot be encoded")]
pub struct OutOfBounds {
    /// Which value.
    pub field: &'static str,
    /// How long it is.
    pub length_bytes: usize,
}

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end within a field.
    #[error("the bytes end within {field}")]
    Truncated {
        /// Which field.
        field: &'static str,
    },
    /// Something follows that does not belong there.
    #[error("{count_bytes} bytes follow {what}")]
    TrailingBytes {
        /// After which value.
        what: &'static str,
        /// How many.
        count_bytes: usize,
    },
    /// A field has a value that RFC 6962 or static-ct-api does not define for it.
    #[error("{field} is {value}")]
    Unsupported {
        /// Which field.
        field: &'static str,
        /// Its value.
        value: u16,
    },
    /// A field is empty that must not be.
    #[error("{field} is empty")]
    Empty {
        /// Which field.
        field: &'static str,
    },
    /// A list has another length than a whole number of its elements.
    #[error("{field} of {length_bytes} bytes is not a whole number of elements")]
    PartialElement {
        /// Which list.
        field: &'static str,
        /// Its length.
        length_bytes: usize,
    },
    /// static-ct-api: an extension type stands at most once in an extensions field.
    #[error("extension {extension_type} stands there twice")]
    DuplicateExtension {
        /// Which extension.
        extension_type: u8,
    },
    /// static-ct-api: every entry of a static log carries its index.
    #[error("there is no leaf_index extension")]
    NoLeafIndex,
}
