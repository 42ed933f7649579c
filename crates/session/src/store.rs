//! The traits to implement for a new store. Applications need none of this.
//!
//! * [`ValueStore`] is the trait to implement: two methods over one value per user.
//! * [`SessionStore`] is the trait that [`Sessions`](crate::Sessions) use. Every [`ValueStore`]
//!   implements it. [`RedisStore`](crate::RedisStore) implements it directly, because its scripts
//!   do each operation in one round trip.
//! * `tracera_session::conformance!` (feature `testing`) tests both kinds.

use std::pin::Pin;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::token::UserId;

pub use crate::invalidations::{Heartbeat, Invalidations};
pub use crate::record::Epoch;
pub use crate::token::{SessionId, Tag};

#[cfg(feature = "embedded")]
pub(crate) mod embedded;
#[cfg(feature = "redis")]
pub(crate) mod redis;
mod rules;
mod value;

pub use value::{Update, ValueStore, Write};

/// How long writes under a rotated id still reach its successor: longer than any request runs.
pub const FORWARD: Duration = Duration::from_secs(60);

/// The future that a store's methods return.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Why a store could not answer. Never means that there is no session.
///
/// ```
/// use tracera_session::store::StoreError;
///
/// fn read(file: &str) -> Result<Vec<u8>, StoreError> {
///     std::fs::read(file).map_err(StoreError::unavailable)
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It cannot be reached, did not answer in time, or refuses temporarily.
    #[error("the session store is unavailable: {0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It answered with bytes that are not session data. Nothing was changed.
    #[error("the session store holds something undecodable: {0}")]
    Corrupt(Box<str>),
}

impl StoreError {
    /// [`StoreError::Unavailable`] from its cause.
    pub fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(cause.into())
    }
}

/// A record as the store holds it, with the epoch to judge it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSession {
    /// The user's current epoch; 0 when never raised.
    pub epoch: Epoch,
    /// The user the tag belongs to; `None` for a signed-out visitor.
    pub user: Option<UserId>,
    /// The record's bytes.
    pub record: Vec<u8>,
    /// The wanted data fields, in the order asked for.
    pub values: Vec<Option<Vec<u8>>>,
}

/// One listed session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSession {
    /// The session's place in the store.
    pub id: SessionId,
    /// The record's bytes.
    pub record: Vec<u8>,
}

/// One data field of one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredField {
    /// The session's field, as in [`SessionId::field`].
    pub session: [u8; 16],
    /// Its name.
    pub name: FieldName,
    /// Its bytes.
    pub value: Vec<u8>,
}

impl StoredField {
    /// From a field of a user's hash; `None` when it is not a data field.
    pub(crate) fn read(field: &[u8], value: Vec<u8>) -> Option<Self> {
        let (session, name) = field.split_first_chunk::<16>()?;
        let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty())?;
        Some(Self { session: *session, name: FieldName(name.into()), value })
    }
}

/// The time and the idle timeout, by which every write decides whether a session is alive.
#[derive(Debug, Clone, Copy)]
pub struct At {
    /// Now.
    pub now: Timestamp,
    /// The idle timeout, if there is one.
    pub idle: Option<Duration>,
}

/// A session to create.
#[derive(Debug)]
pub struct NewSession<'a> {
    /// The session's place in the store.
    pub id: SessionId,
    /// The user; `None` for a signed-out visitor.
    pub user: Option<&'a UserId>,
    /// The record's bytes.
    pub record: Vec<u8>,
    /// The epoch read when the sign-in began; if it was raised since, the sign-in fails.
    pub epoch: Epoch,
    /// An earlier session under the same tag that this one replaces.
    pub replaces: Option<[u8; 16]>,
    /// The maximum number of live sessions under the tag, this one included. The oldest are
    /// removed.
    pub max_sessions: usize,
    /// Data fields that move over from the session replaced, if it lives and has them.
    pub carry: &'a [FieldName],
    /// Data fields that the session begins with. None of them is in `carry`.
    pub data: &'a [(FieldName, Vec<u8>)],
}

