//! The conformance suite on one `SQLite` file, with two handles in place of two processes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tracera_session::testing::Instances;
use tracera_session_sqlx::SqliteStore;

/// A generous limit, because the suite tests behaviour, not speed, on a machine that may be busy.
const PATIENCE: Duration = Duration::from_secs(20);

async fn open(file: &Path) -> SqliteStore {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Off)
        .busy_timeout(PATIENCE);
    let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await.unwrap();
    SqliteStore::open(pool).await.unwrap().time_limit(PATIENCE)
}

async fn storage() -> Instances {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sessions.db");
    Instances::new(open(&file).await, open(&file).await).keeping(directory)
}

tracera_session::conformance!(storage);
