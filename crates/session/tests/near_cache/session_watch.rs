//! Open streams end with their session.

use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use http::HeaderMap;
use tokio::time::{Instant, timeout};
use tracera_session::{EmbeddedStore, Ended, NearCache, RedisStore};
use tracera_testkit::{Fault, FaultProxy, RedisServer};

use crate::support::{LIMIT, Node, percentile, user};

impl Node {
    /// Waits in the background for the end of the browser's session.
    async fn open_stream(&self, browser: &HeaderMap) -> tokio::task::JoinHandle<(Ended, Instant)> {
        let watch = self.sessions.open(browser).await.watch().unwrap();
        tokio::spawn(async move {
            let ended = timeout(LIMIT, watch.ended()).await.expect("the watch resolves");
            (ended, Instant::now())
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_when_its_session_is_ended_elsewhere() {
    let redis = RedisServer::start().await;
    let (here, there) = (Node::connect(&redis.url()).await, Node::connect(&redis.url()).await);
    here.warm(&there.sign_in("first").await).await;
    let mut delays = Vec::new();
    for trial in 0..100 {
        let name = format!("user-{trial}");
        let browser = there.sign_in(&name).await;
        let other = there.sign_in(&name).await;
        let (stream, untouched) =
            (here.open_stream(&browser).await, here.open_stream(&other).await);
        here.warm(&browser).await;
        let begun = Instant::now();
        let expected = match trial % 3 {
            0 => {
                there.post("/sign_out", &browser).await;
                Ended::Absent
            }
            1 => {
                there.post("/rotate", &browser).await;
                Ended::Rotated
            }
            _ => {
                there.sessions.revoke_all(&user(&name)).await.unwrap();
                Ended::Absent
            }
        };
        let (ended, at) = stream.await.unwrap();
        assert_eq!(ended, expected);
        delays.push(at - begun);
        assert!(trial % 3 == 2 || !untouched.is_finished());
        there.sessions.revoke_all(&user(&name)).await.unwrap();
        untouched.await.unwrap();
    }
    delays.sort();
    println!(
        "stream ended after p50 {:?}, p99 {:?}",
        percentile(&delays, 50),
        percentile(&delays, 99)
    );
}

/// Polls once and then no more, as when the client has stopped reading the response.
fn polled_once<F: Future + Send + 'static>(future: F) -> Pin<Box<F>> {
    let mut future = Box::pin(future);
    assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    future
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_who_stop_reading_keep_nobody_elses_stream_open() {
    let redis = RedisServer::start().await;
    let node = Node::connect(&redis.url()).await;
    let (idle, other) = (node.sign_in("idle").await, node.sign_in("other").await);
    let session = node.sessions.open(&idle).await;
    let unread: Vec<_> = (0..200)
        .map(|_| session.watch().unwrap())
        .map(|watch| polled_once(async move { watch.ended().await }))
        .collect();
    let mut shown = node.sessions.watch(&user("idle"));
    let _unshown = polled_once(async move { shown.next().await });

    let stream = node.open_stream(&other).await;
    let mut watch = node.sessions.watch(&user("idle"));
    assert_eq!(timeout(LIMIT, watch.next()).await.expect("it is its turn").len(), 1);
    node.sessions.revoke_all(&user("other")).await.unwrap();
    assert_eq!(stream.await.unwrap().0, Ended::Absent);
    drop(unread);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_survives_an_outage_and_then_learns_of_the_end() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.port()).await;
    let (here, there) =
        (Node::connect(&proxy.redis_url()).await, Node::connect(&redis.url()).await);
    let browser = there.sign_in("ann").await;
    let stream = here.open_stream(&browser).await;
    here.warm(&browser).await;
    proxy.set(Fault::Refuse).await;
    there.post("/sign_out", &browser).await;
    here.refuses_after(&browser).await;
    assert!(!stream.is_finished());
    proxy.set(Fault::None).await;
    assert_eq!(stream.await.unwrap().0, Ended::Absent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_news_from_the_store_a_stream_asks() {
    let redis = RedisServer::start().await;
    redis
        .cli(&["ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all", "-client|tracking"])
        .await;
    let url = format!("redis://app:secret@127.0.0.1:{}", redis.port());
    let (here, there) = (Node::connect(&url).await, Node::connect(&url).await);
    let browser = there.sign_in("ann").await;
    let asked = redis.command_calls("hmget").await;
    let stream = here.open_stream(&browser).await;
    there.post("/sign_out", &browser).await;
    let (ended, _) = stream.await.unwrap();
    assert_eq!(ended, Ended::Absent);
    let asked = redis.command_calls("hmget").await - asked;
    assert!(asked < 10, "it asks once a second, not {asked} times");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_told_with_the_cache_off_and_in_the_embedded_store() {
    let redis = RedisServer::start().await;
    let off = Node::over(RedisStore::connect(&redis.url()).await.unwrap(), NearCache::Off);
    let embedded = Node::over(EmbeddedStore::in_memory().unwrap(), NearCache::Off);
    for node in [off, embedded] {
        let browser = node.sign_in("ann").await;
        let stream = node.open_stream(&browser).await;
        node.post("/sign_out", &browser).await;
        let begun = Instant::now();
        let (ended, at) = stream.await.unwrap();
        assert_eq!(ended, Ended::Absent);
        println!("ended after {:?}", at.saturating_duration_since(begun));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_the_deadline() {
    let (node, clock) = Node::with_moved_clock();
    let browser = node.sign_in("ann").await;
    let watch = node.sessions.open(&browser).await.watch().unwrap();
    let stream = tokio::spawn(async move { watch.ended().await });
    clock.advance(Duration::from_secs(72 * 60 * 60 - 1));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(!stream.is_finished());
    clock.advance(Duration::from_secs(1));
    assert_eq!(stream.await.unwrap(), Ended::Expired);
}
