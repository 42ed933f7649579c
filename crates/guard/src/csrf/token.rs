//! Tokens that prove that a request comes from a page of this application.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::mac::{MAC_BYTES, MacKeys, random};

const PURPOSE: &str = "tracera-guard csrf token 1";
/// A mask and the masked MAC.
const TOKEN_BYTES: usize = 2 * MAC_BYTES;
/// [`TOKEN_BYTES`] in base64url without padding.
const TOKEN_CHARS: usize = 86;

/// The keys that make and check CSRF tokens. Cheap to clone.
///
/// [`CsrfGuard`](crate::CsrfGuard) chooses the binding. With the keys alone you choose it. It must
/// be unique to one browser, because a token is valid for everybody who shares the binding:
///
/// ```
/// let keys = tracera_guard::CsrfKeys::new([7; 32], []);
/// let token = keys.issue(b"a session's id");
/// assert!(keys.verify(b"a session's id", &token));
/// assert!(!keys.verify(b"another one's", &token));
/// ```
#[derive(Clone)]
pub struct CsrfKeys(MacKeys);

impl CsrfKeys {
    /// Signs with `current`; tokens made with a `previous` key stay valid. The keys must be random
    /// and used for nothing else.
    pub fn new(current: [u8; 32], previous: impl IntoIterator<Item = [u8; 32]>) -> Self {
        Self(MacKeys::new(current, previous))
    }

    /// A fresh token for `binding`: 86 characters of base64url. Every call returns a different
    /// token. All are valid as long as the key and the binding.
    ///
    /// # Panics
    /// If the operating system has no random bytes to give.
    pub fn issue(&self, binding: &[u8]) -> String {
        let mask: [u8; MAC_BYTES] = random();
        let masked = xor(&self.0.sign(PURPOSE, binding), &mask);
        BASE64_URL_SAFE_NO_PAD.encode([mask, masked].concat())
    }

    /// Whether `token` was issued for `binding`, compared in constant time.
    pub fn verify(&self, binding: &[u8], token: &str) -> bool {
        let Some((mask, masked)) = parse(token) else {
            return false;
        };
        self.0.verify(PURPOSE, binding, &xor(&masked, &mask))
    }
}

impl fmt::Debug for CsrfKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CsrfKeys({:?})", self.0)
    }
}

/// A token has exactly one encoding: the full length, no padding, no stray bits at the end.
fn parse(token: &str) -> Option<([u8; MAC_BYTES], [u8; MAC_BYTES])> {
    if token.len() != TOKEN_CHARS {
        return None;
    }
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
    let bytes: [u8; TOKEN_BYTES] = bytes.try_into().ok()?;
    let (mask, masked) = bytes.split_at(MAC_BYTES);
    Some((mask.try_into().ok()?, masked.try_into().ok()?))
}

fn xor(a: &[u8; MAC_BYTES], b: &[u8; MAC_BYTES]) -> [u8; MAC_BYTES] {
    std::array::from_fn(|at| a[at] ^ b[at])
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const OLD: [u8; 32] = [1; 32];
    const NEW: [u8; 32] = [2; 32];

    #[test]
    fn a_token_is_good_for_its_binding_only() {
        let keys = CsrfKeys::new(NEW, []);
        let token = keys.issue(b"session-a");
        assert!(keys.verify(b"session-a", &token));
        for other in [&b"session-b"[..], b"session-", b"session-a\0", b""] {
            assert!(!keys.verify(other, &token), "{other:?}");
        }
    }

    #[test]
    fn a_previous_key_still_verifies_and_a_retired_one_does_not() {
        let token = CsrfKeys::new(OLD, []).issue(b"a");
        assert!(CsrfKeys::new(NEW, [OLD]).verify(b"a", &token));
        assert!(!CsrfKeys::new(NEW, []).verify(b"a", &token));
        let token = CsrfKeys::new(NEW, [OLD]).issue(b"a");
        assert!(!CsrfKeys::new(OLD, []).verify(b"a", &token), "a previous key signs no more");
    }

    #[test]
    fn a_thousand_tokens_are_all_different_in_both_halves() {
        let keys = CsrfKeys::new(NEW, []);
        let (mut masks, mut masked) = (HashSet::new(), HashSet::new());
        for _ in 0..1_000 {
            let token = keys.issue(b"a");
            assert_eq!(token.len(), TOKEN_CHARS);
            assert!(keys.verify(b"a", &token));
            let halves = parse(&token).unwrap();
            masks.insert(halves.0);
            masked.insert(halves.1);
        }
        assert_eq!((masks.len(), masked.len()), (1_000, 1_000));
    }

    #[test]
    fn no_other_spelling_of_a_token_is_accepted() {
        let keys = CsrfKeys::new(NEW, []);
        let token = keys.issue(b"a");
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(&token).unwrap();

        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let flipped = BASE64_URL_SAFE_NO_PAD.encode(flipped);
            assert!(!keys.verify(b"a", &flipped), "bit {bit}");
        }
        for len in 0..token.len() {
            assert!(!keys.verify(b"a", &token[..len]), "{len} characters");
        }
        // The last character carries two bits of the token; the other four must be zero.
        let last = token.chars().last().unwrap();
        let stray = char::from(u8::try_from(last).unwrap() + 1);
        for other in [
            format!("{token}="),
            format!("{token}=="),
            format!("{token}A"),
            format!(" {token}"),
            format!("{token}\n"),
            format!("{}{stray}", &token[..TOKEN_CHARS - 1]),
            base64::prelude::BASE64_STANDARD.encode(&bytes),
        ] {
            assert!(!keys.verify(b"a", &other), "{other:?}");
        }
    }

    #[test]
    fn keys_print_no_key() {
        let shown = format!("{:?}", CsrfKeys::new(NEW, [OLD]));
        assert_eq!(shown, "CsrfKeys(2 keys)");
    }

    proptest! {
        #[test]
        fn no_text_is_a_token_and_none_panics(token in "[A-Za-z0-9_=+/-]{86}|.{0,100}") {
            prop_assert!(!CsrfKeys::new(NEW, [OLD]).verify(b"a", &token));
        }

        #[test]
        fn every_binding_has_tokens(binding: Vec<u8>, other: Vec<u8>) {
            let keys = CsrfKeys::new(NEW, []);
            let token = keys.issue(&binding);
            prop_assert!(keys.verify(&binding, &token));
            prop_assert_eq!(keys.verify(&other, &token), binding == other);
        }
    }
}
