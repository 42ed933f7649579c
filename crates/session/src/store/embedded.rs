//! Sessions in one local file or in memory, for a single process. redb makes it ACID.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use redb::backends::InMemoryBackend;
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition,
    WriteTransaction,
};

use self::heal::Healing;
use super::{StoreError, StoreFuture, Update, ValueStore, Write};
use crate::invalidations::Invalidations;
use crate::token::{TAG_BYTES, Tag};

mod heal;
#[cfg(test)]
mod tests;

/// One value per tag.
const VALUES: TableDefinition<&[u8; TAG_BYTES], &[u8]> = TableDefinition::new("sessions/1");
/// Index of values by expiry, for their removal.
const EXPIRY: TableDefinition<(u64, &[u8; TAG_BYTES]), ()> = TableDefinition::new("expiry/1");
/// One row, written to test whether writes succeed again.
const TRIAL: TableDefinition<(), ()> = TableDefinition::new("trial/1");
/// How many expired values an update removes: more than one, so that the file cannot grow without
/// bound.
const REMOVED_PER_UPDATE: usize = 8;

/// The file could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has the file open.
    #[error("another process is using the session file")]
    InUse,
    /// The file is damaged, of another kind, or the directory is not writable.
    #[error("cannot open the session file: {0}")]
    Unusable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Sessions in one file or in memory. Cheap to clone. Reads never wait for writes. A write to a
/// file returns when it is on disk.
///
/// When a write to a file fails, because the disk is full for instance, all writes are
/// [`StoreError::Unavailable`] until one succeeds. At most once a second, a write or a
/// [`ping`](ValueStore::ping) tries again. `ping` fails meanwhile. Reads go on as far as the file
/// can be read.
///
/// ```
/// use tracera_session::EmbeddedStore;
///
/// # fn main() -> Result<(), tracera_session::OpenError> {
/// let for_tests = EmbeddedStore::in_memory()?;
/// # if false {
/// let for_one_server = EmbeddedStore::open("/var/lib/app/sessions.redb")?;
/// # }
/// # Ok(())
/// # }
/// ```
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
            write.open_table(VALUES)?;
            write.open_table(EXPIRY)?;
            Ok(write.commit()?)
        };
        create().map_err(|error| OpenError::Unusable(error.into()))?;
        let changes = Invalidations::complete();
        Ok(Self { file: Arc::new(Healing::new(database, changes.clone(), reopen)), changes })
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

impl ValueStore for EmbeddedStore {
    fn read<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, Option<Vec<u8>>> {
        let read = |database: &Database| -> Result<Option<Vec<u8>>, redb::Error> {
            let table = database.begin_read()?.open_table(VALUES)?;
            Ok(table.get(&tag.0)?.map(|bytes| bytes.value().to_vec()))
        };
        Box::pin(async move { self.file.read(read).await })
    }

    /// The transaction is finished even if the caller's future is dropped.
    fn update<'a>(&'a self, tag: &'a Tag, mut update: Update) -> StoreFuture<'a, ()> {
        let (Self { file, changes }, tag) = (self.clone(), *tag);
        let work = move |database: &Database| -> Result<Result<(), StoreError>, redb::Error> {
            let transaction = database.begin_write()?;
            let written = write(&transaction, &tag, &mut update)?;
            if !matches!(written, Ok(true)) {
                transaction.abort()?;
                return Ok(written.map(drop));
            }
            let committed = transaction.commit();
            changes.changed(&tag);
            Ok(Ok(committed?))
        };
        Box::pin(async move {
            tokio::task::spawn_blocking(move || file.write(work))
                .await
                .map_err(StoreError::unavailable)??
        })
    }

    fn invalidations(&self) -> Option<Invalidations> {
        Some(self.changes.clone())
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            if self.file.takes_writes().await { Ok(()) } else { self.try_to_write().await }
        })
    }
}

/// Applies the update; true when there is something to commit.
fn write(
    transaction: &WriteTransaction,
    tag: &Tag,
    update: &mut Update,
) -> Result<Result<bool, StoreError>, redb::Error> {
    let mut values = transaction.open_table(VALUES)?;
    let mut expiry = transaction.open_table(EXPIRY)?;
    let (known, written) = match values.get(&tag.0)? {
        Some(bytes) => (expires(bytes.value()), update.apply(Some(bytes.value()))),
        None => (None, update.apply(None)),
    };
    match written {
        Err(error) => return Ok(Err(error)),
        Ok(Write::Keep) => return Ok(Ok(false)),
        Ok(Write::Remove) => drop(values.remove(&tag.0)?),
        Ok(Write::Put { ref value, expires }) => {
            values.insert(&tag.0, value.as_slice())?;
            expiry.insert((expires.as_millis(), &tag.0), ())?;
        }
    }
    let kept = match written {
        Ok(Write::Put { expires, .. }) => Some(expires.as_millis()),
        _ => None,
    };
    if let Some(known) = known.filter(|known| Some(*known) != kept) {
        expiry.remove((known, &tag.0))?;
    }
    let expired = expiry
        .range(..(update.now().as_millis(), &[0; TAG_BYTES]))?
        .take(REMOVED_PER_UPDATE)
        .map(|entry| entry.map(|(key, _)| (key.value().0, *key.value().1)))
        .collect::<Result<Vec<_>, _>>()?;
    // Never the tag's own value: the caller's last read of it must stay true.
    for (at, other) in expired.into_iter().filter(|(_, other)| *other != tag.0) {
        expiry.remove((at, &other))?;
        values.remove(&other)?;
    }
    Ok(Ok(true))
}

/// The expiry of a value: its first bytes.
fn expires(value: &[u8]) -> Option<u64> {
    value.first_chunk().map(|millis| u64::from_be_bytes(*millis))
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmbeddedStore")
    }
}
