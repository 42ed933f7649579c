//! The behaviour of a server: its near-cache, its calls under way, its feed of invalidations.

use crate::protocol::Protocol;
use crate::rule::{Property, Rule};
use crate::state::{
    BOUND, Device, IDS, Id, Link, Load, LoadPhase, Message, Operation, Queue, Refusal, Server,
    Slot, State, Ticket,
};
use crate::store::is_expired;

impl Protocol {
    pub(crate) fn begin_load(
        &self,
        state: &mut State,
        operation: usize,
        server: usize,
        id: Id,
        copied: bool,
    ) -> Option<()> {
        let session = state.session_of(id);
        // Until the binding counts, a copied cookie is as good as the original, and nothing is
        // guaranteed.
        if copied && state.truth.counts[session].is_none() {
            return None;
        }
        let load = Load {
            server: u8::try_from(server).ok()?,
            id,
            copied,
            must_refuse: must_refuse(state, server, session, copied),
            ticket: None,
            phase: LoadPhase::Asking,
            age: 0,
        };
        state.operations[operation] = Operation::Done;
        let is_of_retired_key = id == 0 && !state.servers[server].has_old_key;
        if is_of_retired_key && self.keeps(Rule::KeyInRing) {
            return Some(());
        }
        if let Some(device) = self.hit(state, server, id) {
            self.accept(state, &load, device);
            return Some(());
        }
        let at = &mut state.servers[server];
        if at.lease == 0 && at.link == Link::Up && at.copies == [None; IDS] {
            // Assumes that a heartbeat was answered right before.
            at.lease = BOUND;
        }
        let ticket = (at.lease > 0).then(Ticket::default);
        let leader = ticket.and_then(|ticket| self.under_way(state, &load, ticket));
        let phase = leader.map_or(LoadPhase::Asking, |leader| LoadPhase::Following { leader });
        state.operations[operation] = Operation::Load(Load { ticket, phase, ..load });
        Some(())
    }

    fn hit(&self, state: &State, server: usize, id: Id) -> Option<Device> {
        let at = &state.servers[server];
        let is_complete = at.lease > 0 || !self.keeps(Rule::CompleteFeed);
        let has_deadline = !is_expired(state, server, id) || !self.keeps(Rule::DeadlineOfCopies);
        at.copies[usize::from(id)].filter(|_| is_complete && has_deadline)
    }

    /// The call under way for the same session, begun in the same state of the feed.
    fn under_way(&self, state: &State, load: &Load, ticket: Ticket) -> Option<u8> {
        let leader = state.operations.iter().position(|other| {
            matches!(other, Operation::Load(other)
                if other.server == load.server
                    && other.id == load.id
                    && !matches!(other.phase, LoadPhase::Following { .. })
                    && other.ticket.is_some_and(|of| of == ticket
                        || !self.keeps(Rule::FlightCompare)))
        });
        leader.and_then(|leader| u8::try_from(leader).ok())
    }

    pub(crate) fn execute_load(
        &self,
        state: &mut State,
        operation: usize,
        load: Load,
        told: bool,
    ) -> Option<()> {
        let server = usize::from(load.server);
        if load.phase != LoadPhase::Asking || state.servers[server].link != Link::Up {
            return None;
        }
        let device = self.judge(state, server, load.id).map(|record| record.device);
        state.store.armed[server] |= told;
        let phase = LoadPhase::Answered { device, told };
        state.operations[operation] = Operation::Load(Load { phase, ..load });
        let operation = u8::try_from(operation).ok()?;
        state.servers[server].queue.push(Message::Reply { operation });
        Some(())
    }

    /// `None` while the message has to wait for an insert.
    pub(crate) fn arrive(&self, state: &mut State, server: usize) -> Option<()> {
        match state.servers[server].queue.first()? {
            Message::Changed => self.invalidate(state, server)?,
            Message::Heartbeat => {
                let at = &mut state.servers[server];
                let age = at.heartbeat.take().filter(|_| self.keeps(Rule::LeaseFromQuestion));
                at.lease = at.lease.max(BOUND - age.unwrap_or(0));
            }
            Message::Reply { operation } => self.answered(state, usize::from(operation))?,
        }
        state.servers[server].queue.pop();
        Some(())
    }

