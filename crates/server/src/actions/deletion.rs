//! Deleting an account. It is done [`WAIT`] after the request. Until then the owner can call it
//! off, signed in or by the link in the mail.
//!
//! 1. At once all sessions end, and API tokens and mailed links become void. Nothing else changes.
//! 2. When the time has come, everything is removed. Calling it off and carrying it out are one
//!    statement each: one of them wins.

use time::{Duration, OffsetDateTime};
use tokio_util::sync::CancellationToken;

use crate::actions::{Accounts, ActionError, Caller, NotRecent, require_recent, session_id};
use crate::auth::events::{Kind, Notice};
use crate::auth::magic_link::MagicLinks;
use crate::auth::service_error::ServiceError;
use crate::store::users::{self, User};
use crate::store::{magic_links, tokens};
use crate::telemetry::task::run_to_completion;

/// How long an account stays after its deletion was asked for.
pub const WAIT: Duration = Duration::days(7);
/// How often accounts are looked for whose time has come.
const LOOK: std::time::Duration = std::time::Duration::from_mins(10);
/// How many are read at once.
const AT_ONCE: u32 = 100;

/// Asks that the caller's account be deleted after [`WAIT`], signs them out everywhere and tells
/// the owner by mail. Asked for again, the time stays.
///
/// # Errors
/// [`NotRecent`]. When the service fails in between, the caller is still signed in and can try
/// again.
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
        // First, so that nothing opens the account after its sessions have ended.
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

/// Says that the caller's account stays.
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

/// Deletes the accounts whose time has come; how many.
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
            // Before, so that a failure leaves the account to be found again. After, because a
            // session could have been made meanwhile.
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

/// [Carries out](carry_out) what is due from now on, until `stopping`.
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
