//! Cleans text from other services: shortens it, and removes characters that affect how surrounding
//! text is displayed.

/// Removes control and direction characters, and truncates to `max_chars`.
///
/// Markup, formulas and all letters are kept: the code that displays the text escapes it.
pub fn clean(text: &str, max_chars: usize) -> String {
    text.chars().filter(|character| !is_disruptive(*character)).take(max_chars).collect()
}

fn is_disruptive(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn letters_stay_and_direction_marks_go() {
        assert_eq!(clean("★ StatTrak™ M4A1-S | 龍王", 99), "★ StatTrak™ M4A1-S | 龍王");
        assert_eq!(clean("a\u{202e}b\u{2066}c\r\n\u{1b}[2Jd\0", 99), "abc[2Jd");
        assert_eq!(clean("<script>=1+1", 99), "<script>=1+1");
        assert_eq!(clean("龍王龍王", 3), "龍王龍");
    }
}
