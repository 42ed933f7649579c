//! Connections that are of no use any more, though they answer: after a failover they still lead to
//! the server that was the primary.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::error::DatabaseError;
use tokio::time::Instant;

/// SQLSTATE: read only, ended by the administrator, crashed, not accepting connections.
const USELESS: [&str; 4] = ["25006", "57P01", "57P02", "57P03"];

/// Since when connections may be used. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Recall(Arc<Mutex<Option<Instant>>>);

impl Recall {
    /// Recalls all connections there are, if that is what the error is about.
    pub(super) fn on(&self, error: &sqlx::Error) {
        let code = error.as_database_error().and_then(DatabaseError::code);
        let useless = code.is_some_and(|code| USELESS.contains(&&*code));
        if useless || matches!(error, sqlx::Error::Io(_) | sqlx::Error::Protocol(_)) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }

    /// Whether a connection of this age is among those recalled.
    pub(super) fn covers(&self, age: Duration) -> bool {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| since.elapsed() <= age)
    }
}
