//! Commands of several tasks over one [`RedisConnection`] at the same time.
#![cfg(feature = "redis")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::task::{Context, Waker};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::get;
use http::HeaderMap;
use http::header::{COOKIE, SET_COOKIE};
use redis::aio::ConnectionLike;
use redis::{Cmd, RedisResult, Value};
use tokio::task::JoinSet;
use tower::ServiceExt;
use tracera_session::{
    KeyRing, NearCache, RedisConnection, RedisStore, Session, SessionConfig, SessionLayer,
    Sessions, SignIn, UserId,
};
use tracera_testkit::{Fault, FaultProxy, RedisServer};

const PATIENCE: Duration = Duration::from_secs(20);

fn command(words: &[&str]) -> Cmd {
    let mut command = Cmd::new();
    command.arg(words);
    command
}

/// Runs a command for each of these keys, each from a separate task.
async fn ask_for_each(
    connection: &RedisConnection,
    keys: impl Iterator<Item = String>,
) -> Vec<(String, RedisResult<Value>)> {
    let mut tasks = JoinSet::new();
    for key in keys {
        let asking = connection.ask(command(&["GET", &key]));
        tasks.spawn(async move { (key, asking.await) });
    }
    tasks.join_all().await
}

/// Sets `key0`, `key1`, … to the values `value0`, `value1`, ….
async fn fill(server: &RedisServer, keys: usize) {
    for n in 0..keys {
        server.cli(&["SET", &format!("key{n}"), &format!("value{n}")]).await;
    }
}

#[track_caller]
fn assert_each_has_its_own(answers: Vec<(String, RedisResult<Value>)>, beside: &[&str]) {
    for (key, answer) in answers {
        let expected = key.replace("key", "value").into_bytes();
        assert_eq!(answer.unwrap(), Value::BulkString(expected), "{key} beside {beside:?}");
    }
}

