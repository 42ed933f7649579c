//! Holdings of earlier imports. They separate price changes from additions and removals.
//!
//! 1. When an import is replaced, its amounts by name are kept, compressed.
//! 2. They are kept while a recorded value can be compared with them: all for [`ALL_KEPT`], then
//!    those with a daily value for [`KEPT`].

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::store::column::{Timestamp, from_row};
use crate::store::{Database, StoreError, on_pool};

/// Retention of every replaced import.
pub const ALL_KEPT: Duration = Duration::hours(60);
/// Retention of replaced imports that a daily snapshot refers to.
pub const KEPT: Duration = Duration::days(32);
/// Limit for decompression: more than the amounts of any inventory take.
const MAX_UNPACKED: u64 = 256 << 20;

/// The quantity of one item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// The item's name in price lists.
    pub market_hash_name: String,
    /// A [`Phase`](crate::domain::phase::Phase) or empty.
    pub phase: String,
    /// The number of units.
    pub quantity: i64,
}

from_row!(Amount { market_hash_name, phase, quantity });

pub(super) const AMOUNTS: &str =
    "SELECT market_hash_name, phase, quantity FROM portfolio_holdings WHERE import_id = $1";
pub(super) const KEEP: &str = "INSERT INTO portfolio_former (import_id, user_id, replaced_at, \
                               amounts)
        VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";

/// Deflated JSON. Names share most words, so that one takes about ten bytes.
pub(super) fn packed(amounts: &[Amount]) -> Result<Vec<u8>, sqlx::Error> {
    let broken = |error: std::io::Error| sqlx::Error::Encode(error.into());
    let json = serde_json::to_vec(amounts).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let mut packer = DeflateEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(&json).map_err(broken)?;
    packer.finish().map_err(broken)
}

fn unpacked(packed: &[u8]) -> Result<Vec<Amount>, sqlx::Error> {
    let mut json = Vec::new();
    let mut unpacker = DeflateDecoder::new(packed).take(MAX_UNPACKED);
    unpacker.read_to_end(&mut json).map_err(|error| sqlx::Error::Decode(error.into()))?;
    serde_json::from_slice(&json).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// The amounts of one of the user's imports; `None` when they are no longer kept.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn amounts(
    db: &Database,
    user: Uuid,
    import: Uuid,
) -> Result<Option<Vec<Amount>>, StoreError> {
    let sql = "SELECT amounts FROM portfolio_former WHERE user_id = $1 AND import_id = $2";
    let kept: Option<Vec<u8>> = on_pool!(db, pool => {
        sqlx::query_scalar(sql).bind(user).bind(import).fetch_optional(pool).await
    })
    .await?;
    Ok(kept.map(|kept| unpacked(&kept)).transpose()?)
}

/// Removes amounts that no recorded value can be compared with any more.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn thin(db: &Database, user: Uuid, now: OffsetDateTime) -> Result<(), StoreError> {
    let sql = "DELETE FROM portfolio_former WHERE user_id = $1 AND (replaced_at <= $3
            OR (replaced_at <= $2 AND NOT EXISTS (
                SELECT 1 FROM portfolio_snapshots s WHERE s.user_id = $1
                    AND s.import_id = portfolio_former.import_id AND s.day IS NOT NULL)))";
    let (all, some) = (Timestamp::from(now - ALL_KEPT), Timestamp::from(now - KEPT));
    on_pool!(db, pool => {
        sqlx::query(sql).bind(user).bind(all).bind(some).execute(pool).await.map(drop)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_back_and_small() {
        let amount = |at: i64| Amount {
            market_hash_name: format!("AK-47 | Redline {at} (Field-Tested)"),
            phase: String::new(),
            quantity: at,
        };
        let amounts: Vec<_> = (0..2_000).map(amount).collect();
        let packed = packed(&amounts).unwrap();
        assert_eq!(unpacked(&packed).unwrap(), amounts);
        assert!(packed.len() < 30_000, "{}", packed.len());
        assert!(unpacked(b"no deflate").is_err());
    }
}