/// The outcome of a creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// The session lives.
    Created,
    /// The epoch was raised meanwhile (the user signed out everywhere); nothing was created.
    Superseded,
    /// The tag belongs to another user; nothing was created. Only a collision of SHA-256 halves
    /// does this.
    Collision,
}

/// One change of one data field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldOp {
    /// Sets the field to these bytes.
    Set(Vec<u8>),
    /// Removes the field.
    Remove,
    /// Adds to a whole number in decimal, within ±(2^53 - 1). An absent field counts as 0.
    Increment(i64),
    /// Sets the field only if it is absent.
    SetIfAbsent(Vec<u8>),
    /// Reads and removes the field.
    Take,
    /// Writes only if the field has the expected value. `None` means absent in both.
    CompareAndSet {
        /// The value the field must have.
        expected: Option<Vec<u8>>,
        /// The new value.
        new: Option<Vec<u8>>,
    },
}

/// The reply to a field operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldReply {
    /// Reply to `Set` and `Remove`.
    Done,
    /// Reply to `Increment`: the new number.
    Number(i64),
    /// Reply to `SetIfAbsent`: whether the field was absent.
    WasAbsent(bool),
    /// Reply to `Take`: the value removed.
    Taken(Option<Vec<u8>>),
    /// Reply to `CompareAndSet`: written, or the field's actual value. The other operations of the
    /// commit are written in either case.
    Compared(Result<(), Option<Vec<u8>>>),
}

/// The limits of one session's data.
///
/// ```
/// use tracera_session::{Budget, SessionConfig};
///
/// let config = SessionConfig::default().budget(Budget { fields: 8, ..Budget::default() });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// The maximum number of data fields. Default 32, at most 255.
    pub fields: u8,
    /// The maximum bytes of all data fields, names and values. Default 4096.
    pub bytes: u16,
}

impl Default for Budget {
    fn default() -> Self {
        Self { fields: 32, bytes: 4096 }
    }
}

/// The outcome of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// All changes are made.
    Done {
        /// One reply per operation.
        answers: Vec<FieldReply>,
        /// Whether the id had been rotated, so that the changes went to its successor.
        forwarded: bool,
        /// Whether a field or "last seen" differs now. If not, the store announces no change.
        changed: bool,
    },
    /// The session is dead; nothing was changed.
    Gone,
    /// The changes would exceed the budget; nothing was changed.
    OverBudget,
    /// `Increment` of something that is not a whole number, or beyond ±(2^53 - 1); nothing was
    /// changed.
    NotANumber,
}

/// A rotation: a new id for the same session.
#[derive(Debug)]
pub struct Rotation {
    /// The new field, under the same tag.
    pub to: [u8; 16],
    /// The record's new bytes; the store keeps the current deadlines, epoch and usage.
    pub record: Vec<u8>,
}

/// The outcome of a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotated {
    /// The session has the new id.
    Rotated,
    /// Another request had already rotated the id; nothing was changed. A second rotation would
    /// leave the browser with a dead id if the answers arrived in the other order.
    Before,
    /// The session is dead; nothing was changed.
    Gone,
}

/// Whether an operation found its session alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The session was alive, and the operation was done.
    Alive,
    /// The session was dead, and nothing was changed.
    Gone,
}

