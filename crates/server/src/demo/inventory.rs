//! The demo's inventory: items of every type, with invented prices and drawings.

use serde_json::{Value, json};

/// One item.
struct Row {
    name: &'static str,
    label: &'static str,
    rarity: &'static str,
    color: &'static str,
    exterior: &'static str,
    /// Empty for items without a float value.
    float: &'static str,
    count: u64,
    /// The price in US cents; zero means none.
    cents: u64,
    /// The drawing's shape and colour.
    picture: &'static str,
}

const fn row(
    (name, label, rarity, color): (&'static str, &'static str, &'static str, &'static str),
    (exterior, float): (&'static str, &'static str),
    (count, cents): (u64, u64),
    picture: &'static str,
) -> Row {
    Row { name, label, rarity, color, exterior, float, count, cents, picture }
}

const COVERT: &str = "eb4b4b";
const CLASSIFIED: &str = "d32ce6";
const RESTRICTED: &str = "8847ff";
const MIL_SPEC: &str = "4b69ff";
const INDUSTRIAL: &str = "5e98d9";
const BASE: &str = "b0c3d9";
const FN: &str = "Factory New";
const MW: &str = "Minimal Wear";
const FT: &str = "Field-Tested";
const WW: &str = "Well-Worn";
const BS: &str = "Battle-Scarred";

