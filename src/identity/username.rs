//! `type: username`: a person, known to the issuer by a name that is no mail address.

use super::{IdentityError, Name, NameOrigin};
use crate::{
    oidc::VerifiedToken,
    x509::{SubjectAltName, names::NameError},
};

/// The profile of an issuer whose subjects are user names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Username {
    domain: String,
}

impl Username {
    /// Takes `subject-domain`: a host name, which will stand behind `!` in every name.
    ///
    /// # Errors
    /// It is no host name.
    pub fn new(subject_domain: &str) -> Result<Self, NameError> {
        SubjectAltName::username("anyone", subject_domain)?;
        Ok(Self { domain: subject_domain.to_owned() })
    }

    /// `sub!subject-domain`; a `sub` with `!` or `@` could be read as another name.
    pub(super) fn name(&self, token: &VerifiedToken) -> Result<Name, IdentityError> {
        let san = SubjectAltName::username(token.subject(), &self.domain)
            .map_err(|reason| IdentityError::Name { origin: NameOrigin::SubjectClaim, reason })?;
        Ok(Name::alone(san, token))
    }
}
