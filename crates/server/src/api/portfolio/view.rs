//! The response bodies of the portfolio.

use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::actions::portfolio::{Reading, Selected as SelectedPart};
use crate::clock::{rfc3339, utc};
use crate::portfolio::Portfolio as Portfolios;
use crate::portfolio::changes::Changes;
use crate::portfolio::pictures::Pictures;
use crate::portfolio::price_list::{Basis, PriceList};
use crate::portfolio::prices::Snapshot;
use crate::portfolio::selection::Selection;
use crate::portfolio::stack::{Stack, attachments};
use crate::portfolio::valuation::Valued;
use crate::store::portfolio::holdings::Asset;

#[derive(Serialize)]
pub(super) struct Portfolio<'a> {
    user_id: Uuid,
    total_value: u64,
    currency: &'a str,
    item_count: u64,
    priced_items: u64,
    unpriced_items: u64,
    unsellable_items: u64,
    estimated_items: u64,
    locked_items: u64,
    reported_items: Option<i64>,
    changes: Changes,
    holding_count: usize,
    selected: Selected,
    page: usize,
    pages: usize,
    holdings: Vec<Holding<'a>>,
    prices: Option<Prices<'a>>,
    source: Option<&'static str>,
    last_imported_at: Option<String>,
}

impl<'a> Portfolio<'a> {
    pub(super) fn of(user: Uuid, reading: &'a Reading, portfolio: &'a Portfolios) -> Self {
        let worth = &reading.worth;
        let SelectedPart { totals: selected, holdings, page, pages, on_page } = reading.selected();
        let totals = worth.totals;
        let imported_at = worth.summary.map(|summary| rfc3339(summary.imported_at));
        let shared = Shared {
            prices: worth.prices.as_deref(),
            priced_at: worth.prices.as_deref().map(priced_at),
            pictures: portfolio.pictures(),
            imported_at: imported_at.clone(),
            selection: reading.selection(),
        };
        Self {
            user_id: user,
            total_value: totals.value,
            currency: portfolio.prices().currency(),
            item_count: totals.items,
            priced_items: totals.items - totals.unpriced - totals.unsellable,
            unpriced_items: totals.unpriced,
            unsellable_items: totals.unsellable,
            estimated_items: totals.estimated,
            locked_items: totals.locked,
            reported_items: worth.summary.and_then(|summary| summary.reported_items),
            changes: worth.changes,
            holding_count: worth.len(),
            selected: Selected { holdings, items: selected.items, value: selected.value },
            page,
            pages,
            holdings: on_page.iter().map(|valued| shared.holding(valued)).collect(),
            prices: worth.prices.as_deref().map(Prices::new),
            source: worth.summary.map(|summary| summary.source.as_str()),
            last_imported_at: imported_at,
        }
    }
}

/// Sums over the whole selection, across all pages.
#[derive(Serialize)]
struct Selected {
    holdings: usize,
    items: u64,
    value: u64,
}

/// The source and age of the prices.
#[derive(Serialize)]
struct Prices<'a> {
    source: &'a str,
    fetched_at: String,
    count: usize,
}

impl<'a> Prices<'a> {
    fn new(prices: &'a Snapshot) -> Self {
        Self { source: &prices.source, fetched_at: priced_at(prices), count: prices.list.len() }
    }
}

#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of the answer")]
struct Holding<'a> {
    item_id: &'a str,
    market_hash_name: &'a str,
    phase: Option<&'a str>,
    #[serde(rename = "type")]
    item_type: &'static str,
    description: &'a str,
    rarity: &'a str,
    rarity_color: Option<&'a str>,
    exterior: Option<&'a str>,
    quality: &'a str,
    stattrak: bool,
    souvenir: bool,
    icon_url: Option<String>,
    quantity: u64,
    locked_quantity: u64,
    tradable_quantity: u64,
    marketable_quantity: u64,
    sellable: bool,
    #[serde(with = "time::serde::rfc3339::option")]
    locked_until: Option<OffsetDateTime>,
    current_price: Option<u64>,
    price_estimated: bool,
    price_kind: Option<Basis>,
    price_source: Option<String>,
    priced_at: Option<String>,
    total_value: Option<u64>,
    stickers: Vec<Attached>,
    charms: Vec<Attached>,
    imported_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<Vec<Item<'a>>>,
}

