//! A watch of a user's sessions sees every change made on any instance, and reads at no other time.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracera_session::{EmbeddedStore, NearCache, RedisStore, SessionInfo, UserWatch};
use tracera_testkit::{Fault, FaultProxy, RedisCluster, RedisServer};

use crate::support::{LIMIT, Node, cluster_url, percentile, user};

/// The time within which a change is seen if the store announces it.
const TOLD: Duration = Duration::from_millis(100);
/// Longer than the pause between two polls of a store without announcements.
const IDLE: Duration = Duration::from_millis(2500);

async fn next(watch: &mut UserWatch) -> Vec<SessionInfo> {
    timeout(LIMIT, watch.next()).await.expect("the watch sees a change")
}

/// Makes changes at one instance and measures how long another takes to see each.
async fn a_change_elsewhere_is_seen_soon(here: &Node, there: &Node) {
    here.warm(&there.sign_in("first").await).await;
    let mut delays = Vec::new();
    for trial in 0..50 {
        let name = format!("user-{trial}");
        let mut watch = here.sessions.watch(&user(&name));
        assert!(next(&mut watch).await.is_empty());
        let mut browser = there.sign_in(&name).await;
        let begun = Instant::now();
        let first = next(&mut watch).await;
        delays.push(begun.elapsed());
        assert_eq!(first.len(), 1);
        browser = there.post("/rotate", &browser).await;
        let begun = Instant::now();
        let rotated = next(&mut watch).await;
        delays.push(begun.elapsed());
        assert!(rotated.len() == 1 && rotated[0].handle != first[0].handle);
        if trial % 2 == 0 {
            there.post("/sign_out", &browser).await;
        } else {
            there.sessions.revoke_all(&user(&name)).await.unwrap();
        }
        let begun = Instant::now();
        assert!(next(&mut watch).await.is_empty());
        delays.push(begun.elapsed());
    }
    delays.sort();
    println!("seen after p50 {:?}, p99 {:?}", percentile(&delays, 50), percentile(&delays, 99));
    assert!(percentile(&delays, 50) < TOLD);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_on_another_instance_is_seen_soon() {
    let redis = RedisServer::start().await;
    let (here, there) = (Node::connect(&redis.url()).await, Node::connect(&redis.url()).await);
    a_change_elsewhere_is_seen_soon(&here, &there).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_on_another_instance_over_a_cluster_is_seen_soon() {
    let cluster = RedisCluster::start().await;
    let url = cluster_url(&cluster);
    let (here, there) = (Node::connect(&url).await, Node::connect(&url).await);
    a_change_elsewhere_is_seen_soon(&here, &there).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_seen_in_the_embedded_store_and_without_the_near_cache() {
    let embedded = Node::over(EmbeddedStore::in_memory().unwrap(), NearCache::default());
    a_change_elsewhere_is_seen_soon(&embedded, &embedded).await;

    let redis = RedisServer::start().await;
    let node = Node::over(RedisStore::connect(&redis.url()).await.unwrap(), NearCache::Off);
    let mut watch = node.sessions.watch(&user("ann"));
    assert!(next(&mut watch).await.is_empty());
    node.sign_in("ann").await;
    assert_eq!(next(&mut watch).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_who_watch_a_user_share_one_question_per_change() {
    let redis = RedisServer::start().await;
    let (here, there) = (Node::connect(&redis.url()).await, Node::connect(&redis.url()).await);
    let browser = there.sign_in("ann").await;
    here.warm(&browser).await;
    let questions = async || redis.command_calls("client|caching").await;
    let before = questions().await;
    let mut watches: Vec<_> = (0..50).map(|_| here.sessions.watch(&user("ann"))).collect();
    for watch in &mut watches {
        assert_eq!(next(watch).await.len(), 1);
    }
    assert_eq!(questions().await, before + 1, "the first asks, the others see its answer");
    let mut waiting = JoinSet::new();
    for mut watch in watches {
        waiting.spawn(async move { next(&mut watch).await.len() });
    }
    there.sessions.revoke_all(&user("ann")).await.unwrap();
    assert_eq!(waiting.join_all().await, [0; 50]);
    assert_eq!(questions().await, before + 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_nothing_happens_nothing_is_asked() {
    let redis = RedisServer::start().await;
    let (here, there) = (Node::connect(&redis.url()).await, Node::connect(&redis.url()).await);
    here.warm(&there.sign_in("first").await).await;
    let mut idle = JoinSet::new();
    for number in 0..100 {
        let mut watch = here.sessions.watch(&user(&format!("idle-{number}")));
        assert!(next(&mut watch).await.is_empty());
        idle.spawn(async move { watch.next().await });
    }
    let mut busy = here.sessions.watch(&user("busy"));
    assert!(next(&mut busy).await.is_empty());
    let questions = redis.command_calls("client|caching").await;
    let (begun, mut changes) = (Instant::now(), 0);
    while begun.elapsed() < IDLE {
        // A sign-in reads no session, and sends no cookie that the near-cache would look up.
        there.sign_in("busy").await;
        assert_eq!(next(&mut busy).await.len(), 1);
        there.sessions.revoke_all(&user("busy")).await.unwrap();
        assert!(next(&mut busy).await.is_empty());
        changes += 2;
    }
    assert_eq!(redis.command_calls("client|caching").await, questions + changes);
    assert!(idle.try_join_next().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_news_from_the_store_a_watch_asks_about_once_a_second() {
    let redis = RedisServer::start().await;
    for denied in ["-client|tracking", "-client|caching"] {
        redis
            .cli(&["ACL", "SETUSER", "app", "reset", "on", ">secret", "~*", "&*", "+@all", denied])
            .await;
        let url = format!("redis://app:secret@127.0.0.1:{}", redis.port());
        let (here, there) = (Node::connect(&url).await, Node::connect(&url).await);
        let mut watches: Vec<_> = (0..20).map(|_| here.sessions.watch(&user("ann"))).collect();
        for watch in &mut watches {
            assert!(next(watch).await.is_empty());
        }
        let browser = there.sign_in("ann").await;
        for watch in &mut watches {
            assert_eq!(next(watch).await.len(), 1);
        }
        let asked = redis.command_calls("hgetall").await;
        there.post("/sign_out", &browser).await;
        for watch in &mut watches {
            assert!(next(watch).await.is_empty());
        }
        let asked = redis.command_calls("hgetall").await - asked;
        assert!((1..10).contains(&asked), "{denied}: asked {asked} times");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_changes_nothing_and_afterwards_all_is_seen() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.port()).await;
    let (here, there) =
        (Node::connect(&proxy.redis_url()).await, Node::connect(&redis.url()).await);
    let browser = there.sign_in("ann").await;
    here.warm(&browser).await;
    let mut watch = here.sessions.watch(&user("ann"));
    assert_eq!(next(&mut watch).await.len(), 1);
    let waiting = tokio::spawn(async move { next(&mut watch).await });
    proxy.set(Fault::Refuse).await;
    there.post("/sign_out", &browser).await;
    here.refuses_after(&browser).await;
    assert!(!waiting.is_finished());
    proxy.set(Fault::None).await;
    assert!(waiting.await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_seen_without_a_change() {
    let (node, clock) = Node::with_moved_clock();
    node.sign_in("ann").await;
    let mut watch = node.sessions.watch(&user("ann"));
    assert_eq!(watch.next().await.len(), 1);
    let waiting = tokio::spawn(async move { watch.next().await });
    clock.advance(Duration::from_secs(72 * 3600) - Duration::from_secs(1));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(!waiting.is_finished());
    clock.advance(Duration::from_secs(1));
    assert!(waiting.await.unwrap().is_empty());
}
