//! One state of the whole: the store, the servers, messages under way, and guarantees in force.
//!
//! Time is counted in ticks of half of [`MAX_STALENESS`], as ages: how long ago something was, at
//! most [`BOUND`]. So time goes on for good and the states are still finitely many.
//!
//! [`MAX_STALENESS`]: https://docs.rs/tracera-session/latest/tracera_session/constant.MAX_STALENESS.html

/// Servers.
pub(crate) const SERVERS: usize = 2;
/// Sessions, and browsers, at the beginning.
pub(crate) const SESSIONS: usize = 2;
/// The most operations of one history.
pub(crate) const OPERATIONS: usize = 3;
/// Session ids: those of the beginning, and one for each operation that makes one.
pub(crate) const IDS: usize = SESSIONS + OPERATIONS;
/// The longest time a copy is used, in ticks.
pub(crate) const BOUND: u8 = 2;
/// The most messages on their way to one server.
const QUEUE: usize = 8;

/// A session id. Each operation that makes an id makes its own.
pub(crate) type Id = u8;

/// What is kept under an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Slot {
    Nothing,
    Record(Record),
    Forward(Id),
}

/// The facts of a live session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Record {
    pub(crate) epoch: u8,
    pub(crate) device: Device,
}

/// Whose key the session is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Device {
    Unbound,
    /// A key is known; it counts from the first time the device's cookie is shown.
    Registered,
    Counts,
    /// The key of somebody who copied the cookie.
    Thief,
}

/// The hash of one user, and what the store remembers of its readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Store {
    pub(crate) epoch: u8,
    pub(crate) slots: [Slot; IDS],
    /// The data fields under an id, a bit for each.
    pub(crate) data: [u8; IDS],
    /// Whether that server is sent the next change.
    pub(crate) armed: [bool; SERVERS],
}

/// Messages under way from the store to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Message {
    Changed,
    Heartbeat,
    Reply { operation: u8 },
}

/// Messages in the order in which they arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Queue([Option<Message>; QUEUE]);

impl Queue {
    pub(crate) fn push(&mut self, message: Message) {
        let free = self.0.iter_mut().find(|place| place.is_none());
        *free.expect("no more is under way than there are operations") = Some(message);
    }

    pub(crate) fn first(&self) -> Option<Message> {
        self.0[0]
    }

    pub(crate) fn pop(&mut self) {
        self.0[0] = None;
        self.0.rotate_left(1);
    }
}

/// The connection of a server to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Link {
    Up,
    /// It broke, and the server has not noticed.
    Broken,
    /// The server has noticed: answers under way are discarded, but copies are not dropped yet.
    Losing,
}

/// A server: its connection, its feed of changes, its near-cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    pub(crate) link: Link,
    pub(crate) queue: Queue,
    /// How many ticks longer the feed of changes counts as complete.
    pub(crate) lease: u8,
    /// The age of the question whose answer is awaited.
    pub(crate) heartbeat: Option<u8>,
    /// The near-cache, by id.
    pub(crate) copies: [Option<Device>; IDS],
    /// Whether the key that signed the first session's cookie is still in the ring.
    pub(crate) has_old_key: bool,
}

impl Server {
    const QUIET: Self = Self {
        link: Link::Up,
        queue: Queue([None; QUEUE]),
        lease: 0,
        heartbeat: None,
        copies: [None; IDS],
        has_old_key: true,
    };
}

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Load,
    Commit,
    Rotate,
    SignIn,
    SignOut,
    /// One session, by its name in the list.
    Revoke,
    RevokeAll,
    /// All but the browser's own.
    RevokeOthers,
    /// The browser's registration of its key.
    Register,
    /// The first request that shows the device's cookie.
    Prove,
    /// A load by somebody who copied the session's cookie, without the device's.
    CopiedLoad,
    /// A proof over a copied cookie, by another key.
    CopiedProof,
    /// A registration over a copied cookie.
    CopiedRegister,
    /// The server starts again without the oldest key.
    RetireKey,
}

/// Why a load begun now must not be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Refusal {
    /// What it would show has been over for longer than the bound.
    PastTheBound,
    /// This very server has answered that it is over.
    OwnWrite,
    /// The deadline lies further back than clocks differ.
    Deadline,
    /// It was copied, and the binding counts.
    Copied,
}

