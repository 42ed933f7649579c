//! Sign-in by a mailed link, or by the code in the same mail.

use tracera_session::Session;
use uuid::Uuid;

use crate::actions::linking;
use crate::actions::redemption::{self, Turn};
use crate::actions::sign_in::{SignInMethod, SignedIn, on_mailbox_verified, sign_in};
use crate::actions::{Accounts, ActionError, REAUTH_WINDOW};
use crate::auth::accounts as rules;
use crate::auth::client::ClientInfo;
use crate::auth::events::Kind;
use crate::auth::magic_link::{ClaimError, Credential, MagicLinks};
use crate::auth::provider_error::ProviderError;
use crate::auth::service_error::ServiceError;
use crate::auth::token::token_hash;
use crate::domain::email::Email;
use crate::domain::provider::Identity;
use crate::store::magic_links::ClaimedLink;
use crate::store::redemptions::{self, Redemption, RedemptionKey};
use crate::store::{passkeys, users};
use crate::telemetry::RequestId;
use crate::telemetry::task::run_to_completion;

/// Why a link or code did not sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedeemRefusal {
    /// The link or code is wrong, used, superseded or expired.
    Invalid,
    /// The account accepts only passkeys and recovery codes. The link stays valid.
    PasskeyOnly,
    /// The link belongs to another account than the required one. The link stays valid.
    OtherAccount,
}

/// Claims a link and signs its owner in. The same browser may repeat this for some seconds. To
/// confirm a signed-in user, `only` is their account: no other is signed in, and none is created.
///
/// # Errors
/// [`RedeemRefusal`]. If the service fails, the link becomes valid again.
pub async fn redeem(
    accounts: Accounts,
    links: MagicLinks,
    session: Session,
    client: ClientInfo,
    credential: Credential,
    only: Option<Uuid>,
) -> Result<SignedIn, ActionError<RedeemRefusal>> {
    run_to_completion(async move {
        let (accounts, key) = (&accounts, links.redemption_key(&credential));
        if let Some(entered) = already_in(accounts, &session, &key, &client).await? {
            return Ok(entered);
        }
        match redemption::take_turn(accounts, &key).await? {
            Turn::First => {}
            Turn::Repeat(redemption) => {
                let again =
                    redemption::sign_in_again(accounts, &session, &key, &redemption, &client);
                return again.await?.ok_or(ActionError::Refused(RedeemRefusal::Invalid));
            }
            Turn::Nothing => return Err(ActionError::Refused(RedeemRefusal::Invalid)),
        }
        let entered = redeem_first(accounts, &links, &session, &client, &credential, only).await;
        match &entered {
            Ok(entered) => {
                let handle = session.info().map(|info| info.handle.to_string());
                let redemption = Redemption {
                    outcome: Some(redemption::SIGNED_IN.to_owned()),
                    user_id: Some(entered.user.id),
                    session: handle,
                    return_to: None,
                };
                redemption::conclude(accounts, &key, &redemption).await;
            }
            Err(_) => redemption::abandon(accounts, &key).await,
        }
        entered
    })
    .await
}

/// Handles a credential presented in the very session that it created.
async fn already_in(
    accounts: &Accounts,
    session: &Session,
    key: &RedemptionKey,
    client: &ClientInfo,
) -> Result<Option<SignedIn>, ServiceError> {
    let Some(info) = session.info() else { return Ok(None) };
    let (database, handle) = (&accounts.database, info.handle.to_string());
    let made =
        redemptions::find_by_session(database, &key.proof_hash, &handle, accounts.now()).await?;
    match made {
        Some(made) => redemption::sign_in_again(accounts, session, key, &made, client).await,
        None => Ok(None),
    }
}

async fn redeem_first(
    accounts: &Accounts,
    links: &MagicLinks,
    session: &Session,
    client: &ClientInfo,
    credential: &Credential,
    only: Option<Uuid>,
) -> Result<SignedIn, ActionError<RedeemRefusal>> {
    let claimed = match links.claim(credential, client, accounts.now()).await {
        Ok(claimed) => claimed,
        Err(ClaimError::Invalid) => return Err(ActionError::Refused(RedeemRefusal::Invalid)),
        Err(ClaimError::WrongCode(addresses)) => {
            // This runs in the background, so that the response time does not reveal whether there
            // is an account.
            for email in addresses {
                RequestId::spawn(note_wrong_code(accounts.clone(), email, client.clone()));
            }
            return Err(ActionError::Refused(RedeemRefusal::Invalid));
        }
        Err(ClaimError::Store(error)) => return Err(error.into()),
    };
    match enter(accounts, session, &claimed, client, only).await {
        Ok(entered) => {
            let browser = credential.transaction.as_deref().map(token_hash);
            let identity = browser.and_then(|browser| claimed.identity_for(&browser));
            if let Some(identity) = identity.filter(|_| only.is_none())
                && let Err(error) = link(accounts, session, &entered, identity, client).await
            {
                let (user, code) = (entered.user.id, error.code());
                let method = identity.provider.as_str();
                tracing::warn!(event = "link_failed", %user, method, code, "nothing was linked");
                accounts.record(user, Kind::LinkFailed, Some(method), client).await;
            }
            Ok(entered)
        }
        Err(error) => {
            links.release(&claimed).await;
            Err(error)
        }
    }
}

/// Links the identity that this browser brought before the mailbox was proved in it.
async fn link(
    accounts: &Accounts,
    session: &Session,
    entered: &SignedIn,
    identity: &Identity,
    client: &ClientInfo,
) -> Result<(), ProviderError> {
    let (database, user, now) = (&accounts.database, entered.user.id, accounts.now());
    if !rules::link(database, user, identity, now).await? {
        return Ok(());
    }
    // The user may have signed out everywhere meanwhile.
    if session.require_fresh(REAUTH_WINDOW).await.is_err() {
        rules::undo_link(database, user, identity).await?;
        return Err(ProviderError::SessionChanged);
    }
    Ok(linking::tell_linked(accounts, user, identity.provider, client, now).await?)
}

/// Informs the account's owner about a wrong code, once per mailed code.
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
    only: Option<Uuid>,
) -> Result<SignedIn, ActionError<RedeemRefusal>> {
    if let Some(only) = only {
        let owner = users::find_by_email(&accounts.database, &claimed.email).await?;
        if owner.is_none_or(|owner| owner.id != only) {
            return Err(ActionError::Refused(RedeemRefusal::OtherAccount));
        }
    }
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
