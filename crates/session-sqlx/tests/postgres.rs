//! The store on a real `PostgreSQL`: the conformance suite, announcements and failures.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::time::{Instant, sleep, timeout};
use tracera_session::testing::{self, ALL, Instances, signed_in};
use tracera_session::{
    Clock, Ended, KeyRing, MAX_STALENESS, SessionConfig, SessionError, Sessions, SignIn, Timestamp,
    UserId,
};
use tracera_session_sqlx::PostgresStore;
use tracera_testkit::{Fault, FaultProxy, Postgres};

/// A generous limit, because the suite tests behaviour, not speed, on a machine that may be busy.
const PATIENCE: Duration = Duration::from_secs(20);
/// A limit for cases that wait for it repeatedly.
const SHORT: Duration = Duration::from_millis(700);
/// Upper bound of every wait in the tests.
const LIMIT: Duration = Duration::from_secs(10);

async fn pool(url: &str, schema: &str) -> PgPool {
    let options: PgConnectOptions = url.parse().unwrap();
    let options = options.options([("search_path", schema)]);
    PgPoolOptions::new().max_connections(4).connect_with(options).await.unwrap()
}

/// A separate schema for each case, because a case moves its clock, and values that have expired by
/// that clock are removed.
async fn storage(server: &Postgres, schema: &str, limit: Duration) -> Instances {
    let proxy = Arc::new(FaultProxy::start(server.port()).await);
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", proxy.port());
    let open = async || {
        let store = PostgresStore::open(pool(&url, schema).await).await.unwrap();
        store.time_limit(limit)
    };
    let made = pool(&url, "public").await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}")))
        .execute(&made)
        .await
        .unwrap();
    made.close().await;
    let (one, other) = tokio::join!(open(), open());
    Instances::new(one, other).breaking(move |fault| {
        let proxy = Arc::clone(&proxy);
        async move {
            let fault = match fault {
                testing::Fault::Refuses => Fault::Refuse,
                testing::Fault::Stalls => Fault::BlackHole,
                _ => Fault::None,
            };
            proxy.set(fault).await;
        }
    })
}

/// All cases run on one server, because starting one takes longer than a case.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_conformance_suite_passes_on_two_handles_of_one_database() {
    let server = Postgres::start().await;
    let mut failed = Vec::new();
    for (number, case) in ALL.iter().enumerate() {
        let limit = if case.name.starts_with("a_store_that_") { SHORT } else { PATIENCE };
        let instances = storage(&server, &format!("case_{number}"), limit).await;
        if tokio::spawn(case.run(instances)).await.is_err() {
            failed.push(case.name);
        }
    }
    assert_eq!(failed, [""; 0]);
}

/// Two instances of an application and a browser that is signed in. The first instance has the
/// session in its near-cache and reaches the database through a proxy.
struct Scene {
    server: Postgres,
    proxy: FaultProxy,
    here: Sessions,
    there: Sessions,
    browser: HeaderMap,
}

impl Scene {
    async fn set() -> Self {
        let server = Postgres::start().await;
        let proxy = FaultProxy::start(server.port()).await;
        let here = instance(proxy.port()).await;
        let there = instance(server.port()).await;
        let browser = signed_in(&there, SignIn::new(ann(), "password")).await.unwrap();
        let scene = Self { server, proxy, here, there, browser };
        scene.warms().await;
        scene
    }

    /// The browser's user, according to the first instance.
    async fn user(&self) -> Result<UserId, SessionError> {
        self.here.open(&self.browser).await.user()
    }

    /// Waits until the first instance answers from memory.
    async fn warms(&self) {
        eventually(async || {
            let hits = self.here.cache_stats().hits;
            self.user().await.is_ok() && self.here.cache_stats().hits > hits
        })
        .await;
    }

    async fn signs_in_again(&mut self) {
        self.browser = signed_in(&self.there, SignIn::new(ann(), "password")).await.unwrap();
        self.warms().await;
    }
}

fn ann() -> UserId {
    UserId::new("ann").unwrap()
}

