//! Mails that are neither sent nor given up.
//!
//! 1. A row is written before the request for the mail is answered, and removed when the mail is
//!    sent or given up.
//! 2. The process that accepted a mail holds a lease on its row and renews it. When the lease
//!    expires, another process takes the row over, or the same one after a restart.
//! 3. The caller encrypts the content of a mail before storing it.

use time::OffsetDateTime;
use uuid::Uuid;

use super::column::{Timestamp, from_row};
use super::{Database, StoreError, on_pool};

/// A mail to be stored.
#[derive(Clone, Copy, Debug)]
pub struct NewMail<'a> {
    /// The mail's id.
    pub id: Uuid,
    /// The mail, encrypted.
    pub sealed: &'a [u8],
    /// When the mail becomes useless.
    pub expires_at: OffsetDateTime,
}

/// A process's lease.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    /// The process.
    pub owner: Uuid,
    /// When the lease expires unless it is renewed.
    pub until: OffsetDateTime,
}

/// A mail that was taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundMail {
    /// The mail's id.
    pub id: Uuid,
    /// The mail, encrypted.
    pub sealed: Vec<u8>,
    /// When the mail becomes useless.
    pub expires_at: OffsetDateTime,
}

from_row!(FoundMail { id, sealed, expires_at });

/// Stores a mail under this lease.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn add(db: &Database, mail: &NewMail<'_>, lease: Lease) -> Result<(), StoreError> {
    let sql = "INSERT INTO outbox (id, sealed, expires_at, owner, claimed_until)
        VALUES ($1, $2, $3, $4, $5)";
    on_pool!(db, pool => {
        sqlx::query(sql)
            .bind(mail.id)
            .bind(mail.sealed)
            .bind(Timestamp::from(mail.expires_at))
            .bind(lease.owner)
            .bind(Timestamp::from(lease.until))
            .execute(pool)
            .await
            .map(drop)
    })
    .await
}

/// Removes a mail that was sent or given up.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn remove(db: &Database, id: Uuid) -> Result<(), StoreError> {
    let sql = "DELETE FROM outbox WHERE id = $1";
    on_pool!(db, pool => sqlx::query(sql).bind(id).execute(pool).await.map(drop)).await
}

/// Renews the lease of all mails of its owner and removes expired mails. Takes over at most `most`
/// mails whose lease has expired.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn renew_and_take_over(
    db: &Database,
    lease: Lease,
    most: u32,
    now: OffsetDateTime,
) -> Result<Vec<FoundMail>, StoreError> {
    let renew = "UPDATE outbox SET claimed_until = $2 WHERE owner = $1";
    let purge = "DELETE FROM outbox WHERE expires_at <= $1";
    // The lease is checked in both queries: another process may have taken the row in between.
    let take = "UPDATE outbox SET owner = $1, claimed_until = $2
        WHERE claimed_until <= $3 AND id IN (
            SELECT id FROM outbox WHERE claimed_until <= $3 ORDER BY expires_at LIMIT $4
        ) RETURNING id, sealed, expires_at";
    let (now, until) = (Timestamp::from(now), Timestamp::from(lease.until));
    on_pool!(db, pool => {
        sqlx::query(renew).bind(lease.owner).bind(until).execute(pool).await?;
        sqlx::query(purge).bind(now).execute(pool).await?;
        sqlx::query_as(take)
            .bind(lease.owner)
            .bind(until)
            .bind(now)
            .bind(i64::from(most))
            .fetch_all(pool)
            .await
    })
    .await
}

/// Ends this process's leases, so that another process can take its mails over.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn release(db: &Database, owner: Uuid, now: OffsetDateTime) -> Result<(), StoreError> {
    let sql = "UPDATE outbox SET claimed_until = $2 WHERE owner = $1";
    let now = Timestamp::from(now);
    on_pool!(db, pool => sqlx::query(sql).bind(owner).bind(now).execute(pool).await.map(drop)).await
}
