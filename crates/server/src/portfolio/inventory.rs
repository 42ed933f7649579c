//! Parses one page of a Steam inventory, within bounds, and joins assets with their descriptions.
//!
//! 1. A description belongs to an asset by class and instance. Each page contains the descriptions
//!    of its own assets.
//! 2. An asset without a description still counts; its name is unknown.
//! 3. Ids, amounts and names are parsed strictly: an invalid one makes the page unreadable, rather
//!    than an item wrong. All other fields are parsed leniently, so that one odd item does not cost
//!    the others. Unknown fields are ignored.
//! 4. A valid page has a total number of items, or at least one item.

use std::collections::HashMap;

mod details;
mod wire;

use super::text::clean;
use crate::domain::item::{Attachments, Item, ItemId, Kind, Page, Quality};
use crate::domain::item_type::ItemType;
use crate::domain::phase::Phase;
use wire::{RawAsset, RawDescription, RawPage, RawProperty};

/// Steam's app id of Counter-Strike 2.
const APP: &str = "730";
/// Limit on the amount of one asset.
const MAX_AMOUNT: u32 = 10_000;
const MAX_NAME_CHARS: usize = 200;
const MAX_LABEL_CHARS: usize = 80;

/// The content of a response with status 200.
#[derive(Debug)]
pub enum Reply {
    /// A page, possibly without items.
    Page(Page),
    /// The inventory is private, reported in an old format.
    Private,
    /// No content: a bare `null`, or `success: false` without a known reason.
    Nothing,
}

