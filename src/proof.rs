//! Possession of the private key.
//!
//! In: what the client sent (key and signature, or a CSR) and the [`Identity`] it must be bound
//! to. Out: a [`ProvenKey`]. Knows nothing of policy and certificates.

use crate::{
    identity::Identity,
    x509::{
        Csr, PublicKey,
        csr::CsrError,
        public_key::{KeyError, SignatureScheme},
    },
};

/// What a client sends to show that it holds the private key.
#[derive(Clone, Debug)]
pub enum Possession {
    /// `publicKeyRequest`: key as PEM or DER, signature over one of the identity's challenges.
    Signature { public_key: Vec<u8>, signature: Vec<u8> },
    /// `certificateSigningRequest`: PEM of a PKCS #10.
    Csr(Vec<u8>),
}

/// A public key whose private half the client holds. Made only by [`check`].
#[derive(Debug)]
pub struct ProvenKey {
    key: PublicKey,
    scheme: SignatureScheme,
}

impl ProvenKey {
    /// The key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// What the proof is signed with: the key's own algorithm, or the one that a CSR names.
    pub fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

/// Why possession is not shown. [`ProofError::fault`] sorts it into the answers of the
/// API.
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

/// The five answers of the API that a proof can lead to.
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
            let scheme = key.algorithm().default_scheme();
            Ok(ProvenKey { key, scheme })
        }
        Possession::Csr(pem) => {
            let csr = Csr::parse_and_verify(pem).map_err(ProofError::Csr)?;
            Ok(ProvenKey { scheme: csr.signed_with(), key: csr.into_public_key() })
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
    let shown: Vec<String> = challenges.iter().map(|challenge| shown(challenge)).collect();
    format!("'{}'", shown.join("' or '"))
}

/// A claim in a text for people: on one line, and no longer than a line.
fn shown(challenge: &str) -> String {
    let cut = if challenge.chars().nth(MAX_CHALLENGE_SHOWN).is_some() { "…" } else { "" };
    let start = challenge.chars().take(MAX_CHALLENGE_SHOWN).flat_map(char::escape_debug);
    start.chain(cut.chars()).collect()
}

/// A signature of RSA 4096, the longest there is here.
const MAX_SIGNATURE_BYTES: usize = 512;
/// Characters; the subjects of CI providers have 100 to 200.
const MAX_CHALLENGE_SHOWN: usize = 300;

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
