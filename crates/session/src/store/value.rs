//! Stores with two methods: one value per user, read and updated as a whole.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::rules::{Creation, Field, UserValue};
use super::{
    At, Budget, Committed, Created, FieldName, FieldOp, Found, ListedSession, NewSession, Rotated,
    Rotation, SessionStore, StoreError, StoreFuture, StoredField, StoredSession,
};
use crate::clock::Timestamp;
use crate::invalidations::Invalidations;
use crate::record::{self, Epoch};
use crate::token::{SessionId, Tag, UserId};

/// Keeps one value per tag, for all sessions of one user. Implement this trait to write a store:
/// every `ValueStore` is a [`SessionStore`], with the rules supplied by this crate.
///
/// 1. A value is opaque bytes with an expiry. Keep the bytes as they are.
/// 2. [`update`](Self::update) is one atomic step: no other update of the tag comes between its
///    read and its write. A row lock does it, and so does compare-and-set in a loop.
/// 3. A caller dropped in the middle leaves all of an update or nothing.
/// 4. After an `update` has returned, every later read of any process sees it.
/// 5. An error means that the outcome is unknown or that nothing was done, never absence. Every
///    method returns within a bound that the store states.
/// 6. An expired value may be removed at any time, but not by an update of its own tag. No other
///    cleanup is needed.
///
/// A complete store in memory:
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::{Arc, Mutex};
/// use tracera_session::store::{StoreFuture, Tag, Update, ValueStore, Write};
///
/// #[derive(Clone, Default)]
/// struct MemoryStore(Arc<Mutex<HashMap<Tag, Vec<u8>>>>);
///
/// impl ValueStore for MemoryStore {
///     fn read<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, Option<Vec<u8>>> {
///         Box::pin(async { Ok(self.0.lock().unwrap().get(tag).cloned()) })
///     }
///
///     fn update<'a>(&'a self, tag: &'a Tag, mut update: Update) -> StoreFuture<'a, ()> {
///         Box::pin(async move {
///             let mut values = self.0.lock().unwrap();
///             match update.apply(values.get(tag).map(Vec::as_slice))? {
///                 Write::Keep => {}
///                 Write::Put { value, .. } => drop(values.insert(*tag, value)),
///                 Write::Remove => drop(values.remove(tag)),
///             }
///             Ok(())
///         })
///     }
/// }
///
/// # use tracera_session::{KeyRing, SessionConfig, Sessions};
/// # fn main() -> Result<(), tracera_session::KeyError> {
/// let keys = KeyRing::new(b"at least 32 bytes from a secret store")?;
/// let sessions = Sessions::new(MemoryStore::default(), keys, SessionConfig::default());
/// # Ok(())
/// # }
/// ```
///
/// `tracera_session::conformance!` of the feature `testing` makes one test of each rule.
pub trait ValueStore: Send + Sync + 'static {
    /// The value under a tag; `None` when there is none. Writes nothing.
    fn read<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, Option<Vec<u8>>>;

    /// Applies [`Update::apply`] to the value under a tag and writes the result, in one atomic
    /// step.
    fn update<'a>(&'a self, tag: &'a Tag, update: Update) -> StoreFuture<'a, ()>;

    /// The feed of changes made by any process. Default `None`: there is no feed, so nothing is
    /// cached and watches poll every second. Called only when the feed will be used.
    ///
    /// A store that is the only writer of its data uses [`Invalidations::complete`] and announces
    /// each change before the write returns. A store that receives others' changes over a
    /// connection uses [`Invalidations::with_heartbeat`] to prove that it has received them all.
    fn invalidations(&self) -> Option<Invalidations> {
        None
    }

    /// Whether the store takes reads and writes. Default: it reads.
    fn ping(&self) -> StoreFuture<'_, ()> {
        Box::pin(async { self.read(&PING).await.map(drop) })
    }

    /// The longest time an operation takes, which also bounds the attempts of
    /// [`Session::update`](crate::Session::update). Default 1.5 s.
    fn time_limit(&self) -> Duration {
        DEFAULT_TIME_LIMIT
    }
}

/// The default of [`ValueStore::time_limit`] and [`SessionStore::time_limit`].
pub(super) const DEFAULT_TIME_LIMIT: Duration = Duration::from_millis(1500);

/// The tag that a ping reads. Tags are hashes or random, so nothing is stored under it.
const PING: Tag = Tag([0; crate::token::TAG_BYTES]);

/// The change of a user's value.
pub struct Update {
    now: Timestamp,
    apply: Box<Apply>,
}

type Apply = dyn FnMut(Option<&[u8]>) -> Result<Write, StoreError> + Send;

/// The result of an [`Update`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Nothing is to be written, and no change to be announced.
    Keep,
    /// The value is to be stored.
    Put {
        /// Its bytes.
        value: Vec<u8>,
        /// The time from which it may be removed.
        expires: Timestamp,
    },
    /// The value is to be removed.
    Remove,
}

impl Update {
    /// Decides what to write, given the current value. It depends on the value alone, and may be
    /// called again when the write lost a race. The last call counts.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the bytes are no value of this crate. Write nothing then.
    pub fn apply(&mut self, value: Option<&[u8]>) -> Result<Write, StoreError> {
        (self.apply)(value)
    }

    /// The time of the update. A store may remove values that expired before it.
    pub fn now(&self) -> Timestamp {
        self.now
    }
}

