//! Splits a whole history into sessions and fields, and combines their results into a verdict.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use serde_json::Value;

use crate::STALENESS;
use crate::event::{Event, Name, Op, Outcome};
use crate::object::{Act, Lost, Step, ValueId, explain};

/// In microseconds: the time before a fault in which a confirmed write may not have been replicated
/// yet. Also the time after a fault in which a cut-off server may still answer.
const COPYING: u64 = 2_000_000;
/// Upper bound of the time servers take to find another primary, in microseconds.
const FAILOVER: u64 = 20_000_000;

/// The verdict on a history.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// The number of lines without faults.
    pub operations: usize,
    /// The number of sessions.
    pub sessions: usize,
    /// The first impossible line of each session, in the order of the lines.
    pub impossible: Vec<Impossible>,
    /// Sessions that are explainable only if a fault lost confirmed writes.
    pub lost: usize,
    /// Those of them that lived on although their end had been confirmed. An end answered as
    /// unavailable is not confirmed, even if a load in between was refused.
    pub revived: Vec<Name>,
    /// Sessions that were used at two primaries at once.
    pub torn: usize,
}

/// An impossible line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Impossible {
    /// Counted from 1.
    pub line: usize,
    pub why: String,
}

impl fmt::Display for Impossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} cannot be: {}", self.line, self.why)
    }
}

type Line<'a> = (usize, &'a Event);

/// Computes the verdict. Lines may come in any order.
#[must_use]
pub fn check(events: &[(usize, Event)]) -> Verdict {
    let index = Index::new(events);
    let mut verdict = Verdict {
        operations: events.iter().filter(|(_, event)| event.op != Op::Fault).count(),
        sessions: index.sessions.len(),
        ..Verdict::default()
    };
    for (name, own) in &index.sessions {
        match Session::new(name, own, &index).verdict() {
            Ok(lost) => {
                verdict.lost += usize::from(matches!(lost, Lost::Write | Lost::End));
                verdict.revived.extend((lost == Lost::End).then(|| (*name).clone()));
                verdict.torn += usize::from(lost == Lost::Torn);
            }
            Err(impossible) => verdict.impossible.push(impossible),
        }
    }
    verdict.impossible.sort();
    verdict
}

/// The lines of a history, indexed by what they concern.
#[derive(Default)]
struct Index<'a> {
    sessions: BTreeMap<&'a Name, Vec<Line<'a>>>,
    /// Sign-outs everywhere, by user.
    everywhere: BTreeMap<&'a Name, Vec<Line<'a>>>,
    /// Sign-ins, by browser.
    sign_ins: BTreeMap<&'a Name, Vec<Line<'a>>>,
    /// Faults that may lose writes.
    faults: Vec<&'a Event>,
}

impl<'a> Index<'a> {
    fn new(events: &'a [(usize, Event)]) -> Self {
        let mut index = Self::default();
        for (line, event) in events {
            let line = (*line, event);
            match (event.op, &event.user, &event.session) {
                (Op::Fault, ..) => index.faults.extend(Some(event).filter(|event| loses(event))),
                (Op::RevokeAll, Some(user), _) => {
                    index.everywhere.entry(user).or_default().push(line);
                }
                (_, _, Some(session)) => index.sessions.entry(session).or_default().push(line),
                _ => {}
            }
            if let (Op::SignIn, Some(client)) = (event.op, &event.client) {
                index.sign_ins.entry(client).or_default().push(line);
            }
        }
        index
    }

    /// Operations on other sessions of the same browser that affect this one. A later sign-in ends
    /// it, and requests with an earlier session's cookie still reach it.
    fn handed_over(&self, sign_in: &Event) -> Vec<Line<'a>> {
        let all = sign_in.client.as_ref().and_then(|client| self.sign_ins.get(client));
        let mut lines = Vec::new();
        for &(line, other) in all.into_iter().flatten() {
            if other.session == sign_in.session {
                continue;
            }
            if other.end >= sign_in.start {
                lines.push((line, other));
            }
            let Some(session) = other.session.as_ref().filter(|_| other.start <= sign_in.end)
            else {
                continue;
            };
            let asked = self.sessions[session].iter().filter(|(_, event)| {
                event.end >= sign_in.start
                    && matches!(event.op, Op::Commit | Op::SignOut | Op::Revoke)
            });
            lines.extend(asked);
        }
        lines
    }
}

/// One session and all lines that affect it.
struct Session<'a> {
    name: &'a Name,
    lines: Vec<Line<'a>>,
    user: Option<&'a Name>,
    faults: Vec<&'a Event>,
    /// The intervals in which its id changed, or may have changed.
    rotations: Vec<(u64, u64)>,
    values: HashMap<String, ValueId>,
}

