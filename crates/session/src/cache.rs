//! The near-cache: keeps live sessions in memory, so that a hot request does not read the store.
//!
//! 1. A hit needs a complete feed (see [`Invalidations`]), an entry younger than the maximum age,
//!    and a deadline in the future.
//! 2. Entries are kept by tag (see [`CacheKey`]). A change under a tag removes all entries of the
//!    tag, so every entry is current and a hit compares no version.
//! 3. Each tag hashes to a version. A change raises the version, and holds its lock until the
//!    entries are removed. An answer is inserted under the same lock, and only if the version still
//!    equals that of the [`Ticket`], which was taken before the read. Two tags may share a version,
//!    which costs a discarded answer now and then.
//! 4. A ticket is taken only while the feed is complete. A write of this process invalidates its
//!    tag when it is done or cancelled; most writes also do so before they are sent.
//! 5. Only live sessions are kept. An absent, expired or unavailable session is read again by the
//!    next request.
//! 6. A session is found by the digest of its cookie, so a known cookie needs no verification.

use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use self::key::{BucketHashing, TagBucket};
use self::single_flight::{Joined, SingleFlight, Ticket};
use crate::clock::Timestamp;
use crate::invalidations::{Invalidations, Listener};
use crate::snapshot::Snapshot;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::token::{SessionId, Tag};

pub(crate) mod invalidating_store;
mod key;
mod single_flight;

pub(crate) use key::CacheKey;
pub(crate) use single_flight::Outcome;

/// Counters of the near-cache since the start.
///
/// ```
/// use tracera_session::Sessions;
///
/// fn metrics(sessions: &Sessions) -> String {
///     let stats = sessions.cache_stats();
///     format!("sessions_cache_hits {}\nsessions_cache_misses {}\n", stats.hits, stats.misses)
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CacheStats {
    /// Requests answered without asking the store.
    pub hits: u64,
    /// Requests with a genuine cookie that had to ask the store, or to wait for one that asked.
    pub misses: u64,
    /// Invalidations received from the store, those of this process's own writes included.
    pub invalidations: u64,
    /// How often everything was dropped because changes may have been missed.
    pub flushes: u64,
    /// Answers that were not kept, because their session changed while they were read.
    pub discarded_fills: u64,
    /// Sessions in memory now.
    pub entries: u64,
}

#[derive(Clone)]
struct Entry {
    id: SessionId,
    snapshot: Snapshot,
    /// The time the entry expires: the session's deadline or the maximum age, whichever is earlier.
    until: Timestamp,
}

/// A cache miss, with the request's part in the single flight that reads the store.
pub(crate) struct Miss<'a> {
    cache: &'a SessionCache,
    key: CacheKey,
    id: SessionId,
    ticket: Ticket,
    /// `None` for a request that reads by itself.
    joined: Option<Joined<'a>>,
}

/// Whether a request shares its read with others that want the same session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fetch {
    /// One read for all.
    Shared,
    /// A read of its own, for an answer that nobody awaits yet. A shared read must be polled until
    /// it is answered.
    Own,
}

/// Size of an entry's capacity unit in bytes. A session without preloaded data takes one unit; one
/// with data takes as many as its data fills, rounded up.
const UNIT: usize = 256;

/// Many more than concurrent reads, so that two tags rarely share a version. Under shuttle every
/// lock adds orders, and two versions are enough.
const VERSIONS: usize = if cfg!(shuttle) { 2 } else { 1024 };

type Lifecycle = DefaultLifecycle<CacheKey, Entry>;

pub(crate) struct SessionCache {
    changes: Invalidations,
    entries: Cache<CacheKey, Entry, BySize, BucketHashing, Lifecycle>,
    single_flight: SingleFlight,
    versions: [Mutex<u32>; VERSIONS],
    flushes: AtomicU32,
    max_age: Duration,
    counters: Counters,
}

/// Counters have cache lines of their own: all cores write them while they read the neighbouring
/// fields.
#[derive(Default)]
#[repr(align(128))]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    invalidations: AtomicU64,
    discarded_fills: AtomicU64,
}

