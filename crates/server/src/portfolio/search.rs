//! Searches holdings, with traders' abbreviations: `ak redline`, `deagle fn`, `m4 ft`, `case
//! hardened 661`.
//!
//! 1. Every word must be found, in any case and order: in the name, the phase, the type, the rarity
//!    or the exterior. A word found in none of them may match an asset's name tag or pattern; then
//!    only those assets match.
//! 2. Characters other than letters and digits separate words. A search word may span several words
//!    of the text, from the start of one: `ak47`.
//! 3. A match at the start of a word ranks before one in the middle. Words of two letters match
//!    only at a start.
//! 4. An abbreviation matches both its long form and itself.
//! 5. A search without letters and digits is compared with the name literally: `★`.

use crate::store::portfolio::holdings::Asset;

use super::stack::Stack;
use super::words::push_words;

/// Abbreviations and their long forms.
const SHORT: [(&str, &str); 16] = [
    ("fn", " factory new "),
    ("mw", " minimal wear "),
    ("ft", " field tested "),
    ("ww", " well worn "),
    ("bs", " battle scarred "),
    ("deagle", " desert eagle "),
    ("dualies", " dual berettas "),
    ("scout", " ssg 08 "),
    ("krieg", " sg 553 "),
    ("bfk", " butterfly knife "),
    ("st", " stattrak "),
    ("ch", " case hardened "),
    ("bp", " black pearl "),
    ("p1", " phase 1 "),
    ("p2", " phase 2 "),
    ("p4", " phase 4 "),
];
/// The shortest word that can match in the middle of others.
const MIDDLE: usize = 3;

/// A parsed search.
pub(super) struct Search {
    plain: String,
    /// Each word has a leading space.
    words: Vec<String>,
}

/// The quality of a match, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Found {
    /// Every search word matches at the start of a word.
    AtBeginnings,
    /// Some search words match only inside words.
    Within,
}

/// The search words that the holding's text does not contain. An asset must contain them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Left<'s>(Vec<&'s str>);

impl Search {
    pub(super) fn new(text: &str) -> Self {
        let mut spaced = String::new();
        push_words(&mut spaced, text);
        Self {
            plain: text.trim().to_lowercase(),
            words: spaced.split_whitespace().map(|word| format!(" {word}")).collect(),
        }
    }

    /// How well a stack matches, and the terms left for its assets; `None` if it does not.
    pub(super) fn find(&self, stack: &Stack) -> Option<(Found, Left<'_>)> {
        if self.words.is_empty() {
            let is_there = stack.holding.market_hash_name.to_lowercase().contains(&self.plain);
            return is_there.then_some((Found::AtBeginnings, Left(Vec::new())));
        }
        let (mut best, mut left) = (Found::AtBeginnings, Vec::new());
        for word in &self.words {
            match find(&stack.words, word) {
                Some(found) => best = best.max(found),
                None => left.push(&**word),
            }
        }
        let left = Left(left);
        let is_there = left.is_none() || stack.assets.iter().any(|asset| left.is_in(asset));
        is_there.then_some((best, left))
    }
}

impl Left<'_> {
    /// Whether no words are left, so that every asset matches.
    pub(super) fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the asset contains all of these words.
    pub(super) fn is_in(&self, asset: &Asset) -> bool {
        let mut tag = String::from(" ");
        if let Some(name_tag) = asset.name_tag.as_ref().filter(|_| !self.is_none()) {
            push_words(&mut tag, name_tag);
        }
        self.0.iter().all(|word| {
            let pattern = word[1..].parse().ok();
            (pattern.is_some() && asset.pattern == pattern) || find(&tag, word).is_some()
        })
    }
}

/// How a word matches a text; both have a leading space.
fn find(text: &str, word: &str) -> Option<Found> {
    let plain = &word[1..];
    let long = || SHORT.iter().find(|(short, _)| *short == plain);
    if text.contains(word) || spans(text, plain) || long().is_some_and(|it| text.contains(it.1)) {
        return Some(Found::AtBeginnings);
    }
    (plain.chars().count() >= MIDDLE && text.contains(plain)).then_some(Found::Within)
}

