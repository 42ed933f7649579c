//! What is said about a configuration: problems keep the server from starting, warnings do not.

use std::fmt;

/// The most characters of a value a message repeats.
const SHOWN_CHARS: usize = 40;

/// Something that keeps the server from starting. Never repeats a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    subject: String,
    wrong: Wrong,
}

impl Problem {
    pub(super) fn new(subject: &str, wrong: Wrong) -> Self {
        Self { subject: escaped(subject), wrong }
    }

    /// The variable, or the line of `.env`, that is to blame.
    pub fn subject(&self) -> &str {
        &self.subject
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}; {}", self.subject, self.wrong.what, self.wrong.remedy)
    }
}

/// What is wrong with a value, as the rest of a sentence that begins with the variable's name, and
/// what to do about it.
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

/// Something that is allowed but probably not meant. Never repeats a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    variable: &'static str,
    text: String,
}

impl Warning {
    pub(super) fn new(variable: &'static str, text: impl Into<String>) -> Self {
        Self { variable, text: text.into() }
    }

    /// The variable it is about.
    pub fn variable(&self) -> &'static str {
        self.variable
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.variable, self.text)
    }
}

/// A value that is no secret, quoted, shortened, and without characters that could forge a line.
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
