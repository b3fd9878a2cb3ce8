//! `type: email`: a person, named by a verified address.

use std::str::FromStr;

use super::{IdentityError, Name, NameOrigin, claim};
use crate::{
    oidc::VerifiedToken,
    x509::{FulcioExtensions, SubjectAltName},
};

/// The profile of an e-mail issuer.
#[derive(Clone, Debug, Default)]
pub struct Email {
    /// Where the issuer extension comes from; `None`: from `iss`.
    pub issuer_claim: Option<IssuerClaim>,
    /// This issuer, and no other, is believed without `email_verified`.
    pub skip_email_verification: bool,
}

impl Email {
    pub(super) fn name(&self, token: &VerifiedToken) -> Result<Name, IdentityError> {
        let claims = token.claims();
        let email = claim::text("email", claims.value("email"))?;
        if !self.skip_email_verification {
            claim::check_verified(claims.value("email_verified"))?;
        }
        let san = SubjectAltName::email(email)
            .map_err(|reason| IdentityError::Name { origin: NameOrigin::EmailClaim, reason })?;
        let issuer = match &self.issuer_claim {
            Some(path) => path.look_up(token)?,
            None => token.issuer(),
        };
        Ok(Name { san, extensions: FulcioExtensions::default(), issuer: issuer.to_owned() })
    }
}

/// `issuer-claim: $.federated_claims.connector_id`: where a broker says which provider behind it
/// authenticated the person. Of JSONPath only member names after `$`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerClaim {
    members: Vec<String>,
}

/// The text is not `$.name.name`.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{text}' is not a path like $.federated_claims.connector_id")]
pub struct IssuerClaimError {
    /// What was given.
    pub text: String,
}

impl FromStr for IssuerClaim {
    type Err = IssuerClaimError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = |member: &&str| {
            !member.is_empty()
                && member.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        };
        let members: Vec<&str> =
            text.strip_prefix("$.").map(|path| path.split('.').collect()).unwrap_or_default();
        if members.is_empty() || !members.iter().all(fits) {
            return Err(IssuerClaimError { text: text.to_owned() });
        }
        Ok(Self { members: members.into_iter().map(str::to_owned).collect() })
    }
}

impl IssuerClaim {
    fn look_up<'t>(&self, token: &'t VerifiedToken) -> Result<&'t str, IdentityError> {
        let (first, rest) = self.members.split_first().unzip();
        let start = first.and_then(|name| token.claims().value(name));
        let found = rest.unwrap_or_default().iter().fold(start, |at, name| at?.get(name));
        let path = self.members.join(".");
        claim::printable(&path, claim::text(&path, found)?)
    }
}
