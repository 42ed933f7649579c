//! A change overtakes an answer on its way into the cache.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Barrier, Mutex, Notify};
use tracera_session::store::{
    At, Committed, Created, FieldName, FieldOp, Found, Invalidations, ListedSession, NewSession,
    Rotated, Rotation, SessionId, StoreFuture, StoredField, StoredSession, Tag,
};
use tracera_session::{Budget, Epoch, NearCache, RedisStore, SessionError, SessionStore};
use tracera_testkit::RedisServer;

use crate::support::Node;

const RACES: usize = 20_000;
const AT_ONCE: usize = 16;

/// A store that holds back answers to `load_watched` and `destroy` between Redis and the cache.
struct Held {
    store: RedisStore,
    gates: Arc<Gates>,
    /// Replaces the store's feed of invalidations.
    changes: Option<Invalidations>,
}

/// The tag whose next answer is held, a barrier for its arrival and a notification for its release.
type Gate = (Tag, Arc<Barrier>, Arc<Notify>);

#[derive(Default)]
struct Gates {
    /// The tags whose next answer is held.
    held: Mutex<Vec<Gate>>,
}

impl Gates {
    /// Holds the answer back if there is a gate for its tag.
    async fn pass(&self, tag: &Tag) {
        let mut held = self.held.lock().await;
        let gate = held.iter().position(|(next, ..)| next == tag).map(|at| held.swap_remove(at));
        drop(held);
        if let Some((_, arrived, release)) = gate {
            arrived.wait().await;
            release.notified().await;
        }
    }
}

impl SessionStore for Held {
    fn load_watched<'a>(
        &'a self,
        id: &'a SessionId,
        names: &'a [FieldName],
    ) -> StoreFuture<'a, Option<StoredSession>> {
        Box::pin(async move {
            let answer = self.store.load_watched(id, names).await;
            self.gates.pass(&id.tag).await;
            answer
        })
    }

    fn load<'a>(
        &'a self,
        id: &'a SessionId,
        names: &'a [FieldName],
    ) -> StoreFuture<'a, Option<StoredSession>> {
        self.store.load(id, names)
    }

    fn invalidations(&self) -> Option<Invalidations> {
        self.changes.clone().or_else(|| self.store.invalidations())
    }

    fn epoch<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, Epoch> {
        self.store.epoch(tag)
    }

    fn create<'a>(&'a self, new: &'a NewSession<'a>, at: At) -> StoreFuture<'a, Created> {
        self.store.create(new, at)
    }

    fn commit<'a>(
        &'a self,
        id: &'a SessionId,
        changes: &'a [(FieldName, FieldOp)],
        touch: Option<Duration>,
        budget: Budget,
        at: At,
    ) -> StoreFuture<'a, Committed> {
        self.store.commit(id, changes, touch, budget, at)
    }

    fn rotate<'a>(
        &'a self,
        id: &'a SessionId,
        rotation: &'a Rotation,
        at: At,
    ) -> StoreFuture<'a, Rotated> {
        self.store.rotate(id, rotation, at)
    }

    fn destroy<'a>(&'a self, id: &'a SessionId, at: At) -> StoreFuture<'a, Found> {
        Box::pin(async move {
            let answer = self.store.destroy(id, at).await;
            self.gates.pass(&id.tag).await;
            answer
        })
    }

    fn abandon<'a>(&'a self, id: &'a SessionId, at: At) -> StoreFuture<'a, Found> {
        self.store.abandon(id, at)
    }

    fn list<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, (Epoch, Vec<ListedSession>)> {
        self.store.list(tag)
    }

    fn fields<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, Vec<StoredField>> {
        self.store.fields(tag)
    }

    fn revoke_all<'a>(
        &'a self,
        tag: &'a Tag,
        keep: Option<&'a [u8; 16]>,
        remember: Duration,
        at: At,
    ) -> StoreFuture<'a, Found> {
        self.store.revoke_all(tag, keep, remember, at)
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        self.store.ping()
    }
}

