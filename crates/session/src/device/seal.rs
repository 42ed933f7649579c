//! Sealed values that the server hands out and verifies when they return: challenges and device
//! cookies.
//!
//! 1. A seal is an expiry and a nonce under a MAC. So it needs no store, and no two seals are
//!    equal.
//! 2. The MAC covers the purpose and the device session, named by a digest of its key; before the
//!    registration it covers the session instead. So no seal is valid for another session or
//!    purpose.
//! 3. Every secret of the ring verifies, the current one seals.
//!
//! The bytes are: id of the key (4), end in milliseconds since the Unix epoch (6), nonce (8), MAC
//! (32). Encoded they are 67 characters of base64url.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use crate::clock::Timestamp;
use crate::keyring::{KeyId, KeyRing, Keys};

const BYTES: usize = 4 + 6 + 8 + 32;
const TEXT: usize = (BYTES * 4).div_ceil(3);

/// The use of a seal.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// The challenge of a registration.
    Registration,
    /// The challenge of a refresh.
    Refresh,
    /// The device cookie.
    Cookie,
}

/// The purpose and the session that a seal is bound to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binding<'a> {
    pub(crate) purpose: Purpose,
    /// The id of the device session; before the registration, the handle of the session.
    pub(crate) of: &'a [u8; 9],
}

impl Binding<'_> {
    /// A seal that is valid until `end`.
    ///
    /// # Panics
    /// If the operating system has no random bytes to give.
    pub(crate) fn seal(&self, keys: &KeyRing, end: Timestamp) -> String {
        let mut nonce = [0; 8];
        getrandom::fill(&mut nonce).expect("the operating system gives random bytes");
        let (current, end) = (keys.current(), end_bytes(end));
        let mac = self.mac(current, end, nonce);
        URL_SAFE_NO_PAD.encode([&current.id.0[..], &end, &nonce, &mac].concat())
    }

    /// The expiry of a seal of this binding, expired or not. `None` for everything else.
    pub(crate) fn end_of(&self, keys: &KeyRing, text: impl AsRef<[u8]>) -> Option<Timestamp> {
        let (text, mut bytes) = (text.as_ref(), [0; BYTES]);
        if text.len() != TEXT || URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok() != Some(BYTES)
        {
            return None;
        }
        let (id, rest) = bytes.split_first_chunk::<4>()?;
        let (end, rest) = rest.split_first_chunk::<6>()?;
        let (nonce, mac) = rest.split_first_chunk::<8>()?;
        let expected = self.mac(keys.find(KeyId(*id))?, *end, *nonce);
        bool::from(expected.ct_eq(mac)).then(|| read_end(*end))
    }

    fn mac(&self, keys: &Keys, end: [u8; 6], nonce: [u8; 8]) -> [u8; 32] {
        let purpose = match self.purpose {
            Purpose::Registration => 1,
            Purpose::Refresh => 2,
            Purpose::Cookie => 3,
        };
        // Every part has a fixed length, so the concatenation is unambiguous.
        keys.device_mac(&[&[purpose], self.of, &end, &nonce])
    }
}

pub(crate) fn end_bytes(end: Timestamp) -> [u8; 6] {
    let [_, _, rest @ ..] = end.as_millis().to_be_bytes();
    rest
}

pub(crate) fn read_end(bytes: [u8; 6]) -> Timestamp {
    let mut number = [0; 8];
    number[2..].copy_from_slice(&bytes);
    Timestamp::from_millis(u64::from_be_bytes(number))
}
