//! Decides whether the operations on one session, with at most one of its fields, have an order in
//! which all responses are right.
//!
//! The search goes through the history by time and keeps every possible state of the session (Lowe,
//! Testing for linearizability, 2017). A write is ordered only when its end, or the end of a read
//! that shows it, demands that. A read is satisfied as soon as the state is once the one that it
//! shows, between its start and its end.

use std::collections::{BTreeSet, HashSet};

/// Identifies a value of the field; 0 if absent.
pub(crate) type ValueId = u32;

/// A state of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum State {
    Ahead,
    Alive(ValueId),
    /// Confirmed if an operation that ended the session was answered with success, so that nothing
    /// may undo it.
    Dead {
        is_confirmed: bool,
    },
}

/// The effect or the observation of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// The session lives, with a value of the field if that was read.
    Lives(Option<ValueId>),
    /// The session does not live.
    LivesNot,
    Begin,
    /// Sets the field. Possible only while the session lives.
    Set(ValueId),
    /// Possible only while the session lives; does not change the field.
    Use,
    End,
    /// Operations confirmed between the two times may be lost.
    Lose {
        since: u64,
        until: u64,
    },
}

/// The loss that explains a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Lost {
    Nothing,
    Write,
    /// A confirmed end of the session, which lived on.
    End,
    /// The session was used at two primaries at the same time, in no order.
    Torn,
}

/// An operation, as far as it concerns this session and field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    /// The line of the history.
    pub(crate) line: usize,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) act: Act,
    /// Whether the operation certainly happened.
    pub(crate) certain: bool,
}

impl Step {
    /// `None` if the operation is not possible in this state.
    fn applied(&self, state: State) -> Option<State> {
        match (self.act, state) {
            (Act::Begin, State::Ahead) => Some(State::Alive(0)),
            (Act::Set(value), State::Alive(_)) => Some(State::Alive(value)),
            (Act::End, State::Ahead) | (Act::Use, State::Alive(_)) => Some(state),
            (Act::End, State::Alive(_)) => Some(State::Dead { is_confirmed: self.certain }),
            (Act::End, State::Dead { is_confirmed }) => {
                Some(State::Dead { is_confirmed: is_confirmed || self.certain })
            }
            _ => None,
        }
    }
}

impl Act {
    fn is_read(self) -> bool {
        matches!(self, Self::Lives(_) | Self::LivesNot)
    }

    fn is_loss(self) -> bool {
        matches!(self, Self::Lose { .. })
    }

    fn is_shown_by(self, state: State) -> bool {
        match (self, state) {
            (Self::Lives(None), State::Alive(_)) => true,
            (Self::Lives(Some(read)), State::Alive(value)) => read == value,
            (Self::LivesNot, state) => !matches!(state, State::Alive(_)),
            _ => false,
        }
    }
}

/// One possible course of the session so far.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Way {
    state: State,
    /// The open writes that are ordered already, by number of the step.
    done: BTreeSet<usize>,
    /// The open reads that are satisfied.
    content: BTreeSet<usize>,
    /// Earlier states, each with the latest end of the write that replaced it. Kept only if writes
    /// may be lost.
    before: Vec<(State, u64)>,
    lost: Lost,
}

