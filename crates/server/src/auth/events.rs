//! Security notices to account owners: a log, and mails about the most important events.
//!
//! Neither contains anything that could be used as a credential. If an entry or a mail cannot be
//! stored, the service logs an error. The user's action is not undone.

use std::sync::Arc;

use time::{Duration, OffsetDateTime};
use url::Url;
use uuid::Uuid;

use crate::auth::client::ClientInfo;
use crate::auth::token::{fresh_token, token_hash};
use crate::domain::email::Email;
use crate::domain::provider::{Provider, ProviderNames};
use crate::mail::{Mailer, NoticeMail};
use crate::store::events::{self, KEPT, NewEvent};
use crate::store::undo_links::{self, NewUndoLink};
use crate::store::users::User;
use crate::store::{Database, StoreError};

/// How long the owner can undo a change.
const UNDO_LIFETIME: Duration = Duration::days(7);

/// The kind of a security event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A sign-in.
    SignedIn,
    /// A sign-in with a browser that had not signed in to the account before.
    NewDevice,
    /// A sign-in attempt failed.
    SignInFailed,
    /// A sign-out.
    SignedOut,
    /// A provider was linked.
    Linked,
    /// Linking a provider failed.
    LinkFailed,
    /// A provider was unlinked.
    Unlinked,
    /// A session was ended from another session.
    SessionRevoked,
    /// All other sessions were ended.
    OtherSessionsRevoked,
    /// The server's operator ended one or all sessions.
    RevokedByOperator,
    /// The e-mail address was set or changed.
    EmailChanged,
    /// A signed-in user confirmed their identity.
    Confirmed,
    /// A passkey was added.
    PasskeyAdded,
    /// A passkey was removed.
    PasskeyRemoved,
    /// "Passkey only" was turned on: other methods no longer sign in.
    PasskeyOnlyOn,
    /// "Passkey only" was turned off: every method signs in again.
    PasskeyOnlyOff,
    /// Recovery codes were created; earlier ones are void.
    RecoveryCodesMade,
    /// A recovery code was used to sign in.
    RecoveryCodeUsed,
    /// An API token was created.
    TokenCreated,
    /// An API token was revoked.
    TokenRevoked,
    /// The server's operator removed passkeys, recovery codes and tokens.
    WaysInReset,
    /// The owner requested deletion of the account.
    DeletionAsked,
    /// The owner cancelled the deletion.
    DeletionCalledOff,
    /// The mailbox owner undid changes by an undo link.
    Undone,
    /// The mailbox owner signed in for the first time, and everything added before was removed.
    Reclaimed,
    /// Another device presented a copy of the session cookie, so the session was ended.
    OtherDevice,
}

impl Kind {
    /// The name in the database and in responses; it never changes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SignedIn => "signed_in",
            Self::NewDevice => "new_device",
            Self::SignInFailed => "sign_in_failed",
            Self::SignedOut => "signed_out",
            Self::Linked => "linked",
            Self::LinkFailed => "link_failed",
            Self::Unlinked => "unlinked",
            Self::SessionRevoked => "session_revoked",
            Self::OtherSessionsRevoked => "other_sessions_revoked",
            Self::RevokedByOperator => "revoked_by_operator",
            Self::EmailChanged => "email_changed",
            Self::Confirmed => "confirmed",
            Self::PasskeyAdded => "passkey_added",
            Self::PasskeyRemoved => "passkey_removed",
            Self::PasskeyOnlyOn => "passkey_only_on",
            Self::PasskeyOnlyOff => "passkey_only_off",
            Self::RecoveryCodesMade => "recovery_codes_made",
            Self::RecoveryCodeUsed => "recovery_code_used",
            Self::TokenCreated => "token_created",
            Self::TokenRevoked => "token_revoked",
            Self::WaysInReset => "ways_in_reset",
            Self::DeletionAsked => "deletion_asked",
            Self::DeletionCalledOff => "deletion_called_off",
            Self::Reclaimed => "reclaimed",
            Self::OtherDevice => "other_device",
            Self::Undone => "undone",
        }
    }
}

