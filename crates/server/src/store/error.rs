//! Errors of the store, grouped by who can fix them.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use sqlx::error::{DatabaseError, ErrorKind};
use sqlx::migrate::MigrateError;

/// Why a store operation failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is down, overloaded or too slow. The request is valid and may succeed later.
    #[error("the database is unavailable")]
    Unavailable(#[source] sqlx::Error),
    /// Existing rows forbid the change, for example a unique address.
    #[error("the change conflicts with what the database already has")]
    Conflict(#[source] sqlx::Error),
    /// A bug in this program, or corrupt data.
    #[error("the database refused the operation{}", if is_pooled(.0) { POOLED } else { "" })]
    Unexpected(#[source] sqlx::Error),
}

impl StoreError {
    pub(super) fn timed_out(limit: Duration) -> Self {
        let reason = format!("no answer within {limit:?}");
        Self::Unavailable(io::Error::new(io::ErrorKind::TimedOut, reason).into())
    }

    /// Whether the same operation may work later.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error::{
            BeginFailed, Database, Io, PoolClosed, PoolTimedOut, Protocol, Tls, WorkerCrashed,
        };

        match &error {
            // A connection that breaks in the middle of a response is reported as `Protocol`.
            Io(_) | Tls(_) | PoolTimedOut | PoolClosed | WorkerCrashed | Protocol(_)
            | BeginFailed => Self::Unavailable(error),
            Database(reply) if is_passing(reply.as_ref()) => Self::Unavailable(error),
            Database(reply) if is_constraint(reply.as_ref()) => Self::Conflict(error),
            _ => Self::Unexpected(error),
        }
    }
}

fn is_constraint(reply: &dyn DatabaseError) -> bool {
    matches!(reply.kind(), ErrorKind::UniqueViolation | ErrorKind::ForeignKeyViolation)
}

pub(super) const SQLITE_BUSY: u32 = 5;

/// The primary result code of `SQLite`: the low byte of the reported code.
pub(super) fn sqlite_code(reply: &dyn DatabaseError) -> Option<u32> {
    Some(reply.code()?.parse::<u32>().ok()? & 0xff)
}

/// The SQLSTATE for a database that does not exist.
const PG_NO_DATABASE: &str = "3D000";

/// Whether the error is a temporary state of the database rather than a fault of the statement.
fn is_passing(reply: &dyn DatabaseError) -> bool {
    let Some(code) = reply.code() else {
        return false;
    };
    if reply.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
        // Busy, locked, read-only, I/O error, full, cannot open.
        return matches!(sqlite_code(reply), Some(SQLITE_BUSY | 6 | 8 | 10 | 13 | 14));
    }
    // SQLSTATE of temporary failures. Connection: lost, refused, database missing. Transaction:
    // read-only on a standby, idle or open for too long, serialisation failure, deadlock. Server:
    // out of resources, lock not available, cancelled or shutting down, system error.
    ["08", "25006", "25P03", "25P04", "28", PG_NO_DATABASE, "40", "53", "55P03", "57", "58"]
        .iter()
        .any(|class| code.starts_with(class))
}

/// Why the database could not be opened at start.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL does not parse.
    #[error("the database URL is malformed: {0}")]
    Url(#[source] sqlx::Error),
    /// The `SQLite` file or its directory cannot be made.
    #[error("cannot create {path}: {source}; choose a directory the server may write to")]
    Create {
        /// The file or directory.
        path: PathBuf,
        /// The error from the operating system.
        source: io::Error,
    },
    /// The `SQLite` file cannot be opened or written.
    #[error(
        "cannot use {path}: {source}; check its owner and mode, and that it is an SQLite database"
    )]
    File {
        /// The file.
        path: PathBuf,
        /// The error from the library.
        source: sqlx::Error,
    },
    /// The server does not answer or rejects the credentials.
    #[error("cannot reach the database: {}; {}", said(.0), unreachable_remedy(.0))]
    Unreachable(#[source] sqlx::Error),
    /// The server has no such database.
    #[error("{}; create it, or correct its name in the URL", said(.0))]
    NoDatabase(#[source] sqlx::Error),
    /// The server accepts the connection but no writes.
    #[error(
        "the database cannot be written: {}; name the primary, and a user who may write", said(.0)
    )]
    NotWritable(#[source] sqlx::Error),
    /// The tables are from a newer version of this program: they have this migration, which this
    /// version does not know.
    #[error(
        "the tables are from a newer tracera (migration {0}); start that version, or restore a \
         backup from before it"
    )]
    Newer(i64),
    /// A migration failed.
    #[error("cannot bring the tables up to date: {}", migration_said(.0))]
    Migration(#[source] MigrateError),
}

impl ConnectError {
    pub(super) fn unreachable(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(DatabaseError::code);
        if code.as_deref() == Some(PG_NO_DATABASE) {
            Self::NoDatabase(error)
        } else {
            Self::Unreachable(error)
        }
    }
}

fn unreachable_remedy(error: &sqlx::Error) -> &'static str {
    let text = error.to_string();
    if text.contains("unsupported startup parameter") {
        // PgBouncer's error names the first parameter it does not know.
        "in pgbouncer.ini set ignore_startup_parameters = extra_float_digits,options"
    } else if text.contains("UnknownIssuer") {
        "name the authority's certificate: sslrootcert=/path/of/ca.pem"
    } else {
        "check that it runs there, and host, user, password and name"
    }
}

/// The error text without the source line of `PostgreSQL`, which sqlx appends to a reply.
fn said(error: &sqlx::Error) -> String {
    error.as_database_error().map_or_else(|| error.to_string(), |reply| reply.message().to_owned())
}

/// The remedy when a pooler gives each transaction another connection.
const POOLED: &str = "; behind PgBouncer set pool_mode = session, or with PgBouncer 1.21 or newer \
                      max_prepared_statements = 200";

/// SQLSTATE of a prepared statement that is missing or exists already. Both mean that a pooler
/// changed the connection.
fn is_pooled(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| ["26000", "42P05"].contains(&&*code))
}

fn migration_said(error: &MigrateError) -> String {
    match error {
        MigrateError::Execute(error) if is_pooled(error) => {
            format!("{}{POOLED}", said(error))
        }
        MigrateError::Execute(error) => said(error),
        MigrateError::ExecuteMigration(error, version) => {
            format!("migration {version}: {}", said(error))
        }
        error => error.to_string(),
    }
}
