//! Imported inventories: holdings, the running import, and past values.
//!
//! 1. An import writes its rows page by page under its own id, where no reader looks. One
//!    transaction at its end makes that id the portfolio's and removes the rows of all others.
//!    Until then the earlier holdings stay visible. Rows of an import that died are removed by the
//!    next one.
//! 2. A running import holds a lease in the portfolio's row. One statement claims the lease, and
//!    the import renews it. So there is one import per user across all instances, and the lease of
//!    a dead one expires.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use time::OffsetDateTime;
use uuid::Uuid;

use super::column::{Timestamp, text_column};
use super::{Database, StoreError, on_pool};
use crate::domain::item::{Attachments, Page};
use crate::domain::phase::Phase;
use crate::domain::steam_id::SteamId64;

pub mod former;
pub mod holdings;
pub mod snapshots;

/// Lifetime of a lease that is not renewed.
pub const LEASE: Duration = Duration::from_mins(2);

/// Rows per statement: far below both databases' limits on parameters.
const ROWS: usize = 200;

/// The result of requesting an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The caller may import, under this id.
    Granted(Uuid),
    /// Another import for this user is running.
    Running,
    /// The last import was too recent; the next may begin at this time.
    CoolingDown(OffsetDateTime),
}

/// The origin of holdings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The service fetched them from Steam.
    Steam,
    /// The owner's browser fetched them from Steam, and the owner uploaded the response.
    Upload,
}

text_column!(Source, Source::parse);

impl Source {
    /// The name in the database and in responses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Steam => "steam",
            Self::Upload => "upload",
        }
    }

    /// Parses the name from [`Source::as_str`].
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Steam, Self::Upload].into_iter().find(|source| source.as_str() == name)
    }
}

/// The Steam account linked to a user.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn linked_steam_id(db: &Database, user: Uuid) -> Result<Option<SteamId64>, StoreError> {
    let sql = "SELECT subject FROM identities WHERE user_id = $1 AND provider = 'steam'";
    let subject: Option<String> =
        on_pool!(db, pool => sqlx::query_scalar(sql).bind(user).fetch_optional(pool).await).await?;
    Ok(subject.as_deref().and_then(SteamId64::parse))
}

/// Requests the user's import lease. Of concurrent callers, one gets it.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn claim(db: &Database, user: Uuid, now: OffsetDateTime) -> Result<Claim, StoreError> {
    let lease = Uuid::new_v4();
    let claim = "INSERT INTO portfolios (user_id, lease_id, lease_until) VALUES ($1, $2, $4)
        ON CONFLICT (user_id) DO UPDATE SET
            lease_id = excluded.lease_id, lease_until = excluded.lease_until, progress = NULL
        WHERE (portfolios.lease_until IS NULL OR portfolios.lease_until <= $3)
          AND (portfolios.next_import_at IS NULL OR portfolios.next_import_at <= $3)
        RETURNING lease_id";
    let refused = "SELECT CASE WHEN lease_until > $2 THEN NULL ELSE next_import_at END FROM \
                   portfolios WHERE user_id = $1";
    let (now, until) = (Timestamp::from(now), Timestamp::from(now + LEASE));
    let granted: Option<Uuid> = on_pool!(db, pool => {
        sqlx::query_scalar(claim).bind(user).bind(lease).bind(now).bind(until).fetch_optional(pool)
            .await
    })
    .await?;
    if granted.is_some() {
        return Ok(Claim::Granted(lease));
    }
    let next: Option<OffsetDateTime> = on_pool!(db, pool => {
        sqlx::query_scalar(refused).bind(user).bind(now).fetch_one(pool).await
    })
    .await?;
    Ok(next.map_or(Claim::Running, Claim::CoolingDown))
}

/// Renews a lease and stores the import's progress. `false` if another import holds the lease now.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn renew(
    db: &Database,
    user: Uuid,
    import: Uuid,
    progress: &str,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let sql = "UPDATE portfolios SET lease_until = $3, progress = $4 WHERE user_id = $1 AND \
               lease_id = $2";
    let until = Timestamp::from(now + LEASE);
    on_pool!(db, pool => {
        let query = sqlx::query(sql).bind(user).bind(import).bind(until).bind(progress);
        query.execute(pool).await.map(|done| done.rows_affected() == 1)
    })
    .await
}

