//! How the demo speaks: numbered steps, indented details, ticks for what verified.

use std::io::Write;

use anstyle::{AnsiColor, Style};

use super::DemoError;

/// Writes the demo's lines; colours are taken out by the stream below where none are wanted.
#[derive(Debug)]
pub(super) struct Narrator<'a, W: Write + ?Sized> {
    out: &'a mut W,
    steps: usize,
}

impl<'a, W: Write + ?Sized> Narrator<'a, W> {
    pub(super) fn new(out: &'a mut W) -> Self {
        Self { out, steps: 0 }
    }

    /// A line without indentation.
    pub(super) fn title(&mut self, text: &str) -> Result<(), DemoError> {
        self.line(&format!("{BOLD}{text}{BOLD:#}"))
    }

    /// The next numbered step, after an empty line.
    pub(super) fn step(&mut self, text: &str) -> Result<(), DemoError> {
        self.steps += 1;
        let number = self.steps;
        self.line("")?;
        self.line(&format!("{STEP}{number}.{STEP:#} {BOLD}{text}{BOLD:#}"))
    }

    /// What belongs to the step.
    pub(super) fn detail(&mut self, text: &str) -> Result<(), DemoError> {
        self.line(&format!("   {text}"))
    }

    /// Something that was checked and holds.
    pub(super) fn good(&mut self, text: &str) -> Result<(), DemoError> {
        self.line(&format!("   {GOOD}ok{GOOD:#}  {text}"))
    }

    /// Lines to copy, without indentation, so that the shell takes them as they are.
    pub(super) fn verbatim(&mut self, text: &str) -> Result<(), DemoError> {
        self.line(text)
    }

    fn line(&mut self, text: &str) -> Result<(), DemoError> {
        let written = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
        written.map_err(|source| DemoError::Output { source })
    }
}

const BOLD: Style = Style::new().bold();
const STEP: Style = AnsiColor::Cyan.on_default().bold();
const GOOD: Style = AnsiColor::Green.on_default().bold();
