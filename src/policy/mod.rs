//! Whether an identity may have a certificate for a key.
//!
//! In: an [`Identity`] and a [`ProvenKey`]. Out: [`Approved`], or a [`Refusal`] that names its
//! rule. Knows nothing of tokens, certificates and the network: a decision is a pure function.

use crate::{identity::Identity, proof::ProvenKey};

/// The rules in force.
///
/// There are none yet: every identity of a configured issuer may have a certificate for a key it
/// has proven, as in the reference. A `policy:` in the configuration is refused where it is read,
/// so that nobody believes in rules that are not applied.
#[derive(Debug)]
pub struct Policy {
    // Not constructible outside: what approves everything must be asked for by name.
    _unrestricted: (),
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

/// A rule said no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("refused by policy rule '{rule}': {message}")]
pub struct Refusal {
    /// The name of the rule in the policy file.
    pub rule: String,
    /// What the rule's author wants the caller to read.
    pub message: String,
}

impl Policy {
    /// Approves everything.
    pub fn unrestricted() -> Self {
        Self { _unrestricted: () }
    }

    /// Decides on one identity and key.
    ///
    /// # Errors
    /// The first rule that refuses.
    pub fn decide(&self, identity: Identity, key: ProvenKey) -> Result<Approved, Refusal> {
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
