//! The record of one session in the store. It has at most 64 bytes, so that Redis keeps the user's
//! hash compact.
//!
//! Big-endian. The first 24 bytes are the envelope, which is frozen for all versions because the
//! store's scripts read it.
//!
//! | at | bytes | meaning |
//! |---|---|---|
//! | 0 | 1 | version; 0 is a forward left behind by a new id: until when (6), to which field (16) |
//! | 1 | 6 | created, milliseconds since the Unix epoch |
//! | 7 | 4 | lifetime in seconds: the absolute deadline, never moved |
//! | 11 | 4 | last seen, seconds after creation |
//! | 15 | 6 | the user's epoch when the session was created |
//! | 21 | 1 | how many data fields the session has |
//! | 22 | 2 | how many bytes they hold, names and values |
//! | 24 | 4 | id of the key that signed the cookie |
//! | 28 | 4 | when the user last proved who they are, seconds after creation; all ones: never |
//! | 32 | … | method, client, address, each behind its length in one byte |
//! | … | … | extensions: kind (1 byte), length (1 byte), bytes |
//!
//! Extension 1 (5 bytes) is the persistence of the sign-in: one byte of flags, then the idle
//! timeout in seconds (0: none). Bit 0: until the browser closes. Bit 1: it has an idle timeout of
//! its own.
//!
//! Rules for rolling upgrades:
//!
//! 1. A newer version may add extensions. A node ignores an unknown one, and keeps it when it
//!    rewrites the record.
//! 2. A record of an unknown version is undecodable: no session for this request. The record and
//!    the cookie stay as they are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::keyring::KeyId;

const VERSION: u8 = 1;
/// The maximum size of an encoded record.
pub(crate) const MAX_BYTES: usize = 64;
/// Bytes before method, client and address.
const FIXED: usize = 32;
/// A longer method is cut to this, which leaves room for the client.
const MAX_METHOD: usize = 16;
const NEVER: u32 = u32::MAX;

/// Raised when a user signs out everywhere; a session of an older epoch is dead.
///
/// ```
/// use tracera_session::{SessionError, Sessions, SignIn, UserId};
///
/// // A code was mailed. If the user signs out everywhere before it is entered, it opens nothing.
/// async fn begin(sessions: &Sessions, user: UserId) -> Result<SignIn, SessionError> {
///     let epoch = sessions.epoch(&user).await?;
///     Ok(SignIn::new(user, "email").epoch(epoch))
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Epoch(pub(crate) u64);

impl Epoch {
    /// From a number, of which 48 bits are kept.
    pub const fn new(number: u64) -> Self {
        Self(number & 0xffff_ffff_ffff)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// When and how the user last proved who they are.
///
/// ```
/// use tracera_session::Session;
///
/// fn is_by_passkey(session: &Session) -> bool {
///     let proof = session.info().and_then(|session| session.authentication);
///     proof.is_some_and(|proof| &*proof.method == "passkey")
/// }
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct Authentication {
    /// The time of the proof.
    pub at: Timestamp,
    /// The method, in the application's own short word such as `email` or `google`.
    pub method: Box<str>,
}

/// One session's record. See the module page for its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    pub(crate) created: Timestamp,
    pub(crate) lifetime: Duration,
    pub(crate) last_seen: Timestamp,
    pub(crate) epoch: Epoch,
    pub(crate) data_fields: u8,
    pub(crate) data_bytes: u16,
    pub(crate) key: KeyId,
    pub(crate) authentication: Option<Authentication>,
    pub(crate) client: Box<str>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) persistence: Persistence,
    /// Extensions that this version does not know, as they are encoded.
    pub(crate) unknown: Box<[u8]>,
}

#[cfg(any(test, feature = "testing"))]
impl Record {
    /// A record without data of a session about which nothing is known, for tests.
    pub(crate) fn bare(created: Timestamp, lifetime: Duration, key: KeyId) -> Self {
        Self {
            created,
            lifetime,
            last_seen: created,
            epoch: Epoch::default(),
            data_fields: 0,
            data_bytes: 0,
            key,
            authentication: None,
            client: "".into(),
            address: None,
            persistence: Persistence::default(),
            unknown: [].into(),
        }
    }
}

/// How long a session lasts, where its sign-in differs from the configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Persistence {
    /// Whether the cookie ends with the browser.
    pub(crate) until_browser_closes: bool,
    pub(crate) idle: IdleTimeout,
}

/// How long a session lives without a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum IdleTimeout {
    /// The configured one.
    #[default]
    Usual,
    /// The sign-in's own; `None` for no such limit.
    Own(Option<Duration>),
}

