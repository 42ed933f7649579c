//! What an inventory holds: assets, and what assets of one name have in common.

use std::collections::HashMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::domain::item_type::ItemType;
use crate::domain::phase::Phase;

/// The id of an item: all with one name and one price. The same for every user and import.
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

    /// Its 24 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What items of one name have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Its name in price lists; empty when Steam did not describe it.
    pub market_hash_name: String,
    /// The variant of a Doppler finish, which has a price of its own.
    pub phase: Option<Phase>,
    /// Such as `Consumer Grade SMG`.
    pub label: String,
    /// What sort of item that is.
    pub item_type: ItemType,
    /// Such as `Covert`.
    pub rarity: String,
    /// Six hexadecimal digits, or empty.
    pub rarity_color: String,
    /// Such as `Field-Tested`, or empty.
    pub exterior: String,
    /// Ordinary, StatTrak, Souvenir.
    pub quality: Quality,
    /// The last part of its picture's address at Steam, or empty.
    pub icon: String,
}

/// The category Steam calls quality.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quality {
    /// None of the others.
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
    /// Unique at any one time; a trade changes it.
    pub asset_id: i64,
    /// What it is.
    pub item_id: ItemId,
    /// How many it stands for; one today.
    pub amount: u32,
    /// The float value as Steam writes it.
    pub wear: Option<String>,
    /// The pattern template (paint seed).
    pub pattern: Option<u32>,
    /// The finish catalogue number (paint index).
    pub paint_index: Option<u32>,
    /// What the owner named it.
    pub name_tag: Option<String>,
    /// Whether it can be traded now.
    pub tradable: bool,
    /// Whether it can be sold on Steam's market now.
    pub marketable: bool,
    /// Whether it cannot be traded or sold for now, but later.
    pub locked: bool,
    /// When that ends, if Steam tells.
    pub locked_until: Option<OffsetDateTime>,
    /// Opens it in the game: a `steam:` address.
    pub inspect_link: Option<String>,
    /// What is fixed to it.
    pub attachments: Attachments,
}

/// What is fixed to an item and has a price of its own.
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
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.stickers.is_empty() && self.charms.is_empty()
    }
}

/// One sticker, patch or charm on an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Its name in price lists, such as `Sticker | Crown (Foil)`.
    pub name: String,
    /// The address of its picture at Steam.
    pub image: Option<String>,
}

/// One page.
#[derive(Debug, Default)]
pub struct Page {
    /// The assets.
    pub items: Vec<Item>,
    /// What they are.
    pub kinds: HashMap<ItemId, Kind>,
    /// How many assets Steam says the whole inventory has; more than outsiders can see.
    pub total: Option<u32>,
    /// Where the next page begins, if Steam says that there is one.
    pub next: Option<String>,
    /// The last asset of this page: where another page would begin.
    pub last: Option<String>,
}