/// Keeps sessions. To write a store, implement [`ValueStore`] instead: it is two methods, and every
/// `ValueStore` is a `SessionStore`.
///
/// All sessions of one user live under one [`Tag`], so a store can make every operation atomic by
/// locking or scripting one key. The contract, for every implementation:
///
/// 1. Each method is one atomic step. A caller that goes away in the middle leaves either all of it
///    or nothing.
/// 2. `commit`, `rotate` and `revoke_all` with a kept session act only on a record that still
///    lives: present, of the current epoch, before its deadline. Otherwise they change nothing and
///    say `Gone`.
/// 3. A rotated or replaced id forwards writes to its successor for [`FORWARD`]; loads do not
///    follow. An abandoned id leads nowhere for the same time.
/// 4. An error means the outcome is unknown or nothing was done; it never means "no session".
/// 5. Every method returns within a bound the store states.
/// 6. Dead sessions need no sweeper: they expire with the last deadline under their tag, or are
///    removed at the user's next sign-in.
///
/// Records are opaque except for the idle timeout and the first 24 bytes (big-endian), which a
/// store reads and changes:
///
/// | at | bytes | meaning |
/// |---|---|---|
/// | 0 | 1 | version, never 0: that is the store's to mark forwards with |
/// | 1 | 6 | created, milliseconds since the Unix epoch |
/// | 7 | 4 | lifetime in seconds |
/// | 11 | 4 | last seen, seconds after creation |
/// | 15 | 6 | the user's epoch when the session was created |
/// | 21 | 1 | how many data fields the session has |
/// | 22 | 2 | how many bytes they hold, names and values |
///
/// In version 1, 8 more bytes follow, then method, client and address, each behind its length in
/// one byte. Then follow extensions: kind, length, bytes. Extension 1 (5 bytes) is the persistence
/// of the sign-in. If bit 1 of its first byte is set, the other four are the session's idle timeout
/// in seconds (0: none). It replaces the configured one.
///
/// A forward is loaded as 23 bytes: 0, its expiry (6 bytes, milliseconds since the Unix epoch) and
/// the field it leads to (16; zeros for nowhere).
///
/// The suite in `testing` checks all of this.
///
/// ```
/// use tracera_session::{KeyRing, SessionConfig, Sessions, store::SessionStore};
///
/// fn sessions(store: impl SessionStore, keys: KeyRing) -> Sessions {
///     Sessions::new(store, keys, SessionConfig::default())
/// }
/// ```
pub trait SessionStore: Send + Sync + 'static {
    /// Reads a record, its user's epoch and the data fields `names` in one round trip. Neither
    /// decides whether the session is alive, nor writes.
    fn load<'a>(
        &'a self,
        id: &'a SessionId,
        names: &'a [FieldName],
    ) -> StoreFuture<'a, Option<StoredSession>>;

    /// Like `load`, after which [`SessionStore::invalidations`] announces the next change under the
    /// tag. Default: `load`, for a store that announces all changes or none. If the store cannot
    /// watch the tag, it announces a change or a loss at once.
    fn load_watched<'a>(
        &'a self,
        id: &'a SessionId,
        names: &'a [FieldName],
    ) -> StoreFuture<'a, Option<StoredSession>> {
        self.load(id, names)
    }

    /// The feed of changes made by any process under the tags read with `load_watched` or
    /// `list_watched`. Default `None`: there is no feed, so nothing is cached and watches poll
    /// every second. Called only when the feed will be used.
    fn invalidations(&self) -> Option<Invalidations> {
        None
    }

    /// The user's epoch.
    fn epoch<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, Epoch>;

    /// Creates a session if the epoch is still the one given, and trims what is dead or too many
    /// under its tag.
    fn create<'a>(&'a self, new: &'a NewSession<'a>, at: At) -> StoreFuture<'a, Created>;

    /// Applies `changes` to a live session, all or none. With `touch`, "last seen" becomes now if
    /// it is at least that old, so concurrent requests cause one write per interval.
    fn commit<'a>(
        &'a self,
        id: &'a SessionId,
        changes: &'a [(FieldName, FieldOp)],
        touch: Option<Duration>,
        budget: Budget,
        at: At,
    ) -> StoreFuture<'a, Committed>;

    /// Moves a live session with its data to a new id.
    fn rotate<'a>(
        &'a self,
        id: &'a SessionId,
        rotation: &'a Rotation,
        at: At,
    ) -> StoreFuture<'a, Rotated>;

    /// Removes a session with its data, or its successor if it was rotated. `Gone` when there was
    /// no record.
    fn destroy<'a>(&'a self, id: &'a SessionId, at: At) -> StoreFuture<'a, Found>;

    /// Like `destroy`, for a session whose browser signs in as another user, under another tag. It
    /// leaves a forward that leads nowhere, and earlier forwards to it stay. From that forward,
    /// requests under way with the old cookie learn that the browser has a newer one. The forward
    /// counts as no session and expires after [`FORWARD`].
    fn abandon<'a>(&'a self, id: &'a SessionId, at: At) -> StoreFuture<'a, Found>;

    /// All records under a tag, dead ones included and forwards excluded, with the user's epoch.
    fn list<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, (Epoch, Vec<ListedSession>)>;

    /// Like `list`, after which [`SessionStore::invalidations`] announces the next change under the
    /// tag, as after `load_watched`.
    fn list_watched<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, (Epoch, Vec<ListedSession>)> {
        self.list(tag)
    }

    /// The data fields of all sessions under a tag, in any order. Dead sessions may be included.
    fn fields<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, Vec<StoredField>>;

    /// Raises the epoch and ends all sessions under the tag but `keep`. The raised epoch is kept
    /// for at least `remember`, so that no earlier session can come back. If `keep` is dead,
    /// nothing is changed. If it was rotated, its successor is kept, and writes under its earlier
    /// ids still reach it.
    fn revoke_all<'a>(
        &'a self,
        tag: &'a Tag,
        keep: Option<&'a [u8; 16]>,
        remember: Duration,
        at: At,
    ) -> StoreFuture<'a, Found>;

    /// Whether the store answers.
    fn ping(&self) -> StoreFuture<'_, ()>;

    /// The longest time an operation takes, which also bounds the attempts of
    /// [`Session::update`](crate::Session::update). Default 1.5 s.
    fn time_limit(&self) -> Duration {
        value::DEFAULT_TIME_LIMIT
    }
}

