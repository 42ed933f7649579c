//! Links in notification mails that let the owner of the mailbox recover the account after a
//! change.
//!
//! 1. A link restores the account to its state before the change: the address the mail went to,
//!    without anything linked since. It also cancels a deletion.
//! 2. A link works once. Using it voids every later link of the account, because those may have
//!    gone to an attacker.

use time::OffsetDateTime;
use uuid::Uuid;

use super::column::{Timestamp, from_row};
use super::{Database, StoreError, on_pool};
use crate::domain::email::Email;

/// A link to be mailed.
pub struct NewUndoLink<'a> {
    /// Hash of the link's token.
    pub token_hash: [u8; 32],
    /// The account.
    pub user: Uuid,
    /// The recipient.
    pub email: &'a Email,
    /// When the change was made.
    pub since: OffsetDateTime,
    /// When the link expires.
    pub expires_at: OffsetDateTime,
}

/// The state that a link restores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndoLink {
    /// The account.
    pub user_id: Uuid,
    /// The restored address.
    pub email: Email,
    /// Changes since this time are undone.
    pub since: OffsetDateTime,
}

from_row!(UndoLink { user_id, email, since });

/// Stores a link, and removes expired ones.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn create(
    db: &Database,
    new: &NewUndoLink<'_>,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let purge = "DELETE FROM undo_links WHERE expires_at <= $1";
    let insert = "INSERT INTO undo_links (token_hash, user_id, email, since, expires_at)
        VALUES ($1, $2, $3, $4, $5)";
    on_pool!(db, pool => {
        sqlx::query(purge).bind(Timestamp::from(now)).execute(pool).await?;
        sqlx::query(insert)
            .bind(&new.token_hash[..])
            .bind(new.user)
            .bind(new.email)
            .bind(Timestamp::from(new.since))
            .bind(Timestamp::from(new.expires_at))
            .execute(pool)
            .await
            .map(drop)
    })
    .await
}

/// The state that a link would restore; `None` if it is unknown, used, void or expired. Changes
/// nothing.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn peek(
    db: &Database,
    token_hash: &[u8; 32],
    now: OffsetDateTime,
) -> Result<Option<UndoLink>, StoreError> {
    let sql = "SELECT user_id, email, since FROM undo_links
        WHERE token_hash = $1 AND expires_at > $2";
    let at = Timestamp::from(now);
    on_pool!(db, pool => {
        sqlx::query_as(sql).bind(&token_hash[..]).bind(at).fetch_optional(pool).await
    })
    .await
}

/// Uses a link up and restores the account. Another account that has the address by now loses it,
/// because recovery outranks the later verification. Returns that account's id, if there is one.
/// `None` as for [`peek`].
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn redeem(
    db: &Database,
    token_hash: &[u8; 32],
    now: OffsetDateTime,
) -> Result<Option<(UndoLink, Option<Uuid>)>, StoreError> {
    let claim = "DELETE FROM undo_links WHERE token_hash = $1 AND expires_at > $2
        RETURNING user_id, email, since";
    let links = "DELETE FROM magic_links
        WHERE email = $2 OR email = (SELECT email FROM users WHERE id = $1)";
    let take = "UPDATE users SET email = NULL, email_verified_at = NULL, email_vouched_by = NULL
        WHERE email = $2 AND id <> $1 RETURNING id";
    let restore = "UPDATE users SET
            email_verified_at = CASE WHEN email = $2 THEN email_verified_at ELSE $3 END,
            email_vouched_by = CASE WHEN email = $2 THEN email_vouched_by END,
            email = $2, delete_at = NULL
        WHERE id = $1";
    let since = [
        "DELETE FROM identities WHERE user_id = $1 AND linked_at >= $2",
        "DELETE FROM undo_links WHERE user_id = $1 AND since >= $2",
        "DELETE FROM passkeys WHERE user_id = $1 AND created_at >= $2",
        "DELETE FROM api_tokens WHERE user_id = $1 AND created_at >= $2",
    ];
    // Passkeys registered before the change still protect a "passkey only" account.
    let any_way_in = "UPDATE users SET passkey_only = $2
        WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM passkeys WHERE user_id = $1)";
    let pending = [
        "DELETE FROM auth_transactions WHERE user_id = $1",
        "DELETE FROM email_changes WHERE user_id = $1",
        "DELETE FROM passkey_challenges WHERE user_id = $1",
        "DELETE FROM recovery_codes WHERE user_id = $1",
    ];
    let at = Timestamp::from(now);
    on_pool!(db, pool => {
        let mut tx = pool.begin().await?;
        let claimed: Option<UndoLink> =
            sqlx::query_as(claim).bind(&token_hash[..]).bind(at).fetch_optional(&mut *tx).await?;
        let Some(link) = claimed else { return Ok(None) };
        let UndoLink { user_id, email, .. } = &link;
        sqlx::query(links).bind(user_id).bind(email).execute(&mut *tx).await?;
        let other: Option<Uuid> =
            sqlx::query_scalar(take).bind(user_id).bind(email).fetch_optional(&mut *tx).await?;
        sqlx::query(restore).bind(user_id).bind(email).bind(at).execute(&mut *tx).await?;
        for sql in since {
            let delete = sqlx::query(sql).bind(user_id).bind(Timestamp::from(link.since));
            delete.execute(&mut *tx).await?;
        }
        sqlx::query(any_way_in).bind(user_id).bind(false).execute(&mut *tx).await?;
        for sql in pending {
            sqlx::query(sql).bind(user_id).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(Some((link, other)))
    })
    .await
}
