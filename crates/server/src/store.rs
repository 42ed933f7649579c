//! The relational store: users and what belongs to them, on `SQLite` or `PostgreSQL`.
//!
//! 1. One SQL text serves both databases: each query is written once and runs on the configured
//!    pool. The two migration directories declare the same tables, and a test compares them.
//! 2. What must happen once is one statement (`UPDATE … RETURNING`, `INSERT … ON CONFLICT`). So no
//!    two requests can both win, on one instance or several.
//! 3. Every wait has a limit. A database that is away, busy or stopped is
//!    [`StoreError::Unavailable`], never a hang and never "not found".
//! 4. Time is an argument. It is stored in whole seconds, see [`column`].
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tracera::domain::email::Email;
//! use tracera::store::{Database, users};
//!
//! let db = Database::sqlite("data/tracera.db".as_ref()).await?;
//! let user = users::find_by_email(&db, &Email::parse("alice@example.com")?).await?;
//! # Ok(())
//! # }
//! ```

use std::path::Path;
use std::time::Duration;

use sqlx::{PgPool, SqlitePool};
use tracera_session_sqlx::{PostgresLimits, PostgresStore};

use crate::clock::Stopwatch;
use crate::config::DatabaseTarget;
use crate::telemetry::metrics;
use crate::telemetry::trace::{Kind, Span};

mod column;
mod connect;
pub mod email_changes;
mod error;
pub mod events;
pub mod identities;
pub mod magic_links;
pub mod outbox;
pub mod passkeys;
pub mod portfolio;
mod probe;
mod recall;
pub mod recovery_codes;
pub mod redemptions;
#[cfg(test)]
mod tests;
pub mod tokens;
pub mod transactions;
pub mod undo_links;
pub mod users;

pub use error::{ConnectError, StoreError};
use probe::Probe;
use recall::Recall;

/// Limit for one store operation, including the wait for a connection. It is slightly above the
/// databases' own limits, so that normally their errors name the cause.
const OPERATION_LIMIT: Duration = Duration::from_secs(6);
/// Timeout of a health probe.
const PING_LIMIT: Duration = Duration::from_secs(1);
/// Default number of connections to `PostgreSQL`.
const PG_CONNECTIONS: u32 = 16;
/// How long `close` waits for connections in use.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// A pool of connections to one database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Database {
    pool: Pool,
    recall: Recall,
    probe: Probe,
}

#[derive(Clone, Debug)]
enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// Runs the same query on whichever pool the database has, within [`OPERATION_LIMIT`].
macro_rules! on_pool {
    ($db:expr, $pool:ident => $query:expr) => {
        $db.within(module_path!(), $crate::store::OPERATION_LIMIT, async {
            match &$db.pool {
                $crate::store::Pool::Sqlite($pool) => $query,
                $crate::store::Pool::Postgres($pool) => $query,
            }
        })
    };
}
use on_pool;

/// The version of the newest migration.
pub fn newest_migration() -> i64 {
    connect::newest_migration()
}

impl Database {
    /// Opens the configured database and brings its tables up to date.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] says whether the URL, the file, the server or a migration is at fault. It
    /// never holds the password of the URL.
    pub async fn connect(
        target: &DatabaseTarget,
        max_connections: u32,
    ) -> Result<Self, ConnectError> {
        match target {
            DatabaseTarget::Sqlite(file) => Self::sqlite(file).await,
            DatabaseTarget::Postgres(url) => {
                Self::postgres_with(url.expose(), max_connections).await
            }
        }
    }

    /// Opens a `SQLite` file. Creates it and its directory if they are missing, readable by the
    /// owner alone.
    ///
    /// # Errors
    ///
    /// As for [`Database::connect`].
    pub async fn sqlite(file: &Path) -> Result<Self, ConnectError> {
        let pool = Pool::Sqlite(connect::sqlite(file).await?);
        Ok(Self { pool, recall: Recall::default(), probe: Probe::of_file(file) })
    }

    /// Connects to `postgres://user:password@host/database`.
    ///
    /// # Errors
    ///
    /// As for [`Database::connect`].
    pub async fn postgres(url: &str) -> Result<Self, ConnectError> {
        Self::postgres_with(url, PG_CONNECTIONS).await
    }

