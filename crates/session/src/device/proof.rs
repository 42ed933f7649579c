//! A proof: the JWT by which a browser shows that it holds the private key of a device.
//!
//! 1. It is a compact JWS (RFC 7515) of at most 4 KiB whose header says `ES256` and `dbsc+jwt`.
//!    Every other algorithm is refused before a key is looked at, and so is `crit`.
//! 2. A key comes with a registration alone, as a JWK (RFC 7517) of the curve P-256. A key sent
//!    with a refresh is ignored.
//! 3. Base64url is read strictly: no padding, no spare bits, nothing else between the dots.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

/// The header that carries a proof.
pub(crate) const PROOF_HEADER: &str = "secure-session-response";
/// The header that names the device session a refresh is for.
pub(crate) const ID_HEADER: &str = "sec-secure-session-id";

const MAX_BYTES: usize = 4096;
const COORDINATE: usize = 32;
const SIGNATURE: usize = 64;

/// A public key of the curve P-256: both coordinates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DeviceKey([u8; 2 * COORDINATE]);

impl DeviceKey {
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether the proof was signed by this key. A point off the curve has signed nothing.
    pub(crate) fn has_signed(&self, proof: &Proof<'_>) -> bool {
        // The uncompressed form of SEC 1, section 2.3.3.
        let point = [&[4], &self.0[..]].concat();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(proof.signed.as_bytes(), &proof.signature)
            .is_ok()
    }
}

/// A well-formed proof; [`DeviceKey::has_signed`] verifies its signature.
#[derive(Debug)]
pub(crate) struct Proof<'a> {
    /// The challenge it answers.
    pub(crate) challenge: String,
    /// The key that is to be registered.
    pub(crate) key: Option<DeviceKey>,
    signed: &'a str,
    signature: [u8; SIGNATURE],
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: String,
    jwk: Option<Jwk>,
    crit: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: String,
    x: String,
    y: String,
}

#[derive(Deserialize)]
struct Payload {
    jti: String,
}

impl<'a> Proof<'a> {
    /// Reads a proof; `None` when it is malformed.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let header: Header = object(header)?;
        if header.alg != "ES256" || header.typ != "dbsc+jwt" || header.crit.is_some() {
            return None;
        }
        let key = match header.jwk {
            Some(jwk) => Some(jwk.key()?),
            None => None,
        };
        let payload: Payload = object(payload)?;
        let signature = decode(signature)?.try_into().ok()?;
        Some(Self { challenge: payload.jti, key, signed, signature })
    }
}

impl Jwk {
    fn key(&self) -> Option<DeviceKey> {
        if self.kty != "EC" || self.crv != "P-256" {
            return None;
        }
        let coordinate = |text: &str| decode(text).filter(|bytes| bytes.len() == COORDINATE);
        DeviceKey::from_bytes(&[coordinate(&self.x)?, coordinate(&self.y)?].concat())
    }
}

/// A part that is a JSON object; serde would take an array as well.
fn object<T: DeserializeOwned>(part: &str) -> Option<T> {
    let json = decode(part)?;
    json.starts_with(b"{").then(|| serde_json::from_slice(&json).ok()).flatten()
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// The value of a header that is a string of RFC 8941; Chromium omits the quotes. `None` unless the
/// header occurs exactly once.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut lines = headers.get_all(name).iter();
    let (line, None) = (lines.next()?, lines.next()) else { return None };
    let text = line.to_str().ok()?.trim();
    match text.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').filter(|inside| !inside.contains(['"', '\\'])),
        None => Some(text).filter(|text| !text.is_empty() && !text.contains('"')),
    }
}