impl Persistence {
    const KIND: u8 = 1;

    fn encode(self) -> Vec<u8> {
        if self == Self::default() {
            return Vec::new();
        }
        let (is_own, idle) = match self.idle {
            IdleTimeout::Usual => (false, 0),
            IdleTimeout::Own(idle) => (true, idle.map_or(0, |idle| whole_secs(idle).max(1))),
        };
        let flags = u8::from(self.until_browser_closes) | u8::from(is_own) << 1;
        [&[Self::KIND, 5, flags], &idle.to_be_bytes()[..]].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let [flags, secs @ ..] = *<&[u8; 5]>::try_from(bytes).ok()?;
        let secs = u32::from_be_bytes(secs);
        let own = (secs > 0).then(|| Duration::from_secs(u64::from(secs)));
        let idle = if flags & 2 == 0 { IdleTimeout::Usual } else { IdleTimeout::Own(own) };
        Some(Self { until_browser_closes: flags & 1 != 0, idle })
    }

    /// The idle timeout in force, if the configured one is `idle`.
    pub(crate) fn idle_or(self, idle: Option<Duration>) -> Option<Duration> {
        match self.idle {
            IdleTimeout::Usual => idle,
            IdleTimeout::Own(own) => own,
        }
    }
}

/// The bytes are no record of a version that this build can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session record cannot be decoded")]
pub(crate) struct Undecodable;

impl Record {
    /// When the session ends: the absolute deadline or, with an idle timeout, the earlier of the
    /// two.
    pub(crate) fn deadline(&self, idle: Option<Duration>) -> Timestamp {
        let absolute = self.created.plus(self.lifetime);
        let idle = self.persistence.idle_or(idle);
        idle.map_or(absolute, |idle| absolute.min(self.last_seen.plus(idle)))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MAX_BYTES);
        bytes.push(VERSION);
        bytes.extend(&self.created.as_millis().to_be_bytes()[2..]);
        bytes.extend(whole_secs(self.lifetime).to_be_bytes());
        bytes.extend(self.secs_after_creation(self.last_seen).to_be_bytes());
        bytes.extend(&self.epoch.0.to_be_bytes()[2..]);
        bytes.push(self.data_fields);
        bytes.extend(self.data_bytes.to_be_bytes());
        bytes.extend(self.key.0);
        let at = self
            .authentication
            .as_ref()
            .map_or(NEVER, |auth| self.secs_after_creation(auth.at).min(NEVER - 1));
        bytes.extend(at.to_be_bytes());
        let method = self.authentication.as_ref().map_or("", |auth| &*auth.method);
        push(&mut bytes, shortened(method, MAX_METHOD).as_bytes());
        let address = encode_address(self.address);
        let persistence = self.persistence.encode();
        let room = MAX_BYTES.saturating_sub(bytes.len() + 2 + address.len() + persistence.len());
        let unknown = if self.unknown.len() <= room { &*self.unknown } else { &[] };
        push(&mut bytes, shortened(&self.client, room - unknown.len()).as_bytes());
        push(&mut bytes, &address);
        bytes.extend(persistence);
        bytes.extend(unknown);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Undecodable> {
        let mut rest = Reader(bytes);
        if rest.take::<1>()? != [VERSION] {
            return Err(Undecodable);
        }
        let created = Timestamp::from_millis(u48(rest.take()?));
        let after = |secs| created.plus(Duration::from_secs(u64::from(secs)));
        let lifetime = Duration::from_secs(u64::from(u32::from_be_bytes(rest.take()?)));
        let last_seen = after(u32::from_be_bytes(rest.take()?));
        let epoch = Epoch(u48(rest.take()?));
        let [data_fields] = rest.take()?;
        let data_bytes = u16::from_be_bytes(rest.take()?);
        let key = KeyId(rest.take()?);
        let proved = u32::from_be_bytes(rest.take()?);
        let Tail { method, client, address, extensions } = Tail::read(rest)?;
        let (persistence, unknown) = extensions.sort();
        Ok(Self {
            created,
            lifetime,
            last_seen,
            epoch,
            data_fields,
            data_bytes,
            key,
            authentication: (proved != NEVER)
                .then(|| Authentication { at: after(proved), method: method.into() }),
            client: client.into(),
            address,
            persistence,
            unknown,
        })
    }

