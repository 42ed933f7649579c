//! The contents of an inventory: assets, and the properties that assets of one name share.

use std::collections::HashMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::domain::item_type::ItemType;
use crate::domain::phase::Phase;

/// The id of an item: one market name and phase, hence one price. The same for every user and
/// import.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ItemId(String);

impl ItemId {
    /// The id of a market name and phase.
    pub fn of(market_hash_name: &str, phase: Option<Phase>) -> Self {
        let phase = phase.map_or("", Phase::as_str);
        let hash = Sha256::digest([market_hash_name.as_bytes(), b"\0", phase.as_bytes()].concat());
        let mut hex = String::with_capacity(24);
        for byte in &hash[..12] {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        Self(hex)
    }

    /// The 24 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The properties that items of one name share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The name in price lists; empty when Steam sent no description.
    pub market_hash_name: String,
    /// The variant of a Doppler finish, which has a price of its own.
    pub phase: Option<Phase>,
    /// The type label, such as `Consumer Grade SMG`.
    pub label: String,
    /// The type, derived from Steam's tags or the label.
    pub item_type: ItemType,
    /// The rarity, such as `Covert`.
    pub rarity: String,
    /// The rarity's colour: six hexadecimal digits, or empty.
    pub rarity_color: String,
    /// The exterior, such as `Field-Tested`, or empty.
    pub exterior: String,
    /// Normal, StatTrak, Souvenir or unusual.
    pub quality: Quality,
    /// The last path segment of the image URL at Steam, or empty.
    pub icon: String,
}

/// The category Steam calls quality.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quality {
    /// None of the categories below.
    Normal,
    /// Counts kills.
    StatTrak,
    /// From a tournament.
    Souvenir,
    /// A knife or gloves.
    Unusual,
    /// A knife that counts kills.
    UnusualStatTrak,
}

impl Quality {
    /// The name in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::StatTrak => "stattrak",
            Self::Souvenir => "souvenir",
            Self::Unusual => "unusual",
            Self::UnusualStatTrak => "unusual_stattrak",
        }
    }

    /// Steam's internal name of the category.
    pub fn from_internal_name(name: &str) -> Self {
        match name {
            "strange" => Self::StatTrak,
            "tournament" => Self::Souvenir,
            "unusual" => Self::Unusual,
            "unusual_strange" => Self::UnusualStatTrak,
            _ => Self::Normal,
        }
    }
}

/// One asset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Steam's asset id: unique at any one time, changed by each trade.
    pub asset_id: i64,
    /// The item that the asset is one of.
    pub item_id: ItemId,
    /// The number of units in this asset; always 1 today.
    pub amount: u32,
    /// The float value as Steam writes it.
    pub wear: Option<String>,
    /// The pattern template (paint seed).
    pub pattern: Option<u32>,
    /// The finish catalogue number (paint index).
    pub paint_index: Option<u32>,
    /// The name tag that the owner wrote.
    pub name_tag: Option<String>,
    /// Whether it can be traded now.
    pub tradable: bool,
    /// Whether it can be sold on Steam's market now.
    pub marketable: bool,
    /// Whether it cannot be traded or sold for now, but later.
    pub locked: bool,
    /// When the lock ends, if Steam says so.
    pub locked_until: Option<OffsetDateTime>,
    /// A `steam:` URL that opens the asset in the game.
    pub inspect_link: Option<String>,
    /// The stickers, patches and charms on it.
    pub attachments: Attachments,
}

/// Stickers, patches and charms on an item. Each has a price of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachments {
    /// Stickers and patches, in the order Steam lists them.
    #[serde(default)]
    pub stickers: Vec<Attachment>,
    /// Charms.
    #[serde(default)]
    pub charms: Vec<Attachment>,
}

impl Attachments {
    /// Whether there are no attachments.
    pub fn is_empty(&self) -> bool {
        self.stickers.is_empty() && self.charms.is_empty()
    }
}

/// One sticker, patch or charm on an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The name in price lists, such as `Sticker | Crown (Foil)`.
    pub name: String,
    /// The URL of the image at Steam.
    pub image: Option<String>,
}

/// One page of an inventory.
#[derive(Debug, Default)]
pub struct Page {
    /// The assets.
    pub items: Vec<Item>,
    /// The descriptions of those assets' items.
    pub kinds: HashMap<ItemId, Kind>,
    /// The number of assets in the whole inventory, as Steam reports it. It includes assets that
    /// outsiders cannot see.
    pub total: Option<u32>,
    /// The cursor of the next page, if Steam says that there is one.
    pub next: Option<String>,
    /// The last asset on this page. It is the cursor for another page when `next` is missing.
    pub last: Option<String>,
}
