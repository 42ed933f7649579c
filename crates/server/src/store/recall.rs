//! Recalls connections that are useless although they answer. After a failover they still lead to
//! the former primary.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::error::DatabaseError;
use tokio::time::Instant;

/// SQLSTATE: read-only transaction, terminated by the administrator, crashed, not accepting
/// connections.
const USELESS: [&str; 4] = ["25006", "57P01", "57P02", "57P03"];

/// The time of the last recall; older connections must not be used. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Recall(Arc<Mutex<Option<Instant>>>);

impl Recall {
    /// Recalls all open connections if the error shows that they are useless.
    pub(super) fn on(&self, error: &sqlx::Error) {
        let code = error.as_database_error().and_then(DatabaseError::code);
        let useless = code.is_some_and(|code| USELESS.contains(&&*code));
        if useless || matches!(error, sqlx::Error::Io(_) | sqlx::Error::Protocol(_)) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }

    /// Whether a connection of this age was opened before the last recall.
    pub(super) fn covers(&self, age: Duration) -> bool {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| since.elapsed() <= age)
    }
}