impl<'a> Session<'a> {
    fn new(name: &'a Name, own: &[Line<'a>], index: &Index<'a>) -> Self {
        let sign_in = own.iter().find(|(_, event)| event.op == Op::SignIn);
        let user = sign_in.and_then(|(_, event)| event.user.as_ref());
        let everywhere = user.and_then(|user| index.everywhere.get(user));
        let mut lines: Vec<Line<'a>> =
            own.iter().chain(everywhere.into_iter().flatten()).copied().collect();
        if let Some((_, sign_in)) = sign_in {
            lines.extend(index.handed_over(sign_in));
        }
        lines.sort_by_key(|(line, event)| (event.end, *line));
        let rotations = own
            .iter()
            .map(|(_, event)| *event)
            .filter(|event| event.op == Op::Rotate && event.outcome != Some(Outcome::Refused));
        let until = |event: &Event| if is_certain(event) { event.end } else { u64::MAX };
        Self {
            name,
            lines,
            user,
            faults: index.faults.clone(),
            rotations: rotations.map(|event| (event.start, until(event))).collect(),
            values: HashMap::new(),
        }
    }

    /// The loss that explains the session, or the first impossible line.
    fn verdict(mut self) -> Result<Lost, Impossible> {
        let names: BTreeSet<&Name> =
            self.lines.iter().filter_map(|(_, event)| event.field.as_ref()).collect();
        let fields: Vec<Option<&Name>> =
            std::iter::once(None).chain(names.into_iter().map(Some)).collect();
        let mut lost = Lost::Nothing;
        let mut first: Option<Impossible> = self.of_another();
        for field in fields {
            match self.explain(field) {
                Ok(found) => lost = lost.max(found),
                Err(line) => {
                    let why = self.why(line, field);
                    let impossible = Impossible { line, why };
                    let end = |line: usize| {
                        self.lines.iter().find(|(at, _)| *at == line).map(|(_, event)| event.end)
                    };
                    if first.as_ref().is_none_or(|first| end(line) < end(first.line)) {
                        first = Some(impossible);
                    }
                }
            }
        }
        first.map_or(Ok(lost), Err)
    }

    fn explain(&mut self, field: Option<&Name>) -> Result<Lost, usize> {
        let steps = self.steps(field);
        match explain(&steps) {
            Err(_) if !self.faults.is_empty() => {
                self.forgive();
                let losses = self.faults.iter().map(|fault| Step {
                    line: 0,
                    from: fault.start,
                    to: fault.end.saturating_add(FAILOVER),
                    act: Act::Lose {
                        since: fault.start.saturating_sub(COPYING),
                        until: fault.end.saturating_add(COPYING),
                    },
                    certain: false,
                });
                let losses: Vec<_> = losses.collect();
                let steps = self.steps(field);
                match explain(&[steps, losses].concat()) {
                    // A lost rotation does not change the fields checked here.
                    Ok(lost) => Ok(lost.max(Lost::Write)),
                    Err(line) if self.is_between_primaries(line) => Ok(Lost::Torn),
                    Err(line) => Err(line),
                }
            }
            explained => explained,
        }
    }

    /// Whether two primaries existed at that line, or a copy may be from such a time.
    fn is_between_primaries(&self, line: usize) -> bool {
        let event = self.lines.iter().find(|(at, _)| *at == line).map(|(_, event)| *event);
        event.is_some_and(|event| {
            self.faults.iter().any(|fault| {
                leaves_two(fault)
                    && fault.start <= event.end
                    && event.start <= fault.end.saturating_add(STALENESS)
            })
        })
    }

    /// Allows that id changes around a fault were lost.
    fn forgive(&mut self) {
        for (_, until) in &mut self.rotations {
            let is_lossy = |fault: &&Event| {
                fault.start.saturating_sub(COPYING) <= *until
                    && *until <= fault.end.saturating_add(COPYING)
            };
            if self.faults.iter().any(is_lossy) {
                *until = u64::MAX;
            }
        }
    }

    fn steps(&mut self, field: Option<&Name>) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut read = BTreeSet::new();
        for (line, event) in self.lines.clone() {
            let value = if event.field.is_some() && event.field.as_ref() == field {
                Some(self.value(&event.value))
            } else {
                None
            };
            if let Some(value) = value.filter(|_| event.op == Op::Load) {
                read.insert(value);
            }
            let Some(act) = self.act(event, value) else { continue };
            let from = match act {
                Act::Lives(_) => self.oldest_shown(event),
                _ => event.start,
            };
            let certain = is_certain(event) && !self.is_of_another(event);
            steps.push(Step { line, from, to: event.end, act, certain });
        }
        // A write that may have failed and was never read changes nothing.
        steps.retain(|step| match step.act {
            Act::Set(value) => step.certain || read.contains(&value),
            Act::Use => step.certain,
            _ => true,
        });
        steps
    }

    /// The effect or the observation of the event on the session; `None` for neither.
    fn act(&self, event: &Event, value: Option<ValueId>) -> Option<Act> {
        use Outcome::{Ok, Refused, Unavailable, Unknown};
        if self.is_of_another(event) {
            return match event.op {
                _ if event.outcome == Some(Refused) => None,
                Op::Commit => value.map(Act::Set),
                _ => Some(Act::End),
            };
        }
        match (event.op, event.outcome?) {
            (Op::Load, Ok) => Some(Act::Lives(value)),
            (Op::Load, Unavailable | Unknown)
            | (Op::SignIn | Op::RevokeAll, Refused)
            | (Op::Fault, _) => None,
            (_, Refused) => (!self.is_rotating(event)).then_some(Act::LivesNot),
            (Op::SignIn, _) => Some(Act::Begin),
            (Op::Commit, _) => Some(value.map_or(Act::Use, Act::Set)),
            (Op::Rotate, _) => Some(Act::Use),
            (Op::SignOut | Op::Revoke | Op::RevokeAll, _) => Some(Act::End),
        }
    }

    /// Whether the event belongs to another session of the same browser.
    fn is_of_another(&self, event: &Event) -> bool {
        event.session.as_ref().is_some_and(|session| session != self.name)
    }

    fn is_rotating(&self, event: &Event) -> bool {
        self.rotations.iter().any(|(start, end)| *start <= event.end && event.start <= *end)
    }

    /// The oldest time whose state an accepted load may show.
    fn oldest_shown(&self, load: &Event) -> u64 {
        let own = self.lines.iter().map(|(_, event)| event).filter(|event| {
            event.op != Op::Load
                && !self.is_of_another(event)
                && event.outcome == Some(Outcome::Ok)
                && event.server.is_some()
                && event.server == load.server
                && event.end < load.start
        });
        let last = own.map(|event| event.end + 1).max().unwrap_or(0);
        last.max(load.start.saturating_sub(STALENESS))
    }

    fn value(&mut self, value: &Value) -> ValueId {
        if value.is_null() {
            return 0;
        }
        let next = ValueId::try_from(self.values.len() + 1).unwrap_or(ValueId::MAX);
        *self.values.entry(value.to_string()).or_insert(next)
    }

    /// A load that shows another user than the one who signed in.
    fn of_another(&self) -> Option<Impossible> {
        let user = self.user?;
        let (line, event) = self.lines.iter().find(|(_, event)| {
            event.op == Op::Load
                && event.outcome == Some(Outcome::Ok)
                && event.user.as_ref().is_some_and(|shown| shown != user)
        })?;
        let shown = event.user.as_ref()?;
        Some(Impossible { line: *line, why: format!("it shows {shown}, and {user} signed in") })
    }

    fn why(&self, line: usize, field: Option<&Name>) -> String {
        let Some((_, event)) = self.lines.iter().find(|(at, _)| *at == line) else {
            return "nothing explains it".to_owned();
        };
        let session = self.name;
        match (event.op, event.outcome, field) {
            (Op::Load, Some(Outcome::Ok), Some(field)) => {
                format!("{field} of session {session} was not {} then", event.value)
            }
            (Op::Load, Some(Outcome::Ok), None) => {
                format!("session {session} did not live then")
            }
            (_, Some(Outcome::Refused), _) => format!("session {session} lived then"),
            (Op::SignIn, ..) => format!("session {session} had been there before"),
            _ => format!("session {session} did not live then, or not in that order"),
        }
    }
}

fn is_certain(event: &Event) -> bool {
    matches!(event.outcome, Some(Outcome::Ok | Outcome::Refused))
}

/// Faults after which the old primary is gone.
const ENDS_ONE: [&str; 2] = ["kill", "crash"];
/// Faults after which the old primary may live beside the new one.
const LEAVES_TWO: [&str; 6] = ["freeze", "pause", "partition", "promot", "failover", "takeover"];

/// Whether a primary may have been lost before its replicas were up to date.
fn loses(event: &Event) -> bool {
    is_of(&ENDS_ONE, event) || leaves_two(event)
}

fn leaves_two(event: &Event) -> bool {
    is_of(&LEAVES_TWO, event)
}

fn is_of(kinds: &[&str], event: &Event) -> bool {
    let kind = event.kind.as_deref().unwrap_or_default();
    event.op == Op::Fault && kinds.iter().any(|word| kind.contains(word))
}
