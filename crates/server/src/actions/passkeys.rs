//! Passkeys: adding, removing, signing in, confirming, and "passkey only".

use tracera_session::{Session, SessionError};
use uuid::Uuid;

use crate::actions::sessions;
use crate::actions::sign_in::{SignInMethod, SignedIn, sign_in};
use crate::actions::{Accounts, ActionError, Caller, NotRecent, require_recent, user_id};
use crate::auth::authenticators;
use crate::auth::client::ClientInfo;
use crate::auth::events::{Kind, Notice};
use crate::auth::passkeys::{Asked, PASSKEY, PasskeyError, Passkeys};
use crate::auth::service_error::ServiceError;
use crate::auth::token::token_hash;
use crate::auth::webauthn::{AssertionAnswer, RegistrationAnswer, Rejection};
use crate::store::identities::SignInMethods;
use crate::store::passkeys::{self, Adding, NewPasskey, Passkey, Removal, Requester};
use crate::store::users;
use crate::telemetry::metrics;
use crate::telemetry::task::run_to_completion;

/// Maximum length of a passkey's name, in characters.
const NAME_CHARS: usize = 60;

/// Why no passkey was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddRefusal {
    /// See [`NotRecent`].
    NotRecent,
    /// The response is invalid.
    Invalid,
    /// The account has the maximum number of passkeys.
    TooMany,
}

/// Why a passkey response was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofRefusal {
    /// The response is invalid.
    Invalid,
    /// The passkey is unknown or removed. Only the holder of its key can get this error.
    Unknown,
}

/// Why a passkey was not removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoveRefusal {
    /// See [`NotRecent`].
    NotRecent,
    /// The account has no such passkey.
    NotFound,
    /// It is the account's only sign-in method.
    LastWayIn,
    /// "Passkey only" needs it.
    Needed,
}

/// Why "passkey only" was not turned on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnlyRefusal {
    /// See [`NotRecent`].
    NotRecent,
    /// The account has neither two passkeys nor one passkey and recovery codes.
    Lacking,
}

/// The result of a valid passkey response.
#[derive(Debug)]
pub enum Proved {
    /// The owner is signed in.
    SignedIn(SignedIn),
    /// The owner was signed in already; the session is recent again.
    Confirmed(users::User),
}

/// The signed-in user, in the form stored with challenges.
fn requester(session: &Session) -> Result<Option<Requester>, ServiceError> {
    match (session.user(), session.binding()) {
        (Ok(id), Some(binding)) => {
            Ok(Some(Requester { user: user_id(&id)?, session_hash: token_hash(binding) }))
        }
        (Err(SessionError::Unauthenticated), _) | (Ok(_), None) => Ok(None),
        (Err(error), _) => Err(error.into()),
    }
}

/// The options for a registration in the caller's browser.
///
/// # Errors
/// [`NotRecent`].
pub async fn begin_adding(
    accounts: &Accounts,
    passkeys: &Passkeys,
    caller: &Caller,
    browser: Option<&str>,
) -> Result<Asked, ActionError<NotRecent>> {
    require_recent(&caller.session, NotRecent).await?;
    let requester = requester(&caller.session)?.ok_or(SessionError::Unauthenticated)?;
    let user = users::find_by_id(&accounts.database, caller.user).await?;
    let user = user.ok_or(SessionError::Unauthenticated)?;
    Ok(passkeys.ask_for_new(&user, requester, browser, accounts.now()).await?)
}

