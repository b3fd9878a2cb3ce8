//! A change to the text of `mayfly.yaml` that leaves every other byte of it as it was.
//!
//! In: the text, and the next authority. Out: the text with that authority in it, or why it must be
//! added by hand. Knows nothing of files and keys.
//!
//! Lines are added, none is changed, and what came of it is read again: it must say what the text
//! said before, and the addition, and nothing else.

use serde_json::{Value, json};

use super::document::{self, Content, Node};
use crate::time::Timestamp;

/// An authority as it is to stand in the file.
#[derive(Clone, Debug)]
pub struct NextAuthority {
    /// A key URI; relative paths begin at the file's folder.
    pub key: String,
    /// `env:NAME` or `file:PATH`.
    pub passphrase: Option<String>,
    /// The path of its chain.
    pub chain: String,
    /// From when on it signs.
    pub activate: Timestamp,
}

/// When an authority that is there signs no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retirement {
    /// Counted from 1, as they stand in the file.
    pub position: usize,
    /// From when on.
    pub at: Timestamp,
}

/// Why a text is not changed. Each asks for a change by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// No list under `authorities`, or no document at all.
    #[error("it has no list of authorities")]
    NoAuthorities,
    /// `authorities: [{…}]`, as in JSON, an alias, or an anchor.
    #[error("its authorities are not a list with one '- ' and one key on each line")]
    NotBlockStyle,
    /// It would not have said what it should.
    #[error("its layout is not understood well enough")]
    NotUnderstood,
}

/// Adds an authority after the last one, and a time of retirement to one of the others.
///
/// # Errors
/// The authorities are not written in the one way in which lines can be added.
pub fn add_authority(
    text: &str,
    next: &NextAuthority,
    retirement: Option<Retirement>,
) -> Result<String, EditError> {
    let root = read(text)?;
    let list = authorities(&root).ok_or(EditError::NoAuthorities)?;
    let items = items(list).ok_or(EditError::NoAuthorities)?;
    let last = items.last().ok_or(EditError::NoAuthorities)?;
    let dash = Dash::of(text, list, last)?;
    let mut added = Vec::new();
    if let Some(Retirement { position, at }) = retirement {
        let item = position.checked_sub(1).and_then(|index| items.get(index));
        let item = item.ok_or(EditError::NoAuthorities)?;
        added.push((item.last_line, dash.continued("retire", &at.to_string())));
    }
    added.extend(dash.item(next).into_iter().map(|line| (last.last_line, line)));
    let changed = with_lines(text, &added);
    // The proof: it says what it said, and what was to be added.
    if plain(&read(&changed)?)
        != expected(&root, next, retirement).ok_or(EditError::NoAuthorities)?
    {
        return Err(EditError::NotUnderstood);
    }
    Ok(changed)
}

fn read(text: &str) -> Result<Node, EditError> {
    document::read(text).ok().flatten().ok_or(EditError::NotUnderstood)
}

fn authorities(root: &Node) -> Option<&Node> {
    let Content::Mapping(entries) = &*root.content else { return None };
    entries.iter().find(|(key, _)| key.text == AUTHORITIES).map(|(_, value)| value)
}

fn items(list: &Node) -> Option<&[Node]> {
    match &*list.content {
        Content::Sequence(items) => Some(items),
        _ => None,
    }
}

/// How the file sets an item of the list off: the text before its first key, and before the others.
struct Dash {
    first: String,
    others: String,
}

impl Dash {
    fn of(text: &str, list: &Node, item: &Node) -> Result<Self, EditError> {
        let Content::Mapping(entries) = &*item.content else {
            return Err(EditError::NotBlockStyle);
        };
        let (first_key, _) = entries.first().ok_or(EditError::NotBlockStyle)?;
        let character = |line: usize, column: usize| {
            text.lines().nth(line - 1).and_then(|line| line.chars().nth(column - 1))
        };
        let dashed = character(list.at.line, list.at.column) == Some('-');
        // An anchor or a brace stands before the first key.
        if !dashed || first_key.at != item.at {
            return Err(EditError::NotBlockStyle);
        }
        let (dash, key) = (list.at.column - 1, item.at.column - 1);
        let between = key.checked_sub(dash + 1).ok_or(EditError::NotBlockStyle)?;
        let first = format!("{}-{}", " ".repeat(dash), " ".repeat(between));
        Ok(Self { first, others: " ".repeat(key) })
    }

    fn continued(&self, key: &str, value: &str) -> String {
        format!("{}{key}: {}", self.others, scalar(value))
    }

    fn item(&self, next: &NextAuthority) -> Vec<String> {
        let NextAuthority { key, passphrase, chain, activate } = next;
        let mut lines = vec![format!("{}key: {}", self.first, scalar(key))];
        lines.extend(passphrase.iter().map(|source| self.continued("passphrase", source)));
        lines.push(self.continued("chain", chain));
        lines.push(self.continued("activate", &activate.to_string()));
        lines
    }
}

/// As it is where that is surely the same, else in double quotes: JSON's are YAML's too.
fn scalar(text: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/:;=?&%@+".contains(&b);
    let begins_well = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
        || text.starts_with("./")
        || text.starts_with("../");
    // No word that means nothing or truth.
    let is_word = !text.contains(['/', ':', '.']);
    if begins_well && !is_word && text.bytes().all(is_plain) && !text.ends_with(':') {
        text.to_owned()
    } else {
        json!(text).to_string()
    }
}

/// Puts each line after the line of that number, with the line ends of the text.
fn with_lines(text: &str, added: &[(usize, String)]) -> String {
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut changed = String::with_capacity(text.len() + 512);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        changed.push_str(line);
        for (_, new) in added.iter().filter(|(after, _)| *after == index + 1) {
            if changed.ends_with('\n') {
                changed.push_str(new);
                changed.push_str(end);
            } else {
                // The text ends without a line end, and goes on doing so.
                changed.push_str(end);
                changed.push_str(new);
            }
        }
    }
    changed
}

/// What the changed text has to say.
fn expected(root: &Node, next: &NextAuthority, retirement: Option<Retirement>) -> Option<Value> {
    let mut document = plain(root);
    let list = document.get_mut(AUTHORITIES)?.as_array_mut()?;
    if let Some(Retirement { position, at }) = retirement {
        let retired = list.get_mut(position.checked_sub(1)?)?.as_object_mut()?;
        retired.insert("retire".to_owned(), json!(at.to_string()));
    }
    let mut added = json!({
        "key": next.key,
        "chain": next.chain,
        "activate": next.activate.to_string(),
    });
    if let Some(passphrase) = &next.passphrase {
        added.as_object_mut()?.insert("passphrase".to_owned(), json!(passphrase));
    }
    list.push(added);
    Some(document)
}

/// A document without its places and quotes.
fn plain(node: &Node) -> Value {
    match &*node.content {
        Content::Scalar { text, .. } => Value::String(text.clone()),
        Content::Sequence(items) => Value::Array(items.iter().map(plain).collect()),
        Content::Mapping(entries) => {
            let entries = entries.iter().map(|(key, value)| (key.text.clone(), plain(value)));
            Value::Object(entries.collect())
        }
    }
}

const AUTHORITIES: &str = "authorities";

#[cfg(test)]
#[path = "edit_tests.rs"]
mod tests;
