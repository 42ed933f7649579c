//! `tracera users`: lists accounts; shows, enables, disables or deletes one.

use std::fmt::Write;

use tracera_session::Clock;

use super::{OperatorError, existing_database, existing_stores, find, session_user};
use crate::clock::utc;
use crate::config::Config;
use crate::domain::email::Email;
use crate::operator::user_selector::UserSelector;
use crate::pages::page::minute;
use crate::store::users::{self, User};
use crate::store::{identities, magic_links};

/// Number of users per query.
const PAGE: u32 = 500;

/// `tracera users list`: one line per user, oldest account first.
///
/// # Errors
/// [`OperatorError`].
pub async fn list(config: &Config) -> Result<String, OperatorError> {
    let database = existing_database(config).await?;
    let mut lines = format!("{:<38}{:<22}{:<10}ADDRESS\n", "ID", "SINCE", "STATE");
    let mut after = None;
    loop {
        let page = users::page(&database, after, PAGE).await?;
        for user in &page {
            let address = user.email.as_ref().map_or("", |email| email.as_str());
            let (id, since) = (user.id.to_string(), minute(user.created_at));
            let _ = writeln!(lines, "{id:<38}{since:<22}{:<10}{address}", state(user));
        }
        match page.last() {
            Some(last) if page.len() == PAGE as usize => after = Some((last.created_at, last.id)),
            _ => return Ok(lines),
        }
    }
}

/// `tracera users show`: shows one account.
///
/// # Errors
/// [`OperatorError`].
pub async fn show(config: &Config, user: &UserSelector) -> Result<String, OperatorError> {
    let database = existing_database(config).await?;
    let user = find(&database, user).await?;
    let ways: Vec<_> = identities::of_user(&database, user.id)
        .await?
        .iter()
        .map(|identity| identity.provider.as_str())
        .collect();
    let text = |text: Option<&str>| text.unwrap_or("none").to_owned();
    let facts = [
        ("id", user.id.to_string()),
        ("address", text(user.email.as_ref().map(Email::as_str))),
        ("name", text(user.name.as_deref().map(|name| name.escape_debug().to_string()).as_deref())),
        ("role", user.role.as_str().to_owned()),
        ("state", state(&user).to_owned()),
        ("since", minute(user.created_at)),
        ("linked", if ways.is_empty() { "none".to_owned() } else { ways.join(", ") }),
    ];
    Ok(facts.into_iter().fold(String::new(), |mut lines, (what, value)| {
        let _ = writeln!(lines, "{what:<9}{value}");
        lines
    }))
}

/// `tracera users disable`: nobody can sign in to the account until it is enabled.
///
/// # Errors
/// [`OperatorError`]. If only the sessions could not be ended, the account is disabled
/// nevertheless.
pub async fn disable(config: &Config, user: &UserSelector) -> Result<String, OperatorError> {
    let clock = Clock::system();
    let stores = existing_stores(config, &clock).await?;
    let account = find(&stores.database, user).await?;
    // This comes first, so that a concurrent sign-in finds the account disabled after it has
    // created its session.
    users::set_disabled(&stores.database, account.id, Some(utc(clock.now()))).await?;
    magic_links::cancel_all(&stores.database, account.id).await?;
    stores.sessions.revoke_all(&session_user(&account)).await?;
    Ok("disabled the account and ended its sessions\n".to_owned())
}

/// `tracera users enable`: undoes `disable`.
///
/// # Errors
/// [`OperatorError`].
pub async fn enable(config: &Config, user: &UserSelector) -> Result<String, OperatorError> {
    let database = existing_database(config).await?;
    let account = find(&database, user).await?;
    users::set_disabled(&database, account.id, None).await?;
    Ok("enabled the account\n".to_owned())
}

/// `tracera users delete`: deletes the account and all its data.
///
/// # Errors
/// [`OperatorError`].
pub async fn delete(config: &Config, user: &UserSelector) -> Result<String, OperatorError> {
    let clock = Clock::system();
    let stores = existing_stores(config, &clock).await?;
    let account = find(&stores.database, user).await?;
    let id = session_user(&account);
    // Sessions end again afterwards, because a session created meanwhile would have no account.
    users::set_disabled(&stores.database, account.id, Some(utc(clock.now()))).await?;
    stores.sessions.revoke_all(&id).await?;
    users::delete(&stores.database, account.id).await?;
    stores.sessions.revoke_all(&id).await?;
    Ok("deleted the account and ended its sessions\n".to_owned())
}

/// `tracera sessions revoke --everybody`: ends all sessions of all users.
///
/// # Errors
/// [`OperatorError`]; the sessions of users before the failed one have been ended.
pub async fn revoke_everybody(config: &Config) -> Result<String, OperatorError> {
    let stores = existing_stores(config, &Clock::system()).await?;
    let (mut after, mut count) = (None, 0_usize);
    loop {
        let page = users::page(&stores.database, after, PAGE).await?;
        for user in &page {
            magic_links::cancel_all(&stores.database, user.id).await?;
            stores.sessions.revoke_all(&session_user(user)).await?;
        }
        count += page.len();
        match page.last() {
            Some(last) if page.len() == PAGE as usize => after = Some((last.created_at, last.id)),
            _ => {
                let users = if count == 1 { "user" } else { "users" };
                return Ok(format!("ended all sessions and unused links of {count} {users}\n"));
            }
        }
    }
}

fn state(user: &User) -> &'static str {
    if user.disabled_at.is_some() { "disabled" } else { "enabled" }
}
