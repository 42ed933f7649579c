//! A keyed hash for short or guessable values that must be looked up: codes, browsers, addresses.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Computes keyed hashes, separated by purpose. `Debug` redacts the key.
#[derive(Clone)]
pub struct OneTimeKey([u8; 32]);

impl OneTimeKey {
    /// `key` must have no other use.
    pub fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// HMAC-SHA-256 (RFC 2104) of the purpose, a zero byte and the message.
    ///
    /// # Panics
    /// Never: HMAC takes keys of any length.
    pub fn hash(&self, purpose: &str, message: &[u8]) -> [u8; 32] {
        Hmac::<Sha256>::new_from_slice(&self.0)
            .expect("HMAC takes keys of any length")
            .chain_update(purpose)
            .chain_update([0])
            .chain_update(message)
            .finalize()
            .into_bytes()
            .into()
    }
}

impl fmt::Debug for OneTimeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneTimeKey(…)")
    }
}
