//! Passkeys, and pending WebAuthn challenges.
//!
//! 1. A credential has one owner, enforced by a unique index. An account has at most
//!    [`MAX_PER_USER`].
//! 2. A challenge is spent by one `DELETE`, for the browser that requested it. The database keeps
//!    its hash only.
//! 3. A signature counter only grows, by one `UPDATE`: of two responses with the same count, one is
//!    refused.
//! 4. The last sign-in method cannot be removed, nor can a passkey that "passkey only" needs.
//!    Removals from one account run one after the other: each first locks the account's row.

use time::OffsetDateTime;
use uuid::Uuid;

use super::column::{Timestamp, from_row, hash_of};
use super::identities::SignInMethods;
use super::{Database, StoreError, on_pool};

/// Maximum number of passkeys per account.
pub const MAX_PER_USER: i64 = 20;

/// The signed-in user who requests a passkey ceremony.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requester {
    /// The account.
    pub user: Uuid,
    /// Hash of the session's binding.
    pub session_hash: [u8; 32],
}

/// A challenge to be stored.
#[derive(Debug)]
pub struct NewChallenge {
    /// Hash of the challenge.
    pub challenge_hash: [u8; 32],
    /// Hash of the browser's cookie.
    pub browser_hash: [u8; 32],
    /// Whether the challenge is for registration rather than sign-in.
    pub registers: bool,
    /// The requesting user, if they are signed in.
    pub requester: Option<Requester>,
    /// When the challenge expires.
    pub expires_at: OffsetDateTime,
}

/// A passkey to be stored.
#[derive(Clone, Debug)]
pub struct NewPasskey<'a> {
    /// The credential id from the authenticator.
    pub credential_id: &'a [u8],
    /// The public key, in COSE encoding.
    pub public_key: &'a [u8],
    /// The signature counter.
    pub counter: u32,
    /// The authenticator's model (AAGUID).
    pub aaguid: [u8; 16],
    /// The name that the owner gave it.
    pub name: &'a str,
    /// The authenticator's transports, separated by spaces.
    pub transports: &'a str,
    /// Whether the passkey may be backed up (flag BE).
    pub backup_eligible: bool,
    /// Whether it is backed up (flag BS).
    pub backed_up: bool,
}

/// A passkey of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passkey {
    /// The id in the database.
    pub id: Uuid,
    /// The owner's account.
    pub user_id: Uuid,
    /// The credential id from the authenticator.
    pub credential_id: Vec<u8>,
    /// The public key, in COSE encoding.
    pub public_key: Vec<u8>,
    /// The signature counter, a `u32`.
    pub counter: i64,
    /// The authenticator's model (AAGUID): 16 bytes.
    pub aaguid: Vec<u8>,
    /// The name that the owner gave it: untrusted text, to be escaped.
    pub name: String,
    /// The authenticator's transports, separated by spaces.
    pub transports: String,
    /// Whether the passkey may be backed up (flag BE).
    pub backup_eligible: bool,
    /// Whether it was backed up at its last use (flag BS).
    pub backed_up: bool,
    /// When it was registered, to the second.
    pub created_at: OffsetDateTime,
    /// The last sign-in or confirmation with it.
    pub last_used_at: Option<OffsetDateTime>,
}

from_row!(Passkey {
    id,
    user_id,
    credential_id,
    public_key,
    counter,
    aaguid,
    name,
    transports,
    backup_eligible,
    backed_up,
    created_at,
    last_used_at,
});

/// The result of adding a passkey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adding {
    /// The passkey was added under this id.
    Added(Uuid),
    /// The credential belongs to an account already.
    Taken,
    /// The account has [`MAX_PER_USER`] already.
    TooMany,
}

/// The result of removing a passkey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// The passkey was removed.
    Removed,
    /// The account has no such passkey.
    NotFound,
    /// It is the account's only sign-in method and stays.
    LastWayIn,
    /// "Passkey only" needs it, so it stays.
    Needed,
}

/// Stores a challenge, and removes expired ones.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn begin(
    db: &Database,
    new: &NewChallenge,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let purge = "DELETE FROM passkey_challenges WHERE expires_at <= $1";
    let insert = "INSERT INTO passkey_challenges
            (challenge_hash, browser_hash, registers, user_id, session_hash, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6)";
    let session_hash = new.requester.as_ref().map(|requester| &requester.session_hash[..]);
    on_pool!(db, pool => {
        sqlx::query(purge).bind(Timestamp::from(now)).execute(pool).await?;
        sqlx::query(insert)
            .bind(&new.challenge_hash[..])
            .bind(&new.browser_hash[..])
            .bind(new.registers)
            .bind(new.requester.map(|requester| requester.user))
            .bind(session_hash)
            .bind(Timestamp::from(new.expires_at))
            .execute(pool)
            .await
            .map(drop)
    })
    .await
}

