//! Fulcio's issuer file, YAML or JSON, plus our additions -> issuers as values.
//!
//! In: the file. Out: an [`IssuerFile`]; then, as a step of its own, what serving needs. Knows
//! nothing of `mayfly.yaml`.
//!
//! Two steps: each entry by itself, then (`for_serving`) what they are together, such as patterns
//! that overlap. Nothing is ever skipped.

mod issuer;
mod metadata;
mod names;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    ConfigErrors, Fault, Position,
    document::{self, Node},
    fields::{Fields, Mistakes, Spelling},
    read_text,
};
use crate::{
    identity::{Profile, Profiles, PublishedIssuer},
    oidc::{IssuerSettings, IssuerTable, IssuerTableError},
    time::SystemClock,
};

/// An issuer file that has no mistakes of its own.
#[derive(Debug)]
pub struct IssuerFile {
    /// The file's path, for messages.
    pub path: PathBuf,
    /// It, and every file that was read for it.
    pub files: Vec<PathBuf>,
    /// All entries: `oidc-issuers`, then `meta-issuers`, each in the order of the file.
    pub issuers: Vec<Issuer>,
}

/// One entry of the issuer file.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// Where its entry begins.
    pub at: Position,
    /// How its tokens are verified.
    pub settings: IssuerSettings,
    /// What anyone may know of it.
    pub published: PublishedIssuer,
    /// How its claims become a name.
    pub profile: Profile,
}

impl IssuerFile {
    /// Reads the file at `path`, and the key sets that it names.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        match read_text(path) {
            Ok(text) => Self::parse(&text, path),
            Err(fault) => {
                let mut mistakes = Mistakes::in_file(path);
                mistakes.add_for_file(fault);
                Err(mistakes.into_errors())
            }
        }
    }

    /// Reads the text of an issuer file; `path` stands in messages, and relative paths in the text
    /// begin at its directory.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigErrors> {
        let mut mistakes = Mistakes::in_file(path);
        let issuers = match document::read(text) {
            Ok(Some(root)) => read_entries(&root, &mut mistakes),
            Ok(None) => {
                mistakes.add_for_file(Fault::Empty);
                Vec::new()
            }
            Err((at, fault)) => {
                mistakes.add(at, fault);
                Vec::new()
            }
        };
        let errors = mistakes.into_errors();
        if errors.mistakes.is_empty() {
            return Ok(Self { path: path.to_owned(), files: errors.files, issuers });
        }
        Err(errors)
    }

    /// What serving these issuers needs.
    ///
    /// # Errors
    /// What the issuer table refuses, such as patterns that overlap and key sets without a
    /// usable key.
    pub fn for_serving(self) -> Result<(Vec<IssuerSettings>, Profiles), ConfigErrors> {
        let mut mistakes = Mistakes::in_file(&self.path);
        mistakes.depend_on(self.files);
        let mut positions = HashMap::new();
        let mut settings = Vec::new();
        let mut profiles = Vec::new();
        for Issuer { at, settings: own, published, profile } in self.issuers {
            positions.insert(own.name.clone(), at);
            settings.push(own);
            profiles.push((published, profile));
        }
        if mistakes.is_empty()
            && let Err(source) = IssuerTable::new(settings.clone(), Arc::new(SystemClock))
        {
            let at = positions.get(name_of(&source)).copied().unwrap_or(Position::START);
            mistakes.add(at, Fault::IssuerTable { source });
        }
        if !mistakes.is_empty() {
            return Err(mistakes.into_errors());
        }
        Ok((settings, Profiles::new(profiles)))
    }
}

/// The entry that the issuer table blames.
fn name_of(error: &IssuerTableError) -> &str {
    match error {
        IssuerTableError::Setting { name, .. }
        | IssuerTableError::Keys { name, .. }
        | IssuerTableError::Twice { name }
        | IssuerTableError::Overlap { name, .. } => name,
    }
}

fn read_entries(root: &Node, mistakes: &mut Mistakes) -> Vec<Issuer> {
    let both = Spelling::KebabOrPascal;
    let Some(mut fields) = Fields::of(root, "the issuer file", both, mistakes) else {
        return Vec::new();
    };
    // `define` holds anchors and means nothing by itself.
    fields.take("define", mistakes);
    let metadata = fields.take("ci-issuer-metadata", mistakes);
    let providers = metadata.map(|node| metadata::read(&node, mistakes)).unwrap_or_default();
    let listed = fields.take("oidc-issuers", mistakes);
    let patterns = fields.take("meta-issuers", mistakes);
    fields.refuse_rest(mistakes);
    let mut issuers = Vec::new();
    let mut entries = 0;
    for (node, entry) in [(listed, issuer::Entry::Listed), (patterns, issuer::Entry::Pattern)] {
        let Some(node) = node else { continue };
        // Keys are URLs, not words: the one spelling they have.
        let place = "an issuer table";
        let Some(mut fields) = Fields::of(&node, place, Spelling::Kebab, mistakes) else {
            continue;
        };
        for (key, node) in fields.drain() {
            entries += 1;
            issuers.extend(issuer::read(entry, &key, &node, &providers, mistakes));
        }
    }
    if entries == 0 {
        mistakes.add(root.at, Fault::NoIssuer);
    }
    issuers
}
