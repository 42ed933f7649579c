//! The guarantees, and the rules of the code that keep them.

use crate::state::Kind;

/// The invariants of every state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Property {
    Bound,
    OwnWrites,
    Deadline,
    Resurrection,
    Epoch,
    Index,
    Fields,
    LockOut,
    Copied,
    RetiredKey,
}

impl Property {
    pub(crate) const ALL: [Self; 10] = [
        Self::Bound,
        Self::OwnWrites,
        Self::Deadline,
        Self::Resurrection,
        Self::Epoch,
        Self::Index,
        Self::Fields,
        Self::LockOut,
        Self::Copied,
        Self::RetiredKey,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bound => "no stale accept past the bound",
            Self::OwnWrites => "a server sees its own writes at once",
            Self::Deadline => "no accept past the deadline",
            Self::Resurrection => "no resurrection",
            Self::Epoch => "the epoch only rises",
            Self::Index => "the index equals the live sessions",
            Self::Fields => "no lost field",
            Self::LockOut => "no browser is locked out",
            Self::Copied => "a copied cookie opens nothing",
            Self::RetiredKey => "a retired key opens nothing",
        }
    }
}

/// The faults of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// A connection breaks, unnoticed at first.
    Break,
    /// A read is answered over a connection that does not announce the next change.
    Untold,
    /// A session's deadline passes; the second server's clock is one tick behind.
    Expire,
    /// A record that a sign-out everywhere ended comes back, as from a backup.
    Restore,
    /// An answer to the browser is lost.
    LostAnswer,
}

/// A rule of the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Rule {
    TicketCompare,
    FlushCompare,
    FilingHoldsVersion,
    LossWaits,
    LossDrops,
    BreakIsLoss,
    ChangeDrops,
    CompleteFeed,
    LeaseFromQuestion,
    UntoldIsChange,
    OwnWriteAfter,
    FlightCompare,
    DeadlineOfCopies,
    CommitExists,
    RotateExists,
    KeepExists,
    DestroyFollows,
    SignInReplaces,
    RaiseEpoch,
    CreateEpoch,
    LoadEpoch,
    EpochAboveLast,
    CommitFollows,
    FieldWise,
    RotateMovesData,
    DropData,
    RotateOnce,
    KeyInRing,
    CountsFromUse,
    DeviceCookie,
    OtherKeyEnds,
    OfferAtSignIn,
    RotateKeepsKey,
}

/// The facts about a rule.
pub(crate) struct Facts {
    pub(crate) rule: Rule,
    pub(crate) name: &'static str,
    /// The code that keeps the rule.
    pub(crate) code: Code,
    /// The property that fails without it.
    pub(crate) property: Property,
    /// The operations and faults that are enough to show the failure.
    pub(crate) kinds: &'static [Kind],
    pub(crate) faults: &'static [Fault],
}

/// The place of a rule in the code.
pub(crate) struct Code {
    pub(crate) function: &'static str,
    /// The file in `crates/session/src`.
    pub(crate) file: &'static str,
    /// A line of the function.
    #[cfg_attr(not(test), expect(dead_code, reason = "a test looks for it in the file"))]
    pub(crate) line: &'static str,
}

const fn code(function: &'static str, file: &'static str, line: &'static str) -> Code {
    Code { function, file, line }
}

const LOAD_AND_END: &[Kind] = &[Kind::Load, Kind::SignOut];
const COMMIT_LUA: &str = "store/redis/commit.lua";
const ROTATE_LUA: &str = "store/redis/rotate.lua";
const CREATE_LUA: &str = "store/redis/create.lua";
const DESTROY_LUA: &str = "store/redis/destroy.lua";
const REVOKE_ALL_LUA: &str = "store/redis/revoke_all.lua";
const PRELUDE_LUA: &str = "store/redis/prelude.lua";

