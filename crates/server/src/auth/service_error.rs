//! A failure of the service itself.

use tracera_guard::RateLimitError;
use tracera_session::SessionError;

use crate::error_chain::chain;
use crate::mail::MailError;
use crate::store::StoreError;

/// Something the service depends on does not answer, or the service has a defect.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The session store. Also tells that the session ended or was superseded meanwhile.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The store of the rate limits.
    #[error(transparent)]
    Limit(#[from] RateLimitError),
    /// The mail queue.
    #[error(transparent)]
    Mail(#[from] MailError),
    /// A user id that is no UUID.
    #[error("a session has a user id that is no UUID")]
    UserId(#[from] uuid::Error),
}

impl ServiceError {
    /// Whether it is a mistake of ours, rather than something that may pass.
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

    /// Writes it to the log, for a caller that answers with something else.
    pub fn log(&self) {
        let cause = chain(self);
        if self.is_defect() {
            tracing::error!(%cause, "request failed");
        } else {
            tracing::warn!(%cause, "request refused");
        }
    }
}
