//! The contents of Redis: nothing that opens a session, nothing that outlives it. Each request is a
//! plain read.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, Request, header};
use tower::ServiceExt;
use tracera_session::{
    Clock, KeyRing, NearCache, RedisStore, Session, SessionConfig, SessionLayer, Sessions, SignIn,
    UserId,
};
use tracera_testkit::RedisServer;

async fn start(config: SessionConfig) -> (RedisServer, Sessions) {
    let redis = RedisServer::start().await;
    let store = RedisStore::connect(&redis.url()).await.unwrap();
    let config = config.near_cache(NearCache::Off);
    (redis, Sessions::new(store, KeyRing::new(&[7; 32]).unwrap(), config))
}

/// Signs in over HTTP, sets a field, and returns the `Cookie` header.
async fn sign_in(sessions: &Sessions, user: &UserId) -> HeaderValue {
    let sign_in = SignIn::new(user.clone(), "test");
    let route = any(move |session: Session| async move {
        session.set("field", &1)?;
        session.sign_in(sign_in).await
    });
    let app: Router = Router::new().route("/", route).layer(SessionLayer::new(sessions.clone()));
    let response = app.oneshot(Request::new(Body::empty())).await.unwrap();
    let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap();
    cookie.split_once(';').unwrap().0.parse().unwrap()
}

#[tokio::test]
async fn a_dump_of_redis_holds_nothing_of_the_cookie() {
    let (redis, sessions) = start(SessionConfig::default()).await;
    let cookie = sign_in(&sessions, &UserId::new("user").unwrap()).await;
    let (_, value) = cookie.to_str().unwrap().split_once('=').unwrap();
    let token = URL_SAFE_NO_PAD.decode(value).unwrap();
    let dump = redis.dump_all().await;
    // After key id and tag, every byte belongs to the secret or the MAC. Eight equal bytes in a row
    // are no coincidence.
    for part in token[19..].windows(8).chain(value.as_bytes()[28..].windows(8)) {
        assert!(!dump.windows(8).any(|window| window == part));
    }
}

#[tokio::test]
async fn a_key_goes_with_its_last_session() {
    let lifetime = Duration::from_secs(7200);
    let clock = Clock::manual(Clock::system().now());
    let (redis, sessions) =
        start(SessionConfig::default().lifetime(lifetime).clock(clock.clone())).await;
    let user = UserId::new("user").unwrap();
    sign_in(&sessions, &user).await;
    let key = redis.cli(&["KEYS", "*"]).await;
    let left = async || {
        let millis: i64 = redis.cli(&["PTTL", &key]).await.parse().unwrap();
        i64::try_from(lifetime.as_millis()).unwrap() - millis
    };
    assert!((0..10_000).contains(&left().await), "{}", left().await);
    // The later session's expiry counts, and the sign-out of all leaves only the key that holds the
    // epoch.
    clock.advance(Duration::from_secs(3600));
    let later = sign_in(&sessions, &user).await;
    assert!((0..10_000).contains(&left().await), "{}", left().await);
    for session in sessions.list(&user).await.unwrap() {
        assert!(sessions.revoke(&user, session.handle).await.unwrap());
    }
    assert_eq!(redis.cli(&["DBSIZE"]).await, "0");
    sessions.revoke_all(&user).await.unwrap();
    assert!((0..10_000).contains(&left().await), "{}", left().await);
    let headers: HeaderMap = [(header::COOKIE, later)].into_iter().collect();
    assert!(sessions.open(&headers).await.user().is_err());
}

#[tokio::test]
async fn what_a_change_of_users_leaves_goes_after_a_minute() {
    let clock = Clock::manual(Clock::system().now());
    let (redis, sessions) = start(SessionConfig::default().clock(clock.clone())).await;
    let former = UserId::new("former").unwrap();
    let cookie = sign_in(&sessions, &former).await;
    let other = sign_in(&sessions, &former).await;
    let key = redis.cli(&["KEYS", "*"]).await;
    let left = async || redis.cli(&["PTTL", &key]).await.parse::<i64>().unwrap();
    let headers = |cookie: &HeaderValue| HeaderMap::from_iter([(header::COOKIE, cookie.clone())]);
    let session = sessions.open(&headers(&cookie)).await;
    session.sign_in(SignIn::new(UserId::new("latter").unwrap(), "test")).await.unwrap();
    assert!(left().await > 60_000, "the other session still lives");
    // A minute after the change of users, not after the last sign-out.
    clock.advance(Duration::from_secs(20));
    sessions.open(&headers(&other)).await.sign_out().await.unwrap();
    assert!((30_000..=40_000).contains(&left().await), "{}", left().await);
    assert_eq!(
        redis.cli(&["HLEN", &key]).await,
        "2",
        "the user and what stays in the session's place"
    );

    let cookie = sign_in(&sessions, &former).await;
    assert!(left().await > 60_000);
    clock.advance(Duration::from_secs(60));
    let session = sessions.open(&headers(&cookie)).await;
    session.sign_in(SignIn::new(UserId::new("latter").unwrap(), "test")).await.unwrap();
    assert!((50_000..=60_000).contains(&left().await), "{}", left().await);
}

#[tokio::test]
async fn a_request_that_only_reads_is_one_plain_command() {
    let (redis, sessions) = start(SessionConfig::default().preload(&["field"]).unwrap()).await;
    let cookie = sign_in(&sessions, &UserId::new("user").unwrap()).await;
    let headers: HeaderMap = [(header::COOKIE, cookie)].into_iter().collect();
    let calls = async || {
        let mut calls = Vec::new();
        for command in ["hmget", "evalsha", "eval", "hset", "pexpire", "hget", "hgetall"] {
            calls.push(redis.command_calls(command).await);
        }
        calls
    };
    let before = calls().await;
    let session = sessions.open(&headers).await;
    assert!(session.user().is_ok());
    assert_eq!(session.get::<u8>("field").await.unwrap(), Some(1));
    let mut expected = before;
    expected[0] += 1;
    assert_eq!(calls().await, expected);
}

#[tokio::test]
async fn a_visitor_who_stores_nothing_leaves_no_key() {
    let (redis, sessions) = start(SessionConfig::default()).await;
    let before = redis.command_calls("hmget").await;
    let session = sessions.open(&HeaderMap::new()).await;
    assert!(session.user().is_err());
    session.sign_out().await.unwrap();
    assert_eq!(redis.cli(&["DBSIZE"]).await, "0");
    assert_eq!(redis.command_calls("hmget").await, before);
}