/// The loss that explains the steps, or the first impossible line.
pub(crate) fn explain(steps: &[Step]) -> Result<Lost, usize> {
    let may_lose = steps.iter().any(|step| step.act.is_loss());
    let mut moments: Vec<(u64, bool, usize)> = Vec::with_capacity(2 * steps.len());
    for (number, step) in steps.iter().enumerate() {
        moments.push((step.from, false, number));
        // An operation that may never have happened stays open.
        if step.certain || step.act.is_loss() {
            moments.push((step.to, true, number));
        }
    }
    moments.sort_unstable();
    let first = Way {
        state: State::Ahead,
        done: BTreeSet::new(),
        content: BTreeSet::new(),
        before: Vec::new(),
        lost: Lost::Nothing,
    };
    let mut ways = vec![first];
    let mut open = Open { steps, reads: BTreeSet::new(), writes: BTreeSet::new(), may_lose };
    for (_, is_end, number) in moments {
        let step = &steps[number];
        if !is_end {
            if step.act.is_read() {
                open.reads.insert(number);
                for way in &mut ways {
                    if step.act.is_shown_by(way.state) {
                        way.content.insert(number);
                    }
                }
            } else {
                open.writes.insert(number);
            }
            continue;
        }
        if !step.act.is_loss() {
            ways = open.until(ways, number);
            if ways.is_empty() {
                return Err(step.line);
            }
        }
        open.reads.remove(&number);
        open.writes.remove(&number);
        for way in &mut ways {
            way.content.remove(&number);
            way.done.remove(&number);
        }
        ways = different(ways);
    }
    Ok(ways.iter().map(|way| way.lost).min().unwrap_or(Lost::Nothing))
}

/// The operations under way at one moment.
struct Open<'a> {
    steps: &'a [Step],
    reads: BTreeSet<usize>,
    writes: BTreeSet<usize>,
    may_lose: bool,
}

impl Open<'_> {
    /// All courses in which that step has been ordered or satisfied.
    fn until(&self, ways: Vec<Way>, number: usize) -> Vec<Way> {
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        let mut waiting = ways;
        while let Some(way) = waiting.pop() {
            if way.content.contains(&number) || way.done.contains(&number) {
                found.push(way);
                continue;
            }
            for write in self.to_try(&way) {
                for next in self.after(&way, write) {
                    if seen.insert(next.clone()) {
                        waiting.push(next);
                    }
                }
            }
        }
        found
    }

    /// The writes that may come next. Of several uncertain writes with the same effect, one is
    /// enough.
    fn to_try(&self, way: &Way) -> Vec<usize> {
        let mut acts = Vec::new();
        let mut found = Vec::new();
        for write in self.writes.iter().copied().filter(|write| !way.done.contains(write)) {
            let step = &self.steps[write];
            if step.certain || step.act.is_loss() || !acts.contains(&step.act) {
                found.push(write);
            }
            if !step.certain {
                acts.push(step.act);
            }
        }
        found
    }

    /// The courses after this write; none if it is not possible now.
    fn after(&self, way: &Way, write: usize) -> Vec<Way> {
        let step = &self.steps[write];
        let mut states = Vec::new();
        if let Act::Lose { since, until } = step.act {
            let is_lossy =
                |(_, (_, answered)): &(usize, &(State, u64))| (since..=until).contains(answered);
            for (at, (state, _)) in way.before.iter().enumerate().rev().take_while(is_lossy) {
                let is_end = way.state == State::Dead { is_confirmed: true };
                let lost = if is_end { Lost::End } else { Lost::Write };
                states.push((*state, way.before[..at].to_vec(), way.lost.max(lost)));
            }
        } else if let Some(state) = step.applied(way.state)
            && (step.certain || state != way.state)
        {
            let mut before = way.before.clone();
            if self.may_lose && state != way.state {
                before.push((way.state, step.to));
            }
            states.push((state, before, way.lost));
        }
        let next = |(state, before, lost)| {
            let mut next = Way { state, before, lost, ..way.clone() };
            next.done.insert(write);
            let shown = |read: &&usize| self.steps[**read].act.is_shown_by(state);
            next.content.extend(self.reads.iter().filter(shown));
            next
        };
        states.into_iter().map(next).collect()
    }
}

/// Removes duplicates. Of courses with the same future, those with less loss or more satisfied
/// reads stay.
fn different(mut ways: Vec<Way>) -> Vec<Way> {
    ways.sort_by_key(|way| (way.lost, std::cmp::Reverse(way.content.len())));
    let mut kept: Vec<Way> = Vec::new();
    for way in ways {
        let is_covered = kept.iter().any(|other| {
            other.state == way.state
                && other.done == way.done
                && other.before == way.before
                && other.lost <= way.lost
                && other.content.is_superset(&way.content)
        });
        if !is_covered {
            kept.push(way);
        }
    }
    kept
}