#[rustfmt::skip]
const ROWS: [Row; 40] = [
    row(("★ Karambit | Doppler (Factory New)", "★ Covert Knife", "Covert", COVERT), (FN,
        "0.012345678"), (1, 612_000), "knife-e5484d"),
    row(("★ Butterfly Knife | Fade (Factory New)", "★ Covert Knife", "Covert", COVERT), (FN,
        "0.023456789"), (1, 284_000), "knife-f59e0b"),
    row(("★ StatTrak™ M9 Bayonet | Slaughter (Minimal Wear)", "★ Covert Knife", "Covert", COVERT),
        (MW, "0.098765432"), (1, 96_500), "knife-dc2626"),
    row(("★ Sport Gloves | Vice (Field-Tested)", "★ Extraordinary Gloves", "Extraordinary", COVERT),
        (FT, "0.223456789"), (1, 112_050), "gloves-d946a6"),
    row(("★ Hand Wraps | Slaughter (Well-Worn)", "★ Extraordinary Gloves", "Extraordinary", COVERT),
        (WW, "0.401234567"), (1, 23_800), "gloves-b91c1c"),
    row(("AWP | Asiimov (Field-Tested)", "Covert Sniper Rifle", "Covert", COVERT), (FT,
        "0.281111111"), (2, 13_420), "sniper-f59e0b"),
    row(("StatTrak™ AWP | Hyper Beast (Minimal Wear)", "Covert Sniper Rifle", "Covert", COVERT),
        (MW, "0.112345678"), (1, 18_990), "sniper-22c55e"),
    row(("AK-47 | Redline (Field-Tested)", "Classified Rifle", "Classified", CLASSIFIED), (FT,
        "0.151234567"), (3, 3_115), "rifle-dc2626"),
    row(("AK-47 | Case Hardened (Well-Worn)", "Classified Rifle", "Classified", CLASSIFIED), (WW,
        "0.412345678"), (1, 15_840), "rifle-3b82f6"),
    row(("AK-47 | Slate (Factory New)", "Restricted Rifle", "Restricted", RESTRICTED), (FN,
        "0.034567891"), (2, 1_260), "rifle-334155"),
    row(("M4A1-S | Printstream (Minimal Wear)", "Covert Rifle", "Covert", COVERT), (MW,
        "0.081234567"), (1, 26_200), "rifle-94a3b8"),
    row(("M4A4 | Neo-Noir (Field-Tested)", "Covert Rifle", "Covert", COVERT), (FT, "0.198765432"),
        (1, 3_870), "rifle-ec4899"),
    row(("FAMAS | Commemoration (Factory New)", "Classified Rifle", "Classified", CLASSIFIED), (FN,
        "0.041234567"), (1, 1_990), "rifle-eab308"),
    row(("SSG 08 | Dragonfire (Factory New)", "Covert Sniper Rifle", "Covert", COVERT), (FN,
        "0.021234567"), (1, 8_760), "sniper-ef4444"),
    row(("Desert Eagle | Blaze (Factory New)", "Restricted Pistol", "Restricted", RESTRICTED), (FN,
        "0.007777777"), (1, 61_840), "pistol-f97316"),
    row(("Desert Eagle | Printstream (Field-Tested)", "Covert Pistol", "Covert", COVERT), (FT,
        "0.201234567"), (1, 5_240), "pistol-cbd5e1"),
    row(("USP-S | Kill Confirmed (Minimal Wear)", "Covert Pistol", "Covert", COVERT), (MW,
        "0.131234567"), (1, 8_915), "pistol-ef4444"),
    row(("Glock-18 | Water Elemental (Field-Tested)", "Classified Pistol", "Classified",
        CLASSIFIED), (FT, "0.251234567"), (2, 745), "pistol-06b6d4"),
    row(("Five-SeveN | Monkey Business (Minimal Wear)", "Classified Pistol", "Classified",
        CLASSIFIED), (MW, "0.141234567"), (1, 1_385), "pistol-f59e0b"),
    row(("Souvenir P250 | Sand Dune (Field-Tested)", "Souvenir Consumer Grade Pistol",
        "Consumer Grade", BASE), (FT, "0.301234567"), (1, 92), "pistol-d6d3d1"),
    row(("MP9 | Starlight Protector (Field-Tested)", "Covert SMG", "Covert", COVERT), (FT,
        "0.211234567"), (1, 1_940), "smg-8b5cf6"),
    row(("MAC-10 | Neon Rider (Minimal Wear)", "Covert SMG", "Covert", COVERT), (MW, "0.121234567"),
        (1, 870), "smg-ec4899"),
    row(("P90 | Asiimov (Battle-Scarred)", "Covert SMG", "Covert", COVERT), (BS, "0.551234567"), (1,
        640), "smg-f97316"),
    row(("Nova | Koi (Factory New)", "Restricted Shotgun", "Restricted", RESTRICTED), (FN,
        "0.031234567"), (1, 218), "rifle-fb7185"),
    row(("Negev | Bratatat (Minimal Wear)", "Restricted Machinegun", "Restricted", RESTRICTED), (MW,
        "0.101234567"), (1, 133), "rifle-a3a3a3"),
    row(("Zeus x27 | Olympus (Factory New)", "Classified Equipment", "Classified", CLASSIFIED), (FN,
        "0.011234567"), (1, 1_120), "pistol-facc15"),
    row(("Dreams & Nightmares Case", "Base Grade Container", "Base Grade", BASE), ("", ""), (24,
        194), "case-8b5cf6"),
    row(("Fracture Case", "Base Grade Container", "Base Grade", BASE), ("", ""), (60, 41),
        "case-64748b"),
    row(("Stockholm 2021 Legends Sticker Capsule", "Base Grade Container", "Base Grade", BASE), ("",
        ""), (8, 88), "case-eab308"),
    row(("Operation Riptide Case Key", "Base Grade Key", "Base Grade", BASE), ("", ""), (2, 249),
        "case-0ea5e9"),
    row(("Sticker | Crown (Foil)", "Exotic Sticker", "Exotic", CLASSIFIED), ("", ""), (1, 74_000),
        "sticker-eab308"),
    row(("Sticker | Howling Dawn", "Remarkable Sticker", "Remarkable", RESTRICTED), ("", ""), (1,
        4_480), "sticker-f97316"),
    row(("Patch | Metal Howling Dawn", "Exotic Patch", "Exotic", CLASSIFIED), ("", ""), (1, 950),
        "sticker-94a3b8"),
    row(("Charm | Hot Howl", "Remarkable Charm", "Remarkable", RESTRICTED), ("", ""), (1, 1_330),
        "charm-ef4444"),
    row(("Cmdr. Mae 'Dead Cold' Jamison | SWAT", "Master Agent", "Master", COVERT), ("", ""), (1,
        1_050), "agent-3b82f6"),
    row(("Sir Bloody Miami Darryl | The Professionals", "Master Agent", "Master", COVERT), ("", ""),
        (1, 6_420), "agent-ec4899"),
    row(("StatTrak™ Music Kit | Scarlxrd, King, Scar", "StatTrak™ High Grade Music Kit",
        "High Grade", MIL_SPEC), ("", ""), (1, 720), "music-ef4444"),
    row(("Sealed Graffiti | Recoil AWP (Monster Purple)", "Base Grade Graffiti", "Base Grade",
        BASE), ("", ""), (3, 3), "sticker-8b5cf6"),
    row(("Souvenir Charm | Austin 2025 Highlight", "High Grade Charm", "High Grade", MIL_SPEC), ("",
        ""), (1, 0), "charm-22c55e"),
    row(("5 Year Veteran Coin", "Base Grade Collectible", "Industrial Grade", INDUSTRIAL), ("", ""),
        (1, 0), "coin-eab308"),
];

