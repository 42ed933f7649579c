//! What somebody types to find holdings, as traders type it: `ak redline`, `phase 2`, `fiveseven`.
//!
//! 1. Every word has to be there, whatever its case and its order: in the name, the phase, the
//!    type, the rarity or the exterior.
//! 2. Whatever is neither letter nor digit parts words, and a word may span such parts from where
//!    one begins: `ak47`.
//! 3. Without a letter or a digit it is a part of the name as it stands: `★`.

use crate::store::portfolio::holdings::Holding;

/// What is looked for.
pub(super) struct Search {
    plain: String,
    words: Vec<String>,
    /// What is looked through, kept for its room.
    haystack: String,
}

impl Search {
    pub(super) fn new(text: &str) -> Self {
        let mut spaced = String::new();
        push_words(&mut spaced, text);
        Self {
            plain: text.trim().to_lowercase(),
            words: spaced.split_whitespace().map(ToOwned::to_owned).collect(),
            haystack: String::new(),
        }
    }

    pub(super) fn finds(&mut self, holding: &Holding) -> bool {
        if self.words.is_empty() {
            return holding.market_hash_name.to_lowercase().contains(&self.plain);
        }
        let Holding { market_hash_name, phase, kind, rarity, exterior, .. } = holding;
        self.haystack.clear();
        for text in [market_hash_name, phase, kind, rarity, exterior] {
            push_words(&mut self.haystack, text);
        }
        self.words.iter().all(|word| self.haystack.contains(word) || spans(&self.haystack, word))
    }
}

/// Adds the text in lower case, its words parted by spaces, one at the end.
fn push_words(words: &mut String, text: &str) {
    for char in text.chars() {
        match char {
            'A'..='Z' | 'a'..='z' | '0'..='9' => words.push(char.to_ascii_lowercase()),
            char if char.is_alphanumeric() => words.extend(char.to_lowercase()),
            _ => words.push(' '),
        }
    }
    words.push(' ');
}

/// Whether the word is there when spaces do not count, from the beginning of a word.
fn spans(haystack: &str, word: &str) -> bool {
    let mut starts = haystack.match_indices(' ').map(|(at, _)| &haystack[at + 1..]);
    let begins = |text: &str| {
        let mut chars = text.chars().filter(|char| *char != ' ');
        word.chars().all(|char| chars.next() == Some(char))
    };
    begins(haystack) || starts.any(begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(
        market_hash_name: &str,
        phase: &str,
        kind: &str,
        rarity: &str,
        exterior: &str,
    ) -> Holding {
        Holding {
            item_id: String::new(),
            market_hash_name: market_hash_name.to_owned(),
            phase: phase.to_owned(),
            kind: kind.to_owned(),
            rarity: rarity.to_owned(),
            rarity_color: String::new(),
            exterior: exterior.to_owned(),
            quality: String::new(),
            icon: String::new(),
            quantity: 1,
            locked: 0,
            tradable: 1,
            marketable: 1,
        }
    }

    #[test]
    fn holdings_are_found_as_traders_type() {
        let all = [
            holding(
                "★ Karambit | Doppler (Factory New)",
                "Ruby",
                "★ Covert Knife",
                "Covert",
                "Factory New",
            ),
            holding(
                "★ StatTrak™ M9 Bayonet | Doppler (Factory New)",
                "Phase 2",
                "",
                "Covert",
                "Factory New",
            ),
            holding(
                "AK-47 | Redline (Field-Tested)",
                "",
                "Classified Rifle",
                "Classified",
                "Field-Tested",
            ),
            holding(
                "Five-SeveN | Case Hardened (Well-Worn)",
                "",
                "Restricted Pistol",
                "",
                "Well-Worn",
            ),
            holding(
                "Nova | Koi (Factory New)",
                "",
                "Restricted Shotgun",
                "Restricted",
                "Factory New",
            ),
            holding("M4A4 | 龍王 (Dragon King)", "", "", "", ""),
        ];
        let found = |text: &str| {
            let mut search = Search::new(text);
            (0..all.len()).filter(|at| search.finds(&all[*at])).collect::<Vec<_>>()
        };
        for (text, expected) in [
            ("ruby", &[0][..]),
            ("phase 2", &[1]),
            ("doppler karambit", &[0]),
            ("ak redline", &[2]),
            ("StatTrak m9", &[1]),
            ("ak47 Redline", &[2]),
            ("AK-47 | Red", &[2]),
            ("five seven", &[3]),
            ("fiveseven", &[3]),
            ("classified", &[2]),
            ("rifle field tested", &[2]),
            ("koi", &[4]),
            ("dlin", &[2]),
            ("龍王", &[5]),
            ("★", &[0, 1]),
            ("™", &[1]),
            ("karambit redline", &[]),
            ("", &[0, 1, 2, 3, 4, 5]),
            (" ", &[0, 1, 2, 3, 4, 5]),
        ] {
            assert_eq!(found(text), expected, "{text:?}");
        }
    }
}
