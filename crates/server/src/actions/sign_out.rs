//! Signing out of the current session.

use crate::actions::{Accounts, Caller};
use crate::auth::events::Kind;
use crate::auth::service_error::ServiceError;
use crate::telemetry::task::run_to_completion;

/// Ends the caller's own session.
///
/// # Errors
/// [`ServiceError`] when the session store does not answer.
pub async fn sign_out(accounts: Accounts, caller: Caller) -> Result<(), ServiceError> {
    run_to_completion(async move {
        caller.session.sign_out().await?;
        tracing::info!(event = "signed_out", "signed out");
        accounts.record(caller.user, Kind::SignedOut, None, &caller.client).await;
        Ok(())
    })
    .await
}
