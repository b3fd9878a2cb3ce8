//! Signed certificate timestamps.
//!
//! In: the parts of an SCT, or wire bytes. Out: the other of the two. Knows nothing of keys and
//! verifies nothing.

use super::{
    LogId,
    extensions::Extensions,
    wire::{DecodeError, OutOfBounds, Reader, check_u16, put_u16_length, put_vector_u16},
};
use crate::time::Timestamp;

/// RFC 6962, 3.2, version 1. `extensions` are kept byte-exact: the signature
/// covers them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCertificateTimestamp {
    /// Whose promise it is.
    pub log_id: LogId,
    /// When it was given.
    pub timestamp: Timestamp,
    /// Covered by the signature.
    pub extensions: Extensions,
    /// DER ECDSA signature of `DigitallySigned` with hash SHA-256(4) and algorithm ECDSA(3).
    pub signature: Vec<u8>,
}

impl SignedCertificateTimestamp {
    /// The TLS struct.
    ///
    /// # Errors
    /// The signature is empty or longer than 65,535 bytes.
    pub fn encode(&self) -> Result<Vec<u8>, OutOfBounds> {
        let length_bytes = 1 + 32 + 8 + 2 + self.extensions.len() + 4 + self.signature.len();
        let mut out = Vec::with_capacity(length_bytes);
        out.push(V1);
        out.extend_from_slice(&self.log_id.0);
        out.extend_from_slice(&self.timestamp.unix_ms().to_be_bytes());
        put_vector_u16(&mut out, &self.extensions);
        out.extend_from_slice(&self.encode_signature()?);
        Ok(out)
    }

    /// The `DigitallySigned` struct alone, as `add-chain` answers it (RFC 6962, 4.1).
    ///
    /// # Errors
    /// As for [`SignedCertificateTimestamp::encode`].
    pub fn encode_signature(&self) -> Result<Vec<u8>, OutOfBounds> {
        let (field, length_bytes) = ("signature", self.signature.len());
        if length_bytes == 0 {
            return Err(OutOfBounds { field, length_bytes });
        }
        check_u16(field, length_bytes)?;
        let mut out = Vec::with_capacity(4 + length_bytes);
        out.extend_from_slice(&SHA256_WITH_ECDSA);
        put_vector_u16(&mut out, &self.signature);
        Ok(out)
    }

    /// Reads one SCT to its last byte.
    ///
    /// # Errors
    /// The bytes are not exactly one SCT of version 1 with an ECDSA signature over SHA-256.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        match reader.u8("sct_version")? {
            V1 => {}
            value => {
                return Err(DecodeError::Unsupported { field: "sct_version", value: value.into() });
            }
        }
        let log_id = LogId(*reader.array("log id")?);
        let timestamp = Timestamp::from_unix_ms(reader.u64("timestamp")?);
        let extensions = Extensions::from_bounded(reader.vector_u16("extensions")?);
        let signature = decode_signature(reader.rest())?.to_vec();
        Ok(Self { log_id, timestamp, extensions, signature })
    }
}

/// RFC 6962, 3.3: the value of the extension that embeds SCTs, inside both OCTET STRINGs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCertificateTimestampList(pub Vec<SignedCertificateTimestamp>);

impl SignedCertificateTimestampList {
    /// The TLS struct: u16 length of the list, then each SCT with its u16 length.
    ///
    /// # Errors
    /// The list is empty, or something in it is too long.
    pub fn encode(&self) -> Result<Vec<u8>, OutOfBounds> {
        let mut scts = Vec::new();
        for sct in &self.0 {
            let sct = sct.encode()?;
            check_u16("sct", sct.len())?;
            put_vector_u16(&mut scts, &sct);
        }
        let (field, length_bytes) = ("sct_list", scts.len());
        if length_bytes == 0 {
            return Err(OutOfBounds { field, length_bytes });
        }
        check_u16(field, length_bytes)?;
        let mut out = Vec::with_capacity(2 + length_bytes);
        put_u16_length(&mut out, length_bytes);
        out.extend_from_slice(&scts);
        Ok(out)
    }

    /// Reads a list to its last byte.
    ///
    /// # Errors
    /// The bytes are not exactly one list of at least one SCT, each as
    /// [`SignedCertificateTimestamp::decode`] wants it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let list = reader.vector_u16("sct_list")?;
        reader.finish("sct_list")?;
        if list.is_empty() {
            return Err(DecodeError::Empty { field: "sct_list" });
        }
        let mut scts = Vec::new();
        let mut reader = Reader::new(list);
        while !reader.rest().is_empty() {
            scts.push(SignedCertificateTimestamp::decode(reader.vector_u16("sct")?)?);
        }
        Ok(Self(scts))
    }
}

/// The DER signature in a `DigitallySigned` that takes up all of `bytes`: also the `signature`
/// member in the answer of `add-chain` (RFC 6962, 4.1).
///
/// # Errors
/// The bytes are not exactly one ECDSA signature over SHA-256.
pub fn decode_signature(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    let mut reader = Reader::new(bytes);
    match *reader.array("signature algorithm")? {
        SHA256_WITH_ECDSA => {}
        other => {
            let (field, value) = ("signature algorithm", u16::from_be_bytes(other));
            return Err(DecodeError::Unsupported { field, value });
        }
    }
    let signature = reader.vector_u16("signature")?;
    reader.finish("signature")?;
    if signature.is_empty() {
        return Err(DecodeError::Empty { field: "signature" });
    }
    Ok(signature)
}

const V1: u8 = 0;

/// RFC 5246, 7.4.1.4.1: hash sha256(4), signature ecdsa(3).
const SHA256_WITH_ECDSA: [u8; 2] = [4, 3];