/// Writes the log and sends the mails.
#[derive(Clone, Debug)]
pub struct SecurityEvents {
    database: Database,
    mailer: Option<Mailer>,
    account_url: Arc<Url>,
    names: ProviderNames,
}

impl SecurityEvents {
    /// Mails link to the page at `account_url`, and call providers by these names.
    pub fn new(
        database: Database,
        mailer: Option<Mailer>,
        account_url: Url,
        names: ProviderNames,
    ) -> Self {
        Self { database, mailer, account_url: Arc::new(account_url), names }
    }

    /// Adds an event to the user's log.
    pub async fn record(
        &self,
        user: Uuid,
        kind: Kind,
        method: Option<&str>,
        client: &ClientInfo,
        now: OffsetDateTime,
    ) {
        self.add(NewEvent { method, ..event(user, kind) }, client, now).await;
    }

    /// Adds an event about one of several things; `about` names it, for example a session.
    pub async fn record_about(
        &self,
        user: Uuid,
        kind: Kind,
        about: &str,
        client: &ClientInfo,
        now: OffsetDateTime,
    ) {
        self.add(NewEvent { about: Some(about), ..event(user, kind) }, client, now).await;
    }

    async fn add(&self, event: NewEvent<'_>, client: &ClientInfo, now: OffsetDateTime) {
        let device = client.client.phrase();
        let event = NewEvent { device: &device, ip: Some(client.ip), ..event };
        if let Err(error) = events::record(&self.database, &event, now).await {
            let NewEvent { user, kind, .. } = event;
            tracing::error!(%error, %user, kind, "a security event could not be kept");
        }
    }

    /// Records a sign-in, and mails the owner if the browser is new. Returns the device token for
    /// the browser's cookie.
    pub async fn signed_in(
        &self,
        user: &User,
        method: &str,
        client: &ClientInfo,
        now: OffsetDateTime,
    ) -> String {
        let known = client.device_token.as_deref();
        let device = known.map_or_else(fresh_token, ToOwned::to_owned);
        let hash = token_hash(&device);
        match events::known_devices(&self.database, user.id, known.map(|_| &hash)).await {
            Ok((_, true)) => {}
            // The owner of a new account knows the first device. An older account without known
            // devices has signed in with none for as long as events are kept.
            Ok((false, _)) if now - user.created_at < KEPT => {}
            Ok(_) => {
                self.record(user.id, Kind::NewDevice, Some(method), client, now).await;
                let to = user.email.as_ref();
                self.mail_with_undo(user.id, to, &Notice::NewDevice, client, now, now).await;
            }
            Err(error) => {
                tracing::error!(%error, user = %user.id, "a device could not be looked up");
            }
        }
        let entered = NewEvent {
            method: Some(method),
            device_hash: Some(hash),
            ..event(user.id, Kind::SignedIn)
        };
        self.add(entered, client, now).await;
        device
    }

    /// Handles a repeated sign-in, which creates no new event. Returns the device token for the
    /// browser's cookie.
    pub async fn recognised(&self, user: &User, client: &ClientInfo) -> String {
        if let Some(known) = &client.device_token {
            return known.clone();
        }
        let device = fresh_token();
        let hash = token_hash(&device);
        if let Err(error) = events::correct_device(&self.database, user.id, &hash).await {
            tracing::error!(%error, user = %user.id, "a device will seem new next time");
        }
        device
    }

    /// Mails the owner, if there is an address and a mailer.
    pub async fn mail(
        &self,
        to: Option<&Email>,
        notice: &Notice<'_>,
        client: &ClientInfo,
        now: OffsetDateTime,
    ) {
        let advice = "This was not you? Then sign in, end all other sessions and unlink what you \
                      do not know.";
        self.send(to, notice, ("See your account", &self.account_url, advice), client, now).await;
    }

