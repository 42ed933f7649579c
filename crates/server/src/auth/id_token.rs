//! Verifies ID tokens: an issuer's signed statements about a user who has just authenticated
//! (OpenID Connect Core 1.0, 3.1.3.7).
//!
//! 1. The algorithm is `RS256` or `ES256`, with a key of that type from the issuer's own key set.
//!    `none` and the HMACs are refused. Keys and URLs in the token's header are ignored, because an
//!    attacker could choose them.
//! 2. The signature is verified before any claim is read.
//! 3. Issuer, audience, authorised party, times and nonce must all match. Time is an argument.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Tolerated difference to the issuer's clock, in seconds.
const SKEW_SECS: i64 = 60;
/// Maximum length of a subject, by the standard.
const MAX_SUBJECT_CHARS: usize = 255;

/// Why a token is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdTokenError {
    /// The token does not have three base64url parts with JSON in the first two.
    #[error("the ID token is malformed")]
    Malformed,
    /// The algorithm is not allowed.
    #[error("the ID token's algorithm is not allowed")]
    Algorithm,
    /// The key set has no such key. A fresh key set may have it.
    #[error("the ID token's key is not known")]
    UnknownKey,
    /// The signature does not verify.
    #[error("the ID token's signature is wrong")]
    Signature,
    /// The claim with this name does not match.
    #[error("the ID token's {0} does not fit")]
    Claim(&'static str),
}

/// An issuer's public keys. Parsing drops keys for other purposes or algorithms.
#[derive(Clone, Debug, Default)]
pub struct KeySet(Vec<Key>);

#[derive(Clone, Debug)]
struct Key {
    id: Option<String>,
    material: Material,
}

#[derive(Clone, Debug)]
enum Material {
    Rs256 {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// The uncompressed point.
    Es256(Vec<u8>),
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The expected values in a token, and the time of the check.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// All accepted forms of the issuer.
    pub issuers: &'a [&'a str],
    /// The audience: this service's client id.
    pub client_id: &'a str,
    /// The nonce of the transaction.
    pub nonce: &'a str,
    /// The access token from the same response.
    pub access_token: &'a str,
    /// The current time in seconds since 1970.
    pub now: i64,
}

/// The claims of a valid token.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Claims {
    /// The issuer's permanent id of the user.
    pub sub: String,
    /// The user's address.
    pub email: Option<String>,
    email_verified: Option<serde_json::Value>,
    /// The user's Google Workspace domain, which runs their mailbox.
    pub hd: Option<String>,
    /// The display name.
    pub name: Option<String>,
    /// The URL of the user's picture.
    pub picture: Option<String>,
}

impl Claims {
    /// Fills absent claims from `told`, the userinfo response.
    pub(super) fn completed_by(self, told: Self) -> Self {
        let (email, email_verified) = match self.email {
            // What is said of another address is not said of this one.
            Some(email) if told.email.as_ref() == Some(&email) => {
                (Some(email), self.email_verified.or(told.email_verified))
            }
            Some(email) => (Some(email), self.email_verified),
            None => (told.email, told.email_verified),
        };
        Self {
            sub: self.sub,
            email,
            email_verified,
            hd: self.hd,
            name: self.name.or(told.name),
            picture: self.picture.or(told.picture),
        }
    }

    /// Whether the issuer states that it has verified the address. Only the JSON value `true`
    /// counts.
    pub fn email_is_verified(&self) -> bool {
        self.email_verified == Some(serde_json::Value::Bool(true))
    }

    /// Whether the issuer says anything of that.
    pub fn tell_whether_verified(&self) -> bool {
        self.email_verified.is_some()
    }

