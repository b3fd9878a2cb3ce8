//! The types of one CI provider each: tables over the code that serves `ci-provider`.
//!
//! In: a token of that provider. Out: the name and extensions of its table. Knows nothing of
//! configuration: there is none. The reference calls these types deprecated in favour of
//! `ci-provider`, but issuer files have them.
//!
//! A table names every claim it asks for, and says what must stand there. Its templates are those
//! of `ci-issuer-metadata`, with two differences: claims must have the JSON type that the provider
//! gives them, and what is written as a URI is percent-encoded as one.

mod buildkite;
mod codefresh;
mod github;
mod gitlab;

use serde_json::Value;

use super::{
    CiProvider, IdentityError, Name, SanTemplate, Template, UnusableClaim,
    ci_provider::{Blank, Extension, Written},
    claim, path,
};
use crate::{oidc::VerifiedToken, x509::ExtensionField};

/// The profile of one CI provider, known without configuration.
#[derive(Clone, Debug)]
pub struct FixedCi {
    table: &'static Table,
    provider: CiProvider,
}

impl FixedCi {
    /// `github-workflow`
    pub fn github_workflow() -> Self {
        Self::of(&github::TABLE)
    }

    /// `gitlab-pipeline`
    pub fn gitlab_pipeline() -> Self {
        Self::of(&gitlab::TABLE)
    }

    /// `buildkite-job`
    pub fn buildkite_job() -> Self {
        Self::of(&buildkite::TABLE)
    }

    /// `codefresh-workflow`
    pub fn codefresh_workflow() -> Self {
        Self::of(&codefresh::TABLE)
    }

    pub(super) fn name(&self, token: &VerifiedToken) -> Result<Name, IdentityError> {
        for (name, claim) in self.table.claims {
            claim.check(name, token.claims().value(name))?;
        }
        let name = self.provider.name(token)?;
        if self.table.joined && path::has_empty_segment(name.san.value()) {
            return Err(IdentityError::EmptySegment);
        }
        Ok(name)
    }

    #[expect(clippy::expect_used, reason = "a test compiles every template of every table")]
    fn of(table: &'static Table) -> Self {
        let defaults = table.claims.iter().filter_map(|(name, claim)| {
            claim.default_value().map(|value| ((*name).to_owned(), value.to_owned()))
        });
        let extensions = table.extensions.iter().map(|(field, written, template)| Extension {
            field: *field,
            written: *written,
            template: Template::parse(template).expect("a table's template compiles"),
        });
        let san = SanTemplate::parse(table.san).expect("a table's template compiles");
        let provider =
            CiProvider::of(defaults.collect(), extensions.collect(), san, Blank::IsMissing);
        Self { table, provider }
    }
}

/// Everything about one type.
#[derive(Debug)]
struct Table {
    /// Every claim that is asked for.
    claims: &'static [(&'static str, Claim)],
    /// What the extensions say, beside issuer and subject.
    extensions: &'static [(ExtensionField, Written, &'static str)],
    /// The name.
    san: &'static str,
    /// Whether the reference joins the name's path, and so cleans it, rather than copying it.
    joined: bool,
}

/// What must stand in a claim.
#[derive(Clone, Copy, Debug)]
enum Claim {
    /// A string that is not empty.
    Text,
    /// One of these strings.
    OneOf(&'static [&'static str]),
    /// A whole number above zero.
    Id,
    /// A string, or nothing; nothing, and the empty string, count as this.
    TextOr(&'static str),
}

impl Claim {
    fn check(self, name: &str, value: Option<&Value>) -> Result<(), IdentityError> {
        let reason = match (self, value) {
            (Self::TextOr(_), None | Some(Value::Null | Value::String(_))) => return Ok(()),
            (Self::TextOr(_), Some(_)) => UnusableClaim::NotAString,
            (_, None | Some(Value::Null)) => {
                return Err(IdentityError::MissingClaim { claim: name.to_owned() });
            }
            (Self::Id, Some(value)) if value.as_u64().is_some_and(|id| id > 0) => return Ok(()),
            (Self::Id, Some(_)) => UnusableClaim::NotAnId,
            (Self::OneOf(known), Some(value)) => match value.as_str() {
                Some(text) if known.contains(&text) => return Ok(()),
                _ => UnusableClaim::NotKnown { known },
            },
            (Self::Text, value) => return claim::text(name, value).map(|_| ()),
        };
        Err(claim::unusable(name, reason))
    }

    fn default_value(self) -> Option<&'static str> {
        match self {
            Self::TextOr(value) => Some(value),
            Self::Text | Self::OneOf(_) | Self::Id => None,
        }
    }
}

#[cfg(test)]
mod tests;
