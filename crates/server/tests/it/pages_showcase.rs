//! A realistic trader's inventory with prices.

use serde_json::Value;

use crate::portfolio::upstream::feed::row;
use crate::portfolio::upstream::steam::{Asset, Look, asset};

/// Name, type, rarity, colour, exterior, icon, float, price.
type Item = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    f64,
);

#[rustfmt::skip]
const ITEMS: [Item; 9] = [
    ("★ Karambit | Doppler (Factory New)", "★ Covert Knife", "Covert",
     "eb4b4b", "Factory New", "knife-e5484d", "0.012345", 1_284.0),
    ("★ Sport Gloves | Vice (Field-Tested)", "★ Extraordinary Gloves", "Extraordinary",
     "eb4b4b", "Field-Tested", "gloves-d946a6", "0.223456", 1_120.5),
    ("AWP | Asiimov (Field-Tested)", "Covert Sniper Rifle", "Covert",
     "eb4b4b", "Field-Tested", "sniper-f59e0b", "0.281111", 134.2),
    ("AK-47 | Redline (Field-Tested)", "Classified Rifle", "Classified",
     "d32ce6", "Field-Tested", "rifle-dc2626", "0.151234", 31.15),
    ("M4A1-S | Printstream (Minimal Wear)", "Covert Rifle", "Covert",
     "eb4b4b", "Minimal Wear", "rifle-94a3b8", "0.081234", 262.0),
    ("Desert Eagle | Blaze (Factory New)", "Restricted Pistol", "Restricted",
     "8847ff", "Factory New", "pistol-f97316", "0.007777", 618.4),
    ("Dreams & Nightmares Case", "Base Grade Container", "Base Grade",
     "b0c3d9", "", "case-8b5cf6", "", 1.94),
    ("Sticker | Crown (Foil)", "Exotic Sticker", "Exotic", "d32ce6", "", "", "", 740.0),
    ("Souvenir Charm | Austin 2025", "High Grade Charm", "High Grade",
     "4b69ff", "", "broken", "", 0.0),
];

/// The number of each item, in the same order.
const COUNTS: [u64; 9] = [1, 1, 1, 2, 1, 1, 24, 1, 1];

pub(crate) fn assets() -> Vec<Asset> {
    let mut assets = Vec::new();
    for ((name, kind, rarity, color, exterior, icon, float, _), count) in
        ITEMS.into_iter().zip(COUNTS)
    {
        for copy in 0..count {
            let id = assets.len() as u64 + 1;
            let look = Look { kind, rarity, color, exterior, icon };
            // The second copy of a skin differs: it has a name tag and a trade lock.
            let second = copy == 1 && !float.is_empty();
            let float = if second { "0.312345" } else { float };
            let name_tag = second.then(|| "first drop".to_owned());
            let paint_index = name.contains("Doppler").then_some(415);
            assets.push(Asset {
                look,
                float,
                name_tag,
                paint_index,
                locked: second,
                ..asset(id, name)
            });
        }
    }
    assets
}

/// Very long names, large numbers and high prices. The phase of the knives is unknown, so their
/// price is an estimate.
const WEALTH: [(&str, u64, f64); 5] = [
    ("★ Karambit | Doppler (Factory New)", 24, 0.0),
    ("★ StatTrak™ Specialist Gloves | Emerald Web (Minimal Wear)", 2, 23_456.78),
    ("Sticker | Natus Vincere (Holo) | Stockholm 2021", 180, 1_234.56),
    ("Souvenir AWP | Dragon Lore (Battle-Scarred)", 1, 312_500.0),
    ("Cmdr. Mae 'Dead Cold' Jamison | SWAT", 117, 10.5),
];

pub(crate) fn wealth() -> Vec<Asset> {
    let copies = WEALTH.into_iter().flat_map(|(name, count, _)| (0..count).map(move |_| name));
    let all = copies.zip(1..).map(|(name, id)| Asset { locked: id % 3 == 0, ..asset(id, name) });
    all.collect()
}

pub(crate) fn prices() -> Vec<Value> {
    let priced = ITEMS.into_iter().filter(|item| item.7 > 0.0);
    let few = priced.map(|item| row(item.0, item.0.contains("Doppler").then_some("Ruby"), item.7));
    let more = WEALTH
        .into_iter()
        .filter(|item| item.2 > 0.0)
        .map(|(name, _, price)| row(name, None, price));
    few.chain(more).collect()
}
