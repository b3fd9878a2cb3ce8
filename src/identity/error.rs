use crate::x509::{ExtensionField, names::NameError};

/// Why no identity came of a verified token. Texts name claims, and of their values
/// no more than the part of an address or host that is at fault.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IdentityError {
    /// A bug of ours, not of the caller: the issuer table let in what has no profile.
    #[error("no profile for the issuer {configured_as}")]
    NoProfile {
        /// The entry of the issuer file.
        configured_as: String,
    },
    /// The claim is absent or null, and there is no default for it.
    #[error("the token has no claim '{claim}'")]
    MissingClaim {
        /// Its name, or its path.
        claim: String,
    },
    /// The claim is there, but cannot stand in a certificate.
    #[error("the claim '{claim}' of the token {reason}")]
    UnusableClaim {
        /// Its name, or its path.
        claim: String,
        /// What is wrong with it.
        reason: UnusableClaim,
    },
    /// The provider does not vouch for the address.
    #[error("the e-mail address is not verified by the identity provider: email_verified {fault}")]
    EmailNotVerified {
        /// How it fails to say `true`.
        fault: EmailVerifiedFault,
    },
    /// The name is not one that a certificate may carry.
    #[error("{origin} is no usable subject alternative name: {reason}")]
    Name {
        /// Where it came from.
        origin: NameOrigin,
        /// Why not.
        reason: NameError,
    },
    /// A verifier that normalises paths would read another name.
    #[error("the subject alternative name would contain a path segment '.' or '..'")]
    DotSegment,
    /// A verifier that joins paths would read another name.
    #[error("the subject alternative name would contain an empty path segment ('//')")]
    EmptySegment,
    /// The issuer may not speak for this name.
    #[error("the claim 'sub' of the token does not begin with '{expected}', as the issuer's must")]
    ForeignSubject {
        /// What the operator lets this issuer speak for: `scheme://host`.
        expected: String,
    },
    /// Several claims together are longer than any honest value.
    #[error("the claims yield more than {limit_bytes} bytes for the {place}")]
    TooLong {
        /// Which value.
        place: RenderedPlace,
        /// The limit.
        limit_bytes: usize,
    },
}

/// Which value was to become the subject alternative name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameOrigin {
    /// The claim `email`.
    EmailClaim,
    /// The claim `sub`.
    SubjectClaim,
    /// What the issuer's template made of several claims.
    Template,
    /// The issuer with the claim `sub` behind it.
    IssuerAndSubject,
    /// The namespace and the service account in the claim `kubernetes.io`.
    ServiceAccount,
}

impl std::fmt::Display for NameOrigin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::EmailClaim => "the claim 'email' of the token",
            Self::SubjectClaim => "the claim 'sub' of the token",
            Self::IssuerAndSubject => "the issuer joined with the claim 'sub' of the token",
            Self::ServiceAccount => "the service account that the token names",
            Self::Template => "what the issuer's template makes of the token's claims",
        })
    }
}

/// What is wrong with a claim.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum UnusableClaim {
    /// It must be text.
    #[error("is not a string")]
    NotAString,
    /// An object or array has no one text form.
    #[error("is an object or array, where a single value is needed")]
    NotAScalar,
    /// Beyond 2^53 JSON implementations disagree about the number.
    #[error("is a number too large to be exact")]
    InexactNumber,
    /// It must not be empty here.
    #[error("is empty")]
    Empty,
    /// Newline, NUL and the like would let one value look like two.
    #[error("contains a control character")]
    ControlCharacter,
    /// It stands where the name's scheme and host come from, and is not `https://host` there.
    #[error("does not begin with a plain https://host")]
    NotAnOrigin,
    /// It stands where the name's host comes from.
    #[error("does not begin with a plain host name")]
    NotAHost,
    /// `?`, `%`, `\` and white space mean something else in a URI than in the claim.
    #[error("contains white space or one of \\ ? %, which would change the name")]
    UriDelimiter,
    /// Kubernetes names are lower-case letters, digits and `-`, of a service account also dots.
    #[error("is not a name that Kubernetes gives")]
    NotAKubernetesName,
    /// SPIFFE-ID, section 2.
    #[error("is not a SPIFFE ID of a workload: spiffe://trust-domain/path")]
    NotASpiffeId,
    /// An id that counts from one.
    #[error("is not a whole number above zero")]
    NotAnId,
    /// Another value would change what the name means.
    #[error("is none of {}", known.join(", "))]
    NotKnown {
        /// The values that there are.
        known: &'static [&'static str],
    },
}

/// How `email_verified` fails to be `true`.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum EmailVerifiedFault {
    /// No such claim.
    #[error("is missing")]
    Missing,
    /// The provider says no.
    #[error("is false")]
    False,
    /// Neither a boolean nor one of the spellings known in the wild.
    #[error("is neither true nor false")]
    Unknown,
}

/// Where a rendered value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenderedPlace {
    /// The subject alternative name.
    SubjectAltName,
    /// An extension.
    Extension(ExtensionField),
}

impl std::fmt::Display for RenderedPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SubjectAltName => f.write_str("subject alternative name"),
            Self::Extension(field) => {
                write!(f, "extension '{}'", field.template_key().unwrap_or("issuer"))
            }
        }
    }
}
