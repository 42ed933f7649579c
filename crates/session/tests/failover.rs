//! A primary dies under load.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower::ServiceExt;
use tracera_session::store::Tag;
use tracera_session::{
    KeyRing, RedisLimits, RedisStore, SessionConfig, SessionError, SessionLayer, Sessions, SignIn,
    UserId,
};
use tracera_testkit::{RedisCluster, RedisSentinel};

/// No operation takes longer than the limits of the store, whatever fails.
const LIMIT: Duration = Duration::from_secs(2);

const USERS: usize = 12;

/// One browser that counts in its session for as long as the test runs.
struct Counter {
    user: UserId,
    cookie: HeaderValue,
}

/// The outcomes of a browser's increments.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    done: i64,
    unknown: i64,
    longest: Duration,
    after_the_last_failure: i64,
}

fn cluster_url(cluster: &RedisCluster) -> String {
    let hosts: Vec<_> = cluster.urls().iter().map(|url| url.replace("redis://", "")).collect();
    format!("redis+cluster://{}", hosts.join(","))
}

async fn start(sessions: &Sessions) -> Vec<Counter> {
    let mut counters = Vec::new();
    for n in 0..USERS {
        let user = UserId::new(format!("user-{n}")).unwrap();
        let cookie = sign_in(sessions, &user).await;
        counters.push(Counter { user, cookie });
    }
    counters
}

/// Signs in through the layer, which makes the cookie.
async fn sign_in(sessions: &Sessions, user: &UserId) -> HeaderValue {
    let sign_in = SignIn::new(user.clone(), "test");
    let route = axum::routing::any(move |session: tracera_session::Session| async move {
        session.sign_in(sign_in).await
    });
    let app: axum::Router =
        axum::Router::new().route("/", route).layer(SessionLayer::new(sessions.clone()));
    let response = app.oneshot(http::Request::new(axum::body::Body::empty())).await.unwrap();
    let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap();
    cookie.split_once(';').unwrap().0.parse().unwrap()
}

