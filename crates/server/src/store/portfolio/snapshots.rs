//! Past portfolio values: one row per import and one per day. Old rows are thinned out.

use time::{Date, Duration, OffsetDateTime};
use uuid::Uuid;

use crate::store::column::Timestamp;
use crate::store::column::from_row;
use crate::store::{Database, StoreError, on_pool};

/// Retention of snapshots made by imports. Older history has one value per day.
pub const IMPORTS_KEPT: Duration = Duration::days(90);
/// Retention of daily snapshots: five years.
pub const DAYS_KEPT: Duration = Duration::days(5 * 365);

/// The value of a portfolio at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// When the portfolio was valued.
    pub taken_at: OffsetDateTime,
    /// The day that a daily snapshot is for, as in `2026-11-23`; `None` when an import made the
    /// snapshot.
    pub day: Option<String>,
    /// The total of the priced items.
    pub total_cents: i64,
    /// The currency.
    pub currency: String,
    /// The number of items.
    pub items: i64,
    /// The number of items without a price.
    pub unpriced_items: i64,
    /// The price source; empty when no prices were available.
    pub price_source: String,
    /// The published import at that time, if known.
    pub import_id: Option<Uuid>,
}

from_row!(Snapshot {
    taken_at,
    day,
    total_cents,
    currency,
    items,
    unpriced_items,
    price_source,
    import_id
});

impl Snapshot {
    /// Whether it has a value in that currency. A snapshot without prices has none.
    pub fn is_worth_in(&self, currency: &str) -> bool {
        self.currency == currency && !self.price_source.is_empty()
    }
}

/// Adds a snapshot. A second one for the same day is ignored.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn add(db: &Database, user: Uuid, snapshot: &Snapshot) -> Result<(), StoreError> {
    let sql = "INSERT INTO portfolio_snapshots
            (id, user_id, taken_at, day, total_cents, currency, items, unpriced_items, \
               price_source,
             import_id)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING";
    on_pool!(db, pool => {
        sqlx::query(sql)
            .bind(Uuid::new_v4())
            .bind(user)
            .bind(Timestamp::from(snapshot.taken_at))
            .bind(snapshot.day.as_deref())
            .bind(snapshot.total_cents)
            .bind(&*snapshot.currency)
            .bind(snapshot.items)
            .bind(snapshot.unpriced_items)
            .bind(&*snapshot.price_source)
            .bind(snapshot.import_id)
            .execute(pool)
            .await
            .map(drop)
    })
    .await
}

/// Removes the user's expired snapshots, see [`IMPORTS_KEPT`] and [`DAYS_KEPT`]. Returns the number
/// removed.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn thin(db: &Database, user: Uuid, now: OffsetDateTime) -> Result<u64, StoreError> {
    let sql = "DELETE FROM portfolio_snapshots
        WHERE user_id = $1 AND taken_at <= $2 AND (day IS NULL OR taken_at <= $3)";
    let (imports, days) = (Timestamp::from(now - IMPORTS_KEPT), Timestamp::from(now - DAYS_KEPT));
    on_pool!(db, pool => {
        let query = sqlx::query(sql).bind(user).bind(imports).bind(days);
        query.execute(pool).await.map(|done| done.rows_affected())
    })
    .await
}

/// The user's newest snapshots, at most `limit`, newest first.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn newest(db: &Database, user: Uuid, limit: u32) -> Result<Vec<Snapshot>, StoreError> {
    let sql = "SELECT taken_at, day, total_cents, currency, items, unpriced_items, price_source, \
               import_id
        FROM portfolio_snapshots WHERE user_id = $1 ORDER BY taken_at DESC, id LIMIT $2";
    on_pool!(db, pool => sqlx::query_as(sql).bind(user).bind(i64::from(limit)).fetch_all(pool)
        .await)
    .await
}

/// The user's snapshots since `begin`, oldest first.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn since(
    db: &Database,
    user: Uuid,
    begin: OffsetDateTime,
) -> Result<Vec<Snapshot>, StoreError> {
    let sql = "SELECT taken_at, day, total_cents, currency, items, unpriced_items, price_source, \
               import_id
        FROM portfolio_snapshots WHERE user_id = $1 AND taken_at >= $2 ORDER BY taken_at, id";
    let begin = Timestamp::from(begin);
    on_pool!(db, pool => sqlx::query_as(sql).bind(user).bind(begin).fetch_all(pool).await).await
}

/// The user's newest snapshot between the two times with a value in that currency. Its amounts must
/// still be stored, as current or [former](super::former) holdings.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn comparable(
    db: &Database,
    user: Uuid,
    currency: &str,
    (earliest, latest): (OffsetDateTime, OffsetDateTime),
) -> Result<Option<Snapshot>, StoreError> {
    let sql = "SELECT taken_at, day, total_cents, currency, items, unpriced_items, price_source, \
               import_id
        FROM portfolio_snapshots s
        WHERE user_id = $1 AND currency = $2 AND price_source <> '' AND taken_at BETWEEN $3 AND $4
            AND (EXISTS (SELECT 1 FROM portfolio_former f WHERE f.import_id = s.import_id)
                OR EXISTS (SELECT 1 FROM portfolios p WHERE p.user_id = $1 AND p.import_id = \
               s.import_id))
        ORDER BY taken_at DESC, id LIMIT 1";
    let (earliest, latest) = (Timestamp::from(earliest), Timestamp::from(latest));
    on_pool!(db, pool => {
        let query = sqlx::query_as(sql).bind(user).bind(currency).bind(earliest).bind(latest);
        query.fetch_optional(pool).await
    })
    .await
}

/// At most `limit` users with a portfolio but no snapshot of that day.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn users_without(db: &Database, day: Date, limit: u32) -> Result<Vec<Uuid>, StoreError> {
    let sql = "SELECT user_id FROM portfolios p WHERE import_id IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM portfolio_snapshots s WHERE s.user_id = p.user_id AND s.day = $1)
        ORDER BY user_id LIMIT $2";
    let day = day.to_string();
    on_pool!(db, pool => sqlx::query_scalar(sql).bind(&*day).bind(i64::from(limit)).fetch_all(pool)
        .await)
    .await
}
