//! The operations of the service, shared by its two interfaces. The API responds with JSON, the
//! pages with HTML and redirects; both call the same functions.
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
use crate::store::{Database, StoreError, users};

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

/// How recently a user must have authenticated to change sign-in methods.
pub const REAUTH_WINDOW: std::time::Duration = std::time::Duration::from_mins(15);

/// The stores of accounts and their data, and the clock. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Accounts {
    /// Users, sign-in methods, security events.
    pub database: Database,
    /// The sessions of all users.
    pub sessions: Sessions,
    /// The notices to account owners.
    pub events: SecurityEvents,
    /// The portfolios.
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

    async fn record_about(&self, user: Uuid, kind: Kind, about: &str, client: &ClientInfo) {
        self.events.record_about(user, kind, about, client, self.now()).await;
    }

    /// [`Accounts::notify`] at the account's own address.
    ///
    /// # Errors
    /// [`StoreError`] as for every store operation.
    async fn notify_owner(
        &self,
        user: Uuid,
        notice: &Notice<'_>,
        client: &ClientInfo,
        since: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let owner = users::find_by_id(&self.database, user).await?;
        let email = owner.and_then(|owner| owner.email);
        self.notify(user, email.as_ref(), notice, client, since).await;
        Ok(())
    }

    /// Mails the owner about a change made at `since`, with a link that undoes it.
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
    /// The session of the request.
    pub session: Session,
    /// The user's id in the session store.
    pub id: UserId,
    /// The user's id in the database.
    pub user: Uuid,
    /// The user's browser.
    pub client: ClientInfo,
}

/// Why an action failed.
#[derive(Debug, thiserror::Error)]
pub enum ActionError<R> {
    /// A rule refused it, for this reason.
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

/// The caller's last authentication is too old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotRecent;

/// Requires that the caller authenticated within [`REAUTH_WINDOW`].
///
/// # Errors
/// `refusal`, if that was longer ago.
async fn require_recent<R>(session: &Session, refusal: R) -> Result<(), ActionError<R>> {
    match session.require_fresh(REAUTH_WINDOW).await {
        Err(SessionError::NotFresh) => Err(ActionError::Refused(refusal)),
        answer => Ok(answer?),
    }
}

/// Converts a session's user id to the id in the database.
///
/// # Errors
/// [`ServiceError::UserId`] if another application created the session.
pub fn user_id(id: &UserId) -> Result<Uuid, ServiceError> {
    Ok(Uuid::from_slice(id.as_bytes())?)
}

/// Converts a database id to the user id in sessions.
fn session_id(user: Uuid) -> Result<UserId, SessionError> {
    Ok(UserId::new(user.as_bytes())?)
}
