//! API tokens, which programs present instead of a session. The database keeps hashes only.

use time::OffsetDateTime;
use uuid::Uuid;

use super::column::{Timestamp, from_row};
use super::{Database, StoreError, on_pool};

/// Maximum number of tokens per account.
pub const MAX_PER_USER: i64 = 50;

/// A token to be stored.
#[derive(Clone, Copy, Debug)]
pub struct NewToken<'a> {
    /// Hash of the token.
    pub token_hash: [u8; 32],
    /// The name that the owner gave it.
    pub name: &'a str,
    /// The scopes, separated by spaces.
    pub scopes: &'a str,
    /// When the token expires.
    pub expires_at: OffsetDateTime,
}

/// A token of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredToken {
    /// The id in the database.
    pub id: Uuid,
    /// The owner's account.
    pub user_id: Uuid,
    /// The name that the owner gave it: untrusted text, to be escaped.
    pub name: String,
    /// The scopes, separated by spaces.
    pub scopes: String,
    /// When it was created, to the second.
    pub created_at: OffsetDateTime,
    /// When it expires, to the second.
    pub expires_at: OffsetDateTime,
    /// When it was last used, to about a minute.
    pub last_used_at: Option<OffsetDateTime>,
}

from_row!(StoredToken { id, user_id, name, scopes, created_at, expires_at, last_used_at });

/// Stores a token; `None` when the account has [`MAX_PER_USER`] already. Removes expired tokens.
///
/// # Errors
///
/// [`StoreError`] as for every store operation; [`StoreError::Conflict`] when there is no such
/// account.
pub async fn create(
    db: &Database,
    user: Uuid,
    new: &NewToken<'_>,
    now: OffsetDateTime,
) -> Result<Option<StoredToken>, StoreError> {
    let purge = "DELETE FROM api_tokens WHERE expires_at <= $1";
    let lock = "UPDATE users SET id = id WHERE id = $1";
    let count = "SELECT count(*) FROM api_tokens WHERE user_id = $1";
    let insert = "INSERT INTO api_tokens
            (id, user_id, token_hash, name, scopes, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING *";
    let at = Timestamp::from(now);
    on_pool!(db, pool => {
        let mut tx = pool.begin().await?;
        sqlx::query(lock).bind(user).execute(&mut *tx).await?;
        sqlx::query(purge).bind(at).execute(&mut *tx).await?;
        let has: i64 = sqlx::query_scalar(count).bind(user).fetch_one(&mut *tx).await?;
        if has >= MAX_PER_USER {
            return Ok(None);
        }
        let created = sqlx::query_as(insert)
            .bind(Uuid::new_v4())
            .bind(user)
            .bind(&new.token_hash[..])
            .bind(new.name)
            .bind(new.scopes)
            .bind(at)
            .bind(Timestamp::from(new.expires_at))
            .fetch_one(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(Some(created))
    })
    .await
}

/// The token with this hash, if it has not expired.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn find(
    db: &Database,
    token_hash: &[u8; 32],
    now: OffsetDateTime,
) -> Result<Option<StoredToken>, StoreError> {
    let sql = "SELECT * FROM api_tokens WHERE token_hash = $1 AND expires_at > $2
        AND user_id IN (SELECT id FROM users WHERE disabled_at IS NULL)";
    on_pool!(db, pool => {
        sqlx::query_as(sql)
            .bind(&token_hash[..])
            .bind(Timestamp::from(now))
            .fetch_optional(pool)
            .await
    })
    .await
}

/// The account's tokens that have not expired, the oldest first.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn of_user(
    db: &Database,
    user: Uuid,
    now: OffsetDateTime,
) -> Result<Vec<StoredToken>, StoreError> {
    let sql = "SELECT * FROM api_tokens WHERE user_id = $1 AND expires_at > $2
        ORDER BY created_at, id";
    on_pool!(db, pool => {
        sqlx::query_as(sql).bind(user).bind(Timestamp::from(now)).fetch_all(pool).await
    })
    .await
}

/// Records the use of a token.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn note_use(db: &Database, id: Uuid, now: OffsetDateTime) -> Result<(), StoreError> {
    let sql = "UPDATE api_tokens SET last_used_at = $2 WHERE id = $1";
    on_pool!(db, pool => {
        sqlx::query(sql).bind(id).bind(Timestamp::from(now)).execute(pool).await.map(drop)
    })
    .await
}

/// Removes a token of the account; `false` when it has no such token.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn remove(db: &Database, user: Uuid, id: Uuid) -> Result<bool, StoreError> {
    let sql = "DELETE FROM api_tokens WHERE user_id = $1 AND id = $2";
    on_pool!(db, pool => {
        sqlx::query(sql).bind(user).bind(id).execute(pool).await
            .map(|done| done.rows_affected() == 1)
    })
    .await
}

/// Removes all tokens of the account; returns their number.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn remove_all(db: &Database, user: Uuid) -> Result<u64, StoreError> {
    let sql = "DELETE FROM api_tokens WHERE user_id = $1";
    on_pool!(db, pool => {
        sqlx::query(sql).bind(user).execute(pool).await.map(|done| done.rows_affected())
    })
    .await
}
