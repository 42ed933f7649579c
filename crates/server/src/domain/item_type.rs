//! The types of items that traders distinguish.

/// The names of a type: in this API, in Steam's tags, in labels, and on pages.
struct Names {
    name: &'static str,
    internal: &'static [&'static str],
    /// The type applies if the label, such as `Covert Sniper Rifle`, contains one of these words.
    words: &'static [&'static str],
    plural: &'static str,
}

/// More specific words come first: `Sniper Rifle` before `Rifle`.
const NAMES: [Names; 21] = [
    names("knife", &["CSGO_Type_Knife"], &["Knife"], "Knives"),
    names("gloves", &["Type_Hands"], &["Gloves"], "Gloves"),
    names("sniper_rifle", &["CSGO_Type_SniperRifle"], &["Sniper Rifle"], "Sniper rifles"),
    names("rifle", &["CSGO_Type_Rifle"], &["Rifle"], "Rifles"),
    names("pistol", &["CSGO_Type_Pistol"], &["Pistol"], "Pistols"),
    names("smg", &["CSGO_Type_SMG"], &["SMG"], "SMGs"),
    names("shotgun", &["CSGO_Type_Shotgun"], &["Shotgun"], "Shotguns"),
    names("machine_gun", &["CSGO_Type_Machinegun"], &["Machinegun"], "Machine guns"),
    names("equipment", &["CSGO_Type_Equipment"], &["Equipment"], "Equipment"),
    names("agent", &["Type_CustomPlayer"], &["Agent"], "Agents"),
    names("case", &["CSGO_Type_WeaponCase"], &["Container", "Case"], "Cases and capsules"),
    names("key", &["CSGO_Tool_WeaponCase_KeyTag"], &["Key"], "Keys"),
    names("sticker", &["CSGO_Tool_Sticker"], &["Sticker"], "Stickers"),
    names("charm", &["CSGO_Tool_Keychain", "CSGO_Type_Keychain"], &["Charm"], "Charms"),
    names("patch", &["CSGO_Tool_Patch"], &["Patch"], "Patches"),
    names("graffiti", &["CSGO_Type_Spray"], &["Graffiti"], "Graffiti"),
    names("music_kit", &["CSGO_Type_MusicKit"], &["Music Kit"], "Music kits"),
    names("collectible", &["CSGO_Type_Collectible"], &["Collectible"], "Collectibles"),
    names("pass", &["CSGO_Type_Ticket"], &["Pass"], "Passes"),
    names("tool", &["CSGO_Type_Tool", "CSGO_Tool_Name_TagTag"], &["Tool", "Tag"], "Tools"),
    names("other", &[], &[], "Everything else"),
];
const OTHER: usize = NAMES.len() - 1;

const fn names(
    name: &'static str,
    internal: &'static [&'static str],
    words: &'static [&'static str],
    plural: &'static str,
) -> Names {
    Names { name, internal, words, plural }
}

/// A sort of items, such as knives. Ordered as pages list them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemType(usize);

impl ItemType {
    /// Derives the type from Steam's internal name or, if that is unknown, from the label.
    pub fn of(internal: &str, label: &str) -> Self {
        let known = NAMES.iter().position(|names| names.internal.contains(&internal));
        Self(known.or_else(|| by_label(label)).unwrap_or(OTHER))
    }

    /// Parses the name used in the database and in queries.
    pub fn parse(name: &str) -> Option<Self> {
        NAMES.iter().position(|names| names.name == name).map(Self)
    }

    /// The name in the database and in responses, such as `sniper_rifle`.
    pub fn as_str(self) -> &'static str {
        NAMES[self.0].name
    }

    /// The plural that pages show.
    pub fn plural(self) -> &'static str {
        NAMES[self.0].plural
    }
}

fn by_label(label: &str) -> Option<usize> {
    NAMES.iter().position(|names| names.words.iter().any(|word| label.contains(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_come_from_steams_tag_or_else_from_the_label() {
        for (internal, label, name) in [
            ("CSGO_Type_Knife", "Verdecktes Messer", "knife"),
            ("", "★ Covert Knife", "knife"),
            ("", "★ Extraordinary Gloves", "gloves"),
            ("", "Covert Sniper Rifle", "sniper_rifle"),
            ("", "StatTrak™ Classified Rifle", "rifle"),
            ("", "Consumer Grade SMG", "smg"),
            ("", "Base Grade Container", "case"),
            ("", "High Grade Charm", "charm"),
            ("", "StatTrak™ High Grade Music Kit", "music_kit"),
            ("New_Type", "Exotic Sticker", "sticker"),
            ("", "", "other"),
        ] {
            assert_eq!(ItemType::of(internal, label).as_str(), name, "{internal} {label}");
        }
    }

    #[test]
    fn every_type_is_read_back_from_its_name() {
        for names in &NAMES {
            assert_eq!(ItemType::parse(names.name).unwrap().as_str(), names.name);
        }
        assert_eq!(ItemType::parse("Knife"), None);
    }
}