    /// Whether the address is missing, or whether it is verified.
    pub fn lack_address(&self) -> bool {
        self.email.is_none() || self.email_verified.is_none()
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Envelope {
    iss: String,
    aud: Audience,
    azp: Option<String>,
    exp: f64,
    iat: f64,
    nbf: Option<f64>,
    nonce: Option<String>,
    at_hash: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl KeySet {
    /// Parses a JWK set.
    ///
    /// # Errors
    /// [`IdTokenError::Malformed`] when it is not JSON of that form. Unusable keys are skipped.
    pub fn parse(json: &[u8]) -> Result<Self, IdTokenError> {
        let jwks: Jwks = serde_json::from_slice(json).map_err(|_| IdTokenError::Malformed)?;
        let keys =
            jwks.keys.into_iter().filter_map(|key| Key::parse(serde_json::from_value(key).ok()?));
        Ok(Self(keys.collect()))
    }

    /// The key that the header names or, without a name, the only suitable one.
    fn find(&self, id: Option<&str>, algorithm: &str) -> Option<&Material> {
        let mut fitting = self
            .0
            .iter()
            .filter(|key| key.material.algorithm() == algorithm)
            .filter(|key| id.is_none() || key.id.as_deref() == id);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Some(&key.material),
            _ => None,
        }
    }
}

impl Key {
    fn parse(jwk: Jwk) -> Option<Self> {
        if jwk.usage.is_some_and(|usage| usage != "sig") {
            return None;
        }
        let bytes = |text: Option<String>| URL_SAFE_NO_PAD.decode(text?).ok();
        let material = match (&*jwk.kty, jwk.crv.as_deref()) {
            ("RSA", _) => Material::Rs256 { n: bytes(jwk.n)?, e: bytes(jwk.e)? },
            ("EC", Some("P-256")) => {
                let (x, y) = (bytes(jwk.x)?, bytes(jwk.y)?);
                Material::Es256([&[4], &*x, &*y].concat())
            }
            _ => return None,
        };
        jwk.alg
            .is_none_or(|alg| alg == material.algorithm())
            .then_some(Self { id: jwk.kid, material })
    }
}

impl Material {
    fn algorithm(&self) -> &'static str {
        match self {
            Self::Rs256 { .. } => "RS256",
            Self::Es256(_) => "ES256",
        }
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), IdTokenError> {
        match self {
            Self::Rs256 { n, e } => RsaPublicKeyComponents { n, e }.verify(
                &RSA_PKCS1_2048_8192_SHA256,
                message,
                signature,
            ),
            Self::Es256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
        }
        .map_err(|_| IdTokenError::Signature)
    }
}

/// Verifies a token and returns its claims.
///
/// # Errors
/// [`IdTokenError`] for the first rule that the token breaks.
pub fn verify(token: &str, keys: &KeySet, expected: &Expected<'_>) -> Result<Claims, IdTokenError> {
    let (message, signature) = token.rsplit_once('.').ok_or(IdTokenError::Malformed)?;
    let (header, payload) = message.split_once('.').ok_or(IdTokenError::Malformed)?;
    let header: Header = json(header)?;
    if !matches!(&*header.alg, "RS256" | "ES256") || header.crit.is_some() {
        return Err(IdTokenError::Algorithm);
    }
    let key = keys.find(header.kid.as_deref(), &header.alg).ok_or(IdTokenError::UnknownKey)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| IdTokenError::Malformed)?;
    key.verify(message.as_bytes(), &signature)?;

    json::<Envelope>(payload)?.check(expected)?;
    let claims: Claims = json(payload)?;
    let subject = &claims.sub;
    if subject.is_empty()
        || subject.len() > MAX_SUBJECT_CHARS
        || !subject.bytes().all(|b| b.is_ascii_graphic())
    {
        return Err(IdTokenError::Claim("sub"));
    }
    Ok(claims)
}

impl Envelope {
    fn check(&self, expected: &Expected<'_>) -> Result<(), IdTokenError> {
        let require =
            |holds: bool, claim| if holds { Ok(()) } else { Err(IdTokenError::Claim(claim)) };
        require(expected.issuers.contains(&&*self.iss), "iss")?;
        let (ours, alone) = match &self.aud {
            Audience::One(audience) => (audience == expected.client_id, true),
            Audience::Several(all) => {
                (all.iter().any(|one| one == expected.client_id), all.len() == 1)
            }
        };
        require(ours, "aud")?;
        match &self.azp {
            Some(party) => require(party == expected.client_id, "azp")?,
            None => require(alone, "azp")?,
        }
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^52")]
        let (now, skew) = (expected.now as f64, SKEW_SECS as f64);
        require(self.exp > now - skew, "exp")?;
        require(self.iat < now + skew, "iat")?;
        require(self.nbf.is_none_or(|from| from < now + skew), "nbf")?;
        let nonce = self.nonce.as_deref().unwrap_or_default();
        require(
            !nonce.is_empty() && bool::from(nonce.as_bytes().ct_eq(expected.nonce.as_bytes())),
            "nonce",
        )?;
        // `at_hash` is the left half of SHA-256, for RS256 and ES256 alike.
        let half = || URL_SAFE_NO_PAD.encode(&Sha256::digest(expected.access_token)[..16]);
        require(self.at_hash.as_ref().is_none_or(|hash| *hash == half()), "at_hash")
    }
}

fn json<T: DeserializeOwned>(part: &str) -> Result<T, IdTokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| IdTokenError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| IdTokenError::Malformed)
}

#[cfg(test)]
mod tests;
