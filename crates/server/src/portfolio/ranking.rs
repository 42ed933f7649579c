//! The orders in which the game's players name rarities and exteriors.

/// From the commonest to the rarest; names on a line are as rare: of skins, of other items, of
/// agents.
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

/// How rare that is, from 1; 0 for a name that is not known.
pub fn rarity(name: &str) -> usize {
    RARITIES.iter().position(|names| names.contains(&name)).map_or(0, |at| at + 1)
}

/// How worn that is, from 1; 0 for a name that is not known.
pub fn wear(exterior: &str) -> usize {
    EXTERIORS.iter().position(|name| *name == exterior).map_or(0, |at| at + 1)
}
