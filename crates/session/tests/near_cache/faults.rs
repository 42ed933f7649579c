//! When the connection of the feed fails, the cache is not used beyond the stated bound.

use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;
use tracera_session::MAX_STALENESS;
use tracera_testkit::{Fault, FaultProxy, RedisServer};

use crate::support::{Node, user};

/// An instance behind a proxy, another beside it, and a browser. The first has the browser's
/// session in its near-cache.
struct Scene {
    redis: RedisServer,
    proxy: FaultProxy,
    here: Node,
    there: Node,
    browser: HeaderMap,
}

impl Scene {
    async fn set() -> Self {
        let redis = RedisServer::start().await;
        let proxy = FaultProxy::start(redis.port()).await;
        let here = Node::connect(&proxy.redis_url()).await;
        let there = Node::connect(&redis.url()).await;
        let browser = there.sign_in("ann").await;
        here.warm(&browser).await;
        Self { redis, proxy, here, there, browser }
    }

    /// How long the session was still accepted here after its end. Observed until well past the
    /// bound.
    async fn last_accepted_after_the_end(&self) -> Duration {
        self.there.sessions.revoke_all(&user("ann")).await.unwrap();
        let ended = Instant::now();
        let mut last = Duration::ZERO;
        while ended.elapsed() < MAX_STALENESS + Duration::from_secs(1) {
            if self.here.accepts(&self.browser).await {
                last = ended.elapsed();
            }
            tokio::task::yield_now().await;
        }
        last
    }

    /// Waits until the instance behind the proxy works again, near-cache included.
    async fn heals(&self) {
        self.proxy.set(Fault::None).await;
        let browser = self.there.sign_in("bob").await;
        self.here.recovers(&browser).await;
        self.here.warm(&browser).await;
        assert!(!self.here.accepts(&self.browser).await);
        self.there.post("/sign_out", &browser).await;
        self.here.refuses_after(&browser).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swallowed_connection_is_given_up_within_the_bound() {
    let scene = Scene::set().await;
    let staleness = || scene.here.sessions.cache_staleness().unwrap();
    assert!(staleness() < MAX_STALENESS);
    scene.proxy.set(Fault::BlackHole).await;
    let last = scene.last_accepted_after_the_end().await;
    println!("swallowed: last accepted {last:?} after the end");
    assert!(last < MAX_STALENESS);
    assert!(staleness() > MAX_STALENESS, "{:?}", staleness());
    scene.heals().await;
    assert!(staleness() < MAX_STALENESS, "{:?}", staleness());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_connection_is_given_up_at_once() {
    let scene = Scene::set().await;
    let flushes = scene.here.sessions.cache_stats().flushes;
    scene.proxy.set(Fault::Refuse).await;
    let last = scene.last_accepted_after_the_end().await;
    println!("reset: last accepted {last:?} after the end");
    assert!(last < MAX_STALENESS);
    assert!(scene.here.sessions.cache_stats().flushes > flushes);
    scene.heals().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_cut_in_the_middle_of_a_message_is_given_up() {
    for bytes in [0, 1, 10] {
        let scene = Scene::set().await;
        scene.proxy.set(Fault::CutReply(bytes)).await;
        let last = scene.last_accepted_after_the_end().await;
        println!("cut after {bytes} bytes: last accepted {last:?} after the end");
        assert!(last < MAX_STALENESS);
        scene.heals().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_messages_delay_the_end_by_no_more_than_the_bound() {
    let scene = Scene::set().await;
    scene.proxy.set(Fault::Delay(Duration::from_millis(300))).await;
    let last = scene.last_accepted_after_the_end().await;
    println!("300 ms late: last accepted {last:?} after the end");
    assert!(last < MAX_STALENESS);
    scene.heals().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_ends_the_use_of_the_cache() {
    let scene = Scene::set().await;
    scene.redis.freeze().await;
    let taken = scene.here.refuses_after(&scene.browser).await;
    println!("frozen server: not accepted any more after {taken:?}");
    assert!(taken < MAX_STALENESS + Duration::from_millis(1500), "{taken:?}");
    scene.redis.thaw();
    scene.here.recovers(&scene.browser).await;
    scene.here.warm(&scene.browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_server_has_forgotten_and_so_has_the_cache() {
    let scene = Scene::set().await;
    scene.redis.restart().await;
    let restarted = Instant::now();
    scene.here.refuses_after(&scene.browser).await;
    assert!(restarted.elapsed() < MAX_STALENESS, "{:?}", restarted.elapsed());
    scene.there.recovers_sign_in("bob").await;
    scene.heals().await;
}