    /// Mails the owner with a link that undoes the account's changes since `since`.
    pub async fn mail_with_undo(
        &self,
        user: Uuid,
        to: Option<&Email>,
        notice: &Notice<'_>,
        client: &ClientInfo,
        since: OffsetDateTime,
        now: OffsetDateTime,
    ) {
        let (Some(email), Some(_)) = (to, &self.mailer) else { return };
        let token = fresh_token();
        let new = NewUndoLink {
            token_hash: token_hash(&token),
            user,
            email,
            since,
            expires_at: now + UNDO_LIFETIME,
        };
        if let Err(error) = undo_links::create(&self.database, &new, now).await {
            tracing::error!(%error, %user, "a notice goes without its undo link");
            return self.mail(to, notice, client, now).await;
        }
        let mut link = Url::clone(&self.account_url);
        link.set_path("/undo");
        link.query_pairs_mut().append_pair("token", &token);
        let advice = "This was you? Then there is nothing to do. If not, the link takes your \
                      account back without a sign-in: it restores this address, unlinks what was \
                      linked since and ends all sessions. It works for 7 days.";
        self.send(to, notice, ("This was not me", &link, advice), client, now).await;
    }

    /// `action` is the button's label, its URL, and the advice text.
    async fn send(
        &self,
        to: Option<&Email>,
        notice: &Notice<'_>,
        action: (&str, &Url, &str),
        client: &ClientInfo,
        now: OffsetDateTime,
    ) {
        let (Some(to), Some(mailer)) = (to, &self.mailer) else { return };
        let device = client.client.phrase();
        let (subject, text) = notice.words(&self.names);
        let mail = NoticeMail {
            to,
            subject: &subject,
            text: &text,
            button: action.0,
            link: action.1,
            at: now,
            device: &device,
            ip: client.ip,
            advice: action.2,
        };
        if let Err(error) = mailer.notify(&mail).await {
            tracing::error!(%error, to = to.masked(), "a notice could not be sent");
        }
    }
}

/// Logs an action that the operator took on the command line.
///
/// # Errors
/// [`StoreError`] as for every store operation.
pub async fn record_of_operator(
    database: &Database,
    user: Uuid,
    kind: Kind,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let event = NewEvent { device: "the operator's command line", ..event(user, kind) };
    events::record(database, &event, now).await
}

fn event(user: Uuid, kind: Kind) -> NewEvent<'static> {
    NewEvent {
        user,
        kind: kind.as_str(),
        method: None,
        about: None,
        device: "",
        device_hash: None,
        ip: None,
    }
}

