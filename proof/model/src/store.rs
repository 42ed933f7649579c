//! The behaviour of the store: each write is one step, like its scripts.

use crate::protocol::{Protocol, end};
use crate::rule::{Property, Rule};
use crate::state::{
    Device, IDS, Id, Kind, Link, Message, Operation, Record, SESSIONS, Slot, State, Write,
    WritePhase,
};

/// The lag of each server's clock, in ticks.
const BEHIND: [u8; 2] = [0, 1];
/// The time of each server's clock, where the time itself is recorded.
const CLOCKS: [u8; 2] = [3, 1];

impl Protocol {
    /// The session's record as a load finds it, if the session is alive.
    pub(crate) fn judge(&self, state: &State, server: usize, id: Id) -> Option<Record> {
        let Slot::Record(record) = state.store.slots[usize::from(id)] else { return None };
        let is_of_epoch = record.epoch == state.store.epoch || !self.keeps(Rule::LoadEpoch);
        (is_of_epoch && !is_expired(state, server, id)).then_some(record)
    }

    /// The id of a user's live session in the list.
    pub(crate) fn listed(&self, state: &State, server: usize, session: usize) -> Option<Id> {
        (0..IDS)
            .map(|id| u8::try_from(id).unwrap_or(u8::MAX))
            .find(|id| state.session_of(*id) == session && self.judge(state, server, *id).is_some())
    }

    /// The state of a write when its request begins. `None` where the request would not get that
    /// far.
    pub(crate) fn new_write(
        &self,
        state: &State,
        kind: Kind,
        server: usize,
        browser: usize,
        id: Id,
    ) -> Option<Write> {
        let record = self.judge(state, server, id);
        match kind {
            Kind::Commit | Kind::Rotate | Kind::RevokeOthers | Kind::Register => {
                record?;
            }
            Kind::Prove => {
                record.filter(|_| state.truth.has_device[browser])?;
            }
            Kind::CopiedProof => {
                record.filter(|record| record.device != Device::Unbound)?;
            }
            Kind::CopiedRegister if self.keeps(Rule::OfferAtSignIn) => return None,
            _ if state.store.slots[usize::from(id)] == Slot::Nothing && kind != Kind::SignIn => {
                return None;
            }
            _ => {}
        }
        let is_written_back = matches!(
            self.without,
            Some(
                Rule::CommitExists
                    | Rule::RotateExists
                    | Rule::KeepExists
                    | Rule::FieldWise
                    | Rule::RotateKeepsKey
            )
        );
        Some(Write {
            kind,
            server: u8::try_from(server).ok()?,
            browser: u8::try_from(browser).ok()?,
            id,
            known: record
                .filter(|_| is_written_back)
                .map(|record| (record, state.store.data[usize::from(id)])),
            phase: WritePhase::Begun {
                epoch: if kind == Kind::SignIn { state.store.epoch } else { 0 },
                superseded: false,
            },
        })
    }

    pub(crate) fn execute_write(
        &self,
        state: &mut State,
        operation: usize,
        write: &Write,
        epoch: u8,
        superseded: bool,
    ) -> WritePhase {
        let (before, ended_before) = (state.store, state.truth.ended);
        let mut cookie = None;
        let mut counts = false;
        match write.kind {
            Kind::Commit => self.commit(state, operation, write),
            Kind::Rotate => cookie = self.rotate(state, operation, write),
            Kind::SignIn => cookie = self.create(state, operation, write, epoch, superseded),
            Kind::SignOut | Kind::Revoke => self.destroy(state, write),
            Kind::RevokeAll => self.revoke_all(state, write, None),
            Kind::RevokeOthers => self.revoke_all(state, write, Some(write.id)),
            Kind::Register => self.register(state, write),
            Kind::Prove => counts = Self::prove(state, write),
            Kind::CopiedProof => self.refute(state, write),
            Kind::CopiedRegister => Self::register_copied(state, write),
            Kind::Load | Kind::CopiedLoad | Kind::RetireKey => {}
        }
        if state.store != before {
            tell(state);
        }
        let ended = (0..IDS)
            .filter(|session| ended_before[*session] != state.truth.ended[*session])
            .fold(0, |ended, session| ended | 1 << session);
        WritePhase::Executed { ended, cookie, counts }
    }

    /// The current id: `id` itself or its successor.
    fn current(state: &State, mut id: Id) -> Id {
        for _ in 0..IDS {
            match state.store.slots[usize::from(id)] {
                Slot::Forward(to) => id = to,
                _ => return id,
            }
        }
        id
    }

