//! Public keys of credentials, in COSE encoding (RFC 9052, RFC 9053, RFC 8230).

use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};

use super::Rejection;
use super::cbor::{Item, Reader};

const ES256: i64 = -7;
const EDDSA: i64 = -8;
const RS256: i64 = -257;

/// The accepted COSE algorithms, in order of preference.
pub const ALGORITHMS: [i64; 3] = [EDDSA, ES256, RS256];

/// Minimum and maximum length of an RSA modulus, in bytes.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// A public key with an accepted algorithm and encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    cose: Vec<u8>,
    key: Key,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    /// An uncompressed P-256 point.
    Es256(Vec<u8>),
    Ed25519(Vec<u8>),
    Rs256 {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
}

impl PublicKey {
    /// Parses a COSE key.
    ///
    /// # Errors
    /// [`Rejection::PublicKey`] unless it has an accepted algorithm and each parameter once.
    pub fn from_cose(cose: &[u8]) -> Result<Self, Rejection> {
        let parameters = Parameters::read(cose)?;
        Ok(Self { cose: cose.to_vec(), key: parameters.key().ok_or(Rejection::PublicKey)? })
    }

    /// The original bytes.
    pub fn as_cose(&self) -> &[u8] {
        &self.cose
    }

    /// Verifies a signature of the message.
    ///
    /// # Errors
    /// [`Rejection::Signature`] when it is invalid.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Rejection> {
        let verified = match &self.key {
            Key::Es256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature)
            }
            Key::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
            Key::Rs256 { modulus, exponent } => RsaPublicKeyComponents { n: modulus, e: exponent }
                .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature),
        };
        verified.map_err(|_| Rejection::Signature)
    }
}

/// The parameters of a COSE key that are used: 1 (kty), 3 (alg), and -1 to -3 depending on the key
/// type.
#[derive(Default)]
struct Parameters<'a> {
    kty: Option<Item<'a>>,
    alg: Option<Item<'a>>,
    minus_one: Option<Item<'a>>,
    minus_two: Option<Item<'a>>,
    minus_three: Option<Item<'a>>,
}

impl<'a> Parameters<'a> {
    fn read(cose: &'a [u8]) -> Result<Self, Rejection> {
        let mut reader = Reader::new(cose);
        let mut found = Self::default();
        for _ in 0..reader.map()? {
            let place = match reader.item()? {
                Item::Number(1) => &mut found.kty,
                Item::Number(3) => &mut found.alg,
                Item::Number(-1) => &mut found.minus_one,
                Item::Number(-2) => &mut found.minus_two,
                Item::Number(-3) => &mut found.minus_three,
                _ => {
                    reader.skip()?;
                    continue;
                }
            };
            if place.replace(reader.item()?).is_some() {
                return Err(Rejection::PublicKey);
            }
        }
        if reader.rest().is_empty() { Ok(found) } else { Err(Rejection::PublicKey) }
    }

    fn key(self) -> Option<Key> {
        let (Item::Number(kty), Item::Number(alg)) = (self.kty?, self.alg?) else { return None };
        match (kty, alg, self.minus_one?, self.minus_two?, self.minus_three) {
            (2, ES256, Item::Number(1), Item::Bytes(x), Some(Item::Bytes(y)))
                if x.len() == 32 && y.len() == 32 =>
            {
                Some(Key::Es256([&[4], x, y].concat()))
            }
            (1, EDDSA, Item::Number(6), Item::Bytes(x), None) if x.len() == 32 => {
                Some(Key::Ed25519(x.to_vec()))
            }
            (3, RS256, Item::Bytes(n), Item::Bytes(e), None)
                if RSA_BYTES.contains(&n.len()) && (1..=4).contains(&e.len()) =>
            {
                Some(Key::Rs256 { modulus: n.to_vec(), exponent: e.to_vec() })
            }
            _ => None,
        }
    }
}
