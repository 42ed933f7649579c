//! Makes single-use credentials repeatable for the browser that used them: after a double click, a
//! reload, or a lost response.
//!
//! 1. For [`REPEATABLE`] the same credential, presented again by the same browser, has the same
//!    outcome. For anybody else it is void.
//! 2. Of concurrent identical requests, one does the work; the others wait for its outcome.
//! 3. A repeated sign-in creates a new session and ends the one created before. It is refused if
//!    that one has already ended, so that a sign-out stays in force.

use std::time::Duration;

use tracera_session::{Handle, Session, SignIn, UserId};

use crate::actions::sign_in::SignedIn;
use crate::actions::{Accounts, session_id};
use crate::auth::client::ClientInfo;
use crate::auth::service_error::ServiceError;
use crate::store::StoreError;
use crate::store::redemptions::{self, Redemption, RedemptionKey};
use crate::store::users;

/// How long an outcome is repeated.
const REPEATABLE: Duration = Duration::from_secs(30);
/// How long the first request may take before others stop waiting.
const LONGEST_WORK: Duration = Duration::from_mins(1);
/// Interval and maximum number of checks for the first request's outcome.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS: u32 = 300;
/// Maximum number of other repetitions that may win first.
const MOST_AT_ONCE: u32 = 100;

/// The code of a sign-in in the stored outcome.
pub(super) const SIGNED_IN: &str = "signed_in";

/// The task of a request.
pub(super) enum Turn {
    /// Do the work: this request is the first.
    First,
    /// Repeat this outcome of the first request.
    Repeat(Redemption),
    /// Do nothing: the first request failed or takes too long.
    Nothing,
}

/// Determines whether this request is the first of its kind. If not, waits for the outcome of the
/// first.
///
/// # Errors
/// [`StoreError`] as for every store operation.
pub(super) async fn take_turn(
    accounts: &Accounts,
    key: &RedemptionKey,
) -> Result<Turn, StoreError> {
    let now = accounts.now();
    if redemptions::reserve(&accounts.database, key, now + LONGEST_WORK, now).await? {
        return Ok(Turn::First);
    }
    for _ in 0..LOOKS {
        match redemptions::find(&accounts.database, key, accounts.now()).await? {
            Some(redemption) if redemption.outcome.is_some() => {
                return Ok(Turn::Repeat(redemption));
            }
            Some(_) => tokio::time::sleep(LOOK).await,
            None => break,
        }
    }
    Ok(Turn::Nothing)
}

/// Records the outcome of the first request.
pub(super) async fn conclude(accounts: &Accounts, key: &RedemptionKey, redemption: &Redemption) {
    let until = accounts.now() + REPEATABLE;
    if let Err(error) = redemptions::conclude(&accounts.database, key, redemption, until).await {
        tracing::error!(%error, "an outcome was not kept; it is not repeated");
    }
}

/// Records that the first request failed, so that another may try.
pub(super) async fn abandon(accounts: &Accounts, key: &RedemptionKey) {
    if let Err(error) = redemptions::abandon(&accounts.database, key).await {
        tracing::error!(%error, "a redemption that came to nothing stays reserved for a minute");
    }
}

/// Repeats the sign-in of this browser; `None` if its session has ended since.
///
/// # Errors
/// [`ServiceError`] when a store does not answer.
pub(super) async fn sign_in_again(
    accounts: &Accounts,
    session: &Session,
    key: &RedemptionKey,
    redemption: &Redemption,
    client: &ClientInfo,
) -> Result<Option<SignedIn>, ServiceError> {
    let (Some(user), Some(made)) = (redemption.user_id, &redemption.session) else {
        return Ok(None);
    };
    let id = session_id(user)?;
    let Some(user) = users::find_by_id(&accounts.database, user).await? else { return Ok(None) };
    if session.user().is_ok_and(|present| present == id) {
        let device_token = accounts.events.recognised(&user, client).await;
        return Ok(Some(SignedIn { user, device_token }));
    }
    let epoch = accounts.sessions.epoch(&id).await?;
    let Some((made, method)) = living(accounts, &id, key, made.clone()).await? else {
        return Ok(None);
    };
    let label = client.client.label();
    let sign_in = SignIn::new(id, &method).client(&label).address(client.ip).epoch(epoch);
    session.sign_in(sign_in).await?;
    if take_over(accounts, session, key, made).await? {
        let device_token = accounts.events.recognised(&user, client).await;
        return Ok(Some(SignedIn { user, device_token }));
    }
    session.sign_out().await?;
    Ok(None)
}

/// The newest session and the method that began it; `None` if it has ended. A concurrent repetition
/// may replace `made` with its own session.
async fn living(
    accounts: &Accounts,
    user: &UserId,
    key: &RedemptionKey,
    mut made: String,
) -> Result<Option<(String, Box<str>)>, ServiceError> {
    for _ in 0..MOST_AT_ONCE {
        let sessions = accounts.sessions.list(user).await?;
        let found = sessions.into_iter().find(|info| info.handle.to_string() == made);
        if let Some(proof) = found.and_then(|info| info.authentication) {
            return Ok(Some((made, proof.method)));
        }
        let last = redemptions::find(&accounts.database, key, accounts.now()).await?;
        match last.and_then(|last| last.session) {
            Some(last) if last != made => made = last,
            _ => break,
        }
    }
    Ok(None)
}

/// Replaces the earlier session with this one and ends it. `false` if it has already ended: then
/// this session has no right to replace it.
async fn take_over(
    accounts: &Accounts,
    session: &Session,
    key: &RedemptionKey,
    mut made: String,
) -> Result<bool, ServiceError> {
    let database = &accounts.database;
    let Some(own) = session.info().map(|info| info.handle.to_string()) else { return Ok(false) };
    for _ in 0..MOST_AT_ONCE {
        if redemptions::replace_session(database, key, &made, &own).await? {
            let (user, handle) = (session.user()?, Handle::parse(&made));
            let Some(handle) = handle else { return Ok(false) };
            return Ok(accounts.sessions.revoke(&user, handle).await?);
        }
        match redemptions::find(database, key, accounts.now()).await?.and_then(|it| it.session) {
            Some(newer) => made = newer,
            None => break,
        }
    }
    Ok(false)
}
