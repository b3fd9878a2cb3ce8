//! Possession of the private key.
//!
//! In: what the client sent (key and signature, or a CSR) and the [`Identity`] it must be bound
//! to. Out: a [`ProvenKey`]. Knows nothing of policy and certificates.
use crate::{identity::Identity, x509::{PublicKey, csr::CsrError, public_key::KeyError}};

/// What a client sends to show that it holds the private key.
#[derive(Clone, Debug)]
pub enum Possession {
    /// WIRE 1.2 A: key as PEM or DER, signature over one of the identity's challenges.
    Signature { public_key: Vec<u8>, signature: Vec<u8> },
    /// WIRE 1.2 B: PEM of a PKCS #10.
    Csr(Vec<u8>),
}

/// A public key whose private half the client holds. Made only by [`check`].
#[derive(Debug)]
pub struct ProvenKey {
    key: PublicKey,
}

impl ProvenKey {
    pub fn key(&self) -> &PublicKey {
        &self.key
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Csr(#[from] CsrError),
    // WrongSignature { .. } and so on
}

pub fn check(_possession: &Possession, _identity: &Identity) -> Result<ProvenKey, ProofError> {
    todo!()
}