/// Whether the text contains the word when spaces are ignored, from the start of a word.
fn spans(text: &str, word: &str) -> bool {
    let Some(first) = word.chars().next() else { return true };
    text.match_indices(' ').map(|(at, _)| &text[at + 1..]).any(|rest| {
        // This check is cheap, and most words start with another letter.
        rest.starts_with(first) && {
            let mut chars = rest.chars().filter(|char| *char != ' ');
            word.chars().all(|char| chars.next() == Some(char))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::portfolio::holdings::Holding;

    fn stack(name: &str, phase: &str, kind: &str, rarity: &str, exterior: &str) -> Stack {
        let holding = Holding {
            market_hash_name: name.to_owned(),
            phase: phase.to_owned(),
            kind: kind.to_owned(),
            rarity: rarity.to_owned(),
            exterior: exterior.to_owned(),
            ..Holding::default()
        };
        Stack::new(holding, vec![Asset { amount: 1, ..Asset::default() }])
    }

    fn all() -> [Stack; 8] {
        let mut all = [
            stack(
                "★ Karambit | Doppler (Factory New)",
                "Ruby",
                "★ Covert Knife",
                "Covert",
                "Factory New",
            ),
            stack(
                "★ StatTrak™ M9 Bayonet | Doppler (Factory New)",
                "Phase 2",
                "",
                "Covert",
                "Factory New",
            ),
            stack(
                "AK-47 | Redline (Field-Tested)",
                "",
                "Classified Rifle",
                "Classified",
                "Field-Tested",
            ),
            stack(
                "Five-SeveN | Case Hardened (Well-Worn)",
                "",
                "Restricted Pistol",
                "",
                "Well-Worn",
            ),
            stack(
                "Nova | Koi (Factory New)",
                "",
                "Restricted Shotgun",
                "Restricted",
                "Factory New",
            ),
            stack("M4A4 | 龍王 (Dragon King)", "", "", "", ""),
            stack("StatTrak™ AWP | Asiimov (Field-Tested)", "", "", "", "Field-Tested"),
            stack("Desert Eagle | Blaze (Factory New)", "", "", "", "Factory New"),
        ];
        all[3].assets[0] = Asset {
            pattern: Some(661),
            name_tag: Some("Blue Gem".to_owned()),
            ..all[3].assets[0].clone()
        };
        all
    }

    #[test]
    fn holdings_are_found_as_traders_type() {
        let all = all();
        let found = |text: &str| {
            let search = Search::new(text);
            (0..all.len()).filter(|at| search.find(&all[*at]).is_some()).collect::<Vec<_>>()
        };
        for (text, expected) in [
            ("ruby", &[0][..]),
            ("phase 2", &[1]),
            ("doppler karambit", &[0]),
            ("ak redline", &[2]),
            ("ak", &[2]),
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
            ("™", &[1, 6]),
            ("karambit redline", &[]),
            ("m4", &[5]),
            ("deagle fn", &[7]),
            ("deagle", &[7]),
            ("ft", &[2, 6]),
            ("st awp", &[6]),
            ("ch 661", &[3]),
            ("66", &[]),
            ("blue gem", &[3]),
            ("", &[0, 1, 2, 3, 4, 5, 6, 7]),
            (" ", &[0, 1, 2, 3, 4, 5, 6, 7]),
        ] {
            assert_eq!(found(text), expected, "{text:?}");
        }
    }

    #[test]
    fn beginnings_come_before_middles() {
        let all = all();
        let how = |text: &str, at: usize| Search::new(text).find(&all[at]).map(|(found, _)| found);
        assert_eq!(how("red", 2), Some(Found::AtBeginnings));
        assert_eq!(how("dline", 2), Some(Found::Within));
        assert_eq!(how("ak", 6), None, "the end of StatTrak");
    }

    #[test]
    fn what_is_an_assets_own_finds_that_asset_alone() {
        let all = all();
        let search = Search::new("case hardened 661");
        let (_, left) = search.find(&all[3]).unwrap();
        assert!(left.is_in(&all[3].assets[0]));
        assert!(!left.is_in(&Asset { pattern: Some(66), ..Asset::default() }));
    }
}
