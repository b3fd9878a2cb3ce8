//! YAML or JSON text -> a tree in which every node knows its line.
//!
//! In: the text of a configuration file. Out: a [`Node`], or the one mistake that makes the text no
//! document: bad syntax, a duplicate key, a tag. Knows nothing of what the keys mean.
//!
//! The reader is a port of libyaml, as is the one that defined Fulcio's format, so that both take
//! the same files (`*alias:` as a key among them). It reads JSON too, which is YAML in flow style.
//! There is deliberately one reader for values and for positions: with two, a message could point
//! at another key than the one that counts. A tree instead of serde's structs, because serde stops
//! at the first mistake and keeps the later of two equal keys.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
};

use libyaml_safer::{Event, EventData, Mark, Parser, ScalarStyle};

use super::{Fault, Position};

/// A value and where it stands. Aliases share the value that they name, at their own position.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: Position,
    /// The last line that it stands on.
    pub(super) last_line: usize,
    pub(super) content: Rc<Content>,
}

#[derive(Debug)]
pub(super) enum Content {
    /// `plain`: without quotes, so that `true` and nothing at all mean more than their text.
    Scalar {
        text: String,
        plain: bool,
    },
    Sequence(Vec<Node>),
    /// In the order of the file; no key twice.
    Mapping(Vec<(Key, Node)>),
}

#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) at: Position,
    pub(super) text: String,
}

/// Reads the one document of `text`; `None` if there is nothing in it.
pub(super) fn read(text: &str) -> Result<Option<Node>, (Position, Fault)> {
    if text.len() > MAX_FILE_BYTES {
        let fault = Fault::FileTooLarge { limit_bytes: MAX_FILE_BYTES };
        return Err((Position::START, fault));
    }
    let mut bytes = text.as_bytes();
    let mut parser = Parser::new();
    parser.set_input_string(&mut bytes);
    let mut reader =
        Reader { parser, anchors: HashMap::new(), depth: 0, values: 0, last: Position::START };
    reader.document()
}

struct Reader<'r, 'b> {
    parser: Parser<&'r mut &'b [u8]>,
    /// What each names, and how many values that is.
    anchors: HashMap<String, (Rc<Content>, usize)>,
    depth: usize,
    /// Read until now, those behind an alias counted each time.
    values: usize,
    last: Position,
}

type Read<T> = Result<T, (Position, Fault)>;

impl Reader<'_, '_> {
    fn document(&mut self) -> Read<Option<Node>> {
        let mut root = None;
        loop {
            let event = self.event()?;
            match &event.data {
                EventData::StreamStart { .. } | EventData::DocumentEnd { .. } => {}
                EventData::StreamEnd => return Ok(root.filter(|root| !is_null(root))),
                EventData::DocumentStart { .. } if root.is_some() => {
                    return Err((self.last, Fault::SecondDocument));
                }
                EventData::DocumentStart { .. } => {
                    let first = self.event()?;
                    root = Some(self.node(first)?);
                }
                _ => {
                    return Err((self.last, Fault::Syntax { problem: "unexpected".to_owned() }));
                }
            }
        }
    }

    fn event(&mut self) -> Read<Event> {
        // The library panics where its author was in doubt (at `{!,`, for one), and a file that is
        // read again while the server runs must not end it. The parser is not used after that.
        let parsed = catch_unwind(AssertUnwindSafe(|| self.parser.parse()));
        let unreadable =
            |_| (self.last, Fault::Syntax { problem: "it cannot be read here".to_owned() });
        match parsed.map_err(unreadable)? {
            Ok(event) => {
                self.last = position(&event.start_mark);
                Ok(event)
            }
            Err(error) => {
                let at = error.problem_mark().map_or(self.last, |mark| position(&mark));
                Err((at, Fault::Syntax { problem: error.problem().to_owned() }))
            }
        }
    }

