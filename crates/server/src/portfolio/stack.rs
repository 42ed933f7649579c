//! All assets of one item, and their common properties.

use std::sync::Arc;

use crate::domain::item::Attachments;
use crate::domain::item_type::ItemType;
use crate::store::portfolio::holdings::{Asset, Holding, Summary};

/// All assets of one item.
#[derive(Clone, Debug)]
pub struct Stack {
    /// Their common properties.
    pub holding: Holding,
    /// The assets, ordered by id.
    pub assets: Box<[Asset]>,
    /// The number of units.
    pub pieces: Pieces,
    /// The item's type.
    pub item_type: ItemType,
    /// The text that a search looks through.
    pub(super) words: Box<str>,
}

impl Stack {
    /// Combines a holding with its assets.
    pub fn new(holding: Holding, assets: Vec<Asset>) -> Self {
        let pieces = Pieces::of(&holding, &assets);
        let known = ItemType::parse(&holding.item_type);
        let item_type = known.unwrap_or_else(|| ItemType::of("", &holding.kind));
        let words = super::words::words_of(&holding);
        Self { holding, assets: assets.into(), pieces, item_type, words }
    }

    /// Whether the item counts kills.
    pub fn is_stattrak(&self) -> bool {
        self.holding.quality.ends_with("stattrak")
    }

    /// Whether this asset can be sold, now or later.
    pub fn is_sellable(&self, asset: &Asset) -> bool {
        is_sellable(&self.holding, asset)
    }

    /// The memory it occupies, without the allocator's overhead.
    pub(super) fn bytes(&self) -> usize {
        let Holding { item_id, market_hash_name, phase, kind, item_type, .. } = &self.holding;
        let Holding { rarity, rarity_color, exterior, quality, icon, .. } = &self.holding;
        let texts = [item_id, market_hash_name, phase, kind, item_type, rarity, rarity_color];
        let texts = texts.into_iter().chain([exterior, quality, icon]);
        let assets = self.assets.iter().map(|asset| {
            let Asset { item_id, wear, name_tag, inspect_link, attachments, .. } = asset;
            let optional = [wear, name_tag, inspect_link, attachments].into_iter().flatten();
            size_of::<Asset>() + item_id.capacity() + optional.map(String::capacity).sum::<usize>()
        });
        let shared = texts.map(String::capacity).sum::<usize>() + self.words.len();
        size_of::<Self>() + shared + assets.sum::<usize>()
    }
}

/// Whether an asset can be sold somewhere, now or when a lock ends. An asset without a description
/// counts as sellable, because nothing is known about it.
fn is_sellable(holding: &Holding, asset: &Asset) -> bool {
    asset.marketable || asset.tradable || asset.locked || holding.market_hash_name.is_empty()
}

/// Parses an asset's attachments.
pub fn attachments(json: Option<&str>) -> Attachments {
    json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
}

/// The number of units, in total and by property.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pieces {
    /// All units.
    pub quantity: u64,
    /// Units that cannot be traded or sold for now.
    pub locked: u64,
    /// Units that can be traded now.
    pub tradable: u64,
    /// Units that can be sold on Steam's market now.
    pub marketable: u64,
    /// Units that can be sold somewhere, now or later.
    pub sellable: u64,
}

impl Pieces {
    /// Counts these assets of a holding.
    pub fn of<'a>(holding: &Holding, assets: impl IntoIterator<Item = &'a Asset>) -> Self {
        let mut pieces = Self::default();
        for asset in assets {
            let amount = asset.amount.max(0).cast_unsigned();
            let if_so = |is_so: bool| if is_so { amount } else { 0 };
            pieces.quantity += amount;
            pieces.locked += if_so(asset.locked);
            pieces.tradable += if_so(asset.tradable);
            pieces.marketable += if_so(asset.marketable);
            pieces.sellable += if_so(is_sellable(holding, asset));
        }
        pieces
    }
}

/// A portfolio with its holdings.
#[derive(Clone, Debug)]
pub struct Held {
    /// The published import.
    pub summary: Summary,
    /// The holdings of that import.
    pub stacks: Arc<[Stack]>,
}
