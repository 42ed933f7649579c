//! Linking providers to an account, and unlinking them.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::actions::{Accounts, ActionError, Caller, require_recent, sessions};
use crate::auth::client::ClientInfo;
use crate::auth::events::{Kind, Notice};
use crate::domain::provider::Provider;
use crate::store::StoreError;
use crate::store::identities::{self, SignInMethods, Unlinking};
use crate::telemetry::task::run_to_completion;

/// Records that a provider was linked, and tells the owner by mail.
///
/// # Errors
/// [`StoreError`] as for every store operation.
pub(super) async fn tell_linked(
    accounts: &Accounts,
    user: Uuid,
    provider: Provider,
    client: &ClientInfo,
    at: OffsetDateTime,
) -> Result<(), StoreError> {
    let method = provider.as_str();
    tracing::info!(event = "linked", %user, method, "linked");
    accounts.record(user, Kind::Linked, Some(method), client).await;
    accounts.notify_owner(user, &Notice::Linked(provider), client, at).await
}

/// Why a provider was not unlinked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnlinkRefusal {
    /// See [`super::NotRecent`].
    NotRecent,
    /// The provider is not linked.
    NotLinked,
    /// The provider is the account's only sign-in method.
    LastWayIn,
}

/// Unlinks a provider from the caller's account, and ends the other sessions that began by it.
/// `ways` are the sign-in methods that this server offers.
///
/// # Errors
/// [`UnlinkRefusal`].
pub async fn unlink(
    accounts: Accounts,
    ways: SignInMethods,
    caller: Caller,
    provider: Provider,
) -> Result<(), ActionError<UnlinkRefusal>> {
    require_recent(&caller.session, UnlinkRefusal::NotRecent).await?;
    run_to_completion(async move {
        let (database, user) = (&accounts.database, caller.user);
        match identities::unlink(database, user, provider, &ways).await? {
            Unlinking::Unlinked => {}
            Unlinking::NotLinked => return Err(ActionError::Refused(UnlinkRefusal::NotLinked)),
            Unlinking::LastWayIn => return Err(ActionError::Refused(UnlinkRefusal::LastWayIn)),
        }
        let method = provider.as_str();
        tracing::info!(event = "unlinked", %user, method, "unlinked");
        // If this fails, the change must still be recorded and mailed: the provider is already
        // unlinked.
        let ended = sessions::end_those_by(&accounts, &caller, method).await;
        accounts.record(user, Kind::Unlinked, Some(method), &caller.client).await;
        let notice = Notice::Unlinked(provider);
        accounts.notify_owner(user, &notice, &caller.client, accounts.now()).await?;
        Ok(ended?)
    })
    .await
}