impl std::fmt::Debug for Update {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Update({:?})", self.now)
    }
}

/// Reads a user's value.
async fn read<S: ValueStore + ?Sized>(store: &S, tag: &Tag) -> Result<UserValue, StoreError> {
    store.read(tag).await?.map_or(Ok(UserValue::default()), |bytes| UserValue::decode(&bytes))
}

/// Runs `act` on the user's value in one update.
async fn write<S, T>(
    store: &S,
    tag: &Tag,
    now: Timestamp,
    mut act: impl FnMut(&mut UserValue) -> T + Send + 'static,
) -> Result<T, StoreError>
where
    S: ValueStore + ?Sized,
    T: Send + 'static,
{
    let outcome = Arc::new(Mutex::new(None));
    let last = Arc::clone(&outcome);
    let apply = move |bytes: Option<&[u8]>| {
        let before = bytes.map_or(Ok(UserValue::default()), UserValue::decode)?;
        let mut value = before.clone();
        let done = act(&mut value);
        *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
        Ok(if value == before {
            Write::Keep
        } else if value.is_empty() {
            Write::Remove
        } else {
            Write::Put { expires: value.expires, value: value.encode() }
        })
    };
    store.update(tag, Update { now, apply: Box::new(apply) }).await?;
    let done = outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
    done.ok_or_else(|| StoreError::unavailable("the store did not apply the update"))
}

impl<S: ValueStore> SessionStore for S {
    fn load<'a>(
        &'a self,
        id: &'a SessionId,
        names: &'a [FieldName],
    ) -> StoreFuture<'a, Option<StoredSession>> {
        Box::pin(async move {
            let mut value = read(self, &id.tag).await?;
            let user = value
                .user()
                .map(UserId::new)
                .transpose()
                .map_err(|error| StoreError::Corrupt(error.to_string().into()))?;
            let epoch = value.epoch();
            let values =
                names.iter().map(|name| value.fields.remove(&name.under(&id.field))).collect();
            let record = value.fields.remove(&id.field[..]);
            Ok(record.map(|record| StoredSession { epoch, user, record, values }))
        })
    }

    fn invalidations(&self) -> Option<Invalidations> {
        ValueStore::invalidations(self)
    }

    fn epoch<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, Epoch> {
        Box::pin(async move { Ok(read(self, tag).await?.epoch()) })
    }

    fn create<'a>(&'a self, new: &'a NewSession<'a>, at: At) -> StoreFuture<'a, Created> {
        let session = Creation {
            field: new.id.field,
            user: new.user.cloned(),
            record: new.record.clone(),
            epoch: new.epoch,
            replaces: new.replaces,
            max_sessions: new.max_sessions,
            carry: new.carry.to_vec(),
            data: new.data.to_vec(),
        };
        Box::pin(write(self, &new.id.tag, at.now, move |value| value.create(&session, at)))
    }

    fn commit<'a>(
        &'a self,
        id: &'a SessionId,
        ops: &'a [(FieldName, FieldOp)],
        touch: Option<Duration>,
        budget: Budget,
        at: At,
    ) -> StoreFuture<'a, Committed> {
        let (field, ops) = (id.field, ops.to_vec());
        Box::pin(write(self, &id.tag, at.now, move |value| {
            value.commit(field, &ops, touch, budget, at)
        }))
    }

    fn rotate<'a>(
        &'a self,
        id: &'a SessionId,
        rotation: &'a Rotation,
        at: At,
    ) -> StoreFuture<'a, Rotated> {
        let (field, to, record) = (id.field, rotation.to, rotation.record.clone());
        Box::pin(write(self, &id.tag, at.now, move |value| {
            value.rotate(field, to, record.clone(), at)
        }))
    }

    fn destroy<'a>(&'a self, id: &'a SessionId, at: At) -> StoreFuture<'a, Found> {
        let field = id.field;
        Box::pin(write(self, &id.tag, at.now, move |value| value.destroy(field, at)))
    }

    fn abandon<'a>(&'a self, id: &'a SessionId, at: At) -> StoreFuture<'a, Found> {
        let field = id.field;
        Box::pin(write(self, &id.tag, at.now, move |value| value.abandon(field, at)))
    }

    fn list<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, (Epoch, Vec<ListedSession>)> {
        Box::pin(async move {
            let value = read(self, tag).await?;
            let epoch = value.epoch();
            let sessions = value
                .fields
                .into_iter()
                .filter(|(_, record)| !record::is_forward(record))
                .filter_map(|(field, record)| {
                    let field: Field = field.try_into().ok()?;
                    Some(ListedSession { id: SessionId { tag: *tag, field }, record })
                })
                .collect();
            Ok((epoch, sessions))
        })
    }

    fn fields<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, Vec<StoredField>> {
        Box::pin(async move {
            let all = read(self, tag).await?.fields.into_iter();
            Ok(all.filter_map(|(field, value)| StoredField::read(&field, value)).collect())
        })
    }

    fn revoke_all<'a>(
        &'a self,
        tag: &'a Tag,
        keep: Option<&'a Field>,
        remember: Duration,
        at: At,
    ) -> StoreFuture<'a, Found> {
        let keep = keep.copied();
        Box::pin(write(self, tag, at.now, move |value| value.revoke_all(keep, remember, at)))
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        ValueStore::ping(self)
    }

    fn time_limit(&self) -> Duration {
        ValueStore::time_limit(self)
    }
}