/// The subject of a mail to the owner.
#[derive(Clone, Copy, Debug)]
pub enum Notice<'a> {
    /// A sign-in with a browser that had not signed in to the account before.
    NewDevice,
    /// A provider was linked.
    Linked(Provider),
    /// A provider was unlinked.
    Unlinked(Provider),
    /// The e-mail address was changed to this one. Sent to the old address.
    EmailChanged(&'a Email),
    /// A passkey with this name was added.
    PasskeyAdded(&'a str),
    /// A passkey with this name was removed.
    PasskeyRemoved(&'a str),
    /// "Passkey only" was turned on or off.
    PasskeyOnly(bool),
    /// Recovery codes were created.
    RecoveryCodesMade,
    /// A recovery code was used to sign in.
    RecoveryCodeUsed {
        /// The number of codes left.
        left: i64,
    },
    /// An API token with this name was created.
    TokenCreated(&'a str),
    /// The operator removed passkeys, recovery codes and tokens.
    WaysInReset,
    /// Everything added before the owner's first sign-in was removed.
    Reclaimed,
    /// Another device presented a copy of a session cookie.
    OtherDevice,
    /// The changes were undone.
    Undone,
    /// The account will be deleted at this time.
    DeletionAsked(OffsetDateTime),
    /// The deletion was cancelled.
    DeletionCalledOff,
}

impl Notice<'_> {
    /// The subject and the text.
    fn words(&self, names: &ProviderNames) -> (String, String) {
        match self {
            Self::NewDevice => (
                "New sign-in to Tracera".to_owned(),
                "Somebody signed in to your account with a browser that had not been used for it \
                 before."
                    .to_owned(),
            ),
            Self::Linked(provider) => {
                let name = names.of(*provider);
                (
                    format!("{name} was linked to your Tracera account"),
                    format!("From now on your {name} account opens your Tracera account."),
                )
            }
            Self::Unlinked(provider) => {
                let name = names.of(*provider);
                (
                    format!("{name} was unlinked from your Tracera account"),
                    format!("Your {name} account does not open your Tracera account any more."),
                )
            }
            Self::EmailChanged(new) => (
                "The address of your Tracera account was changed".to_owned(),
                format!(
                    "Your account has the address {} from now on. Nothing more will be sent here.",
                    new.masked()
                ),
            ),
            Self::PasskeyAdded(name) => (
                "A passkey was added to your Tracera account".to_owned(),
                format!("From now on the passkey \u{201c}{name}\u{201d} opens your account."),
            ),
            Self::PasskeyRemoved(name) => (
                "A passkey was removed from your Tracera account".to_owned(),
                format!("The passkey \u{201c}{name}\u{201d} does not open your account any more."),
            ),
            Self::PasskeyOnly(true) => (
                "Only passkeys open your Tracera account now".to_owned(),
                "From now on only your passkeys and recovery codes open your account. Mailed \
                 links and linked accounts do not."
                    .to_owned(),
            ),
            Self::PasskeyOnly(false) => (
                "Your Tracera account takes every way in again".to_owned(),
                "\u{201c}Passkey only\u{201d} was turned off. Mailed links and linked accounts \
                 open your account again."
                    .to_owned(),
            ),
            Self::RecoveryCodesMade => (
                "New recovery codes for your Tracera account".to_owned(),
                "Ten recovery codes were made. Earlier ones do not work any more.".to_owned(),
            ),
            Self::RecoveryCodeUsed { left } => (
                "A recovery code opened your Tracera account".to_owned(),
                format!("Somebody signed in with one of your recovery codes. Codes left: {left}."),
            ),
            Self::TokenCreated(name) => (
                "An API token was made for your Tracera account".to_owned(),
                format!(
                    "The API token \u{201c}{name}\u{201d} lets a program use your account within \
                     its scopes. It cannot change the account."
                ),
            ),
            Self::WaysInReset => (
                "Passkeys were removed from your Tracera account".to_owned(),
                "The operator of this server removed all passkeys, recovery codes and API tokens, \
                 and turned \u{201c}passkey only\u{201d} off. Sign in by a mailed link and add a \
                 passkey again."
                    .to_owned(),
            ),
            Self::OtherDevice => (
                "A copy of your Tracera session was tried elsewhere".to_owned(),
                "Somebody had a copy of your browser\u{2019}s session and tried to use it on \
                 another device. That session has been ended everywhere. Copies are made by \
                 malware: please check the computer you use, then sign in again."
                    .to_owned(),
            ),
            Self::Undone => (
                "Your Tracera account is yours again".to_owned(),
                "What you did not do is undone: the account has this address, what was linked \
                 since is unlinked, and all sessions have ended. Sign in by mail, and look at \
                 your sign-in methods."
                    .to_owned(),
            ),
            Self::DeletionAsked(at) => deletion_asked(*at),
            Self::DeletionCalledOff => (
                "Your Tracera account stays".to_owned(),
                "Somebody who is signed in called off its deletion.".to_owned(),
            ),
            Self::Reclaimed => (
                "Your Tracera account was cleaned".to_owned(),
                "You have shown for the first time that this mailbox is yours. To be safe, \
                 everything from before was removed: sessions, linked accounts, the portfolio and \
                 the log. Please link your accounts again."
                    .to_owned(),
            ),
        }
    }
}

fn deletion_asked(at: OffsetDateTime) -> (String, String) {
    let (date, hour, minute) = (at.date(), at.hour(), at.minute());
    let text = format!(
        "Somebody who is signed in asked for that. On {date} at {hour:02}:{minute:02} UTC the \
         account, the portfolio with its history and all ways in are removed for good. All \
         sessions have ended already. Until then nothing else is lost: to keep the account, sign \
         in and press \u{201c}Keep my account\u{201d}, or open the link."
    );
    ("Your Tracera account will be deleted in 7 days".to_owned(), text)
}
