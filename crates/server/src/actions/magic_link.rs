//! Signing in by a mailed link, or by the code in the same mail.

use tracera_session::Session;

use crate::actions::sign_in::{SignInMethod, SignedIn, on_mailbox_verified, sign_in};
use crate::actions::{Accounts, ActionError};
use crate::auth::client::ClientInfo;
use crate::auth::events::Kind;
use crate::auth::magic_link::{ClaimError, MagicLinks, Proof};
use crate::domain::email::Email;
use crate::store::magic_links::ClaimedLink;
use crate::store::{passkeys, users};
use crate::telemetry::RequestId;
use crate::telemetry::task::run_to_completion;

/// Why a link or code did not sign its owner in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedeemRefusal {
    /// It is wrong, used, superseded or expired.
    Invalid,
    /// Only passkeys and recovery codes open the account. The link stays as it is.
    PasskeyOnly,
}

/// Uses a link up and signs its owner in.
///
/// # Errors
/// [`RedeemRefusal`]. When the service fails, the link works again.
pub async fn redeem(
    accounts: Accounts,
    links: MagicLinks,
    session: Session,
    client: ClientInfo,
    proof: Proof,
) -> Result<SignedIn, ActionError<RedeemRefusal>> {
    run_to_completion(async move {
        let claimed = match links.claim(&proof, accounts.now()).await {
            Ok(claimed) => claimed,
            Err(ClaimError::Invalid) => return Err(ActionError::Refused(RedeemRefusal::Invalid)),
            Err(ClaimError::FirstWrongCode(email)) => {
                // Not waited for, so that the answer takes the same time whether there is an
                // account.
                RequestId::spawn(note_wrong_code(accounts, email, client));
                return Err(ActionError::Refused(RedeemRefusal::Invalid));
            }
            Err(ClaimError::Store(error)) => return Err(error.into()),
        };
        match enter(&accounts, &session, &claimed, &client).await {
            Ok(entered) => Ok(entered),
            Err(error) => {
                links.release(&claimed).await;
                Err(error)
            }
        }
    })
    .await
}

/// Tells the owner of the account that somebody guessed: once for each code that was sent.
async fn note_wrong_code(accounts: Accounts, email: Email, client: ClientInfo) {
    match users::find_by_email(&accounts.database, &email).await {
        Ok(Some(user)) => {
            accounts.record(user.id, Kind::SignInFailed, Some("email"), &client).await;
        }
        Ok(None) => {}
        Err(error) => tracing::error!(%error, "a wrong code could not be noted"),
    }
}

async fn enter(
    accounts: &Accounts,
    session: &Session,
    claimed: &ClaimedLink,
    client: &ClientInfo,
) -> Result<SignedIn, ActionError<RedeemRefusal>> {
    let now = accounts.now();
    let (user, _) =
        users::find_or_create_by_verified_email(&accounts.database, &claimed.email, now).await?;
    let user = on_mailbox_verified(accounts, session, user, client).await?;
    if passkeys::is_passkey_only(&accounts.database, user.id).await? {
        accounts.record(user.id, Kind::SignInFailed, Some("email"), client).await;
        return Err(ActionError::Refused(RedeemRefusal::PasskeyOnly));
    }
    Ok(sign_in(accounts, session, user, SignInMethod::Mailbox(claimed), client).await?)
}
