//! What can be done here, beneath both faces: the API answers with JSON, the pages with pages and
//! redirects, and both call the same functions.
//!
//! 1. An action takes domain values and the caller, and returns values and typed errors. It does
//!    not depend on HTTP.
//! 2. An action with several steps runs to completion, even if the client disconnects.

use time::OffsetDateTime;
use tracera_session::{Clock, Session, SessionError, Sessions, UserId};
use uuid::Uuid;

use crate::auth::client::ClientInfo;
use crate::auth::events::{Kind, Notice, SecurityEvents};
use crate::auth::service_error::ServiceError;
use crate::clock::utc;
use crate::domain::email::Email;
use crate::portfolio::Portfolio;
use crate::store::Database;

pub mod account;
pub mod address;
pub mod deletion;
pub mod linking;
pub mod magic_link;
pub mod passkeys;
pub mod portfolio;
pub mod provider;
pub mod recovery;
mod redemption;
pub mod sessions;
pub mod sign_in;
pub mod sign_out;
pub mod tokens;
pub mod undo;

/// How recently one must have signed in to change the ways into an account.
pub const REAUTH_WINDOW: std::time::Duration = std::time::Duration::from_mins(15);

/// Where accounts and everything that belongs to them is kept, and the time. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Accounts {
    /// Users, their ways in, their log.
    pub database: Database,
    /// Everybody's sessions.
    pub sessions: Sessions,
    /// What the owners of accounts are told.
    pub events: SecurityEvents,
    /// What they hold.
    pub portfolio: Portfolio,
    /// The wall clock.
    pub clock: Clock,
}

impl Accounts {
    /// The time now.
    pub fn now(&self) -> OffsetDateTime {
        utc(self.clock.now())
    }

    async fn record(&self, user: Uuid, kind: Kind, method: Option<&str>, client: &ClientInfo) {
        self.events.record(user, kind, method, client, self.now()).await;
    }

    /// Tells the owner by mail of something that was done to their account at `since`, and how to
    /// undo it.
    async fn notify(
        &self,
        user: Uuid,
        to: Option<&Email>,
        notice: &Notice<'_>,
        client: &ClientInfo,
        since: OffsetDateTime,
    ) {
        self.events.mail_with_undo(user, to, notice, client, since, self.now()).await;
    }
}

/// The signed-in caller of an action.
#[derive(Clone)]
pub struct Caller {
    /// The session they ask in.
    pub session: Session,
    /// Their account, as sessions know it.
    pub id: UserId,
    /// Their account, as the database knows it.
    pub user: Uuid,
    /// Their browser.
    pub client: ClientInfo,
}

/// Why an action failed.
#[derive(Debug, thiserror::Error)]
pub enum ActionError<R> {
    /// By a rule, for this reason.
    #[error("refused")]
    Refused(R),
    /// The service itself failed.
    #[error(transparent)]
    Service(ServiceError),
}

impl<R, E: Into<ServiceError>> From<E> for ActionError<R> {
    fn from(error: E) -> Self {
        Self::Service(error.into())
    }
}

/// The caller proved too long ago who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotRecent;

/// Demands that the caller proved within [`REAUTH_WINDOW`] who they are.
///
/// # Errors
/// The refusal, if that was longer ago.
async fn require_recent<R>(session: &Session, refusal: R) -> Result<(), ActionError<R>> {
    match session.require_fresh(REAUTH_WINDOW).await {
        Err(SessionError::NotFresh) => Err(ActionError::Refused(refusal)),
        answer => Ok(answer?),
    }
}

/// The id in the database of a session's user.
///
/// # Errors
/// [`ServiceError::UserId`] if the session is of another application.
pub fn user_id(id: &UserId) -> Result<Uuid, ServiceError> {
    Ok(Uuid::from_slice(id.as_bytes())?)
}

/// The id in sessions of a user.
fn session_id(user: Uuid) -> Result<UserId, SessionError> {
    Ok(UserId::new(user.as_bytes())?)
}
