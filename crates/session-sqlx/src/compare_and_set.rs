//! Updates without locks: a value is read, and replaced only if it is still the same.
//!
//! 1. An update depends on the value alone, so the value is its own version. A row that changed and
//!    changed back is harmless.
//! 2. Of several writers one wins each round, so all make progress. Writers in one process queue
//!    per user, because most races are between requests of one browser.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tracera_session::Timestamp;
use tracera_session::store::{StoreError, Tag, Update, Write};

/// The default time limit of an operation.
const LIMIT: Duration = Duration::from_millis(1500);
/// Expired rows are removed once per this many writes.
const SWEEP_EVERY: u32 = 16;
/// The maximum number of rows removed at once: more than are added in between, so that the table
/// stays bounded.
pub(crate) const SWEPT_AT_ONCE: i64 = 128;

/// The statements for one database, each of which is a transaction.
pub(crate) trait Table: Clone + Send + Sync + 'static {
    type Connection: Send;

    fn connection(&self) -> impl Future<Output = Result<Self::Connection, sqlx::Error>> + Send;

    fn read(
        connection: &mut Self::Connection,
        tag: &Tag,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, sqlx::Error>> + Send;

    /// Stores a value if there is none. Returns whether it did so.
    fn insert(
        connection: &mut Self::Connection,
        tag: &Tag,
        value: &[u8],
        expires: Timestamp,
    ) -> impl Future<Output = Result<bool, sqlx::Error>> + Send;

    /// Replaces a value if it is still `seen`. Returns whether it did so.
    fn replace(
        connection: &mut Self::Connection,
        tag: &Tag,
        seen: &[u8],
        value: &[u8],
        expires: Timestamp,
    ) -> impl Future<Output = Result<bool, sqlx::Error>> + Send;

    /// Removes a value if it is still `seen`. Returns whether it did so.
    fn remove(
        connection: &mut Self::Connection,
        tag: &Tag,
        seen: &[u8],
    ) -> impl Future<Output = Result<bool, sqlx::Error>> + Send;

    /// Removes up to [`SWEPT_AT_ONCE`] values that expired before `now`, except that of `tag`.
    fn sweep(
        connection: &mut Self::Connection,
        tag: &Tag,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

/// One value per tag in a table. Clones share their queues.
#[derive(Clone, Debug)]
pub(crate) struct Values<T> {
    pub(crate) table: T,
    pub(crate) limit: Duration,
    /// Indexed by the last byte of the tag, which is evenly distributed.
    queues: Arc<[Mutex<()>; 256]>,
    writes: Arc<AtomicU32>,
}

impl<T: Table> Values<T> {
    pub(crate) fn new(table: T) -> Self {
        let queues = Arc::new(std::array::from_fn(|_| Mutex::new(())));
        Self { table, limit: LIMIT, queues, writes: Arc::default() }
    }

    pub(crate) async fn read(&self, tag: &Tag) -> Result<Option<Vec<u8>>, StoreError> {
        let read = async { T::read(&mut self.table.connection().await?, tag).await };
        self.within(async { read.await.map_err(StoreError::unavailable) }).await
    }

    pub(crate) async fn update(&self, tag: &Tag, mut update: Update) -> Result<(), StoreError> {
        let now = update.now();
        let written = self.within(async {
            let _turn = self.queue(tag).lock().await;
            let mut connection = self.table.connection().await.map_err(StoreError::unavailable)?;
            loop {
                let seen = T::read(&mut connection, tag).await.map_err(StoreError::unavailable)?;
                let write = update.apply(seen.as_deref())?;
                if write == Write::Keep {
                    return Ok(false);
                }
                let written = write_over::<T>(&mut connection, tag, seen.as_deref(), &write).await;
                if written.map_err(StoreError::unavailable)? {
                    return Ok(true);
                }
            }
        });
        if written.await? && self.writes.fetch_add(1, Ordering::Relaxed).is_multiple_of(SWEEP_EVERY)
        {
            self.sweep(*tag, now);
        }
        Ok(())
    }

    /// Runs in the background. If it fails, the next sweep removes the rows.
    fn sweep(&self, tag: Tag, now: Timestamp) {
        let values = self.clone();
        tokio::spawn(async move {
            let sweep = async { T::sweep(&mut values.table.connection().await?, &tag, now).await };
            let swept = values.within(async { sweep.await.map_err(StoreError::unavailable) });
            if let Err(error) = swept.await {
                tracing::debug!(%error, "expired sessions were not removed");
            }
        });
    }

    fn queue(&self, tag: &Tag) -> &Mutex<()> {
        let last = tag.as_bytes().last().copied().unwrap_or_default();
        &self.queues[usize::from(last)]
    }

    async fn within<A>(
        &self,
        operation: impl Future<Output = Result<A, StoreError>>,
    ) -> Result<A, StoreError> {
        tokio::time::timeout(self.limit, operation).await.unwrap_or_else(|_| {
            let text = format!("no answer of the database within {:?}", self.limit);
            Err(StoreError::unavailable(text))
        })
    }
}

/// Writes if the value is still `seen`. Returns whether it did so.
async fn write_over<T: Table>(
    connection: &mut T::Connection,
    tag: &Tag,
    seen: Option<&[u8]>,
    write: &Write,
) -> Result<bool, sqlx::Error> {
    match (seen, write) {
        (_, Write::Keep) | (None, Write::Remove) => Ok(true),
        (None, Write::Put { value, expires }) => T::insert(connection, tag, value, *expires).await,
        (Some(seen), Write::Put { value, expires }) => {
            T::replace(connection, tag, seen, value, *expires).await
        }
        (Some(seen), Write::Remove) => T::remove(connection, tag, seen).await,
    }
}

/// A time as a column holds it, in milliseconds since 1970.
pub(crate) fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}
