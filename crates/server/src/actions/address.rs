//! Setting or changing the address of an account. Nothing changes until a browser signed in to the
//! account opens the link mailed to the new address.

use std::time::Duration;

use url::Url;

use crate::actions::{Accounts, ActionError, Caller, NotRecent, require_recent, sessions};
use crate::auth::events::{Kind, Notice};
use crate::auth::magic_link::MagicLinks;
use crate::auth::mail_limits::network_of;
use crate::auth::token::{fresh_token, pasted, token_hash};
use crate::domain::email::Email;
use crate::mail::{NoticeMail, Origin};
use crate::store::users::{self, User};
use crate::store::{StoreError, email_changes};
use crate::telemetry::task::run_to_completion;

/// How long the link is valid.
const LIFETIME: Duration = Duration::from_mins(10);

/// Mails a link to the requested address; it leads to `page`. Only the owner of that mailbox learns
/// whether another account has the address.
///
/// # Errors
/// [`NotRecent`].
pub async fn request(
    accounts: &Accounts,
    links: &MagicLinks,
    caller: &Caller,
    email: &Email,
    page: &Url,
) -> Result<(), ActionError<NotRecent>> {
    require_recent(&caller.session, NotRecent).await?;
    if !links.limits().admit_confirmation(caller.user, email).await? {
        return Ok(());
    }
    let network = network_of(caller.client.ip);
    let place = links.mailer().reserve(email, &Origin { network: &network, is_known: true })?;
    let (token, now) = (fresh_token(), accounts.now());
    let (hash, until) = (token_hash(&token), now + LIFETIME);
    email_changes::begin(&accounts.database, caller.user, email, &hash, until, now).await?;
    let mut link = page.clone();
    link.query_pairs_mut().append_pair("token", &token);
    let mail = NoticeMail {
        to: email,
        subject: "Confirm your address for Tracera",
        text: "Somebody who is signed in to Tracera wants their account to have this address. \
               Open the link within ten minutes, in the browser where you are signed in, and \
               confirm.",
        button: "Confirm the address",
        link: &link,
        at: now,
        device: &caller.client.client.phrase(),
        ip: caller.client.ip,
        advice: "You did not ask for this? Then ignore this mail. Without you nothing changes.",
    };
    Ok(place.send_notice(&mail).await?)
}

/// Why an address was not verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfirmRefusal {
    /// The link is wrong, used, expired or another account's.
    LinkInvalid,
    /// Another account has the address.
    Taken,
    /// The account is gone.
    NoAccount,
}

/// Sets the verified address of the caller's account. Ends the other sessions that began by a mail
/// to the former address.
///
/// # Errors
/// [`ConfirmRefusal`].
pub async fn confirm(
    accounts: Accounts,
    caller: Caller,
    token: String,
) -> Result<User, ActionError<ConfirmRefusal>> {
    run_to_completion(async move {
        let (database, user) = (&accounts.database, caller.user);
        let no_account = || ActionError::Refused(ConfirmRefusal::NoAccount);
        let before = users::find_by_id(database, user).await?.ok_or_else(no_account)?;
        let hash = token_hash(pasted(&token));
        let email = match email_changes::finish(database, user, &hash, accounts.now()).await {
            Ok(Some(email)) => email,
            Ok(None) => return Err(ActionError::Refused(ConfirmRefusal::LinkInvalid)),
            Err(StoreError::Conflict(_)) => {
                return Err(ActionError::Refused(ConfirmRefusal::Taken));
            }
            Err(error) => return Err(error.into()),
        };
        tracing::info!(event = "email_changed", %user, "the account has another address");
        accounts.record_about(user, Kind::EmailChanged, &email.masked(), &caller.client).await;
        let old = before.email.filter(|old| *old != email);
        // If this fails, the change must still be recorded and mailed: the address has already
        // changed.
        let ended = match old {
            Some(_) => sessions::end_those_by(&accounts, &caller, "email").await,
            None => Ok(()),
        };
        let notice = Notice::EmailChanged(&email);
        accounts.notify(user, old.as_ref(), &notice, &caller.client, accounts.now()).await;
        ended?;
        users::find_by_id(database, user).await?.ok_or_else(no_account)
    })
    .await
}
