//! Giving an account an address, or another one: nothing changes until the link mailed there has
//! been opened by somebody who is signed in to that account.

use std::time::Duration;

use time::OffsetDateTime;
use url::Url;
use uuid::Uuid;

use crate::auth::cookie::{fresh_handle, handle_hash};
use crate::auth::events::ClientInfo;
use crate::auth::magic_link::MagicLinks;
use crate::domain::email::Email;
use crate::http::error::{AppError, AppResult};
use crate::mail::NoticeMail;
use crate::store::{Database, StoreError, email_changes};

/// How long the link works.
const LIFETIME: Duration = Duration::from_mins(10);

/// Mails a link to the wanted address. Whether another account has it is told to nobody but its
/// owner.
///
/// # Errors
/// 503 when the database or the mail queue cannot take it.
pub async fn request(
    database: &Database,
    links: &MagicLinks,
    user: Uuid,
    email: &Email,
    page: &Url,
    visit: &ClientInfo,
    now: OffsetDateTime,
) -> AppResult<()> {
    if !links.may_confirm(user, email).await? {
        return Ok(());
    }
    let token = fresh_handle();
    email_changes::begin(database, user, email, &handle_hash(&token), now + LIFETIME, now).await?;
    let mut link = page.clone();
    link.query_pairs_mut().append_pair("token", &token);
    let mail = NoticeMail {
        to: email,
        subject: "Confirm your address for Tracera",
        text: "Somebody who is signed in to Tracera wants their account to have this address. Open the link within ten minutes, in the browser where you are signed in, and confirm.",
        button: "Confirm the address",
        link: &link,
        at: now,
        device: &visit.client.phrase(),
        ip: visit.ip,
        advice: "You did not ask for this? Then ignore this mail. Without you nothing changes.",
    };
    links.mailer().notify(&mail).map_err(AppError::unavailable)
}

/// Gives the account the address its link was mailed to.
///
/// # Errors
/// 400 `link_invalid` unless the link is this user's, unused and not too old; 409 `email_taken`.
pub async fn confirm(
    database: &Database,
    user: Uuid,
    token: &str,
    now: OffsetDateTime,
) -> AppResult<Email> {
    match email_changes::finish(database, user, &handle_hash(token), now).await {
        Ok(Some(email)) => Ok(email),
        Ok(None) => Err(AppError::bad_request(
            "link_invalid",
            "this link is wrong, used, expired or of another account; please ask for a new one",
        )),
        Err(StoreError::Conflict(_)) => Err(AppError::new(
            http::StatusCode::CONFLICT,
            "email_taken",
            "another account has this address; sign in to that one instead",
        )),
        Err(error) => Err(error.into()),
    }
}
