//! Sessions in a `SQLite` file.

use std::fmt;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Executor, Sqlite, SqlitePool};
use tracera_session::Timestamp;
use tracera_session::store::{StoreFuture, Tag, Update, ValueStore};

use crate::compare_and_set::{SWEPT_AT_ONCE, Table, Values, millis};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS tracera_sessions (
        tag BLOB NOT NULL PRIMARY KEY,
        value BLOB NOT NULL,
        expires INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS tracera_sessions_expires ON tracera_sessions (expires);
";
const READ: &str = "SELECT value FROM tracera_sessions WHERE tag = $1";
const INSERT: &str = "INSERT INTO tracera_sessions (tag, value, expires) VALUES ($1, $2, $3)
    ON CONFLICT (tag) DO NOTHING";
const REPLACE: &str =
    "UPDATE tracera_sessions SET value = $2, expires = $3 WHERE tag = $1 AND value = $4";
const REMOVE: &str = "DELETE FROM tracera_sessions WHERE tag = $1 AND value = $2";
const SWEEP: &str = "DELETE FROM tracera_sessions WHERE tag IN (
    SELECT tag FROM tracera_sessions WHERE expires < $1 AND tag <> $2 ORDER BY expires LIMIT $3)";

/// Sessions in a `SQLite` file, for one process or several. Cheap to clone.
///
/// It sends no invalidations, so every request reads the file, and watches poll every second. Use
/// WAL mode; otherwise readers and writers block each other.
#[derive(Clone)]
pub struct SqliteStore(Values<SqliteTable>);

#[derive(Clone)]
struct SqliteTable(SqlitePool);

impl SqliteStore {
    /// A store over this pool. Creates the table `tracera_sessions` if there is none.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tracera_session_sqlx::sqlx::Error> {
    /// use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
    /// use tracera_session_sqlx::{SqliteStore, sqlx};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let file = directory.path().join("sessions.db");
    /// let options = SqliteConnectOptions::new()
    ///     .filename(file)
    ///     .create_if_missing(true)
    ///     .journal_mode(SqliteJournalMode::Wal);
    /// let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await?;
    /// let store = SqliteStore::open(pool).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn open(pool: SqlitePool) -> Result<Self, sqlx::Error> {
        pool.execute(sqlx::raw_sql(SCHEMA)).await?;
        Ok(Self(Values::new(SqliteTable(pool))))
    }

    /// The time limit of an operation, including the wait for a connection. Default 1.5 s.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.0.limit = limit;
        self
    }
}

impl ValueStore for SqliteStore {
    fn read<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, Option<Vec<u8>>> {
        Box::pin(self.0.read(tag))
    }

    fn update<'a>(&'a self, tag: &'a Tag, update: Update) -> StoreFuture<'a, ()> {
        Box::pin(self.0.update(tag, update))
    }

    fn time_limit(&self) -> Duration {
        self.0.limit
    }
}

impl Table for SqliteTable {
    type Connection = PoolConnection<Sqlite>;

    async fn connection(&self) -> Result<Self::Connection, sqlx::Error> {
        self.0.acquire().await
    }

    async fn read(
        connection: &mut Self::Connection,
        tag: &Tag,
    ) -> Result<Option<Vec<u8>>, sqlx::Error> {
        sqlx::query_scalar(READ).bind(&tag.as_bytes()[..]).fetch_optional(&mut **connection).await
    }

    async fn insert(
        connection: &mut Self::Connection,
        tag: &Tag,
        value: &[u8],
        expires: Timestamp,
    ) -> Result<bool, sqlx::Error> {
        let query = sqlx::query(INSERT).bind(&tag.as_bytes()[..]).bind(value).bind(millis(expires));
        Ok(query.execute(&mut **connection).await?.rows_affected() == 1)
    }

    async fn replace(
        connection: &mut Self::Connection,
        tag: &Tag,
        seen: &[u8],
        value: &[u8],
        expires: Timestamp,
    ) -> Result<bool, sqlx::Error> {
        let query = sqlx::query(REPLACE).bind(&tag.as_bytes()[..]).bind(value);
        let query = query.bind(millis(expires)).bind(seen);
        Ok(query.execute(&mut **connection).await?.rows_affected() == 1)
    }

    async fn remove(
        connection: &mut Self::Connection,
        tag: &Tag,
        seen: &[u8],
    ) -> Result<bool, sqlx::Error> {
        let query = sqlx::query(REMOVE).bind(&tag.as_bytes()[..]).bind(seen);
        Ok(query.execute(&mut **connection).await?.rows_affected() == 1)
    }

    async fn sweep(
        connection: &mut Self::Connection,
        tag: &Tag,
        now: Timestamp,
    ) -> Result<(), sqlx::Error> {
        let query = sqlx::query(SWEEP).bind(millis(now)).bind(&tag.as_bytes()[..]);
        query.bind(SWEPT_AT_ONCE).execute(&mut **connection).await.map(drop)
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SqliteStore")
    }
}
