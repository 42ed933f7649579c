//! Everything kept about the owner of an account.

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

/// How many events are read and sent together.
const EVENTS_AT_ONCE: u32 = 200;

/// What is kept about a person, except their events and the items they hold, which may be very
/// many.
#[derive(Debug)]
pub struct PersonalData {
    /// Their account.
    pub user: User,
    /// Their identities at providers.
    pub linked: Vec<LinkedIdentity>,
    /// Their passkeys.
    pub passkeys: Vec<Passkey>,
    /// Their API tokens.
    pub tokens: Vec<StoredToken>,
    /// Where they are signed in.
    pub sessions: Vec<SessionInfo>,
    /// What their portfolio was worth, the oldest first.
    pub values: Vec<Snapshot>,
}

/// Everything kept about the caller.
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

/// The user's log, the newest first, read while it is sent.
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
