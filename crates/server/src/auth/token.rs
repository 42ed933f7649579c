//! Random tokens for mailed links, cookies and the `state` parameter.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// 256 bits in base64url.
const TOKEN_CHARS: usize = 43;

/// 256 random bits in base64url.
///
/// # Panics
/// If the operating system provides no random bytes.
pub fn fresh_token() -> String {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Whether the text has the form of a token.
pub fn is_token(text: &str) -> bool {
    text.len() == TOKEN_CHARS && text.chars().all(is_base64url)
}

/// Extracts the token from pasted text, or from a link that a mail program recognised. Removes
/// white space around it, and a full stop, bracket or line feed after it.
pub fn pasted(text: &str) -> &str {
    let text = text.trim();
    let end = text.find(|c: char| !is_base64url(c)).unwrap_or(text.len());
    &text[..end]
}

fn is_base64url(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

/// The SHA-256 hash kept in the database. A plain hash is safe because a token has 256 random bits.
pub fn token_hash(token: impl AsRef<[u8]>) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn what_stands_around_a_pasted_token_does_not_belong_to_it() {
        let token = fresh_token();
        for (before, behind) in [
            ("", ""),
            ("", "."),
            ("", ">"),
            ("", ")"),
            ("", " "),
            ("", "\n"),
            ("", "\r\n"),
            ("", ".)"),
            ("", "%20"),
            ("", "\u{a0}"),
            ("", "\u{200b}"),
            ("", "\">"),
            ("", ",\nRobin"),
            (" ", ""),
        ] {
            assert_eq!(pasted(&format!("{before}{token}{behind}")), token, "{behind:?}");
        }
        for other in ["", ".", "<", " \n"] {
            assert_eq!(pasted(other), "", "{other:?}");
        }
        let longer = format!("{token}A");
        assert_eq!(pasted(&longer), longer, "another token");
    }

    #[test]
    fn tokens_are_256_bits_and_never_repeat() {
        let tokens: HashSet<_> = (0..10_000).map(|_| fresh_token()).collect();
        assert_eq!(tokens.len(), 10_000);
        assert!(tokens.iter().all(|token| is_token(token)));
        for other in ["", "x", &"x".repeat(44), &"=".repeat(43), &"%".repeat(43)] {
            assert!(!is_token(other), "{other}");
        }
    }
}