/// Half of the answers are released after the session was ended elsewhere, half at the same moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_race_leaves_an_ended_session_in_the_cache() {
    let redis = RedisServer::start().await;
    let gates = Arc::new(Gates::default());
    let store = RedisStore::connect(&redis.url()).await.unwrap();
    let store = Held { store, gates: gates.clone(), changes: None };
    let (here, there) =
        (Node::over(store, NearCache::default()), Node::connect(&redis.url()).await);
    here.warm(&there.sign_in("first").await).await;

    let mut races = tokio::task::JoinSet::new();
    for lane in 0..AT_ONCE {
        let (here, there, gates) = (here.clone(), there.clone(), gates.clone());
        races.spawn(async move {
            for round in 0..RACES / AT_ONCE {
                let name = format!("user-{lane}-{round}");
                let browser = there.sign_in(&name).await;
                let tag = Tag::of_user(&crate::support::user(&name));
                let (arrived, release) = (Arc::new(Barrier::new(2)), Arc::new(Notify::new()));
                gates.held.lock().await.push((tag, arrived.clone(), release.clone()));
                let filling = tokio::spawn({
                    let (here, browser) = (here.clone(), browser.clone());
                    async move { here.accepts(&browser).await }
                });
                arrived.wait().await;
                let ending = there.post("/sign_out", &browser);
                if round % 2 == 0 {
                    ending.await;
                    release.notify_one();
                } else {
                    release.notify_one();
                    ending.await;
                }
                assert!(filling.await.unwrap(), "the answer was from before the end");
                here.refuses_after(&browser).await;
            }
        });
    }
    races.join_all().await;
    let stats = here.sessions.cache_stats();
    println!("{RACES} races: {stats:?}");
    assert!(stats.discarded_fills >= RACES as u64 / 4, "the races were not provoked: {stats:?}");
}

/// Redis has executed the sign-out, but its reply is late and no invalidation arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_an_end_is_under_way_its_session_is_not_answered_from_memory() {
    let redis = RedisServer::start().await;
    let gates = Arc::new(Gates::default());
    let store = RedisStore::connect(&redis.url()).await.unwrap();
    let deaf = Held { store, gates: gates.clone(), changes: Some(Invalidations::complete()) };
    let node = Node::over(deaf, NearCache::default());
    let browser = node.sign_in("ann").await;
    node.warm(&browser).await;
    let (arrived, release) = (Arc::new(Barrier::new(2)), Arc::new(Notify::new()));
    let tag = Tag::of_user(&crate::support::user("ann"));
    gates.held.lock().await.push((tag, arrived.clone(), release.clone()));
    let ending = tokio::spawn({
        let (node, browser) = (node.clone(), browser.clone());
        async move { node.post("/sign_out", &browser).await }
    });
    arrived.wait().await;
    assert!(!node.accepts(&browser).await);
    release.notify_one();
    ending.await.unwrap();
    assert!(!node.accepts(&browser).await);
}

/// An instance that receives no invalidations is certainly behind.
#[tokio::test]
async fn what_cannot_be_undone_never_trusts_the_cache() {
    let redis = RedisServer::start().await;
    let store = RedisStore::connect(&redis.url()).await.unwrap();
    let deaf = Held { store, gates: Arc::default(), changes: Some(Invalidations::complete()) };
    let (here, there) = (Node::over(deaf, NearCache::default()), Node::connect(&redis.url()).await);
    let browser = there.sign_in("ann").await;
    here.warm(&browser).await;
    let lively = here.sessions.open(&browser).await;
    lively.verify().await.unwrap();
    lively.require_fresh(Duration::from_secs(300)).await.unwrap();
    there.post("/sign_out", &browser).await;

    let behind = || here.sessions.open(&browser);
    assert!(behind().await.user().is_ok(), "the cache is not behind, so this shows nothing");
    let unauthenticated = |result: Result<(), SessionError>| {
        assert!(matches!(result, Err(SessionError::Unauthenticated)), "{result:?}");
    };
    let session = behind().await;
    unauthenticated(session.verify().await);
    assert!(session.user().is_err());
    unauthenticated(behind().await.require_fresh(Duration::from_secs(300)).await);
    unauthenticated(behind().await.sign_out_others().await);
    here.warm(&there.sign_in("ann").await).await;
}
