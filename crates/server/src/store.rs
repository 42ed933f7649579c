//! The relational store: users and what belongs to them, on `SQLite` or `PostgreSQL`.
//!
//! 1. One SQL text serves both databases; each query stands once and runs on whichever pool is
//!    there. The two migration directories declare the same tables, and a test compares them.
//! 2. What must happen once is one statement (`UPDATE … RETURNING`, `INSERT … ON CONFLICT`), so
//!    that no two requests, on one server instance or several, can both win.
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
use tracera_session_sqlx::PostgresStore;

use crate::config::DatabaseTarget;

mod column;
mod connect;
pub mod email_changes;
mod error;
pub mod events;
pub mod identities;
pub mod magic_links;
pub mod passkeys;
pub mod portfolio;
pub mod recovery_codes;
pub mod redemptions;
#[cfg(test)]
mod tests;
pub mod tokens;
pub mod transactions;
pub mod undo_links;
pub mod users;

pub use error::{ConnectError, StoreError};

/// How long one store operation may take, waiting for a connection included. A little above the
/// databases' own limits, so that normally they are the ones to say what was wrong.
const OPERATION_LIMIT: Duration = Duration::from_secs(6);
/// How long a health probe waits for an answer.
const PING_LIMIT: Duration = Duration::from_secs(1);
/// How long closing waits for connections in use.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// A pool of connections to one database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Database {
    pool: Pool,
}

#[derive(Clone, Debug)]
enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// Runs the same query on whichever pool the database has, within [`OPERATION_LIMIT`].
macro_rules! on_pool {
    ($db:expr, $pool:ident => $query:expr) => {
        $crate::store::within($crate::store::OPERATION_LIMIT, async {
            match &$db.pool {
                $crate::store::Pool::Sqlite($pool) => $query,
                $crate::store::Pool::Postgres($pool) => $query,
            }
        })
    };
}
use on_pool;

impl Database {
    /// Opens the configured database and brings its tables up to date.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] says whether the URL, the file, the server or a migration is at fault. It
    /// never holds the password of the URL.
    pub async fn connect(target: &DatabaseTarget) -> Result<Self, ConnectError> {
        match target {
            DatabaseTarget::Sqlite(file) => Self::sqlite(file).await,
            DatabaseTarget::Postgres(url) => Self::postgres(url.expose()).await,
        }
    }

    /// Opens a `SQLite` file. If it is missing it is created, like its directory, for the owner
    /// alone.
    ///
    /// # Errors
    ///
    /// As for [`Database::connect`].
    pub async fn sqlite(file: &Path) -> Result<Self, ConnectError> {
        Ok(Self { pool: Pool::Sqlite(connect::sqlite(file).await?) })
    }

    /// Connects to `postgres://user:password@host/database`.
    ///
    /// # Errors
    ///
    /// As for [`Database::connect`].
    pub async fn postgres(url: &str) -> Result<Self, ConnectError> {
        Ok(Self { pool: Pool::Postgres(connect::postgres(url).await?) })
    }

    /// Sessions in the same server as `url` says, over connections of their own.
    ///
    /// # Errors
    ///
    /// As for [`Database::connect`].
    pub async fn sessions(url: &str) -> Result<PostgresStore, ConnectError> {
        let pool = connect::postgres_for_sessions(url).await?;
        PostgresStore::open(pool).await.map_err(ConnectError::unreachable)
    }

    /// Connects to the configured database and writes, and takes that back. Makes no file and
    /// changes no table.
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

    /// Asks the database for a sign of life; for health probes.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] without an answer within a second.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let ping = on_pool!(self, pool => sqlx::query("SELECT 1").execute(pool).await.map(drop));
        tokio::time::timeout(PING_LIMIT, ping)
            .await
            .unwrap_or_else(|_| Err(StoreError::timed_out(PING_LIMIT)))
    }

    /// Closes the connections once they are idle, at most five seconds from now; operations
    /// after this are [`StoreError::Unavailable`].
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

async fn within<T>(
    limit: Duration,
    operation: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(limit, operation).await {
        Ok(result) => result.map_err(StoreError::from),
        Err(_) => Err(StoreError::timed_out(limit)),
    }
}
