//! Failures of the service itself.

use tracera_guard::RateLimitError;
use tracera_session::SessionError;

use crate::error_chain::chain;
use crate::mail::MailError;
use crate::store::StoreError;

/// A dependency does not answer, or the service has a bug.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The session store failed, or the session ended or was superseded meanwhile.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The rate limits' store failed.
    #[error(transparent)]
    Limit(#[from] RateLimitError),
    /// The mail queue failed.
    #[error(transparent)]
    Mail(#[from] MailError),
    /// A session's user id is not a UUID.
    #[error("a session has a user id that is no UUID")]
    UserId(#[from] uuid::Error),
}

impl ServiceError {
    /// Whether it is a bug rather than a temporary failure.
    pub fn is_defect(&self) -> bool {
        match self {
            Self::Store(error) => !error.is_unavailable(),
            Self::Session(error) => {
                error.status_and_code().0 == http::StatusCode::INTERNAL_SERVER_ERROR
            }
            Self::Limit(_) | Self::Mail(_) => false,
            Self::UserId(_) => true,
        }
    }

    /// Logs the error, for a caller that does not return it.
    pub fn log(&self) {
        let cause = chain(self);
        if self.is_defect() {
            tracing::error!(%cause, "request failed");
        } else {
            tracing::warn!(%cause, "request refused");
        }
    }
}
