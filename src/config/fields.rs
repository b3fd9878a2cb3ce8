//! A mapping, read key by key, so that what was not asked for is known to be a mistake.

use std::path::{Path, PathBuf};

use super::{
    ConfigErrors, Fault, Mistake, Position,
    document::{self, Content, Key, Node},
    fault::Suggestion,
    units,
};

/// The mistakes found so far in one file.
#[derive(Debug)]
pub(super) struct Mistakes {
    file: PathBuf,
    found: Vec<Mistake>,
    /// What was read for it, or was to be.
    files: Vec<PathBuf>,
}

impl Mistakes {
    pub(super) fn in_file(file: &Path) -> Self {
        Self { file: file.to_owned(), found: Vec::new(), files: vec![file.to_owned()] }
    }

    /// Notes a file that is read for this one: a change in it may mend or break what is read.
    pub(super) fn depend_on(&mut self, files: impl IntoIterator<Item = PathBuf>) {
        self.files.extend(files);
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    pub(super) fn add(&mut self, at: Position, fault: Fault) {
        self.found.push(Mistake { file: self.file.clone(), at: Some(at), fault });
    }

    pub(super) fn add_for_file(&mut self, fault: Fault) {
        self.found.push(Mistake { file: self.file.clone(), at: None, fault });
    }

    /// Keeps a result's value, or notes its fault.
    pub(super) fn keep<T>(&mut self, at: Position, result: Result<T, Fault>) -> Option<T> {
        result.map_err(|fault| self.add(at, fault)).ok()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// In the order of the file.
    pub(super) fn into_errors(self) -> ConfigErrors {
        let Self { found: mut mistakes, files, .. } = self;
        mistakes.sort_by_key(|mistake| mistake.at.map(|at| (at.line, at.column)));
        ConfigErrors { mistakes, files }
    }
}

/// How keys may be spelt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// `issuer-url`
    Kebab,
    /// `issuer-url` or, as Fulcio's JSON has it, `IssuerURL`.
    KebabOrPascal,
}

/// The entries of a mapping that were not taken yet.
#[derive(Debug)]
pub(super) struct Fields {
    place: &'static str,
    at: Position,
    spelling: Spelling,
    left: Vec<(Key, Node)>,
    asked: Vec<&'static str>,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Located<T> {
    pub(super) at: Position,
    pub(super) value: T,
}

impl Fields {
    /// Takes a mapping apart; `place` says in messages what it is.
    pub(super) fn of(
        node: &Node,
        place: &'static str,
        spelling: Spelling,
        mistakes: &mut Mistakes,
    ) -> Option<Self> {
        let entries = match &*node.content {
            Content::Mapping(entries) => entries.clone(),
            _ => {
                let expected = "a mapping of keys to values";
                mistakes.add(node.at, Fault::Expected { key: place.to_owned(), expected });
                return None;
            }
        };
        Some(Self { place, at: node.at, spelling, left: entries, asked: Vec::new() })
    }

    /// Where the mapping begins.
    pub(super) fn at(&self) -> Position {
        self.at
    }

    /// The value of `key`, if it is there. A key without a value counts as a mistake.
    pub(super) fn take(&mut self, key: &'static str, mistakes: &mut Mistakes) -> Option<Node> {
        self.asked.push(key);
        let first = self.take_spelt(key, key);
        let pascal = match self.spelling {
            Spelling::Kebab => None,
            Spelling::KebabOrPascal => self.take_spelt(key, &pascal_case(key)),
        };
        if let (Some((first, _)), Some((again, _))) = (&first, &pascal) {
            let fault = Fault::DuplicateKey { key: key.to_owned(), first_line: first.at.line };
            mistakes.add(again.at, fault);
        }
        let (Key { at, .. }, node) = first.or(pascal)?;
        if document::is_null(&node) {
            mistakes.add(at, Fault::Expected { key: key.to_owned(), expected: "given a value" });
            return None;
        }
        Some(node)
    }

    fn take_spelt(&mut self, key: &'static str, spelt: &str) -> Option<(Key, Node)> {
        // `key` and its other spelling are the same for some words; never count one entry twice.
        let index = self.left.iter().position(|(entry, _)| entry.text == spelt)?;
        debug_assert!(!key.is_empty());
        Some(self.left.remove(index))
    }

    /// The value of a key that must be there; `hint` follows the message.
    pub(super) fn require(
        &mut self,
        key: &'static str,
        hint: &'static str,
        mistakes: &mut Mistakes,
    ) -> Option<Node> {
        let there = self.has(key);
        let node = self.take(key, mistakes);
        if !there {
            mistakes.add(self.at, Fault::MissingKey { place: self.place, key, hint });
        }
        node
    }

    /// Whether the key is there and was not taken yet.
    pub(super) fn has(&self, key: &str) -> bool {
        let pascal = pascal_case(key);
        self.left.iter().any(|(entry, _)| {
            entry.text == key || self.spelling == Spelling::KebabOrPascal && entry.text == pascal
        })
    }

    /// Text, never empty.
    pub(super) fn text(
        &mut self,
        key: &'static str,
        mistakes: &mut Mistakes,
    ) -> Option<Located<String>> {
        let node = self.take(key, mistakes)?;
        text_of(key, &node, mistakes)
    }

    /// Text that must be there.
    pub(super) fn required_text(
        &mut self,
        key: &'static str,
        mistakes: &mut Mistakes,
    ) -> Option<Located<String>> {
        let node = self.require(key, "", mistakes)?;
        text_of(key, &node, mistakes)
    }

