//! Ending a user's own sessions: one, or all others.

use tracera_session::{Handle, SessionInfo, UserId};

use crate::actions::{Accounts, ActionError, Caller, user_id};
use crate::auth::client::{Client, ClientInfo, shown_address};
use crate::auth::events::{Kind, Notice};
use crate::auth::service_error::ServiceError;
use crate::store::{magic_links, tokens};
use crate::telemetry::task::run_to_completion;

/// The kind of session that was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedSession {
    /// The requesting session: its user is signed out.
    Own,
    /// Another session of the same user.
    Other,
}

/// The caller has no such session, or it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSuchSession;

/// Ends one of the caller's sessions.
///
/// # Errors
/// [`NoSuchSession`].
pub async fn end(
    accounts: Accounts,
    caller: Caller,
    handle: Handle,
) -> Result<EndedSession, ActionError<NoSuchSession>> {
    run_to_completion(async move {
        let Caller { session, id, user, client } = &caller;
        let (ended, which) = match session.info().filter(|info| info.handle == handle) {
            Some(own) => {
                session.sign_out().await?;
                (EndedSession::Own, in_words(&own))
            }
            None => {
                let listed = accounts.sessions.list(id).await?;
                let which = listed.iter().find(|info| info.handle == handle).map(in_words);
                if !accounts.sessions.revoke(id, handle).await? {
                    return Err(ActionError::Refused(NoSuchSession));
                }
                (EndedSession::Other, which.unwrap_or_default())
            }
        };
        tracing::info!(event = "session_revoked", %handle, "a session was ended by its user");
        accounts.record_about(*user, Kind::SessionRevoked, &which, client).await;
        Ok(ended)
    })
    .await
}

/// Describes a session in the log: `Firefox on Linux, 192.0.2.1`.
fn in_words(session: &SessionInfo) -> String {
    let client = Client::from_label(&session.client).phrase();
    let address = session.address.map(|address| format!(", {}", shown_address(address)));
    client + &address.unwrap_or_default()
}

/// Ends the caller's other sessions that began by this sign-in method, because the method was
/// removed. The requesting session stays: its user has just authenticated.
///
/// # Errors
/// [`ServiceError`] when the session store does not answer.
pub(super) async fn end_those_by(
    accounts: &Accounts,
    caller: &Caller,
    method: &str,
) -> Result<(), ServiceError> {
    let own = caller.session.info().map(|info| info.handle);
    for session in accounts.sessions.list(&caller.id).await? {
        let by_it = session.authentication.is_some_and(|proof| *proof.method == *method);
        if by_it && Some(session.handle) != own {
            accounts.sessions.revoke(&caller.id, session.handle).await?;
        }
    }
    Ok(())
}

/// Ends all of the caller's sessions but this one, revokes their API tokens, and voids mailed
/// links, which others may hold. If nothing was ended, nothing is recorded.
///
/// # Errors
/// [`ServiceError`] when a store does not answer.
pub async fn end_others(accounts: Accounts, caller: Caller) -> Result<(), ServiceError> {
    run_to_completion(async move {
        // Links come first, so that a link claimed before creates no session afterwards. A failure
        // here does not keep the sessions from ending.
        let cancelled = magic_links::cancel_all(&accounts.database, caller.user).await;
        // Tokens come before the sessions: ending sessions makes every instance drop its cached
        // tokens.
        let revoked = tokens::remove_all(&accounts.database, caller.user).await;
        let others = accounts.sessions.list(&caller.id).await?.len() > 1;
        caller.session.sign_out_others().await?;
        if cancelled? > 0 || revoked? > 0 || others {
            tracing::info!(
                event = "other_sessions_revoked",
                "all other sessions were ended by their user"
            );
            accounts.record(caller.user, Kind::OtherSessionsRevoked, None, &caller.client).await;
        }
        Ok(())
    })
    .await
}

/// Records and mails that another device presented a copy of a session cookie. The session has
/// ended. Address and browser are those of the other device.
pub async fn tried_on_another_device(accounts: Accounts, user: UserId, client: ClientInfo) {
    run_to_completion(async move {
        let Ok(user) = user_id(&user) else { return };
        tracing::warn!(event = "other_device", %user, "a copied session cookie was tried");
        accounts.record(user, Kind::OtherDevice, None, &client).await;
        let (notice, now) = (Notice::OtherDevice, accounts.now());
        if let Err(error) = accounts.notify_owner(user, &notice, &client, now).await {
            tracing::error!(%error, %user, "a notice could not be sent");
        }
    })
    .await;
}
