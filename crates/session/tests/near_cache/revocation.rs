//! A session ended by one instance is refused by another.

use std::time::Duration;

use tracera_session::{NearCache, RedisStore};
use tracera_testkit::{FaultProxy, RedisServer};

use crate::support::{Node, percentile, user};

const TRIALS: usize = 1000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hot_read_asks_redis_nothing() {
    let redis = RedisServer::start().await;
    let node = Node::connect(&redis.url()).await;
    let browser = node.sign_in("ann").await;
    node.warm(&browser).await;
    let (asked, hits) = (redis.command_calls("hmget").await, node.sessions.cache_stats().hits);
    for _ in 0..1000 {
        assert!(node.accepts(&browser).await);
    }
    assert_eq!(redis.command_calls("hmget").await, asked);
    assert_eq!(node.sessions.cache_stats().hits, hits + 1000);
    assert_eq!(node.sessions.cache_stats().entries, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_cache_each_request_is_one_plain_read() {
    let redis = RedisServer::start().await;
    let node = Node::over(RedisStore::connect(&redis.url()).await.unwrap(), NearCache::Off);
    let browser = node.sign_in("ann").await;
    let asked = redis.command_calls("hmget").await;
    for _ in 0..10 {
        assert!(node.accepts(&browser).await);
    }
    assert_eq!(redis.command_calls("hmget").await, asked + 10);
    assert_eq!(redis.command_calls("client|tracking").await, 0);
    assert_eq!(redis.command_calls("client|caching").await, 0);
    assert_eq!(node.sessions.cache_stats().hits, 0);
    assert_eq!(node.sessions.cache_staleness(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_hundred_misses_at_once_ask_redis_once() {
    let redis = RedisServer::start().await;
    let node = Node::connect(&redis.url()).await;
    node.warm(&node.sign_in("ann").await).await;
    let browser = node.sign_in("bob").await;
    let asked = redis.command_calls("hmget").await;
    let start = std::sync::Arc::new(tokio::sync::Barrier::new(100));
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (node, browser, start) = (node.clone(), browser.clone(), start.clone());
        requests.spawn(async move {
            start.wait().await;
            node.accepts(&browser).await
        });
    }
    assert_eq!(requests.join_all().await, [true; 100]);
    assert_eq!(redis.command_calls("hmget").await, asked + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_sees_its_own_writes_at_once() {
    let redis = RedisServer::start().await;
    let node = Node::connect(&redis.url()).await;
    for round in 0..200 {
        let first = node.sign_in(&format!("user-{round}")).await;
        node.warm(&first).await;
        let second = node.post("/rotate", &first).await;
        assert!(!node.accepts(&first).await && node.accepts(&second).await);
        node.warm(&second).await;
        if round % 2 == 0 {
            node.post("/sign_out", &second).await;
        } else {
            node.sessions.revoke_all(&user(&format!("user-{round}"))).await.unwrap();
        }
        assert!(!node.accepts(&second).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_instance_ends_another_refuses_soon() {
    let redis = RedisServer::start().await;
    let (here, there) = (Node::connect(&redis.url()).await, Node::connect(&redis.url()).await);
    let busy = here.sign_in("busy").await;
    let load = tokio::spawn({
        let here = here.clone();
        async move {
            loop {
                here.accepts(&busy).await;
                tokio::task::yield_now().await;
            }
        }
    });
    let mut delays = Vec::new();
    for trial in 0..TRIALS {
        let name = format!("user-{trial}");
        let browser = there.sign_in(&name).await;
        here.warm(&browser).await;
        match trial % 4 {
            0 => drop(there.post("/sign_out", &browser).await),
            1 => there.sessions.revoke_all(&user(&name)).await.unwrap(),
            2 => {
                let handle = there.sessions.list(&user(&name)).await.unwrap()[0].handle;
                assert!(there.sessions.revoke(&user(&name), handle).await.unwrap());
            }
            _ => drop(there.post("/rotate", &browser).await),
        }
        delays.push(here.refuses_after(&browser).await);
    }
    load.abort();
    delays.sort();
    println!(
        "refused elsewhere after: p50 {:?}, p99 {:?}, longest {:?}",
        percentile(&delays, 50),
        percentile(&delays, 99),
        delays[TRIALS - 1]
    );
    assert!(percentile(&delays, 50) < Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_database_is_noticed() {
    let redis = RedisServer::start().await;
    let node = Node::connect(&redis.url()).await;
    let browser = node.sign_in("ann").await;
    node.warm(&browser).await;
    redis.cli(&["FLUSHALL"]).await;
    node.refuses_after(&browser).await;
    let browser = node.sign_in("ann").await;
    node.warm(&browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_refuses_to_track_is_asked_each_time() {
    let redis = RedisServer::start().await;
    for denied in ["-client|tracking", "-client|caching"] {
        redis
            .cli(&["ACL", "SETUSER", "app", "reset", "on", ">secret", "~*", "&*", "+@all", denied])
            .await;
        let url = format!("redis://app:secret@127.0.0.1:{}", redis.port());
        let node = Node::connect(&url).await;
        let browser = node.sign_in("ann").await;
        assert!(node.accepts(&browser).await);
        let asked = redis.command_calls("hmget").await;
        for _ in 0..100 {
            assert!(node.accepts(&browser).await);
        }
        assert_eq!(redis.command_calls("hmget").await, asked + 100, "{denied}");
        node.post("/sign_out", &browser).await;
        assert!(!node.accepts(&browser).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_speaks_only_resp2_is_asked_each_time() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.port()).await;
    proxy.inject("HELLO", "-ERR unknown command `HELLO`, with args beginning with: `3`\r\n");
    let node = Node::connect(&proxy.redis_url()).await;
    let browser = node.sign_in("ann").await;
    let asked = redis.command_calls("hmget").await;
    for _ in 0..100 {
        assert!(node.accepts(&browser).await);
    }
    assert_eq!(redis.command_calls("hmget").await, asked + 100);
    node.post("/sign_out", &browser).await;
    assert!(!node.accepts(&browser).await);
}
