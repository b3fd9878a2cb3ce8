//! `type: spiffe`: a workload, named by its SPIFFE ID.
//!
//! The trust domain is the operator's to say, never taken from the issuer's URL or from the token
//!: an issuer speaks for one trust domain and for no other.

use super::{IdentityError, Name, NameOrigin, UnusableClaim, claim};
use crate::{oidc::VerifiedToken, x509::SubjectAltName};

/// The profile of a SPIFFE issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spiffe {
    /// `spiffe://trust-domain`
    prefix: String,
}

/// The text is no trust domain.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{text}' is no SPIFFE trust domain such as prod.example.com: lower-case host name")]
pub struct TrustDomainError {
    /// What was given.
    pub text: String,
}

impl Spiffe {
    /// Takes `spiffe-trust-domain`: `example.com`, or as the reference also takes it,
    /// `spiffe://example.com`.
    ///
    /// # Errors
    /// It is no trust domain (SPIFFE-ID, 2.1).
    pub fn new(trust_domain: &str) -> Result<Self, TrustDomainError> {
        let host = trust_domain.strip_prefix(SCHEME).unwrap_or(trust_domain);
        let prefix = format!("{SCHEME}{host}");
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b);
        if !host.bytes().all(fits) || SubjectAltName::uri(&prefix).is_err() {
            return Err(TrustDomainError { text: trust_domain.to_owned() });
        }
        Ok(Self { prefix })
    }

    pub(super) fn name(&self, token: &VerifiedToken) -> Result<Name, IdentityError> {
        let subject = token.subject();
        let rest = match subject.strip_prefix(&self.prefix) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
            _ => return Err(IdentityError::ForeignSubject { expected: self.prefix.clone() }),
        };
        if !is_workload_path(rest) {
            return Err(claim::unusable("sub", UnusableClaim::NotASpiffeId));
        }
        let san = SubjectAltName::uri(subject)
            .map_err(|reason| IdentityError::Name { origin: NameOrigin::SubjectClaim, reason })?;
        Ok(Name::alone(san, token))
    }
}

/// `1*( "/" segment )` (SPIFFE-ID, 2.2): no empty segment, so no final slash; no `.` and `..`; of
/// letters, digits, `.`, `-` and `_`, so no percent-encoding. An ID without a path names the trust
/// domain itself, for which no workload speaks; the reference lets it pass.
fn is_workload_path(path: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let segment_fits =
        |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(fits);
    path.strip_prefix('/').is_some_and(|segments| segments.split('/').all(segment_fits))
}

const SCHEME: &str = "spiffe://";
