//! Verified token -> identity: the subjects a client may have signed, one SAN, the extensions.
//!
//! In: a [`VerifiedToken`] and the profile of its issuer. Out: an [`Identity`], or which claim is
//! missing or wrong. Knows nothing of keys, proofs, signatures and files.
//!
//! A profile says how the claims of one kind of issuer become a name. Each kind is one small file
//! (`email`, `kubernetes`, …) that answers with a `Name`; what all kinds share is done here, once:
//! the issuer (1.1, 1.8) and the token's subject (1.24) in the extensions, and the challenges. What
//! names have in common is in `path` and `claim`.

mod chainguard;
mod ci_provider;
mod claim;
mod email;
mod error;
mod fixed_ci;
mod issuer_type;
mod kubernetes;
mod path;
mod published;
mod san_template;
mod spiffe;
mod template;
mod uri;
mod username;

use std::collections::HashMap;

pub use ci_provider::CiProvider;
pub use email::{Email, IssuerClaim, IssuerClaimError};
pub use error::{EmailVerifiedFault, IdentityError, NameOrigin, RenderedPlace, UnusableClaim};
pub use fixed_ci::FixedCi;
pub use issuer_type::{IssuerType, UnknownIssuerType};
pub use published::{PublishedIssuer, PublishedName};
pub use san_template::{SanTemplate, SanTemplateError};
pub use spiffe::{Spiffe, TrustDomainError};
pub use template::{Template, TemplateError, TemplateFault};
pub use uri::{Uri, UriOriginError};
pub use username::Username;

use crate::{
    oidc::{Claims, VerifiedToken},
    x509::{ExtensionField, FulcioExtensions, SubjectAltName},
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
    /// The one name of the certificate.
    pub fn san(&self) -> &SubjectAltName {
        &self.san
    }

    /// The Fulcio extensions, 1.3.6.1.4.1.57264.1.1 to .24.
    pub fn extensions(&self) -> &FulcioExtensions {
        &self.extensions
    }

    /// The strings over which a proof of possession is accepted: `sub`, and `email` where the
    /// token carries one (Sigstore's clients look at the token, not at the issuer's type). Both are
    /// in the verified token, and the proof only shows that the client holds the key, so the
    /// second choice gives nobody a name that the first would not.
    pub fn challenges(&self) -> &[String] {
        &self.challenges
    }

    /// `iss` of the token.
    pub fn issuer(&self) -> &str {
        self.token.issuer()
    }

    /// The entry of the issuer file that let the token in.
    pub fn configured_as(&self) -> &str {
        self.token.configured_as()
    }

    /// `sub` of the token.
    pub fn subject(&self) -> &str {
        self.token.subject()
    }

    /// All claims of the token.
    pub fn claims(&self) -> &Claims {
        self.token.claims()
    }
}

/// How each configured issuer's claims become an identity; keyed by
/// [`VerifiedToken::configured_as`].
#[derive(Clone, Debug, Default)]
pub struct Profiles {
    by_issuer: HashMap<String, Profile>,
    published: Vec<PublishedIssuer>,
}

/// How the claims of one issuer become a name; each kind is one file.
#[derive(Clone, Debug)]
pub enum Profile {
    /// `type: email`.
    Email(Email),
    /// `type: ci-provider`.
    CiProvider(CiProvider),
    /// `type: uri`.
    Uri(Uri),
    /// `type: username`.
    Username(Username),
    /// `type: spiffe`.
    Spiffe(Spiffe),
    /// `type: kubernetes`.
    Kubernetes,
    /// `type: chainguard-identity`.
    Chainguard,
    /// `type: github-workflow`, `gitlab-pipeline`, `buildkite-job` or `codefresh-workflow`.
    FixedCi(FixedCi),
}

impl Profile {
    fn name(&self, token: &VerifiedToken) -> Result<Name, IdentityError> {
        match self {
            Self::Email(email) => email.name(token),
            Self::CiProvider(provider) => provider.name(token),
            Self::Uri(uri) => uri.name(token),
            Self::Username(username) => username.name(token),
            Self::Spiffe(spiffe) => spiffe.name(token),
            Self::Kubernetes => kubernetes::name(token),
            Self::Chainguard => chainguard::name(token),
            Self::FixedCi(provider) => provider.name(token),
        }
    }
}

impl Profiles {
    /// Takes each issuer's public face and its profile. The names must differ, which is so by
    /// construction of the issuer file; of two with one name the later counts.
    pub fn new(issuers: impl IntoIterator<Item = (PublishedIssuer, Profile)>) -> Self {
        let mut profiles = Self::default();
        for (published, profile) in issuers {
            profiles.by_issuer.insert(published.name.as_str().to_owned(), profile);
            profiles.published.push(published);
        }
        profiles
    }

    /// The identity that `token` speaks for.
    ///
    /// # Errors
    /// A claim that the issuer's profile needs is missing, or unfit for a certificate.
    pub fn derive(&self, token: VerifiedToken) -> Result<Identity, IdentityError> {
        let profile = self.by_issuer.get(token.configured_as()).ok_or_else(|| {
            IdentityError::NoProfile { configured_as: token.configured_as().to_owned() }
        })?;
        let Name { san, mut extensions, issuer } = profile.name(&token)?;
        extensions.set(ExtensionField::Issuer, issuer);
        // 1.24 is the raw `sub` whatever the type: it tells apart what a template may not.
        let subject = claim::printable("sub", token.subject())?;
        extensions.set(ExtensionField::TokenSubject, subject.to_owned());
        Ok(Identity { san, extensions, challenges: challenges(&token), token })
    }

    /// What `GET /api/v2/configuration` tells of each issuer, in the order of the issuer file.
    pub fn published(&self) -> &[PublishedIssuer] {
        &self.published
    }
}

/// What a profile makes of a token.
#[derive(Debug)]
struct Name {
    san: SubjectAltName,
    /// Without issuer and subject, which are the same for every kind.
    extensions: FulcioExtensions,
    /// What the issuer extension will say.
    issuer: String,
}

impl Name {
    /// A name of a kind that has nothing more to say.
    fn alone(san: SubjectAltName, token: &VerifiedToken) -> Self {
        let issuer = token.issuer().to_owned();
        Self { san, extensions: FulcioExtensions::default(), issuer }
    }
}

fn challenges(token: &VerifiedToken) -> Vec<String> {
    let subject = token.subject();
    let email = token.claims().value("email").and_then(serde_json::Value::as_str);
    // What clients sign comes first: each miss costs a signature verification.
    let email = email.filter(|email| !email.is_empty() && *email != subject);
    email.into_iter().chain([subject]).map(str::to_owned).collect()
}

#[cfg(test)]
mod kinds_tests;
#[cfg(test)]
mod tests;