    /// Whether [`Record::decode`] would succeed, without allocating its strings.
    pub(crate) fn check(bytes: &[u8]) -> Result<(), Undecodable> {
        match bytes.split_at_checked(FIXED) {
            Some((fixed, tail)) if fixed[0] == VERSION => Tail::read(Reader(tail)).map(drop),
            _ => Err(Undecodable),
        }
    }

    fn secs_after_creation(&self, at: Timestamp) -> u32 {
        whole_secs(at.since(self.created))
    }
}

/// The forward that a rotation leaves under the old id: writes of requests in flight follow it,
/// loads do not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Forward {
    pub(crate) until: Timestamp,
    pub(crate) to: [u8; 16],
}

/// The target of a forward whose browser has signed in as another user. No session has this id.
pub(crate) const NOWHERE: [u8; 16] = [0; 16];

/// Whether the bytes are a forward.
pub(crate) fn is_forward(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0)
}

/// The envelope, which the rules of the store and the Redis scripts read and change in place.
pub(crate) mod envelope {
    pub(crate) use super::writing::*;
    use super::{Duration, Epoch, Extensions, FIXED, Forward, Persistence, Reader, Timestamp, u48};

    pub(crate) fn forward(bytes: &[u8]) -> Option<Forward> {
        match bytes {
            [0, rest @ ..] if rest.len() == 22 => Some(Forward {
                until: Timestamp::from_millis(u48(*rest.first_chunk()?)),
                to: *rest.last_chunk()?,
            }),
            _ => None,
        }
    }

    pub(crate) fn created(bytes: &[u8]) -> Timestamp {
        Timestamp::from_millis(u48(array(&bytes[1..])))
    }

    pub(crate) fn last_seen(bytes: &[u8]) -> Timestamp {
        created(bytes).plus(secs(&bytes[11..]))
    }

    /// The persistence that the sign-in chose, read without the rest.
    pub(crate) fn persistence(bytes: &[u8]) -> Persistence {
        let mut rest = Reader(bytes.get(FIXED..).unwrap_or_default());
        let tail = (0..3).all(|_| rest.bytes().is_ok());
        let found = tail.then(|| Extensions(rest.0).find(|(kind, _)| *kind == Persistence::KIND));
        found.flatten().and_then(|(_, bytes)| Persistence::decode(bytes)).unwrap_or_default()
    }

    pub(crate) fn deadline(bytes: &[u8], idle: Option<Duration>) -> Timestamp {
        let absolute = created(bytes).plus(secs(&bytes[7..]));
        let idle = persistence(bytes).idle_or(idle);
        idle.map_or(absolute, |idle| absolute.min(last_seen(bytes).plus(idle)))
    }

    pub(crate) fn epoch(bytes: &[u8]) -> Epoch {
        Epoch(u48(array(&bytes[15..])))
    }

    fn secs(bytes: &[u8]) -> Duration {
        Duration::from_secs(u64::from(u32::from_be_bytes(array(bytes))))
    }

    pub(super) fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
        *bytes.first_chunk().expect("an envelope has all its bytes, see is_record")
    }
}

mod writing {
    use super::envelope::{array, created};
    use super::{Duration, Epoch, Forward, Timestamp};

    const ENVELOPE: usize = 24;

    pub(crate) fn encode_forward(forward: &Forward) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(&forward.until.as_millis().to_be_bytes()[2..]);
        bytes.extend(forward.to);
        bytes
    }

    /// Whether the bytes are a record of any version.
    pub(crate) fn is_record(bytes: &[u8]) -> bool {
        bytes.len() >= ENVELOPE && bytes[0] != 0
    }

    pub(crate) fn set_epoch(bytes: &mut [u8], epoch: Epoch) {
        bytes[15..21].copy_from_slice(&epoch.0.to_be_bytes()[2..]);
    }

    /// Moves "last seen" forward to `now` if it is at least `after` ago.
    pub(crate) fn touch(bytes: &mut [u8], now: Timestamp, after: Duration) {
        let secs_now = super::whole_secs(now.since(created(bytes)));
        let secs_since = secs_now.saturating_sub(u32::from_be_bytes(array(&bytes[11..])));
        if secs_since > 0 && secs_since >= super::whole_secs(after) {
            bytes[11..15].copy_from_slice(&secs_now.to_be_bytes());
        }
    }

    /// The number of data fields, and their bytes.
    pub(crate) fn usage(bytes: &[u8]) -> (u8, u16) {
        (bytes[21], u16::from_be_bytes(array(&bytes[22..])))
    }

    pub(crate) fn set_usage(bytes: &mut [u8], (fields, size): (u8, u16)) {
        bytes[21] = fields;
        bytes[22..24].copy_from_slice(&size.to_be_bytes());
    }
}