async fn instance(port: u16) -> Sessions {
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
    let store = PostgresStore::open(pool(&url, "public").await).await.unwrap();
    let keys = KeyRing::new(&[7; 32]).unwrap();
    Sessions::new(store, keys, SessionConfig::default().secure(false))
}

async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !holds().await {
        assert!(begin.elapsed() < LIMIT, "it never happened");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_reaches_the_cache_and_the_open_streams_of_another_instance() {
    let scene = Scene::set().await;
    let watch = scene.here.open(&scene.browser).await.watch().unwrap();
    let stream = tokio::spawn(async move { watch.ended().await });
    scene.there.revoke_all(&ann()).await.unwrap();
    let revoked = Instant::now();
    eventually(async || scene.user().await.is_err()).await;
    println!("refused after {:?}", revoked.elapsed());
    assert!(revoked.elapsed() < Duration::from_secs(1));
    assert!(matches!(
        timeout(LIMIT, stream).await.unwrap().unwrap(),
        Ended::Revoked | Ended::Absent
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_cannot_be_reached_is_an_error_in_time_and_never_signed_out() {
    let mut scene = Scene::set().await;
    for fault in [Fault::Refuse, Fault::BlackHole] {
        scene.proxy.set(fault).await;
        let begin = Instant::now();
        while begin.elapsed() < MAX_STALENESS + Duration::from_secs(1) {
            let asked = Instant::now();
            let user = scene.user().await;
            assert!(
                matches!(user, Ok(_) | Err(SessionError::Unavailable(_))),
                "{fault:?}: {user:?}"
            );
            assert!(asked.elapsed() < Duration::from_secs(3), "{fault:?}: {:?}", asked.elapsed());
            sleep(Duration::from_millis(20)).await;
        }
        assert!(scene.user().await.is_err(), "{fault:?}: still answered from memory");
        assert!(scene.here.revoke_all(&ann()).await.is_err(), "{fault:?}");
        scene.proxy.set(Fault::None).await;
        scene.signs_in_again().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_revoked_while_nobody_listens_is_not_accepted_beyond_the_bound() {
    let scene = Scene::set().await;
    scene.proxy.set(Fault::BlackHole).await;
    scene.there.revoke_all(&ann()).await.unwrap();
    let revoked = Instant::now();
    let mut accepted = Duration::ZERO;
    while revoked.elapsed() < MAX_STALENESS + Duration::from_secs(1) {
        if scene.user().await.is_ok() {
            accepted = revoked.elapsed();
        }
        sleep(Duration::from_millis(5)).await;
    }
    println!("last accepted after {accepted:?}");
    assert!(accepted < MAX_STALENESS, "{accepted:?}");
    scene.proxy.set(Fault::None).await;
    eventually(async || matches!(scene.user().await, Err(SessionError::Unauthenticated))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_database_loses_no_session_and_the_feed_begins_anew() {
    let mut scene = Scene::set().await;
    scene.server.restart().await;
    scene.warms().await;
    scene.there.revoke_all(&ann()).await.unwrap();
    eventually(async || matches!(scene.user().await, Err(SessionError::Unauthenticated))).await;
    scene.signs_in_again().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_rows_are_removed_by_later_writes() {
    let server = Postgres::start().await;
    let pool = pool(&server.url(), "public").await;
    let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
    let config = SessionConfig::default().clock(clock.clone());
    let store = PostgresStore::open(pool.clone()).await.unwrap();
    let sessions = Sessions::new(store, KeyRing::new(&[7; 32]).unwrap(), config);
    let sign_in = async |user: String| {
        let sign_in = SignIn::new(UserId::new(user).unwrap(), "password");
        signed_in(&sessions, sign_in).await.unwrap();
    };
    for number in 0..20 {
        sign_in(format!("early-{number}")).await;
    }
    clock.advance(Duration::from_hours(24 * 365));
    for number in 0..20 {
        sign_in(format!("late-{number}")).await;
    }
    eventually(async || {
        let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM tracera_sessions")
            .fetch_one(&pool)
            .await
            .unwrap();
        rows == 20
    })
    .await;
}
