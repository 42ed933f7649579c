//! The conformance suite on the Redis store, over one Redis.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod patience;

use std::sync::Arc;

use tracera_session::testing::{self, ALL, Instances};
use tracera_session::{RedisConnection, RedisLimits, RedisStore};
use tracera_testkit::{Fault, FaultProxy, RedisServer};

use self::patience::PATIENT;

async fn open(url: &str, limits: RedisLimits) -> RedisStore {
    RedisStore::new(RedisConnection::open_with(url, limits).await.unwrap())
}

async fn storage() -> Instances {
    let redis = RedisServer::start().await;
    let url = redis.url();
    Instances::new(open(&url, PATIENT).await, open(&url, PATIENT).await).keeping(redis)
}

tracera_session::conformance!(storage);

/// The storage behind a proxy that can fail, with the default limits.
async fn storage_that_can_fail() -> Instances {
    let redis = RedisServer::start().await;
    let proxy = Arc::new(FaultProxy::start(redis.port()).await);
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let limits = RedisLimits::default();
    let (one, other) = (open(&url, limits).await, open(&url, limits).await);
    let breaking = move |fault| {
        let proxy = Arc::clone(&proxy);
        async move {
            let fault = match fault {
                testing::Fault::Refuses => Fault::Refuse,
                testing::Fault::Stalls => Fault::BlackHole,
                _ => Fault::None,
            };
            proxy.set(fault).await;
        }
    };
    Instances::new(one, other).breaking(breaking).keeping(redis)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_fails_in_time_and_as_what_it_is_while_redis_is_away() {
    let cases = ALL.iter().filter(|case| case.name.starts_with("a_store_that_"));
    assert_eq!(cases.clone().count(), 2);
    for case in cases {
        case.run(storage_that_can_fail().await).await;
    }
}
