//! The end of every way in: a session, an entry in the log, perhaps a mail.

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

/// What somebody has shown to be theirs, and by which they come in.
#[derive(Clone, Copy, Debug)]
pub enum SignInMethod<'a> {
    /// This mailbox, by a link mailed there.
    Mailbox(&'a ClaimedLink),
    /// This account at a provider.
    Identity(&'a Identity),
    /// This passkey, unlocked by its owner.
    Passkey(&'a Passkey),
    /// A recovery code, which was used up.
    RecoveryCode,
}

/// Somebody is in.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// Who.
    pub user: User,
    /// For the device cookie, see [`ClientInfo::device_token`].
    pub device_token: String,
}

impl SignInMethod<'_> {
    /// Its name in sessions, logs and events.
    fn name(self) -> &'static str {
        match self {
            Self::Mailbox(_) => "email",
            Self::Identity(identity) => identity.provider.as_str(),
            Self::Passkey(_) => PASSKEY,
            Self::RecoveryCode => RECOVERY,
        }
    }

    /// Whether it opens an account that only passkeys and recovery codes open.
    fn is_for_passkey_only(self) -> bool {
        matches!(self, Self::Passkey(_) | Self::RecoveryCode)
    }

    /// Whether it leads to that user's account now.
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

/// Signs the user in, and cancels a sign-in link of theirs that was not used.
///
/// # Errors
/// [`SessionError::Superseded`] when the user signed out everywhere or lost this way in meanwhile;
/// else [`ServiceError`] when the session cannot be made. Then nobody is signed in.
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
    // Looked at once more with the epoch known. Who takes a way in away and then ends all sessions
    // does so either before this look, or after the epoch was read.
    if !by.leads_to(accounts, &user).await? {
        return Err(SessionError::Superseded.into());
    }
    if let Some(email) = &user.email {
        // After a sign-in an unused link in the mailbox would only be another way in.
        magic_links::cancel_outstanding(&accounts.database, email).await?;
    }
    let label = client.client.label();
    session.sign_in(SignIn::new(id, method).client(&label).address(client.ip).epoch(epoch)).await?;
    // Checked again: removing a sign-in method ends the sessions that exist by then. A session made
    // afterwards finds here that the method is gone. The same holds for a disabled account.
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

/// The user's mailbox has just been shown to be theirs. If only a provider had vouched for the
/// address so far, somebody else may have made the account. Then everything in it is removed and
/// its sessions end.
///
/// # Errors
/// [`ServiceError`] when a store does not answer; calling it again then completes it.
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
        // Sessions end before the removal, because one could add data, and after it, because
        // removed credentials could make one. Both come before the mark is cleared, so that a
        // failure is retried.
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
