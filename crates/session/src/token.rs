//! The cookie's token, and the id under which the store keeps its session.
//!
//! The cookie value is base64url without padding over 83 bytes:
//!
//! | bytes | part |
//! |---|---|
//! | 4 | key id: which secret signed |
//! | 15 | tag: which hash in the store; a hash of the user id, or random for a signed-out visitor |
//! | 32 | secret: random from the operating system |
//! | 32 | MAC: HMAC-SHA-256 over all of the above |
//!
//! The store only ever sees the tag and a keyed hash of tag and secret ([`SessionId`]).

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::keyring::{KeyId, KeyRing, Keys};

const TOKEN_BYTES: usize = 83;
/// Characters of every cookie value.
pub(crate) const COOKIE_CHARS: usize = 111;
const SIGNED: usize = 51;
/// Bytes of a tag. As 20 characters, it keeps the key in Redis within an allocation of 32 bytes.
pub(crate) const TAG_BYTES: usize = 15;

/// Identifies the hash that holds all sessions of one user. Not a secret, and reveals nothing about
/// the user.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(pub(crate) [u8; TAG_BYTES]);

impl Tag {
    /// The tag of a user in the default realm. It is the same under every secret, so a change of
    /// secrets does not split the user's sessions.
    pub fn of_user(user: &UserId) -> Self {
        let digest = Sha256::new()
            .chain_update(b"tracera-session/1 tag")
            .chain_update(user.as_bytes())
            .finalize();
        Self(first(&digest))
    }

    /// The tag of a user in a realm; the default realm is empty.
    pub(crate) fn of_user_in(realm: &str, user: &UserId) -> Self {
        if realm.is_empty() {
            return Self::of_user(user);
        }
        // The length prefix separates the two parts.
        let digest = Sha256::new()
            .chain_update(b"tracera-session/1 tag in realm")
            .chain_update((realm.len() as u64).to_be_bytes())
            .chain_update(realm)
            .chain_update(user.as_bytes())
            .finalize();
        Self(first(&digest))
    }

    pub(crate) fn random() -> Self {
        Self(random())
    }

    /// Parses a tag from 20 characters of base64url; `None` when they are no tag.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut tag = [0; TAG_BYTES];
        let len = URL_SAFE_NO_PAD.decode_slice(text, &mut tag).ok()?;
        (len == tag.len()).then_some(Self(tag))
    }

    /// Characters of a tag as text.
    #[cfg(feature = "redis")]
    pub(crate) const CHARS: usize = TAG_BYTES / 3 * 4;

    /// Appends the tag as text.
    #[cfg(feature = "redis")]
    pub(crate) fn write_to(&self, text: &mut Vec<u8>) {
        let begin = text.len();
        text.resize(begin + Self::CHARS, 0);
        URL_SAFE_NO_PAD
            .encode_slice(self.0, &mut text[begin..])
            .expect("15 bytes are 20 characters");
    }

    /// Six of the tag's bytes, as the eight characters that encode them in every cookie of this
    /// tag.
    pub(crate) fn chars_in_cookies(&self) -> [u8; 8] {
        let mut chars = [0; 8];
        URL_SAFE_NO_PAD
            .encode_slice(&self.0[8..14], &mut chars)
            .expect("six bytes are eight characters");
        chars
    }

    /// The tag's bytes.
    pub const fn as_bytes(&self) -> &[u8; TAG_BYTES] {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({self})")
    }
}

/// The application's id of a user: 1 to 64 bytes, such as a UUID.
///
/// ```
/// use tracera_session::UserId;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let ada = UserId::new("ada")?;
/// let forty_two = UserId::from(42_i64);
/// assert_eq!(forty_two, UserId::new("42")?);
/// assert_eq!(i64::try_from(forty_two)?, 42);
/// assert!(i64::try_from(ada).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId {
    /// Zeros follow the id.
    bytes: [u8; MAX_USER_ID],
    len: usize,
}