    /// Like `current`, but `None` unless the session is alive.
    fn live(state: &State, write: &Write) -> Option<(Id, Record)> {
        let id = Self::current(state, write.id);
        let Slot::Record(record) = state.store.slots[usize::from(id)] else { return None };
        let is_alive =
            record.epoch == state.store.epoch && !is_expired(state, usize::from(write.server), id);
        is_alive.then_some((id, record))
    }

    fn drop_session(&self, state: &mut State, id: Id) {
        state.store.slots[usize::from(id)] = Slot::Nothing;
        if self.keeps(Rule::DropData) {
            state.store.data[usize::from(id)] = 0;
        }
    }

    fn commit(&self, state: &mut State, operation: usize, write: &Write) {
        let field = 1 << operation;
        let found = Self::live(state, write)
            .filter(|(at, _)| *at == write.id || self.keeps(Rule::CommitFollows));
        match (found, write.known) {
            (Some((at, _)), known) => {
                let data = &mut state.store.data[usize::from(at)];
                *data = match known {
                    Some((_, known)) if !self.keeps(Rule::FieldWise) => known | field,
                    _ => *data | field,
                };
                let session = state.session_of(at);
                state.truth.committed[session] |= field;
            }
            (None, Some((record, data))) if !self.keeps(Rule::CommitExists) => {
                state.store.slots[usize::from(write.id)] = Slot::Record(record);
                state.store.data[usize::from(write.id)] = data | field;
            }
            (None, _) => {
                let session = state.session_of(write.id);
                if state.truth.ended[session].is_none() && state.truth.expired[session].is_none() {
                    state.broken = Some(Property::Fields);
                }
            }
        }
    }

    fn rotate(&self, state: &mut State, operation: usize, write: &Write) -> Option<Id> {
        let (at, mut record) = match (Self::live(state, write), write.known) {
            (Some((at, _)), _) if at != write.id && self.keeps(Rule::RotateOnce) => return None,
            (Some((at, record)), Some((known, _))) if !self.keeps(Rule::RotateKeepsKey) => {
                (at, Record { device: known.device, ..record })
            }
            (Some(found), _) => found,
            (None, Some((known, _))) if !self.keeps(Rule::RotateExists) => (write.id, known),
            (None, _) => return None,
        };
        if !self.keeps(Rule::RotateExists) {
            record.epoch = state.store.epoch;
        }
        let to = new_id(operation);
        let data = std::mem::take(&mut state.store.data[usize::from(at)]);
        state.store.slots[usize::from(to)] = Slot::Record(record);
        state.store.data[usize::from(to)] =
            if self.keeps(Rule::RotateMovesData) { data } else { 0 };
        state.store.slots[usize::from(at)] = Slot::Forward(to);
        state.truth.session_of[usize::from(to)] = state.truth.session_of[usize::from(at)];
        Some(to)
    }

    fn create(
        &self,
        state: &mut State,
        operation: usize,
        write: &Write,
        epoch: u8,
        superseded: bool,
    ) -> Option<Id> {
        if state.store.epoch != epoch && self.keeps(Rule::CreateEpoch) {
            return None;
        }
        let id = new_id(operation);
        if let Some((old, _)) = Self::live(state, write) {
            if self.keeps(Rule::SignInReplaces) {
                self.drop_session(state, old);
                state.store.slots[usize::from(old)] = Slot::Forward(id);
            }
            let session = state.session_of(old);
            end(state, session);
        }
        self.trim(state, usize::from(write.server));
        state.store.slots[usize::from(id)] =
            Slot::Record(Record { epoch, device: Device::Unbound });
        if superseded && epoch == state.store.epoch {
            state.broken = Some(Property::Resurrection);
        }
        Some(id)
    }

    /// Removes dead sessions.
    fn trim(&self, state: &mut State, server: usize) {
        for id in 0..IDS {
            let Slot::Record(record) = state.store.slots[id] else { continue };
            let id = u8::try_from(id).unwrap_or(u8::MAX);
            if record.epoch != state.store.epoch || is_expired(state, server, id) {
                self.drop_session(state, id);
            }
        }
    }

    fn destroy(&self, state: &mut State, write: &Write) {
        let promised = state.session_of(write.id);
        end(state, promised);
        let at = if self.keeps(Rule::DestroyFollows) {
            Self::current(state, write.id)
        } else {
            write.id
        };
        self.remove(state, at);
    }

    /// Removes a record, and the forwards to it.
    fn remove(&self, state: &mut State, at: Id) {
        if !matches!(state.store.slots[usize::from(at)], Slot::Record(_)) {
            return;
        }
        let session = state.session_of(at);
        end(state, session);
        self.drop_session(state, at);
        for slot in &mut state.store.slots {
            if *slot == Slot::Forward(at) {
                *slot = Slot::Nothing;
            }
        }
    }

