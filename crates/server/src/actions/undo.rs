//! Recovery of a taken account: the owner follows the link in a notification mail to undo a change.
//! It needs no sign-in and signs nobody in.

use crate::actions::{Accounts, ActionError, session_id};
use crate::auth::client::ClientInfo;
use crate::auth::events::{Kind, Notice};
use crate::auth::service_error::ServiceError;
use crate::auth::token::{pasted, token_hash};
use crate::store::undo_links::{self, UndoLink};
use crate::telemetry::task::run_to_completion;

/// The link is unknown, used, void or expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkInvalid;

/// The state that a link would restore; `None` when it no longer works. Changes nothing.
///
/// # Errors
/// [`ServiceError`] when the database does not answer.
pub async fn peek(accounts: &Accounts, token: &str) -> Result<Option<UndoLink>, ServiceError> {
    let hash = token_hash(pasted(token));
    Ok(undo_links::peek(&accounts.database, &hash, accounts.now()).await?)
}

/// Restores the address that the link was mailed to, unlinks everything linked since, and ends all
/// sessions.
///
/// # Errors
/// [`LinkInvalid`]. If the service fails after the restoration, sessions may continue until their
/// owner signs in and ends them.
pub async fn undo(
    accounts: Accounts,
    token: String,
    client: ClientInfo,
) -> Result<(), ActionError<LinkInvalid>> {
    run_to_completion(async move {
        let (database, sessions) = (&accounts.database, &accounts.sessions);
        let hash = token_hash(pasted(&token));
        let invalid = || ActionError::Refused(LinkInvalid);
        let link = undo_links::peek(database, &hash, accounts.now()).await?.ok_or_else(invalid)?;
        let id = session_id(link.user_id)?;
        // Sessions end before the undo, because a session could change more. They end again after
        // it, because an undone credential could have begun one.
        sessions.revoke_all(&id).await?;
        let undone = undo_links::redeem(database, &hash, accounts.now()).await?;
        let (link, other) = undone.ok_or_else(invalid)?;
        sessions.revoke_all(&id).await?;
        if let Some(other) = other {
            sessions.revoke_all(&session_id(other)?).await?;
        }
        tracing::warn!(event = "undone", user = %link.user_id,
            "the owner of the mailbox undid a change");
        accounts.record(link.user_id, Kind::Undone, Some("email"), &client).await;
        accounts.events.mail(Some(&link.email), &Notice::Undone, &client, accounts.now()).await;
        Ok(())
    })
    .await
}
