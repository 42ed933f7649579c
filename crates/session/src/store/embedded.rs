//! Sessions in one local file or in memory, for a single process. ACID by redb; the same steps as
//! the Redis scripts.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use redb::backends::InMemoryBackend;
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition,
};

use self::hash::UserHash;
use self::heal::Healing;
use super::{
    At, Budget, Committed, Created, FieldName, FieldOp, Found, ListedSession, NewSession, Rotated,
    Rotation, SessionStore, StoreError, StoreFuture, StoredSession,
};
use crate::clock::Timestamp;
use crate::invalidations::Invalidations;
use crate::record::{self, Epoch};
use crate::token::{SessionId, TAG_BYTES, Tag, UserId};

mod hash;
mod heal;
#[cfg(test)]
mod tests;

/// Everything of one user under the tag, as [`UserHash`] encodes it.
const HASHES: TableDefinition<&[u8; TAG_BYTES], &[u8]> = TableDefinition::new("sessions/1");
/// When a hash's last deadline passes, for removing it then.
const EXPIRY: TableDefinition<(u64, &[u8; TAG_BYTES]), ()> = TableDefinition::new("expiry/1");
/// One row, written to see whether writes succeed again.
const TRIAL: TableDefinition<(), ()> = TableDefinition::new("trial/1");
/// How many dead hashes a sign-in clears away: more than one, so the file cannot grow without end.
const PURGED_PER_CREATE: usize = 8;

/// The file could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it open.
    #[error("another process is using the session file")]
    InUse,
    /// The file is damaged, of another kind, or the directory is not writable.
    #[error("cannot open the session file: {0}")]
    Unusable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Sessions in one file or in memory. Cheap to clone. Reads never wait for writes; a write to a
/// file returns when it is on disk, as fast as the disk is.
///
/// When a write to a file fails, because the disk is full for instance, all are
/// [`StoreError::Unavailable`] until one succeeds. That is tried once a second at most, by whoever
/// writes and by [`ping`](SessionStore::ping), which fails meanwhile. Reads go on as far as the
/// file can be read.
#[derive(Clone)]
pub struct EmbeddedStore {
    file: Arc<Healing>,
    changes: Invalidations,
}

impl EmbeddedStore {
    /// Opens the file, creating it if there is none.
    ///
    /// # Errors
    /// [`OpenError`] when another process has it open or it is not usable.
    pub fn open(file: impl AsRef<Path>) -> Result<Self, OpenError> {
        let file = file.as_ref().to_owned();
        Database::create(&file)
            .map_err(|error| match error {
                DatabaseError::DatabaseAlreadyOpen => OpenError::InUse,
                other => OpenError::Unusable(other.into()),
            })
            .and_then(|database| Self::over(database, move || Database::open(&file)))
    }

    /// A store that forgets everything when the process ends.
    ///
    /// # Errors
    /// [`OpenError::Unusable`] when memory is short.
    pub fn in_memory() -> Result<Self, OpenError> {
        Database::builder()
            .create_with_backend(InMemoryBackend::new())
            .map_err(|error| OpenError::Unusable(error.into()))
            .and_then(|database| Self::over(database, || Err(StorageError::PreviousIo.into())))
    }

    fn over(
        database: Database,
        reopen: impl Fn() -> Result<Database, DatabaseError> + Send + Sync + 'static,
    ) -> Result<Self, OpenError> {
        let create = || -> Result<(), redb::Error> {
            let write = database.begin_write()?;
            write.open_table(HASHES)?;
            write.open_table(EXPIRY)?;
            Ok(write.commit()?)
        };
        create().map_err(|error| OpenError::Unusable(error.into()))?;
        let changes = Invalidations::complete();
        Ok(Self { file: Arc::new(Healing::new(database, changes.clone(), reopen)), changes })
    }

    async fn read(&self, tag: &Tag) -> Result<UserHash, StoreError> {
        let read = |database: &Database| -> Result<Option<UserHash>, redb::Error> {
            let table = database.begin_read()?.open_table(HASHES)?;
            Ok(table.get(&tag.0)?.map(|bytes| UserHash::decode(bytes.value())))
        };
        Ok(self.file.read(read).await?.unwrap_or_default())
    }