/// Adds the passkey in the response to the caller's account.
///
/// # Errors
/// [`AddRefusal`].
pub async fn add(
    accounts: Accounts,
    passkeys: Passkeys,
    caller: Caller,
    browser: Option<String>,
    answer: RegistrationAnswer,
) -> Result<Passkey, ActionError<AddRefusal>> {
    require_recent(&caller.session, AddRefusal::NotRecent).await?;
    run_to_completion(async move {
        let (database, user) = (&accounts.database, caller.user);
        let requester = requester(&caller.session)?.ok_or(SessionError::Unauthenticated)?;
        let answered =
            passkeys.registered(&answer, requester, browser.as_deref(), accounts.now()).await;
        let credential = match answered {
            Ok(credential) => credential,
            Err(PasskeyError::Service(error)) => return Err(error.into()),
            Err(PasskeyError::Rejected { why, .. }) => {
                tracing::warn!(event = "passkey_rejected", %user, %why, "a passkey was not added");
                return Err(ActionError::Refused(AddRefusal::Invalid));
            }
        };
        let transports: Vec<_> = answer.transports().collect();
        let name = name(answer.name.as_deref(), &credential.aaguid);
        let new = NewPasskey {
            credential_id: &credential.id,
            public_key: credential.public_key.as_cose(),
            counter: credential.counter,
            aaguid: credential.aaguid,
            name: &name,
            transports: &transports.join(" "),
            backup_eligible: credential.backup_eligible,
            backed_up: credential.backed_up,
        };
        let id = match passkeys::add(database, user, &new, accounts.now()).await? {
            Adding::Added(id) => id,
            Adding::TooMany => return Err(ActionError::Refused(AddRefusal::TooMany)),
            Adding::Taken => {
                let why = Rejection::Registered;
                tracing::warn!(event = "passkey_rejected", %user, %why, "a passkey was not added");
                return Err(ActionError::Refused(AddRefusal::Invalid));
            }
        };
        tracing::info!(event = "passkey_added", %user, passkey = %id, "a passkey was added");
        told(&accounts, &caller, Kind::PasskeyAdded, &Notice::PasskeyAdded(&name)).await?;
        let all = passkeys::of_user(database, user).await?;
        let added = all.into_iter().find(|passkey| passkey.id == id);
        added.ok_or(ActionError::Refused(AddRefusal::Invalid))
    })
    .await
}

/// The name that the owner chose, or the authenticator's claimed model.
fn name(wanted: Option<&str>, aaguid: &[u8]) -> String {
    let wanted = wanted.unwrap_or_default().trim();
    let kept: String = wanted.chars().filter(|c| !c.is_control()).take(NAME_CHARS).collect();
    if kept.is_empty() {
        authenticators::name(aaguid).unwrap_or("Passkey").to_owned()
    } else {
        kept
    }
}

/// The options for a sign-in or a confirmation.
///
/// # Errors
/// [`ServiceError`] when a store does not answer.
pub async fn begin_proof(
    accounts: &Accounts,
    passkeys: &Passkeys,
    session: &Session,
    browser: Option<&str>,
) -> Result<Asked, ServiceError> {
    Ok(passkeys.ask_to_sign(requester(session)?, browser, accounts.now()).await?)
}

/// Signs in the passkey's owner. If the challenge was for a signed-in user, makes their session
/// recent instead.
///
/// # Errors
/// [`ProofRefusal`].
pub async fn prove(
    accounts: Accounts,
    passkeys: Passkeys,
    session: Session,
    client: ClientInfo,
    browser: Option<String>,
    answer: AssertionAnswer,
) -> Result<Proved, ActionError<ProofRefusal>> {
    run_to_completion(async move {
        let requester = requester(&session)?;
        let signed = passkeys.signed(&answer, requester, browser.as_deref(), accounts.now()).await;
        let (passkey, was_asked_of_caller) = match signed {
            Ok(signed) => signed,
            Err(PasskeyError::Service(error)) => return Err(error.into()),
            Err(PasskeyError::Rejected { why, owner }) => {
                return Err(ActionError::Refused(refused(&accounts, &client, why, owner).await));
            }
        };
        let user = users::find_by_id(&accounts.database, passkey.user_id).await?;
        let user = user.ok_or(ActionError::Refused(ProofRefusal::Unknown))?;
        if was_asked_of_caller {
            session.confirm(PASSKEY).await?;
            tracing::info!(event = "confirmed", user = %user.id, "a session was made recent");
            accounts.record(user.id, Kind::Confirmed, Some(PASSKEY), &client).await;
            return Ok(Proved::Confirmed(user));
        }
        let by = SignInMethod::Passkey(&passkey);
        Ok(Proved::SignedIn(sign_in(&accounts, &session, user, by, &client).await?))
    })
    .await
}

