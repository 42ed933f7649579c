//! Single-use codes that sign in when every other method is lost. The database keeps hashes only.

use uuid::Uuid;

use super::{Database, StoreError, on_pool};

/// Replaces the account's codes.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn replace(db: &Database, user: Uuid, hashes: &[[u8; 32]]) -> Result<(), StoreError> {
    let delete = "DELETE FROM recovery_codes WHERE user_id = $1";
    let lock = "UPDATE users SET id = id WHERE id = $1";
    on_pool!(db, pool => {
        let mut tx = pool.begin().await?;
        sqlx::query(lock).bind(user).execute(&mut *tx).await?;
        sqlx::query(delete).bind(user).execute(&mut *tx).await?;
        for hash in hashes {
            sqlx::query(INSERT).bind(user).bind(&hash[..]).execute(&mut *tx).await?;
        }
        tx.commit().await
    })
    .await
}

const INSERT: &str = "INSERT INTO recovery_codes (user_id, code_hash) VALUES ($1, $2)";

/// Uses a code up; `false` when the account has no such code. Of concurrent callers, one succeeds.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn claim(db: &Database, user: Uuid, hash: &[u8; 32]) -> Result<bool, StoreError> {
    let sql = "DELETE FROM recovery_codes WHERE user_id = $1 AND code_hash = $2";
    on_pool!(db, pool => {
        sqlx::query(sql).bind(user).bind(&hash[..]).execute(pool).await
            .map(|done| done.rows_affected() == 1)
    })
    .await
}

/// Restores a claimed code after the session could not be created.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn release(db: &Database, user: Uuid, hash: &[u8; 32]) -> Result<(), StoreError> {
    on_pool!(db, pool => {
        sqlx::query(INSERT).bind(user).bind(&hash[..]).execute(pool).await.map(drop)
    })
    .await
}

/// The number of unused codes.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn count(db: &Database, user: Uuid) -> Result<i64, StoreError> {
    let sql = "SELECT count(*) FROM recovery_codes WHERE user_id = $1";
    on_pool!(db, pool => sqlx::query_scalar(sql).bind(user).fetch_one(pool).await).await
}
