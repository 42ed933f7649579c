//! Outcomes of one-time credentials, kept for some seconds. A browser that presents the same
//! credential again gets the same outcome.
//!
//! 1. A row belongs to one credential and one browser. The same credential in another browser has a
//!    row of its own.
//! 2. Of concurrent equal requests, one reserves the row and does the work.
//! 3. A row holds hashes and the public handle of a session, nothing usable as a credential.

use time::OffsetDateTime;
use uuid::Uuid;

use super::column::{Timestamp, from_row};
use super::{Database, StoreError, on_pool};

/// A credential and the browser that presents it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedemptionKey {
    /// Hash of the credential.
    pub proof_hash: [u8; 32],
    /// Hash of the browser's cookie.
    pub browser_hash: [u8; 32],
}

/// The result of redeeming a credential.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redemption {
    /// The outcome's code; `None` while the redemption is running.
    pub outcome: Option<String>,
    /// The account that was signed in.
    pub user_id: Option<Uuid>,
    /// The public handle of the newest session.
    pub session: Option<String>,
    /// The page to return to.
    pub return_to: Option<String>,
}

from_row!(Redemption { outcome, user_id, session, return_to });

/// Reserves the row until `expires_at`; `false` if it exists already. Removes expired rows.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn reserve(
    db: &Database,
    key: &RedemptionKey,
    expires_at: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let purge = "DELETE FROM redemptions WHERE expires_at <= $1";
    let insert = "INSERT INTO redemptions (proof_hash, browser_hash, expires_at)
        VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    on_pool!(db, pool => {
        sqlx::query(purge).bind(Timestamp::from(now)).execute(pool).await?;
        let insert = sqlx::query(insert)
            .bind(&key.proof_hash[..])
            .bind(&key.browser_hash[..])
            .bind(Timestamp::from(expires_at));
        insert.execute(pool).await.map(|done| done.rows_affected() == 1)
    })
    .await
}

/// Stores the outcome and keeps it until `expires_at`.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn conclude(
    db: &Database,
    key: &RedemptionKey,
    redemption: &Redemption,
    expires_at: OffsetDateTime,
) -> Result<(), StoreError> {
    let sql = "UPDATE redemptions
        SET outcome = $3, user_id = $4, session = $5, return_to = $6, expires_at = $7
        WHERE proof_hash = $1 AND browser_hash = $2";
    on_pool!(db, pool => {
        sqlx::query(sql)
            .bind(&key.proof_hash[..])
            .bind(&key.browser_hash[..])
            .bind(redemption.outcome.as_deref())
            .bind(redemption.user_id)
            .bind(redemption.session.as_deref())
            .bind(redemption.return_to.as_deref())
            .bind(Timestamp::from(expires_at))
            .execute(pool)
            .await
            .map(drop)
    })
    .await
}

/// Removes the row, because there is no outcome to repeat.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn abandon(db: &Database, key: &RedemptionKey) -> Result<(), StoreError> {
    let sql = "DELETE FROM redemptions WHERE proof_hash = $1 AND browser_hash = $2";
    on_pool!(db, pool => {
        let delete = sqlx::query(sql).bind(&key.proof_hash[..]).bind(&key.browser_hash[..]);
        delete.execute(pool).await.map(drop)
    })
    .await
}

/// The row; `None` if it is missing or expired.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn find(
    db: &Database,
    key: &RedemptionKey,
    now: OffsetDateTime,
) -> Result<Option<Redemption>, StoreError> {
    let sql = "SELECT outcome, user_id, session, return_to FROM redemptions
        WHERE proof_hash = $1 AND browser_hash = $2 AND expires_at > $3";
    on_pool!(db, pool => {
        sqlx::query_as(sql)
            .bind(&key.proof_hash[..])
            .bind(&key.browser_hash[..])
            .bind(Timestamp::from(now))
            .fetch_optional(pool)
            .await
    })
    .await
}

/// The outcome of the credential that made this session.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn find_by_session(
    db: &Database,
    proof_hash: &[u8; 32],
    session: &str,
    now: OffsetDateTime,
) -> Result<Option<Redemption>, StoreError> {
    let sql = "SELECT outcome, user_id, session, return_to FROM redemptions
        WHERE proof_hash = $1 AND session = $2 AND expires_at > $3";
    let at = Timestamp::from(now);
    on_pool!(db, pool => {
        sqlx::query_as(sql).bind(&proof_hash[..]).bind(session).bind(at).fetch_optional(pool).await
    })
    .await
}

/// Replaces the newest session; `false` if the row's session is not `old`.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn replace_session(
    db: &Database,
    key: &RedemptionKey,
    old: &str,
    new: &str,
) -> Result<bool, StoreError> {
    let sql = "UPDATE redemptions SET session = $4
        WHERE proof_hash = $1 AND browser_hash = $2 AND session = $3";
    on_pool!(db, pool => {
        sqlx::query(sql)
            .bind(&key.proof_hash[..])
            .bind(&key.browser_hash[..])
            .bind(old)
            .bind(new)
            .execute(pool)
            .await
            .map(|done| done.rows_affected() == 1)
    })
    .await
}