    fn node(&mut self, event: Event) -> Read<Node> {
        let at = position(&event.start_mark);
        let end = position(&event.end_mark);
        let values_before = self.values;
        let (anchor, content) = match event.data {
            EventData::Alias { anchor } => {
                let known = self.anchors.get(&anchor).cloned();
                let (content, values) = known.ok_or((at, Fault::UnknownAnchor { anchor }))?;
                self.count(at, values)?;
                return Ok(Node { at, last_line: end.line, content });
            }
            EventData::Scalar { tag: Some(tag), .. }
            | EventData::SequenceStart { tag: Some(tag), .. }
            | EventData::MappingStart { tag: Some(tag), .. } => {
                return Err((at, Fault::Tag { tag }));
            }
            EventData::Scalar { anchor, value, style, .. } => {
                let plain = matches!(style, ScalarStyle::Plain);
                (anchor, Content::Scalar { text: value, plain })
            }
            EventData::SequenceStart { anchor, .. } => (anchor, self.nested(at, Self::sequence)?),
            EventData::MappingStart { anchor, .. } => (anchor, self.nested(at, Self::mapping)?),
            _ => {
                return Err((at, Fault::Syntax { problem: "a value is missing".to_owned() }));
            }
        };
        self.count(at, 1)?;
        let last_line = last_line(&content).unwrap_or(end.line);
        let content = Rc::new(content);
        // Known only from here on, so that nothing can contain itself.
        let values = self.values - values_before;
        self.anchors.extend(anchor.map(|anchor| (anchor, (Rc::clone(&content), values))));
        Ok(Node { at, last_line, content })
    }

    /// Aliases make a file mean more than its length says, and everything that they stand for is
    /// looked at, and may be a mistake, each time.
    fn count(&mut self, at: Position, values: usize) -> Read<()> {
        self.values = self.values.saturating_add(values);
        if self.values > MAX_VALUES {
            return Err((at, Fault::TooManyValues { limit: MAX_VALUES }));
        }
        Ok(())
    }

    fn nested(&mut self, at: Position, read: fn(&mut Self) -> Read<Content>) -> Read<Content> {
        if self.depth == MAX_DEPTH {
            return Err((at, Fault::TooDeep { limit: MAX_DEPTH }));
        }
        self.depth += 1;
        let content = read(self)?;
        self.depth -= 1;
        Ok(content)
    }

    fn sequence(&mut self) -> Read<Content> {
        let mut items = Vec::new();
        loop {
            let event = self.event()?;
            if matches!(event.data, EventData::SequenceEnd) {
                return Ok(Content::Sequence(items));
            }
            items.push(self.node(event)?);
        }
    }

    fn mapping(&mut self) -> Read<Content> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut lines: HashMap<String, usize> = HashMap::new();
        loop {
            let event = self.event()?;
            if matches!(event.data, EventData::MappingEnd) {
                return Ok(Content::Mapping(entries));
            }
            let Node { at, content, .. } = self.node(event)?;
            let Content::Scalar { text, plain } = &*content else {
                return Err((at, Fault::KeyNotText));
            };
            if *plain && text == "<<" {
                return Err((at, Fault::MergeKey));
            }
            if let Some(first_line) = lines.insert(text.clone(), at.line) {
                return Err((at, Fault::DuplicateKey { key: text.clone(), first_line }));
            }
            let value = self.event()?;
            entries.push((Key { at, text: text.clone() }, self.node(value)?));
        }
    }
}

/// Of the last value in it: where a block ends the library says only once the next one begins.
fn last_line(content: &Content) -> Option<usize> {
    match content {
        Content::Scalar { .. } => None,
        Content::Sequence(items) => items.last().map(|item| item.last_line),
        Content::Mapping(entries) => entries.last().map(|(_, value)| value.last_line),
    }
}

fn position(mark: &Mark) -> Position {
    let number = |zero_based: u64| usize::try_from(zero_based).unwrap_or(usize::MAX - 1) + 1;
    Position { line: number(mark.line), column: number(mark.column) }
}

pub(super) fn is_null(node: &Node) -> bool {
    match &*node.content {
        Content::Scalar { text, plain: true } => matches!(text.as_str(), "" | "~" | "null"),
        _ => false,
    }
}

/// Larger than any honest issuer file by far (the public-good one has 18 KiB).
pub(super) const MAX_FILE_BYTES: usize = 1 << 20;

/// Deeper than any configuration; bounds the recursion.
const MAX_DEPTH: usize = 16;

/// Keys and values; the public-good issuer file has some 600.
const MAX_VALUES: usize = 100_000;