async fn count(sessions: Sessions, cookie: HeaderValue, stop: Arc<AtomicBool>) -> Tally {
    let headers: HeaderMap = [(header::COOKIE, cookie)].into_iter().collect();
    let mut tally = Tally::default();
    while !stop.load(Ordering::SeqCst) {
        let before = Instant::now();
        let session = sessions.open(&headers).await;
        tally.longest = tally.longest.max(before.elapsed());
        let before = Instant::now();
        match session.increment("n", 1).await {
            Ok(_) => {
                tally.done += 1;
                tally.after_the_last_failure += 1;
            }
            Err(SessionError::Unavailable(_)) => {
                tally.unknown += 1;
                tally.after_the_last_failure = 0;
            }
            Err(other) => panic!("{other:?}: an unavailable store was taken for an answer"),
        }
        tally.longest = tally.longest.max(before.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    tally
}

/// Counts under load while `disturb` runs. Checks that no session is lost, no increment counts
/// twice and no request is too slow.
async fn nothing_is_lost_while(
    sessions: &Sessions,
    counters: &[Counter],
    disturb: impl AsyncFnOnce(),
) {
    let stop = Arc::new(AtomicBool::new(false));
    let mut running = JoinSet::new();
    for (n, counter) in counters.iter().enumerate() {
        let work = count(sessions.clone(), counter.cookie.clone(), stop.clone());
        running.spawn(async move { (n, work.await) });
    }
    disturb().await;
    // The store recovers by itself: every session is written again.
    let deadline = Instant::now() + Duration::from_secs(20);
    for counter in counters {
        let headers: HeaderMap = [(header::COOKIE, counter.cookie.clone())].into_iter().collect();
        loop {
            let session = sessions.open(&headers).await;
            match session.increment("probe", 1).await {
                Ok(_) => break,
                Err(SessionError::Unavailable(_)) => {
                    assert!(Instant::now() < deadline, "no recovery");
                }
                Err(other) => panic!("{:?} lost its session: {other:?}", counter.user),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    stop.store(true, Ordering::SeqCst);
    let mut failed = 0;
    for (n, tally) in running.join_all().await {
        let headers: HeaderMap =
            [(header::COOKIE, counters[n].cookie.clone())].into_iter().collect();
        let session = sessions.open(&headers).await;
        assert_eq!(session.user().unwrap(), counters[n].user);
        let counted = session.get::<i64>("n").await.unwrap().unwrap();
        assert!(tally.longest < LIMIT, "{tally:?}");
        assert!(
            counted <= tally.done + tally.unknown,
            "counted {counted}, an increment ran twice: {tally:?}"
        );
        assert!(counted >= tally.after_the_last_failure, "counted {counted}: {tally:?}");
        failed += tally.unknown;
    }
    println!("{failed} operations were answered with unavailable");
    assert!(failed > 0, "the primary's death was noticed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_loses_a_primary_loses_no_session_and_counts_nothing_twice() {
    let cluster = RedisCluster::start().await;
    let store = RedisStore::connect(&cluster_url(&cluster)).await.unwrap();
    let sessions = Sessions::new(store, KeyRing::new(&[7; 32]).unwrap(), SessionConfig::default());
    let counters = start(&sessions).await;
    // Replicates all earlier writes, because replication is asynchronous.
    for node in cluster.nodes() {
        if node.cli(&["ROLE"]).await.starts_with("master") {
            node.wait_for_replicas().await;
        }
    }
    nothing_is_lost_while(&sessions, &counters, async || {
        let key = format!("session:{{{}}}", Tag::of_user(&counters[0].user));
        cluster.kill_primary_of(&key).await;
        cluster.wait_for_failover_of(&key).await;
    })
    .await;
}

/// Like the test above, with a late reply: the command waits in the frozen primary's socket and
/// runs after the thaw.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_increment_whose_reply_from_a_cluster_is_late_runs_at_most_once() {
    let cluster = RedisCluster::start().await;
    let store = RedisStore::connect(&cluster_url(&cluster)).await.unwrap();
    let sessions = Sessions::new(store, KeyRing::new(&[7; 32]).unwrap(), SessionConfig::default());
    let user = UserId::new("user").unwrap();
    let headers: HeaderMap =
        [(header::COOKIE, sign_in(&sessions, &user).await)].into_iter().collect();
    let session = sessions.open(&headers).await;
    let key = format!("session:{{{}}}", Tag::of_user(&user));
    let primary = cluster.primary_of(&key).await;
    primary.freeze().await;
    let before = Instant::now();
    let mut increment = std::pin::pin!(session.increment("n", 1));
    // Thawed after the limit for a reply, and before the cluster fails the primary over.
    let early = tokio::time::timeout(RedisLimits::default().response * 9 / 8, &mut increment).await;
    primary.thaw();
    let outcome = match early {
        Ok(outcome) => outcome,
        Err(_) => increment.await,
    };
    assert!(matches!(outcome, Err(SessionError::Unavailable(_))), "{outcome:?}");
    assert!(before.elapsed() < LIMIT);
    let deadline = Instant::now() + Duration::from_secs(20);
    let counted = loop {
        match session.increment("n", 0).await {
            Ok(counted) => break counted,
            Err(SessionError::Unavailable(_)) => assert!(Instant::now() < deadline, "no recovery"),
            Err(other) => panic!("{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(counted <= 1, "it ran {counted} times");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sentinel_failover_loses_no_session_and_counts_nothing_twice() {
    let sentinel = RedisSentinel::start().await;
    let store = RedisStore::connect(&sentinel.url()).await.unwrap();
    let sessions = Sessions::new(store, KeyRing::new(&[7; 32]).unwrap(), SessionConfig::default());
    let counters = start(&sessions).await;
    sentinel.primary().await.wait_for_replicas().await;
    nothing_is_lost_while(&sessions, &counters, async || {
        sentinel.kill_primary().await;
        sentinel.wait_for_failover().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_was_replaced_alive_is_left_before_it_is_demoted() {
    let redis = RedisSentinel::start().await;
    let store = RedisStore::connect(&redis.url()).await.unwrap();
    let sessions = Sessions::new(store, KeyRing::new(&[7; 32]).unwrap(), SessionConfig::default());
    let old = redis.primary().await;
    old.wait_for_replicas().await;
    // Sentinels demote a server four of these periods after it was replaced.
    for sentinel in redis.sentinels() {
        sentinel.cli(&["SENTINEL", "DEBUG", "publish-period", "30000"]).await;
    }
    redis.sentinels()[0].cli(&["SENTINEL", "FAILOVER", "tracera"]).await;

    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let session = sessions.open(&HeaderMap::new()).await;
        let signed_in = session.sign_in(SignIn::new(UserId::new("user").unwrap(), "test")).await;
        let new = redis.primary().await;
        if signed_in.is_ok()
            && new.port() != old.port()
            && new.cli(&["KEYS", "session:*"]).await.contains("session:")
        {
            break;
        }
        assert!(Instant::now() < deadline, "sign-ins still go to the old primary");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(old.cli(&["ROLE"]).await.starts_with("master"), "nobody has demoted it");
}
