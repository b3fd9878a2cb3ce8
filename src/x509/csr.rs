//! Certification requests (PKCS #10, RFC 2986).
//!
//! In: PEM. Out: a [`Csr`] whose self-signature verified. Only its key counts: subject,
//! attributes, requested extensions and the challenge password are parsed so far as DER demands,
//! and then dropped, so that nothing in them can reach a certificate.

use der::{Decode, Encode, referenced::OwnedToRef};
use x509_cert::request::CertReq;

use super::{
    certificate::first_element,
    pem::{self, PemError},
    public_key::{KeyError, PublicKey, SignatureScheme},
};

/// A PKCS #10 request whose self-signature verified. Only its key is kept, and how it signed.
#[derive(Clone, Debug)]
pub struct Csr {
    public_key: PublicKey,
    signed_with: SignatureScheme,
}

/// Why a request is not taken. `Key` and `WrongSignature` have their own answers in the API; all
/// others mean that it could not be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    #[error("it is empty")]
    Empty,
    #[error("it has {bytes} bytes, more than {limit_bytes}")]
    TooLong { bytes: usize, limit_bytes: usize },
    #[error("{0}")]
    Pem(PemError),
    #[error("there are {blocks} PEM blocks, and only one can be meant")]
    SeveralBlocks { blocks: usize },
    #[error("the PEM block is a '{label}', not a 'CERTIFICATE REQUEST'")]
    Label { label: String },
    #[error("it is not a PKCS #10 request in DER")]
    Der,
    #[error("the public key of the request: {0}")]
    Key(KeyError),
    #[error(
        "the signature algorithm {algorithm} of the request is none of ECDSA and RSA PKCS #1 v1.5 \
         with SHA-256, SHA-384 or SHA-512, and Ed25519"
    )]
    SignatureAlgorithm { algorithm: String },
    #[error("the request is not signed by the key in it")]
    WrongSignature,
}

impl Csr {
    /// PEM `CERTIFICATE REQUEST` or `NEW CERTIFICATE REQUEST`; checks the signature.
    ///
    /// # Errors
    /// It could not be parsed, its key is not permitted, or its signature does not verify.
    pub fn parse_and_verify(pem: &[u8]) -> Result<Self, CsrError> {
        match pem.len() {
            0 => return Err(CsrError::Empty),
            bytes if bytes > MAX_INPUT_BYTES => {
                return Err(CsrError::TooLong { bytes, limit_bytes: MAX_INPUT_BYTES });
            }
            _ => {}
        }
        let blocks = pem::blocks(pem).map_err(CsrError::Pem)?;
        match blocks.as_slice() {
            [block] if PEM_LABELS.contains(&block.label.as_str()) => Self::verify_der(&block.der),
            [block] => Err(CsrError::Label { label: block.label.clone() }),
            several => Err(CsrError::SeveralBlocks { blocks: several.len() }),
        }
    }

    /// The key whose private half signed the request.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// What the request is signed with.
    pub fn signed_with(&self) -> SignatureScheme {
        self.signed_with
    }

    /// As [`Self::public_key`], by value.
    pub fn into_public_key(self) -> PublicKey {
        self.public_key
    }

    fn verify_der(der: &[u8]) -> Result<Self, CsrError> {
        let request = CertReq::from_der(der).map_err(|_| CsrError::Der)?;
        let spki_der = request.info.public_key.to_der().map_err(|_| CsrError::Der)?;
        let public_key = PublicKey::parse_der(&spki_der).map_err(CsrError::Key)?;
        let identifier = request.algorithm.owned_to_ref();
        let scheme = SignatureScheme::from_identifier(&identifier).ok_or_else(|| {
            CsrError::SignatureAlgorithm { algorithm: identifier.oid.to_string() }
        })?;
        let signature = request.signature.as_bytes().ok_or(CsrError::Der)?;
        let signed = first_element(der).map_err(|_| CsrError::Der)?;
        if public_key.verifies_as(scheme, signed, signature) {
            Ok(Self { public_key, signed_with: scheme })
        } else {
            Err(CsrError::WrongSignature)
        }
    }
}

/// RFC 7468, section 7; the second is what old tools write.
const PEM_LABELS: [&str; 2] = ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"];
/// Ours: a request with an RSA key of 4096 bits has 2 KiB.
const MAX_INPUT_BYTES: usize = 64 * 1024;

#[cfg(test)]
#[path = "csr_tests.rs"]
mod tests;
