use super::Part;

/// A template that is outside the subset.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("at character {at}: {fault}")]
pub struct TemplateError {
    /// Which character of the template, the first being 1.
    pub at: usize,
    /// What is wrong there.
    pub fault: TemplateFault,
}

/// What a template may not have.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum TemplateFault {
    #[error("a template that is empty")]
    Empty,
    #[error("a claim name cannot contain white space, braces or control characters")]
    ClaimName,
    #[error("'{{{{' is never closed by '}}}}'")]
    Unclosed,
    #[error(
        "only {{{{ .claim }}}}, {{{{ index . \"claim\" }}}} and {{{{ if eq .claim \"text\" }}}} … \
         {{{{ else }}}} … {{{{ end }}}} are supported"
    )]
    Unsupported,
    #[error("trim markers ('{{{{-', '-}}}}') are not supported")]
    TrimMarker,
    #[error("an 'if' inside an 'if' is not supported")]
    NestedIf,
    #[error("'{word}' without its 'if'")]
    Stray { word: &'static str },
    #[error("'if' without its '{word}'")]
    IfWithout { word: &'static str },
}

/// The parts of a template; `text` as a whole is never empty.
pub(super) fn parse(text: &str) -> Result<Vec<Part>, TemplateError> {
    if text.trim().is_empty() {
        return Err(TemplateError { at: 1, fault: TemplateFault::Empty });
    }
    if !text.contains("{{") {
        return claim_name(text);
    }
    let mut parser = Parser { text, rest: text, frames: vec![Frame::default()] };
    while !parser.rest.is_empty() {
        parser.step()?;
    }
    parser.finish()
}

fn claim_name(text: &str) -> Result<Vec<Part>, TemplateError> {
    let misfit = |c: char| c.is_whitespace() || c.is_control() || c == '{' || c == '}';
    match text.chars().position(misfit) {
        Some(at) => Err(TemplateError { at: at + 1, fault: TemplateFault::ClaimName }),
        None => Ok(vec![Part::Value(text.to_owned())]),
    }
}

/// One pass from left to right. `frames` has the template itself and, inside an `if`, its branch.
struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
    frames: Vec<Frame>,
}

/// Parts being gathered, and what they belong to.
#[derive(Default)]
struct Frame {
    parts: Vec<Part>,
    branch: Option<Branch>,
}

struct Branch {
    claim: String,
    equals: String,
    /// Set once `else` was met.
    then: Option<Vec<Part>>,
}

/// What stands between `{{` and `}}`.
enum Action {
    Value(String),
    If { claim: String, equals: String },
    Else,
    End,
}

