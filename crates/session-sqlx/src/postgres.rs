//! Sessions in `PostgreSQL`.

mod listener;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::pool::PoolConnection;
use sqlx::{Executor, PgPool, Postgres};
use tokio::runtime::Handle;
use tracera_session::Timestamp;
use tracera_session::store::{Invalidations, StoreFuture, Tag, Update, ValueStore};

use self::listener::Listener;
use crate::compare_and_set::{SWEPT_AT_ONCE, Table, Values, millis};

/// Whether the table exists. A role that may not create one can still ask.
const IS_THERE: &str = "SELECT to_regclass('tracera_sessions') IS NOT NULL";
/// The advisory lock keeps instances that start together from creating the table twice.
const SCHEMA: &str = "
    SET LOCAL client_min_messages = warning;
    SELECT pg_advisory_xact_lock(6074881205320837492);
    CREATE TABLE IF NOT EXISTS tracera_sessions (
        tag bytea PRIMARY KEY,
        value bytea NOT NULL,
        expires bigint NOT NULL
    );
    CREATE INDEX IF NOT EXISTS tracera_sessions_expires ON tracera_sessions (expires);
";
const READ: &str = "SELECT value FROM tracera_sessions WHERE tag = $1";
// A notification is sent only when its transaction is committed.
const INSERT: &str = "WITH written AS (
        INSERT INTO tracera_sessions (tag, value, expires) VALUES ($1, $2, $3)
        ON CONFLICT (tag) DO NOTHING RETURNING tag
    ) SELECT pg_notify('tracera_sessions', $4) FROM written";
const REPLACE: &str = "WITH written AS (
        UPDATE tracera_sessions SET value = $2, expires = $3 WHERE tag = $1 AND value = $4
        RETURNING tag
    ) SELECT pg_notify('tracera_sessions', $5) FROM written";
const REMOVE: &str = "WITH written AS (
        DELETE FROM tracera_sessions WHERE tag = $1 AND value = $2 RETURNING tag
    ) SELECT pg_notify('tracera_sessions', $3) FROM written";
const SWEEP: &str = "DELETE FROM tracera_sessions WHERE tag IN (
    SELECT tag FROM tracera_sessions WHERE expires < $1 AND tag <> $2 ORDER BY expires LIMIT $3
    FOR UPDATE SKIP LOCKED)";
/// The codes of a serialisation failure, at isolation levels above the default, and of a deadlock.
const LOST_RACES: [&str; 2] = ["40001", "40P01"];

/// Sessions in a `PostgreSQL` database, shared by any number of instances. Cheap to clone.
///
/// It announces changes by `LISTEN` and `NOTIFY`, over one connection outside the pool. The first
/// near-cache or watch opens that connection.
#[derive(Clone)]
pub struct PostgresStore {
    values: Values<PostgresTable>,
    listener: Arc<OnceLock<Listener>>,
    runtime: Handle,
}

#[derive(Clone)]
struct PostgresTable(PgPool);

impl PostgresStore {
    /// A store over this pool. Creates the table `tracera_sessions` if the search path leads to
    /// none.
    ///
    /// # Errors
    /// When the database cannot be reached, or the role may not create the table.
    pub async fn open(pool: PgPool) -> Result<Self, sqlx::Error> {
        if !sqlx::query_scalar(IS_THERE).fetch_one(&pool).await? {
            let mut transaction = pool.begin().await?;
            transaction.execute(sqlx::raw_sql(SCHEMA)).await?;
            transaction.commit().await?;
        }
        let values = Values::new(PostgresTable(pool));
        Ok(Self { values, listener: Arc::default(), runtime: Handle::current() })
    }

    /// The time limit of an operation, including the wait for a connection. Default 1.5 s.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.values.limit = limit;
        self
    }
}

impl ValueStore for PostgresStore {
    fn read<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, Option<Vec<u8>>> {
        Box::pin(self.values.read(tag))
    }

    fn update<'a>(&'a self, tag: &'a Tag, update: Update) -> StoreFuture<'a, ()> {
        Box::pin(self.values.update(tag, update))
    }

    fn invalidations(&self) -> Option<Invalidations> {
        let start = || {
            let options = self.values.table.0.connect_options();
            Listener::start(&self.runtime, (*options).clone())
        };
        Some(self.listener.get_or_init(start).changes.clone())
    }

    fn time_limit(&self) -> Duration {
        self.values.limit
    }
}

impl Table for PostgresTable {
    type Connection = PoolConnection<Postgres>;

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
        let query = sqlx::query(INSERT).bind(&tag.as_bytes()[..]).bind(value);
        let query = query.bind(millis(expires)).bind(tag.to_string());
        written(query.execute(&mut **connection).await)
    }

    async fn replace(
        connection: &mut Self::Connection,
        tag: &Tag,
        seen: &[u8],
        value: &[u8],
        expires: Timestamp,
    ) -> Result<bool, sqlx::Error> {
        let query = sqlx::query(REPLACE).bind(&tag.as_bytes()[..]).bind(value);
        let query = query.bind(millis(expires)).bind(seen).bind(tag.to_string());
        written(query.execute(&mut **connection).await)
    }

    async fn remove(
        connection: &mut Self::Connection,
        tag: &Tag,
        seen: &[u8],
    ) -> Result<bool, sqlx::Error> {
        let query = sqlx::query(REMOVE).bind(&tag.as_bytes()[..]).bind(seen);
        written(query.bind(tag.to_string()).execute(&mut **connection).await)
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

/// Whether a row was written. If so, the statement has also announced the change.
fn written(
    outcome: Result<sqlx::postgres::PgQueryResult, sqlx::Error>,
) -> Result<bool, sqlx::Error> {
    match outcome {
        Ok(result) => Ok(result.rows_affected() == 1),
        Err(error) if is_lost_race(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether another transaction prevented the change, so that a retry may succeed.
pub(crate) fn is_lost_race(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| LOST_RACES.contains(&&*code))
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PostgresStore")
    }
}
