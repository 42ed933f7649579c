//! The near-cache behind Sentinel and on a cluster.

use tokio::time::Instant;
use tracera_session::store::Tag;
use tracera_session::{MAX_STALENESS, NearCache, RedisStore};
use tracera_testkit::{RedisCluster, RedisSentinel};

use crate::support::{Node, cluster_url, percentile, user};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_cluster_a_hot_read_asks_nobody_and_an_end_is_told() {
    let cluster = RedisCluster::start().await;
    let url = cluster_url(&cluster);
    let (here, there) = (Node::connect(&url).await, Node::connect(&url).await);
    let mut delays = Vec::new();
    for trial in 0..100 {
        let browser = there.sign_in(&format!("user-{trial}")).await;
        here.warm(&browser).await;
        let hits = here.sessions.cache_stats().hits;
        assert!(here.accepts(&browser).await);
        assert_eq!(here.sessions.cache_stats().hits, hits + 1);
        there.post("/sign_out", &browser).await;
        delays.push(here.refuses_after(&browser).await);
    }
    delays.sort();
    println!(
        "cluster: refused elsewhere after p50 {:?}, p99 {:?}",
        percentile(&delays, 50),
        percentile(&delays, 99)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_cluster_a_lost_primary_takes_its_entries_along() {
    let cluster = RedisCluster::start().await;
    let url = cluster_url(&cluster);
    let (here, there) = (Node::connect(&url).await, Node::connect(&url).await);
    let browser = there.sign_in("ann").await;
    here.warm(&browser).await;
    let key = format!("session:{{{}}}", Tag::of_user(&user("ann")));
    let flushes = here.sessions.cache_stats().flushes;
    cluster.kill_primary_of(&key).await;
    let killed = Instant::now();
    here.refuses_after(&browser).await;
    assert!(killed.elapsed() < MAX_STALENESS, "{:?}", killed.elapsed());
    assert!(here.sessions.cache_stats().flushes > flushes);
    cluster.wait_for_failover_of(&key).await;
    here.recovers(&browser).await;
    here.warm(&browser).await;
    there.recovers(&browser).await;
    there.post("/sign_out", &browser).await;
    here.refuses_after(&browser).await;
}

/// The primary still answers commands that need no key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_cluster_a_primary_that_is_cut_off_from_the_others_is_left() {
    let cluster = RedisCluster::start().await;
    let url = cluster_url(&cluster);
    let here = Node::connect(&url).await;
    let uncached = Node::over(RedisStore::connect(&url).await.unwrap(), NearCache::Off);
    let browser = here.sign_in("ann").await;
    here.warm(&browser).await;
    let key = format!("session:{{{}}}", Tag::of_user(&user("ann")));
    cluster.primary_of(&key).await.wait_for_replicas().await;
    let new = cluster.cut_off_primary_of(&key).await;
    let there = Node::connect(&format!("redis+cluster://127.0.0.1:{}", new.port())).await;
    there.post("/sign_out", &browser).await;
    let ended = Instant::now();
    here.refuses_after(&browser).await;
    assert!(ended.elapsed() < MAX_STALENESS, "{:?}", ended.elapsed());

    let browser = there.sign_in("ann").await;
    uncached.recovers(&browser).await;
    here.recovers(&browser).await;
    here.warm(&browser).await;
    there.post("/sign_out", &browser).await;
    assert!(here.refuses_after(&browser).await < MAX_STALENESS);
}

/// The connections to the primary stay open, and no error shows that it is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_cluster_a_primary_that_fell_silent_is_left() {
    let cluster = RedisCluster::start().await;
    let here = Node::connect(&cluster_url(&cluster)).await;
    let browser = here.sign_in("ann").await;
    here.warm(&browser).await;
    let key = format!("session:{{{}}}", Tag::of_user(&user("ann")));
    let primary = cluster.primary_of(&key).await;
    primary.wait_for_replicas().await;
    primary.freeze().await;
    here.refuses_after(&browser).await;
    here.recovers(&browser).await;
    here.warm(&browser).await;
    primary.thaw();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_sentinel_the_cache_follows_the_primary() {
    let sentinel = RedisSentinel::start().await;
    let (here, there) =
        (Node::connect(&sentinel.url()).await, Node::connect(&sentinel.url()).await);
    let browser = there.sign_in("ann").await;
    here.warm(&browser).await;
    sentinel.primary().await.wait_for_replicas().await;
    sentinel.kill_primary().await;
    let killed = Instant::now();
    here.refuses_after(&browser).await;
    assert!(killed.elapsed() < MAX_STALENESS, "{:?}", killed.elapsed());
    sentinel.wait_for_failover().await;
    here.recovers(&browser).await;
    here.warm(&browser).await;
    there.recovers(&browser).await;
    there.post("/sign_out", &browser).await;
    here.refuses_after(&browser).await;
}
