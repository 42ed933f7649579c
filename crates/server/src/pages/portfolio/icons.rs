//! Icons for items without an image: one path each, in a box of 24 by 24.

const ITEM: &str = "M12 3l8 4.5v9L12 21l-8-4.5v-9zM4 7.5l8 4.5 8-4.5M12 12v9";

/// A word in Steam's type label, and the icon for such items.
const DRAWINGS: [(&str, &str); 14] = [
    ("Pistol", "M3 7h18v4h-9l-1 3H8l-1 5H4l1-8H3z"),
    ("Knife", "M21 3C13 4 8 9 6 14l4 4c5-2 10-7 11-15zM7 15l-4 4 2 2 4-4"),
    ("Gloves", "M8 21v-4l-4-5 2-1.5 2.5 2V5h2v6-8h2v8-7h2v7-5h2v9c0 3-1 4-2 5.5V21z"),
    ("Rifle", RIFLE),
    ("SMG", RIFLE),
    ("Shotgun", RIFLE),
    ("Machinegun", RIFLE),
    ("Sticker", STICKER),
    ("Patch", STICKER),
    ("Container", "M3 8l2-3h14l2 3v11H3zM3 8h18M10 12h4v3h-4z"),
    ("Agent", "M12 3a4 4 0 0 1 0 8 4 4 0 0 1 0-8zM4 21c0-5 3.5-7 8-7s8 2 8 7z"),
    (
        "Music Kit",
        "M9 18V5l11-2v13M9 18a3 3 0 1 1-6 0 3 3 0 0 1 6 0zM20 16a3 3 0 1 1-6 0 3 3 0 0 1 6 0z",
    ),
    ("Charm", "M12 3v5M9 3h6M12 8a6 6 0 0 1 0 12 6 6 0 0 1 0-12z"),
    ("Graffiti", "M7 9h8v12H7zM9 9V5h4v4M17 5h1M20 3h1M20 7h1"),
];
const RIFLE: &str = "M2 11h12l1-2h7v3h-5l-1 2h-3l-1 4h-3l1-4H7l-1 2H2z";
const STICKER: &str = "M4 4h16v10l-6 6H4zM14 20v-6h6";

/// The icon for a type label such as `Classified Sniper Rifle`.
pub(super) fn of(kind: &str) -> &'static str {
    DRAWINGS.iter().find(|(word, _)| kind.contains(word)).map_or(ITEM, |(_, drawing)| drawing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_alike_is_drawn_alike() {
        assert_eq!(of("Classified Sniper Rifle"), of("Restricted SMG"));
        assert_eq!(of("High Grade Sticker"), of("Exotic Patch"));
        assert_ne!(of("★ Covert Knife"), of("Mil-Spec Grade Pistol"));
        for unknown in ["", "Base Grade Tool", "Extraordinary Collectible"] {
            assert_eq!(of(unknown), ITEM);
        }
    }
}
