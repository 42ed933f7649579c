//! Creating and revoking API tokens.

use time::Duration;
use tracera_session::Session;
use uuid::Uuid;

use crate::actions::passkeys::told;
use crate::actions::{Accounts, ActionError, Caller, require_recent};
use crate::auth::api_token::ApiToken;
use crate::auth::events::{Kind, Notice};
use crate::auth::service_error::ServiceError;
use crate::domain::scope::Scopes;
use crate::store::tokens::{self, NewToken, StoredToken};
use crate::telemetry::task::run_to_completion;

/// Maximum lifetime of a token, in days.
pub const MAX_DAYS: u16 = 365;
/// Default lifetime of a token, in days.
pub const DEFAULT_DAYS: u16 = 90;
/// Maximum length of a name, in characters.
pub const NAME_CHARS: usize = 60;

/// A validated request for a token.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The name, for its owner.
    pub name: String,
    /// The permissions.
    pub scopes: Scopes,
    /// The lifetime in days.
    pub days: u16,
}

/// The request is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl Wanted {
    /// Validates a request.
    ///
    /// # Errors
    /// [`Malformed`] unless the name has 1 to [`NAME_CHARS`] characters without control characters,
    /// there is a scope, and the days are 1 to [`MAX_DAYS`].
    pub fn new(name: &str, scopes: Scopes, days: Option<u16>) -> Result<Self, Malformed> {
        let (name, days) = (name.trim(), days.unwrap_or(DEFAULT_DAYS));
        let is_name =
            (1..=NAME_CHARS).contains(&name.chars().count()) && !name.chars().any(char::is_control);
        if !is_name || scopes.is_empty() || !(1..=MAX_DAYS).contains(&days) {
            return Err(Malformed);
        }
        Ok(Self { name: name.to_owned(), scopes, days })
    }
}

/// Why no token was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateRefusal {
    /// See [`super::NotRecent`].
    NotRecent,
    /// The account has the maximum number of tokens.
    TooMany,
}

/// Why a token was not revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevokeRefusal {
    /// See [`super::NotRecent`].
    NotRecent,
    /// The account has no such token.
    NotFound,
}

/// Creates a token.
///
/// # Errors
/// [`CreateRefusal`].
pub async fn create(
    accounts: Accounts,
    caller: Caller,
    wanted: Wanted,
) -> Result<(StoredToken, ApiToken), ActionError<CreateRefusal>> {
    require_recent(&caller.session, CreateRefusal::NotRecent).await?;
    run_to_completion(async move {
        let (token, now) = (ApiToken::fresh(), accounts.now());
        let scopes: Vec<_> = wanted.scopes.names().collect();
        let new = NewToken {
            token_hash: token.hash(),
            name: &wanted.name,
            scopes: &scopes.join(" "),
            expires_at: now + Duration::days(wanted.days.into()),
        };
        let created = tokens::create(&accounts.database, caller.user, &new, now).await?;
        let created = created.ok_or(ActionError::Refused(CreateRefusal::TooMany))?;
        tracing::info!(event = "token_created", user = %caller.user, token = %created.id,
            "a token was made");
        told(&accounts, &caller, Kind::TokenCreated, &Notice::TokenCreated(&wanted.name)).await?;
        Ok((created, token))
    })
    .await
}

/// Revokes a token, on every instance.
///
/// # Errors
/// [`RevokeRefusal`].
pub async fn revoke(
    accounts: Accounts,
    caller: Caller,
    id: Uuid,
) -> Result<(), ActionError<RevokeRefusal>> {
    require_recent(&caller.session, RevokeRefusal::NotRecent).await?;
    run_to_completion(async move {
        if !tokens::remove(&accounts.database, caller.user, id).await? {
            return Err(ActionError::Refused(RevokeRefusal::NotFound));
        }
        tell_instances(&caller.session, id).await?;
        tracing::info!(event = "token_revoked", user = %caller.user, token = %id,
            "a token was revoked");
        accounts.record(caller.user, Kind::TokenRevoked, None, &caller.client).await;
        Ok(())
    })
    .await
}

/// Ends every lease on the user's cached tokens, by changing their session.
async fn tell_instances(session: &Session, revoked: Uuid) -> Result<(), ServiceError> {
    session.set("token_revoked", revoked.as_bytes())?;
    session.commit().await?;
    Ok(())
}
