//! Normalises text for the search.

use crate::store::portfolio::holdings::Holding;

/// The searchable text of a holding: its words in lower case, with spaces around each.
pub(super) fn words_of(holding: &Holding) -> Box<str> {
    let Holding { market_hash_name, phase, kind, rarity, exterior, .. } = holding;
    let mut words = String::from(" ");
    for text in [market_hash_name, phase, kind, rarity, exterior] {
        push_words(&mut words, text);
    }
    words.into()
}

/// Appends the text in lower case, with a space after each word.
pub(super) fn push_words(words: &mut String, text: &str) {
    for char in text.chars() {
        match char {
            'A'..='Z' | 'a'..='z' | '0'..='9' => words.push(char.to_ascii_lowercase()),
            char if char.is_alphanumeric() => words.extend(char.to_lowercase()),
            _ if words.ends_with(' ') => {}
            _ => words.push(' '),
        }
    }
    if !words.ends_with(' ') {
        words.push(' ');
    }
}