const MAX_USER_ID: usize = 64;

/// A user id was empty or longer than 64 bytes.
///
/// ```
/// use tracera_session::UserId;
///
/// let error = UserId::new("").unwrap_err();
/// assert_eq!(error.to_string(), "a user id has 1 to 64 bytes, this one has 0");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a user id has 1 to 64 bytes, this one has {0}")]
pub struct InvalidUserId(usize);

impl UserId {
    /// Takes the id's bytes.
    ///
    /// # Errors
    /// [`InvalidUserId`] when there are none or more than 64.
    pub fn new(id: impl AsRef<[u8]>) -> Result<Self, InvalidUserId> {
        let id = id.as_ref();
        let len = id.len();
        if !(1..=MAX_USER_ID).contains(&len) {
            return Err(InvalidUserId(len));
        }
        let mut bytes = [0; MAX_USER_ID];
        bytes[..len].copy_from_slice(id);
        Ok(Self { bytes, len })
    }

    /// The id's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The id as text; `None` if it is not UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.as_bytes()).ok()
    }
}

/// Integers in decimal, as `Display` writes them.
macro_rules! user_id_from_integers {
    ($($integer:ty)*) => {$(
        impl From<$integer> for UserId {
            fn from(id: $integer) -> Self {
                Self::new(id.to_string()).expect("an integer has at most 40 digits")
            }
        }

        impl TryFrom<UserId> for $integer {
            type Error = OtherUserId;

            fn try_from(id: UserId) -> Result<Self, OtherUserId> {
                let number = id.as_str().and_then(|text| text.parse().ok());
                number.ok_or(OtherUserId(stringify!($integer)))
            }
        }
    )*};
}

/// A user's id does not convert to the application's type, such as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the user id is no {0}")]
pub struct OtherUserId(&'static str);

impl TryFrom<UserId> for String {
    type Error = OtherUserId;

    fn try_from(id: UserId) -> Result<Self, OtherUserId> {
        id.as_str().map(str::to_owned).ok_or(OtherUserId("text"))
    }
}

impl TryFrom<UserId> for [u8; 16] {
    type Error = OtherUserId;

    fn try_from(id: UserId) -> Result<Self, OtherUserId> {
        id.as_bytes().try_into().map_err(|_| OtherUserId("UUID of 16 bytes"))
    }
}

user_id_from_integers!(i32 i64 i128 u32 u64 u128);

/// The bytes of a UUID. Its text is another id, so use one of the two throughout.
#[cfg(feature = "uuid")]
impl From<uuid::Uuid> for UserId {
    fn from(id: uuid::Uuid) -> Self {
        id.into_bytes().into()
    }
}

#[cfg(feature = "uuid")]
impl TryFrom<UserId> for uuid::Uuid {
    type Error = OtherUserId;

    fn try_from(id: UserId) -> Result<Self, OtherUserId> {
        id.try_into().map(Self::from_bytes)
    }
}

/// The bytes of a UUID; the feature `uuid` converts from the type itself.
impl From<[u8; 16]> for UserId {
    fn from(id: [u8; 16]) -> Self {
        Self::new(id).expect("16 bytes are few enough")
    }
}

impl std::str::FromStr for UserId {
    type Err = InvalidUserId;

    fn from_str(id: &str) -> Result<Self, InvalidUserId> {
        Self::new(id)
    }
}

/// The id as text if it is UTF-8, else with escapes.
impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_str() {
            Some(text) => f.write_str(text),
            None => write!(f, "{}", self.as_bytes().escape_ascii()),
        }
    }
}

impl Serialize for UserId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserId({})", self.as_bytes().escape_ascii())
    }
}

/// The session's place in the store. Not a secret: nobody can make a cookie from it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId {
    /// The hash of the session's user.
    pub tag: Tag,
    /// Its field in the hash: a keyed hash of the token.
    pub field: [u8; 16],
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({}, {:032x})", self.tag, u128::from_be_bytes(self.field))
    }
}

