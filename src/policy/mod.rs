//! Whether an identity may have a certificate for a key.
//!
//! In: an [`Identity`] and a [`ProvenKey`]. Out: [`Approved`]. Without rules configured every
//! verified identity of a trusted issuer is approved, as in the reference.
use crate::{identity::Identity, proof::ProvenKey};

/// An identity and key that may be certified. Made only by [`Policy::decide`]; the CA signs
/// nothing else.
#[derive(Debug)]
pub struct Approved {
    identity: Identity,
    key: ProvenKey,
}

impl Approved {
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
    pub fn key(&self) -> &ProvenKey {
        &self.key
    }
}
