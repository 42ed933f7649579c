//! The identities at providers that are linked to accounts.
//!
//! 1. An identity has one owner, enforced by the primary key. It is never moved.
//! 2. An account has at most one identity of each provider.
//! 3. The last sign-in method cannot be removed. Removals from one account run one after the other:
//!    each first locks the account's row.

use time::OffsetDateTime;
use uuid::Uuid;

use super::column::{Timestamp, from_row};
use super::users::User;
use super::{Database, StoreError, on_pool};
use crate::domain::email::Email;
use crate::domain::provider::{Identity, Provider};

/// An account to be created for an identity.
pub struct NewAccount<'a> {
    /// The identity that signs in to it.
    pub identity: &'a Identity,
    /// The address. The provider is set if it vouches for the address without running the mailbox.
    pub email: Option<(&'a Email, Option<Provider>)>,
    /// The user's name at the provider.
    pub name: Option<&'a str>,
    /// The avatar URL from the provider.
    pub avatar_url: Option<&'a str>,
}

/// The result of creating an account.
#[derive(Debug, PartialEq, Eq)]
pub enum Creation {
    /// The account was created.
    Created(User),
    /// The identity or the address belongs to another account; nothing was created.
    Taken,
}

/// The result of linking an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linking {
    /// The identity is now linked to the account.
    Linked,
    /// The identity was already linked to this account.
    AlreadyTheirs,
    /// The identity is linked to another account and stays there.
    Taken,
    /// The account has another identity of this provider, which stays linked.
    HasAnother,
}

/// The result of removing an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlinking {
    /// The identity was removed.
    Unlinked,
    /// The account has no such identity.
    NotLinked,
    /// It is the account's only sign-in method and stays.
    LastWayIn,
}

/// The sign-in methods that this server offers. Others do not count as a way to sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInMethods {
    /// Links sent by e-mail.
    pub email: bool,
    /// The configured providers.
    pub providers: Vec<Provider>,
}

impl SignInMethods {
    /// The providers in one parameter: each name between commas, to be found by `LIKE`.
    pub(super) fn provider_list(&self) -> String {
        self.providers
            .iter()
            .fold(",".to_owned(), |list, provider| format!("{list}{},", provider.as_str()))
    }
}

/// An identity linked to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedIdentity {
    /// The provider.
    pub provider: Provider,
    /// The provider's id of the user; for Steam, the 64-bit id.
    pub subject: String,
    /// When it was linked.
    pub linked_at: OffsetDateTime,
}

from_row!(LinkedIdentity { provider, subject, linked_at });

const INSERT: &str = "INSERT INTO identities (provider, issuer, subject, user_id, linked_at)
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
const SELECT_OWNER: &str =
    "SELECT user_id FROM identities WHERE provider = $1 AND issuer = $2 AND subject = $3";

/// The account that an identity belongs to.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn owner(db: &Database, identity: &Identity) -> Result<Option<Uuid>, StoreError> {
    on_pool!(db, pool => {
        sqlx::query_scalar(SELECT_OWNER)
            .bind(identity.provider.as_str())
            .bind(&identity.issuer)
            .bind(&identity.subject)
            .fetch_optional(pool)
            .await
    })
    .await
}

/// Creates an account and its identity, both or neither.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn create_account(
    db: &Database,
    new: &NewAccount<'_>,
    now: OffsetDateTime,
) -> Result<Creation, StoreError> {
    let insert_user = "INSERT INTO users
            (id, email, email_verified_at, email_vouched_by, name, avatar_url, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (email) DO NOTHING";
    let select = "SELECT * FROM users WHERE id = $1";
    let (id, at) = (Uuid::new_v4(), Timestamp::from(now));
    let vouched_by = new.email.and_then(|(_, provider)| provider).map(Provider::as_str);
    on_pool!(db, pool => {
        let mut tx = pool.begin().await?;
        let user = sqlx::query(insert_user)
            .bind(id)
            .bind(new.email.map(|(email, _)| email.as_str()))
            .bind(new.email.map(|_| at))
            .bind(vouched_by)
            .bind(new.name)
            .bind(new.avatar_url)
            .bind(at)
            .execute(&mut *tx)
            .await?;
        let identity = sqlx::query(INSERT)
            .bind(new.identity.provider.as_str())
            .bind(&new.identity.issuer)
            .bind(&new.identity.subject)
            .bind(id)
            .bind(at);
        if user.rows_affected() == 0 || identity.execute(&mut *tx).await?.rows_affected() == 0 {
            tx.rollback().await?;
            return Ok(Creation::Taken);
        }
        let user = sqlx::query_as(select).bind(id).fetch_one(&mut *tx).await?;
        tx.commit().await?;
        Ok(Creation::Created(user))
    })
    .await
}

/// Links an identity to the account.
///
/// # Errors
///
/// [`StoreError`] as for every store operation; [`StoreError::Conflict`] when there is no such
/// account.
pub async fn link(
    db: &Database,
    user: Uuid,
    identity: &Identity,
    now: OffsetDateTime,
) -> Result<Linking, StoreError> {
    let inserted = on_pool!(db, pool => {
        sqlx::query(INSERT)
            .bind(identity.provider.as_str())
            .bind(&identity.issuer)
            .bind(&identity.subject)
            .bind(user)
            .bind(Timestamp::from(now))
            .execute(pool)
            .await
            .map(|done| done.rows_affected() == 1)
    });
    if inserted.await? {
        return Ok(Linking::Linked);
    }
    // The insert waited for the conflicting transaction, so the row is visible now.
    Ok(match owner(db, identity).await? {
        Some(owner) if owner == user => Linking::AlreadyTheirs,
        Some(_) => Linking::Taken,
        None => Linking::HasAnother,
    })
}

/// Undoes a [`link`] whose precondition no longer held.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn undo_link(db: &Database, user: Uuid, identity: &Identity) -> Result<(), StoreError> {
    let sql = "DELETE FROM identities WHERE user_id = $1 AND provider = $2 AND issuer = $3 AND \
               subject = $4";
    on_pool!(db, pool => {
        sqlx::query(sql)
            .bind(user)
            .bind(identity.provider.as_str())
            .bind(&identity.issuer)
            .bind(&identity.subject)
            .execute(pool)
            .await
            .map(drop)
    })
    .await
}

