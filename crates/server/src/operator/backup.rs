//! `tracera backup`: copies of the embedded stores, made while the server runs.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::config::{Config, DatabaseTarget};
use crate::private_dir;
use crate::start::embedded_sessions;
use crate::store::{ConnectError, Database};

/// How often the session file is copied until no write fell into the copying.
const ATTEMPTS: u32 = 50;

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Nothing is embedded.
    #[error(
        "users are in PostgreSQL and sessions in Redis: there is nothing embedded to copy; use \
         pg_dump"
    )]
    NothingEmbedded,
    /// The directory has something in it.
    #[error("{} is not empty; name a new directory", .0.display())]
    NotEmpty(PathBuf),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database cannot be copied.
    #[error(transparent)]
    Database(#[from] ConnectError),
    /// The session file was never at rest.
    #[error("the session file changed during each of {ATTEMPTS} attempts; try again")]
    Busy,
}

/// Copies the embedded stores into `to`, which can then serve as `DATA_DIR`. Returns what was
/// copied.
///
/// # Errors
/// [`BackupError`]; what has been copied so far stays.
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

/// The server holds the file locked, so it is copied from outside. A write that falls into the
/// copying shows in the checksums of the copy.
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
