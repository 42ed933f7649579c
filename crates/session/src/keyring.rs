//! The keys behind cookies and session ids.
//!
//! 1. The current secret signs; every secret of the ring still verifies. Changing secrets this way
//!    signs nobody out. Several instances take two steps: first add the new secret to the previous
//!    ones everywhere, then make it the current one.
//! 2. Each use has a key of its own, derived with HKDF-SHA-256 (RFC 5869): the cookie's MAC, the id
//!    hash and the public key id. [`KeyRing::derive`] makes keys for the application.
//! 3. A secret that leaves the ring ends exactly the sessions whose cookies it signed.

use std::fmt;
use std::sync::Arc;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

type HmacSha256 = Hmac<Sha256>;

/// The minimum length of a secret in bytes: the output length of SHA-256.
pub const MIN_SECRET_BYTES: usize = 32;

const SALT: &[u8] = b"tracera-session/1";

/// Identifies the secret that signed a cookie. Public; derived from the secret, so all instances
/// agree on it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct KeyId(pub(crate) [u8; 4]);

/// A secret was refused.
///
/// ```
/// use tracera_session::{KeyError, KeyRing};
///
/// assert_eq!(KeyRing::new(b"too short").unwrap_err(), KeyError::TooShort { got: 9 });
/// ```
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// Fewer than [`MIN_SECRET_BYTES`] bytes.
    #[error("the secret has {got} bytes; at least {MIN_SECRET_BYTES} are needed")]
    TooShort {
        /// The secret's length in bytes.
        got: usize,
    },
    /// The same secret is in the ring twice.
    #[error("the secret is already in the ring")]
    Duplicate,
}

/// The secrets in force: one that signs and any number that still verify.
///
/// ```
/// use tracera_session::KeyRing;
///
/// # fn main() -> Result<(), tracera_session::KeyError> {
/// // Yesterday's secret still verifies, so the change signs nobody out.
/// let keys = KeyRing::with_previous(&[2; 32], [[1; 32]])?;
/// let (csrf_key, older_csrf_keys) = keys.derive("csrf");
/// assert_eq!(older_csrf_keys.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct KeyRing(Arc<[Keys]>);

pub(crate) struct Keys {
    pub(crate) id: KeyId,
    mac: HmacSha256,
    id_hash: HmacSha256,
    #[cfg(feature = "device-binding")]
    device: HmacSha256,
    root: Hkdf<Sha256>,
}

impl KeyRing {
    /// A ring whose only secret is `secret`.
    ///
    /// # Errors
    /// [`KeyError::TooShort`] under 32 bytes.
    pub fn new(secret: &[u8]) -> Result<Self, KeyError> {
        Self::with_previous(secret, std::iter::empty::<&[u8]>())
    }

    /// A ring that signs with `secret` and still accepts what the `previous` ones signed. A secret
    /// that other instances are about to sign with belongs among them too.
    ///
    /// # Errors
    /// [`KeyError::TooShort`] when any secret is under 32 bytes, [`KeyError::Duplicate`] when one
    /// occurs twice.
    pub fn with_previous<S: AsRef<[u8]>>(
        secret: &[u8],
        previous: impl IntoIterator<Item = S>,
    ) -> Result<Self, KeyError> {
        let mut ring = vec![Keys::derive_from(secret)?];
        for older in previous {
            let keys = Keys::derive_from(older.as_ref())?;
            if ring.iter().any(|known| known.id == keys.id) {
                return Err(KeyError::Duplicate);
            }
            ring.push(keys);
        }
        Ok(Self(ring.into()))
    }

    /// Keys of 32 bytes for the application's own use, such as `csrf`: one of the current secret,
    /// and one of each previous secret.
    pub fn derive(&self, purpose: &str) -> ([u8; 32], Vec<[u8; 32]>) {
        let info = [b"application/", purpose.as_bytes()].concat();
        let key = |keys: &Keys| expand(&keys.root, &info);
        (key(self.current()), self.0[1..].iter().map(key).collect())
    }

    /// The ring of a realm. Its keys verify no cookie of another realm. The empty realm is the
    /// default.
    pub(crate) fn into_realm(self, realm: &str) -> Self {
        if realm.is_empty() {
            return self;
        }
        Self(self.0.iter().map(|keys| Keys::derive(keys.root.clone(), realm)).collect())
    }