    /// `true` or `false`, unquoted.
    pub(super) fn truth(&mut self, key: &'static str, mistakes: &mut Mistakes) -> Option<bool> {
        let node = self.take(key, mistakes)?;
        match &*node.content {
            Content::Scalar { text, plain: true } if text == "true" => Some(true),
            Content::Scalar { text, plain: true } if text == "false" => Some(false),
            _ => {
                let expected = "true or false, without quotes";
                mistakes.add(node.at, Fault::Expected { key: key.to_owned(), expected });
                None
            }
        }
    }

    /// A duration such as `10m`, in milliseconds.
    pub(super) fn duration_ms(
        &mut self,
        key: &'static str,
        mistakes: &mut Mistakes,
    ) -> Option<Located<u64>> {
        let expected = "a duration such as 500ms, 30s, 10m or 2h";
        self.measured(key, units::duration_ms, expected, mistakes)
    }

    /// A size such as `256KiB`, in bytes.
    pub(super) fn size_bytes(
        &mut self,
        key: &'static str,
        mistakes: &mut Mistakes,
    ) -> Option<Located<u64>> {
        self.measured(key, units::size_bytes, "a size such as 4096B, 256KiB or 1MiB", mistakes)
    }

    /// A whole number.
    pub(super) fn count(
        &mut self,
        key: &'static str,
        mistakes: &mut Mistakes,
    ) -> Option<Located<u64>> {
        self.measured(key, |text| text.parse().ok(), "a whole number", mistakes)
    }

    fn measured(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Option<u64>,
        expected: &'static str,
        mistakes: &mut Mistakes,
    ) -> Option<Located<u64>> {
        let Located { at, value } = self.text(key, mistakes)?;
        let parsed = parse(&value);
        if parsed.is_none() {
            mistakes.add(at, Fault::Expected { key: key.to_owned(), expected });
        }
        parsed.map(|value| Located { at, value })
    }

    /// The entries not taken yet, with their keys as they stand there.
    pub(super) fn drain(&mut self) -> Vec<(Key, Node)> {
        std::mem::take(&mut self.left)
    }

    /// Notes every key that was never asked for; call it last.
    pub(super) fn refuse_rest(mut self, mistakes: &mut Mistakes) {
        for (key, _) in self.drain() {
            let suggestion = self.suggest(&key.text);
            let fault = Fault::UnknownKey { key: key.text, place: self.place, suggestion };
            mistakes.add(key.at, fault);
        }
    }

    fn suggest(&self, key: &str) -> Suggestion {
        let pascal = self.spelling == Spelling::KebabOrPascal
            && key.starts_with(|c: char| c.is_ascii_uppercase());
        let known: Vec<String> = self
            .asked
            .iter()
            .map(|known| if pascal { pascal_case(known) } else { (*known).to_owned() })
            .collect();
        closest(key, known.iter().map(String::as_str))
    }
}

/// The known word that `word` may have been meant to be.
pub(super) fn closest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Suggestion {
    // Letter case and the kind of dash are the commonest slips, and cost nothing here.
    let plain = |text: &str| text.to_lowercase().replace('_', "-");
    // The distance costs the product of both lengths, and nobody mistypes a page.
    let is_word = |text: &&str| text.len() <= MAX_WORD_BYTES;
    let Some(word) = Some(word).filter(is_word).map(plain) else { return Suggestion(None) };
    let best = known
        .filter(is_word)
        .map(|candidate| (strsim::damerau_levenshtein(&word, &plain(candidate)), candidate))
        .min_by_key(|(distance, _)| *distance);
    // A third of the letters may differ, or one: more would be guessing.
    let near = best
        .filter(|(distance, candidate)| *distance <= (candidate.len().max(word.len()) / 3).max(1));
    Suggestion(near.map(|(_, candidate)| candidate.to_owned()))
}

/// Text, never empty; notes a mistake otherwise.
pub(super) fn text_of(key: &str, node: &Node, mistakes: &mut Mistakes) -> Option<Located<String>> {
    match &*node.content {
        Content::Scalar { text, .. } if !text.is_empty() => {
            Some(Located { at: node.at, value: text.clone() })
        }
        Content::Scalar { .. } => {
            mistakes.add(
                node.at,
                Fault::Expected { key: key.to_owned(), expected: "text that is not empty" },
            );
            None
        }
        _ => {
            mistakes.add(node.at, Fault::Expected { key: key.to_owned(), expected: "text" });
            None
        }
    }
}

/// The items of a list; notes a mistake if it is none.
pub(super) fn items_of(key: &str, node: &Node, mistakes: &mut Mistakes) -> Option<Vec<Node>> {
    match &*node.content {
        Content::Sequence(items) => Some(items.clone()),
        _ => {
            mistakes.add(node.at, Fault::Expected { key: key.to_owned(), expected: "a list" });
            None
        }
    }
}

/// `issuer-url` as Fulcio's JSON spells it: `IssuerURL`.
pub(super) fn pascal_case(kebab: &str) -> String {
    kebab
        .split('-')
        .map(|word| match word {
            "url" | "uri" | "id" | "ci" | "oidc" | "spiffe" | "ca" | "sha" | "jwks" | "http" => {
                word.to_uppercase()
            }
            _ => {
                let mut letters = word.chars();
                letters
                    .next()
                    .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
            }
        })
        .collect()
}

/// Longer than any key or type, and than any name that is typed by hand.
const MAX_WORD_BYTES: usize = 128;