impl SessionCache {
    /// An empty cache that drops what `changes` invalidates.
    pub(crate) fn new(capacity: usize, max_age: Duration, changes: Invalidations) -> Arc<Self> {
        let capacity = capacity.max(1);
        let entries = Cache::with(
            capacity,
            capacity as u64,
            BySize,
            BucketHashing::default(),
            Lifecycle::default(),
        );
        let cache = Arc::new(Self {
            changes,
            entries,
            single_flight: SingleFlight::default(),
            versions: [const { Mutex::new(0) }; VERSIONS],
            flushes: AtomicU32::new(0),
            max_age,
            counters: Counters::default(),
        });
        let listener: Weak<Self> = Arc::downgrade(&cache);
        cache.changes.listen(listener);
        cache
    }

    /// The session of that cookie, if it is known and certainly current.
    pub(crate) fn get(&self, key: &CacheKey, now: Timestamp) -> Option<(SessionId, Snapshot)> {
        let hit = self.find(key, now)?;
        self.counters.hits.fetch_add(1, Ordering::Relaxed);
        Some((hit.id, hit.snapshot))
    }

    fn find(&self, key: &CacheKey, now: Timestamp) -> Option<Entry> {
        // Before the look-up: an invalidation that has arrived by now has removed its entries.
        if !self.changes.is_complete() {
            return None;
        }
        // An entry expires later than this only if the clock was set back.
        let latest = now.plus(self.max_age);
        self.entries.get(key).filter(|entry| now < entry.until && entry.until <= latest)
    }

    /// Joins or begins a read of a session that is not cached. Call it before the store is asked.
    /// `None` when the answer must not be kept.
    pub(crate) fn miss(&self, key: CacheKey, id: SessionId, fetch: Fetch) -> Option<Miss<'_>> {
        self.counters.misses.fetch_add(1, Ordering::Relaxed);
        let ticket = self.ticket(&id.tag);
        self.changes.is_complete().then(|| {
            let joined =
                (fetch == Fetch::Shared).then(|| self.single_flight.join(id.field, ticket));
            Miss { cache: self, key, id, ticket, joined }
        })
    }

    /// Removes all entries of the tag, and makes sure that no answer under way is kept.
    pub(crate) fn invalidate(&self, tag: &Tag) {
        let mut version = self.version(tag);
        *version = version.wrapping_add(1);
        let all = TagBucket::of_tag(tag);
        while self.entries.remove(&all).is_some() {}
    }

    pub(crate) fn stats(&self) -> CacheStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheStats {
            hits: read(&self.counters.hits),
            misses: read(&self.counters.misses),
            invalidations: read(&self.counters.invalidations),
            flushes: u64::from(self.flushes.load(Ordering::Relaxed)),
            discarded_fills: read(&self.counters.discarded_fills),
            entries: self.entries.len() as u64,
        }
    }

    /// How long ago the feed of changes was last known to be complete.
    pub(crate) fn staleness(&self) -> Duration {
        self.changes.staleness()
    }

    fn ticket(&self, tag: &Tag) -> Ticket {
        self.ticket_at(*self.version(tag))
    }

    fn ticket_at(&self, version: u32) -> Ticket {
        Ticket { version, flushes: self.flushes.load(Ordering::Acquire) }
    }

    fn version(&self, tag: &Tag) -> MutexGuard<'_, u32> {
        let [.., a, b] = tag.0;
        lock(&self.versions[usize::from(u16::from_be_bytes([a, b])) % VERSIONS])
    }
}