/// A page in Steam's format with the first `kinds` items of the inventory.
pub(super) fn page(kinds: usize) -> Value {
    let (mut assets, mut descriptions, mut properties) = (Vec::new(), Vec::new(), Vec::new());
    let mut id: u64 = 40_000_000_000;
    for (class, row) in ROWS.iter().enumerate().take(kinds) {
        for copy in 0..row.count {
            id += 1;
            // The second copy of a skin has a trade lock.
            let is_locked = copy == 1 && !row.float.is_empty();
            let (asset, instance) = (id.to_string(), u8::from(is_locked).to_string());
            assets.push(json!({"appid": 730, "assetid": asset, "classid": class.to_string(),
                "instanceid": instance, "amount": "1"}));
            if copy <= 1 {
                descriptions.push(description(row, class, &instance, is_locked));
            }
            if !row.float.is_empty() {
                properties.push(json!({"assetid": asset, "asset_properties": own(row, copy)}));
            }
        }
    }
    json!({"assets": assets, "descriptions": descriptions, "asset_properties": properties,
        "total_inventory_count": assets.len(), "success": 1})
}

fn own(row: &Row, copy: u64) -> Vec<Value> {
    // The copies have different last digits.
    let float = format!("{}{copy}", row.float);
    let pattern = if row.name.contains("Case Hardened") { 661 } else { 100 + copy * 37 };
    let mut all = vec![
        json!({"propertyid": 2, "float_value": float}),
        json!({"propertyid": 1, "int_value": pattern.to_string()}),
    ];
    if row.name.contains("Doppler") {
        all.push(json!({"propertyid": 7, "int_value": "415"}));
    }
    if row.name.starts_with("AWP") && copy == 0 {
        all.push(json!({"propertyid": 5, "string_value": "first drop"}));
    }
    all
}

fn description(row: &Row, class: usize, instance: &str, is_locked: bool) -> Value {
    let is_coin = row.picture.starts_with("coin");
    let free = u8::from(!is_locked && !is_coin);
    let mut tags = vec![
        json!({"category": "Rarity", "internal_name": "Rarity", "localized_tag_name": row.rarity,
            "color": row.color}),
        json!({"category": "Quality", "internal_name": quality(row.name)}),
    ];
    if !row.exterior.is_empty() {
        tags.push(json!({"category": "Exterior", "localized_tag_name": row.exterior}));
    }
    let stickers = if row.name.starts_with("AK-47 | Redline") {
        json!([{"type": "html", "value": "<img src=\"\" title=\"Sticker: Crown (Foil)\">\
            <img src=\"\" title=\"Sticker: Howling Dawn\"><img src=\"\" title=\"Charm: Hot \
                Howl\">"}])
    } else {
        json!([])
    };
    json!({"classid": class.to_string(), "instanceid": instance, "market_hash_name": row.name,
        "type": row.label, "icon_url": row.picture, "tradable": free, "marketable": free,
        "market_tradable_restriction": if is_coin { 0 } else { 7 },
        "market_marketable_restriction": if is_coin { 0 } else { 7 },
        "tags": tags, "descriptions": stickers})
}

