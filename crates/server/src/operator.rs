//! The operator's commands. They work on the server's stores.

pub mod accounts;
pub mod backup;
pub mod connections;
pub mod user_selector;

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use tracera_session::{Clock, Handle, NotReplicated, SessionError, UserId};

use crate::auth::client::{Client, ClientInfo};
use crate::auth::events::{Kind, Notice, SecurityEvents, record_of_operator};
use crate::clock::utc;
use crate::config::{Config, DatabaseSettings, DatabaseTarget, SessionStoreKind};
use crate::domain::email::{Email, EmailError};
use crate::error_chain::{causes, chain};
use crate::mail::{self, Mailer};
use crate::operator::user_selector::UserSelector;
use crate::pages::page::minute;
use crate::start::{StartError, Stores, embedded_sessions, open_database, open_stores};
use crate::store::users::User;
use crate::store::{Database, StoreError, magic_links, passkeys, tokens, users};

/// Time limit for sending a command's mail.
const MAIL_DRAIN: Duration = Duration::from_secs(10);

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// A store could not be opened.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The file of a store does not exist.
    #[error(
        "there is no {}; run this with the environment of the server, above all its DATABASE_URL, \
         REDIS_URL and DATA_DIR",
        .0.display()
    )]
    NoStore(PathBuf),
    /// The database did not answer.
    #[error("{}", chain(.0))]
    Database(#[from] StoreError),
    /// The session store did not answer.
    #[error("{}", chain(.0))]
    Sessions(#[from] SessionError),
    /// The change was made, but replicas have not confirmed it.
    #[error("{done}, but {reason}: a failover may undo it")]
    NotReplicated {
        /// The change.
        done: String,
        /// Why it may be lost.
        reason: String,
    },
    /// There is no such user.
    #[error("there is no such user")]
    NoSuchUser,
    /// The text is not an e-mail address.
    #[error("--user: {0}")]
    Email(#[from] EmailError),
    /// The backup failed.
    #[error(transparent)]
    Backup(#[from] backup::BackupError),
    /// Mail is not configured.
    #[error("there is no mail server; set SMTP_URL and MAIL_FROM, or RESEND_API_KEY")]
    NoMail,
    /// The mail server refused the mail.
    #[error("{0}")]
    Mail(#[from] mail::Refusal),
    /// The recipient is not an e-mail address.
    #[error("{0}")]
    Recipient(#[source] EmailError),
    /// The user has no active session with that handle.
    #[error("the user has no live session with that handle; see `tracera sessions list`")]
    NoSuchSession,
}

/// `tracera sessions list`: one line per active session.
///
/// # Errors
/// [`OperatorError`].
pub async fn list_sessions(config: &Config, user: &UserSelector) -> Result<String, OperatorError> {
    let stores = existing_stores(config, &Clock::system()).await?;
    let user = session_user(&find(&stores.database, user).await?);
    let sessions = stores.sessions.list(&user).await?;
    if sessions.is_empty() {
        return Ok("the user has no live session\n".to_owned());
    }
    let mut lines =
        format!("{:<14}{:<22}{:<10}{:<28}FROM\n", "HANDLE", "SIGNED IN", "BY", "CLIENT");
    for session in sessions {
        let method = session.authentication.map_or_else(String::new, |proof| proof.method.into());
        let client = Client::from_label(&session.client).phrase();
        let from = session.address.map_or_else(String::new, |address| address.to_string());
        let since = minute(utc(session.created));
        let handle = session.handle.to_string();
        let _ = writeln!(lines, "{handle:<14}{since:<22}{method:<10}{client:<28}{from}");
    }
    Ok(lines)
}

/// `tracera sessions revoke`: ends one session or all sessions of a user.
///
/// # Errors
/// [`OperatorError`].
pub async fn revoke_sessions(
    config: &Config,
    user: &UserSelector,
    handle: Option<&str>,
) -> Result<String, OperatorError> {
    let clock = Clock::system();
    let stores = existing_stores(config, &clock).await?;
    let account = find(&stores.database, user).await?;
    let user = session_user(&account);
    let Some(handle) = handle else {
        let count = stores.sessions.list(&user).await?.len();
        // Links come first, so that a link claimed before creates no session afterwards. Each step
        // is attempted even if another fails.
        let cancelled = magic_links::cancel_all(&stores.database, account.id).await;
        let tokens = tokens::remove_all(&stores.database, account.id).await;
        let revoked = stores.sessions.revoke_all(&user).await;
        let sessions = if count == 1 { "session" } else { "sessions" };
        let done = format!("ended {count} {sessions}, any sign-in under way and any unused link");
        let doubt = doubt(&revoked);
        if doubt.is_none() {
            revoked?;
        }
        let told = tell_owner(&stores, &account, &clock).await;
        cancelled?;
        tokens?;
        return answer(done, &told, doubt);
    };
    let handle = Handle::parse(handle).ok_or(OperatorError::NoSuchSession)?;
    let revoked = stores.sessions.revoke(&user, handle).await;
    let doubt = doubt(&revoked);
    if doubt.is_none() && !revoked? {
        return Err(OperatorError::NoSuchSession);
    }
    answer("ended the session".to_owned(), &tell_owner(&stores, &account, &clock).await, doubt)
}

/// `tracera users reset-ways-in`: for a user who has lost their passkeys and codes. Mailed links
/// and providers sign in again; the removed passkeys and codes no longer do.
///
/// # Errors
/// [`OperatorError`].
pub async fn reset_ways_in(config: &Config, user: &UserSelector) -> Result<String, OperatorError> {
    let clock = Clock::system();
    let stores = existing_stores(config, &clock).await?;
    let account = find(&stores.database, user).await?;
    passkeys::reset(&stores.database, account.id).await?;
    // Sessions end after the removal of credentials that could create new ones. Ending them also
    // makes every instance drop its cached tokens.
    let revoked = stores.sessions.revoke_all(&session_user(&account)).await;
    let doubt = doubt(&revoked);
    if doubt.is_none() {
        revoked?;
    }
    let now = utc(clock.now());
    let recorded = record_of_operator(&stores.database, account.id, Kind::WaysInReset, now).await;
    let mailer = Mailer::new(&config.mail).map_err(StartError::from)?;
    let mut account_url = config.http.base_url.clone();
    account_url.set_path("/account");
    let names = config.auth.provider_names();
    let events = SecurityEvents::new(stores.database.clone(), mailer.clone(), account_url, names);
    let by = Client { browser: Some("the operator's command line".to_owned()), device: None };
    let by = ClientInfo { client: by, ip: Ipv4Addr::LOCALHOST.into(), device_token: None };
    events.mail(account.email.as_ref(), &Notice::WaysInReset, &by, now).await;
    if let Some(mailer) = mailer {
        mailer.shutdown(MAIL_DRAIN).await;
    }
    let told = recorded.map_or_else(
        |error| format!("this is missing from the account's security events: {error}\n"),
        |()| String::new(),
    );
    let done = "removed passkeys, recovery codes and API tokens, turned \"passkey only\" off, and \
                ended all sessions";
    answer(done.to_owned(), &told, doubt)
}

/// Why a completed change may still be lost.
fn doubt<T>(outcome: &Result<T, SessionError>) -> Option<String> {
    let error = outcome.as_ref().err()?;
    causes(error).find_map(|cause| cause.downcast_ref::<NotReplicated>()).map(ToString::to_string)
}

fn answer(done: String, told: &str, doubt: Option<String>) -> Result<String, OperatorError> {
    match doubt {
        Some(reason) => Err(OperatorError::NotReplicated { done, reason }),
        None => Ok(format!("{done}\n{told}")),
    }
}

/// Records in the account's security events that sessions were ended.
async fn tell_owner(stores: &Stores, account: &User, clock: &Clock) -> String {
    let now = utc(clock.now());
    match record_of_operator(&stores.database, account.id, Kind::RevokedByOperator, now).await {
        Ok(()) => String::new(),
        Err(error) => format!("this is missing from the account's security events: {error}\n"),
    }
}

/// `tracera send-test-mail`: sends one mail and returns the mail server's response.
///
/// # Errors
/// [`OperatorError`].
pub async fn send_test_mail(config: &Config, address: &str) -> Result<String, OperatorError> {
    let to = Email::parse(address).map_err(OperatorError::Recipient)?;
    let mailer = Mailer::new(&config.mail).map_err(StartError::from)?;
    let mailer = mailer.ok_or(OperatorError::NoMail)?;
    let words = mailer.send_test(&to, utc(Clock::system().now())).await?;
    Ok(format!("the mail server answered: {words}\n"))
}

/// `tracera migrate`: runs the migrations.
///
/// # Errors
/// [`OperatorError`].
pub async fn migrate(settings: &DatabaseSettings) -> Result<String, OperatorError> {
    open_database(&settings.target, settings.max_connections, &settings.data_dir).await?;
    Ok("the database is up to date\n".to_owned())
}

/// Opens the server's stores, but creates none. A new store would be empty, and a command on it
/// would seem to succeed.
async fn existing_stores(config: &Config, clock: &Clock) -> Result<Stores, OperatorError> {
    check_database(config)?;
    let store = &config.store;
    let is_embedded = store.sessions == SessionStoreKind::Embedded;
    let sessions = is_embedded.then(|| embedded_sessions(&store.data_dir));
    match sessions.filter(|file| !file.exists()) {
        Some(missing) => Err(OperatorError::NoStore(missing)),
        None => Ok(open_stores(config, clock).await?),
    }
}

/// Opens the server's database alone, possibly while the server uses it.
async fn existing_database(config: &Config) -> Result<Database, OperatorError> {
    check_database(config)?;
    let store = &config.store;
    Ok(open_database(&store.database, store.database_max_connections, &store.data_dir).await?)
}

fn check_database(config: &Config) -> Result<(), OperatorError> {
    match &config.store.database {
        DatabaseTarget::Sqlite(file) if !file.exists() => Err(OperatorError::NoStore(file.clone())),
        DatabaseTarget::Sqlite(_) | DatabaseTarget::Postgres(_) => Ok(()),
    }
}

async fn find(database: &Database, selector: &UserSelector) -> Result<User, OperatorError> {
    let user = match selector {
        UserSelector::Id(id) => users::find_by_id(database, *id).await?,
        UserSelector::Email(email) => users::find_by_email(database, &Email::parse(email)?).await?,
    };
    user.ok_or(OperatorError::NoSuchUser)
}

fn session_user(user: &User) -> UserId {
    UserId::new(user.id.as_bytes()).expect("a UUID has 16 bytes")
}