/// The progress of the running import, as stored by [`renew`]. `None` when none is running; empty
/// when it has just begun.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn progress(
    db: &Database,
    user: Uuid,
    now: OffsetDateTime,
) -> Result<Option<String>, StoreError> {
    let sql =
        "SELECT COALESCE(progress, '') FROM portfolios WHERE user_id = $1 AND lease_until > $2";
    let now = Timestamp::from(now);
    on_pool!(db, pool => sqlx::query_scalar(sql).bind(user).bind(now).fetch_optional(pool).await)
        .await
}

/// When the user may import again; `None` before the first import.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn next_import_at(
    db: &Database,
    user: Uuid,
) -> Result<Option<OffsetDateTime>, StoreError> {
    let sql = "SELECT next_import_at FROM portfolios WHERE user_id = $1";
    let next: Option<Option<OffsetDateTime>> = on_pool!(db, pool => {
        sqlx::query_scalar(sql).bind(user).fetch_optional(pool).await
    })
    .await?;
    Ok(next.flatten())
}

/// Writes a page that stays invisible until [`publish`]. An asset that is already staged is
/// skipped. Returns the number of assets staged so far.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn stage(
    db: &Database,
    user: Uuid,
    import: Uuid,
    page: &Page,
) -> Result<u64, StoreError> {
    let kinds: Vec<_> = page.kinds.iter().collect();
    let count = "SELECT COUNT(*) FROM portfolio_items WHERE import_id = $1";
    let total: i64 = on_pool!(db, pool => {
        let mut tx = pool.begin().await?;
        for rows in kinds.chunks(ROWS) {
            let sql = insert_rows(
                "INSERT INTO portfolio_holdings (import_id, user_id, item_id, market_hash_name, \
                    phase, kind,
                    item_type, rarity, rarity_color, exterior, quality, icon)", 12, rows.len());
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for (id, kind) in rows {
                query = query
                    .bind(import)
                    .bind(user)
                    .bind(id.as_str())
                    .bind(&*kind.market_hash_name)
                    .bind(kind.phase.map_or("", Phase::as_str))
                    .bind(&*kind.label)
                    .bind(kind.item_type.as_str())
                    .bind(&*kind.rarity)
                    .bind(&*kind.rarity_color)
                    .bind(&*kind.exterior)
                    .bind(kind.quality.as_str())
                    .bind(&*kind.icon);
            }
            query.execute(&mut *tx).await?;
        }
        for rows in page.items.chunks(ROWS) {
            let sql = insert_rows(
                "INSERT INTO portfolio_items (import_id, user_id, asset_id, item_id, amount, \
                    wear, pattern, paint_index,
                    name_tag, tradable, marketable, locked, locked_until, inspect_link,
                        attachments)",
                15, rows.len());
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for item in rows {
                query = query
                    .bind(import)
                    .bind(user)
                    .bind(item.asset_id)
                    .bind(item.item_id.as_str())
                    .bind(i64::from(item.amount))
                    .bind(item.wear.as_deref())
                    .bind(item.pattern.map(i64::from))
                    .bind(item.paint_index.map(i64::from))
                    .bind(item.name_tag.as_deref())
                    .bind(item.tradable)
                    .bind(item.marketable)
                    .bind(item.locked)
                    .bind(item.locked_until.map(Timestamp::from))
                    .bind(item.inspect_link.as_deref())
                    .bind(attachments(&item.attachments));
            }
            query.execute(&mut *tx).await?;
        }
        let total = sqlx::query_scalar(count).bind(import).fetch_one(&mut *tx).await?;
        tx.commit().await?;
        Ok(total)
    })
    .await?;
    Ok(total.cast_unsigned())
}

/// The attachments as JSON; `None` without any.
fn attachments(all: &Attachments) -> Option<String> {
    (!all.is_empty()).then(|| serde_json::to_string(all).unwrap_or_default())
}

/// `INSERT … VALUES ($1, …), ($n, …) ON CONFLICT DO NOTHING`
fn insert_rows(insert: &str, columns: usize, rows: usize) -> String {
    let row = |row: usize| {
        let cells: Vec<_> =
            (1..=columns).map(|column| format!("${}", row * columns + column)).collect();
        format!("({})", cells.join(", "))
    };
    let rows: Vec<_> = (0..rows).map(row).collect();
    format!("{insert} VALUES {} ON CONFLICT DO NOTHING", rows.join(", "))
}

