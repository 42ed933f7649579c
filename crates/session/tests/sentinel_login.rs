//! Sentinels that have their own password.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;
use tracera_session::{KeyRing, RedisStore, SessionConfig, Sessions, SignIn, UserId};
use tracera_testkit::RedisSentinel;

async fn sessions(url: &str) -> Sessions {
    let store = RedisStore::connect(url).await.unwrap();
    Sessions::new(store, KeyRing::new(&[7; 32]).unwrap(), SessionConfig::default())
}

async fn can_sign_in(sessions: &Sessions) -> bool {
    let session = sessions.open(&HeaderMap::new()).await;
    session.sign_in(SignIn::new(UserId::new("user").unwrap(), "test")).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_are_asked_with_their_own_credentials_after_a_failover_too() {
    let redis = RedisSentinel::start().await;
    let primary = redis.primary().await;
    for sentinel in redis.sentinels() {
        sentinel
            .cli(&["ACL", "SETUSER", "tracera", "on", ">secret", "-@all", "+sentinel|masters"])
            .await;
        // The effect of `requirepass`.
        sentinel.cli(&["ACL", "SETUSER", "default", "resetpass", ">p@ss/w?rd&+"]).await;
    }
    let url = |parameters| format!("{}{parameters}", redis.url());
    for wrong in
        ["", "?sentinel_password=secret", "?sentinel_username=other&sentinel_password=secret"]
    {
        assert!(RedisStore::connect(&url(wrong)).await.is_err(), "{wrong}");
    }
    let by_password = sessions(&url("?sentinel_password=p@ss/w?rd%26%2B")).await;
    let by_user = sessions(&url("?sentinel_username=tracera&sentinel_password=secret")).await;
    assert!(can_sign_in(&by_password).await && can_sign_in(&by_user).await);

    primary.kill();
    let deadline = Instant::now() + Duration::from_secs(30);
    for sessions in [by_password, by_user] {
        while !can_sign_in(&sessions).await {
            assert!(Instant::now() < deadline, "the new primary was not found");
        }
    }
}
