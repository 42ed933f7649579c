//! The game's rankings of rarities and exteriors.

/// From the most common to the rarest. Names in one line are equally rare: of skins, other items
/// and agents.
const RARITIES: [&[&str]; 7] = [
    &["Base Grade", "Consumer Grade", "Stock"],
    &["Industrial Grade"],
    &["Mil-Spec Grade", "High Grade", "Distinguished"],
    &["Restricted", "Remarkable", "Exceptional"],
    &["Classified", "Exotic", "Superior"],
    &["Covert", "Extraordinary", "Master"],
    &["Contraband"],
];

const EXTERIORS: [&str; 5] =
    ["Factory New", "Minimal Wear", "Field-Tested", "Well-Worn", "Battle-Scarred"];

/// The rank of a rarity, from 1; 0 for an unknown name.
pub fn rarity(name: &str) -> usize {
    RARITIES.iter().position(|names| names.contains(&name)).map_or(0, |at| at + 1)
}

/// The rank of an exterior, from 1; 0 for an unknown name.
pub fn wear(exterior: &str) -> usize {
    EXTERIORS.iter().position(|name| *name == exterior).map_or(0, |at| at + 1)
}
