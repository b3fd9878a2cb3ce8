//! `type: ci-provider`: a build job, named by templates over its claims.

use std::{collections::HashMap, sync::Arc};

use super::{
    IdentityError, Name, SanTemplate, Template, claim,
    error::RenderedPlace,
    path,
    template::{Piece, Values},
};
use crate::{
    oidc::{Claims, VerifiedToken},
    x509::{ExtensionField, FulcioExtensions},
};

/// The profile of a CI provider: one entry of `ci-issuer-metadata`, shared by its issuers.
#[derive(Clone, Debug)]
pub struct CiProvider {
    templates: Arc<Templates>,
}

#[derive(Debug)]
struct Templates {
    defaults: HashMap<String, String>,
    extensions: Vec<Extension>,
    san: SanTemplate,
    blank: Blank,
}

/// What a claim means that is an empty string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blank {
    /// What it says: nothing, whatever the default.
    IsAValue,
    /// As if it were not there.
    IsMissing,
}

/// What one extension says.
#[derive(Debug)]
pub(super) struct Extension {
    pub(super) field: ExtensionField,
    pub(super) written: Written,
    pub(super) template: Template,
}

/// How values stand in an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// As they are.
    AsText,
    /// Percent-encoded where a path cannot hold them.
    AsUri,
}

impl CiProvider {
    /// Takes compiled templates. `defaults` are used where the token has no claim of that name.
    pub fn new(
        defaults: HashMap<String, String>,
        extensions: Vec<(ExtensionField, Template)>,
        san: SanTemplate,
    ) -> Self {
        let extensions = extensions.into_iter().map(|(field, template)| Extension {
            field,
            written: Written::AsText,
            template,
        });
        Self::of(defaults, extensions.collect(), san, Blank::IsAValue)
    }

    pub(super) fn of(
        defaults: HashMap<String, String>,
        extensions: Vec<Extension>,
        san: SanTemplate,
        blank: Blank,
    ) -> Self {
        Self { templates: Arc::new(Templates { defaults, extensions, san, blank }) }
    }

    pub(super) fn name(&self, token: &VerifiedToken) -> Result<Name, IdentityError> {
        let Templates { defaults, extensions: said, san, blank } = &*self.templates;
        let values = Merged { claims: token.claims(), defaults, blank: *blank };
        let san = san.render(&values)?;
        let mut extensions = FulcioExtensions::default();
        for extension in said {
            // An empty value is no extension: `set` leaves it out.
            extensions.set(extension.field, extension.value(&values)?);
        }
        // The issuer is always the token's own, whatever a template might say of it.
        Ok(Name { san, extensions, issuer: token.issuer().to_owned() })
    }
}

impl Extension {
    fn value(&self, values: &Merged<'_>) -> Result<String, IdentityError> {
        let mut rendered = String::new();
        self.template.render(values, &mut |piece| {
            match piece {
                Piece::Text(text) => rendered.push_str(text),
                Piece::Value { claim, value } => {
                    let value = claim::printable(claim, &value)?;
                    match self.written {
                        Written::AsText => rendered.push_str(value),
                        Written::AsUri => {
                            value.chars().for_each(|c| path::push_encoded(&mut rendered, c));
                        }
                    }
                }
            }
            if rendered.len() > MAX_EXTENSION_BYTES {
                let place = RenderedPlace::Extension(self.field);
                return Err(IdentityError::TooLong { place, limit_bytes: MAX_EXTENSION_BYTES });
            }
            Ok(())
        })?;
        Ok(rendered)
    }
}

/// Claims first, then defaults: a token that names its own region or server wins.
struct Merged<'a> {
    claims: &'a Claims,
    defaults: &'a HashMap<String, String>,
    blank: Blank,
}

impl Values for Merged<'_> {
    fn value(&self, name: &str) -> Result<String, IdentityError> {
        let claimed = match self.claims.value(name) {
            Some(value) => claim::scalar_text(name, value)?,
            None => None,
        };
        claimed
            .filter(|text| self.blank == Blank::IsAValue || !text.is_empty())
            .or_else(|| self.defaults.get(name).cloned())
            .ok_or_else(|| IdentityError::MissingClaim { claim: name.to_owned() })
    }
}

/// Longer than any honest value; what a certificate says, the log keeps forever.
const MAX_EXTENSION_BYTES: usize = 4096;
