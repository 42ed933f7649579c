//! The locks of the near-cache, with threads that may be interrupted at each of them.

use std::sync::Arc;
use std::time::Duration;

use shuttle::future::block_on;
use shuttle::thread;

use super::{Seen, in_many_orders};
use crate::cache::{CacheKey, Fetch, SessionCache};
use crate::clock::Timestamp;
use crate::invalidations::Invalidations;
use crate::keyring::{KeyId, KeyRing};
use crate::record::{Epoch, Record};
use crate::snapshot::Snapshot;
use crate::sync::atomic::{AtomicU64, Ordering::SeqCst};
use crate::token::{NewToken, SessionId, Tag};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// A session whose current state is a number, and a near-cache of it.
struct Scene {
    cache: Arc<SessionCache>,
    changes: Invalidations,
    key: CacheKey,
    id: SessionId,
    current: AtomicU64,
}

impl Scene {
    fn new() -> Arc<Self> {
        let changes = Invalidations::with_heartbeat();
        changes.heartbeat().answered();
        let minted = NewToken::mint(&KeyRing::new(&[7; 32]).unwrap(), Tag([1; 15]));
        Arc::new(Self {
            cache: SessionCache::new(10, Duration::from_secs(60), changes.clone()),
            changes,
            key: CacheKey::of(minted.cookie.0.as_bytes()).unwrap(),
            id: minted.id,
            current: AtomicU64::new(0),
        })
    }

    /// Opens the session as a request does: from the cache, or else from the store.
    fn open(&self) -> u64 {
        if let Some((_, snapshot)) = self.cache.get(&self.key, NOW) {
            return snapshot.epoch().get();
        }
        let read = async { Ok(Ok(snapshot(self.current.load(SeqCst)))) };
        let outcome = match self.cache.miss(self.key, self.id, Fetch::Shared) {
            Some(miss) => block_on(miss.outcome(NOW, None, read)),
            None => block_on(read),
        };
        outcome.unwrap().unwrap().epoch().get()
    }
}

fn snapshot(epoch: u64) -> Snapshot {
    let bare = Record::bare(NOW, Duration::from_secs(30), KeyId([0; 4]));
    Snapshot::of(None, &Record { epoch: Epoch::new(epoch), ..bare })
}

/// While two threads open the session, a third changes and announces it. From then on no thread may
/// get the former state.
fn nobody_is_given_what_was_before(announce: fn(&Scene)) {
    let (hits, discarded) = (Seen::default(), Seen::default());
    let seen = (hits.clone(), discarded.clone());
    in_many_orders(move || {
        let scene = Scene::new();
        let announced = Arc::new(AtomicU64::new(0));
        let openers: Vec<_> = (0..2)
            .map(|_| {
                let (scene, announced) = (scene.clone(), announced.clone());
                thread::spawn(move || {
                    for _ in 0..3 {
                        let at_least = announced.load(SeqCst);
                        assert!(scene.open() >= at_least, "a copy of before");
                    }
                })
            })
            .collect();
        for now in 1..=2 {
            scene.current.store(now, SeqCst);
            announce(&scene);
            announced.store(now, SeqCst);
        }
        for opener in openers {
            opener.join().unwrap();
        }
        assert_eq!(scene.open(), 2);
        let stats = scene.cache.stats();
        seen.0.count(stats.hits);
        seen.1.count(stats.discarded_fills);
    });
    assert!(hits.is_some() && discarded.is_some(), "nothing was kept, or nothing was late");
}

#[test]
fn nobody_is_given_what_was_before_a_change() {
    nobody_is_given_what_was_before(|scene| scene.changes.changed(&scene.id.tag));
}

#[test]
fn nobody_is_given_what_was_before_a_loss() {
    nobody_is_given_what_was_before(|scene| {
        // A heartbeat begun before the loss is answered only after it.
        let before = scene.changes.heartbeat();
        scene.changes.lost();
        before.answered();
        assert!(!scene.changes.is_complete());
        scene.changes.heartbeat().answered();
    });
}

#[test]
fn an_answer_from_before_a_loss_makes_nothing_complete_in_any_order() {
    in_many_orders(|| {
        let scene = Scene::new();
        scene.changes.lost();
        let losing = scene.clone();
        let heartbeat = scene.changes.heartbeat();
        let loss = thread::spawn(move || losing.changes.lost());
        heartbeat.answered();
        loss.join().unwrap();
        assert!(!scene.changes.is_complete());
        assert!(scene.cache.get(&scene.key, NOW).is_none());
    });
}
