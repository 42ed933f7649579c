//! The text form of API tokens: `trc_`, 43 characters with 256 random bits, and a six-character
//! checksum.
//!
//! The prefix lets secret scanners find leaked tokens. The checksum rejects similar text without a
//! database query.

use std::fmt;

use sha2::{Digest, Sha256};

const PREFIX: &str = "trc_";
const SECRET_CHARS: usize = 43;
const CHECKSUM_CHARS: usize = 6;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A token in plain text, shown to its owner once. `Debug` redacts it.
#[derive(Clone)]
pub struct ApiToken(String);

impl ApiToken {
    /// Generates a token.
    ///
    /// # Panics
    /// If the operating system provides no random bytes.
    pub fn fresh() -> Self {
        let mut text = PREFIX.to_owned();
        while text.len() < PREFIX.len() + SECRET_CHARS {
            let mut bytes = [0; 64];
            getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
            // Larger values would make the first digits more likely: a byte holds four times 62
            // values.
            let digits = bytes.into_iter().filter(|byte| usize::from(*byte) < 4 * DIGITS.len());
            let digits = digits.map(|byte| char::from(DIGITS[usize::from(byte) % DIGITS.len()]));
            text.extend(digits.take(PREFIX.len() + SECRET_CHARS - text.len()));
        }
        text.push_str(&checksum(&text));
        Self(text)
    }

    /// Parses a token; `None` unless the form and the checksum are right.
    pub fn parse(text: &str) -> Option<Self> {
        let (secret, sum) = text.split_at_checked(PREFIX.len() + SECRET_CHARS)?;
        let is_secret = secret.starts_with(PREFIX)
            && secret[PREFIX.len()..].bytes().all(|byte| byte.is_ascii_alphanumeric());
        (is_secret && sum == checksum(secret)).then(|| Self(text.to_owned()))
    }

    /// The SHA-256 hash kept in the database. A plain hash is safe because the token has 256 random
    /// bits.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }

    /// The plain text, for its owner.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiToken(…)")
    }
}

/// The first 32 bits of the SHA-256 of the preceding text, in base 62.
fn checksum(text: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(text).into();
    let [a, b, c, d, ..] = digest;
    let mut number = u32::from_be_bytes([a, b, c, d]);
    let mut digits = ['0'; CHECKSUM_CHARS];
    for digit in digits.iter_mut().rev() {
        *digit = char::from(DIGITS[(number % 62) as usize]);
        number /= 62;
    }
    digits.iter().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_fresh_token_reads_back_and_never_repeats() {
        let tokens: HashSet<_> = (0..10_000).map(|_| ApiToken::fresh().0).collect();
        assert_eq!(tokens.len(), 10_000);
        for token in &tokens {
            assert_eq!(token.len(), 53);
            assert_eq!(ApiToken::parse(token).unwrap().expose(), token);
        }
    }

    #[test]
    fn twenty_wrong_shapes_are_no_tokens() {
        let good = ApiToken::fresh().0;
        let other = ApiToken::fresh().0;
        let mut wrong = vec![
            String::new(),
            "trc_".to_owned(),
            good[4..].to_owned(),
            good.to_uppercase(),
            good.to_lowercase(),
            good.replacen("trc_", "trc-", 1),
            good.replacen("trc_", "TRC_", 1),
            good.replacen("trc_", "ghp_", 1),
            format!(" {good}"),
            format!("{good} "),
            format!("{good}0"),
            good[..52].to_owned(),
            good[..47].to_owned(),
            format!("{}{}", &good[..47], &other[47..]),
            format!("{}{}", &other[..47], &good[47..]),
            format!("{}é{}", &good[..10], &good[12..]),
            format!("{}-{}", &good[..10], &good[11..]),
            format!("{}\0{}", &good[..10], &good[11..]),
            good.repeat(2),
            format!("{good},{good}"),
        ];
        // One character changed.
        let changed = if good.as_bytes()[20] == b'a' { "b" } else { "a" };
        wrong.push(format!("{}{changed}{}", &good[..20], &good[21..]));
        for text in wrong {
            assert!(ApiToken::parse(&text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn a_token_prints_nothing_of_itself() {
        assert_eq!(format!("{:?}", ApiToken::fresh()), "ApiToken(…)");
    }
}