    /// A ring with a random secret, for trying things out: all sessions end with the process. Logs
    /// a warning.
    ///
    /// # Panics
    /// If the operating system has no random bytes to give.
    pub fn generate() -> Self {
        tracing::warn!("the session secret is random: every session ends with this process");
        let mut secret = [0; MIN_SECRET_BYTES];
        getrandom::fill(&mut secret).expect("the operating system gives random bytes");
        Self(Arc::new([Keys::derive(Hkdf::<Sha256>::new(Some(SALT), &secret), "")]))
    }

    pub(crate) fn current(&self) -> &Keys {
        &self.0[0]
    }

    pub(crate) fn find(&self, id: KeyId) -> Option<&Keys> {
        self.0.iter().find(|keys| keys.id == id)
    }
}

impl Keys {
    fn derive_from(secret: &[u8]) -> Result<Self, KeyError> {
        if secret.len() < MIN_SECRET_BYTES {
            return Err(KeyError::TooShort { got: secret.len() });
        }
        Ok(Self::derive(Hkdf::<Sha256>::new(Some(SALT), secret), ""))
    }

    fn derive(root: Hkdf<Sha256>, realm: &str) -> Self {
        let of_realm = |info: &str| match realm {
            "" => expand(&root, info.as_bytes()),
            _ => expand(&root, format!("{info} of realm {realm}").as_bytes()),
        };
        Self {
            id: KeyId(expand(&root, b"key id")),
            mac: keyed(&of_realm("cookie mac")),
            id_hash: keyed(&of_realm("session id")),
            #[cfg(feature = "device-binding")]
            device: keyed(&of_realm("device")),
            root,
        }
    }

    /// The MAC over a cookie's bytes.
    pub(crate) fn mac(&self, message: &[u8]) -> [u8; 32] {
        self.mac.clone().chain_update(message).finalize().into_bytes().into()
    }

    /// The MAC of a value handed to a device, over parts of fixed length.
    #[cfg(feature = "device-binding")]
    pub(crate) fn device_mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mac = parts.iter().fold(self.device.clone(), Mac::chain_update);
        mac.finalize().into_bytes().into()
    }

    /// The keyed hash that turns a cookie's token into the id the store knows.
    pub(crate) fn id_hash(&self, token: &[u8]) -> [u8; 32] {
        self.id_hash.clone().chain_update(token).finalize().into_bytes().into()
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({} secrets)", self.0.len())
    }
}

fn expand<const N: usize>(root: &Hkdf<Sha256>, info: &[u8]) -> [u8; N] {
    let mut key = [0; N];
    root.expand(info, &mut key)
        .expect("HKDF-SHA-256 yields up to 8160 bytes and these are at most 32");
    key
}

fn keyed(key: &[u8; 32]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &[u8] = b"0123456789abcdef0123456789abcdef";
    const B: &[u8] = b"fedcba9876543210fedcba9876543210";

    #[test]
    fn short_and_repeated_secrets_are_refused() {
        assert_eq!(KeyRing::new(&A[..31]).unwrap_err(), KeyError::TooShort { got: 31 });
        assert_eq!(KeyRing::with_previous(A, [A]).unwrap_err(), KeyError::Duplicate);
        assert!(KeyRing::with_previous(A, [B]).is_ok());
    }

    #[test]
    fn every_use_and_every_secret_has_a_key_of_its_own() {
        let ring = KeyRing::with_previous(A, [B]).unwrap();
        let (current, previous) = ring.derive("csrf");
        assert_eq!(previous, [KeyRing::new(B).unwrap().derive("csrf").0]);
        assert_ne!(current, previous[0]);
        assert_ne!(current, ring.derive("one-time").0);
        assert_ne!(ring.current().mac(b"x"), ring.current().id_hash(b"x"));
    }

    #[test]
    fn the_ring_prints_no_secret() {
        let shown = format!("{:?}", KeyRing::with_previous(A, [B]).unwrap());
        assert_eq!(shown, "KeyRing(2 secrets)");
    }

    #[test]
    fn a_random_secret_is_warned_of() {
        let log = tracera_testkit::CapturedLog::at(tracing::level_filters::LevelFilter::WARN);
        drop(KeyRing::generate());
        assert!(log.text().contains("the session secret is random"), "{}", log.text());
    }
}
