//! A reference model of a session store, written plainly and independent of the code under test.

use std::collections::BTreeMap;
use std::time::Duration;

use tracera_session::Budget;
use tracera_session::store::{At, Committed, Created, FieldOp, FieldReply, Found, Rotated};

pub(crate) type Field = [u8; 16];

/// The lifetime of a forward.
const FORWARD_MILLIS: u64 = 60_000;

/// The bytes after the envelope in the records of this test: a key id, "never proved", no method,
/// client or address.
const TAIL: [u8; 11] = [1, 2, 3, 4, 255, 255, 255, 255, 0, 0, 0];

#[derive(Debug, Clone)]
struct Session {
    created: u64,
    lifetime_secs: u64,
    last_seen_secs: u64,
    epoch: u64,
    data: BTreeMap<String, Vec<u8>>,
}

/// The state of one user.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    epoch: u64,
    remembered_until: u64,
    sessions: BTreeMap<Field, Session>,
    forwards: BTreeMap<Field, (u64, Field)>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Alive,
    Dead,
}

/// A record as a sign-in at `created` writes it.
pub(crate) fn record(created: u64, lifetime: Duration, epoch: u64) -> Vec<u8> {
    encode(created, lifetime.as_secs(), 0, epoch, 0, 0)
}

fn encode(
    created: u64,
    lifetime: u64,
    last_seen: u64,
    epoch: u64,
    fields: usize,
    bytes: usize,
) -> Vec<u8> {
    let mut record = vec![1];
    record.extend(&created.to_be_bytes()[2..]);
    record.extend(&lifetime.to_be_bytes()[4..]);
    record.extend(&last_seen.to_be_bytes()[4..]);
    record.extend(&epoch.to_be_bytes()[2..]);
    record.extend(&fields.to_be_bytes()[7..]);
    record.extend(&bytes.to_be_bytes()[6..]);
    record.extend(TAIL);
    record
}

/// Whether a record read from a store is that of a live session.
pub(crate) fn judge(record: &[u8], epoch: u64, at: At) -> Verdict {
    if record.len() != 35 || record[0] != 1 {
        return Verdict::Dead;
    }
    let number = |from: usize, to: usize| {
        record[from..to].iter().fold(0, |n, byte| n << 8 | u64::from(*byte))
    };
    let session = Session {
        created: number(1, 7),
        lifetime_secs: number(7, 11),
        last_seen_secs: number(11, 15),
        epoch: number(15, 21),
        data: BTreeMap::new(),
    };
    if session.is_alive(epoch, at) { Verdict::Alive } else { Verdict::Dead }
}

impl Session {
    fn is_alive(&self, epoch: u64, at: At) -> bool {
        let now = at.now.as_millis();
        let idle = at.idle.map(|idle| u64::try_from(idle.as_millis()).unwrap());
        self.epoch == epoch
            && now < self.created + self.lifetime_secs * 1000
            && idle.is_none_or(|idle| now < self.created + self.last_seen_secs * 1000 + idle)
    }

    fn bytes(&self) -> usize {
        self.data.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    fn encode(&self) -> Vec<u8> {
        let Self { created, lifetime_secs, last_seen_secs, epoch, data } = self;
        encode(*created, *lifetime_secs, *last_seen_secs, *epoch, data.len(), self.bytes())
    }

    fn change(&mut self, name: &str, change: &FieldOp) -> Option<FieldReply> {
        let old = self.data.get(name).cloned();
        let (new, answer) = match change {
            FieldOp::Set(value) => (Some(value.clone()), FieldReply::Done),
            FieldOp::Remove => (None, FieldReply::Done),
            FieldOp::Take => (None, FieldReply::Taken(old)),
            FieldOp::SetIfAbsent(value) => {
                let absent = old.is_none();
                (Some(old.unwrap_or_else(|| value.clone())), FieldReply::WasAbsent(absent))
            }
            FieldOp::CompareAndSet { expected, new } if old == *expected => {
                (new.clone(), FieldReply::Compared(Ok(())))
            }
            FieldOp::CompareAndSet { .. } => (old.clone(), FieldReply::Compared(Err(old))),
            FieldOp::Increment(by) => {
                let old =
                    old.map_or(Some(0), |old| String::from_utf8(old).ok()?.parse::<i128>().ok())?;
                let sum = old + i128::from(*by);
                if [old, i128::from(*by), sum].iter().any(|number| number.abs() >= 1 << 53) {
                    return None;
                }
                (
                    Some(sum.to_string().into_bytes()),
                    FieldReply::Number(i64::try_from(sum).unwrap()),
                )
            }
        };
        match new {
            Some(new) => self.data.insert(name.to_owned(), new),
            None => self.data.remove(name),
        };
        Some(answer)
    }
}

impl Model {
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Clears the user if the store has forgotten it, which it may when nothing is left to
    /// remember.
    pub(crate) fn forget_if(&mut self, forgotten: bool, at: At) {
        let nothing_left = self.alive(at).is_empty() && at.now.as_millis() >= self.remembered_until;
        if forgotten && self.epoch > 0 && nothing_left {
            *self = Self::default();
        }
    }

    /// The live sessions, as the store should hold them.
    pub(crate) fn alive(&self, at: At) -> Vec<(Field, Vec<u8>)> {
        let alive = self.sessions.iter().filter(|(_, session)| session.is_alive(self.epoch, at));
        alive.map(|(field, session)| (*field, session.encode())).collect()
    }

