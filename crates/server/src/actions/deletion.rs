//! Account deletion, [`WAIT`] after the request. Until then the owner can cancel it, signed in or
//! by the link in the mail.
//!
//! 1. The request ends all sessions and voids API tokens and mailed links at once. It changes
//!    nothing else.
//! 2. After the wait everything is deleted. Cancelling and deleting are one statement each, so
//!    exactly one of them takes effect.

use time::{Duration, OffsetDateTime};
use tokio_util::sync::CancellationToken;

use crate::actions::{Accounts, ActionError, Caller, NotRecent, require_recent, session_id};
use crate::auth::events::{Kind, Notice};
use crate::auth::magic_link::MagicLinks;
use crate::auth::service_error::ServiceError;
use crate::store::users::{self, User};
use crate::store::{magic_links, tokens};
use crate::telemetry::task::run_to_completion;

/// Time from the request to the deletion.
pub const WAIT: Duration = Duration::days(7);
/// Interval between searches for due accounts.
const LOOK: std::time::Duration = std::time::Duration::from_mins(10);
/// Number of accounts per query.
const AT_ONCE: u32 = 100;

/// Schedules the deletion of the caller's account after [`WAIT`], signs the caller out everywhere
/// and mails the owner. A repeated request does not change the time.
///
/// # Errors
/// [`NotRecent`]. If the service fails halfway, the caller is still signed in and can retry.
pub async fn ask(
    accounts: Accounts,
    caller: Caller,
    user: User,
) -> Result<(), ActionError<NotRecent>> {
    require_recent(&caller.session, NotRecent).await?;
    run_to_completion(async move {
        let (database, id, now) = (&accounts.database, user.id, accounts.now());
        let at = now + WAIT;
        let is_new = users::set_deletion(database, id, Some(at)).await?;
        // These come first, so that nothing can sign in after the sessions have ended.
        magic_links::cancel_all(database, id).await?;
        tokens::remove_all(database, id).await?;
        caller.session.sign_out_others().await?;
        if is_new {
            tracing::info!(event = "deletion_asked", user = %id, "an account is to be deleted");
            accounts.record(id, Kind::DeletionAsked, None, &caller.client).await;
            let notice = Notice::DeletionAsked(at);
            accounts.notify(id, user.email.as_ref(), &notice, &caller.client, now).await;
        }
        caller.session.sign_out().await?;
        Ok(())
    })
    .await
}

/// Cancels the deletion of the caller's account.
///
/// # Errors
/// [`ServiceError`] when the database does not answer.
pub async fn call_off(accounts: Accounts, caller: Caller, user: User) -> Result<(), ServiceError> {
    run_to_completion(async move {
        if users::set_deletion(&accounts.database, user.id, None).await? {
            tracing::info!(event = "deletion_called_off", user = %user.id, "an account stays");
            accounts.record(user.id, Kind::DeletionCalledOff, None, &caller.client).await;
            let (notice, now) = (Notice::DeletionCalledOff, accounts.now());
            accounts.events.mail(user.email.as_ref(), &notice, &caller.client, now).await;
        }
        Ok(())
    })
    .await
}

/// Deletes the accounts that are due; returns their number.
///
/// # Errors
/// [`ServiceError`] when a store does not answer. The next run deletes the rest.
pub async fn carry_out(
    accounts: &Accounts,
    links: Option<&MagicLinks>,
    now: OffsetDateTime,
) -> Result<u64, ServiceError> {
    let mut deleted = 0;
    loop {
        let due = users::due_for_deletion(&accounts.database, now, AT_ONCE).await?;
        for user in &due {
            let id = session_id(user.id)?;
            // Sessions end before the deletion, so that a failure leaves the account for the next
            // run. They end again after it, because one could have begun meanwhile.
            accounts.sessions.revoke_all(&id).await?;
            if !users::delete_if_due(&accounts.database, user.id, now).await? {
                continue;
            }
            accounts.portfolio.forget(user.id);
            accounts.sessions.revoke_all(&id).await?;
            if let Some(links) = links {
                links.limits().forget(user.id, user.email.as_ref()).await?;
            }
            tracing::info!(event = "account_deleted", user = %user.id, "an account was deleted");
            deleted += 1;
        }
        if due.len() < AT_ONCE as usize {
            return Ok(deleted);
        }
    }
}

/// Runs [`carry_out`] periodically until `stopping`.
pub fn keep_up(accounts: Accounts, links: Option<MagicLinks>, stopping: CancellationToken) {
    tokio::spawn(stopping.run_until_cancelled_owned(async move {
        loop {
            if let Err(error) = carry_out(&accounts, links.as_ref(), accounts.now()).await {
                error.log();
            }
            tokio::time::sleep(LOOK).await;
        }
    }));
}
