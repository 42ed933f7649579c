//! The sliding window in both stores: decisions, replies and failures.
#![cfg(feature = "redis")]
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Pipeline};
use tokio::task::JoinSet;
use tracera_guard::{Decision, RateLimit, RateLimitError, RateLimiter};
use tracera_testkit::RedisServer;

const AUTH: RateLimit = RateLimit::new("auth", 20, Duration::from_secs(60));
const MICRO: Duration = Duration::from_micros(1);

async fn connect(server: &RedisServer) -> MultiplexedConnection {
    let client = Client::open(server.url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

/// The same limit in each store, and the Redis of the second store.
async fn stores(limit: RateLimit) -> ([RateLimiter; 2], RedisServer) {
    let server = RedisServer::start().await;
    let shared = RateLimiter::redis(limit, connect(&server).await);
    ([RateLimiter::in_memory(limit), shared], server)
}

fn secs(secs: u64) -> Duration {
    // Far from zero, like a time since the epoch.
    Duration::from_secs(1_800_000_000 + secs)
}

/// The number admitted of `n` requests at one moment.
async fn admitted(limiter: &RateLimiter, key: &str, n: u32, now: Duration) -> u32 {
    let mut admitted = 0;
    for _ in 0..n {
        admitted += u32::from(limiter.check_at(key, now).await.unwrap().allowed);
    }
    admitted
}

#[tokio::test]
async fn no_span_of_a_minute_admits_more_where_a_fixed_window_would() {
    let (limiters, _server) = stores(AUTH).await;
    for limiter in limiters {
        // A window that begins at each full minute would admit 20 just before its edge and 20 just
        // after.
        assert_eq!(admitted(&limiter, "a", 25, secs(59)).await, 20, "{limiter:?}");
        assert_eq!(admitted(&limiter, "a", 25, secs(61)).await, 0, "{limiter:?}");
        assert_eq!(admitted(&limiter, "a", 25, secs(119)).await, 0, "{limiter:?}");
        assert_eq!(admitted(&limiter, "a", 25, secs(120)).await, 20, "{limiter:?}");
    }
}

#[tokio::test]
async fn no_span_of_a_minute_admits_more_where_a_token_bucket_would() {
    let (limiters, _server) = stores(AUTH).await;
    for limiter in limiters {
        assert_eq!(admitted(&limiter, "a", 20, secs(0)).await, 20, "{limiter:?}");
        // A bucket refills one token each three seconds.
        for at in (3..=60).step_by(3) {
            assert_eq!(admitted(&limiter, "a", 1, secs(at)).await, 0, "{limiter:?} {at}");
        }
        assert_eq!(admitted(&limiter, "a", 25, secs(60) + MICRO).await, 20, "{limiter:?}");
    }
}

#[tokio::test]
async fn a_request_exactly_one_window_old_still_counts() {
    let (limiters, _server) = stores(AUTH).await;
    for limiter in limiters {
        assert_eq!(admitted(&limiter, "a", 1, secs(0)).await, 1);
        assert_eq!(admitted(&limiter, "a", 20, secs(60)).await, 19, "{limiter:?}");
        assert_eq!(admitted(&limiter, "a", 2, secs(60) + MICRO).await, 1, "{limiter:?}");
    }
}

#[tokio::test]
async fn a_refused_request_changes_nothing() {
    let (limiters, _server) = stores(AUTH).await;
    for limiter in limiters {
        assert_eq!(admitted(&limiter, "a", 20, secs(0)).await, 20);
        for at in 1..=60 {
            assert_eq!(admitted(&limiter, "a", 3, secs(at)).await, 0, "{limiter:?} {at}");
        }
        assert_eq!(admitted(&limiter, "a", 1, secs(61)).await, 1, "{limiter:?}");
    }
}

#[tokio::test]
async fn a_forgotten_key_begins_anew_and_others_do_not() {
    let (limiters, _server) = stores(AUTH).await;
    for limiter in limiters {
        assert_eq!(admitted(&limiter, "a", 20, secs(0)).await, 20);
        assert_eq!(admitted(&limiter, "b", 20, secs(0)).await, 20);
        limiter.forget("a").await.unwrap();
        limiter.forget("unknown").await.unwrap();
        assert_eq!(admitted(&limiter, "a", 25, secs(1)).await, 20, "{limiter:?}");
        assert_eq!(admitted(&limiter, "b", 1, secs(1)).await, 0, "{limiter:?}");
    }
}

#[tokio::test]
async fn keys_do_not_share() {
    let (limiters, _server) = stores(AUTH).await;
    for limiter in limiters {
        assert_eq!(admitted(&limiter, "a", 21, secs(0)).await, 20);
        assert_eq!(admitted(&limiter, "b", 21, secs(0)).await, 20, "{limiter:?}");
        assert_eq!(admitted(&limiter, "", 21, secs(0)).await, 20, "{limiter:?}");
    }
}

#[tokio::test]
async fn the_decision_says_where_the_client_stands() {
    let (limiters, _server) = stores(AUTH).await;
    for limiter in limiters {
        let first = limiter.check_at("a", secs(0)).await.unwrap();
        assert!(first.allowed);
        assert_eq!((first.limit, first.remaining), (20, 19));
        assert_eq!(first.reset_after, Duration::from_secs(60));
        assert_eq!(first.retry_after_secs(), 0);

        admitted(&limiter, "a", 18, secs(1)).await;
        let last = limiter.check_at("a", secs(10)).await.unwrap();
        assert_eq!((last.allowed, last.remaining), (true, 0));
        assert_eq!(last.reset_after, Duration::from_secs(50));
        assert_eq!(last.retry_after_secs(), 51);

        let refused = limiter.check_at("a", secs(10) + MICRO).await.unwrap();
        assert_eq!((refused.allowed, refused.remaining), (false, 0));
        assert_eq!(refused.reset_after, Duration::from_micros(49_999_999));
        assert_eq!(refused.retry_after_secs(), 50);
    }
}

#[tokio::test]
async fn whoever_waits_as_told_is_admitted_after_the_limit_was_lowered_too() {
    let server = RedisServer::start().await;
    let before = RateLimiter::redis(AUTH, connect(&server).await);
    let lowered = RateLimit::new("auth", 5, Duration::from_secs(60));
    let after = RateLimiter::redis(lowered, connect(&server).await);
    for second in 0..20 {
        assert_eq!(admitted(&before, "a", 1, secs(second)).await, 1);
    }
    let refused = after.check_at("a", secs(20)).await.unwrap();
    assert_eq!((refused.allowed, refused.remaining, refused.retry_after_secs()), (false, 0, 56));
    assert!(!after.check_at("a", secs(75)).await.unwrap().allowed);
    assert!(after.check_at("a", secs(76)).await.unwrap().allowed);
}

#[tokio::test]
async fn a_clock_set_back_locks_nobody_out_for_longer_than_a_window() {
    let (limiters, _server) = stores(AUTH).await;
    for limiter in limiters {
        assert_eq!(admitted(&limiter, "a", 25, secs(100_000)).await, 20);
        assert_eq!(admitted(&limiter, "a", 25, secs(0)).await, 0, "{limiter:?}");
        assert_eq!(admitted(&limiter, "a", 25, secs(60)).await, 0, "{limiter:?}");
        assert_eq!(admitted(&limiter, "a", 25, secs(61)).await, 20, "{limiter:?}");
    }
}

#[tokio::test]
async fn five_hundred_at_once_over_two_connections_admit_exactly_twenty() {
    let server = RedisServer::start().await;
    let instances = [
        RateLimiter::redis(AUTH, connect(&server).await),
        RateLimiter::redis(AUTH, connect(&server).await),
    ];
    let mut checks = JoinSet::new();
    for n in 0..500 {
        let instance = instances[n % 2].clone();
        checks.spawn(async move { instance.check("a").await.unwrap().allowed });
    }
    let admitted = checks.join_all().await.into_iter().filter(|allowed| *allowed);
    assert_eq!(admitted.count(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn five_hundred_at_once_in_memory_admit_exactly_twenty() {
    let limiter = RateLimiter::in_memory(AUTH);
    let mut checks = JoinSet::new();
    for _ in 0..500 {
        let limiter = limiter.clone();
        checks.spawn(async move { limiter.check("a").await.unwrap().allowed });
    }
    let admitted = checks.join_all().await.into_iter().filter(|allowed| *allowed);
    assert_eq!(admitted.count(), 20);
}

#[tokio::test]
async fn every_key_in_redis_expires_and_none_is_longer_than_its_bound() {
    let (limiters, server) = stores(AUTH).await;
    let limiter = &limiters[1];
    let long = "x".repeat(100_000);
    for key in ["203.0.113.9", "2001:db8::/64", &long, "", "a b\n\"c\""] {
        for _ in 0..25 {
            limiter.check(key).await.unwrap();
        }
    }
    let mut connection = connect(&server).await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
    assert_eq!(keys.len(), 5);
    assert!(keys.contains(&"ratelimit:auth:203.0.113.9".to_owned()), "{keys:?}");
    for key in keys {
        assert!(key.len() <= 150, "{} bytes", key.len());
        let ttl: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut connection).await.unwrap();
        assert!((50_000..=61_000).contains(&ttl), "{key}: {ttl}");
        let packed: Vec<u8> =
            redis::cmd("GET").arg(&key).query_async(&mut connection).await.unwrap();
        let times = packed
            .chunks(8)
            .map(|at| u64::from_le_bytes(at.try_into().unwrap()))
            .collect::<Vec<_>>();
        assert_eq!(times.len(), 20);
        assert!(times.is_sorted());
    }
}

#[tokio::test]
async fn a_flushed_script_cache_is_filled_again_without_a_lost_check() {
    let (limiters, server) = stores(AUTH).await;
    let limiter = &limiters[1];
    for expected_evals in [1, 2] {
        for n in 0..5 {
            assert!(limiter.check("a").await.unwrap().allowed, "{n}");
        }
        assert_eq!(server.command_calls("eval").await, expected_evals);
        server.cli(&["SCRIPT", "FLUSH"]).await;
    }
    assert_eq!(limiter.check("a").await.unwrap().remaining, 9);
}

/// The permissions listed in the documentation of [`RateLimiter::redis`].
fn documented_acl() -> Vec<&'static str> {
    let source = include_str!("../src/rate_limit.rs");
    let (_, from_line) =
        source.split_once("ACL SETUSER limits on >password ").expect("it is documented");
    let (line, _) = from_line.split_once("```").expect("in a block");
    line.split_whitespace().filter(|word| *word != "///").collect()
}

/// Every command that the limiter sends to Redis.
async fn use_all(limiter: &RateLimiter) -> Result<(), RateLimitError> {
    let [later, set_back, next_window] = [200, 100, 500].map(Duration::from_secs);
    for now in [later, set_back, next_window] {
        limiter.check_at("a", now).await?;
    }
    limiter.check("b").await?;
    limiter.check_all(&[("c", 1), ("d", 10)]).await?;
    limiter.forget("a").await
}

#[tokio::test]
async fn a_user_with_the_documented_rights_can_limit_and_one_with_fewer_cannot() {
    let server = RedisServer::start().await;
    let rights = documented_acl();
    let url = format!("redis://limits:password@127.0.0.1:{}", server.port());
    let commands: Vec<_> = rights.iter().filter(|right| right.starts_with('+')).collect();
    assert_eq!(commands.len(), 6);
    for dropped in commands.into_iter().map(Some).chain([None]) {
        let mut acl = vec!["ACL", "SETUSER", "limits", "reset", "on", ">password"];
        acl.extend(rights.iter().filter(|right| Some(*right) != dropped));
        server.cli(&acl).await;
        server.cli(&["FLUSHALL"]).await;
        server.cli(&["SCRIPT", "FLUSH"]).await;
        let connection =
            Client::open(&*url).unwrap().get_multiplexed_async_connection().await.unwrap();
        let used = use_all(&RateLimiter::redis(AUTH, connection)).await;
        assert_eq!(used.is_ok(), dropped.is_none(), "without {dropped:?}: {used:?}");
    }
}

#[tokio::test]
async fn a_client_that_takes_commands_by_value_may_give_errors_among_its_values() {
    let server = RedisServer::start().await;
    let connection = connect(&server).await;
    let limiter = RateLimiter::redis_with(AUTH, move |command| {
        let (mut connection, mut commands) = (connection.clone(), Pipeline::new());
        commands.add_command(command);
        async move { Ok(connection.send_packed_commands(&commands, 0, 1).await?.remove(0)) }
    });
    // The server's first answer is that it does not know the script.
    use_all(&limiter).await.unwrap();
    server.cli(&["SET", "ratelimit:auth:c", "text"]).await;
    let error = limiter.check("c").await.unwrap_err();
    assert!(matches!(error, RateLimitError::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn without_redis_nothing_is_admitted() {
    let (limiters, server) = stores(AUTH).await;
    assert!(limiters[1].check("a").await.unwrap().allowed);
    server.kill();
    let error = limiters[1].check("a").await.unwrap_err();
    assert!(matches!(error, RateLimitError::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn a_redis_that_does_not_answer_is_given_up_even_if_the_connection_would_wait() {
    let server = RedisServer::start().await;
    let patient = AsyncConnectionConfig::new().set_response_timeout(None);
    let client = Client::open(server.url()).unwrap();
    let connection = client.get_multiplexed_async_connection_with_config(&patient).await.unwrap();
    let limiter = RateLimiter::redis(AUTH, connection);
    server.freeze().await;
    let error = limiter.check("a").await.unwrap_err();
    assert!(matches!(error, RateLimitError::Unavailable(_)), "{error:?}");
    server.thaw();
}

#[tokio::test]
async fn a_key_of_another_type_is_an_error_and_not_an_admission() {
    let (limiters, server) = stores(AUTH).await;
    server.cli(&["SET", "ratelimit:auth:a", "text"]).await;
    server.cli(&["RPUSH", "ratelimit:auth:b", "text"]).await;
    for key in ["a", "b"] {
        assert!(limiters[1].check(key).await.is_err(), "{key}");
    }
}

#[tokio::test]
async fn a_refused_request_costs_no_wider_budget() {
    let (limiters, _server) = stores(AUTH).await;
    for limiter in limiters {
        let ask = async |key, at| {
            let keys = [(key, 1), ("network", 2)];
            limiter.check_all_at(&keys, secs(at)).await.unwrap()
        };
        for n in 0..100 {
            assert_eq!(ask("a", 0).await.allowed, n < 20, "{limiter:?} {n}");
        }
        // A hundred requests cost twenty of the forty, so a neighbour has a full limit.
        for n in 0..100 {
            assert_eq!(ask("b", 30).await.allowed, n < 20, "{limiter:?} {n}");
        }
        let refused = ask("c", 31).await;
        assert!(!refused.allowed, "{limiter:?}: the network is used up");
        assert_eq!((refused.limit, refused.remaining, refused.retry_after_secs()), (20, 0, 30));
        // Both keys refuse "b", its own for longer.
        assert_eq!(ask("b", 31).await.retry_after_secs(), 60, "{limiter:?}");
        assert!(ask("c", 61).await.allowed, "{limiter:?}: as it was told");
        // "c" was counted nowhere when it was refused.
        assert_eq!(ask("c", 61).await.remaining, 18, "{limiter:?}");
    }
}

/// The definition itself: keeps all admitted times and counts them for every request.
#[derive(Default)]
struct Naive(HashMap<&'static str, Vec<u64>>);

type Keys = &'static [(&'static str, u32)];

impl Naive {
    const LIMIT: u32 = 3;
    const WINDOW: u64 = 1_000;
    const A: Keys = &[("a", 1)];
    const B: Keys = &[("b", 1)];

    /// Whether the request is admitted, how many are left, and the age of the oldest that counts.
    fn check(&mut self, keys: Keys, now: u64) -> (bool, u32, u64) {
        let mut refusing = None;
        for (key, times) in keys {
            let admitted = self.0.entry(key).or_default();
            for at in admitted.iter_mut() {
                *at = now.min(*at);
            }
            admitted.retain(|at| now - *at <= Self::WINDOW);
            let oldest = admitted.iter().min().copied();
            let is_full = admitted.len() >= (Self::LIMIT * times) as usize;
            if is_full && refusing.is_none_or(|(_, other)| oldest > other) {
                refusing = Some((*key, oldest));
            }
        }
        if refusing.is_none() {
            for (key, _) in keys {
                self.0.entry(key).or_default().push(now);
            }
        }
        let (told, _) = refusing.unwrap_or((keys[0].0, None));
        let admitted = &self.0[told];
        let used = u32::try_from(admitted.len()).unwrap();
        let oldest_age = now - admitted.iter().min().unwrap();
        (refusing.is_none(), Self::LIMIT.saturating_sub(used), oldest_age)
    }
}

/// Steps between requests in microseconds, often ending at the edge of a window.
fn forward() -> BoxedStrategy<i64> {
    let window = Naive::WINDOW.cast_signed();
    prop_oneof![4 => 0..400i64, 1 => Just(window), 1 => Just(window + 1), 1 => 0..3_000i64].boxed()
}

/// Runs schedules of (key, step of the clock) through both stores and the definition.
fn compare(schedule: impl Strategy<Value = Vec<(Keys, i64)>>) {
    const LIMIT: RateLimit =
        RateLimit::new("model", Naive::LIMIT, Duration::from_micros(Naive::WINDOW));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(RedisServer::start());
    let connection = runtime.block_on(connect(&server));
    let mut runner =
        TestRunner::new(Config { cases: 100, failure_persistence: None, ..Config::default() });
    let run = runner.run(&schedule, |schedule| {
        runtime.block_on(async {
            redis::cmd("FLUSHALL").query_async::<()>(&mut connection.clone()).await.unwrap();
            let limiters =
                [RateLimiter::in_memory(LIMIT), RateLimiter::redis(LIMIT, connection.clone())];
            let (mut naive, mut now) = (Naive::default(), 1_800_000_000_000_000u64);
            for (keys, step) in &schedule {
                now = now.saturating_add_signed(*step);
                let (allowed, remaining, oldest_age) = naive.check(keys, now);
                for limiter in &limiters {
                    let now = Duration::from_micros(now);
                    let decision = match keys {
                        [(key, 1)] => limiter.check_at(key, now).await.unwrap(),
                        keys => limiter.check_all_at(keys, now).await.unwrap(),
                    };
                    prop_assert_eq!(
                        (decision.allowed, decision.remaining, decision.reset_after),
                        (allowed, remaining, Duration::from_micros(Naive::WINDOW - oldest_age)),
                        "{:?}",
                        limiter
                    );
                }
            }
            Ok(())
        })
    });
    run.unwrap();
}

#[test]
fn both_stores_decide_as_the_definition_says() {
    let keys = prop_oneof![Just(Naive::A), Just(Naive::B)];
    compare(proptest::collection::vec((keys, forward()), 1..60));
}

#[test]
fn both_stores_decide_as_the_definition_says_when_the_clock_is_set_back() {
    let step = prop_oneof![6 => forward(), 1 => -1_500..0i64];
    compare(proptest::collection::vec((Just(Naive::A), step), 1..60));
}

#[test]
fn both_stores_decide_as_the_definition_says_under_several_keys_at_once() {
    let keys = prop_oneof![
        Just(&[("a", 1), ("a/56", 2), ("/48", 3)][..]),
        Just(&[("b", 1), ("a/56", 2), ("/48", 3)][..]),
        Just(&[("c", 1), ("c/56", 2), ("/48", 3)][..]),
        Just(Naive::A),
    ];
    compare(proptest::collection::vec((keys, forward()), 1..60));
}

#[test]
fn whoever_obeys_retry_after_exactly_is_admitted() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let steps = proptest::collection::vec(
        prop_oneof![0..3_000_000u64, Just(3_000_000), 0..200_000_000u64],
        1..80,
    );
    proptest!(|(steps in steps)| {
        runtime.block_on(async {
            let limiter = RateLimiter::in_memory(AUTH);
            let mut now = secs(0);
            for step in steps {
                now += Duration::from_micros(step);
                let decision: Decision = limiter.check_at("a", now).await.unwrap();
                if !decision.allowed {
                    prop_assert!(decision.retry_after_secs() <= 61);
                    now += Duration::from_secs(decision.retry_after_secs());
                    prop_assert!(limiter.check_at("a", now).await.unwrap().allowed);
                }
            }
            Ok(())
        })?;
    });
}
