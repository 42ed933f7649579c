//! Reading what users hold.

use time::OffsetDateTime;
use uuid::Uuid;

use super::Source;
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
    /// Where they come from.
    pub source: Source,
}

from_row!(Summary { import_id, imported_at, reported_items, source });

/// What a user holds of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// See [`ItemId`](crate::domain::item::ItemId).
    pub item_id: String,
    /// Empty when Steam did not describe the item.
    pub market_hash_name: String,
    /// A [`Phase`](crate::domain::phase::Phase) or empty.
    pub phase: String,
    /// Such as `Consumer Grade SMG`.
    pub kind: String,
    /// An [`ItemType`](crate::domain::item_type::ItemType), or empty for an old import.
    pub item_type: String,
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

/// One asset, without what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asset {
    /// Steam's id of the asset.
    pub asset_id: i64,
    /// Which holding it belongs to.
    pub item_id: String,
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
    /// When that ends, if Steam told.
    pub locked_until: Option<OffsetDateTime>,
    /// Opens it in the game.
    pub inspect_link: Option<String>,
    /// Stickers and charms as JSON.
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

/// One asset with what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// When that ends, if Steam told.
    pub locked_until: Option<OffsetDateTime>,
    /// Stickers and charms as JSON.
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

/// The user's portfolio; `None` before the first import.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn summary(db: &Database, user: Uuid) -> Result<Option<Summary>, StoreError> {
    let sql = "SELECT import_id, imported_at, reported_items, source FROM portfolios
        WHERE user_id = $1 AND import_id IS NOT NULL";
    on_pool!(db, pool => sqlx::query_as(sql).bind(user).fetch_optional(pool).await).await
}

/// All holdings of an import of the user. Empty for an import that has been replaced meanwhile.
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

/// All assets of an import of the user, holding by holding.
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
