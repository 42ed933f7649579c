//! Reading what users hold.

use sqlx::AssertSqlSafe;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::item::ItemId;
use crate::store::column::from_row;
use crate::store::{Database, StoreError, on_pool};

/// A portfolio without its holdings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The import in force.
    pub import_id: Uuid,
    /// When it was published.
    pub imported_at: OffsetDateTime,
    /// How many assets Steam said there are, those hidden from outsiders included.
    pub reported_items: Option<i64>,
}

from_row!(Summary { import_id, imported_at, reported_items });

/// What a user holds of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// See [`ItemId`].
    pub item_id: String,
    /// Empty when Steam did not describe the item.
    pub market_hash_name: String,
    /// A [`Phase`](crate::domain::phase::Phase) or empty.
    pub phase: String,
    /// Such as `Consumer Grade SMG`.
    pub kind: String,
    /// Such as `Covert`.
    pub rarity: String,
    /// Six hexadecimal digits, or empty.
    pub rarity_color: String,
    /// Such as `Field-Tested`, or empty.
    pub exterior: String,
    /// A [`Quality`](crate::domain::item::Quality).
    pub quality: String,
    /// The last part of the picture's address at Steam, or empty.
    pub icon: String,
    /// How many.
    pub quantity: i64,
    /// How many of them cannot be traded or sold for now.
    pub locked: i64,
    /// How many of them can be traded now.
    pub tradable: i64,
    /// How many of them can be sold on Steam's market now.
    pub marketable: i64,
}

from_row!(Holding {
    item_id,
    market_hash_name,
    phase,
    kind,
    rarity,
    rarity_color,
    exterior,
    quality,
    icon,
    quantity,
    locked,
    tradable,
    marketable
});

impl Holding {
    /// Whether it counts kills.
    pub fn is_stattrak(&self) -> bool {
        self.quality.ends_with("stattrak")
    }
}

/// One asset with what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldItem {
    /// Steam's id of the asset.
    pub asset_id: i64,
    /// Which holding it belongs to.
    pub item_id: String,
    /// Its holding's name.
    pub market_hash_name: String,
    /// Its holding's phase.
    pub phase: String,
    /// Its holding's rarity.
    pub rarity: String,
    /// Its holding's exterior.
    pub exterior: String,
    /// Its holding's quality.
    pub quality: String,
    /// How many it stands for.
    pub amount: i64,
    /// The float value as Steam writes it.
    pub wear: Option<String>,
    /// The pattern template.
    pub pattern: Option<i64>,
    /// The finish catalogue number.
    pub paint_index: Option<i64>,
    /// What the owner named it.
    pub name_tag: Option<String>,
    /// Whether it can be traded now.
    pub tradable: bool,
    /// Whether it can be sold on Steam's market now.
    pub marketable: bool,
    /// Whether it cannot be traded or sold for now, but later.
    pub locked: bool,
}

from_row!(HeldItem {
    asset_id,
    item_id,
    market_hash_name,
    phase,
    rarity,
    exterior,
    quality,
    amount,
    wear,
    pattern,
    paint_index,
    name_tag,
    tradable,
    marketable,
    locked
});

/// The user's portfolio; `None` before the first import.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn summary(db: &Database, user: Uuid) -> Result<Option<Summary>, StoreError> {
    let sql = "SELECT import_id, imported_at, reported_items FROM portfolios
        WHERE user_id = $1 AND import_id IS NOT NULL";
    on_pool!(db, pool => sqlx::query_as(sql).bind(user).fetch_optional(pool).await).await
}

/// All holdings of an import of the user. Empty for an import that has been replaced meanwhile.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn list(db: &Database, user: Uuid, import: Uuid) -> Result<Vec<Holding>, StoreError> {
    let sql = "SELECT item_id, market_hash_name, phase, kind, rarity, rarity_color, exterior, quality, icon,
            quantity, locked, tradable, marketable
        FROM portfolio_holdings WHERE user_id = $1 AND import_id = $2 ORDER BY item_id";
    on_pool!(db, pool => sqlx::query_as(sql).bind(user).bind(import).fetch_all(pool).await).await
}

/// At most `limit` assets of an import of the user, in the order of their ids, after `after`.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn items(
    db: &Database,
    user: Uuid,
    import: Uuid,
    after: i64,
    limit: u32,
) -> Result<Vec<HeldItem>, StoreError> {
    let sql = "SELECT i.asset_id, i.item_id, h.market_hash_name, h.phase, h.rarity, h.exterior, h.quality, i.amount,
            i.wear, i.pattern, i.paint_index, i.name_tag, i.tradable, i.marketable, i.locked
        FROM portfolio_items i JOIN portfolio_holdings h ON h.import_id = i.import_id AND h.item_id = i.item_id
        WHERE i.import_id = $2 AND i.user_id = $1 AND i.asset_id > $3 ORDER BY i.asset_id LIMIT $4";
    on_pool!(db, pool => {
        let query = sqlx::query_as(sql).bind(user).bind(import).bind(after).bind(i64::from(limit));
        query.fetch_all(pool).await
    })
    .await
}

/// The assets of one holding, at most a thousand; none for what is no [`ItemId`].
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn items_of(
    db: &Database,
    user: Uuid,
    import: Uuid,
    item: &str,
) -> Result<Vec<HeldItem>, StoreError> {
    // PostgreSQL refuses a NUL where SQLite finds nothing.
    if !ItemId::is_valid(item) {
        return Ok(Vec::new());
    }
    let sql = "SELECT i.asset_id, i.item_id, h.market_hash_name, h.phase, h.rarity, h.exterior, h.quality, i.amount,
            i.wear, i.pattern, i.paint_index, i.name_tag, i.tradable, i.marketable, i.locked
        FROM portfolio_items i JOIN portfolio_holdings h ON h.import_id = i.import_id AND h.item_id = i.item_id
        WHERE i.import_id = $2 AND i.user_id = $1 AND i.item_id = $3 ORDER BY i.asset_id LIMIT 1000";
    on_pool!(db, pool => sqlx::query_as(sql).bind(user).bind(import).bind(item).fetch_all(pool).await).await
}

/// The float values of holdings, as Steam writes them, with the holding's id; at most five
/// thousand.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn wears(
    db: &Database,
    user: Uuid,
    import: Uuid,
    holdings: &[&str],
) -> Result<Vec<(String, String)>, StoreError> {
    if holdings.is_empty() {
        return Ok(Vec::new());
    }
    let listed: Vec<_> = (3..3 + holdings.len()).map(|at| format!("${at}")).collect();
    let sql = format!(
        "SELECT item_id, wear FROM portfolio_items
        WHERE user_id = $1 AND import_id = $2 AND wear IS NOT NULL AND item_id IN ({}) LIMIT 5000",
        listed.join(", ")
    );
    on_pool!(db, pool => {
        let query = sqlx::query_as(AssertSqlSafe(sql)).bind(user).bind(import);
        holdings.iter().fold(query, |query, id| query.bind(*id)).fetch_all(pool).await
    })
    .await
}
