//! Queries for users' holdings.

use time::OffsetDateTime;
use uuid::Uuid;

use super::Source;
use crate::store::column::from_row;
use crate::store::{Database, StoreError, on_pool};

/// A portfolio without its holdings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The published import.
    pub import_id: Uuid,
    /// When it was published.
    pub imported_at: OffsetDateTime,
    /// The number of assets that Steam reported, including those hidden from outsiders.
    pub reported_items: Option<i64>,
    /// The origin of the holdings.
    pub source: Source,
}

from_row!(Summary { import_id, imported_at, reported_items, source });

/// A user's holding of one item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// See [`ItemId`](crate::domain::item::ItemId).
    pub item_id: String,
    /// Empty when Steam did not describe the item.
    pub market_hash_name: String,
    /// A [`Phase`](crate::domain::phase::Phase) or empty.
    pub phase: String,
    /// The type label, such as `Consumer Grade SMG`.
    pub kind: String,
    /// An [`ItemType`](crate::domain::item_type::ItemType), or empty for an old import.
    pub item_type: String,
    /// The rarity, such as `Covert`.
    pub rarity: String,
    /// The rarity's colour: six hexadecimal digits, or empty.
    pub rarity_color: String,
    /// The exterior, such as `Field-Tested`, or empty.
    pub exterior: String,
    /// A [`Quality`](crate::domain::item::Quality).
    pub quality: String,
    /// The last path segment of the image URL at Steam, or empty.
    pub icon: String,
    /// The number of units.
    pub quantity: i64,
}

from_row!(Holding {
    item_id,
    market_hash_name,
    phase,
    kind,
    item_type,
    rarity,
    rarity_color,
    exterior,
    quality,
    icon,
    quantity
});

/// One asset, without its item's description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asset {
    /// Steam's id of the asset.
    pub asset_id: i64,
    /// The holding that the asset belongs to.
    pub item_id: String,
    /// The number of units in this asset.
    pub amount: i64,
    /// The float value as Steam writes it.
    pub wear: Option<String>,
    /// The pattern template (paint seed).
    pub pattern: Option<i64>,
    /// The finish catalogue number (paint index).
    pub paint_index: Option<i64>,
    /// The name tag that the owner wrote.
    pub name_tag: Option<String>,
    /// Whether it can be traded now.
    pub tradable: bool,
    /// Whether it can be sold on Steam's market now.
    pub marketable: bool,
    /// Whether it cannot be traded or sold for now, but later.
    pub locked: bool,
    /// When the lock ends, if Steam said so.
    pub locked_until: Option<OffsetDateTime>,
    /// A `steam:` URL that opens the asset in the game.
    pub inspect_link: Option<String>,
    /// Stickers, patches and charms as JSON.
    pub attachments: Option<String>,
}

from_row!(Asset {
    asset_id,
    item_id,
    amount,
    wear,
    pattern,
    paint_index,
    name_tag,
    tradable,
    marketable,
    locked,
    locked_until,
    inspect_link,
    attachments
});

/// One asset with its item's description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldItem {
    /// Steam's id of the asset.
    pub asset_id: i64,
    /// The holding that the asset belongs to.
    pub item_id: String,
    /// The item's name in price lists.
    pub market_hash_name: String,
    /// The item's Doppler phase, or empty.
    pub phase: String,
    /// The item's rarity.
    pub rarity: String,
    /// The item's exterior.
    pub exterior: String,
    /// The item's quality.
    pub quality: String,
    /// The number of units in this asset.
    pub amount: i64,
    /// The float value as Steam writes it.
    pub wear: Option<String>,
    /// The pattern template (paint seed).
    pub pattern: Option<i64>,
    /// The finish catalogue number (paint index).
    pub paint_index: Option<i64>,
    /// The name tag that the owner wrote.
    pub name_tag: Option<String>,
    /// Whether it can be traded now.
    pub tradable: bool,
    /// Whether it can be sold on Steam's market now.
    pub marketable: bool,
    /// Whether it cannot be traded or sold for now, but later.
    pub locked: bool,
    /// When the lock ends, if Steam said so.
    pub locked_until: Option<OffsetDateTime>,
    /// Stickers, patches and charms as JSON.
    pub attachments: Option<String>,
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
    locked,
    locked_until,
    attachments
});

/// The summary of the user's portfolio; `None` before the first import.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn summary(db: &Database, user: Uuid) -> Result<Option<Summary>, StoreError> {
    let sql = "SELECT import_id, imported_at, reported_items, source FROM portfolios
        WHERE user_id = $1 AND import_id IS NOT NULL";
    on_pool!(db, pool => sqlx::query_as(sql).bind(user).fetch_optional(pool).await).await
}

/// All holdings of one of the user's imports. Empty if the import was replaced meanwhile.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn list(db: &Database, user: Uuid, import: Uuid) -> Result<Vec<Holding>, StoreError> {
    let sql = "SELECT item_id, market_hash_name, phase, kind, item_type, rarity, rarity_color, \
               exterior,
            quality, icon, quantity
        FROM portfolio_holdings WHERE user_id = $1 AND import_id = $2 ORDER BY item_id";
    on_pool!(db, pool => sqlx::query_as(sql).bind(user).bind(import).fetch_all(pool).await).await
}

/// At most `limit` assets of one of the user's imports, ordered by id, with ids above `after`.
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
    let sql = "SELECT i.asset_id, i.item_id, h.market_hash_name, h.phase, h.rarity, h.exterior, \
               h.quality, i.amount,
            i.wear, i.pattern, i.paint_index, i.name_tag, i.tradable, i.marketable, i.locked, \
               i.locked_until,
            i.attachments
        FROM portfolio_items i JOIN portfolio_holdings h ON h.import_id = i.import_id AND \
               h.item_id = i.item_id
        WHERE i.import_id = $2 AND i.user_id = $1 AND i.asset_id > $3 ORDER BY i.asset_id LIMIT $4";
    on_pool!(db, pool => {
        let query = sqlx::query_as(sql).bind(user).bind(import).bind(after).bind(i64::from(limit));
        query.fetch_all(pool).await
    })
    .await
}

/// All assets of one of the user's imports, grouped by holding.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn assets(db: &Database, user: Uuid, import: Uuid) -> Result<Vec<Asset>, StoreError> {
    let sql = "SELECT asset_id, item_id, amount, wear, pattern, paint_index, name_tag, tradable,
            marketable, locked, locked_until, inspect_link, attachments
        FROM portfolio_items WHERE user_id = $1 AND import_id = $2 ORDER BY item_id, asset_id";
    on_pool!(db, pool => sqlx::query_as(sql).bind(user).bind(import).fetch_all(pool).await).await
}
