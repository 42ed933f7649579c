//! Opens the connection pools, with a limit on every wait, and runs the migrations.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{
    ConnectOptions, Connection, Executor, PgConnection, PgPool, Row, SqlSafeStr, SqlitePool,
};
use tokio::time::{Instant, sleep};

use super::ConnectError;
use super::error::{SQLITE_BUSY, sqlite_code};
use super::recall::Recall;
use crate::private_dir;

const ACQUIRE_LIMIT: Duration = Duration::from_secs(2);
const SQLITE_BUSY_LIMIT: Duration = Duration::from_secs(5);
const SQLITE_RETRY: Duration = Duration::from_millis(20);
const PG_STATEMENT_LIMIT: &str = "5s";
const PG_CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// This also limits the wait for another instance that is running the migrations.
const PG_MIGRATION_LIMIT: &str = "60s";
/// `SQLite` has one writer at a time; more connections only help readers.
const SQLITE_CONNECTIONS: u32 = 4;
const PG_SESSION_CONNECTIONS: u32 = 8;
/// A connection idle for less than this is not pinged before use.
const PG_FRESH: Duration = Duration::from_secs(1);
/// Slightly above the session store's own limit, which normally applies first.
const PG_SESSION_LIMIT: &str = "2s";
/// This statement needs the same rights as a migration. It is rolled back.
const TRIAL: &str = "CREATE TABLE tracera_check (id INTEGER)";

/// The migrations of one dialect: `NNNN_words.sql`, in order. A released file is never edited.
///
/// `sqlx::migrate!` would make the list itself, but its crate compiles both drivers a second time.
macro_rules! migrations {
    ($dialect:literal) => {
        migrator(&migrations!(
            $dialect,
            "0001_users_and_magic_links",
            "0002_identities_and_events",
            "0010_portfolio",
            "0020_links_of_visitor",
            "0030_portfolio_changes",
            "0031_redemptions",
            "0032_undo_links",
            "0040_passkeys_and_tokens",
            "0050_disabled_users",
            "0060_links_per_browser",
            "0062_confirmations",
            "0063_deletions",
            "0065_mail_troubles",
            "0066_outbox",
            "0067_event_subjects",
            "0068_oidc_issuer",
            "0069_waiting_identities",
        ))
    };
    ($dialect:literal, $($name:literal,)+) => {
        [$((
            $name,
            include_str!(concat!("../../migrations/", $dialect, "/", $name, ".sql")),
        )),+]
    };
}

fn migrator(files: &[(&'static str, &'static str)]) -> Migrator {
    let migrations = files.iter().map(|(name, sql)| {
        let (version, description) = name.split_once('_').expect("a number, then words");
        Migration::new(
            version.parse().expect("four digits"),
            description.replace('_', " ").into(),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    });
    Migrator::with_migrations(migrations.collect())
}

async fn migrate(migrator: Migrator, connection: &mut impl Migrate) -> Result<(), ConnectError> {
    // `run`, the documented method, returns a future that is not `Send` for a connection.
    migrator.run_direct(None, connection, false).await.map_err(|error| match error {
        MigrateError::VersionMissing(version) => ConnectError::Newer(version),
        error => ConnectError::Migration(error),
    })
}

pub(super) fn newest_migration() -> i64 {
    migrations!("sqlite").iter().map(|migration| migration.version).max().unwrap_or_default()
}

pub(super) async fn sqlite(file: &Path) -> Result<SqlitePool, ConnectError> {
    create_private(file)?;
    let until = Instant::now() + SQLITE_BUSY_LIMIT;
    loop {
        match open_sqlite(sqlite_options(file)).await {
            Err(error) if is_locked(&error) && Instant::now() < until => sleep(SQLITE_RETRY).await,
            opened => return opened,
        }
    }
}

/// Whether another process has locked the file. `SQLite` waits for such locks itself, except while
/// it switches the file to WAL mode.
fn is_locked(error: &ConnectError) -> bool {
    let ConnectError::File { source: sqlx::Error::Database(reply), .. } = error else {
        return false;
    };
    sqlite_code(reply.as_ref()) == Some(SQLITE_BUSY)
}

pub(super) fn sqlite_options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        // Overwrites deleted content.
        .pragma("secure_delete", "ON")
        .busy_timeout(SQLITE_BUSY_LIMIT)
}