    fn revoke_all(&self, state: &mut State, write: &Write, keep: Option<Id>) {
        let kept = match keep.map(|_| (Self::live(state, write), write.known)) {
            None => None,
            Some((Some(found), _)) => Some(found),
            Some((None, Some((known, _)))) if !self.keeps(Rule::KeepExists) => {
                Some((write.id, known))
            }
            Some(_) => return,
        };
        let last = state.store.epoch;
        let clock = CLOCKS[usize::from(write.server)];
        if self.keeps(Rule::RaiseEpoch) {
            let above = if self.keeps(Rule::EpochAboveLast) { last + 1 } else { 0 };
            state.store.epoch = above.max(clock);
        }
        if state.store.epoch < last {
            state.broken = Some(Property::Epoch);
        }
        let stays = |id: usize, state: &State| {
            kept.is_some_and(|(kept, _)| {
                Self::current(state, u8::try_from(id).unwrap_or(u8::MAX)) == kept
            })
        };
        let gone: Vec<usize> = (0..IDS).filter(|id| !stays(*id, state)).collect();
        for id in gone {
            if let Slot::Record(_) = state.store.slots[id] {
                let session = usize::from(state.truth.session_of[id]);
                end(state, session);
                state.truth.everywhere |= 1 << session;
            }
            state.store.slots[id] = Slot::Nothing;
            state.store.data[id] = 0;
        }
        if let Some((kept, record)) = kept {
            let epoch = state.store.epoch;
            state.store.slots[usize::from(kept)] = Slot::Record(Record { epoch, ..record });
        }
        for other in &mut state.operations {
            if let Operation::Write(Write {
                kind: Kind::SignIn,
                phase: WritePhase::Begun { superseded, .. },
                ..
            }) = other
            {
                *superseded = true;
            }
        }
    }

    fn register(&self, state: &mut State, write: &Write) {
        if let Some((at, record)) = Self::live(state, write)
            && record.device == Device::Unbound
        {
            let device =
                if self.keeps(Rule::CountsFromUse) { Device::Registered } else { Device::Counts };
            state.store.slots[usize::from(at)] = Slot::Record(Record { device, ..record });
        }
    }

    fn prove(state: &mut State, write: &Write) -> bool {
        match Self::live(state, write) {
            Some((at, record)) if record.device == Device::Registered => {
                let bound = Record { device: Device::Counts, ..record };
                state.store.slots[usize::from(at)] = Slot::Record(bound);
                let session = state.session_of(at);
                state.truth.counts[session] = Some(crate::state::Since::NOW);
                true
            }
            _ => false,
        }
    }

    /// A proof by another key: the cookie was copied.
    fn refute(&self, state: &mut State, write: &Write) {
        if let Some((at, record)) = Self::live(state, write)
            && record.device != Device::Unbound
        {
            let session = state.session_of(at);
            end(state, session);
            if self.keeps(Rule::OtherKeyEnds) {
                self.remove(state, at);
            }
        }
    }

    fn register_copied(state: &mut State, write: &Write) {
        if let Some((at, record)) = Self::live(state, write)
            && record.device == Device::Unbound
        {
            let bound = Record { device: Device::Thief, ..record };
            state.store.slots[usize::from(at)] = Slot::Record(bound);
            state.broken = Some(Property::Copied);
        }
    }

    pub(crate) fn restore(state: &mut State, session: usize) -> Option<()> {
        let was_ended = state.truth.everywhere & (1 << session) != 0;
        if !was_ended || state.store.slots[session] != Slot::Nothing {
            return None;
        }
        state.faults -= 1;
        state.store.slots[session] = Slot::Record(Record { epoch: 0, device: Device::Unbound });
        tell(state);
        Some(())
    }
}

/// Whether that server's clock has passed the session's deadline.
pub(crate) fn is_expired(state: &State, server: usize, id: Id) -> bool {
    state.truth.expired[state.session_of(id)].is_some_and(|age| age >= BEHIND[server])
}

/// Sends an invalidation to every tracked reader, once.
fn tell(state: &mut State) {
    for (server, armed) in state.servers.iter_mut().zip(&mut state.store.armed) {
        if std::mem::take(armed) && server.link == Link::Up {
            server.queue.push(Message::Changed);
        }
    }
}

fn new_id(operation: usize) -> Id {
    u8::try_from(SESSIONS + operation).unwrap_or(u8::MAX)
}
