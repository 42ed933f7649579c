//! A live session as read from the store. Most are stored inline. A larger one is one allocation,
//! shared by the cache and the requests that use it.
//!
//! The layout: the lengths of record and user id (two bytes each), the record, the user id (empty:
//! signed out), the preloaded values. Each value follows its length in four bytes, which are all
//! ones when it is absent.

use std::sync::Arc;
use std::time::Duration;
use std::{fmt, iter};

use crate::clock::Timestamp;
use crate::record::{Epoch, MAX_BYTES, Persistence, Record, Undecodable, envelope};
use crate::token::UserId;

const HEAD: usize = 4;
const ABSENT: u32 = u32::MAX;

/// Room for the longest record and a user id of 36 bytes, a UUID as text. Most sessions are not in
/// the processor's caches. An inline one costs one cache miss, one behind a pointer costs two.
const IN_PLACE: usize = HEAD + MAX_BYTES + 36;

/// Immutable; a change makes a new one.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Snapshot(Bytes);

#[derive(Clone, PartialEq, Eq)]
enum Bytes {
    /// The bytes from `len` on are zero.
    InPlace {
        len: u8,
        bytes: [u8; IN_PLACE],
    },
    Shared(Arc<[u8]>),
}

impl Snapshot {
    /// Packs the store's answer, if the record can be read.
    pub(crate) fn read(
        user: Option<&UserId>,
        record: &[u8],
        values: &[Option<Vec<u8>>],
    ) -> Result<Self, Undecodable> {
        Record::check(record)?;
        let mut packed = Vec::with_capacity(values_len(values));
        for value in values {
            let len = value.as_ref().map_or(Ok(ABSENT), |value| u32::try_from(value.len()));
            packed.extend(len.map_err(|_| Undecodable)?.to_be_bytes());
            packed.extend(value.as_deref().unwrap_or_default());
        }
        Self::pack(record, user.map_or(&[], UserId::as_bytes), &packed)
    }

    /// A session created by this request, without values.
    pub(crate) fn of(user: Option<&UserId>, record: &Record) -> Self {
        Self::join(record, user.map_or(&[], UserId::as_bytes), &[])
    }

    /// The same session and values with another record.
    pub(crate) fn with_record(&self, record: &Record) -> Self {
        let (_, user, values) = self.parts();
        Self::join(record, user, values)
    }

    /// The same, last seen at `now`.
    pub(crate) fn seen(&self, now: Timestamp) -> Self {
        self.with_record(&Record { last_seen: now, ..self.record() })
    }

    fn join(record: &Record, user: &[u8], values: &[u8]) -> Self {
        Self::pack(&record.encode(), user, values)
            .expect("an encoded record and a user id are short")
    }

    fn pack(record: &[u8], user: &[u8], values: &[u8]) -> Result<Self, Undecodable> {
        let len =
            |part: &[u8]| u16::try_from(part.len()).map_err(|_| Undecodable).map(u16::to_be_bytes);
        Ok(Self(Bytes::of(&[&len(record)?, &len(user)?, record, user, values])))
    }

    /// Allocated bytes.
    pub(crate) fn allocated(&self) -> usize {
        match &self.0 {
            Bytes::InPlace { .. } => 0,
            Bytes::Shared(bytes) => bytes.len(),
        }
    }

    /// The user; `None` for a signed-out visitor.
    pub(crate) fn user(&self) -> Option<UserId> {
        let (_, user, _) = self.parts();
        UserId::new(user).ok()
    }

    pub(crate) fn is_signed_in(&self) -> bool {
        !self.parts().1.is_empty()
    }

    pub(crate) fn record(&self) -> Record {
        Record::decode(self.parts().0).expect("only a decodable record is packed")
    }

    pub(crate) fn deadline(&self, idle: Option<Duration>) -> Timestamp {
        envelope::deadline(self.parts().0, idle)
    }

    pub(crate) fn persistence(&self) -> Persistence {
        envelope::persistence(self.parts().0)
    }

    pub(crate) fn epoch(&self) -> Epoch {
        envelope::epoch(self.parts().0)
    }

    pub(crate) fn last_seen(&self) -> Timestamp {
        envelope::last_seen(self.parts().0)
    }

    /// The preloaded values, as far as they are known.
    pub(crate) fn values(&self) -> impl Iterator<Item = Option<&[u8]>> {
        let (_, _, mut rest) = self.parts();
        iter::from_fn(move || {
            let (len, tail) = rest.split_first_chunk()?;
            let len = u32::from_be_bytes(*len);
            let (value, tail) =
                tail.split_at_checked(if len == ABSENT { 0 } else { len as usize })?;
            rest = tail;
            Some((len != ABSENT).then_some(value))
        })
    }