pub(super) async fn open_sqlite(options: SqliteConnectOptions) -> Result<SqlitePool, ConnectError> {
    let unusable = |source| ConnectError::File { path: options.get_filename().to_owned(), source };
    let mut connection = options.connect().await.map_err(unusable)?;
    // The write lock is taken first, so that of two processes one migrates and the other waits.
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await.map_err(unusable)?;
    // A read-only file gets a read lock here without an error. This write fails there.
    tx.execute("PRAGMA user_version = 0").await.map_err(unusable)?;
    migrate(migrations!("sqlite"), &mut *tx).await?;
    tx.commit().await.map_err(unusable)?;
    connection.close().await.map_err(unusable)?;

    let pool = SqlitePoolOptions::new()
        .max_connections(SQLITE_CONNECTIONS)
        .acquire_timeout(ACQUIRE_LIMIT)
        // A file needs no connection test: it does not disconnect. The test would only cost a
        // second trip to the thread that reads it.
        .test_before_acquire(false);
    pool.connect_with(options.clone()).await.map_err(unusable)
}

/// Writes to the file if it exists, and rolls the write back.
pub(super) async fn try_sqlite(file: &Path) -> Result<(), ConnectError> {
    if !file.exists() {
        let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty());
        return match dir.filter(|dir| dir.exists()) {
            Some(dir) => try_directory(dir),
            None => Ok(()),
        };
    }
    let unusable = |source| ConnectError::File { path: file.to_owned(), source };
    let options = SqliteConnectOptions::new().filename(file).busy_timeout(SQLITE_BUSY_LIMIT);
    let mut connection = options.connect().await.map_err(unusable)?;
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await.map_err(unusable)?;
    tx.execute(TRIAL).await.map_err(unusable)?;
    tx.rollback().await.map_err(unusable)?;
    connection.close().await.map_err(unusable)
}

fn try_directory(dir: &Path) -> Result<(), ConnectError> {
    let trial = dir.join(".tracera-check");
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&trial);
    let written = written.and_then(|_| std::fs::remove_file(&trial));
    written.map_err(|source| ConnectError::Create { path: dir.to_owned(), source })
}

/// Writes to the database and rolls it back: to the migrations table if it exists, otherwise by
/// creating a table.
pub(super) async fn try_postgres(url: &str) -> Result<(), ConnectError> {
    let mut connection = connect_postgres(pg_options(url)?).await?;
    let trial = async {
        let mut tx = connection.begin().await?;
        let found = tx.fetch_one("SELECT to_regclass('users') IS NOT NULL").await?;
        let written =
            if found.try_get(0)? { "UPDATE users SET id = id WHERE FALSE" } else { TRIAL };
        tx.execute(written).await?;
        tx.rollback().await
    };
    trial.await.map_err(ConnectError::NotWritable)?;
    connection.close().await.map_err(ConnectError::unreachable)
}

fn pg_options(url: &str) -> Result<PgConnectOptions, ConnectError> {
    let options: PgConnectOptions = url.parse().map_err(ConnectError::Url)?;
    Ok(options.application_name("tracera"))
}

/// A single connection reports why it failed; a pool only reports a timeout.
async fn connect_postgres(options: PgConnectOptions) -> Result<PgConnection, ConnectError> {
    tokio::time::timeout(PG_CONNECT_LIMIT, options.connect())
        .await
        .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
        .map_err(ConnectError::unreachable)
}

