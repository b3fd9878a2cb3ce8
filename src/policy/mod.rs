//! Whether an identity may have a certificate for a key.
//!
//! In: an [`Identity`] and a [`ProvenKey`]. Out: [`Approved`], or a [`Refusal`] that names its
//! rule. Knows nothing of tokens, certificates and the network: a decision is a pure function.

mod client_algorithm;

use crate::{
    identity::Identity,
    proof::ProvenKey,
    x509::public_key::{ClientKeyAlgorithm, SignatureScheme},
};

pub use client_algorithm::{ClientAlgorithm, ClientAlgorithmError, ClientAlgorithms};

/// The rules in force.
///
/// As in the reference, every identity of a configured issuer may have a certificate for a key it
/// has proven, if the key's algorithm is on the list. There are no rules over identities: a
/// `policy:` in the configuration is refused where it is read, so that nobody believes in rules
/// that are not applied.
#[derive(Clone, Debug)]
pub struct Policy {
    client_algorithms: ClientAlgorithms,
}

/// An identity and key that may be certified. Made only by [`Policy::decide`]; the CA signs
/// nothing else.
///
/// ```compile_fail,E0451
/// # fn forge(identity: mayfly::identity::Identity, key: mayfly::proof::ProvenKey) {
/// let approved = mayfly::policy::Approved { identity, key };
/// # }
/// ```
#[derive(Debug)]
pub struct Approved {
    identity: Identity,
    key: ProvenKey,
}

/// Why an identity and key are not certified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The key's algorithm, or what its proof was signed with, is not on the list.
    #[error("{}; permitted are {permitted}", signed_with(*.key, *.scheme))]
    Algorithm { key: ClientKeyAlgorithm, scheme: SignatureScheme, permitted: ClientAlgorithms },
    /// A rule of the policy file said no, with what its author wants the caller to read.
    #[error("refused by policy rule '{rule}': {message}")]
    Rule { rule: String, message: String },
}

impl Policy {
    /// Every identity, for keys of these algorithms.
    pub fn new(client_algorithms: ClientAlgorithms) -> Self {
        Self { client_algorithms }
    }

    /// Decides on one identity and key.
    ///
    /// # Errors
    /// The first rule that refuses.
    pub fn decide(&self, identity: Identity, key: ProvenKey) -> Result<Approved, Refusal> {
        if !self.client_algorithms.permit(&key) {
            return Err(Refusal::Algorithm {
                key: key.key().algorithm(),
                scheme: key.scheme(),
                permitted: self.client_algorithms.clone(),
            });
        }
        Ok(Approved { identity, key })
    }
}

impl Approved {
    /// Who the certificate will be for.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Which key it will certify.
    pub fn key(&self) -> &ProvenKey {
        &self.key
    }
}

/// The kind of a key, and what its proof was signed with where that is not the usual.
fn signed_with(key: ClientKeyAlgorithm, scheme: SignatureScheme) -> String {
    if scheme == key.default_scheme() { key.to_string() } else { format!("{key} with {scheme}") }
}