async fn refused(
    accounts: &Accounts,
    client: &ClientInfo,
    why: Rejection,
    owner: Option<Uuid>,
) -> ProofRefusal {
    tracing::warn!(event = "passkey_rejected", user = ?owner, %why, "a passkey did not count");
    metrics::tried_to_sign_in(PASSKEY, "refused");
    if let Some(owner) = owner {
        accounts.record(owner, Kind::SignInFailed, Some(PASSKEY), client).await;
    }
    match why {
        Rejection::UnknownCredential => ProofRefusal::Unknown,
        _ => ProofRefusal::Invalid,
    }
}

/// Removes one of the caller's passkeys. `ways` are the sign-in methods that this server offers.
///
/// # Errors
/// [`RemoveRefusal`].
pub async fn remove(
    accounts: Accounts,
    ways: SignInMethods,
    caller: Caller,
    id: Uuid,
) -> Result<(), ActionError<RemoveRefusal>> {
    require_recent(&caller.session, RemoveRefusal::NotRecent).await?;
    run_to_completion(async move {
        let (database, user) = (&accounts.database, caller.user);
        let all = passkeys::of_user(database, user).await?;
        let Some(passkey) = all.into_iter().find(|passkey| passkey.id == id) else {
            return Err(ActionError::Refused(RemoveRefusal::NotFound));
        };
        match passkeys::remove(database, user, id, &ways).await? {
            Removal::Removed => {}
            Removal::NotFound => return Err(ActionError::Refused(RemoveRefusal::NotFound)),
            Removal::LastWayIn => return Err(ActionError::Refused(RemoveRefusal::LastWayIn)),
            Removal::Needed => return Err(ActionError::Refused(RemoveRefusal::Needed)),
        }
        tracing::info!(event = "passkey_removed", %user, passkey = %id, "a passkey was removed");
        // A session does not record which passkey began it, so all sessions begun by passkeys end.
        sessions::end_those_by(&accounts, &caller, PASSKEY).await?;
        let notice = Notice::PasskeyRemoved(&passkey.name);
        told(&accounts, &caller, Kind::PasskeyRemoved, &notice).await?;
        Ok(())
    })
    .await
}

/// Turns "passkey only" on or off for the caller's account.
///
/// # Errors
/// [`OnlyRefusal`].
pub async fn set_passkey_only(
    accounts: Accounts,
    caller: Caller,
    enabled: bool,
) -> Result<(), ActionError<OnlyRefusal>> {
    require_recent(&caller.session, OnlyRefusal::NotRecent).await?;
    run_to_completion(async move {
        let (database, user) = (&accounts.database, caller.user);
        if passkeys::is_passkey_only(database, user).await? == enabled {
            return Ok(());
        }
        if !passkeys::set_passkey_only(database, user, enabled).await? {
            return Err(ActionError::Refused(OnlyRefusal::Lacking));
        }
        tracing::info!(event = "passkey_only", %user, enabled, "passkey only was set");
        let kind = if enabled { Kind::PasskeyOnlyOn } else { Kind::PasskeyOnlyOff };
        told(&accounts, &caller, kind, &Notice::PasskeyOnly(enabled)).await?;
        Ok(())
    })
    .await
}

/// Records the caller's change, and mails them about it.
pub(super) async fn told(
    accounts: &Accounts,
    caller: &Caller,
    kind: Kind,
    notice: &Notice<'_>,
) -> Result<(), ServiceError> {
    accounts.record(caller.user, kind, None, &caller.client).await;
    // One second earlier, because times are stored in whole seconds.
    let since = accounts.now() - time::Duration::SECOND;
    Ok(accounts.notify_owner(caller.user, notice, &caller.client, since).await?)
}
