//! Rate limits on a real `PostgreSQL`: decisions of several instances, and stored rows.

#![cfg(feature = "rate-limit")]
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Executor, PgPool};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracera_guard::{RateLimit, RateLimitError, RateLimiter};
use tracera_session_sqlx::PostgresLimits;
use tracera_testkit::{Fault, FaultProxy, Postgres};

const AUTH: RateLimit = RateLimit::new("auth", 20, Duration::from_secs(60));

async fn pool(port: u16, options: &[(&str, &str)]) -> PgPool {
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
    let options = url.parse::<PgConnectOptions>().unwrap().options(options.iter().copied());
    PgPoolOptions::new().max_connections(4).connect_with(options).await.unwrap()
}

async fn instance(server: &Postgres, limit: RateLimit) -> RateLimiter {
    let store = PostgresLimits::open(pool(server.port(), &[]).await).await.unwrap();
    RateLimiter::in_store(limit, store)
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(1_800_000_000 + secs)
}

/// The number admitted of `n` concurrent requests over all instances.
async fn admitted_at_once(instances: &[RateLimiter], n: usize) -> usize {
    let mut checks = JoinSet::new();
    for n in 0..n {
        let instance = instances[n % instances.len()].clone();
        let network = ["/24", "/16"][n / instances.len() % 2];
        checks.spawn(async move {
            // In both orders, which would deadlock if rows were locked in the order of the keys.
            let wide = [(network, 10), ("everybody", 50)];
            let wide = if n % 3 == 0 { [wide[1], wide[0]] } else { wide };
            instance.check_all(&[("a", 1), wide[0], wide[1]]).await.unwrap().allowed
        });
    }
    checks.join_all().await.into_iter().filter(|allowed| *allowed).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_on_one_postgres_admit_exactly_twenty() {
    let server = Postgres::start().await;
    let instances = [instance(&server, AUTH).await, instance(&server, AUTH).await];
    assert_eq!(admitted_at_once(&instances, 200).await, 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stricter_isolation_admits_exactly_twenty_too() {
    let server = Postgres::start().await;
    let limiter = async |isolation| {
        let options = [("default_transaction_isolation", isolation)];
        let store = PostgresLimits::open(pool(server.port(), &options).await).await.unwrap();
        RateLimiter::in_store(AUTH, store)
    };
    let (repeatable, serializable) =
        (limiter("repeatable read").await, limiter("serializable").await);
    assert_eq!(admitted_at_once(&[repeatable, serializable], 60).await, 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_that_start_together_make_the_table_once() {
    let server = Postgres::start().await;
    let pool = pool(server.port(), &[]).await;
    let mut opening = JoinSet::new();
    for _ in 0..8 {
        opening.spawn(PostgresLimits::open(pool.clone()));
    }
    for opened in opening.join_all().await {
        opened.unwrap();
    }
}

#[tokio::test]
async fn limits_and_keys_do_not_share_and_a_forgotten_key_begins_anew() {
    let server = Postgres::start().await;
    let store = PostgresLimits::open(pool(server.port(), &[]).await).await.unwrap();
    let one = RateLimit::new("one", 1, Duration::from_secs(60));
    let other = RateLimit::new("other", 1, Duration::from_secs(60));
    let [one, other] = [one, other].map(|limit| RateLimiter::in_store(limit, store.clone()));
    let long = "x".repeat(100_000);
    for key in ["a", "", "a\0b", "ü", &long] {
        assert!(one.check(key).await.unwrap().allowed, "{key:.9}");
        assert!(other.check(key).await.unwrap().allowed, "{key:.9}");
        assert!(!one.check(key).await.unwrap().allowed, "{key:.9}");
        one.forget(key).await.unwrap();
        assert!(one.check(key).await.unwrap().allowed, "{key:.9}");
        assert!(!other.check(key).await.unwrap().allowed, "{key:.9}");
    }
}

#[tokio::test]
async fn whoever_waits_as_told_is_admitted_after_the_limit_was_lowered_too() {
    let server = Postgres::start().await;
    let before = instance(&server, AUTH).await;
    let after = instance(&server, RateLimit::new("auth", 5, Duration::from_secs(60))).await;
    for second in 0..20 {
        assert!(before.check_at("a", secs(second)).await.unwrap().allowed);
    }
    let refused = after.check_at("a", secs(20)).await.unwrap();
    assert_eq!((refused.allowed, refused.remaining, refused.retry_after_secs()), (false, 0, 56));
    assert!(!after.check_at("a", secs(75)).await.unwrap().allowed);
    assert!(after.check_at("a", secs(76)).await.unwrap().allowed);
}

#[tokio::test]
async fn expired_rows_are_removed_and_refusals_write_nothing() {
    let server = Postgres::start().await;
    let pool = pool(server.port(), &[]).await;
    let store = PostgresLimits::open(pool.clone()).await.unwrap();
    let limiter = RateLimiter::in_store(RateLimit::new("auth", 1, Duration::from_secs(60)), store);
    let rows = async || -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM tracera_limits").fetch_one(&pool).await.unwrap()
    };
    for n in 0..40 {
        assert!(limiter.check(&format!("early-{n}")).await.unwrap().allowed);
    }
    assert_eq!(rows().await, 40);
    let version = "SELECT xmin::text || xmax::text FROM tracera_limits WHERE key = 'auth:early-0'";
    let before: String = sqlx::query_scalar(version).fetch_one(&pool).await.unwrap();
    assert!(!limiter.check("early-0").await.unwrap().allowed);
    let after: String = sqlx::query_scalar(version).fetch_one(&pool).await.unwrap();
    assert_eq!(after, before);

    let living = "SELECT expires - extract(epoch FROM now())::bigint FROM tracera_limits LIMIT 1";
    let living: i64 = sqlx::query_scalar(living).fetch_one(&pool).await.unwrap();
    assert!((60..=121).contains(&living), "{living} s");
    pool.execute("UPDATE tracera_limits SET expires = 1").await.unwrap();
    let begin = Instant::now();
    for n in 0.. {
        assert!(limiter.check(&format!("late-{n}")).await.unwrap().allowed);
        if rows().await <= n + 1 {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(10), "never removed");
    }
}

#[tokio::test]
async fn a_role_with_rights_on_the_table_alone_can_limit_and_one_without_cannot() {
    let server = Postgres::start().await;
    let admin = pool(server.port(), &[]).await;
    PostgresLimits::open(admin.clone()).await.unwrap();
    admin.execute("CREATE ROLE limits LOGIN; CREATE ROLE nobody LOGIN").await.unwrap();
    admin
        .execute("GRANT SELECT, INSERT, UPDATE, DELETE ON tracera_limits TO limits")
        .await
        .unwrap();
    for (role, may) in [("limits", true), ("nobody", false)] {
        let options = [("role", role)];
        let store = PostgresLimits::open(pool(server.port(), &options).await).await.unwrap();
        let limiter = RateLimiter::in_store(AUTH, store);
        let asked = limiter.check(role).await;
        assert_eq!(asked.is_ok(), may, "{role}: {asked:?}");
        assert_eq!(limiter.forget(role).await.is_ok(), may, "{role}");
    }
}

#[tokio::test]
async fn without_postgres_nothing_is_admitted_and_afterwards_it_counts_on() {
    let server = Postgres::start().await;
    let proxy = FaultProxy::start(server.port()).await;
    let store = PostgresLimits::open(pool(proxy.port(), &[]).await).await.unwrap();
    let limiter = RateLimiter::in_store(AUTH, store);
    assert_eq!(limiter.check("a").await.unwrap().remaining, 19);
    for fault in [Fault::Refuse, Fault::BlackHole] {
        proxy.set(fault).await;
        let begin = Instant::now();
        let error = limiter.check("a").await.unwrap_err();
        assert!(matches!(error, RateLimitError::Unavailable(_)), "{fault:?}: {error:?}");
        assert!(begin.elapsed() < Duration::from_secs(3), "{fault:?}: {:?}", begin.elapsed());
    }
    proxy.set(Fault::None).await;
    let begin = Instant::now();
    let decision = loop {
        match limiter.check("a").await {
            Ok(decision) => break decision,
            Err(error) => assert!(begin.elapsed() < Duration::from_secs(10), "{error}"),
        }
    };
    assert!(decision.remaining <= 18, "{decision:?}");
}

type Keys = &'static [(&'static str, u32)];

/// Steps between requests in microseconds, often ending at the edge of a window.
fn forward() -> BoxedStrategy<i64> {
    prop_oneof![4 => 0..400i64, 1 => Just(1_000), 1 => Just(1_001), 1 => 0..3_000i64].boxed()
}

/// Runs random schedules of (keys, step of the clock) here and in memory, and compares the
/// decisions. The tests of `tracera-guard` compare those in memory with the definition.
fn compare(schedule: impl Strategy<Value = Vec<(Keys, i64)>>) {
    const LIMIT: RateLimit = RateLimit::new("model", 3, Duration::from_millis(1));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(Postgres::start());
    let pool = runtime.block_on(pool(server.port(), &[]));
    let store = runtime.block_on(PostgresLimits::open(pool.clone())).unwrap();
    let mut runner =
        TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
    let run = runner.run(&schedule, |schedule| {
        runtime.block_on(async {
            pool.execute("DELETE FROM tracera_limits").await.unwrap();
            let (memory, shared) =
                (RateLimiter::in_memory(LIMIT), RateLimiter::in_store(LIMIT, store.clone()));
            let mut now = 1_800_000_000_000_000u64;
            for (keys, step) in schedule {
                now = now.saturating_add_signed(step);
                let at = Duration::from_micros(now);
                let expected = memory.check_all_at(keys, at).await.unwrap();
                prop_assert_eq!(shared.check_all_at(keys, at).await.unwrap(), expected);
            }
            Ok(())
        })
    });
    run.unwrap();
}

#[test]
fn postgres_decides_as_memory_does_under_several_keys_at_once() {
    let keys = prop_oneof![
        Just(&[("a", 1), ("a/56", 2), ("/48", 3)][..]),
        Just(&[("b", 1), ("a/56", 2), ("/48", 3)][..]),
        Just(&[("c", 1)][..]),
    ];
    compare(proptest::collection::vec((keys, forward()), 1..60));
}

#[test]
fn postgres_decides_as_memory_does_when_the_clock_is_set_back() {
    let step = prop_oneof![6 => forward(), 1 => -1_500..0i64];
    compare(proptest::collection::vec((Just(&[("a", 1)][..]), step), 1..60));
}