/// A sticker, patch or charm. No sum includes its price.
#[derive(Serialize)]
struct Attached {
    name: String,
    image_url: Option<String>,
    price: Option<u64>,
}

/// The data that all holdings need.
struct Shared<'a> {
    prices: Option<&'a Snapshot>,
    priced_at: Option<String>,
    pictures: &'a Pictures,
    imported_at: Option<String>,
    selection: &'a Selection,
}

impl<'a> Shared<'a> {
    fn holding(&self, valued: &Valued<'a>) -> Holding<'a> {
        let Stack { holding, item_type, .. } = valued.stack;
        let is_priced = valued.price.is_some();
        let fitting = |asset: &&Asset| self.selection.fits_asset(valued.stack, asset);
        let assets = || valued.stack.assets.iter().filter(fitting);
        let list = self.prices.map(|prices| &prices.list);
        let (mut stickers, mut charms) = (Vec::new(), Vec::new());
        for asset in assets().filter(|asset| asset.attachments.is_some()) {
            let (more_stickers, more_charms) = attached(asset, list);
            stickers.extend(more_stickers);
            charms.extend(more_charms);
        }
        let is_single = self.selection.item_id.is_some();
        Holding {
            item_id: &holding.item_id,
            market_hash_name: &holding.market_hash_name,
            phase: filled(&holding.phase),
            item_type: item_type.as_str(),
            description: &holding.kind,
            rarity: &holding.rarity,
            rarity_color: filled(&holding.rarity_color),
            exterior: filled(&holding.exterior),
            quality: &holding.quality,
            stattrak: valued.stack.is_stattrak(),
            souvenir: holding.quality == "souvenir",
            icon_url: self.pictures.address(&holding.icon),
            quantity: valued.pieces.quantity,
            locked_quantity: valued.pieces.locked,
            tradable_quantity: valued.pieces.tradable,
            marketable_quantity: valued.pieces.marketable,
            sellable: valued.pieces.sellable > 0,
            locked_until: assets().filter_map(|asset| asset.locked_until).min(),
            current_price: valued.price.map(|price| price.cents.get()),
            price_estimated: valued.price.is_some_and(|price| price.estimated),
            price_kind: valued.price.map(|price| price.basis),
            price_source: self.prices.filter(|_| is_priced).map(|prices| prices.source.clone()),
            priced_at: self.priced_at.clone().filter(|_| is_priced),
            total_value: valued.value(),
            stickers,
            charms,
            imported_at: self.imported_at.clone(),
            items: is_single
                .then(|| assets().map(|asset| Item::new(asset, valued.stack, list)).collect()),
        }
    }
}

/// The stickers and charms of an asset, with their prices.
fn attached(asset: &Asset, list: Option<&PriceList>) -> (Vec<Attached>, Vec<Attached>) {
    let all = attachments(asset.attachments.as_deref());
    let priced = |attachment: crate::domain::item::Attachment| Attached {
        price: list.and_then(|list| list.find(&attachment.name, None)).map(|it| it.cents.get()),
        name: attachment.name,
        image_url: attachment.image,
    };
    let priced = |list: Vec<_>| list.into_iter().map(priced).collect();
    (priced(all.stickers), priced(all.charms))
}

#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of the answer")]
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
    sellable: bool,
    locked: bool,
    #[serde(with = "time::serde::rfc3339::option")]
    locked_until: Option<OffsetDateTime>,
    inspect_link: Option<&'a str>,
    stickers: Vec<Attached>,
    charms: Vec<Attached>,
}

impl<'a> Item<'a> {
    fn new(asset: &'a Asset, stack: &Stack, list: Option<&PriceList>) -> Self {
        let (stickers, charms) = attached(asset, list);
        Self {
            asset_id: asset.asset_id.to_string(),
            quantity: asset.amount,
            wear: asset.wear.as_deref(),
            pattern: asset.pattern,
            paint_index: asset.paint_index,
            name_tag: asset.name_tag.as_deref(),
            tradable: asset.tradable,
            marketable: asset.marketable,
            sellable: stack.is_sellable(asset),
            locked: asset.locked,
            locked_until: asset.locked_until,
            inspect_link: asset.inspect_link.as_deref(),
            stickers,
            charms,
        }
    }
}

fn filled(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// The time of the prices, formatted for responses.
fn priced_at(prices: &Snapshot) -> String {
    rfc3339(utc(prices.fetched_at))
}