/// Spends the challenge of this browser; only one caller succeeds. The inner value is the
/// requester, if signed in; the outer `None` means there is no such challenge.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn spend(
    db: &Database,
    challenge_hash: &[u8; 32],
    browser_hash: &[u8; 32],
    registers: bool,
    now: OffsetDateTime,
) -> Result<Option<Option<Requester>>, StoreError> {
    let sql = "DELETE FROM passkey_challenges
        WHERE challenge_hash = $1 AND browser_hash = $2 AND registers = $3 AND expires_at > $4
        RETURNING user_id, session_hash";
    let row: Option<(Option<Uuid>, Option<Vec<u8>>)> = on_pool!(db, pool => {
        sqlx::query_as(sql)
            .bind(&challenge_hash[..])
            .bind(&browser_hash[..])
            .bind(registers)
            .bind(Timestamp::from(now))
            .fetch_optional(pool)
            .await
    })
    .await?;
    Ok(match row {
        None => None,
        Some((Some(user), Some(hash))) => {
            Some(Some(Requester { user, session_hash: hash_of(hash)? }))
        }
        Some(_) => Some(None),
    })
}

/// Locks the account's row, on both databases. The next change of its sign-in methods then sees the
/// effect of this one.
const LOCK: &str = "UPDATE users SET id = id WHERE id = $1";

/// Adds a passkey to the account.
///
/// # Errors
///
/// [`StoreError`] as for every store operation; [`StoreError::Conflict`] when there is no such
/// account.
pub async fn add(
    db: &Database,
    user: Uuid,
    new: &NewPasskey<'_>,
    now: OffsetDateTime,
) -> Result<Adding, StoreError> {
    let count = "SELECT count(*) FROM passkeys WHERE user_id = $1";
    let insert = "INSERT INTO passkeys (id, user_id, credential_id, public_key, counter, aaguid,
            name, transports, backup_eligible, backed_up, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING";
    let id = Uuid::new_v4();
    on_pool!(db, pool => {
        let mut tx = pool.begin().await?;
        sqlx::query(LOCK).bind(user).execute(&mut *tx).await?;
        let has: i64 = sqlx::query_scalar(count).bind(user).fetch_one(&mut *tx).await?;
        if has >= MAX_PER_USER {
            return Ok(Adding::TooMany);
        }
        let inserted = sqlx::query(insert)
            .bind(id)
            .bind(user)
            .bind(new.credential_id)
            .bind(new.public_key)
            .bind(i64::from(new.counter))
            .bind(&new.aaguid[..])
            .bind(new.name)
            .bind(new.transports)
            .bind(new.backup_eligible)
            .bind(new.backed_up)
            .bind(Timestamp::from(now))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(if inserted.rows_affected() == 1 { Adding::Added(id) } else { Adding::Taken })
    })
    .await
}

/// The passkeys of an account, the oldest first.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn of_user(db: &Database, user: Uuid) -> Result<Vec<Passkey>, StoreError> {
    let sql = "SELECT * FROM passkeys WHERE user_id = $1 ORDER BY created_at, id";
    on_pool!(db, pool => sqlx::query_as(sql).bind(user).fetch_all(pool).await).await
}

/// The passkey with this credential id.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn find(db: &Database, credential_id: &[u8]) -> Result<Option<Passkey>, StoreError> {
    let sql = "SELECT * FROM passkeys WHERE credential_id = $1";
    on_pool!(db, pool => sqlx::query_as(sql).bind(credential_id).fetch_optional(pool).await).await
}

/// Records a use. `false`, with nothing changed, when the counter has not grown or the passkey was
/// removed.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn note_use(
    db: &Database,
    id: Uuid,
    counter: u32,
    backed_up: bool,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let sql = "UPDATE passkeys SET counter = $2, backed_up = $3, last_used_at = $4
        WHERE id = $1 AND (counter < $2 OR (counter = 0 AND $2 = 0))";
    on_pool!(db, pool => {
        sqlx::query(sql)
            .bind(id)
            .bind(i64::from(counter))
            .bind(backed_up)
            .bind(Timestamp::from(now))
            .execute(pool)
            .await
            .map(|done| done.rows_affected() == 1)
    })
    .await
}