/// The variable part of a record.
struct Tail<'a> {
    method: &'a str,
    client: &'a str,
    address: Option<IpAddr>,
    extensions: Extensions<'a>,
}

impl<'a> Tail<'a> {
    fn read(mut bytes: Reader<'a>) -> Result<Self, Undecodable> {
        Ok(Self {
            method: bytes.text()?,
            client: bytes.text()?,
            address: decode_address(bytes.bytes()?)?,
            extensions: Extensions(bytes.0),
        })
    }
}

/// Iterates over kind and bytes of each extension, and stops at a malformed one.
struct Extensions<'a>(&'a [u8]);

impl<'a> Iterator for Extensions<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [kind, len, rest @ ..] = self.0 else { return None };
        let (bytes, rest) = rest.split_at_checked(usize::from(*len))?;
        self.0 = rest;
        Some((*kind, bytes))
    }
}

impl Extensions<'_> {
    fn sort(self) -> (Persistence, Box<[u8]>) {
        let (mut persistence, mut unknown) = (Persistence::default(), Vec::new());
        for (kind, bytes) in self {
            match (kind, Persistence::decode(bytes)) {
                (Persistence::KIND, Some(known)) => persistence = known,
                _ => {
                    unknown.push(kind);
                    push(&mut unknown, bytes);
                }
            }
        }
        (persistence, unknown.into())
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Undecodable> {
        let (head, rest) = self.0.split_first_chunk().ok_or(Undecodable)?;
        self.0 = rest;
        Ok(*head)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Undecodable> {
        let [len] = self.take()?;
        let (head, rest) = self.0.split_at_checked(usize::from(len)).ok_or(Undecodable)?;
        self.0 = rest;
        Ok(head)
    }

    fn text(&mut self) -> Result<&'a str, Undecodable> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Undecodable)
    }
}

