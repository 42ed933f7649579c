//! Passkeys, and the challenges that wait for an answer.
//!
//! 1. A credential has one owner: a unique index sees to it. An account has at most
//!    [`MAX_PER_USER`].
//! 2. A challenge is spent by one `DELETE`, by the browser that asked for it. The database has its
//!    hash only.
//! 3. A counter only grows, by one `UPDATE`: of two answers with the same number one is refused.
//! 4. The last way in cannot be removed, nor what "passkey only" needs. Removals of one account run
//!    one after the other: each first takes the lock on the account's row.

use time::OffsetDateTime;
use uuid::Uuid;

use super::column::{Timestamp, from_row, hash_of};
use super::identities::SignInMethods;
use super::{Database, StoreError, on_pool};

/// How many passkeys an account may have.
pub const MAX_PER_USER: i64 = 20;

/// Whose request for a passkey it is, when they are signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requester {
    /// The account.
    pub user: Uuid,
    /// Hash of the session's binding.
    pub session_hash: [u8; 32],
}

/// A challenge to be remembered.
#[derive(Debug)]
pub struct NewChallenge {
    /// Hash of the challenge.
    pub challenge_hash: [u8; 32],
    /// Hash of what the browser holds.
    pub browser_hash: [u8; 32],
    /// Whether a passkey is to be made rather than to sign.
    pub registers: bool,
    /// Who asks, if they are signed in.
    pub requester: Option<Requester>,
    /// When it ends.
    pub expires_at: OffsetDateTime,
}

/// A passkey to be kept.
#[derive(Clone, Debug)]
pub struct NewPasskey<'a> {
    /// The authenticator's name for it.
    pub credential_id: &'a [u8],
    /// In the form of COSE.
    pub public_key: &'a [u8],
    /// The signature counter.
    pub counter: u32,
    /// The model of the authenticator.
    pub aaguid: [u8; 16],
    /// The owner's name for it.
    pub name: &'a str,
    /// How the authenticator can be reached, separated by blanks.
    pub transports: &'a str,
    /// Whether copies may be kept elsewhere.
    pub backup_eligible: bool,
    /// Whether there is one.
    pub backed_up: bool,
}

/// A passkey of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passkey {
    /// Our name for it.
    pub id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// The authenticator's name for it.
    pub credential_id: Vec<u8>,
    /// In the form of COSE.
    pub public_key: Vec<u8>,
    /// The signature counter, a `u32`.
    pub counter: i64,
    /// The model of the authenticator: 16 bytes.
    pub aaguid: Vec<u8>,
    /// The owner's name for it: text to escape.
    pub name: String,
    /// How the authenticator can be reached, separated by blanks.
    pub transports: String,
    /// Whether copies may be kept elsewhere.
    pub backup_eligible: bool,
    /// Whether there was one when it was used last.
    pub backed_up: bool,
    /// When it was registered, to the second.
    pub created_at: OffsetDateTime,
    /// When it last signed in or confirmed its owner.
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

/// What became of a new passkey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adding {
    /// The account has it now.
    Added(Uuid),
    /// Somebody has the credential already.
    Taken,
    /// The account has [`MAX_PER_USER`] already.
    TooMany,
}

/// What became of a removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Removed,
    /// There was nothing.
    NotFound,
    /// It is the only way into the account, and stays.
    LastWayIn,
    /// "Passkey only" needs it, and it stays.
    Needed,
}

/// Remembers a challenge, and forgets those whose time is over.
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

/// Takes the lock on the account's row, on both databases: the next change of its ways in sees what
/// this one did.
const LOCK: &str = "UPDATE users SET id = id WHERE id = $1";

/// Gives the account a passkey.
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

/// The passkey with that id of its authenticator's.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn find(db: &Database, credential_id: &[u8]) -> Result<Option<Passkey>, StoreError> {
    let sql = "SELECT * FROM passkeys WHERE credential_id = $1";
    on_pool!(db, pool => sqlx::query_as(sql).bind(credential_id).fetch_optional(pool).await).await
}

/// Records a signature. `false`, with nothing changed, when the counter has not grown or the
/// passkey was removed.
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

/// Takes a passkey from the account, unless it is the last way in or "passkey only" needs it.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn remove(
    db: &Database,
    user: Uuid,
    id: Uuid,
    ways: SignInMethods,
) -> Result<Removal, StoreError> {
    let delete = "DELETE FROM passkeys WHERE id = $2 AND user_id = $1";
    let other_ways = "SELECT EXISTS (SELECT 1 FROM users WHERE id = $1 AND email IS NOT NULL AND \
                      $2)
        OR EXISTS (SELECT 1 FROM passkeys WHERE user_id = $1)
        OR EXISTS (SELECT 1 FROM identities WHERE user_id = $1
            AND (provider = 'steam' OR (provider = 'google' AND $3) OR (provider = 'github' AND \
                      $4)))";
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
            .bind(ways.google)
            .bind(ways.github)
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

/// Whether the account is "passkey only" without two passkeys, or one and recovery codes.
const LACKS_WHAT_IT_NEEDS: &str = "SELECT EXISTS (SELECT 1 FROM users WHERE id = $1 AND \
                                   passkey_only)
    AND (SELECT count(*) FROM passkeys WHERE user_id = $1) < 2
    AND NOT ((SELECT count(*) FROM passkeys WHERE user_id = $1) = 1
        AND EXISTS (SELECT 1 FROM recovery_codes WHERE user_id = $1))";

/// Says whether only passkeys and recovery codes open the account. `false` when it lacks two
/// passkeys, or one and recovery codes, and nothing is changed.
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

/// Whether only passkeys and recovery codes open the account.
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

/// Whether the account is to be offered a passkey: it has none, and was not offered one before.
/// Says so once.
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

/// Takes every passkey, every recovery code and "passkey only" from the account.
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