/// The body is not an inventory.
#[derive(Debug, thiserror::Error)]
#[error("the inventory is unreadable: {0}")]
pub struct Unreadable(&'static str);

/// Parses a body that came with status 200.
///
/// # Errors
/// [`Unreadable`] when the body is not the JSON of an inventory.
pub fn parse(body: &[u8]) -> Result<Reply, Unreadable> {
    // The parser's own message could quote the body.
    let page: Option<RawPage<'_>> =
        serde_json::from_slice(body).map_err(|_| Unreadable("not the expected JSON"))?;
    let Some(page) = page else { return Ok(Reply::Nothing) };
    if !page.success {
        let private = page.error.is_some_and(|it| it.0.to_ascii_lowercase().contains("private"));
        return Ok(if private { Reply::Private } else { Reply::Nothing });
    }
    join(&page).map(Reply::Page)
}

fn join(page: &RawPage<'_>) -> Result<Page, Unreadable> {
    let assets = page.assets.as_deref().unwrap_or_default();
    let total = page.total();
    if assets.is_empty() && total.is_none() {
        return Err(Unreadable("neither items nor their number"));
    }
    let descriptions: HashMap<(&str, &str), &RawDescription<'_>> =
        page.descriptions.iter().map(|it| ((&*it.classid.0, it.instance()), it)).collect();
    let listed = page.properties();
    let mut properties: HashMap<&str, Vec<RawProperty<'_>>> = HashMap::new();
    for entry in &listed {
        properties.insert(&entry.assetid.0, entry.all());
    }
    let next = page.last_assetid.as_ref().map(|id| &*id.0).filter(|id| !id.is_empty());
    if page.more_items && next.is_none() {
        return Err(Unreadable("more items that begin nowhere"));
    }
    let last = next.or_else(|| assets.last().map(|asset| &*asset.assetid.0));
    let mut joined = Page {
        items: Vec::with_capacity(assets.len()),
        kinds: HashMap::new(),
        total,
        next: next.filter(|_| page.more_items).map(str::to_owned),
        last: last.map(str::to_owned),
    };
    for asset in assets.iter().filter(|asset| asset.is_of(APP)) {
        let description = descriptions.get(&(&*asset.classid.0, asset.instance())).copied();
        let properties = properties.get(&*asset.assetid.0).map_or(&[][..], Vec::as_slice);
        let (item, kind) = item(asset, description, properties)?;
        joined.kinds.entry(item.item_id.clone()).or_insert(kind);
        joined.items.push(item);
    }
    Ok(joined)
}

fn item(
    asset: &RawAsset<'_>,
    description: Option<&RawDescription<'_>>,
    properties: &[RawProperty<'_>],
) -> Result<(Item, Kind), Unreadable> {
    let asset_id = asset.assetid.0.parse().ok().filter(|id: &i64| *id >= 0);
    let asset_id = asset_id.ok_or(Unreadable("an asset id is no number"))?;
    let amount = asset.amount().parse().ok().filter(|amount| (1..=MAX_AMOUNT).contains(amount));
    let amount = amount.ok_or(Unreadable("an amount makes no sense"))?;
    let property =
        |id: &str| properties.iter().find(|property| property.is(id)).and_then(RawProperty::text);
    let paint_index = property("7").and_then(|text| text.parse().ok());
    let kind = kind(description, paint_index);
    let locked_until = description.and_then(details::locked_until);
    let is_free = description.is_some_and(|it| it.tradable && it.marketable);
    let item = Item {
        asset_id,
        item_id: ItemId::of(&kind.market_hash_name, kind.phase),
        amount,
        wear: property("2").filter(|text| is_decimal(text)).map(str::to_owned),
        pattern: property("1").and_then(|text| text.parse().ok()),
        paint_index,
        name_tag: property("5")
            .map(|text| clean(text, MAX_LABEL_CHARS))
            .filter(|text| !text.is_empty()),
        tradable: description.is_some_and(|it| it.tradable),
        marketable: description.is_some_and(|it| it.marketable),
        locked: description.is_some_and(RawDescription::is_locked)
            || locked_until.is_some() && !is_free,
        locked_until: locked_until.filter(|_| !is_free),
        inspect_link: description.and_then(|description| {
            let property = |id: &str| property(id).map(str::to_owned);
            details::inspect_link(description, &asset.assetid.0, property)
        }),
        attachments: description.map_or_else(Attachments::default, details::attachments),
    };
    Ok((item, kind))
}

fn kind(description: Option<&RawDescription<'_>>, paint_index: Option<u32>) -> Kind {
    let Some(description) = description else {
        return Kind {
            market_hash_name: String::new(),
            phase: None,
            label: String::new(),
            item_type: ItemType::of("", ""),
            rarity: String::new(),
            rarity_color: String::new(),
            exterior: String::new(),
            quality: Quality::Normal,
            icon: String::new(),
        };
    };
    let tags = description.tags();
    let tag = |category| tags.iter().find(|tag| tag.category() == category);
    let label =
        |category| tag(category).map_or_else(String::new, |tag| clean(tag.name(), MAX_LABEL_CHARS));
    let market_hash_name = clean(description.name(), MAX_NAME_CHARS);
    Kind {
        phase: paint_index
            .and_then(Phase::of_paint_index)
            .filter(|_| market_hash_name.contains("Doppler")),
        market_hash_name,
        label: clean(description.kind(), MAX_LABEL_CHARS),
        item_type: ItemType::of(
            tag("Type").map_or("", |tag| tag.internal_name()),
            description.kind(),
        ),
        rarity: label("Rarity"),
        rarity_color: tag("Rarity").map_or_else(String::new, |tag| hex_color(tag.color())),
        exterior: label("Exterior"),
        quality: tag("Quality")
            .map_or(Quality::Normal, |tag| Quality::from_internal_name(tag.internal_name())),
        icon: if is_icon(description.icon()) {
            description.icon().to_owned()
        } else {
            String::new()
        },
    }
}

/// Six hexadecimal digits, or an empty text.
fn hex_color(text: &str) -> String {
    let is_color = text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_color { text.to_owned() } else { String::new() }
}

/// Whether the text can be used as a path segment without encoding.
fn is_icon(text: &str) -> bool {
    (1..=600).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

fn is_decimal(text: &str) -> bool {
    text.len() <= 40
        && text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || b".eE-".contains(&byte))
}

#[cfg(test)]
mod tests;