/// Connections for sessions alone, so that slow queries elsewhere delay no request.
pub(super) async fn postgres_for_sessions(url: &str) -> Result<PgPool, ConnectError> {
    let options = pg_options(url)?.options([("statement_timeout", PG_SESSION_LIMIT)]);
    connect_postgres(options.clone()).await?.close().await.map_err(ConnectError::unreachable)?;
    let pool = PgPoolOptions::new()
        .max_connections(PG_SESSION_CONNECTIONS)
        .acquire_timeout(ACQUIRE_LIMIT)
        .test_before_acquire(false)
        .before_acquire(|connection, used| {
            Box::pin(async move {
                if used.idle_for > PG_FRESH {
                    connection.ping().await?;
                }
                Ok(true)
            })
        });
    Ok(pool.connect_lazy_with(options))
}

/// Copies the file while other processes may be writing it.
pub(super) async fn copy_sqlite(file: &Path, to: &Path) -> Result<(), ConnectError> {
    let unusable = |source| ConnectError::File { path: file.to_owned(), source };
    let options = SqliteConnectOptions::new().filename(file).busy_timeout(SQLITE_BUSY_LIMIT);
    let mut connection = options.connect().await.map_err(unusable)?;
    let copied = sqlx::query("VACUUM INTO $1").bind(to.to_string_lossy().into_owned());
    copied.execute(&mut connection).await.map_err(unusable)?;
    connection.close().await.map_err(unusable)
}

/// Whether exactly the known migrations have been applied. Then the database user needs no right to
/// create tables.
async fn is_up_to_date(migrator: &Migrator, connection: &mut PgConnection) -> bool {
    let sql = "SELECT version FROM _sqlx_migrations WHERE success ORDER BY version";
    let made = sqlx::query_scalar::<_, i64>(sql).fetch_all(connection).await;
    made.is_ok_and(|made| made.into_iter().eq(migrator.iter().map(|known| known.version)))
}

pub(super) async fn postgres(
    url: &str,
    max_connections: u32,
    recall: Recall,
) -> Result<PgPool, ConnectError> {
    let options = pg_options(url)?;
    let migrating = options.clone().options([
        ("statement_timeout", PG_MIGRATION_LIMIT),
        // Otherwise each start logs the notice that the migrations table exists.
        ("client_min_messages", "warning"),
    ]);
    let mut connection = connect_postgres(migrating).await?;
    // The migrator takes an advisory lock, so that one instance migrates while the others wait.
    let migrations = migrations!("postgres");
    if !is_up_to_date(&migrations, &mut connection).await {
        migrate(migrations, &mut connection).await?;
    }
    connection.close().await.map_err(ConnectError::unreachable)?;

    let options = options.options([
        ("statement_timeout", PG_STATEMENT_LIMIT),
        ("idle_in_transaction_session_timeout", PG_STATEMENT_LIMIT),
    ]);
    let pool = PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_LIMIT)
        .test_before_acquire(false)
        .before_acquire(move |connection, used| {
            let recalled = recall.covers(used.age);
            Box::pin(async move {
                if recalled {
                    return Ok(false);
                }
                // The ping is a round trip. A connection in constant use can skip it.
                Ok(used.idle_for < PG_FRESH || connection.ping().await.is_ok())
            })
        });
    pool.connect_with(options).await.map_err(ConnectError::unreachable)
}

/// Creates the file and its directory for the owner alone. `SQLite` gives its side files the same
/// mode.
fn create_private(file: &Path) -> Result<(), ConnectError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ConnectError::Create { path, source }
    };
    if let Some(dir) = file.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        private_dir::create(dir).map_err(failed(dir))?;
    }
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    match created {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        created => created.map(drop).map_err(failed(file)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The versions of the migration files in a dialect's directory.
    fn files(dialect: &str) -> Vec<i64> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(dialect);
        let mut versions: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap()[..4].parse().unwrap())
            .collect();
        versions.sort_unstable();
        versions
    }

    #[test]
    fn every_migration_is_listed_in_order_for_both_databases() {
        for (dialect, migrator) in
            [("sqlite", migrations!("sqlite")), ("postgres", migrations!("postgres"))]
        {
            let listed: Vec<_> = migrator.iter().map(|migration| migration.version).collect();
            assert_eq!(listed, files(dialect), "{dialect}");
        }
    }
}
