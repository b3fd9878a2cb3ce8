//! Token text -> verified token.
//!
//! In: the text of a JWT and a table of issuers. Out: a [`VerifiedToken`], or why not. Knows
//! nothing of certificates and identities.
//!
//! The steps, all of them necessary, in [`IssuerTable::verify`]:
//!
//! 1. `token`: bounded, strict parsing; the payload is parsed once, so that the `iss` that chose
//!    the issuer is the `iss` that was signed.
//! 2. `issuers`: the exact text of `iss` finds a listed issuer, else an anchored wildcard.
//! 3. `claims`: audience, subject and times. Before the keys, so that a token that would be refused
//!    anyway causes no request to its issuer.
//! 4. `cache`: the issuer's own keys, never another's; an unknown `kid` may ask again, seldom.
//! 5. `keys`: the algorithm is one the issuer advertises and fits the key; the signature verifies.
//! 6. `replay`: where the guard is on, the token was not seen before.
//!
//! Keys come through [`KeySource`]: `discovery` over `fetch` (HTTP), or a static key set.

mod address;
mod algorithm;
mod budget;
mod cache;
mod claims;
mod discovery;
mod error;
mod fetch;
mod issuers;
mod json;
mod keys;
mod origin;
mod pattern;
mod refresh;
mod replay;
mod settings;
mod source;
mod token;
mod wildcard;

#[cfg(test)]
mod fakes;

use std::sync::Arc;

pub use algorithm::{AlgorithmSet, TokenAlgorithm};
pub use claims::{MAX_CLOCK_SKEW_MS, MAX_TOKEN_LIFETIME_MS};
pub use discovery::Provider;
pub use error::{JsonFault, TokenError, TokenPart};
pub use issuers::{IssuerState, IssuerStatus, IssuerTable, IssuerTableError};
pub use keys::{KeySet, KeySetError};
pub use refresh::RefreshTasks;
pub use settings::{IssuerSettings, KeyOrigin};
pub use source::{FetchError, FetchedKeys, KeySource, Lifetime};
pub use token::MAX_TOKEN_BYTES;

/// A token whose signature, issuer, audience and times were all checked. Made only by
/// [`IssuerTable::verify`].
#[derive(Debug)]
pub struct VerifiedToken {
    issuer: Arc<str>,
    configured_as: Arc<str>,
    subject: String,
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
        &self.subject
    }

    /// All verified claims.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// A token that nobody verified, for the unit tests of the layers above.
    #[cfg(test)]
    pub(crate) fn dangerous_unverified(
        issuer: &str,
        configured_as: &str,
        claims: serde_json::Value,
    ) -> Self {
        let serde_json::Value::Object(claims) = claims else { panic!("claims are an object") };
        let subject = claims.get("sub").and_then(|sub| sub.as_str()).unwrap_or("test").to_owned();
        Self {
            issuer: issuer.into(),
            configured_as: configured_as.into(),
            subject,
            claims: Claims(claims),
        }
    }
}

/// The payload of a token: a JSON object without duplicate keys at any level, bounded in depth
/// and in the number of values.
#[derive(Clone, Debug)]
pub struct Claims(pub(crate) serde_json::Map<String, serde_json::Value>);

impl Claims {
    /// The claim of this name, of whatever JSON type the issuer gave it.
    pub fn value(&self, name: &str) -> Option<&serde_json::Value> {
        self.0.get(name)
    }

    /// All claims.
    pub fn as_map(&self) -> &serde_json::Map<String, serde_json::Value> {
        &self.0
    }
}
