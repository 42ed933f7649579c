//! The possible next steps, and their effects.

use std::ops::Range;

use stateright::{Model, Property as Check};

use crate::rule::{Fault, Property, Rule};
use crate::state::{
    BOUND, IDS, Kind, Link, LoadPhase, Message, Operation, SERVERS, SESSIONS, Since, Slot, State,
    Write, WritePhase,
};

/// The protocol with at most one rule removed, and the bounds of the search.
pub(crate) struct Protocol {
    pub(crate) without: Option<Rule>,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) operations: usize,
    /// The number of browsers that make requests.
    pub(crate) browsers: usize,
    /// The maximum number of faults in one history.
    pub(crate) most_faults: u8,
}

/// One step. Servers, operations, browsers and sessions are numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Begin {
        kind: Kind,
        server: usize,
        browser: usize,
    },
    /// The store executes an operation.
    Execute {
        operation: usize,
    },
    /// The store executes a load, over a connection that does not announce the next change.
    ExecuteUntold {
        operation: usize,
    },
    /// The oldest message in the queue arrives at a server.
    Arrive {
        server: usize,
    },
    /// A load compares its ticket.
    Compare {
        operation: usize,
    },
    /// A load's answer is put into the near-cache.
    File {
        operation: usize,
    },
    /// A write is answered.
    Answer {
        operation: usize,
    },
    /// A write's answer does not reach the browser.
    LoseAnswer {
        operation: usize,
    },
    AskHeartbeat {
        server: usize,
    },
    Tick,
    Break {
        server: usize,
    },
    /// The server finds its connection broken.
    NoticeLoss {
        server: usize,
    },
    /// The server has dropped its copies, and connects again.
    Reconnect {
        server: usize,
    },
    Expire {
        session: usize,
    },
    Restore {
        session: usize,
    },
}

