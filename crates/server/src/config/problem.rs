//! Findings about a configuration: problems prevent the start, warnings do not.

use std::fmt;

/// Maximum number of a value's characters in a message.
const SHOWN_CHARS: usize = 40;

/// A reason why the server does not start. It contains no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    subject: String,
    wrong: Wrong,
}

impl Problem {
    pub(super) fn new(subject: &str, wrong: Wrong) -> Self {
        Self { subject: escaped(subject), wrong }
    }

    /// The variable, or the line of `.env`, with the problem.
    pub fn subject(&self) -> &str {
        &self.subject
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}; {}", self.subject, self.wrong.what, self.wrong.remedy)
    }
}

/// What is wrong with a value, to follow the variable's name in a sentence, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    what: String,
    remedy: String,
}

impl Wrong {
    pub(super) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}

/// A setting that is allowed but probably unintended. It contains no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    variable: &'static str,
    text: String,
}

impl Warning {
    pub(super) fn new(variable: &'static str, text: impl Into<String>) -> Self {
        Self { variable, text: text.into() }
    }

    /// The variable that it concerns.
    pub fn variable(&self) -> &'static str {
        self.variable
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.variable, self.text)
    }
}

/// Quotes a value that is not secret. Shortens it, and escapes characters that could forge a line.
pub(super) fn quoted(value: &str) -> String {
    format!("\"{}\"", escaped(value))
}

pub(super) fn escaped(value: &str) -> String {
    let mut shown: String = value.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    if value.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}
