//! Security events of accounts, for their owners to read. Rows are only added, and removed after 90
//! days or when a user has [`MOST`] newer ones.

use std::net::IpAddr;

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::column::{Timestamp, from_row};
use super::{Database, StoreError, on_pool};
use crate::domain::email::Email;

/// Retention of an event.
pub const KEPT: Duration = Duration::days(90);

/// Maximum number of events per user.
pub const MOST: u32 = 1_000;
/// Maximum number of rows that one insert removes. It keeps the insert fast when many old rows have
/// accumulated.
const REMOVED_AT_ONCE: u32 = 5_000;

/// An event to be recorded. It holds nothing that could be used as a credential.
#[derive(Clone, Copy, Debug)]
pub struct NewEvent<'a> {
    /// The account.
    pub user: Uuid,
    /// The kind of event, such as `signed_in`.
    pub kind: &'static str,
    /// The sign-in method, where that matters.
    pub method: Option<&'a str>,
    /// The affected session or address, in words for the owner.
    pub about: Option<&'a str>,
    /// The client: "Firefox on Linux".
    pub device: &'a str,
    /// Hash of the client's device cookie.
    pub device_hash: Option<[u8; 32]>,
    /// The client's address; `None` when no client caused the event.
    pub ip: Option<IpAddr>,
}

/// An event as shown to its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Later events have greater ids.
    pub id: i64,
    /// The kind of event.
    pub kind: String,
    /// The sign-in method.
    pub method: Option<String>,
    /// The affected session or address, in words for the owner.
    pub about: Option<String>,
    /// The client: "Firefox on Linux".
    pub device: String,
    /// The client's address; empty when no client caused the event.
    pub ip: String,
    /// The time of the event.
    pub at: OffsetDateTime,
}

from_row!(Event { id, kind, method, about, device, ip, at });

/// Adds an event. Removes expired events, and the user's oldest above [`MOST`].
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn record(
    db: &Database,
    new: &NewEvent<'_>,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let purge = "DELETE FROM security_events WHERE at <= $1";
    let insert = "INSERT INTO security_events (user_id, kind, method, about, device, device_hash,
            ip, at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let prune = "DELETE FROM security_events WHERE id IN (
            SELECT id FROM security_events WHERE user_id = $1
            ORDER BY id DESC LIMIT $3 OFFSET $2)";
    on_pool!(db, pool => {
        sqlx::query(purge).bind(Timestamp::from(now - KEPT)).execute(pool).await?;
        sqlx::query(insert)
            .bind(new.user)
            .bind(new.kind)
            .bind(new.method)
            .bind(new.about)
            .bind(new.device)
            .bind(new.device_hash.as_ref().map(|hash| &hash[..]))
            .bind(new.ip.map_or_else(String::new, |ip| ip.to_string()))
            .bind(Timestamp::from(now))
            .execute(pool)
            .await?;
        sqlx::query(prune)
            .bind(new.user)
            .bind(i64::from(MOST))
            .bind(i64::from(REMOVED_AT_ONCE))
            .execute(pool)
            .await
            .map(drop)
    })
    .await
}

/// The user's newest events with an id below `before`.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn list(
    db: &Database,
    user: Uuid,
    before: Option<i64>,
    limit: u32,
    now: OffsetDateTime,
) -> Result<Vec<Event>, StoreError> {
    let sql = "SELECT id, kind, method, about, device, ip, at FROM security_events
        WHERE user_id = $1 AND id < $2 AND at > $3 ORDER BY id DESC LIMIT $4";
    on_pool!(db, pool => {
        sqlx::query_as(sql)
            .bind(user)
            .bind(before.unwrap_or(i64::MAX))
            .bind(Timestamp::from(now - KEPT))
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await
    })
    .await
}

/// Sets the device of the user's newest sign-in. For a browser that never received its device
/// cookie because the response was lost.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn correct_device(
    db: &Database,
    user: Uuid,
    device_hash: &[u8; 32],
) -> Result<(), StoreError> {
    let sql = "UPDATE security_events SET device_hash = $2 WHERE id = (
            SELECT max(id) FROM security_events WHERE user_id = $1 AND kind = 'signed_in')";
    on_pool!(db, pool => {
        sqlx::query(sql).bind(user).bind(&device_hash[..]).execute(pool).await.map(drop)
    })
    .await
}

/// Two flags: whether any sign-in of the user is recorded, and whether one is with this device.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn known_devices(
    db: &Database,
    user: Uuid,
    device_hash: Option<&[u8; 32]>,
) -> Result<(bool, bool), StoreError> {
    let sql = "SELECT count(*), count(CASE WHEN device_hash = $2 THEN 1 END) FROM security_events
        WHERE user_id = $1 AND kind = 'signed_in'";
    let (any, this): (i64, i64) = on_pool!(db, pool => {
        sqlx::query_as(sql).bind(user).bind(device_hash.map(|hash| &hash[..])).fetch_one(pool).await
    })
    .await?;
    Ok((any > 0, this > 0))
}

/// Whether a sign-in with this device to the account with this address is recorded.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn is_known_device(
    db: &Database,
    email: &Email,
    device_hash: &[u8; 32],
) -> Result<bool, StoreError> {
    let sql = "SELECT count(*) FROM security_events
        WHERE user_id = (SELECT id FROM users WHERE email = $1)
            AND kind = 'signed_in' AND device_hash = $2";
    let found: i64 = on_pool!(db, pool => {
        sqlx::query_scalar(sql).bind(email).bind(&device_hash[..]).fetch_one(pool).await
    })
    .await?;
    Ok(found > 0)
}
