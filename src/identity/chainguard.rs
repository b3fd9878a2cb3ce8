//! `type: chainguard-identity`: whatever the issuer names, by its URL with `sub` behind it.

use serde_json::Value;

use super::{IdentityError, Name, NameOrigin, UnusableClaim, claim, path};
use crate::{oidc::VerifiedToken, x509::SubjectAltName};

pub(super) fn name(token: &VerifiedToken) -> Result<Name, IdentityError> {
    check_email(token)?;
    let issuer = token.issuer();
    let mut uri = issuer.strip_suffix('/').unwrap_or(issuer).to_owned();
    uri.push('/');
    path::push(&mut uri, token.subject()).map_err(|reason| claim::unusable("sub", reason))?;
    // The reference joins, and so cleans, the path: such a subject would share another's name.
    if path::has_dot_segment(&uri) {
        return Err(IdentityError::DotSegment);
    }
    if path::has_empty_segment(&uri) {
        return Err(IdentityError::EmptySegment);
    }
    let san = SubjectAltName::uri(&uri)
        .map_err(|reason| IdentityError::Name { origin: NameOrigin::IssuerAndSubject, reason })?;
    Ok(Name::alone(san, token))
}

/// Clients sign the address if the token has one, and for this type the reference expects it of
/// them; an address that is not verified is refused there too, though no certificate names it.
fn check_email(token: &VerifiedToken) -> Result<(), IdentityError> {
    match token.claims().value("email") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(address)) if address.is_empty() => Ok(()),
        Some(Value::String(_)) => claim::check_verified(token.claims().value("email_verified")),
        Some(_) => Err(claim::unusable("email", UnusableClaim::NotAString)),
    }
}
