//! Verified token -> identity: the subjects a client may have signed, one SAN, the extensions.
//!
//! In: a [`VerifiedToken`] and the profile of its issuer. Out: an [`Identity`], or which claim is
//! missing or wrong. Knows nothing of keys, proofs and signatures.
use std::collections::HashMap;

use crate::{
    oidc::{Claims, VerifiedToken},
    x509::{FulcioExtensions, SubjectAltName},
};

/// Who a certificate will be for. Made only by [`Profiles::derive`].
#[derive(Debug)]
pub struct Identity {
    san: SubjectAltName,
    extensions: FulcioExtensions,
    challenges: Vec<String>,
    token: VerifiedToken,
}

impl Identity {
    pub fn san(&self) -> &SubjectAltName {
        &self.san
    }
    pub fn extensions(&self) -> &FulcioExtensions {
        &self.extensions
    }
    /// The strings over which a proof of possession is accepted: `sub`, and `email` where the
    /// token carries one (WIRE 1.3).
    pub fn challenges(&self) -> &[String] {
        &self.challenges
    }
    /// `iss` of the token.
    pub fn issuer(&self) -> &str {
        self.token.issuer()
    }
    pub fn subject(&self) -> &str {
        self.token.subject()
    }
    pub fn claims(&self) -> &Claims {
        self.token.claims()
    }
}

/// How each configured issuer's claims become an identity; keyed by
/// [`VerifiedToken::configured_as`].
#[derive(Debug)]
pub struct Profiles {
    _by_issuer: HashMap<String, Profile>,
}

/// Email(..) or CiProvider(..); one small file each, more types to come.
#[derive(Debug)]
pub struct Profile {}

/// Why no identity came of a verified token: each variant names the claim.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {}

impl Profiles {
    pub fn derive(&self, _token: VerifiedToken) -> Result<Identity, IdentityError> {
        todo!()
    }
}
