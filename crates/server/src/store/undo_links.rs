//! Links in mails about a change, by which the owner of the mailbox takes the account back.
//!
//! 1. A link restores the account to the state before the change: the address it was mailed to,
//!    without what was linked since. It also cancels a deletion.
//! 2. It works once. Using it voids every later link of the account, which may have been mailed to
//!    the attacker.

use time::OffsetDateTime;
use uuid::Uuid;

use super::column::{Timestamp, from_row};
use super::{Database, StoreError, on_pool};
use crate::domain::email::Email;

/// A link to be mailed.
pub struct NewUndoLink<'a> {
    /// Hash of its token.
    pub token_hash: [u8; 32],
    /// Whose account.
    pub user: Uuid,
    /// Where it is mailed to.
    pub email: &'a Email,
    /// When the change was made.
    pub since: OffsetDateTime,
    /// When the link ends.
    pub expires_at: OffsetDateTime,
}

/// What a link restores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndoLink {
    /// Whose account.
    pub user_id: Uuid,
    /// The address.
    pub email: Email,
    /// Changes from then on are undone.
    pub since: OffsetDateTime,
}

from_row!(UndoLink { user_id, email, since });

/// Keeps a link. Removes those whose time is over.
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

/// What a link restores; `None` for one that is unknown, used, void or too old. Changes nothing.
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

/// Uses a link up and restores the account. If another account has got the address meanwhile, it
/// loses it: of two proofs of a mailbox the one that undoes counts. Returns that account, if there
/// is one; `None` as for [`peek`].
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
    // Passkeys from before go on guarding an account that only they open.
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
