//! Checks that the database serves requests, including writes, rather than merely answers.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::{Executor, PgPool, SqlitePool};
use tokio::time::{Instant, timeout};

/// Interval between test writes to a file.
const WRITE_EVERY: Duration = Duration::from_secs(2);
/// How long a test write waits for the lock. A lock held by another writer shows that the file is
/// writable.
const WRITE_LIMIT: Duration = Duration::from_millis(500);

/// The state of a `SQLite` file.
#[derive(Clone, Debug, Default)]
pub(super) struct Probe {
    /// The path and inode of the opened file.
    file: Option<Arc<(PathBuf, u64)>>,
    written: Arc<Mutex<Option<Instant>>>,
}

impl Probe {
    pub(super) fn of_file(path: &Path) -> Self {
        let inode = std::fs::metadata(path).ok().map(|file| file.ino());
        let file = inode.map(|inode| Arc::new((path.to_owned(), inode)));
        Self { file, written: Arc::default() }
    }

    /// Whether the path still leads to the opened file, and the file is writable.
    pub(super) async fn sqlite(&self, pool: &SqlitePool) -> Result<(), sqlx::Error> {
        if let Some((path, opened)) = self.file.as_deref()
            && std::fs::metadata(path).map(|file| file.ino()).ok() != Some(*opened)
        {
            // The open connections would keep using a file that no longer has a name.
            let reason = format!("{} is gone", path.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, reason).into());
        }
        let due = self.lock().is_none_or(|written| written.elapsed() >= WRITE_EVERY);
        if due {
            // This statement changes nothing but still writes to the disk.
            match timeout(WRITE_LIMIT, pool.execute("PRAGMA user_version = 0")).await {
                Ok(written) => written.map(drop)?,
                Err(_) => return pool.execute("SELECT 1").await.map(drop),
            }
            *self.lock() = Some(Instant::now());
        }
        pool.execute("SELECT 1").await.map(drop)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the server accepts writes.
pub(super) async fn postgres(pool: &PgPool) -> Result<(), sqlx::Error> {
    let sql = "SELECT NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off'";
    if sqlx::query_scalar::<_, bool>(sql).fetch_one(pool).await? {
        return Ok(());
    }
    // This kind of error makes the pool reconnect.
    Err(io::Error::other("the server takes no writes").into())
}