fn lock(version: &Mutex<u32>) -> MutexGuard<'_, u32> {
    version.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Miss<'_> {
    /// The store's answer, read by `ask` unless a read is under way. It is kept if nothing under
    /// the tag changed meanwhile.
    pub(crate) async fn outcome(
        &self,
        now: Timestamp,
        idle: Option<Duration>,
        ask: impl Future<Output = Outcome>,
    ) -> Outcome {
        let ask = async {
            // A former flight may have filled the cache after this request's look-up.
            if let Some(landed) = self.cache.find(&self.key, now) {
                return Ok(Ok(landed.snapshot));
            }
            let outcome = ask.await;
            if let Ok(Ok(snapshot)) = &outcome {
                self.keep(snapshot.clone(), now, idle);
            }
            outcome
        };
        match &self.joined {
            Some(joined) => joined.outcome(ask).await,
            None => ask.await,
        }
    }

    fn keep(&self, snapshot: Snapshot, read_at: Timestamp, idle: Option<Duration>) {
        let Self { cache, key, id, ticket, .. } = self;
        let until = snapshot.deadline(idle).min(read_at.plus(cache.max_age));
        let version = cache.version(&id.tag);
        if *ticket == cache.ticket_at(*version) {
            cache.entries.insert(*key, Entry { id: *id, snapshot, until });
        } else {
            cache.counters.discarded_fills.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Listener for SessionCache {
    fn changed(&self, tag: &Tag) {
        self.invalidate(tag);
        self.counters.invalidations.fetch_add(1, Ordering::Relaxed);
    }

    fn lost(&self) {
        self.flushes.fetch_add(1, Ordering::AcqRel);
        // An insert that has checked its version holds the lock; wait until it is done.
        self.versions.iter().for_each(|version| drop(lock(version)));
        self.entries.clear();
    }
}

#[derive(Clone)]
struct BySize;

impl Weighter<CacheKey, Entry> for BySize {
    fn weight(&self, _: &CacheKey, entry: &Entry) -> u64 {
        entry.snapshot.allocated().div_ceil(UNIT).max(1) as u64
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::pin::Pin;
    use std::sync::atomic::AtomicBool;
    use std::task::{Context, Waker};
    use std::thread;

    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use crate::ended::Ended;
    use crate::keyring::KeyId;
    use crate::record::{Epoch, Record};
    use crate::token::UserId;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn cache(changes: &Invalidations) -> Arc<SessionCache> {
        SessionCache::new(1000, Duration::from_secs(60), changes.clone())
    }

    fn id(tag: u8, field: u8) -> SessionId {
        SessionId { tag: Tag([tag; 15]), field: [field; 16] }
    }

    fn snapshot() -> Snapshot {
        Snapshot::of(None, &Record::bare(NOW, Duration::from_secs(30), KeyId([0; 4])))
    }

    /// The key of a cookie whose secret is the field.
    fn key(id: SessionId) -> CacheKey {
        let token = [&[0; 4], &id.tag.0[..], &id.field, &[0; 48]].concat();
        CacheKey::of(URL_SAFE_NO_PAD.encode(token).as_bytes()).unwrap()
    }

    async fn fill(cache: &SessionCache, id: SessionId) {
        miss(cache, id).outcome(NOW, None, async { Ok(Ok(snapshot())) }).await.unwrap().unwrap();
    }

    fn miss(cache: &SessionCache, id: SessionId) -> Miss<'_> {
        cache.miss(key(id), id, Fetch::Shared).unwrap()
    }

    fn knows(cache: &SessionCache, id: SessionId) -> bool {
        cache.get(&key(id), NOW).is_some_and(|(found, _)| found == id)
    }

    #[tokio::test]
    async fn a_change_drops_all_sessions_of_its_tag_and_no_others() {
        let changes = Invalidations::complete();
        let cache = cache(&changes);
        for id in [id(1, 1), id(1, 2), id(2, 3)] {
            fill(&cache, id).await;
            assert!(knows(&cache, id));
        }
        changes.changed(&Tag([1; 15]));
        assert!(!knows(&cache, id(1, 1)) && !knows(&cache, id(1, 2)) && knows(&cache, id(2, 3)));
        assert_eq!(cache.stats().entries, 1, "what is worthless takes no room");
    }

    #[test]
    fn no_answer_is_filed_behind_a_change() {
        let cache = cache(&Invalidations::complete());
        let (id, epoch, done) = (id(1, 1), AtomicU64::new(0), AtomicBool::new(false));
        let fill_all_the_time = || {
            while !done.load(Ordering::Relaxed) {
                let miss = miss(&cache, id);
                let record = Record {
                    epoch: Epoch::new(epoch.load(Ordering::SeqCst)),
                    ..snapshot().record()
                };
                miss.keep(Snapshot::of(None, &record), NOW, None);
            }
        };
        thread::scope(|scope| {
            scope.spawn(fill_all_the_time);
            scope.spawn(fill_all_the_time);
            let met = || cache.stats().hits > 0 && cache.stats().discarded_fills > 0;
            let stale = (1..).take_while(|now| *now <= 20_000 || !met()).find_map(|now| {
                epoch.store(now, Ordering::SeqCst);
                cache.invalidate(&id.tag);
                let known = || cache.get(&key(id), NOW).map(|(_, snapshot)| snapshot.epoch().get());
                (0..4).find_map(|_| known().filter(|known| *known != now)).map(|known| (known, now))
            });
            done.store(true, Ordering::Relaxed);
            assert_eq!(stale, None, "known, and what it should be");
        });
    }

    #[test]
    fn a_loss_waits_for_what_is_being_filed() {
        let cache = cache(&Invalidations::complete());
        let id = id(1, 1);
        thread::scope(|scope| {
            let filing = cache.version(&id.tag);
            let losing = scope.spawn(|| cache.lost());
            while cache.stats().flushes == 0 {
                thread::yield_now();
            }
            for _ in 0..1_000 {
                thread::yield_now();
                assert!(!losing.is_finished(), "it waits for the lock");
            }
            let until = NOW.plus(Duration::from_secs(1));
            cache.entries.insert(key(id), Entry { id, snapshot: snapshot(), until });
            drop(filing);
            losing.join().unwrap();
            assert!(!knows(&cache, id));
        });
    }

    #[tokio::test]
    async fn an_answer_overtaken_by_a_change_or_a_loss_is_thrown_away() {
        let changes = Invalidations::complete();
        let cache = cache(&changes);
        for overtake in
            [|changes: &Invalidations| changes.changed(&Tag([1; 15])), Invalidations::lost]
        {
            let ask = async {
                overtake(&changes);
                Ok(Ok(snapshot()))
            };
            miss(&cache, id(1, 1)).outcome(NOW, None, ask).await.unwrap().unwrap();
            assert!(!knows(&cache, id(1, 1)));
        }
        assert_eq!(cache.stats().discarded_fills, 2);
    }

    #[tokio::test]
    async fn a_request_that_looked_before_an_answer_landed_does_not_ask_again() {
        let cache = cache(&Invalidations::complete());
        assert!(!knows(&cache, id(1, 1)));
        fill(&cache, id(1, 1)).await;
        let ask = async { unreachable!("asked twice") };
        miss(&cache, id(1, 1)).outcome(NOW, None, ask).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn what_a_flight_brought_is_only_for_those_who_were_on_it() {
        let cache = cache(&Invalidations::complete());
        let [first, _unpolled] = [(); 2].map(|()| miss(&cache, id(1, 1)));
        let absent = first.outcome(NOW, None, async { Ok(Err(Ended::Absent)) }).await.unwrap();
        assert_eq!(absent.err(), Some(Ended::Absent));
        let late = miss(&cache, id(1, 1)).outcome(NOW, None, async { Ok(Ok(snapshot())) }).await;
        assert!(late.unwrap().is_ok(), "an outcome of before");
    }

    #[tokio::test]
    async fn who_asks_alone_waits_for_nobody_and_keeps_nobody_waiting() {
        let cache = cache(&Invalidations::complete());
        let alone = || cache.miss(key(id(1, 1)), id(1, 1), Fetch::Own).unwrap();
        let (first, together, second) = (alone(), miss(&cache, id(1, 1)), alone());
        let _left_unpolled = begun(first.outcome(NOW, None, std::future::pending()));
        let is_asked = Cell::new(false);
        let _waiting = begun(together.outcome(NOW, None, async {
            is_asked.set(true);
            std::future::pending().await
        }));
        assert!(is_asked.get());
        second.outcome(NOW, None, async { Ok(Ok(snapshot())) }).await.unwrap().unwrap();
        assert!(knows(&cache, id(1, 1)), "the answer is kept");
    }

    fn begun<F: Future>(future: F) -> Pin<Box<F>> {
        let mut future = Box::pin(future);
        assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        future
    }

    #[tokio::test]
    async fn nothing_outlives_its_deadlines_or_the_maximum_age() {
        let secs = Duration::from_secs;
        let known_seconds = async |max_age, idle| {
            let cache = SessionCache::new(10, max_age, Invalidations::complete());
            let miss = miss(&cache, id(1, 1));
            miss.outcome(NOW, idle, async { Ok(Ok(snapshot())) }).await.unwrap().unwrap();
            let known = |at: Timestamp| cache.get(&key(id(1, 1)), at).is_some();
            assert!(!known(Timestamp::from_millis(0)), "the clock was set back");
            let known: Vec<_> = (0..100).map(|after| known(NOW.plus(secs(after)))).collect();
            assert!(known.is_sorted_by(|before, after| before >= after), "{known:?}");
            known.iter().filter(|known| **known).count()
        };
        assert_eq!(known_seconds(secs(20), None).await, 20, "the maximum age");
        assert_eq!(known_seconds(secs(20), Some(secs(5))).await, 5, "the idle timeout");
        assert_eq!(known_seconds(secs(3600), None).await, 30, "the lifetime");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_used_or_kept_while_changes_may_be_missed() {
        let changes = Invalidations::with_heartbeat();
        let cache = cache(&changes);
        let misses = || cache.miss(key(id(1, 1)), id(1, 1), Fetch::Shared);
        assert!(misses().is_none());
        changes.heartbeat().answered();
        fill(&cache, id(1, 1)).await;
        tokio::time::advance(crate::MAX_STALENESS).await;
        assert!(!knows(&cache, id(1, 1)) && misses().is_none());
        changes.heartbeat().answered();
        assert!(knows(&cache, id(1, 1)), "the connection was slow but told everything");
        changes.lost();
        changes.heartbeat().answered();
        assert!(!knows(&cache, id(1, 1)));
    }

    #[tokio::test]
    async fn the_cache_stays_within_its_capacity() {
        let cache = SessionCache::new(100, Duration::from_secs(60), Invalidations::complete());
        for n in 0..=u16::MAX {
            let mut id = id(0, 0);
            id.field[..2].copy_from_slice(&n.to_be_bytes());
            fill(&cache, id).await;
        }
        let entries = cache.stats().entries;
        assert!((1..=100).contains(&entries), "{entries}");
    }

    #[tokio::test]
    async fn a_session_with_much_preloaded_takes_the_room_of_several() {
        let fill_with = async |snapshot: Snapshot| {
            let cache = SessionCache::new(100, Duration::from_secs(60), Invalidations::complete());
            for n in 0..200 {
                let ask = async { Ok(Ok(snapshot.clone())) };
                miss(&cache, id(n, n)).outcome(NOW, None, ask).await.unwrap().unwrap();
            }
            cache.stats().entries
        };
        let longest = Record { client: "x".repeat(64).into(), ..snapshot().record() }.encode();
        let user = UserId::new([1; 64]).unwrap();
        let with = |values: &[_]| Snapshot::read(Some(&user), &longest, values).unwrap();
        let small = fill_with(snapshot()).await;
        assert_eq!(fill_with(with(&[])).await, small, "without data every session counts once");
        let large = fill_with(with(&[Some(vec![0; 4096])])).await;
        assert!((1..=100 / 17).contains(&large), "{large}");
    }
}
