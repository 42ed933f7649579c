//! Pending sign-ins at providers, and the nonces of Steam assertions already used.

use time::OffsetDateTime;
use uuid::Uuid;

use super::column::{Timestamp, from_row, hash_of};
use super::{Database, StoreError, on_pool};
use crate::domain::provider::Provider;

/// The account to link to, and the session in which the transaction began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The account.
    pub user: Uuid,
    /// Hash of the session's binding.
    pub session_hash: [u8; 32],
}

/// A transaction to be stored.
pub struct NewTransaction<'a> {
    /// Hash of the `state` parameter.
    pub state_hash: [u8; 32],
    /// Hash of the browser's cookie.
    pub browser_hash: [u8; 32],
    /// The provider the browser was sent to.
    pub provider: Provider,
    /// The account to link; `None` to sign in.
    pub link: Option<Link>,
    /// Whether the visit only confirms that the account's owner is present.
    pub confirms: bool,
    /// Whether the visit began on a page of this server, rather than of another site.
    pub is_own: bool,
    /// The nonce for the ID token.
    pub nonce: &'a str,
    /// The PKCE code verifier for the token request.
    pub verifier: &'a str,
    /// The page to return to.
    pub return_to: Option<&'a str>,
    /// When the transaction expires.
    pub expires_at: OffsetDateTime,
}

/// A transaction that has just been removed.
pub struct SpentTransaction {
    /// The provider the browser was sent to.
    pub provider: Provider,
    /// The account to link; `None` to sign in.
    pub link: Option<Link>,
    /// See [`NewTransaction::confirms`].
    pub confirms: bool,
    /// See [`NewTransaction::is_own`].
    pub is_own: bool,
    /// The nonce for the ID token.
    pub nonce: String,
    /// The PKCE code verifier for the token request.
    pub verifier: String,
    /// The page to return to.
    pub return_to: Option<String>,
    /// When the transaction expires or expired.
    pub expires_at: OffsetDateTime,
}

struct Row {
    provider: Provider,
    user_id: Option<Uuid>,
    session_hash: Option<Vec<u8>>,
    confirms: bool,
    is_own: bool,
    nonce: String,
    verifier: String,
    return_to: Option<String>,
    expires_at: OffsetDateTime,
}

from_row!(Row {
    provider,
    user_id,
    session_hash,
    confirms,
    is_own,
    nonce,
    verifier,
    return_to,
    expires_at
});

/// Stores a transaction, and removes expired ones.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn begin(
    db: &Database,
    new: &NewTransaction<'_>,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let purge = "DELETE FROM auth_transactions WHERE expires_at <= $1";
    let insert = "INSERT INTO auth_transactions
            (state_hash, browser_hash, provider, user_id, session_hash, nonce, verifier,
            expires_at, return_to, confirms, is_own)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    let session_hash = new.link.as_ref().map(|link| &link.session_hash[..]);
    on_pool!(db, pool => {
        sqlx::query(purge).bind(Timestamp::from(now)).execute(pool).await?;
        sqlx::query(insert)
            .bind(&new.state_hash[..])
            .bind(&new.browser_hash[..])
            .bind(new.provider.as_str())
            .bind(new.link.map(|link| link.user))
            .bind(session_hash)
            .bind(new.nonce)
            .bind(new.verifier)
            .bind(Timestamp::from(new.expires_at))
            .bind(new.return_to)
            .bind(new.confirms)
            .bind(new.is_own)
            .execute(pool)
            .await
            .map(drop)
    })
    .await
}

/// Removes the transaction of this state and browser and returns it. Of concurrent callers, one
/// gets it.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn spend(
    db: &Database,
    state_hash: &[u8; 32],
    browser_hash: &[u8; 32],
) -> Result<Option<SpentTransaction>, StoreError> {
    let sql = "DELETE FROM auth_transactions WHERE state_hash = $1 AND browser_hash = $2
        RETURNING provider, user_id, session_hash, confirms, is_own, nonce, verifier, return_to,
        expires_at";
    let row: Option<Row> = on_pool!(db, pool => {
        sqlx::query_as(sql).bind(&state_hash[..]).bind(&browser_hash[..]).fetch_optional(pool).await
    })
    .await?;
    let Some(row) = row else { return Ok(None) };
    let link = match (row.user_id, row.session_hash) {
        (Some(user), Some(hash)) => Some(Link { user, session_hash: hash_of(hash)? }),
        _ => None,
    };
    Ok(Some(SpentTransaction {
        provider: row.provider,
        link,
        confirms: row.confirms,
        is_own: row.is_own,
        nonce: row.nonce,
        verifier: row.verifier,
        return_to: row.return_to,
        expires_at: row.expires_at,
    }))
}

/// Stores a nonce until `expires_at`; `false` if it is stored already. Of concurrent callers, one
/// succeeds.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn reserve_steam_nonce(
    db: &Database,
    nonce_hash: &[u8; 32],
    expires_at: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let purge = "DELETE FROM steam_nonces WHERE expires_at <= $1";
    let insert =
        "INSERT INTO steam_nonces (nonce_hash, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    on_pool!(db, pool => {
        sqlx::query(purge).bind(Timestamp::from(now)).execute(pool).await?;
        let done = sqlx::query(insert).bind(&nonce_hash[..]).bind(Timestamp::from(expires_at))
            .execute(pool);
        done.await.map(|done| done.rows_affected() == 1)
    })
    .await
}