/// An operation of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    /// Not begun.
    Ahead,
    Load(Load),
    Write(Write),
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Load {
    pub(crate) server: u8,
    pub(crate) id: Id,
    pub(crate) copied: bool,
    pub(crate) must_refuse: Option<Refusal>,
    /// What has happened since its ticket was taken. `None` when the answer is not to be kept.
    pub(crate) ticket: Option<Ticket>,
    pub(crate) phase: LoadPhase,
    /// How long it has waited.
    pub(crate) age: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Ticket {
    pub(crate) changed: bool,
    pub(crate) lost: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum LoadPhase {
    Asking,
    /// Waits for the answer of another that asks already.
    Following {
        leader: u8,
    },
    /// The store has read; `told` if the next change will be told.
    Answered {
        device: Option<Device>,
        told: bool,
    },
    /// The answer has been read from the socket.
    Arrived {
        device: Device,
    },
    /// It is to be kept: compared, and not filed yet.
    Filing {
        device: Device,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Write {
    pub(crate) kind: Kind,
    pub(crate) server: u8,
    pub(crate) browser: u8,
    /// The id it knows.
    pub(crate) id: Id,
    /// What it knows of the record. Only where a rule that is taken out makes it matter.
    pub(crate) known: Option<(Record, u8)>,
    pub(crate) phase: WritePhase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum WritePhase {
    /// The epoch a sign-in saw; all sessions ended meanwhile if `superseded`.
    Begun { epoch: u8, superseded: bool },
    /// Done by the store: which sessions it ended, the browser's new cookie, whether a binding
    /// counts by it.
    Executed { ended: u8, cookie: Option<Id>, counts: bool },
}

/// Since when something has been so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Since {
    pub(crate) age: u8,
    /// Which servers have answered so to the one who asked for it.
    pub(crate) answered: [bool; SERVERS],
}

impl Since {
    pub(crate) const NOW: Self = Self { age: 0, answered: [false; SERVERS] };

    pub(crate) fn is_past_the_bound(self) -> bool {
        self.age >= BOUND
    }

    fn tick(&mut self) {
        self.age = (self.age + 1).min(BOUND);
        if self.is_past_the_bound() {
            self.answered = [true; SERVERS];
        }
    }
}

/// What is true, whatever the servers believe. By session: the first two, and one for each
/// operation that signs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Truth {
    /// Which session an id was made for.
    pub(crate) session_of: [u8; IDS],
    pub(crate) ended: [Option<Since>; IDS],
    /// Which of them by a sign-out everywhere.
    pub(crate) everywhere: u8,
    pub(crate) expired: [Option<u8>; IDS],
    pub(crate) committed: [u8; IDS],
    pub(crate) counts: [Option<Since>; IDS],
    /// The cookie each browser holds, and whether it holds a device's beside it.
    pub(crate) cookies: [Id; SESSIONS],
    pub(crate) has_device: [bool; SESSIONS],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) servers: [Server; SERVERS],
    pub(crate) operations: [Operation; OPERATIONS],
    pub(crate) truth: Truth,
    /// How many faults may still happen.
    pub(crate) faults: u8,
    /// The property that does not hold any more.
    pub(crate) broken: Option<crate::rule::Property>,
}

impl State {
    /// Two browsers, each signed in, and servers that know nothing yet.
    pub(crate) fn first(faults: u8) -> Self {
        let mut slots = [Slot::Nothing; IDS];
        slots[..SESSIONS].fill(Slot::Record(Record { epoch: 0, device: Device::Unbound }));
        Self {
            store: Store { epoch: 0, slots, data: [0; IDS], armed: [false; SERVERS] },
            servers: [Server::QUIET; SERVERS],
            operations: [Operation::Ahead; OPERATIONS],
            truth: Truth {
                session_of: std::array::from_fn(|id| u8::try_from(id).unwrap_or(u8::MAX)),
                ended: [None; IDS],
                everywhere: 0,
                expired: [None; IDS],
                committed: [0; IDS],
                counts: [None; IDS],
                cookies: std::array::from_fn(|id| u8::try_from(id).unwrap_or(u8::MAX)),
                has_device: [false; SESSIONS],
            },
            faults,
            broken: None,
        }
    }

    pub(crate) fn session_of(&self, id: Id) -> usize {
        usize::from(self.truth.session_of[usize::from(id)])
    }

    /// Whether the server keeps nothing and asks for nothing, so that what it is told is the same
    /// to it.
    fn is_quiet(&self, server: usize) -> bool {
        let is_asking = |operation: &Operation| {
            matches!(operation,
            Operation::Load(load) if usize::from(load.server) == server)
        };
        self.servers[server].copies == [None; IDS] && !self.operations.iter().any(is_asking)
    }

    /// Makes states the same that differ only in what cannot matter any more.
    ///
    /// A quiet server may have its feed complete whenever it begins a load, and never shows older
    /// state. For it an ended session ends at once.
    pub(crate) fn settle(&mut self) {
        for server in 0..SERVERS {
            if self.is_quiet(server) {
                let has_old_key = self.servers[server].has_old_key;
                self.servers[server] = Server { has_old_key, ..Server::QUIET };
                self.store.armed[server] = false;
                let truth = &mut self.truth;
                for since in truth.ended.iter_mut().chain(&mut truth.counts).flatten() {
                    since.answered[server] = true;
                }
            }
        }
        let all_quiet = (0..SERVERS).all(|server| self.is_quiet(server));
        let truth = &mut self.truth;
        for since in truth.ended.iter_mut().chain(&mut truth.counts).flatten() {
            if all_quiet {
                since.age = BOUND;
            }
        }
        for session in 0..IDS {
            if truth.ended[session].is_some() {
                truth.expired[session] = None;
                truth.counts[session] = None;
                truth.committed[session] = 0;
            }
        }
    }

    /// Half of the bound passes.
    pub(crate) fn tick(&mut self) {
        for server in &mut self.servers {
            server.lease = server.lease.saturating_sub(1);
            server.heartbeat = server.heartbeat.map(|age| (age + 1).min(BOUND));
        }
        let truth = &mut self.truth;
        truth.ended.iter_mut().chain(&mut truth.counts).flatten().for_each(Since::tick);
        truth.expired.iter_mut().flatten().for_each(|age| *age = (*age + 1).min(BOUND));
    }
}