    /// Runs `act` on the user's hash in one transaction, which is finished even if the caller goes
    /// away.
    async fn write<T: Send + 'static>(
        &self,
        tag: Tag,
        purge_at: Option<Timestamp>,
        act: impl FnOnce(&mut UserHash) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let Self { file, changes } = self.clone();
        let work = move |database: &Database| -> Result<T, redb::Error> {
            let transaction = database.begin_write()?;
            let outcome = {
                let mut hashes = transaction.open_table(HASHES)?;
                let mut expiry = transaction.open_table(EXPIRY)?;
                if let Some(now) = purge_at {
                    let dead = expiry
                        .range(..(now.as_millis(), &[0; TAG_BYTES]))?
                        .take(PURGED_PER_CREATE)
                        .map(|entry| entry.map(|(key, _)| (key.value().0, *key.value().1)))
                        .collect::<Result<Vec<_>, _>>()?;
                    // Not the caller's own: the epoch it has just read there must still be there.
                    for (at, dead_tag) in
                        dead.into_iter().filter(|(_, dead_tag)| *dead_tag != tag.0)
                    {
                        expiry.remove((at, &dead_tag))?;
                        hashes.remove(&dead_tag)?;
                    }
                }
                let before = hashes
                    .get(&tag.0)?
                    .map(|bytes| UserHash::decode(bytes.value()))
                    .unwrap_or_default();
                let mut hash = before.clone();
                let outcome = act(&mut hash);
                if hash != before {
                    expiry.remove((before.expires.as_millis(), &tag.0))?;
                    if hash.is_empty() {
                        hashes.remove(&tag.0)?;
                    } else {
                        expiry.insert((hash.expires.as_millis(), &tag.0), ())?;
                        hashes.insert(&tag.0, hash.encode().as_slice())?;
                    }
                }
                outcome
            };
            let committed = transaction.commit();
            changes.changed(&tag);
            committed?;
            Ok(outcome)
        };
        tokio::task::spawn_blocking(move || file.write(work))
            .await
            .map_err(StoreError::unavailable)?
    }

    async fn try_to_write(&self) -> Result<(), StoreError> {
        let file = self.file.clone();
        let work = |database: &Database| -> Result<(), redb::Error> {
            let transaction = database.begin_write()?;
            transaction.open_table(TRIAL)?.insert((), ())?;
            Ok(transaction.commit()?)
        };
        tokio::task::spawn_blocking(move || file.write(work))
            .await
            .map_err(StoreError::unavailable)?
    }
}

impl SessionStore for EmbeddedStore {
    fn load<'a>(
        &'a self,
        id: &'a SessionId,
        names: &'a [FieldName],
    ) -> StoreFuture<'a, Option<StoredSession>> {
        Box::pin(async move {
            let hash = self.read(&id.tag).await?;
            let Some(record) = hash.fields.get(&id.field[..]) else { return Ok(None) };
            Ok(Some(StoredSession {
                epoch: hash.epoch(),
                user: hash
                    .user()
                    .map(UserId::new)
                    .transpose()
                    .map_err(|error| StoreError::Corrupt(error.to_string().into()))?,
                record: record.clone(),
                values: names
                    .iter()
                    .map(|name| hash.fields.get(&name.under(&id.field)).cloned())
                    .collect(),
            }))
        })
    }

    fn invalidations(&self) -> Option<Invalidations> {
        Some(self.changes.clone())
    }

    fn epoch<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, Epoch> {
        Box::pin(async move { Ok(self.read(tag).await?.epoch()) })
    }

    fn create<'a>(&'a self, new: &'a NewSession<'a>, at: At) -> StoreFuture<'a, Created> {
        let session = hash::Creation {
            field: new.id.field,
            user: new.user.cloned(),
            record: new.record.clone(),
            epoch: new.epoch,
            replaces: new.replaces,
            max_sessions: new.max_sessions,
        };
        Box::pin(self.write(new.id.tag, Some(at.now), move |hash| hash.create(session, at)))
    }

    fn commit<'a>(
        &'a self,
        id: &'a SessionId,
        changes: &'a [(FieldName, FieldOp)],
        touch: Option<Duration>,
        budget: Budget,
        at: At,
    ) -> StoreFuture<'a, Committed> {
        let (field, changes) = (id.field, changes.to_vec());
        Box::pin(
            self.write(id.tag, None, move |hash| hash.commit(field, &changes, touch, budget, at)),
        )
    }

    fn rotate<'a>(
        &'a self,
        id: &'a SessionId,
        rotation: &'a Rotation,
        at: At,
    ) -> StoreFuture<'a, Rotated> {
        let (field, to, record) = (id.field, rotation.to, rotation.record.clone());
        Box::pin(self.write(id.tag, None, move |hash| hash.rotate(field, to, record, at)))
    }

    fn destroy<'a>(&'a self, id: &'a SessionId, at: At) -> StoreFuture<'a, Found> {
        let field = id.field;
        Box::pin(self.write(id.tag, None, move |hash| hash.destroy(field, at)))
    }

    fn abandon<'a>(&'a self, id: &'a SessionId, at: At) -> StoreFuture<'a, Found> {
        let field = id.field;
        Box::pin(self.write(id.tag, None, move |hash| hash.abandon(field, at)))
    }

    fn list<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, (Epoch, Vec<ListedSession>)> {
        Box::pin(async move {
            let hash = self.read(tag).await?;
            let epoch = hash.epoch();
            let sessions = hash
                .fields
                .into_iter()
                .filter(|(_, record)| !record::is_forward(record))
                .filter_map(|(field, record)| {
                    let field = field.try_into().ok()?;
                    Some(ListedSession { id: SessionId { tag: *tag, field }, record })
                })
                .collect();
            Ok((epoch, sessions))
        })
    }

    fn revoke_all<'a>(
        &'a self,
        tag: &'a Tag,
        keep: Option<&'a [u8; 16]>,
        remember: Duration,
        at: At,
    ) -> StoreFuture<'a, Found> {
        let keep = keep.copied();
        Box::pin(self.write(*tag, None, move |hash| hash.revoke_all(keep, remember, at)))
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            if self.file.takes_writes().await { Ok(()) } else { self.try_to_write().await }
        })
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmbeddedStore")
    }
}
