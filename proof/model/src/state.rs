//! One state of the model: the store, the servers, messages under way, and guarantees in force.
//!
//! Time is counted in ticks of half of [`MAX_STALENESS`], as ages of at most [`BOUND`]. So time
//! never ends, and the number of states is finite.
//!
//! [`MAX_STALENESS`]: https://docs.rs/tracera-session/latest/tracera_session/constant.MAX_STALENESS.html

/// The number of servers.
pub(crate) const SERVERS: usize = 2;
/// The number of sessions, and of browsers, at the beginning.
pub(crate) const SESSIONS: usize = 2;
/// The maximum number of operations in one history.
pub(crate) const OPERATIONS: usize = 3;
/// The number of session ids: the initial ones, and one for each operation that makes one.
pub(crate) const IDS: usize = SESSIONS + OPERATIONS;
/// The longest time a copy is used, in ticks.
pub(crate) const BOUND: u8 = 2;
/// The maximum number of messages on their way to one server.
const QUEUE: usize = 8;

/// A session id. Each operation that makes an id makes another one.
pub(crate) type Id = u8;

/// The value under an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Slot {
    Nothing,
    Record(Record),
    Forward(Id),
}

/// The fields of a live session's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Record {
    pub(crate) epoch: u8,
    pub(crate) device: Device,
}

/// The device binding of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Device {
    Unbound,
    /// A key is registered. It counts from the first request with the device cookie.
    Registered,
    Counts,
    /// The key of an attacker who copied the cookie.
    Thief,
}

/// The hash of one user, and the store's tracking table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Store {
    pub(crate) epoch: u8,
    pub(crate) slots: [Slot; IDS],
    /// The data fields under an id, one bit for each.
    pub(crate) data: [u8; IDS],
    /// Whether each server will be sent the next change.
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
    /// The connection broke, and the server has not noticed.
    Broken,
    /// The server has noticed: answers under way are discarded, but copies are not dropped yet.
    Losing,
}

/// A server: its connection, its feed of changes, its near-cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    pub(crate) link: Link,
    pub(crate) queue: Queue,
    /// The ticks for which the feed of changes still counts as complete.
    pub(crate) lease: u8,
    /// The age of the heartbeat whose answer is awaited.
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

/// The kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Load,
    Commit,
    Rotate,
    SignIn,
    SignOut,
    /// Ends one session by its handle in the list.
    Revoke,
    RevokeAll,
    /// Ends all sessions but the browser's own.
    RevokeOthers,
    /// Registers the browser's key.
    Register,
    /// The first request with the device cookie.
    Prove,
    /// A load with a copied session cookie, without the device cookie.
    CopiedLoad,
    /// A proof over a copied cookie, by another key.
    CopiedProof,
    /// A registration over a copied cookie.
    CopiedRegister,
    /// Restarts the server without the oldest key.
    RetireKey,
}

/// The reason why a load that begins now must not be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Refusal {
    /// The session's end is further back than the bound.
    PastTheBound,
    /// This server itself has answered that the session is over.
    OwnWrite,
    /// The deadline is further back than clocks differ.
    Deadline,
    /// The cookie was copied, and the binding counts.
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
    /// The events since the ticket was taken. `None` if the answer must not be kept.
    pub(crate) ticket: Option<Ticket>,
    pub(crate) phase: LoadPhase,
    /// The time that the load has waited, in ticks.
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
    /// Waits for the answer to another load of the same session.
    Following {
        leader: u8,
    },
    /// The store has read the record. `told` if it will announce the next change.
    Answered {
        device: Option<Device>,
        told: bool,
    },
    /// The answer has been read from the socket.
    Arrived {
        device: Device,
    },
    /// The ticket is compared; the answer will be inserted.
    Filing {
        device: Device,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Write {
    pub(crate) kind: Kind,
    pub(crate) server: u8,
    pub(crate) browser: u8,
    /// The id in the request.
    pub(crate) id: Id,
    /// The record that the request loaded. Used only where a removed rule makes it matter.
    pub(crate) known: Option<(Record, u8)>,
    pub(crate) phase: WritePhase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum WritePhase {
    /// The epoch that a sign-in read. `superseded` if all sessions ended meanwhile.
    Begun { epoch: u8, superseded: bool },
    /// Executed by the store: the sessions ended, the browser's new cookie, whether a binding now
    /// counts.
    Executed { ended: u8, cookie: Option<Id>, counts: bool },
}

/// The time since a fact became true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Since {
    pub(crate) age: u8,
    /// The servers that have reported the fact to the request that caused it.
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

/// The true state, whatever the servers believe. Indexed by session: the first two, and one for
/// each operation that signs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Truth {
    /// The session of each id.
    pub(crate) session_of: [u8; IDS],
    pub(crate) ended: [Option<Since>; IDS],
    /// The sessions ended by a sign-out everywhere, one bit for each.
    pub(crate) everywhere: u8,
    pub(crate) expired: [Option<u8>; IDS],
    pub(crate) committed: [u8; IDS],
    pub(crate) counts: [Option<Since>; IDS],
    /// The session cookie of each browser, and whether it has a device cookie too.
    pub(crate) cookies: [Id; SESSIONS],
    pub(crate) has_device: [bool; SESSIONS],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) servers: [Server; SERVERS],
    pub(crate) operations: [Operation; OPERATIONS],
    pub(crate) truth: Truth,
    /// The number of faults that may still happen.
    pub(crate) faults: u8,
    /// The property that has failed.
    pub(crate) broken: Option<crate::rule::Property>,
}

impl State {
    /// Two browsers, both signed in, and servers with empty near-caches.
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

    /// Whether the server has no copies and no loads, so that messages to it have no effect.
    fn is_quiet(&self, server: usize) -> bool {
        let is_asking = |operation: &Operation| {
            matches!(operation,
            Operation::Load(load) if usize::from(load.server) == server)
        };
        self.servers[server].copies == [None; IDS] && !self.operations.iter().any(is_asking)
    }

    /// Merges states that differ only in facts without any further effect.
    ///
    /// A quiet server's feed may be complete whenever a load begins, and the server never shows
    /// older state. For it an ended session ends at once.
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
