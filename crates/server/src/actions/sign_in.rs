//! The last step of every sign-in: a session, a security event, perhaps a mail.

use tracera_session::{Session, SessionError, SignIn};

use crate::actions::{Accounts, session_id};
use crate::auth::client::ClientInfo;
use crate::auth::events::{Kind, Notice};
use crate::auth::passkeys::PASSKEY;
use crate::auth::recovery_codes::RECOVERY;
use crate::auth::service_error::ServiceError;
use crate::domain::provider::Identity;
use crate::store::magic_links::ClaimedLink;
use crate::store::passkeys::{self, Passkey};
use crate::store::users::User;
use crate::store::{StoreError, email_changes, identities, magic_links, users};
use crate::telemetry::metrics;

/// The credential that a user signs in with.
#[derive(Clone, Copy, Debug)]
pub enum SignInMethod<'a> {
    /// A mailbox, by a link mailed there.
    Mailbox(&'a ClaimedLink),
    /// An identity at a provider.
    Identity(&'a Identity),
    /// A passkey.
    Passkey(&'a Passkey),
    /// A recovery code, already used up.
    RecoveryCode,
}

/// The result of a sign-in.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// The user.
    pub user: User,
    /// The value of the device cookie, see [`ClientInfo::device_token`].
    pub device_token: String,
}

impl SignInMethod<'_> {
    /// The method's name in sessions, logs and events.
    fn name(self) -> &'static str {
        match self {
            Self::Mailbox(_) => "email",
            Self::Identity(identity) => identity.provider.as_str(),
            Self::Passkey(_) => PASSKEY,
            Self::RecoveryCode => RECOVERY,
        }
    }

    /// Whether a "passkey only" account accepts this method.
    fn is_for_passkey_only(self) -> bool {
        matches!(self, Self::Passkey(_) | Self::RecoveryCode)
    }

    /// Whether the credential belongs to that user's account now.
    async fn leads_to(self, accounts: &Accounts, user: &User) -> Result<bool, StoreError> {
        let database = &accounts.database;
        let owner = match self {
            Self::Mailbox(link) if !magic_links::is_claimed(database, link.id).await? => None,
            Self::Mailbox(link) => {
                users::find_by_email(database, &link.email).await?.map(|user| user.id)
            }
            Self::Identity(identity) => identities::owner(database, identity).await?,
            Self::Passkey(passkey) => {
                passkeys::find(database, &passkey.credential_id).await?.map(|found| found.user_id)
            }
            Self::RecoveryCode => Some(user.id),
        };
        if !self.is_for_passkey_only() && passkeys::is_passkey_only(database, user.id).await? {
            return Ok(false);
        }
        Ok(owner == Some(user.id))
    }
}

/// Signs the user in, and voids their unused sign-in links.
///
/// # Errors
/// [`SessionError::Superseded`] when the user signed out everywhere or lost this sign-in method
/// meanwhile; otherwise [`ServiceError`] when the session cannot be created. In both cases nobody
/// is signed in.
pub async fn sign_in(
    accounts: &Accounts,
    session: &Session,
    user: User,
    by: SignInMethod<'_>,
    client: &ClientInfo,
) -> Result<SignedIn, ServiceError> {
    if user.disabled_at.is_some() {
        tracing::warn!(event = "disabled_user", user = %user.id, "a disabled user was not let in");
        return Err(SessionError::Superseded.into());
    }
    let (id, method) = (session_id(user.id)?, by.name());
    let epoch = accounts.sessions.epoch(&id).await?;
    // Checked again after reading the epoch. Removing a sign-in method and then ending all sessions
    // happens either before this check, or after the epoch was read.
    if !by.leads_to(accounts, &user).await? {
        return Err(SessionError::Superseded.into());
    }
    if let Some(email) = &user.email {
        // An unused link left in the mailbox would be one more way to sign in.
        magic_links::cancel_outstanding(&accounts.database, email).await?;
    }
    let label = client.client.label();
    session.sign_in(SignIn::new(id, method).client(&label).address(client.ip).epoch(epoch)).await?;
    // Checked once more. Removing a sign-in method ends the sessions that exist by then; a session
    // created later fails here. The same holds for a disabled account.
    if !by.leads_to(accounts, &user).await?
        || users::is_disabled(&accounts.database, user.id).await?
    {
        session.sign_out().await?;
        return Err(SessionError::Superseded.into());
    }
    tracing::info!(event = "signed_in", user = %user.id, method, "signed in");
    metrics::tried_to_sign_in(method, "done");
    let device_token = accounts.events.signed_in(&user, method, client, accounts.now()).await;
    Ok(SignedIn { user, device_token })
}

/// Handles the first proof that the mailbox belongs to the user. Until then only a provider vouched
/// for the address, so someone else may have created the account. Everything in it is removed and
/// its sessions end.
///
/// # Errors
/// [`ServiceError`] when a store does not answer; another call completes the work.
pub(super) async fn on_mailbox_verified(
    accounts: &Accounts,
    session: &Session,
    user: User,
    client: &ClientInfo,
) -> Result<User, ServiceError> {
    let Accounts { database, sessions, .. } = accounts;
    if let Some(email) = &user.email {
        email_changes::void_for(database, email).await?;
    }
    if user.email_vouched_by.is_none() {
        return Ok(user);
    }
    let id = session_id(user.id)?;
    let same_person = session.user().is_ok_and(|present| present == id);
    if !same_person {
        // Sessions end before the removal, because a session could add data. They end again after
        // it, because a removed credential could have begun one. The mark is cleared last, so that
        // a failure is retried.
        sessions.revoke_all(&id).await?;
        identities::strip_account(database, user.id).await?;
        sessions.revoke_all(&id).await?;
        accounts.portfolio.forget(user.id);
        tracing::warn!(event = "account_reclaimed", user = %user.id,
            "the owner of the mailbox has come");
    }
    users::confirm_mailbox(database, user.id, accounts.now()).await?;
    if !same_person {
        accounts.record(user.id, Kind::Reclaimed, Some("email"), client).await;
        accounts.events.mail(user.email.as_ref(), &Notice::Reclaimed, client, accounts.now()).await;
    }
    let user = users::find_by_id(database, user.id).await?;
    user.ok_or_else(|| SessionError::Unauthenticated.into())
}
