//! Possession of the private key.
//!
//! In: what the client sent (key and signature, or a CSR) and the [`Identity`] it must be bound
//! to. Out: a [`ProvenKey`]. Knows nothing of policy and certificates.

use crate::{
    identity::Identity,
    x509::{Csr, PublicKey, csr::CsrError, public_key::KeyError},
};

/// What a client sends to show that it holds the private key.
#[derive(Clone, Debug)]
pub enum Possession {
    /// Key as PEM or DER, signature over one of the identity's challenges.
    Signature { public_key: Vec<u8>, signature: Vec<u8> },
    /// PEM of a PKCS #10.
    Csr(Vec<u8>),
}

/// A public key whose private half the client holds. Made only by [`check`].
#[derive(Debug)]
pub struct ProvenKey {
    key: PublicKey,
}

impl ProvenKey {
    /// The key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }
}

/// Why possession is not shown. [`ProofError::fault`] sorts it into the reference's answers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    #[error("{0}")]
    Key(KeyError),
    #[error("{0}")]
    Csr(CsrError),
    #[error("the signature has {bytes} bytes, more than any permitted key makes")]
    SignatureTooLong { bytes: usize },
    /// The challenges are claims of the caller's own token.
    #[error("it is not a signature by this key over {}", quoted(.challenges))]
    WrongSignature { challenges: Vec<String> },
}

/// The reference's five answers that a proof can lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProofFault {
    KeyMalformed,
    KeyInsecure,
    AlgorithmNotPermitted,
    SignatureWrong,
    CsrMalformed,
}

impl ProofError {
    /// Which answer this error calls for.
    pub fn fault(&self) -> ProofFault {
        match self {
            Self::Key(KeyError::Malformed { .. }) => ProofFault::KeyMalformed,
            Self::Key(KeyError::Weak { .. }) | Self::Csr(CsrError::Key(KeyError::Weak { .. })) => {
                ProofFault::KeyInsecure
            }
            Self::Key(KeyError::NotPermitted { .. })
            | Self::Csr(
                CsrError::Key(KeyError::NotPermitted { .. }) | CsrError::SignatureAlgorithm { .. },
            ) => ProofFault::AlgorithmNotPermitted,
            Self::SignatureTooLong { .. }
            | Self::WrongSignature { .. }
            | Self::Csr(CsrError::WrongSignature) => ProofFault::SignatureWrong,
            Self::Csr(
                CsrError::Empty
                | CsrError::TooLong { .. }
                | CsrError::Pem(_)
                | CsrError::SeveralBlocks { .. }
                | CsrError::Label { .. }
                | CsrError::Der
                | CsrError::Key(KeyError::Malformed { .. }),
            ) => ProofFault::CsrMalformed,
        }
    }
}

/// Checks that the client holds the private half of the key it sent. A signature must be over
/// one of the identity's challenges, which binds it to the token; a CSR is bound to the request
/// that carries it, and only shows that its sender holds the key.
///
/// # Errors
/// The key or CSR is not taken, or the signature does not verify.
pub fn check(possession: &Possession, identity: &Identity) -> Result<ProvenKey, ProofError> {
    check_against(possession, identity.challenges())
}

fn check_against(possession: &Possession, challenges: &[String]) -> Result<ProvenKey, ProofError> {
    match possession {
        Possession::Signature { public_key, signature } => {
            let key = PublicKey::parse(public_key).map_err(ProofError::Key)?;
            check_signature(&key, signature, challenges)?;
            Ok(ProvenKey { key })
        }
        Possession::Csr(pem) => {
            let csr = Csr::parse_and_verify(pem).map_err(ProofError::Csr)?;
            Ok(ProvenKey { key: csr.into_public_key() })
        }
    }
}

fn check_signature(
    key: &PublicKey,
    signature: &[u8],
    challenges: &[String],
) -> Result<(), ProofError> {
    if signature.len() > MAX_SIGNATURE_BYTES {
        return Err(ProofError::SignatureTooLong { bytes: signature.len() });
    }
    // A signature over nothing at all binds the key to nobody.
    let mut meaningful = challenges.iter().filter(|challenge| !challenge.is_empty());
    if meaningful.any(|challenge| key.verifies(challenge.as_bytes(), signature)) {
        Ok(())
    } else {
        Err(ProofError::WrongSignature { challenges: challenges.to_vec() })
    }
}

fn quoted(challenges: &[String]) -> String {
    if challenges.is_empty() {
        return "anything: the token has no subject".to_owned();
    }
    format!("'{}'", challenges.join("' or '"))
}

/// A signature of RSA 4096, the longest there is here.
const MAX_SIGNATURE_BYTES: usize = 512;

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