impl SessionId {
    /// The public name of the session, for listing and revoking. The id cannot be derived from it.
    pub fn handle(&self) -> Handle {
        Handle::of_field(&self.field)
    }
}

/// The public name of one of a user's sessions: 12 characters of base64url, in JSON and in paths
/// too.
///
/// ```
/// use axum::extract::{Path, State};
/// use tracera_session::{CurrentUser, Handle, SessionError, Sessions};
///
/// // DELETE /sessions/{handle}
/// async fn end(
///     State(sessions): State<Sessions>,
///     CurrentUser(user): CurrentUser,
///     Path(handle): Path<Handle>,
/// ) -> Result<(), SessionError> {
///     sessions.revoke(&user, handle).await.map(drop)
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle([u8; 9]);

impl Handle {
    pub(crate) fn of_field(field: &[u8; 16]) -> Self {
        let digest =
            Sha256::new().chain_update(b"tracera-session/1 handle").chain_update(field).finalize();
        Self(first(&digest))
    }

    #[cfg(feature = "device-binding")]
    pub(crate) fn as_bytes(&self) -> &[u8; 9] {
        &self.0
    }

    /// Parses a handle; `None` when the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 12)
            .then(|| URL_SAFE_NO_PAD.decode(text).ok())
            .flatten()
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
    }
}

impl Serialize for Handle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Handle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not the name of a session"))
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({self})")
    }
}

/// A fresh token. It goes into the cookie and is kept nowhere else.
pub(crate) struct NewToken {
    pub(crate) id: SessionId,
    pub(crate) key: KeyId,
    pub(crate) cookie: CookieValue,
}

/// A cookie value as the browser holds it. Prints nothing.
#[derive(Clone)]
pub(crate) struct CookieValue(pub(crate) Box<str>);

impl CookieValue {
    /// A value whose MAC was verified, and which is therefore text.
    pub(crate) fn read(cookie: &[u8]) -> Option<Self> {
        std::str::from_utf8(cookie).ok().map(|text| Self(text.into()))
    }
}

impl fmt::Debug for CookieValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieValue(…)")
    }
}

impl NewToken {
    /// Draws a token for the hash `tag` and signs it with the current secret.
    pub(crate) fn mint(keys: &KeyRing, tag: Tag) -> Self {
        let keys = keys.current();
        let mut token = [0; TOKEN_BYTES];
        token[..4].copy_from_slice(&keys.id.0);
        token[4..19].copy_from_slice(&tag.0);
        token[19..SIGNED].copy_from_slice(&random::<32>());
        let mac = keys.mac(&token[..SIGNED]);
        token[SIGNED..].copy_from_slice(&mac);
        Self {
            id: session_id(keys, &token),
            key: keys.id,
            cookie: CookieValue(URL_SAFE_NO_PAD.encode(token).into()),
        }
    }
}

/// [`Tag::chars_in_cookies`] of a cookie's tag, without decoding the cookie: bytes 12 to 18 of the
/// token. The cookie is not verified.
pub(crate) fn tag_chars(cookie: &[u8; COOKIE_CHARS]) -> [u8; 8] {
    first(&cookie[16..])
}

/// Reads a cookie value: the session id it stands for, or `None` when no secret of the ring signed
/// it.
pub(crate) fn open(keys: &KeyRing, cookie: &[u8]) -> Option<SessionId> {
    let token = decode(cookie)?;
    let keys = keys.find(KeyId(first(&token)))?;
    let genuine: bool = keys.mac(&token[..SIGNED]).ct_eq(&token[SIGNED..]).into();
    genuine.then(|| session_id(keys, &token))
}