    fn parts(&self) -> (&[u8], &[u8], &[u8]) {
        let bytes = self.0.as_slice();
        let len = |at: usize| usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
        let (record, rest) = bytes[HEAD..].split_at(len(0));
        let (user, values) = rest.split_at(len(2));
        (record, user, values)
    }
}

impl Bytes {
    /// Concatenates the parts.
    fn of(parts: &[&[u8]]) -> Self {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        match u8::try_from(len) {
            Ok(short) if len <= IN_PLACE => {
                let mut bytes = [0; IN_PLACE];
                fill(&mut bytes, parts);
                Self::InPlace { len: short, bytes }
            }
            _ => {
                let mut bytes: Arc<[u8]> = iter::repeat_n(0, len).collect();
                fill(Arc::get_mut(&mut bytes).expect("nobody else has it yet"), parts);
                Self::Shared(bytes)
            }
        }
    }

    fn as_slice(&self) -> &[u8] {
        match self {
            Self::InPlace { len, bytes } => &bytes[..usize::from(*len)],
            Self::Shared(bytes) => bytes,
        }
    }
}

fn fill(mut room: &mut [u8], parts: &[&[u8]]) {
    for part in parts {
        room.split_off_mut(..part.len()).expect("room for all parts").copy_from_slice(part);
    }
}

fn values_len(values: &[Option<Vec<u8>>]) -> usize {
    values.iter().map(|value| size_of_val(&ABSENT) + value.as_ref().map_or(0, Vec::len)).sum()
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({:?})", self.user())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::KeyId;

    fn record() -> Record {
        let created = Timestamp::from_millis(1_800_000_000_000);
        Record {
            created,
            lifetime: Duration::from_secs(72 * 3600),
            last_seen: created.plus(Duration::from_secs(300)),
            epoch: Epoch::new(7),
            data_fields: 1,
            data_bytes: 9,
            key: KeyId([1, 2, 3, 4]),
            authentication: None,
            client: "Firefox|Windows".into(),
            address: None,
            persistence: Persistence::default(),
            unknown: [].into(),
        }
    }

    #[test]
    fn what_is_packed_is_read_back() {
        let user = UserId::new("ann").unwrap();
        let values = [Some(b"one".to_vec()), None, Some(Vec::new())];
        let snapshot = Snapshot::read(Some(&user), &record().encode(), &values).unwrap();
        assert_eq!(snapshot.record(), record());
        assert_eq!(snapshot.epoch(), record().epoch);
        assert_eq!(snapshot.user(), Some(user));
        assert_eq!(snapshot.last_seen(), record().last_seen);
        assert_eq!(snapshot.values().collect::<Vec<_>>(), [Some(&b"one"[..]), None, Some(b"")]);
        let later = snapshot.seen(record().last_seen.plus(Duration::from_secs(9)));
        assert_eq!(later.values().next(), Some(Some(&b"one"[..])));
        let idle = Some(Duration::from_secs(60));
        assert_eq!(later.deadline(idle), snapshot.deadline(idle).plus(Duration::from_secs(9)));
    }

    #[test]
    fn values_are_read_back_wherever_they_lie() {
        for (len, in_place) in [(9, true), (99, false)] {
            let values = [Some(vec![7; len]), None];
            let snapshot = Snapshot::read(None, &record().encode(), &values).unwrap();
            assert_eq!(snapshot.allocated() == 0, in_place);
            assert_eq!(snapshot.values().collect::<Vec<_>>(), [Some(&vec![7; len][..]), None]);
        }
    }

    #[test]
    fn a_visitor_has_no_user_and_a_broken_record_is_none() {
        let visitor = Snapshot::of(None, &record());
        assert!(
            !visitor.is_signed_in()
                && visitor.user().is_none()
                && visitor.values().next().is_none()
        );
        assert!(Snapshot::read(None, &record().encode()[1..], &[]).is_err());
    }

    #[test]
    fn the_longest_record_lies_in_place_with_a_user_id_no_longer_than_a_uuid() {
        let longest = Record { client: "x".repeat(64).into(), ..record() };
        let of = |len| Snapshot::of(Some(&UserId::new(vec![1; len]).unwrap()), &longest);
        assert_eq!((of(36).allocated(), of(37).allocated()), (0, IN_PLACE + 1));
        for len in [36, 37] {
            assert_eq!(of(len).user(), UserId::new(vec![1; len]).ok());
            assert_eq!(
                (of(len).record().encode(), of(len).values().next()),
                (longest.encode(), None)
            );
        }
    }
}
