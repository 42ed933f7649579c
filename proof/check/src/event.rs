//! One line of a history.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One request with its response, or one fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The time it was sent, in microseconds of one clock.
    pub start: u64,
    /// The time of the response.
    pub end: u64,
    /// The client that sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Name>,
    /// The server that received it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Name>,
    pub op: Op,
    /// The kind of a fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Name>,
    /// The session; the name stays the same when its id changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<Name>,
    /// The value written or read, null for absent.
    #[serde(default)]
    pub value: Value,
    /// `None` for a fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// A name: a string, or a number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Name {
    Text(String),
    Number(i64),
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

/// The operation requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    SignIn,
    Load,
    Commit,
    Rotate,
    SignOut,
    Revoke,
    RevokeAll,
    Fault,
}

/// The outcome of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done. For a load: the session lives.
    Ok,
    /// Not done, because there is no such session.
    Refused,
    /// The store could not be asked.
    Unavailable,
    /// There was no response.
    Unknown,
}

/// A line is not part of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Counted from 1.
    pub line: usize,
    pub why: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} is unreadable: {}", self.line, self.why)
    }
}

/// Reads JSON lines. Skips empty lines.
///
/// # Errors
/// [`Unreadable`] for the first unreadable line.
pub fn read(text: &str) -> Result<Vec<(usize, Event)>, Unreadable> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(at, line)| read_line(at + 1, line).map(|event| (at + 1, event))).collect()
}

fn read_line(line: usize, text: &str) -> Result<Event, Unreadable> {
    let unreadable = |why: String| Unreadable { line, why };
    let event: Event = serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))?;
    let missing = match event.op {
        Op::Fault => event.kind.is_none().then_some("a fault without its kind"),
        _ if event.outcome.is_none() => Some("no outcome"),
        Op::RevokeAll => event.user.is_none().then_some("no user"),
        _ => event.session.is_none().then_some("no session"),
    };
    match missing {
        _ if event.end < event.start => Err(unreadable("it ends before it starts".to_owned())),
        // A load by a visitor without a session.
        Some("no session") if event.op == Op::Load || event.outcome != Some(Outcome::Ok) => {
            Ok(event)
        }
        Some(what) => Err(unreadable(what.to_owned())),
        None => Ok(event),
    }
}