/// Steam's name for the quality of an item with this name.
fn quality(name: &str) -> &'static str {
    match (name.starts_with('★'), name.contains("StatTrak™"), name.starts_with("Souvenir ")) {
        (true, true, _) => "unusual_strange",
        (true, false, _) => "unusual",
        (false, true, _) => "strange",
        (false, false, true) => "tournament",
        (false, false, false) => "normal",
    }
}

/// The price feed, in Skinport's format.
pub(super) fn prices() -> Value {
    let priced = ROWS.iter().filter(|row| row.cents > 0);
    let rows = priced.map(|row| {
        let version = row.name.contains("Doppler").then_some("Ruby");
        let price = format!("{}.{:02}", row.cents / 100, row.cents % 100);
        json!({"market_hash_name": row.name, "version": version, "currency": "USD",
            "min_price": price})
    });
    rows.collect()
}

/// Today's value of the first `kinds` items in cents, and the number of units.
pub(super) fn worth(kinds: usize) -> (u64, u64) {
    let held = &ROWS[..kinds.min(ROWS.len())];
    (held.iter().map(|row| row.cents * row.count).sum(), held.iter().map(|row| row.count).sum())
}

/// The number of different items.
pub(super) const KINDS: usize = ROWS.len();

/// The drawing named `{shape}-{color}`; `None` if it does not exist.
pub(super) fn drawing(name: &str) -> Option<String> {
    let (shape, color) = name.split_once('-')?;
    let is_color = color.len() == 6 && color.bytes().all(|byte| byte.is_ascii_hexdigit());
    let path = match shape {
        "rifle" => "M4 44h42l6-7h34v10H70l-4 8h-9l-5 15h-9l3-16H26l-5 9H6z",
        "sniper" => "M2 46h30l4-4h20v-6h-6v-5h22v5h-6v6h28v6H66l-4 7h-9l-4 11h-8l2-12H22l-5 8H4z",
        "smg" => "M10 36h60v-6h8v14H62v8h-8l-4 24h-9l3-24H30l-8 16H12z",
        "knife" => "M88 8C58 12 38 30 30 52l14 14C66 58 84 38 88 8zM30 56 10 76l10 10 20-18z",
        "gloves" => "M30 86V70L16 50l6-6 12 10V20h9v24-30h9v30-26h9v28-18h9v34c0 12-4 16-8 22v8z",
        "pistol" => "M12 28h72v16H50l-4 12H32l-4 24H14l-2-34z",
        "case" => "M12 30l10-12h52l10 12v48H12zM12 34h72M40 46h16v12H40z",
        "sticker" => "M20 16h56v40L56 80H20zM56 80V56h20",
        "charm" => "M48 8v16M40 8h16M48 24a30 30 0 0 1 0 60 30 30 0 0 1 0-60z",
        "agent" => "M48 12a16 16 0 0 1 0 34 16 16 0 0 1 0-34zM16 86c0-22 14-32 32-32s32 10 32 32z",
        "music" => {
            "M36 72V20l40-8v50M36 72a12 9 0 1 1-24 0 12 9 0 0 1 24 0zM76 62a12 9 0 1 1-24 0z"
        }
        "coin" => "M48 10a38 38 0 0 1 0 76 38 38 0 0 1 0-76zM48 24a24 24 0 0 1 0 48z",
        _ => return None,
    };
    is_color.then(|| {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 96 96\"><path d=\"{path}\" \
             fill=\"#{color}\" stroke=\"#1b212b\" stroke-width=\"2\" \
             stroke-linejoin=\"round\"/></svg>"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::portfolio::inventory::{Reply, parse};

    #[test]
    fn the_inventory_is_one_that_steam_could_answer() {
        for kinds in [30, KINDS] {
            let Ok(Reply::Page(page)) = parse(page(kinds).to_string().as_bytes()) else {
                panic!("no page")
            };
            assert_eq!((page.kinds.len(), page.items.len() as u64), (kinds, worth(kinds).1));
            assert!(page.kinds.values().all(|kind| drawing(&kind.icon).is_some()));
        }
        assert_eq!(drawing("rifle-../../"), None);
        assert_eq!(drawing("x"), None);
    }
}