/// All rules, in the order in which they are removed.
pub(crate) const RULES: &[Facts] = &[
    Facts {
        rule: Rule::TicketCompare,
        name: "the version is compared before an answer is filed",
        code: code("Miss::keep", "cache.rs", "if *ticket == cache.ticket_at(*version) {"),
        property: Property::Bound,
        kinds: LOAD_AND_END,
        faults: &[],
    },
    Facts {
        rule: Rule::FlushCompare,
        name: "losses are compared before an answer is filed",
        code: code("SessionCache::ticket_at", "cache.rs", "Ticket { version, flushes:"),
        property: Property::Bound,
        kinds: LOAD_AND_END,
        faults: &[Fault::Break],
    },
    Facts {
        rule: Rule::FilingHoldsVersion,
        name: "a change waits for what is being filed",
        code: code("SessionCache::invalidate", "cache.rs", "let mut version = self.version(tag);"),
        property: Property::Bound,
        kinds: LOAD_AND_END,
        faults: &[],
    },
    Facts {
        rule: Rule::LossWaits,
        name: "a loss waits for what is being filed",
        code: code("SessionCache::lost", "cache.rs", "self.versions.iter().for_each("),
        property: Property::Bound,
        kinds: LOAD_AND_END,
        faults: &[Fault::Break],
    },
    Facts {
        rule: Rule::LossDrops,
        name: "a loss drops all copies",
        code: code("SessionCache::lost", "cache.rs", "self.entries.clear();"),
        property: Property::Bound,
        kinds: LOAD_AND_END,
        faults: &[Fault::Break],
    },
    Facts {
        rule: Rule::BreakIsLoss,
        name: "a new connection counts as a loss",
        code: code("Tracking::disconnected", "store/redis/tracking.rs", "feed.changes.lost();"),
        property: Property::Bound,
        kinds: LOAD_AND_END,
        faults: &[Fault::Break],
    },
    Facts {
        rule: Rule::ChangeDrops,
        name: "a change takes the user's copies out",
        code: code("SessionCache::invalidate", "cache.rs", "self.entries.remove(&all)"),
        property: Property::Bound,
        kinds: LOAD_AND_END,
        faults: &[],
    },
    Facts {
        rule: Rule::CompleteFeed,
        name: "a hit needs a complete feed",
        code: code("SessionCache::find", "cache.rs", "if !self.changes.is_complete() {"),
        property: Property::Bound,
        kinds: LOAD_AND_END,
        faults: &[],
    },
    Facts {
        rule: Rule::LeaseFromQuestion,
        name: "a heartbeat counts from its question",
        code: code(
            "Heartbeat::answered",
            "invalidations.rs",
            "since_start(*asked + MAX_STALENESS)",
        ),
        property: Property::Bound,
        kinds: LOAD_AND_END,
        faults: &[],
    },
    Facts {
        rule: Rule::UntoldIsChange,
        name: "a read whose next change is not told counts as changed",
        code: code("RedisStore::read_watched", "store/redis.rs", "tracking().changed(&key);"),
        property: Property::Bound,
        kinds: LOAD_AND_END,
        faults: &[Fault::Untold],
    },
    Facts {
        rule: Rule::OwnWriteAfter,
        name: "an own write counts again when it is done",
        code: code("Writing::drop", "cache/invalidating_store.rs", "impl Drop for Writing<'_> {"),
        property: Property::OwnWrites,
        kinds: LOAD_AND_END,
        faults: &[],
    },
    Facts {
        rule: Rule::FlightCompare,
        name: "nobody joins a question from before a change",
        code: code("SingleFlight::join", "cache/single_flight.rs", "call.ticket == ticket"),
        property: Property::OwnWrites,
        kinds: LOAD_AND_END,
        faults: &[],
    },
    Facts {
        rule: Rule::DeadlineOfCopies,
        name: "a hit needs a deadline ahead",
        code: code("SessionCache::find", "cache.rs", "now < entry.until"),
        property: Property::Deadline,
        kinds: &[Kind::Load],
        faults: &[Fault::Expire],
    },
    Facts {
        rule: Rule::CommitExists,
        name: "a commit begins with whether the session lives",
        code: code("commit.lua", COMMIT_LUA, "local id, record = live(ARGV[3])"),
        property: Property::Resurrection,
        kinds: &[Kind::Commit, Kind::SignOut],
        faults: &[],
    },
    Facts {
        rule: Rule::RotateExists,
        name: "a rotation begins with whether the session lives",
        code: code("rotate.lua", ROTATE_LUA, "local id, record = live(ARGV[3])"),
        property: Property::Resurrection,
        kinds: &[Kind::Rotate, Kind::SignOut],
        faults: &[],
    },
    Facts {
        rule: Rule::KeepExists,
        name: "a sign-out elsewhere begins with whether the kept session lives",
        code: code("revoke_all.lua", REVOKE_ALL_LUA, "keep, record = live(ARGV[3])"),
        property: Property::Resurrection,
        kinds: &[Kind::RevokeOthers, Kind::SignOut],
        faults: &[],
    },
    Facts {
        rule: Rule::DestroyFollows,
        name: "a sign-out follows a rotation",
        code: code("destroy.lua", DESTROY_LUA, "local id, record = current(ARGV[3])"),
        property: Property::Resurrection,
        kinds: &[Kind::Rotate, Kind::SignOut],
        faults: &[],
    },
    Facts {
        rule: Rule::SignInReplaces,
        name: "a sign-in ends the session it replaces",
        code: code("create.lua", CREATE_LUA, "drop(old, replaced)"),
        property: Property::Resurrection,
        kinds: &[Kind::SignIn],
        faults: &[],
    },
    Facts {
        rule: Rule::RaiseEpoch,
        name: "a sign-out everywhere raises the epoch",
        code: code("revoke_all.lua", REVOKE_ALL_LUA, "redis.call('HSET', key, 'e'"),
        property: Property::Resurrection,
        kinds: &[Kind::SignIn, Kind::RevokeAll],
        faults: &[],
    },
    Facts {
        rule: Rule::CreateEpoch,
        name: "a sign-in compares the epoch it saw",
        code: code("create.lua", CREATE_LUA, "if e ~= tonumber(ARGV[6]) then return 0 end"),
        property: Property::Index,
        kinds: &[Kind::SignIn, Kind::RevokeAll],
        faults: &[],
    },
    Facts {
        rule: Rule::LoadEpoch,
        name: "a load compares the epoch",
        code: code("Inner::judge", "inner.rs", "snapshot.epoch() != stored.epoch"),
        property: Property::Resurrection,
        kinds: &[Kind::RevokeAll],
        faults: &[Fault::Restore],
    },
    Facts {
        rule: Rule::EpochAboveLast,
        name: "a new epoch lies above the last, whatever the clock",
        code: code("revoke_all.lua", REVOKE_ALL_LUA, "math.max(epoch() + 1, now)"),
        property: Property::Epoch,
        kinds: &[Kind::RevokeAll],
        faults: &[],
    },
    Facts {
        rule: Rule::CommitFollows,
        name: "a commit follows a rotation",
        code: code("current", PRELUDE_LUA, "id = string.sub(found, 8, 23)"),
        property: Property::Fields,
        kinds: &[Kind::Commit, Kind::Rotate],
        faults: &[],
    },
    Facts {
        rule: Rule::FieldWise,
        name: "a commit writes only what it changes",
        code: code("commit.lua", COMMIT_LUA, "for name, value in pairs(values) do"),
        property: Property::Fields,
        kinds: &[Kind::Commit],
        faults: &[],
    },
    Facts {
        rule: Rule::RotateMovesData,
        name: "a rotation takes the data along",
        code: code("rotate.lua", ROTATE_LUA, "ARGV[4] .. string.sub(field, 17)"),
        property: Property::Fields,
        kinds: &[Kind::Commit, Kind::Rotate],
        faults: &[],
    },
    Facts {
        rule: Rule::DropData,
        name: "the data goes with its record",
        code: code("drop_data", PRELUDE_LUA, "local function drop_data(id, record)"),
        property: Property::Index,
        kinds: &[Kind::Commit, Kind::SignOut],
        faults: &[],
    },
    Facts {
        rule: Rule::RotateOnce,
        name: "an id is rotated once",
        code: code("rotate.lua", ROTATE_LUA, "if id ~= ARGV[3] then return 2 end"),
        property: Property::LockOut,
        kinds: &[Kind::Rotate],
        faults: &[],
    },
    Facts {
        rule: Rule::KeyInRing,
        name: "a cookie names a key of the ring",
        code: code("token::open", "token.rs", "pub(crate) fn open("),
        property: Property::RetiredKey,
        kinds: &[Kind::Load, Kind::RetireKey],
        faults: &[],
    },
    Facts {
        rule: Rule::CountsFromUse,
        name: "a binding counts from the first use of the device's cookie",
        code: code(
            "device::routes::register",
            "device/routes.rs",
            "Bound { id, counts_from: None }",
        ),
        property: Property::LockOut,
        kinds: &[Kind::Load, Kind::Register],
        faults: &[Fault::LostAnswer],
    },
    Facts {
        rule: Rule::DeviceCookie,
        name: "a bound session needs the device's cookie",
        code: code("device::standing", "device.rs", "pub(crate) fn standing("),
        property: Property::Copied,
        kinds: &[Kind::Register, Kind::Prove, Kind::CopiedLoad],
        faults: &[],
    },
    Facts {
        rule: Rule::OtherKeyEnds,
        name: "a proof by another key ends the session",
        code: code("device::routes::refresh", "device/routes.rs", "session.sign_out().await?;"),
        property: Property::Resurrection,
        kinds: &[Kind::Register, Kind::CopiedProof],
        faults: &[],
    },
    Facts {
        rule: Rule::OfferAtSignIn,
        name: "a registration is offered only with the sign-in",
        code: code(
            "device::routes::register",
            "device/routes.rs",
            "purpose: Purpose::Registration",
        ),
        property: Property::Copied,
        kinds: &[Kind::CopiedRegister],
        faults: &[],
    },
    Facts {
        rule: Rule::RotateKeepsKey,
        name: "a rotation keeps the key as it stands",
        code: code("rotate.lua", ROTATE_LUA, "ARGV[4] .. string.sub(field, 17)"),
        property: Property::Copied,
        kinds: &[Kind::Register, Kind::Prove, Kind::Rotate],
        faults: &[],
    },
];