impl Parser<'_> {
    fn step(&mut self) -> Result<(), TemplateError> {
        let Some(open) = self.rest.find("{{") else {
            let text = std::mem::take(&mut self.rest);
            self.push(Part::Text(text.to_owned()));
            return Ok(());
        };
        if open > 0 {
            self.push(Part::Text(self.rest[..open].to_owned()));
        }
        let inside = &self.rest[open + 2..];
        self.rest = &self.rest[open..];
        let close = inside.find("}}").ok_or_else(|| self.fault(TemplateFault::Unclosed))?;
        let action = action(&inside[..close]).map_err(|fault| self.fault(fault))?;
        self.apply(action)?;
        self.rest = &inside[close + 2..];
        Ok(())
    }

    fn apply(&mut self, action: Action) -> Result<(), TemplateError> {
        match action {
            Action::Value(claim) => self.push(Part::Value(claim)),
            Action::If { .. } if self.frames.len() > 1 => {
                return Err(self.fault(TemplateFault::NestedIf));
            }
            Action::If { claim, equals } => self.frames.push(Frame {
                parts: Vec::new(),
                branch: Some(Branch { claim, equals, then: None }),
            }),
            Action::Else => self.turn_to_else()?,
            Action::End => self.close_if()?,
        }
        Ok(())
    }

    // Where a fault stands is counted from the start, so only once there is one.

    fn turn_to_else(&mut self) -> Result<(), TemplateError> {
        let turned = self.frames.last_mut().and_then(|Frame { parts, branch }| {
            let branch = branch.as_mut().filter(|branch| branch.then.is_none())?;
            branch.then = Some(std::mem::take(parts));
            Some(())
        });
        turned.ok_or_else(|| self.fault(TemplateFault::Stray { word: "else" }))
    }

    fn close_if(&mut self) -> Result<(), TemplateError> {
        let stray = TemplateFault::Stray { word: "end" };
        if self.frames.len() < 2 {
            return Err(self.fault(stray));
        }
        let Some(Frame { parts: otherwise, branch: Some(branch) }) = self.frames.pop() else {
            return Err(self.fault(stray));
        };
        let Branch { claim, equals, then } = branch;
        let without_else = TemplateFault::IfWithout { word: "else" };
        let then = then.ok_or_else(|| self.fault(without_else))?;
        self.push(Part::Choice { claim, equals, then, otherwise });
        Ok(())
    }

    fn push(&mut self, part: Part) {
        if let Some(frame) = self.frames.last_mut() {
            frame.parts.push(part);
        }
    }

    fn finish(mut self) -> Result<Vec<Part>, TemplateError> {
        if self.frames.len() > 1 {
            return Err(self.fault(TemplateFault::IfWithout { word: "end" }));
        }
        Ok(self.frames.pop().unwrap_or_default().parts)
    }

    fn fault(&self, fault: TemplateFault) -> TemplateError {
        let before = &self.text[..self.text.len() - self.rest.len()];
        TemplateError { at: before.chars().count() + 1, fault }
    }
}

fn action(inside: &str) -> Result<Action, TemplateFault> {
    if inside.starts_with('-') || inside.ends_with('-') {
        return Err(TemplateFault::TrimMarker);
    }
    let body = inside.trim_matches(is_space);
    match body {
        "else" => return Ok(Action::Else),
        "end" => return Ok(Action::End),
        _ => {}
    }
    let parsed = match word(body, "if").and_then(|rest| word(rest, "eq")) {
        Some(condition) => operand(condition).and_then(|(claim, rest)| {
            let (equals, rest) = string(spaced(rest)?)?;
            rest.is_empty().then_some(Action::If { claim, equals })
        }),
        None => {
            operand(body).and_then(|(claim, rest)| rest.is_empty().then_some(Action::Value(claim)))
        }
    };
    parsed.ok_or(TemplateFault::Unsupported)
}

/// The claim that an operand names, and what follows it.
fn operand(text: &str) -> Option<(String, &str)> {
    if let Some(inner) = text.strip_prefix('(') {
        let (claim, rest) = index(inner.trim_start_matches(is_space))?;
        let rest = rest.trim_start_matches(is_space).strip_prefix(')')?;
        return Some((claim, rest));
    }
    field(text).or_else(|| index(text))
}

/// `.identifier`
fn field(text: &str) -> Option<(String, &str)> {
    let name = text.strip_prefix('.')?;
    let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
    let (name, rest) = name.split_at(end);
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    begins_well.then(|| (name.to_owned(), rest))
}

/// `index . "name"`
fn index(text: &str) -> Option<(String, &str)> {
    let dot = word(text, "index")?;
    string(spaced(dot.strip_prefix('.')?)?).filter(|(name, _)| !name.is_empty())
}

/// A quoted string without escapes: Go would interpret them, so they are refused.
fn string(text: &str) -> Option<(String, &str)> {
    let (inner, rest) = text.strip_prefix('"')?.split_once('"')?;
    let plain = !inner.chars().any(|c| c.is_control() || matches!(c, '\\' | '{' | '}'));
    plain.then(|| (inner.to_owned(), rest))
}

/// What follows `expected` and at least one space.
fn word<'a>(text: &'a str, expected: &str) -> Option<&'a str> {
    spaced(text.strip_prefix(expected)?)
}

/// What follows at least one space.
fn spaced(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches(is_space);
    (rest.len() < text.len()).then_some(rest)
}

fn is_space(c: char) -> bool {
    c == ' ' || c == '\t'
}
