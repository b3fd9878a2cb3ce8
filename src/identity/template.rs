//! The templates of `ci-issuer-metadata`: a small, closed subset of Go's text/template.
//!
//! In: a template's text, once, at load; then values by name. Out: pieces of text, each either
//! literal or the value of a named claim. Knows nothing of certificates.
//!
//! ```text
//! template  = claim-name                        without "{{" anywhere: the value of that claim
//!           | *( text | value | choice )
//! value     = "{{" operand "}}"
//! operand   = "." identifier | index | "(" index ")"
//! index     = "index" SP "." SP string
//! choice    = "{{" "if" SP "eq" SP operand SP string "}}" *( text | value )
//!             "{{" "else" "}}" *( text | value ) "{{" "end" "}}"
//! identifier = ( ALPHA | "_" ) *( ALPHA | DIGIT | "_" )
//! string    = DQUOTE *( any character but DQUOTE, "\", "{", "}" and controls ) DQUOTE
//! ```
//!
//! Spaces may stand inside the braces around each word. Everything else that Go knows (pipes,
//! functions, variables, trim markers, comments, nesting) is refused at load, with its position.
//! A value is copied and never looked at again: `{{` inside a claim is two braces.

mod parser;

pub use parser::{TemplateError, TemplateFault};

use super::IdentityError;

/// A template, compiled once at load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub(super) parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    /// The value of the claim of this name.
    Value(String),
    Choice {
        claim: String,
        equals: String,
        then: Vec<Part>,
        otherwise: Vec<Part>,
    },
}

/// Where values come from: claims merged over defaults.
pub(super) trait Values {
    /// The value of `name`.
    ///
    /// # Errors
    /// There is none (an absent claim is never rendered as nothing), or it has no text form.
    fn value(&self, name: &str) -> Result<String, IdentityError>;
}

/// A stretch of a rendered template.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    Text(&'a str),
    Value { claim: &'a str, value: String },
}

impl Template {
    /// Compiles a template.
    ///
    /// # Errors
    /// The text is outside the subset; says where and why.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        parser::parse(text).map(|parts| Self { parts })
    }

    /// Whether any claim stands in it; if not, it says the same of every token.
    pub fn has_values(&self) -> bool {
        self.parts.iter().any(|part| !matches!(part, Part::Text(_)))
    }

    /// Hands the rendered pieces to `sink`, in order.
    pub(super) fn render(
        &self,
        values: &dyn Values,
        sink: &mut dyn FnMut(Piece<'_>) -> Result<(), IdentityError>,
    ) -> Result<(), IdentityError> {
        render_parts(&self.parts, values, sink)
    }
}

fn render_parts(
    parts: &[Part],
    values: &dyn Values,
    sink: &mut dyn FnMut(Piece<'_>) -> Result<(), IdentityError>,
) -> Result<(), IdentityError> {
    for part in parts {
        match part {
            Part::Text(text) => sink(Piece::Text(text))?,
            Part::Value(claim) => sink(Piece::Value { claim, value: values.value(claim)? })?,
            Part::Choice { claim, equals, then, otherwise } => {
                let chosen = if values.value(claim)? == *equals { then } else { otherwise };
                render_parts(chosen, values, sink)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