async fn reads_of_sockets(server: &RedisServer) -> u64 {
    let statistics = server.cli(&["INFO", "stats"]).await;
    let reads = statistics.lines().find_map(|line| line.strip_prefix("total_reads_processed:"));
    reads.unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn what_is_asked_at_the_same_moment_travels_together_and_each_gets_its_own_answer() {
    let server = RedisServer::start().await;
    let connection = RedisConnection::open(&server.url()).await.unwrap();
    fill(&server, 200).await;
    let before = reads_of_sockets(&server).await;
    let answers = ask_for_each(&connection, (0..200).map(|n| format!("key{n}"))).await;
    let reads = reads_of_sockets(&server).await - before;
    assert_eq!(answers.len(), 200);
    assert_each_has_its_own(answers, &[]);
    assert_eq!(server.command_calls("get").await, 200);
    // At least four batches of at most 64, the heartbeat's commands, and this query itself.
    assert!(reads <= 12, "{reads} reads");
}

#[tokio::test]
async fn an_error_is_only_the_answer_of_who_asked_for_it() {
    let server = RedisServer::start().await;
    let connection = RedisConnection::open(&server.url()).await.unwrap();
    server.cli(&["RPUSH", "key3", "of another type"]).await;
    for (key, answer) in ask_for_each(&connection, (0..9).map(|n| format!("key{n}"))).await {
        match answer {
            Ok(value) => assert!(key != "key3" && value == Value::Nil, "{key}: {value:?}"),
            Err(error) => {
                assert!(key == "key3" && error.code() == Some("WRONGTYPE"), "{key}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn what_would_give_replies_to_the_wrong_ones_is_not_sent() {
    let server = RedisServer::start().await;
    let connection = RedisConnection::open(&server.url()).await.unwrap();
    fill(&server, 9).await;
    for words in [
        &[][..],
        &[""],
        &["subscribe", "a", "b"],
        &["UNSUBSCRIBE"],
        &["MULTI"],
        &["Select", "1"],
        &["RESET"],
        &["CLIENT", "reply", "OFF"],
        &["CLIENT", "TRACKING", "OFF"],
        &["READONLY"],
    ] {
        let refused = connection.ask(command(words));
        let answers = ask_for_each(&connection, (0..9).map(|n| format!("key{n}"))).await;
        assert!(refused.await.is_err(), "{words:?}");
        assert_each_has_its_own(answers, words);
    }
    let id = connection.ask(command(&["CLIENT", "ID"])).await.unwrap();
    assert!(matches!(id, Value::Int(_)), "{id:?}");
}

#[tokio::test]
async fn a_connection_that_breaks_fails_all_and_the_next_serves() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.port()).await;
    let connection = RedisConnection::open(&proxy.redis_url()).await.unwrap();
    let mut sent = proxy.hold_next("GET");
    let asking = tokio::spawn({
        let connection = connection.clone();
        async move { ask_for_each(&connection, (0..9).map(|n| format!("key{n}"))).await }
    });
    sent.reached().await;
    proxy.set(Fault::Refuse).await;
    let answers = asking.await.unwrap();
    assert!(answers.len() == 9 && answers.iter().all(|(_, answer)| answer.is_err()), "{answers:?}");
    proxy.set(Fault::None).await;
    let all_are_answered = async {
        while !ask_for_each(&connection, (0..9).map(|n| format!("key{n}")))
            .await
            .iter()
            .all(|(_, answer)| answer.is_ok())
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all_are_answered).await.unwrap();
}

#[tokio::test]
async fn who_goes_away_before_the_command_was_sent_takes_it_back() {
    let server = RedisServer::start().await;
    let mut connection = RedisConnection::open(&server.url()).await.unwrap();
    drop(connection.ask(command(&["SET", "given-up", "1"])));
    {
        let set = command(&["SET", "given-up-too", "1"]);
        let mut asking = connection.req_packed_command(&set);
        assert!(asking.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    connection.ask(command(&["SET", "kept", "1"])).await.unwrap();
    assert_eq!(server.cli(&["KEYS", "*"]).await.trim(), "kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_goes_away_nobody_is_given_the_session_of_another() {
    let server = RedisServer::start().await;
    let store = RedisStore::connect(&server.url()).await.unwrap();
    let config = SessionConfig::default().near_cache(NearCache::Off);
    let sessions = Sessions::new(store, KeyRing::new(&[7; 32]).unwrap(), config);
    let mut browsers = Vec::new();
    for n in 0..50 {
        let user = UserId::new(format!("user-{n}")).unwrap();
        browsers.push((user.clone(), signed_in(&sessions, user).await));
    }
    for round in 0..40 {
        let mut requests = JoinSet::new();
        for (n, (user, browser)) in browsers.iter().cycle().take(200).cloned().enumerate() {
            let sessions = sessions.clone();
            // One request in three is dropped: before, while or after it is answered.
            let patience = if n % 3 == 0 {
                Duration::from_micros((n as u64 * 13 + round * 7) % 900)
            } else {
                PATIENCE
            };
            requests.spawn(async move {
                let opened = tokio::time::timeout(patience, sessions.open(&browser)).await;
                opened.ok().map(|session| (user, session.user()))
            });
        }
        let answers = requests.join_all().await;
        assert!(answers.iter().flatten().count() >= 133, "those who wait are answered");
        for (user, found) in answers.into_iter().flatten() {
            assert_eq!(found.unwrap(), user);
        }
    }
}

/// Headers with the cookie of a new session.
async fn signed_in(sessions: &Sessions, user: UserId) -> HeaderMap {
    let app = Router::new()
        .route(
            "/",
            get(async move |session: Session| session.sign_in(SignIn::new(user, "test")).await),
        )
        .layer(SessionLayer::new(sessions.clone()));
    let response = app.oneshot(Request::new(Body::empty())).await.unwrap();
    let cookie = response.headers()[SET_COOKIE].to_str().unwrap().split(';').next().unwrap();
    HeaderMap::from_iter([(COOKIE, cookie.parse().unwrap())])
}
