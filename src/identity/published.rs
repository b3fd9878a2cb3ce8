use super::IssuerType;

/// What anyone may know of an issuer: one element of `GET /api/v2/configuration`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedIssuer {
    /// `issuerUrl` or `wildcardIssuerUrl`.
    pub name: PublishedName,
    /// `audience`: what `aud` must contain.
    pub audience: String,
    /// `challengeClaim`: as configured, or what the type implies.
    pub challenge_claim: String,
    /// `spiffeTrustDomain`; empty for every other type.
    pub spiffe_trust_domain: String,
    /// `issuerType`.
    pub issuer_type: IssuerType,
    /// `subjectDomain`; empty unless the type has one.
    pub subject_domain: String,
    /// `skipEmailVerification`.
    pub skip_email_verification: bool,
}

/// The name of an entry of the issuer file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishedName {
    /// An issuer listed by its URL.
    Url(String),
    /// A meta-issuer: a URL with `*`.
    Wildcard(String),
}

impl PublishedName {
    /// The URL or the pattern.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Url(name) | Self::Wildcard(name) => name,
        }
    }
}