fn decode(cookie: &[u8]) -> Option<[u8; TOKEN_BYTES]> {
    if cookie.len() != COOKIE_CHARS {
        return None;
    }
    let mut token = [0; TOKEN_BYTES];
    let decoded = URL_SAFE_NO_PAD.decode_slice(cookie, &mut token).ok()?;
    (decoded == TOKEN_BYTES).then_some(token)
}

fn session_id(keys: &Keys, token: &[u8; TOKEN_BYTES]) -> SessionId {
    SessionId { tag: Tag(first(&token[4..])), field: first(&keys.id_hash(&token[4..SIGNED])) }
}

/// The first `N` of at least `N` bytes.
fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    *bytes.first_chunk().expect("callers pass at least N bytes")
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn ring() -> KeyRing {
        KeyRing::new(&[7; 32]).unwrap()
    }

    #[test]
    fn a_minted_cookie_opens_to_its_id_and_to_nothing_else() {
        let ring = ring();
        let token = NewToken::mint(&ring, Tag::random());
        assert_eq!(open(&ring, token.cookie.0.as_bytes()), Some(token.id));
        assert_eq!(open(&KeyRing::new(&[8; 32]).unwrap(), token.cookie.0.as_bytes()), None);
    }

    #[test]
    fn every_changed_character_is_refused() {
        let ring = ring();
        let cookie = NewToken::mint(&ring, Tag::random()).cookie.0;
        for at in 0..cookie.len() {
            for other in ["A", "B", "_", "=", "+", "%", " "] {
                if &cookie[at..=at] == other {
                    continue;
                }
                let forged = format!("{}{other}{}", &cookie[..at], &cookie[at + 1..]);
                assert_eq!(open(&ring, forged.as_bytes()), None, "{at} {other}");
            }
        }
    }

    #[test]
    fn an_older_secret_still_opens_until_it_leaves_the_ring() {
        let old = ring();
        let token = NewToken::mint(&old, Tag::random());
        let rotated = KeyRing::with_previous(&[8; 32], [[7; 32]]).unwrap();
        assert_eq!(open(&rotated, token.cookie.0.as_bytes()), Some(token.id));
        assert_ne!(NewToken::mint(&rotated, Tag::random()).key, token.key);
    }

    #[test]
    fn ten_thousand_tokens_never_repeat() {
        let ring = ring();
        let tag = Tag::random();
        let all: HashSet<_> = (0..10_000).map(|_| NewToken::mint(&ring, tag).cookie.0).collect();
        assert_eq!(all.len(), 10_000);
        assert!(all.iter().all(|cookie| cookie.len() == COOKIE_CHARS));
    }

    #[test]
    fn the_id_cannot_be_read_out_of_the_cookie() {
        let token = NewToken::mint(&ring(), Tag::random());
        let raw = URL_SAFE_NO_PAD.decode(&*token.cookie.0).unwrap();
        assert!(!raw.windows(16).any(|window| window == token.id.field));
    }

    #[test]
    fn a_handle_reads_back_and_is_not_the_id() {
        let id = NewToken::mint(&ring(), Tag::random()).id;
        let handle = id.handle();
        assert_eq!(Handle::parse(&handle.to_string()), Some(handle));
        assert_eq!(Handle::parse("short"), None);
        assert!(!id.field.windows(9).any(|window| window == handle.0));
    }

    #[test]
    fn user_ids_have_1_to_64_bytes_and_are_compared_as_such() {
        let id = |text| UserId::new(text).unwrap();
        assert_eq!(id("ann\0").as_bytes(), b"ann\0");
        assert!(id("ann") < id("ann\0") && id("ann\0") < id("ann1") && id("ann1") < id("b"));
        assert!(UserId::new("").is_err());
        assert!(UserId::new([1; 64]).is_ok());
        assert!(UserId::new([1; 65]).is_err());
    }

    proptest! {
        #[test]
        fn opening_never_panics_and_never_accepts_noise(cookie in prop::collection::vec(any::<u8>(),
            0..130)) {
            prop_assert_eq!(open(&ring(), &cookie), None);
        }
    }
}
