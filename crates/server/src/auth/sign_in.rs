//! The end of every way in: a session, an entry in the log, perhaps a mail.

use std::time::Duration;

use http::HeaderValue;
use tracera_session::{Session, SessionError, SignIn, UserId};

use crate::auth::events::{ClientInfo, Kind, Notice};
use crate::clock::utc;
use crate::domain::provider::Identity;
use crate::http::App;
use crate::http::error::{AppError, AppResult};
use crate::store::magic_links::ClaimedLink;
use crate::store::users::User;
use crate::store::{StoreError, email_changes, identities, magic_links, users};
use crate::telemetry::metrics;

/// How recently one must have signed in to change the ways into an account.
pub const REAUTH_WINDOW: Duration = Duration::from_mins(15);

/// What somebody has shown to be theirs, and by which they come in.
#[derive(Clone, Copy, Debug)]
pub enum SignInMethod<'a> {
    /// This mailbox, by a link mailed there.
    Mailbox(&'a ClaimedLink),
    /// This account at a provider.
    Identity(&'a Identity),
}

impl SignInMethod<'_> {
    /// Its name in sessions, logs and events.
    fn name(self) -> &'static str {
        match self {
            Self::Mailbox(_) => "email",
            Self::Identity(identity) => identity.provider.as_str(),
        }
    }

    /// Whether it leads to that user's account now.
    async fn leads_to(self, app: &App, user: &User) -> Result<bool, StoreError> {
        let owner = match self {
            Self::Mailbox(link) if !magic_links::is_claimed(&app.database, link.id).await? => None,
            Self::Mailbox(link) => {
                users::find_by_email(&app.database, &link.email).await?.map(|user| user.id)
            }
            Self::Identity(identity) => identities::owner(&app.database, identity).await?,
        };
        Ok(owner == Some(user.id))
    }
}

/// Signs the user in, and ends a sign-in link of theirs that was not used. Returns the cookie to
/// set beside the session's.
///
/// # Errors
/// 409 `sign_in_superseded` when the user signed out everywhere or lost this way in meanwhile; 503
/// when the session cannot be made. Then nobody is signed in.
pub async fn sign_in(
    app: &App,
    session: &Session,
    user: &User,
    by: SignInMethod<'_>,
    visit: &ClientInfo,
) -> AppResult<HeaderValue> {
    let (id, method) = (UserId::new(user.id.as_bytes()).map_err(AppError::internal)?, by.name());
    let epoch = app.sessions.epoch(&id).await?;
    // Looked at once more with the epoch known. Who takes a way in away and then ends all sessions
    // does so either before this look, or after the epoch was read.
    if !by.leads_to(app, user).await? {
        return Err(SessionError::Superseded.into());
    }
    if let Some(email) = &user.email {
        // Who is in needs no link any more; one that lies about in a mailbox shall not be another
        // way in.
        magic_links::cancel_outstanding(&app.database, email).await?;
    }
    let client = visit.client.label();
    session.sign_in(SignIn::new(id, method).client(&client).address(visit.ip).epoch(epoch)).await?;
    tracing::info!(event = "signed_in", user = %user.id, method, "signed in");
    metrics::tried_to_sign_in(method, "done");
    Ok(app.events.signed_in(user, method, visit, utc(app.clock.now())).await)
}

/// The user's mailbox has just been shown to be theirs. If so far only a provider had vouched for
/// the address, somebody else may have made the account: everything they may have left in it goes,
/// and their sessions end.
///
/// # Errors
/// 503 when a store does not answer; calling it again then completes it.
pub async fn on_mailbox_verified(
    app: &App,
    session: &Session,
    user: User,
    visit: &ClientInfo,
) -> AppResult<User> {
    let now = utc(app.clock.now());
    if let Some(email) = &user.email {
        email_changes::void_for(&app.database, email).await?;
    }
    if user.email_vouched_by.is_none() {
        return Ok(user);
    }
    let id = UserId::new(user.id.as_bytes()).map_err(AppError::internal)?;
    let same_person = session.user().is_ok_and(|present| present == id);
    if !same_person {
        // Before, for a session could add to what is removed, and after, for what is removed could
        // make a session; both before the mark goes, so that a failure is made up for.
        app.sessions.revoke_all(&id).await?;
        identities::strip_account(&app.database, user.id).await?;
        app.sessions.revoke_all(&id).await?;
        app.portfolio.forget(user.id);
        tracing::warn!(event = "account_reclaimed", user = %user.id, "the owner of the mailbox has come");
    }
    users::confirm_mailbox(&app.database, user.id, now).await?;
    if !same_person {
        app.events.record(user.id, Kind::Reclaimed, Some("email"), visit, now).await;
        app.events.mail(user.email.as_ref(), &Notice::Reclaimed, visit, now);
    }
    users::find_by_id(&app.database, user.id).await?.ok_or_else(AppError::unauthenticated)
}