/// Removes a provider from the account, unless it is the last sign-in method.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn unlink(
    db: &Database,
    user: Uuid,
    provider: Provider,
    ways: &SignInMethods,
) -> Result<Unlinking, StoreError> {
    // This update only locks the row, on both databases. The next removal for this account then
    // sees the effect of this one.
    let lock = "UPDATE users SET id = id WHERE id = $1";
    let delete = "DELETE FROM identities WHERE user_id = $1 AND provider = $2 AND (
            EXISTS (SELECT 1 FROM users WHERE id = $1 AND email IS NOT NULL AND $3)
            OR EXISTS (SELECT 1 FROM passkeys WHERE user_id = $1)
            OR EXISTS (SELECT 1 FROM identities other WHERE other.user_id = $1
                AND other.provider <> $2 AND $4 LIKE '%,' || other.provider || ',%'))";
    let remains = "SELECT count(*) FROM identities WHERE user_id = $1 AND provider = $2";
    on_pool!(db, pool => {
        let mut tx = pool.begin().await?;
        sqlx::query(lock).bind(user).execute(&mut *tx).await?;
        let deleted = sqlx::query(delete)
            .bind(user)
            .bind(provider.as_str())
            .bind(ways.email)
            .bind(ways.provider_list())
            .execute(&mut *tx)
            .await?;
        let remains: i64 =
            sqlx::query_scalar(remains).bind(user).bind(provider.as_str()).fetch_one(&mut *tx)
                .await?;
        tx.commit().await?;
        Ok(match (deleted.rows_affected(), remains) {
            (1.., _) => Unlinking::Unlinked,
            (0, 0) => Unlinking::NotLinked,
            (0, _) => Unlinking::LastWayIn,
        })
    })
    .await
}

/// The identities of an account.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn of_user(db: &Database, user: Uuid) -> Result<Vec<LinkedIdentity>, StoreError> {
    let sql =
        "SELECT provider, subject, linked_at FROM identities WHERE user_id = $1 ORDER BY provider";
    on_pool!(db, pool => sqlx::query_as(sql).bind(user).fetch_all(pool).await).await
}

/// Removes everything that someone who never verified the address may have added: identities,
/// passkeys, recovery codes and tokens. Name, avatar, a pending address change, imports and
/// security events are removed too. A running import is discarded.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn strip_account(db: &Database, user: Uuid) -> Result<(), StoreError> {
    let statements = [
        "DELETE FROM identities WHERE user_id = $1",
        "DELETE FROM passkeys WHERE user_id = $1",
        "DELETE FROM passkey_challenges WHERE user_id = $1",
        "DELETE FROM recovery_codes WHERE user_id = $1",
        "DELETE FROM api_tokens WHERE user_id = $1",
        "DELETE FROM auth_transactions WHERE user_id = $1",
        "DELETE FROM email_changes WHERE user_id = $1",
        "DELETE FROM portfolios WHERE user_id = $1",
        "DELETE FROM portfolio_holdings WHERE user_id = $1",
        "DELETE FROM portfolio_items WHERE user_id = $1",
        "DELETE FROM portfolio_snapshots WHERE user_id = $1",
        "DELETE FROM security_events WHERE user_id = $1",
        "UPDATE users SET name = NULL, avatar_url = NULL, passkey_only = FALSE,
            passkey_offered = FALSE WHERE id = $1",
    ];
    on_pool!(db, pool => {
        let mut tx = pool.begin().await?;
        for sql in statements {
            sqlx::query(sql).bind(user).execute(&mut *tx).await?;
        }
        tx.commit().await
    })
    .await
}
