//! Recovery codes: creating them, and signing in with one.

use std::time::Duration;

use tracera_session::Session;

use crate::actions::passkeys::told;
use crate::actions::sign_in::{SignInMethod, SignedIn, sign_in};
use crate::actions::{Accounts, ActionError, Caller, NotRecent, require_recent};
use crate::auth::client::ClientInfo;
use crate::auth::events::{Kind, Notice};
use crate::auth::recovery_codes::{CODES, ClaimError, RECOVERY, RecoveryCode, RecoveryCodes};
use crate::domain::email::Email;
use crate::store::recovery_codes;
use crate::telemetry::metrics;
use crate::telemetry::task::run_to_completion;

/// Why a recovery code did not sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryRefusal {
    /// No account has that address and code.
    Invalid,
    /// The address had too many attempts; the time to wait.
    TooOften(Duration),
}

/// Creates new codes for the caller's account; earlier ones become void.
///
/// # Errors
/// [`NotRecent`].
pub async fn make(
    accounts: Accounts,
    codes: RecoveryCodes,
    caller: Caller,
) -> Result<[RecoveryCode; CODES], ActionError<NotRecent>> {
    require_recent(&caller.session, NotRecent).await?;
    run_to_completion(async move {
        let made = codes.replace(caller.user).await?;
        tracing::info!(event = "recovery_codes_made", user = %caller.user,
            "recovery codes were made");
        told(&accounts, &caller, Kind::RecoveryCodesMade, &Notice::RecoveryCodesMade).await?;
        Ok(made)
    })
    .await
}

/// Uses up a code and signs its owner in.
///
/// # Errors
/// [`RecoveryRefusal`]. If the service fails, the code becomes valid again.
pub async fn recover(
    accounts: Accounts,
    codes: RecoveryCodes,
    session: Session,
    client: ClientInfo,
    email: Email,
    code: String,
) -> Result<SignedIn, ActionError<RecoveryRefusal>> {
    run_to_completion(async move {
        let claimed = match codes.claim(&email, &code).await {
            Ok(claimed) => claimed,
            Err(ClaimError::Service(error)) => return Err(error.into()),
            Err(ClaimError::TooOften(wait)) => {
                return Err(ActionError::Refused(RecoveryRefusal::TooOften(wait)));
            }
            Err(ClaimError::Invalid(user)) => {
                metrics::tried_to_sign_in(RECOVERY, "refused");
                if let Some(user) = user {
                    accounts.record(user.id, Kind::SignInFailed, Some(RECOVERY), &client).await;
                }
                return Err(ActionError::Refused(RecoveryRefusal::Invalid));
            }
        };
        let by = SignInMethod::RecoveryCode;
        let entered = sign_in(&accounts, &session, claimed.user.clone(), by, &client).await;
        let entered = match entered {
            Ok(entered) => entered,
            Err(error) => {
                codes.release(&claimed).await;
                return Err(error.into());
            }
        };
        let left = recovery_codes::count(&accounts.database, claimed.user.id).await.unwrap_or(0);
        accounts.record(claimed.user.id, Kind::RecoveryCodeUsed, None, &client).await;
        let notice = Notice::RecoveryCodeUsed { left };
        let user = &claimed.user;
        accounts.notify(user.id, user.email.as_ref(), &notice, &client, accounts.now()).await;
        Ok(entered)
    })
    .await
}
