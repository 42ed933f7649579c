//! HMAC-SHA-256 with the current key and the previous ones.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

pub(super) const MAC_BYTES: usize = 32;

/// The current key, which signs, and the previous ones, which still verify.
#[derive(Clone)]
pub(super) struct MacKeys(Arc<[Hmac<Sha256>]>);

impl MacKeys {
    pub(super) fn new(current: [u8; 32], previous: impl IntoIterator<Item = [u8; 32]>) -> Self {
        let keys = std::iter::once(current).chain(previous);
        Self(keys.map(|key| keyed(&key)).collect())
    }

    /// The MAC of `message` under the current key. Different purposes have different MACs.
    pub(super) fn sign(&self, purpose: &str, message: &[u8]) -> [u8; MAC_BYTES] {
        mac(&self.0[0], purpose, message)
    }

    /// Whether one of the keys made `claimed`, compared in constant time.
    pub(super) fn verify(&self, purpose: &str, message: &[u8], claimed: &[u8; MAC_BYTES]) -> bool {
        let matches = self
            .0
            .iter()
            .fold(0, |any, key| any | mac(key, purpose, message).ct_eq(claimed).unwrap_u8());
        matches == 1
    }
}

impl fmt::Debug for MacKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.0.len())
    }
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// Each part is prefixed with its length, so that the concatenation is unambiguous.
fn mac(key: &Hmac<Sha256>, purpose: &str, message: &[u8]) -> [u8; MAC_BYTES] {
    let mut mac = key.clone();
    for part in [purpose.as_bytes(), message] {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Random bytes from the operating system.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system provides random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purpose_and_message_do_not_run_into_each_other() {
        let ring = MacKeys::new([1; 32], []);
        assert_ne!(ring.sign("ab", b"c"), ring.sign("a", b"bc"));
        assert_ne!(ring.sign("a", b""), ring.sign("", b"a"));
    }

    #[test]
    fn every_key_of_the_ring_verifies_and_the_first_signs() {
        let old = MacKeys::new([1; 32], []).sign("p", b"m");
        let ring = MacKeys::new([2; 32], [[1; 32]]);
        assert!(ring.verify("p", b"m", &old));
        assert!(ring.verify("p", b"m", &ring.sign("p", b"m")));
        assert_ne!(ring.sign("p", b"m"), old);
        assert!(!MacKeys::new([2; 32], []).verify("p", b"m", &old));
    }

    /// Computed with Python's `hmac` over the two length-prefixed parts.
    #[test]
    fn the_mac_is_hmac_sha_256() {
        let mac = MacKeys::new([0x0b; 32], []).sign("p", b"Hi There");
        let hex: String = mac
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .filter_map(|digit| char::from_digit(digit.into(), 16))
            .collect();
        assert_eq!(hex, "46a0bbdf8d0e7aa3c887bc0063ffcd9924fae016d348999fdd8f36f200a13d05");
    }
}
