//! A cluster moves slots of live sessions to another primary while users sign in, write and are
//! signed out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderMap;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracera_session::store::Tag;
use tracera_session::{MAX_STALENESS, NearCache, RedisStore};
use tracera_testkit::{RedisCluster, RedisServer};

use crate::support::{LIMIT, Node, cluster_url, user};

/// Upper bound of one operation.
const BOUND: Duration = Duration::from_secs(2);

/// Users who are signed in before the slots move.
const RESIDENTS: usize = 4;
/// Users who sign in for the first time while slots move.
const LATECOMERS: usize = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_moves_slots_loses_no_session() {
    slots_move_under_load(NearCache::Off).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_moves_slots_still_tells_the_near_cache_of_every_end() {
    slots_move_under_load(NearCache::default()).await;
}

async fn slots_move_under_load(near_cache: NearCache) {
    let cluster = RedisCluster::start().await;
    let (source, target, users) = stage(&cluster).await;
    let node = async || {
        let store = RedisStore::connect(&cluster_url(&cluster)).await.unwrap();
        Node::over(store, near_cache)
    };
    let (here, there) = (node().await, node().await);
    let bound = if near_cache == NearCache::Off { Duration::ZERO } else { MAX_STALENESS };
    let load = Load { here, there, bound, stop: Arc::default(), rounds: Arc::default() };
    let (residents, latecomers) = users.split_at(RESIDENTS);
    let mut running = JoinSet::new();
    for name in residents {
        running.spawn(load.clone().run(name.clone()));
    }
    load.goes_on(RESIDENTS).await;

    let mut migrations = Vec::new();
    for name in &users {
        migrations.push(cluster.migrate_slot_of(&key(name), target).await);
    }
    load.goes_on(RESIDENTS).await;
    for name in latecomers {
        running.spawn(load.clone().run(name.clone()));
    }
    load.goes_on(users.len()).await;
    for migration in &migrations {
        migration.move_keys().await;
    }
    load.goes_on(users.len()).await;
    assert!(
        source.error_replies("ASK").await > 0,
        "nobody was sent on while the slots were under way"
    );
    for migration in migrations {
        migration.finish().await;
    }
    load.goes_on(users.len()).await;
    assert!(
        source.error_replies("MOVED").await > 0,
        "nobody was sent on after the slots had moved"
    );

    load.stop.store(true, Ordering::SeqCst);
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
    for name in &users {
        assert_eq!(cluster.primary_of(&key(name)).await.port(), target.port());
    }
    if near_cache != NearCache::Off {
        // The new primary announces changes, too.
        let browser = load.there.sign_in(&users[0]).await;
        load.here.warm(&browser).await;
        load.there.post("/sign_out", &browser).await;
        assert!(load.here.refuses_after(&browser).await < MAX_STALENESS);
    }
}

fn key(name: &str) -> String {
    format!("session:{{{}}}", Tag::of_user(&user(name)))
}

/// Two primaries, and users whose slots are on the first.
async fn stage(cluster: &RedisCluster) -> (&RedisServer, &RedisServer, Vec<String>) {
    let source = cluster.primary_of(&key("user-0")).await;
    let (mut users, mut target) = (Vec::new(), None);
    for name in (0..).map(|n| format!("user-{n}")) {
        let primary = cluster.primary_of(&key(&name)).await;
        if primary.port() != source.port() {
            target = Some(primary);
        } else if users.len() < RESIDENTS + LATECOMERS {
            users.push(name);
        }
        if let (Some(target), RESIDENTS..) = (target, users.len().saturating_sub(LATECOMERS)) {
            return (source, target, users);
        }
    }
    unreachable!("names do not run out")
}

/// Users who repeat every kind of operation.
#[derive(Clone)]
struct Load {
    here: Node,
    there: Node,
    /// How much later `here` may learn of a change made by `there`.
    bound: Duration,
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
}

impl Load {
    /// Waits until each of `users` users has completed at least one round.
    async fn goes_on(&self, users: usize) {
        // A round may be under way at this point, and some users may be quicker than others.
        let enough = self.rounds.load(Ordering::SeqCst) + users as u64 * 5;
        let deadline = Instant::now() + LIMIT;
        while self.rounds.load(Ordering::SeqCst) < enough {
            assert!(Instant::now() < deadline, "the load stands still");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn run(self, name: String) {
        let kept = timely("sign-in", self.there.sign_in(&name)).await;
        for round in 1.. {
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            let session = timely("load", self.here.sessions.open(&kept)).await;
            assert_eq!(session.user().unwrap(), user(&name), "round {round}");
            // Only this user counts here, so a lost or repeated write shows at once.
            assert_eq!(timely("write", session.increment("n", 1)).await.unwrap(), round);
            let second = timely("sign-in", self.there.sign_in(&name)).await;
            assert!(timely("load", self.here.accepts(&second)).await, "round {round}");
            self.end(round, &name, &kept, &second).await;
            self.is_refused_in_time(&second).await;
            let listed = timely("list", self.here.sessions.list(&user(&name))).await.unwrap();
            assert_eq!(listed.len(), 1, "round {round}");
            self.rounds.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Ends the second session, each round in another way.
    async fn end(&self, round: i64, name: &str, kept: &HeaderMap, second: &HeaderMap) {
        let sessions = &self.there.sessions;
        match round % 3 {
            0 => drop(timely("sign-out", self.there.post("/sign_out", second)).await),
            1 => {
                let handle = sessions.open(second).await.info().unwrap().handle;
                assert!(timely("revoke", sessions.revoke(&user(name), handle)).await.unwrap());
            }
            _ => timely("sign-out", sessions.open(kept).await.sign_out_others()).await.unwrap(),
        }
    }

    async fn is_refused_in_time(&self, browser: &HeaderMap) {
        let ended = Instant::now();
        while timely("load", self.here.accepts(browser)).await {
            assert!(ended.elapsed() < self.bound, "still accepted after {:?}", ended.elapsed());
            tokio::task::yield_now().await;
        }
    }
}

/// The answer of an operation; panics after [`BOUND`].
async fn timely<T>(what: &str, operation: impl Future<Output = T>) -> T {
    let answer = tokio::time::timeout(BOUND, operation).await;
    answer.unwrap_or_else(|_| panic!("a {what} took longer than {BOUND:?}"))
}

/// The old primary still has the key but creates no new keys, so a script that deletes the key
/// cannot put it back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_moves_a_slot_loses_nothing_that_its_old_primary_still_has() {
    let cluster = RedisCluster::start().await;
    let (source, target, users) = stage(&cluster).await;
    let node =
        Node::over(RedisStore::connect(&cluster_url(&cluster)).await.unwrap(), NearCache::Off);
    let sessions = &node.sessions;
    let name = &users[0];
    let (visitor, visitors_key) = visitor_on(source, &node).await;
    let visited = sessions.open(&visitor).await;
    let before = sessions.epoch(&user(name)).await.unwrap();
    let [first, second] = [node.sign_in(name).await, node.sign_in(name).await];
    let mut migrations = Vec::new();
    for key in [&key(name), &visitors_key] {
        migrations.push(cluster.migrate_slot_of(key, target).await);
    }

    let session = sessions.open(&first).await;
    assert_eq!(session.increment("n", 1).await.unwrap(), 1);
    session.sign_out_others().await.unwrap();
    assert!(node.accepts(&first).await && !node.accepts(&second).await);
    let raised = sessions.epoch(&user(name)).await.unwrap();
    assert!(raised > before);
    assert_eq!(session.get::<i64>("n").await.unwrap(), Some(1));
    session.rotate().await.unwrap();
    session.sign_out().await.unwrap();
    sessions.revoke_all(&user(name)).await.unwrap();
    assert!(sessions.epoch(&user(name)).await.unwrap() > raised);
    visited.sign_out().await.unwrap();
    assert_eq!(source.error_replies("ASK").await, 0, "the old primary had all it was asked for");
    for migration in migrations {
        migration.move_keys().await;
        migration.finish().await;
    }
    assert!(sessions.epoch(&user(name)).await.unwrap() > raised);
    assert!(!node.accepts(&first).await);
}

/// The new primary has no slot yet, so no map of slots names it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_moves_a_slot_to_a_new_primary_has_it_answer_meanwhile() {
    let mut cluster = RedisCluster::start().await;
    let node = Node::connect(&cluster_url(&cluster)).await;
    let browser = node.sign_in("ann").await;
    node.warm(&browser).await;
    cluster.add_primary().await;
    let target = cluster.nodes().last().unwrap();
    let migration = cluster.migrate_slot_of(&key("ann"), target).await;
    migration.move_keys().await;
    let flushes = node.sessions.cache_stats().flushes;
    for n in 1..=10 {
        let session = timely("load", node.sessions.open(&browser)).await;
        assert_eq!(session.user().unwrap(), user("ann"));
        assert_eq!(timely("write", session.increment("n", 1)).await.unwrap(), n);
        let second = timely("sign-in", node.sign_in("ann")).await;
        timely("sign-out", node.post("/sign_out", &second)).await;
    }
    assert_eq!(node.sessions.cache_stats().flushes, flushes, "connections were given up");
    migration.finish().await;
    let session = timely("load", node.sessions.open(&browser)).await;
    assert_eq!(timely("write", session.increment("n", 1)).await.unwrap(), 11);
}

/// A visitor with data on a primary that has no keys yet, and the key.
async fn visitor_on(primary: &RedisServer, node: &Node) -> (HeaderMap, String) {
    loop {
        let visitor = node.post("/store", &HeaderMap::new()).await;
        let key = primary.cli(&["KEYS", "*"]).await;
        if !key.is_empty() {
            return (visitor, key);
        }
    }
}
