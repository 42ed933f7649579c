//! `tracera backup`: copies the embedded stores while the server runs.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::config::{Config, DatabaseTarget};
use crate::private_dir;
use crate::start::embedded_sessions;
use crate::store::{ConnectError, Database};

/// Maximum number of attempts to copy the session file without a concurrent write.
const ATTEMPTS: u32 = 50;

/// Why a backup failed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// No store is embedded.
    #[error(
        "users are in PostgreSQL and sessions in Redis: there is nothing embedded to copy; use \
         pg_dump"
    )]
    NothingEmbedded,
    /// The directory is not empty.
    #[error("{} is not empty; name a new directory", .0.display())]
    NotEmpty(PathBuf),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The database cannot be copied.
    #[error(transparent)]
    Database(#[from] ConnectError),
    /// The session file was written during every attempt.
    #[error("the session file changed during each of {ATTEMPTS} attempts; try again")]
    Busy,
}

/// Copies the embedded stores into `to`, which can then be used as `DATA_DIR`. Returns a list of
/// the copied stores.
///
/// # Errors
/// [`BackupError`]; stores copied so far stay in `to`.
pub async fn backup(config: &Config, to: &Path) -> Result<String, BackupError> {
    let store = &config.store;
    let sessions = store.redis.is_none().then(|| embedded_sessions(&store.data_dir));
    let database = match &store.database {
        DatabaseTarget::Sqlite(file) => Some(file.clone()),
        DatabaseTarget::Postgres(_) => None,
    };
    if sessions.is_none() && database.is_none() {
        return Err(BackupError::NothingEmbedded);
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| BackupError::File { path, source }
    };
    private_dir::create(to).map_err(failed(to))?;
    if fs::read_dir(to).map_err(failed(to))?.next().is_some() {
        return Err(BackupError::NotEmpty(to.to_owned()));
    }
    let mut copied = Vec::new();
    if let Some(from) = &database {
        let file = to.join("tracera.db");
        Database::copy_sqlite(from, &file).await?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).map_err(failed(&file))?;
        copied.push("users");
    }
    if let Some(from) = sessions.filter(|file| file.exists()) {
        copy_sessions(&from, &embedded_sessions(to))?;
        copied.push("sessions");
    }
    let others = [&database].into_iter().flatten().cloned();
    let own: Vec<PathBuf> = others.chain([embedded_sessions(&store.data_dir)]).collect();
    for entry in fs::read_dir(&store.data_dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_side_file = |own: &PathBuf| {
            let name = path.to_string_lossy();
            own.to_string_lossy() == name.trim_end_matches("-wal").trim_end_matches("-shm")
        };
        if path.is_file() && !own.iter().any(is_side_file) {
            let target = to.join(entry.file_name());
            fs::copy(&path, &target).map_err(failed(&target))?;
        }
    }
    Ok(format!("copied {} to {}\n", copied.join(" and "), to.display()))
}

/// Copies the file without the server's help, because the server holds its lock. A concurrent write
/// corrupts the checksums of the copy, which are verified.
fn copy_sessions(from: &Path, to: &Path) -> Result<(), BackupError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| BackupError::File { path, source }
    };
    for _ in 0..ATTEMPTS {
        let mut source = fs::File::open(from).map_err(failed(from))?;
        let target =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to);
        let mut target = target.map_err(failed(to))?;
        io::copy(&mut source, &mut target).map_err(failed(to))?;
        drop(target);
        let whole = redb::Database::open(to).is_ok_and(|mut copy| copy.check_integrity().is_ok());
        if whole {
            return Ok(());
        }
    }
    Err(BackupError::Busy)
}