    fn answered(&self, state: &mut State, operation: usize) -> Option<()> {
        let Operation::Load(load) = state.operations[operation] else { return Some(()) };
        let LoadPhase::Answered { device, told } = load.phase else { return Some(()) };
        if !told && self.keeps(Rule::UntoldIsChange) {
            self.invalidate(state, usize::from(load.server))?;
        }
        let phase = device.map(|device| LoadPhase::Arrived { device });
        match (state.operations[operation], phase) {
            (Operation::Load(load), Some(phase)) => {
                state.operations[operation] = Operation::Load(Load { phase, ..load });
            }
            _ => land(self, state, operation, None),
        }
        Some(())
    }

    pub(crate) fn compare(&self, state: &mut State, operation: usize) -> Option<()> {
        let Operation::Load(load) = state.operations[operation] else { return None };
        let LoadPhase::Arrived { device } = load.phase else { return None };
        let is_good = load.ticket.is_some_and(|ticket| {
            !(ticket.changed && self.keeps(Rule::TicketCompare)
                || ticket.lost && self.keeps(Rule::FlushCompare))
        });
        if is_good {
            let phase = LoadPhase::Filing { device };
            state.operations[operation] = Operation::Load(Load { phase, ..load });
        } else {
            land(self, state, operation, Some(device));
        }
        Some(())
    }

    pub(crate) fn file(&self, state: &mut State, operation: usize) -> Option<()> {
        let Operation::Load(load) = state.operations[operation] else { return None };
        let LoadPhase::Filing { device } = load.phase else { return None };
        state.servers[usize::from(load.server)].copies[usize::from(load.id)] = Some(device);
        land(self, state, operation, Some(device));
        Some(())
    }

    /// Half of the bound passes. A load that waits for the store gives up before the whole bound
    /// has passed. Steps that wait for nothing take no time.
    pub(crate) fn pass(&self, state: &mut State) -> Option<()> {
        for operation in 0..state.operations.len() {
            let Operation::Load(load) = &mut state.operations[operation] else { continue };
            match load.phase {
                LoadPhase::Arrived { .. } | LoadPhase::Filing { .. } => return None,
                LoadPhase::Following { .. } => {}
                LoadPhase::Asking | LoadPhase::Answered { .. } => load.age += 1,
            }
            if load.age >= BOUND {
                land(self, state, operation, None);
            }
        }
        state.tick();
        Some(())
    }

    /// A change under the user's tag arrives. `None` while an insert holds the version.
    pub(crate) fn invalidate(&self, state: &mut State, server: usize) -> Option<()> {
        if is_filing(state, server) && self.keeps(Rule::FilingHoldsVersion) {
            return None;
        }
        if self.keeps(Rule::ChangeDrops) {
            state.servers[server].copies = [None; IDS];
        }
        for_each_ticket(state, server, |ticket| ticket.changed = true);
        Some(())
    }

    /// Messages under way are lost, and so is the store's tracking table.
    pub(crate) fn break_link(&self, state: &mut State, server: usize) {
        state.servers[server].link = Link::Broken;
        state.servers[server].queue = Queue::default();
        state.store.armed[server] = false;
        for operation in 0..state.operations.len() {
            if let Operation::Load(load) = state.operations[operation]
                && usize::from(load.server) == server
                && matches!(load.phase, LoadPhase::Answered { .. })
            {
                land(self, state, operation, None);
            }
        }
    }

    pub(crate) fn notice_loss(&self, state: &mut State, server: usize) {
        state.servers[server].heartbeat = None;
        if !self.keeps(Rule::BreakIsLoss) {
            state.servers[server].link = Link::Up;
            return;
        }
        state.servers[server].lease = 0;
        state.servers[server].link = Link::Losing;
        for_each_ticket(state, server, |ticket| ticket.lost = true);
    }

    /// `None` while an insert is under way.
    pub(crate) fn reconnect(&self, state: &mut State, server: usize) -> Option<()> {
        if is_filing(state, server) && self.keeps(Rule::LossWaits) {
            return None;
        }
        if self.keeps(Rule::LossDrops) {
            state.servers[server].copies = [None; IDS];
        }
        state.servers[server].link = Link::Up;
        Some(())
    }

