//! Token text -> verified token.
//!
//! In: the text of a JWT and a table of issuers. Out: a [`VerifiedToken`], or why not. Knows
//! nothing of certificates and identities.
use std::sync::Arc;

/// A token whose signature, issuer, audience and times were all checked. Made only by
/// [`IssuerTable::verify`].
#[derive(Debug)]
pub struct VerifiedToken {
    issuer: Arc<str>,
    configured_as: Arc<str>,
    claims: Claims,
}

impl VerifiedToken {
    /// The `iss` claim, equal to the discovery document's issuer.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }
    /// The entry of the issuer file that let it in: the URL, or the pattern of a meta-issuer.
    pub fn configured_as(&self) -> &str {
        &self.configured_as
    }
    /// `sub`, never empty.
    pub fn subject(&self) -> &str {
        todo!()
    }
    /// All verified claims.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }
}

/// The payload of a token: a JSON object without duplicate keys (serde_json with
/// arbitrary depth bounded by our own limits).
#[derive(Clone, Debug)]
pub struct Claims(pub(crate) serde_json::Map<String, serde_json::Value>);

impl Claims {
    pub fn value(&self, name: &str) -> Option<&serde_json::Value> {
        self.0.get(name)
    }
}
