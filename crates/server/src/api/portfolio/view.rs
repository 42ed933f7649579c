//! The bodies of the portfolio's answers.

use serde::Serialize;
use uuid::Uuid;

use super::priced_at;
use crate::portfolio::pictures::Pictures;
use crate::portfolio::prices::Snapshot;
use crate::portfolio::valuation::Valued;
use crate::store::portfolio::holdings::HeldItem;

#[derive(Serialize)]
pub(super) struct Portfolio<'a> {
    pub(super) user_id: Uuid,
    pub(super) total_value: u64,
    pub(super) currency: &'a str,
    pub(super) item_count: u64,
    pub(super) priced_items: u64,
    pub(super) unpriced_items: u64,
    pub(super) estimated_items: u64,
    pub(super) locked_items: u64,
    pub(super) reported_items: Option<i64>,
    pub(super) holding_count: usize,
    pub(super) selected: Selected,
    pub(super) page: usize,
    pub(super) pages: usize,
    pub(super) holdings: Vec<Holding<'a>>,
    pub(super) prices: Option<Prices<'a>>,
    pub(super) last_imported_at: Option<&'a str>,
}

/// Sums over what the query selects, all pages together.
#[derive(Serialize)]
pub(super) struct Selected {
    pub(super) holdings: usize,
    pub(super) items: u64,
    pub(super) value: u64,
}

/// Which prices they are.
#[derive(Serialize)]
pub(super) struct Prices<'a> {
    source: &'a str,
    fetched_at: String,
    count: usize,
}

impl<'a> Prices<'a> {
    pub(super) fn new(prices: &'a Snapshot) -> Self {
        Self { source: &prices.source, fetched_at: priced_at(prices), count: prices.list.len() }
    }
}

#[derive(Serialize)]
pub(super) struct Holding<'a> {
    item_id: &'a str,
    market_hash_name: &'a str,
    phase: Option<&'a str>,
    #[serde(rename = "type")]
    kind: &'a str,
    rarity: &'a str,
    rarity_color: Option<&'a str>,
    exterior: Option<&'a str>,
    quality: &'a str,
    stattrak: bool,
    souvenir: bool,
    icon_url: Option<String>,
    quantity: u64,
    locked_quantity: i64,
    tradable_quantity: i64,
    marketable_quantity: i64,
    current_price: Option<u64>,
    price_estimated: bool,
    price_source: Option<&'a str>,
    priced_at: Option<String>,
    total_value: Option<u64>,
    imported_at: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<Vec<Item<'a>>>,
}

/// What holdings share.
pub(super) struct Context<'a> {
    pub(super) prices: Option<&'a Snapshot>,
    pub(super) pictures: &'a Pictures,
    pub(super) imported_at: Option<&'a str>,
    /// The single items of the one holding that is shown.
    pub(super) items: Option<&'a [HeldItem]>,
}

impl<'a> Context<'a> {
    pub(super) fn holding(&self, valued: &Valued<'a>) -> Holding<'a> {
        let holding = valued.holding;
        let priced = self.prices.filter(|_| valued.price.is_some());
        Holding {
            item_id: &holding.item_id,
            market_hash_name: &holding.market_hash_name,
            phase: filled(&holding.phase),
            kind: &holding.kind,
            rarity: &holding.rarity,
            rarity_color: filled(&holding.rarity_color),
            exterior: filled(&holding.exterior),
            quality: &holding.quality,
            stattrak: holding.is_stattrak(),
            souvenir: holding.quality == "souvenir",
            icon_url: self.pictures.address(&holding.icon),
            quantity: valued.quantity(),
            locked_quantity: holding.locked,
            tradable_quantity: holding.tradable,
            marketable_quantity: holding.marketable,
            current_price: valued.price.map(|price| price.cents.get()),
            price_estimated: valued.price.is_some_and(|price| price.estimated),
            price_source: priced.map(|prices| &*prices.source),
            priced_at: priced.map(priced_at),
            total_value: valued.value(),
            imported_at: self.imported_at,
            items: self.items.map(|items| items.iter().map(Item::new).collect()),
        }
    }
}

#[derive(Serialize)]
struct Item<'a> {
    asset_id: String,
    quantity: i64,
    #[serde(rename = "float")]
    wear: Option<&'a str>,
    pattern: Option<i64>,
    paint_index: Option<i64>,
    name_tag: Option<&'a str>,
    tradable: bool,
    marketable: bool,
    locked: bool,
}

impl<'a> Item<'a> {
    fn new(item: &'a HeldItem) -> Self {
        Self {
            asset_id: item.asset_id.to_string(),
            quantity: item.amount,
            wear: item.wear.as_deref(),
            pattern: item.pattern,
            paint_index: item.paint_index,
            name_tag: item.name_tag.as_deref(),
            tradable: item.tradable,
            marketable: item.marketable,
            locked: item.locked,
        }
    }
}

fn filled(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}