    /// The data of a live session under exactly this id.
    pub(crate) fn values(
        &self,
        field: &Field,
        names: &[&str],
        at: At,
    ) -> Option<Vec<Option<Vec<u8>>>> {
        let session =
            self.sessions.get(field).filter(|session| session.is_alive(self.epoch, at))?;
        Some(names.iter().map(|name| session.data.get(*name).cloned()).collect())
    }

    pub(crate) fn create(
        &mut self,
        field: Field,
        epoch: u64,
        replaces: Option<Field>,
        most: usize,
        lifetime: Duration,
        at: At,
    ) -> Created {
        if epoch != self.epoch {
            return Created::Superseded;
        }
        let now = at.now.as_millis();
        if let Some(old) = replaces.and_then(|old| self.live(old, at)) {
            self.sessions.remove(&old);
            self.forwards.insert(old, (now + FORWARD_MILLIS, field));
        }
        self.sessions.retain(|_, session| session.is_alive(epoch, at));
        while self.sessions.len() >= most {
            let oldest = self.sessions.iter().min_by_key(|(_, session)| session.created);
            let oldest = *oldest.expect("there are as many as the most, which is at least one").0;
            self.sessions.remove(&oldest);
        }
        let lifetime_secs = lifetime.as_secs();
        let new = Session {
            created: now,
            lifetime_secs,
            last_seen_secs: 0,
            epoch,
            data: BTreeMap::new(),
        };
        self.sessions.insert(field, new);
        Created::Created
    }

    pub(crate) fn commit(
        &mut self,
        field: Field,
        changes: &[(&str, FieldOp)],
        touch: Option<Duration>,
        budget: Budget,
        at: At,
    ) -> Committed {
        let Some(alive) = self.live(field, at) else { return Committed::Gone };
        let before = &self.sessions[&alive];
        let mut after = before.clone();
        let mut answers = Vec::new();
        for (name, change) in changes {
            let Some(answer) = after.change(name, change) else { return Committed::NotANumber };
            answers.push(answer);
        }
        let too_many = after.data.len() > usize::from(budget.fields);
        let too_long = after.bytes() > usize::from(budget.bytes);
        let grown = after.data.len() > before.data.len() || after.bytes() > before.bytes();
        if grown && (too_many || too_long) {
            return Committed::OverBudget;
        }
        if let Some(interval) = touch {
            let seen = (at.now.as_millis() - after.created) / 1000;
            if seen >= after.last_seen_secs + interval.as_secs() {
                after.last_seen_secs = seen;
            }
        }
        let is_changed = after.data != before.data || after.last_seen_secs != before.last_seen_secs;
        self.sessions.insert(alive, after);
        Committed::Done { answers, forwarded: alive != field, changed: is_changed }
    }

    pub(crate) fn rotate(&mut self, field: Field, to: Field, at: At) -> Rotated {
        match self.live(field, at) {
            None => Rotated::Gone,
            Some(alive) if alive != field => Rotated::Before,
            Some(_) => {
                let session = self.sessions.remove(&field).expect("it is alive");
                self.sessions.insert(to, session);
                self.forwards.insert(field, (at.now.as_millis() + FORWARD_MILLIS, to));
                Rotated::Rotated
            }
        }
    }

    /// `None` where a store may answer either way: the record is dead, and may be removed or not.
    pub(crate) fn destroy(&mut self, field: Field, at: At) -> Option<Found> {
        let current = self.current(field, at);
        let session = self.sessions.remove(&current);
        match session {
            None => Some(Found::Gone),
            Some(session) => session.is_alive(self.epoch, at).then_some(Found::Alive),
        }
    }

    /// Like `destroy`, but leaves a forward that leads nowhere.
    pub(crate) fn abandon(&mut self, field: Field, at: At) -> Option<Found> {
        let current = self.current(field, at);
        let found = self.destroy(field, at);
        if found != Some(Found::Gone) {
            self.forwards.insert(current, (at.now.as_millis() + FORWARD_MILLIS, [0; 16]));
        }
        found
    }

    pub(crate) fn revoke_all(&mut self, keep: Option<Field>, remember: Duration, at: At) -> Found {
        let kept = match keep {
            Some(keep) => match self.live(keep, at) {
                Some(kept) => self.sessions.remove_entry(&kept),
                None => return Found::Gone,
            },
            None => None,
        };
        let now = at.now.as_millis();
        self.epoch = (self.epoch + 1).max(now);
        self.remembered_until = now + u64::try_from(remember.as_millis()).unwrap();
        self.sessions.clear();
        if let Some((field, session)) = kept {
            self.sessions.insert(field, Session { epoch: self.epoch, ..session });
        }
        Found::Alive
    }

    /// The current id: `field` itself, or its successor after a recent rotation.
    fn current(&self, mut field: Field, at: At) -> Field {
        while let Some((until, to)) = self.forwards.get(&field) {
            if at.now.as_millis() >= *until {
                break;
            }
            field = *to;
        }
        field
    }

    fn live(&self, field: Field, at: At) -> Option<Field> {
        let current = self.current(field, at);
        self.sessions
            .get(&current)
            .filter(|session| session.is_alive(self.epoch, at))
            .map(|_| current)
    }
}