/// Publishes the staged rows as the user's portfolio, all or nothing. It ends the lease and starts
/// the cooldown. `false`, with nothing changed, if another import holds the lease. The earlier
/// amounts are kept, see [`former`].
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn publish(
    db: &Database,
    user: Uuid,
    import: Uuid,
    reported_items: Option<u32>,
    source: Source,
    now: OffsetDateTime,
    cooldown: Duration,
) -> Result<bool, StoreError> {
    let before = "SELECT import_id FROM portfolios
        WHERE user_id = $1 AND lease_id = $2 AND import_id IS NOT NULL";
    let switch = "UPDATE portfolios SET import_id = $2, imported_at = $3, reported_items = $4, \
                  next_import_at = $5,
            source = $6, lease_id = NULL, lease_until = NULL, progress = NULL
        WHERE user_id = $1 AND lease_id = $2";
    let add_up = "UPDATE portfolio_holdings SET quantity = summed.quantity, locked = \
                  summed.locked,
            tradable = summed.tradable, marketable = summed.marketable
        FROM (
            SELECT item_id, CAST(SUM(amount) AS BIGINT) AS quantity,
                CAST(SUM(CASE WHEN locked THEN amount ELSE 0 END) AS BIGINT) AS locked,
                CAST(SUM(CASE WHEN tradable THEN amount ELSE 0 END) AS BIGINT) AS tradable,
                CAST(SUM(CASE WHEN marketable THEN amount ELSE 0 END) AS BIGINT) AS marketable
            FROM portfolio_items WHERE import_id = $1 GROUP BY item_id
        ) AS summed
        WHERE portfolio_holdings.import_id = $1 AND portfolio_holdings.item_id = summed.item_id";
    let next = Timestamp::from(now + cooldown);
    let now = Timestamp::from(now);
    on_pool!(db, pool => {
        let mut tx = pool.begin().await?;
        let before: Option<Uuid> =
            sqlx::query_scalar(before).bind(user).bind(import).fetch_optional(&mut *tx).await?;
        if let Some(before) = before {
            let amounts = sqlx::query_as(former::AMOUNTS).bind(before).fetch_all(&mut *tx).await?;
            sqlx::query(former::KEEP)
                .bind(before)
                .bind(user)
                .bind(now)
                .bind(former::packed(&amounts)?)
                .execute(&mut *tx)
                .await?;
        }
        let switched = sqlx::query(switch)
            .bind(user)
            .bind(import)
            .bind(now)
            .bind(reported_items.map(i64::from))
            .bind(next)
            .bind(source.as_str())
            .execute(&mut *tx)
            .await?;
        if switched.rows_affected() != 1 {
            return Ok(false);
        }
        sqlx::query(add_up).bind(import).execute(&mut *tx).await?;
        for sql in REMOVE_OTHERS {
            sqlx::query(sql).bind(user).bind(import).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(true)
    })
    .await
}

const REMOVE_OTHERS: [&str; 2] = [
    "DELETE FROM portfolio_items WHERE user_id = $1 AND import_id <> $2",
    "DELETE FROM portfolio_holdings WHERE user_id = $1 AND import_id <> $2",
];

/// Ends a lease without a result and removes the staged rows. The earlier holdings stay, and no
/// cooldown starts.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn abandon(db: &Database, user: Uuid, import: Uuid) -> Result<(), StoreError> {
    let release = "UPDATE portfolios SET lease_id = NULL, lease_until = NULL, progress = NULL
        WHERE user_id = $1 AND lease_id = $2";
    // Removes only the import's own rows, and never those of the published import.
    let remove = [
        "DELETE FROM portfolio_items WHERE import_id = $2
            AND NOT EXISTS (SELECT 1 FROM portfolios WHERE user_id = $1 AND import_id = $2)",
        "DELETE FROM portfolio_holdings WHERE import_id = $2
            AND NOT EXISTS (SELECT 1 FROM portfolios WHERE user_id = $1 AND import_id = $2)",
    ];
    on_pool!(db, pool => {
        let mut tx = pool.begin().await?;
        for sql in [release, remove[0], remove[1]] {
            sqlx::query(sql).bind(user).bind(import).execute(&mut *tx).await?;
        }
        tx.commit().await
    })
    .await
}