fn u48(bytes: [u8; 6]) -> u64 {
    bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

fn whole_secs(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

fn push(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes
        .push(u8::try_from(part.len()).expect("all parts of a record are shorter than the record"));
    bytes.extend(part);
}

fn shortened(text: &str, room: usize) -> &str {
    // `str::floor_char_boundary` needs a newer Rust than this crate supports.
    let end = (0..=room.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or_default()]
}

/// Keeps IPv4 whole. Of IPv6 the first 64 bits are kept: the network, at half the bytes.
fn encode_address(address: Option<IpAddr>) -> Vec<u8> {
    match address.map(|address| address.to_canonical()) {
        None => Vec::new(),
        Some(IpAddr::V4(v4)) => v4.octets().to_vec(),
        Some(IpAddr::V6(v6)) => v6.octets()[..8].to_vec(),
    }
}

fn decode_address(bytes: &[u8]) -> Result<Option<IpAddr>, Undecodable> {
    match bytes.len() {
        0 => Ok(None),
        4 => Ok(bytes.first_chunk::<4>().map(|v4| Ipv4Addr::from(*v4).into())),
        8 => {
            let mut octets = [0; 16];
            octets[..8].copy_from_slice(bytes);
            Ok(Some(Ipv6Addr::from(octets).into()))
        }
        _ => Err(Undecodable),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> Record {
        let created = Timestamp::from_millis(1_800_000_000_123);
        Record {
            created,
            lifetime: Duration::from_secs(72 * 3600),
            last_seen: created.plus(Duration::from_secs(300)),
            epoch: Epoch(1_799_999_999_000),
            data_fields: 2,
            data_bytes: 300,
            key: KeyId([1, 2, 3, 4]),
            authentication: Some(Authentication { at: created, method: "google".into() }),
            client: "Firefox|Windows".into(),
            address: Some(Ipv4Addr::new(203, 0, 113, 9).into()),
            persistence: Persistence::default(),
            unknown: [].into(),
        }
    }

    #[test]
    fn a_signed_in_record_fits_64_bytes_and_reads_back() {
        let bytes = record().encode();
        assert!(bytes.len() <= 64, "{}", bytes.len());
        assert_eq!(Record::decode(&bytes).unwrap(), record());
    }

    #[test]
    fn a_long_client_is_shortened_at_a_character_and_never_grows_the_record() {
        let long = Record {
            client: "Überlanger Browsername · Betriebssystem".into(),
            address: Some("2001:db8:1:2:3:4:5:6".parse().unwrap()),
            ..record()
        };
        let bytes = long.encode();
        assert_eq!(bytes.len(), 64);
        let read = Record::decode(&bytes).unwrap();
        assert!(long.client.starts_with(&*read.client));
        assert_eq!(read.address, Some("2001:db8:1:2::".parse().unwrap()));
    }

    #[test]
    fn a_newer_node_may_append_and_a_newer_version_is_left_alone() {
        let mut bytes = record().encode();
        bytes.extend(b"new");
        assert_eq!(Record::decode(&bytes).unwrap(), record());
        let mut extended = record().encode();
        extended.extend([9, 2, 7, 7]);
        let read = Record::decode(&extended).unwrap();
        assert_eq!(*read.unknown, [9, 2, 7, 7]);
        assert_eq!(read.encode(), extended, "a node that does not know it keeps it");
        bytes[0] = 2;
        assert_eq!(Record::decode(&bytes), Err(Undecodable));
    }

    #[test]
    fn the_persistence_of_a_sign_in_reads_back_and_counts() {
        let own = IdleTimeout::Own(Some(Duration::from_secs(90)));
        for idle in [IdleTimeout::Usual, IdleTimeout::Own(None), own] {
            for until_browser_closes in [false, true] {
                let persistence = Persistence { until_browser_closes, idle };
                let record = Record { persistence, client: "x".repeat(64).into(), ..record() };
                let bytes = record.encode();
                assert!(bytes.len() <= 64);
                assert_eq!(Record::decode(&bytes).unwrap().persistence, persistence);
                assert_eq!(envelope::persistence(&bytes), persistence);
                for idle in [None, Some(Duration::from_secs(1800))] {
                    assert_eq!(envelope::deadline(&bytes, idle), record.deadline(idle));
                }
            }
        }
        let minute = IdleTimeout::Own(Some(Duration::from_secs(60)));
        let own = Persistence { idle: minute, ..Persistence::default() };
        let record = Record { persistence: own, ..record() };
        assert_eq!(record.deadline(None), record.last_seen.plus(Duration::from_secs(60)));
        let none =
            Record { persistence: Persistence { idle: IdleTimeout::Own(None), ..own }, ..record };
        assert_eq!(none.deadline(Some(Duration::ZERO)), none.deadline(None));
    }

    #[test]
    fn every_truncation_is_undecodable() {
        let bytes = record().encode();
        for len in 0..bytes.len() {
            assert_eq!(Record::decode(&bytes[..len]), Err(Undecodable), "{len}");
            assert_eq!(Record::check(&bytes[..len]), Err(Undecodable), "{len}");
        }
    }

    #[test]
    fn the_earlier_of_the_two_deadlines_counts() {
        let record = record();
        assert_eq!(record.deadline(None), record.created.plus(Duration::from_secs(72 * 3600)));
        let idle = Some(Duration::from_secs(1800));
        assert_eq!(record.deadline(idle), record.created.plus(Duration::from_secs(2100)));
        assert_eq!(record.deadline(Some(Duration::from_secs(99 * 3600))), record.deadline(None));
    }

    proptest! {
        #[test]
        fn whatever_an_application_says_of_a_sign_in_fits_and_reads_back(
            method in ".{0,300}",
            client in ".{0,300}",
            v6 in any::<Option<u128>>(),
        ) {
            let authentication = Some(Authentication { at: record().created,
                method: method.clone().into() });
            let address = v6.map(|bits| Ipv6Addr::from_bits(bits).into());
            let record = Record { authentication, client: client.clone().into(), address,
                ..record() };
            let bytes = record.encode();
            prop_assert!(bytes.len() <= 64);
            let read = Record::decode(&bytes).unwrap();
            prop_assert!(method.starts_with(&*read.authentication.unwrap().method));
            prop_assert!(client.starts_with(&*read.client));
            prop_assert_eq!(read.address.is_some(), address.is_some());
        }

        #[test]
        fn a_damaged_record_is_decoded_to_one_that_fits_or_not_at_all(
            at in 0..60_usize,
            byte in any::<u8>(),
        ) {
            let mut bytes = record().encode();
            let at = at % bytes.len();
            bytes[at] = byte;
            prop_assert_eq!(Record::check(&bytes).is_ok(), Record::decode(&bytes).is_ok());
            if let Ok(read) = Record::decode(&bytes) {
                prop_assert!(read.encode().len() <= 64);
                prop_assert_eq!(Record::decode(&read.encode()).is_ok(), true);
            }
        }

        #[test]
        fn decoding_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..96)) {
            prop_assert_eq!(Record::check(&bytes).is_ok(), Record::decode(&bytes).is_ok());
            let _ = envelope::forward(&bytes);
        }
    }
}