    /// Restarts the server without the oldest key, if nothing is under way.
    pub(crate) fn restart(state: &mut State, server: usize) -> Option<()> {
        let is_busy = state.operations.iter().any(|operation| match operation {
            Operation::Load(load) => usize::from(load.server) == server,
            Operation::Write(write) => usize::from(write.server) == server,
            Operation::Ahead | Operation::Done => false,
        });
        if is_busy || !state.servers[server].has_old_key || state.servers[server].link != Link::Up {
            return None;
        }
        state.store.armed[server] = false;
        state.servers[server] = Server {
            link: Link::Up,
            queue: Queue::default(),
            lease: 0,
            heartbeat: None,
            copies: [None; IDS],
            has_old_key: false,
        };
        Some(())
    }

    /// The result of a request with a live session.
    fn accept(&self, state: &mut State, load: &Load, device: Device) {
        let has_device = !load.copied && state.has_device_for(load.id);
        if device == Device::Counts && !has_device && self.keeps(Rule::DeviceCookie) {
            if !load.copied && state.is_alive(load.id) {
                state.broken = Some(Property::LockOut);
            }
            return;
        }
        if load.id == 0 && !state.servers[usize::from(load.server)].has_old_key {
            state.broken = Some(Property::RetiredKey);
        }
        if let Some(refusal) = load.must_refuse {
            state.broken = Some(match refusal {
                Refusal::PastTheBound => Property::Bound,
                Refusal::OwnWrite => Property::OwnWrites,
                Refusal::Deadline => Property::Deadline,
                Refusal::Copied => Property::Copied,
            });
        }
    }
}

impl State {
    /// Whether the browser with this cookie also has a device cookie.
    fn has_device_for(&self, id: Id) -> bool {
        let holders = self.truth.cookies.iter().zip(&self.truth.has_device);
        holders.into_iter().any(|(cookie, has_device)| *cookie == id && *has_device)
    }

    fn is_alive(&self, id: Id) -> bool {
        let holds = self.truth.cookies.contains(&id);
        let session = self.session_of(id);
        holds
            && matches!(self.store.slots[usize::from(id)], Slot::Record(_))
            && self.truth.ended[session].is_none()
            && self.truth.expired[session].is_none()
    }
}

fn must_refuse(state: &State, server: usize, session: usize, copied: bool) -> Option<Refusal> {
    let truth = &state.truth;
    if let Some(ended) = truth.ended[session] {
        if ended.is_past_the_bound() {
            return Some(Refusal::PastTheBound);
        }
        if ended.answered[server] {
            return Some(Refusal::OwnWrite);
        }
    }
    if truth.expired[session].is_some_and(|age| age >= BOUND) {
        return Some(Refusal::Deadline);
    }
    let counts = truth.counts[session].filter(|_| copied)?;
    (counts.is_past_the_bound() || counts.answered[server]).then_some(Refusal::Copied)
}

/// Delivers an answer to the call's first request and to all that joined it.
fn land(protocol: &Protocol, state: &mut State, operation: usize, device: Option<Device>) {
    for at in 0..state.operations.len() {
        let Operation::Load(load) = state.operations[at] else { continue };
        let follows = matches!(load.phase, LoadPhase::Following { leader }
            if usize::from(leader) == operation);
        if at == operation || follows {
            state.operations[at] = Operation::Done;
            if let Some(device) = device {
                protocol.accept(state, &load, device);
            }
        }
    }
}

fn is_filing(state: &State, server: usize) -> bool {
    state.operations.iter().any(|operation| {
        matches!(operation, Operation::Load(load)
            if usize::from(load.server) == server
                && matches!(load.phase, LoadPhase::Filing { .. }))
    })
}

fn for_each_ticket(state: &mut State, server: usize, change: impl Fn(&mut Ticket)) {
    for operation in &mut state.operations {
        if let Operation::Load(Load { server: at, ticket: Some(ticket), .. }) = operation
            && usize::from(*at) == server
        {
            change(ticket);
        }
    }
}