/// The name of a data field: 1 to 32 of `a-z`, `0-9`, `_`, `.`, `-`.
///
/// ```
/// use tracera_session::store::FieldName;
///
/// assert_eq!(FieldName::new("cart.items")?.as_str(), "cart.items");
/// assert!(FieldName::new("userId").is_err());
/// # Ok::<(), tracera_session::InvalidFieldName>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct FieldName(Box<str>);

/// The name was not 1 to 32 of `a-z`, `0-9`, `_`, `.`, `-`.
///
/// ```
/// use tracera_session::store::FieldName;
///
/// let error = FieldName::new("userId").unwrap_err();
/// assert_eq!(error.to_string(), "a field name is 1 to 32 of a-z 0-9 _ . -, not \"userId\"");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a field name is 1 to 32 of a-z 0-9 _ . -, not {0:?}")]
pub struct InvalidFieldName(Box<str>);

impl FieldName {
    /// Takes a name.
    ///
    /// # Errors
    /// [`InvalidFieldName`] when it is empty, too long or has another character.
    pub fn new(name: &str) -> Result<Self, InvalidFieldName> {
        let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"_.-".contains(&c);
        if (1..=32).contains(&name.len()) && name.bytes().all(allowed) {
            Ok(Self(name.into()))
        } else {
            Err(InvalidFieldName(name.chars().take(64).collect::<String>().into()))
        }
    }

    /// A name reserved for this crate. It has capitals, which applications cannot use.
    #[cfg(any(feature = "device-binding", feature = "testing"))]
    pub(crate) fn reserved(name: &str) -> Self {
        Self(name.into())
    }

    /// Whether the name is reserved for this crate.
    pub(crate) fn is_reserved(&self) -> bool {
        self.0.starts_with(|first: char| first.is_ascii_uppercase())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of the value in the user's hash: the session's field, then the name.
    pub(crate) fn under(&self, session: &[u8; 16]) -> Vec<u8> {
        [session, self.0.as_bytes()].concat()
    }
}
