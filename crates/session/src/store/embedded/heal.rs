//! Reopens the database after a failed write. After an I/O error, such as a full disk, redb refuses
//! every write until it is reopened.
//!
//! 1. A failed write reopens the file at once, so that reads go on where they can.
//! 2. Writes are then refused for [`PAUSE`], and afterwards tried one at a time until one succeeds.
//! 3. A missing file is never created again: it may come back with its disk, and an empty one would
//!    sign everybody out.

use std::sync::Arc;
use std::time::Duration;

use redb::{Database, DatabaseError, TransactionError};
use tokio::sync::RwLock;
use tokio::time::Instant;

use crate::invalidations::Invalidations;
use crate::store::StoreError;

/// The time after a failed write before another is tried.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Healing {
    reopen: Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>,
    changes: Invalidations,
    /// Locked exclusively only to reopen the file and to try a write after a failed one.
    state: RwLock<State>,
}

struct State {
    /// `None` while the file cannot be opened.
    database: Option<Database>,
    /// `None` if the last write succeeded.
    refusal: Option<Refusal>,
}

struct Refusal {
    error: Arc<redb::Error>,
    since: Instant,
}

impl Healing {
    /// A failed write reports a loss to `changes`, because it may turn out to be committed when the
    /// file is reopened.
    pub(super) fn new(
        database: Database,
        changes: Invalidations,
        reopen: impl Fn() -> Result<Database, DatabaseError> + Send + Sync + 'static,
    ) -> Self {
        let state = RwLock::new(State { database: Some(database), refusal: None });
        Self { reopen: Box::new(reopen), changes, state }
    }

    pub(super) async fn read<T>(
        &self,
        act: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let state = self.state.read().await;
        let database = state.database.as_ref().ok_or("the session file cannot be opened anew yet");
        act(database.map_err(StoreError::unavailable)?).map_err(StoreError::unavailable)
    }

    /// Whether a write could begin now, judged without waiting for a lock.
    pub(super) async fn takes_writes(&self) -> bool {
        match &*self.state.read().await {
            State { database: Some(database), refusal: None } => {
                matches!(database.try_begin_write(), Ok(_) | Err(TransactionError::WouldBlock))
            }
            _ => false,
        }
    }

    /// Blocks the thread while it writes.
    pub(super) fn write<T>(
        &self,
        act: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let shared = self.state.blocking_read();
        if let State { database: Some(database), refusal: None } = &*shared {
            let outcome = act(database);
            drop(shared);
            return outcome.map_err(|error| {
                let mut state = self.state.blocking_write();
                if state.refusal.is_some() {
                    // A concurrent failed write has reopened the file already.
                    return StoreError::unavailable(error);
                }
                tracing::warn!(%error, "a write to the session file failed; opening it anew");
                self.refuse(&mut state, error)
            });
        }
        drop(shared);
        self.try_again(&mut self.state.blocking_write(), act)
    }

    fn try_again<T>(
        &self,
        state: &mut State,
        act: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        if let Some(refusal) = &state.refusal
            && refusal.since.elapsed() < PAUSE
        {
            return Err(StoreError::unavailable(refusal.error.clone()));
        }
        let database = match state.database.take() {
            Some(database) => Ok(database),
            None => (self.reopen)(),
        };
        let outcome = database
            .map_err(redb::Error::from)
            .and_then(|database| act(state.database.insert(database)));
        match outcome {
            Ok(done) => {
                if state.refusal.take().is_some() {
                    tracing::info!("the session file takes writes again");
                }
                Ok(done)
            }
            Err(error) => Err(self.refuse(state, error)),
        }
    }

    fn refuse(&self, state: &mut State, error: redb::Error) -> StoreError {
        // Dropped first, because it holds the lock on the file.
        state.database = None;
        match (self.reopen)() {
            Ok(database) => state.database = Some(database),
            Err(error) => tracing::debug!(%error, "cannot open the session file anew yet"),
        }
        self.changes.lost();
        let error = Arc::new(error);
        state.refusal = Some(Refusal { error: error.clone(), since: Instant::now() });
        StoreError::unavailable(error)
    }
}