    async fn postgres_with(url: &str, max_connections: u32) -> Result<Self, ConnectError> {
        let recall = Recall::default();
        let pool = connect::postgres(url, max_connections, recall.clone()).await?;
        Ok(Self { pool: Pool::Postgres(pool), recall, probe: Probe::default() })
    }

    /// Copies a `SQLite` file that other processes may be writing. The copy is consistent.
    ///
    /// # Errors
    ///
    /// As for [`Database::connect`].
    pub async fn copy_sqlite(file: &Path, to: &Path) -> Result<(), ConnectError> {
        connect::copy_sqlite(file, to).await
    }

    /// Stores for sessions and rate limits in the same server, with connections of their own.
    ///
    /// # Errors
    ///
    /// As for [`Database::connect`].
    pub async fn sessions_and_limits(
        url: &str,
    ) -> Result<(PostgresStore, PostgresLimits), ConnectError> {
        let pool = connect::postgres_for_sessions(url).await?;
        let sessions = PostgresStore::open(pool.clone()).await;
        let limits = PostgresLimits::open(pool).await;
        Ok((
            sessions.map_err(ConnectError::unreachable)?,
            limits.map_err(ConnectError::unreachable)?,
        ))
    }

    /// Connects to the configured database, writes in a transaction, and rolls it back. Creates no
    /// file and no table.
    ///
    /// # Errors
    ///
    /// As for [`Database::connect`].
    pub async fn try_write(target: &DatabaseTarget) -> Result<(), ConnectError> {
        match target {
            DatabaseTarget::Sqlite(file) => connect::try_sqlite(file).await,
            DatabaseTarget::Postgres(url) => connect::try_postgres(url.expose()).await,
        }
    }

    /// Whether the database serves requests, including writes. For health probes.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when it does not answer within a second.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let ping = async {
            match &self.pool {
                Pool::Sqlite(pool) => self.probe.sqlite(pool).await,
                Pool::Postgres(pool) => probe::postgres(pool).await,
            }
        };
        tokio::time::timeout(PING_LIMIT, self.within("ping", PING_LIMIT, ping))
            .await
            .unwrap_or_else(|_| Err(StoreError::timed_out(PING_LIMIT)))
    }

    /// Waits for an operation, no longer than `limit`. Its span is named for the last word of
    /// `place`, which is the module that it stands in.
    async fn within<T>(
        &self,
        place: &'static str,
        limit: Duration,
        operation: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        let watch = Stopwatch::start();
        let span = Span::child_with(|| place.rsplit("::").next().unwrap_or(place), Kind::Client);
        span.set(
            "db.system.name",
            match self.pool {
                Pool::Sqlite(_) => "sqlite",
                Pool::Postgres(_) => "postgresql",
            },
        );
        let done = span.clone().around(tokio::time::timeout(limit, operation)).await;
        metrics::asked_database(watch.elapsed());
        match &done {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => span.failed("refused"),
            Err(_) => span.failed("timeout"),
        }
        match done {
            Ok(result) => result.map_err(|error| {
                self.recall.on(&error);
                error.into()
            }),
            Err(_) => Err(StoreError::timed_out(limit)),
        }
    }

    /// Moves the write-ahead log of `SQLite` into the database file and truncates it, so that the
    /// log keeps no deleted data. If this checkpoint fails, the next one does it.
    async fn empty_log(&self) {
        let Pool::Sqlite(pool) = &self.pool else { return };
        let emptied = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(pool);
        if let Err(error) = self.within("checkpoint", OPERATION_LIMIT, emptied).await {
            tracing::warn!(%error, "what was deleted is still in the database's log");
        }
    }

    /// The number of connections, and how many of them are idle.
    pub fn connections(&self) -> (u32, usize) {
        match &self.pool {
            Pool::Sqlite(pool) => (pool.size(), pool.num_idle()),
            Pool::Postgres(pool) => (pool.size(), pool.num_idle()),
        }
    }

    /// Closes the connections once they are idle, within five seconds. Later operations fail with
    /// [`StoreError::Unavailable`].
    pub async fn close(&self) {
        let close = async {
            match &self.pool {
                Pool::Sqlite(pool) => pool.close().await,
                Pool::Postgres(pool) => pool.close().await,
            }
        };
        if tokio::time::timeout(CLOSE_LIMIT, close).await.is_err() {
            tracing::warn!("database connections were still in use at shutdown");
        }
    }
}
