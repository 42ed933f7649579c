//! Pending changes of e-mail addresses: requested, but not yet verified.

use time::OffsetDateTime;
use uuid::Uuid;

use super::column::Timestamp;
use super::{Database, StoreError, on_pool};
use crate::domain::email::Email;

/// Stores the address that an account requests, replacing an earlier request. Removes expired
/// requests.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn begin(
    db: &Database,
    user: Uuid,
    email: &Email,
    token_hash: &[u8; 32],
    expires_at: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let purge = "DELETE FROM email_changes WHERE expires_at <= $1";
    let sql = "INSERT INTO email_changes (user_id, token_hash, email, expires_at) VALUES ($1, $2, \
               $3, $4)
        ON CONFLICT (user_id) DO UPDATE SET
            token_hash = excluded.token_hash, email = excluded.email, expires_at = \
               excluded.expires_at";
    on_pool!(db, pool => {
        sqlx::query(purge).bind(Timestamp::from(now)).execute(pool).await?;
        sqlx::query(sql)
            .bind(user)
            .bind(&token_hash[..])
            .bind(email)
            .bind(Timestamp::from(expires_at))
            .execute(pool)
            .await
            .map(drop)
    })
    .await
}

/// The requested address that is not yet verified.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn wanted(
    db: &Database,
    user: Uuid,
    now: OffsetDateTime,
) -> Result<Option<Email>, StoreError> {
    let sql = "SELECT email FROM email_changes WHERE user_id = $1 AND expires_at > $2";
    let at = Timestamp::from(now);
    on_pool!(db, pool => sqlx::query_scalar(sql).bind(user).bind(at).fetch_optional(pool).await)
        .await
}

/// Completes a change: the account gets the new address. Sign-in links to the old and the new
/// address become void, including those being redeemed. `None` unless the token belongs to this
/// user, is unused and has not expired.
///
/// # Errors
///
/// [`StoreError::Conflict`] when another account has the address, else as for every store
/// operation.
pub async fn finish(
    db: &Database,
    user: Uuid,
    token_hash: &[u8; 32],
    now: OffsetDateTime,
) -> Result<Option<Email>, StoreError> {
    let claim = "DELETE FROM email_changes WHERE user_id = $1 AND token_hash = $2 AND expires_at \
                 > $3 RETURNING email";
    let cancel = "DELETE FROM magic_links
        WHERE email = $2 OR email = (SELECT email FROM users WHERE id = $1)";
    let update = "UPDATE users SET email = $2, email_verified_at = $3, email_vouched_by = NULL \
                  WHERE id = $1";
    let at = Timestamp::from(now);
    on_pool!(db, pool => {
        let mut tx = pool.begin().await?;
        let claimed: Option<Email> = sqlx::query_scalar(claim)
            .bind(user)
            .bind(&token_hash[..])
            .bind(at)
            .fetch_optional(&mut *tx)
            .await?;
        if let Some(email) = &claimed {
            sqlx::query(cancel).bind(user).bind(email).execute(&mut *tx).await?;
            sqlx::query(update).bind(user).bind(email).bind(at).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(claimed)
    })
    .await
}

/// Voids all pending changes to this address, because its owner has just verified it for an account
/// of their own.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn void_for(db: &Database, email: &Email) -> Result<(), StoreError> {
    let sql = "DELETE FROM email_changes WHERE email = $1";
    on_pool!(db, pool => sqlx::query(sql).bind(email).execute(pool).await.map(drop)).await
}
