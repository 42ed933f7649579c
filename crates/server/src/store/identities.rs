//! Which identities at providers open which account.
//!
//! 1. An identity has one owner: the primary key sees to it. It is never moved.
//! 2. An account has at most one identity of each provider.
//! 3. The last way in cannot be removed. Removals of one account run one after the other: each
//!    first takes the lock on the account's row.

use time::OffsetDateTime;
use uuid::Uuid;

use super::column::{Timestamp, from_row};
use super::users::User;
use super::{Database, StoreError, on_pool};
use crate::domain::email::Email;
use crate::domain::provider::{Identity, Provider};

/// An account to be made for an identity.
pub struct NewAccount<'a> {
    /// What opens it.
    pub identity: &'a Identity,
    /// The address and, if it does not run the mailbox, the provider that vouched for it.
    pub email: Option<(&'a Email, Option<Provider>)>,
    /// What the provider calls the person.
    pub name: Option<&'a str>,
    /// As the provider gave it.
    pub avatar_url: Option<&'a str>,
}

/// What became of a new account.
#[derive(Debug, PartialEq, Eq)]
pub enum Creation {
    /// It is there.
    Created(User),
    /// Somebody else has the identity or the address; nothing was made.
    Taken,
}

/// What became of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linking {
    /// The account has the identity now.
    Linked,
    /// It had it already.
    AlreadyTheirs,
    /// Another account has the identity, and keeps it.
    Taken,
    /// The account has another identity of the provider, and keeps it.
    HasAnother,
}

/// What became of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlinking {
    /// It is gone.
    Unlinked,
    /// There was nothing.
    NotLinked,
    /// It is the only way into the account, and stays.
    LastWayIn,
}

/// The sign-in methods that this server offers; others open no account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignInMethods {
    /// Links by e-mail.
    pub email: bool,
    /// Google.
    pub google: bool,
    /// GitHub.
    pub github: bool,
}

/// An identity of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedIdentity {
    /// Where.
    pub provider: Provider,
    /// Who there; of Steam the 64-bit id.
    pub subject: String,
    /// Since when.
    pub linked_at: OffsetDateTime,
}

from_row!(LinkedIdentity { provider, subject, linked_at });

const INSERT: &str = "INSERT INTO identities (provider, issuer, subject, user_id, linked_at)
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
const SELECT_OWNER: &str =
    "SELECT user_id FROM identities WHERE provider = $1 AND issuer = $2 AND subject = $3";

/// The account an identity opens.
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

/// Makes an account and its identity, both or neither.
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

/// Gives the account another way in.
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
    // The insert has waited for the one it lost against, so the row is there to be read.
    Ok(match owner(db, identity).await? {
        Some(owner) if owner == user => Linking::AlreadyTheirs,
        Some(_) => Linking::Taken,
        None => Linking::HasAnother,
    })
}

/// Undoes a [`link`] that should not have been made.
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

/// Takes a way into the account away, unless it is the last one.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn unlink(
    db: &Database,
    user: Uuid,
    provider: Provider,
    ways: SignInMethods,
) -> Result<Unlinking, StoreError> {
    // Changes nothing but takes the lock, on both databases: the next removal of this account sees
    // what this one did.
    let lock = "UPDATE users SET id = id WHERE id = $1";
    let delete = "DELETE FROM identities WHERE user_id = $1 AND provider = $2 AND (
            EXISTS (SELECT 1 FROM users WHERE id = $1 AND email IS NOT NULL AND $3)
            OR EXISTS (SELECT 1 FROM passkeys WHERE user_id = $1)
            OR EXISTS (SELECT 1 FROM identities other WHERE other.user_id = $1 AND other.provider \
                  <> $2
                AND (other.provider = 'steam' OR (other.provider = 'google' AND $4) OR \
                  (other.provider = 'github' AND $5))))";
    let remains = "SELECT count(*) FROM identities WHERE user_id = $1 AND provider = $2";
    on_pool!(db, pool => {
        let mut tx = pool.begin().await?;
        sqlx::query(lock).bind(user).execute(&mut *tx).await?;
        let deleted = sqlx::query(delete)
            .bind(user)
            .bind(provider.as_str())
            .bind(ways.email)
            .bind(ways.google)
            .bind(ways.github)
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

/// Removes everything that somebody who never proved the address may have left in the account:
/// identities, passkeys, recovery codes and tokens. Name, picture, a pending change of the address,
/// imports and the log go too. An import under way is discarded.
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
