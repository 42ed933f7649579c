//! The keys of the near-cache: a session is found by its cookie, all sessions of a user by their
//! tag.

use std::hash::{BuildHasherDefault, Hash, Hasher};

use quick_cache::Equivalent;
use sha2::{Digest, Sha256};

use crate::token::{COOKIE_CHARS, Tag, tag_chars};

/// The key of one session. Sessions of one tag share a hash, so that a tag's sessions are found
/// without digests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct CacheKey {
    bucket: TagBucket,
    digest: CookieDigest,
}

/// Six bytes of a tag, see [`Tag::chars_in_cookies`]. Two tags with the same six bytes are dropped
/// together. That costs a miss and is too unlikely to happen by chance.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TagBucket(u64);

/// Recognises a cookie value that was opened before: its SHA-256, cut to 128 bits. Nobody can make
/// a second value with the digest of a genuine one, so a known digest needs no second check of the
/// MAC.
#[derive(Clone, Copy, PartialEq, Eq)]
struct CookieDigest([u8; 16]);

impl CacheKey {
    /// `None` when the value cannot be a cookie of this crate.
    pub(crate) fn of(cookie: &[u8]) -> Option<Self> {
        let cookie: &[u8; COOKIE_CHARS] = cookie.try_into().ok()?;
        Some(Self { bucket: TagBucket::of_cookie(cookie), digest: CookieDigest::of(cookie) })
    }
}

impl TagBucket {
    fn of_cookie(cookie: &[u8; COOKIE_CHARS]) -> Self {
        Self(u64::from_ne_bytes(tag_chars(cookie)))
    }

    pub(super) fn of_tag(tag: &Tag) -> Self {
        Self(u64::from_ne_bytes(tag.chars_in_cookies()))
    }
}

impl CookieDigest {
    fn of(cookie: &[u8; COOKIE_CHARS]) -> Self {
        Self(*Sha256::digest(cookie).first_chunk().expect("SHA-256 has 32 bytes"))
    }
}

impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bucket.hash(state);
    }
}

impl Equivalent<CacheKey> for TagBucket {
    fn equivalent(&self, key: &CacheKey) -> bool {
        *self == key.bucket
    }
}

pub(super) type BucketHashing = BuildHasherDefault<BucketHasher>;

/// Tags are uniformly distributed, but as characters they leave bits unused, which this hasher
/// spreads.
#[derive(Default)]
pub(super) struct BucketHasher(u64);

impl Hasher for BucketHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.as_chunks().0 {
            let mixed = (self.0 ^ u64::from_ne_bytes(*chunk)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            self.0 = mixed ^ (mixed >> 32);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    use super::*;
    use crate::keyring::KeyRing;
    use crate::token::NewToken;

    fn cookie_of(tag: Tag) -> String {
        NewToken::mint(&KeyRing::new(&[7; 32]).unwrap(), tag).cookie.0.into()
    }

    #[test]
    fn cookies_of_a_tag_are_in_its_bucket_and_told_apart() {
        let tag = Tag::random();
        let [one, other, foreign] =
            [tag, tag, Tag::random()].map(|tag| CacheKey::of(cookie_of(tag).as_bytes()).unwrap());
        let bucket = TagBucket::of_tag(&tag);
        assert!(
            bucket.equivalent(&one) && bucket.equivalent(&other) && !bucket.equivalent(&foreign)
        );
        assert!(one != other);
        let hashing = BucketHashing::default();
        assert_eq!([one, other].map(|key| hashing.hash_one(key)), [hashing.hash_one(bucket); 2]);
    }

    #[test]
    fn no_changed_cookie_finds_the_same_session() {
        let cookie = cookie_of(Tag::random());
        let key = CacheKey::of(cookie.as_bytes()).unwrap();
        for at in 0..cookie.len() {
            let mut changed = cookie.clone().into_bytes();
            changed[at] ^= 1;
            assert!(CacheKey::of(&changed).unwrap() != key, "{at}");
        }
        assert!(CacheKey::of(&cookie.as_bytes()[1..]).is_none());
    }

    #[test]
    fn hashes_of_buckets_differ_at_both_ends() {
        let hashes: Vec<_> = (0..1000)
            .map(|_| BucketHashing::default().hash_one(TagBucket::of_tag(&Tag::random())))
            .collect();
        for bits in [|hash: &u64| hash % 1024, |hash: &u64| hash >> 54] {
            let different = hashes.iter().map(bits).collect::<HashSet<_>>().len();
            assert!(different > 500, "{different} of 1024 for 1000 buckets, 638 were expected");
        }
    }
}