impl Protocol {
    pub(crate) fn keeps(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    fn may(&self, state: &State, fault: Fault) -> bool {
        state.faults > 0 && self.faults.contains(&fault)
    }

    fn begin(&self, state: &mut State, kind: Kind, server: usize, browser: usize) -> Option<()> {
        let operation =
            state.operations.iter().position(|operation| *operation == Operation::Ahead)?;
        let id = match kind {
            Kind::Revoke => self.listed(state, server, browser)?,
            _ => state.truth.cookies[browser],
        };
        match kind {
            Kind::Load | Kind::CopiedLoad => {
                self.begin_load(state, operation, server, id, kind == Kind::CopiedLoad)
            }
            Kind::RetireKey => {
                state.operations[operation] = Operation::Done;
                Self::restart(state, server)
            }
            _ => {
                let write = self.new_write(state, kind, server, browser, id)?;
                self.invalidate(state, server)?;
                state.operations[operation] = Operation::Write(write);
                Some(())
            }
        }
    }

    fn execute(&self, state: &mut State, operation: usize, told: bool) -> Option<()> {
        match state.operations[operation] {
            Operation::Load(load) => self.execute_load(state, operation, load, told),
            Operation::Write(write) => {
                let WritePhase::Begun { epoch, superseded } = write.phase else { return None };
                let phase = self.execute_write(state, operation, &write, epoch, superseded);
                state.operations[operation] = Operation::Write(Write { phase, ..write });
                Some(())
            }
            Operation::Ahead | Operation::Done => None,
        }
    }

    fn answer(&self, state: &mut State, operation: usize, arrives: bool) -> Option<()> {
        let Operation::Write(write) = state.operations[operation] else { return None };
        let WritePhase::Executed { ended, cookie, counts } = write.phase else { return None };
        let server = usize::from(write.server);
        if self.keeps(Rule::OwnWriteAfter) {
            self.invalidate(state, server)?;
        }
        state.operations[operation] = Operation::Done;
        let browser = usize::from(write.browser);
        let session = state.session_of(write.id);
        let truth = &mut state.truth;
        for (session, since) in truth.ended.iter_mut().enumerate() {
            if let Some(since) = since.as_mut().filter(|_| ended & (1 << session) != 0) {
                since.answered[server] = true;
            }
        }
        if let Some(since) = truth.counts[session].as_mut().filter(|_| counts) {
            since.answered[server] = true;
        }
        if let Some(cookie) = cookie {
            truth.cookies[browser] = cookie;
            truth.has_device[browser] &= write.kind != Kind::SignIn;
        }
        if write.kind == Kind::Register {
            truth.has_device[browser] = arrives;
        }
        Some(())
    }

    /// Checks all properties that are visible in the state itself.
    fn look(&self, state: &mut State) {
        if state.broken.is_some() {
            return;
        }
        state.broken = (0..IDS).find_map(|id| self.look_at(state, id));
        let is_idle =
            |operation: &Operation| matches!(operation, Operation::Ahead | Operation::Done);
        if state.broken.is_none()
            && state.operations.iter().all(is_idle)
            && (0..SESSIONS).any(|browser| self.is_locked_out(state, browser))
        {
            state.broken = Some(Property::LockOut);
        }
    }

    fn look_at(&self, state: &State, id: usize) -> Option<Property> {
        let Slot::Record(record) = state.store.slots[id] else {
            return (state.store.data[id] != 0).then_some(Property::Index);
        };
        let (truth, session) = (&state.truth, usize::from(state.truth.session_of[id]));
        if record.epoch != state.store.epoch && self.keeps(Rule::LoadEpoch) {
            // A restored record is no session, and the next sign-in removes it.
            return (truth.everywhere & (1 << session) == 0).then_some(Property::Index);
        }
        if truth.ended[session].is_some() {
            return Some(Property::Resurrection);
        }
        if truth.counts[session].is_some() && record.device != crate::state::Device::Counts {
            return Some(Property::Copied);
        }
        let missing = truth.committed[session] & !state.store.data[id];
        (missing != 0).then_some(Property::Fields)
    }

    fn is_locked_out(&self, state: &State, browser: usize) -> bool {
        let id = state.truth.cookies[browser];
        let session = state.session_of(id);
        state.truth.ended[session].is_none()
            && state.truth.expired[session].is_none()
            && self.judge(state, 0, id).is_none()
    }

    fn steps_of(&self, state: &State, operation: usize, steps: &mut Vec<Step>) {
        match state.operations[operation] {
            Operation::Load(load) => match load.phase {
                LoadPhase::Asking => {
                    steps.push(Step::Execute { operation });
                    if self.may(state, Fault::Untold) {
                        steps.push(Step::ExecuteUntold { operation });
                    }
                }
                LoadPhase::Arrived { .. } => steps.push(Step::Compare { operation }),
                LoadPhase::Filing { .. } => steps.push(Step::File { operation }),
                LoadPhase::Following { .. } | LoadPhase::Answered { .. } => {}
            },
            Operation::Write(Write { phase: WritePhase::Begun { .. }, .. }) => {
                steps.push(Step::Execute { operation });
            }
            Operation::Write(write) => {
                steps.push(Step::Answer { operation });
                if write.kind == Kind::Register && self.may(state, Fault::LostAnswer) {
                    steps.push(Step::LoseAnswer { operation });
                }
            }
            Operation::Ahead | Operation::Done => {}
        }
    }

    fn steps_at(&self, state: &State, server: usize, steps: &mut Vec<Step>) {
        let Some(at) = state.servers.get(server) else { return };
        match at.link {
            Link::Up => {
                if at.queue.first().is_some() {
                    steps.push(Step::Arrive { server });
                }
                if at.heartbeat.is_none() && at.lease < BOUND {
                    steps.push(Step::AskHeartbeat { server });
                }
                if self.may(state, Fault::Break) {
                    steps.push(Step::Break { server });
                }
            }
            Link::Broken => steps.push(Step::NoticeLoss { server }),
            Link::Losing => steps.push(Step::Reconnect { server }),
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::first(self.most_faults)]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if state.broken.is_some() {
            return;
        }
        let next = state.operations.iter().position(|operation| *operation == Operation::Ahead);
        if next.is_some_and(|next| next < self.operations) {
            for &kind in &self.kinds {
                let browsers = kind.browsers(self.browsers);
                for server in 0..SERVERS {
                    steps.extend(browsers.clone().map(|browser| Step::Begin {
                        kind,
                        server,
                        browser,
                    }));
                }
            }
        }
        (0..self.operations).for_each(|operation| self.steps_of(state, operation, steps));
        (0..SERVERS).for_each(|server| self.steps_at(state, server, steps));
        steps.push(Step::Tick);
        for session in 0..SESSIONS {
            if self.may(state, Fault::Expire) {
                steps.push(Step::Expire { session });
            }
            if self.may(state, Fault::Restore) {
                steps.push(Step::Restore { session });
            }
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = *state;
        let at = &mut next;
        match step {
            Step::Begin { kind, server, browser } => self.begin(at, kind, server, browser)?,
            Step::Execute { operation } => self.execute(at, operation, true)?,
            Step::ExecuteUntold { operation } => {
                at.faults -= 1;
                self.execute(at, operation, false)?;
            }
            Step::Arrive { server } => self.arrive(at, server)?,
            Step::Compare { operation } => self.compare(at, operation)?,
            Step::File { operation } => self.file(at, operation)?,
            Step::Answer { operation } => self.answer(at, operation, true)?,
            Step::LoseAnswer { operation } => {
                at.faults -= 1;
                self.answer(at, operation, false)?;
            }
            Step::AskHeartbeat { server } => {
                at.servers[server].heartbeat = Some(0);
                at.servers[server].queue.push(Message::Heartbeat);
            }
            Step::Tick => self.pass(at)?,
            Step::Break { server } => {
                at.faults -= 1;
                self.break_link(at, server);
            }
            Step::NoticeLoss { server } => self.notice_loss(at, server),
            Step::Reconnect { server } => self.reconnect(at, server)?,
            Step::Expire { session } => {
                let is_over = at.truth.ended[session].is_some();
                let expired = &mut at.truth.expired[session];
                if is_over || expired.is_some() {
                    return None;
                }
                *expired = Some(0);
                at.faults -= 1;
            }
            Step::Restore { session } => Self::restore(at, session)?,
        }
        self.look(at);
        at.settle();
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Check<Self>> {
        fn holds<const AT: usize>(_: &Protocol, state: &State) -> bool {
            state.broken != Some(Property::ALL[AT])
        }
        vec![
            Check::always(Property::ALL[0].name(), holds::<0>),
            Check::always(Property::ALL[1].name(), holds::<1>),
            Check::always(Property::ALL[2].name(), holds::<2>),
            Check::always(Property::ALL[3].name(), holds::<3>),
            Check::always(Property::ALL[4].name(), holds::<4>),
            Check::always(Property::ALL[5].name(), holds::<5>),
            Check::always(Property::ALL[6].name(), holds::<6>),
            Check::always(Property::ALL[7].name(), holds::<7>),
            Check::always(Property::ALL[8].name(), holds::<8>),
            Check::always(Property::ALL[9].name(), holds::<9>),
        ]
    }
}

impl Kind {
    pub(crate) const ALL: [Self; 14] = [
        Self::Load,
        Self::Commit,
        Self::Rotate,
        Self::SignIn,
        Self::SignOut,
        Self::Revoke,
        Self::RevokeAll,
        Self::RevokeOthers,
        Self::Register,
        Self::Prove,
        Self::CopiedLoad,
        Self::CopiedProof,
        Self::CopiedRegister,
        Self::RetireKey,
    ];

    /// The browsers that may send the request. Where both are equivalent, only the first does.
    fn browsers(self, all: usize) -> Range<usize> {
        match self {
            Self::Load
            | Self::Commit
            | Self::Rotate
            | Self::SignIn
            | Self::SignOut
            | Self::Revoke
            | Self::RevokeOthers => 0..all,
            Self::RevokeAll
            | Self::Register
            | Self::Prove
            | Self::CopiedLoad
            | Self::CopiedProof
            | Self::CopiedRegister
            | Self::RetireKey => 0..1,
        }
    }
}

impl Fault {
    pub(crate) const ALL: [Self; 5] =
        [Self::Break, Self::Untold, Self::Expire, Self::Restore, Self::LostAnswer];
}

/// Records that a session is over.
pub(crate) fn end(state: &mut State, session: usize) {
    state.truth.ended[session].get_or_insert(Since::NOW);
}
