//! The personal data of an account.

use futures_util::Stream;
use futures_util::stream::try_unfold;
use time::OffsetDateTime;
use tracera_session::SessionInfo;
use uuid::Uuid;

use crate::actions::{Accounts, ActionError, Caller, NotRecent, require_recent};
use crate::store::events::{self, Event};
use crate::store::identities::{self, LinkedIdentity};
use crate::store::passkeys::{self, Passkey};
use crate::store::portfolio::snapshots::{self, Snapshot};
use crate::store::tokens::{self, StoredToken};
use crate::store::users::User;
use crate::store::{Database, StoreError};

/// Number of events read and sent in one batch.
const EVENTS_AT_ONCE: u32 = 200;

/// All data about a user, except events and items: those can be very many and are streamed.
#[derive(Debug)]
pub struct PersonalData {
    /// The account.
    pub user: User,
    /// The linked identities.
    pub linked: Vec<LinkedIdentity>,
    /// The passkeys.
    pub passkeys: Vec<Passkey>,
    /// The API tokens.
    pub tokens: Vec<StoredToken>,
    /// The active sessions.
    pub sessions: Vec<SessionInfo>,
    /// The past portfolio values, oldest first.
    pub values: Vec<Snapshot>,
}

/// Collects all data about the caller.
///
/// # Errors
/// [`NotRecent`].
pub async fn data(
    accounts: &Accounts,
    caller: &Caller,
    user: User,
) -> Result<PersonalData, ActionError<NotRecent>> {
    require_recent(&caller.session, NotRecent).await?;
    let database = &accounts.database;
    let mut values = snapshots::newest(database, user.id, u32::MAX).await?;
    values.reverse();
    Ok(PersonalData {
        linked: identities::of_user(database, user.id).await?,
        passkeys: passkeys::of_user(database, user.id).await?,
        tokens: tokens::of_user(database, user.id, accounts.now()).await?,
        sessions: accounts.sessions.list(&caller.id).await?,
        values,
        user,
    })
}

/// Streams the user's security events, newest first.
pub fn events(
    database: Database,
    user: Uuid,
    now: OffsetDateTime,
) -> impl Stream<Item = Result<Vec<Event>, StoreError>> + Send {
    try_unfold(None, move |before| {
        let database = database.clone();
        async move {
            let some = events::list(&database, user, before, EVENTS_AT_ONCE, now).await?;
            let oldest = some.last().map(|event| event.id);
            Ok(oldest.map(|oldest| (some, Some(oldest))))
        }
    })
}
