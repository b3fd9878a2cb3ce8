//! `type: uri`: somebody or something that its issuer names by a URI under one origin.

use super::{IdentityError, Name, NameOrigin, path};
use crate::{
    oidc::VerifiedToken,
    x509::{SubjectAltName, names::NameError},
};

/// The profile of an issuer whose subjects are URIs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uri {
    origin: String,
}

/// Why a text is no origin of URIs.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum UriOriginError {
    /// It makes no name.
    #[error("it cannot stand at the beginning of a name: {reason}")]
    Name {
        /// Why not.
        reason: NameError,
    },
    /// The operator may believe that it counts; the reference ignores it.
    #[error("it has a path or a query; only 'scheme://host' counts")]
    MoreThanOrigin,
}

impl Uri {
    /// Takes `subject-domain`: `scheme://host[:port]`, perhaps with a final slash.
    ///
    /// # Errors
    /// It is something else.
    pub fn new(subject_domain: &str) -> Result<Self, UriOriginError> {
        SubjectAltName::uri(subject_domain).map_err(|reason| UriOriginError::Name { reason })?;
        let origin = subject_domain.strip_suffix('/').unwrap_or(subject_domain);
        if origin.matches('/').count() > 2 || origin.contains('?') {
            return Err(UriOriginError::MoreThanOrigin);
        }
        Ok(Self { origin: origin.to_owned() })
    }

    /// `sub` as it stands there, if it lies under the origin. Scheme, host and port are compared
    /// byte by byte, so that there is one way to write a name.
    pub(super) fn name(&self, token: &VerifiedToken) -> Result<Name, IdentityError> {
        let subject = token.subject();
        let san = SubjectAltName::uri(subject)
            .map_err(|reason| IdentityError::Name { origin: NameOrigin::SubjectClaim, reason })?;
        match subject.strip_prefix(&self.origin) {
            Some(rest) if rest.is_empty() || rest.starts_with(['/', '?']) => {}
            _ => return Err(IdentityError::ForeignSubject { expected: self.origin.clone() }),
        }
        if path::has_dot_segment(subject) {
            return Err(IdentityError::DotSegment);
        }
        Ok(Name::alone(san, token))
    }
}