/// Removes a passkey from the account, unless it is the last sign-in method or "passkey only" needs
/// it.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn remove(
    db: &Database,
    user: Uuid,
    id: Uuid,
    ways: &SignInMethods,
) -> Result<Removal, StoreError> {
    let delete = "DELETE FROM passkeys WHERE id = $2 AND user_id = $1";
    let other_ways = "SELECT EXISTS (SELECT 1 FROM users WHERE id = $1 AND email IS NOT NULL AND \
                      $2)
        OR EXISTS (SELECT 1 FROM passkeys WHERE user_id = $1)
        OR EXISTS (SELECT 1 FROM identities WHERE user_id = $1
            AND $3 LIKE '%,' || provider || ',%')";
    on_pool!(db, pool => {
        let mut tx = pool.begin().await?;
        sqlx::query(LOCK).bind(user).execute(&mut *tx).await?;
        if sqlx::query(delete).bind(user).bind(id).execute(&mut *tx).await?.rows_affected() == 0 {
            return Ok(Removal::NotFound);
        }
        let needed: bool =
            sqlx::query_scalar(LACKS_WHAT_IT_NEEDS).bind(user).fetch_one(&mut *tx).await?;
        if needed {
            return Ok(Removal::Needed);
        }
        let other_ways: bool = sqlx::query_scalar(other_ways)
            .bind(user)
            .bind(ways.email)
            .bind(ways.provider_list())
            .fetch_one(&mut *tx)
            .await?;
        if !other_ways {
            return Ok(Removal::LastWayIn);
        }
        tx.commit().await?;
        Ok(Removal::Removed)
    })
    .await
}

/// Whether the account is "passkey only" with neither two passkeys nor one passkey and recovery
/// codes.
const LACKS_WHAT_IT_NEEDS: &str = "SELECT EXISTS (SELECT 1 FROM users WHERE id = $1 AND \
                                   passkey_only)
    AND (SELECT count(*) FROM passkeys WHERE user_id = $1) < 2
    AND NOT ((SELECT count(*) FROM passkeys WHERE user_id = $1) = 1
        AND EXISTS (SELECT 1 FROM recovery_codes WHERE user_id = $1))";

/// Turns "passkey only" on or off: only passkeys and recovery codes then sign in. `false`, with
/// nothing changed, when the account has neither two passkeys nor one passkey and recovery codes.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn set_passkey_only(
    db: &Database,
    user: Uuid,
    enabled: bool,
) -> Result<bool, StoreError> {
    let update = "UPDATE users SET passkey_only = $2 WHERE id = $1";
    on_pool!(db, pool => {
        let mut tx = pool.begin().await?;
        sqlx::query(update).bind(user).bind(enabled).execute(&mut *tx).await?;
        let lacks: bool =
            sqlx::query_scalar(LACKS_WHAT_IT_NEEDS).bind(user).fetch_one(&mut *tx).await?;
        if lacks {
            return Ok(false);
        }
        tx.commit().await?;
        Ok(true)
    })
    .await
}

/// Whether only passkeys and recovery codes sign in to the account.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn is_passkey_only(db: &Database, user: Uuid) -> Result<bool, StoreError> {
    let sql = "SELECT passkey_only FROM users WHERE id = $1";
    let only: Option<bool> =
        on_pool!(db, pool => sqlx::query_scalar(sql).bind(user).fetch_optional(pool).await).await?;
    Ok(only.unwrap_or(false))
}

/// Whether to suggest a passkey to the owner. `true` once per account, and only while it has none.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn offer_once(db: &Database, user: Uuid) -> Result<bool, StoreError> {
    let sql = "UPDATE users SET passkey_offered = $2 WHERE id = $1 AND NOT passkey_offered
        AND NOT EXISTS (SELECT 1 FROM passkeys WHERE user_id = $1)";
    on_pool!(db, pool => {
        sqlx::query(sql).bind(user).bind(true).execute(pool).await
            .map(|done| done.rows_affected() == 1)
    })
    .await
}

/// Removes all passkeys and recovery codes, and turns "passkey only" off.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn reset(db: &Database, user: Uuid) -> Result<(), StoreError> {
    let statements = [
        "DELETE FROM passkeys WHERE user_id = $1",
        "DELETE FROM passkey_challenges WHERE user_id = $1",
        "DELETE FROM recovery_codes WHERE user_id = $1",
        "DELETE FROM api_tokens WHERE user_id = $1",
        "UPDATE users SET passkey_only = FALSE, passkey_offered = FALSE WHERE id = $1",
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
