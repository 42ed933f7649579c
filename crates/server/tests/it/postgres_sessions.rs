//! Sessions and rate limits in PostgreSQL: several instances share them without Redis.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tracera_testkit::Postgres;

use crate::harness::{TestApp, eventually};

#[tokio::test]
async fn a_session_ended_on_one_instance_is_over_on_the_other_within_a_second_on_postgres() {
    let postgres = Postgres::start().await;
    let vars = [("DATABASE_URL", &*postgres.url()), ("SESSION_STORE", "postgres")];
    let mut app = TestApp::embedded_with(&vars).await;
    let other = app.add_instance().await;

    let browser = app.signed_in("ann@example.com").await;
    let elsewhere = browser.at(other);
    let hits = || app.instances[1].app.sessions.cache_stats().hits;
    eventually(async || {
        elsewhere.get("/api/v1/auth/sessions").await.expect(200);
        (hits() > 0).then_some(())
    })
    .await;

    let second = app.signed_in("ann@example.com").await;
    second.delete("/api/v1/auth/sessions").await.expect(204);
    let ended = Instant::now();
    let refused = eventually(async || {
        let answer = elsewhere.get("/api/v1/auth/sessions").await;
        (answer.status == 401).then_some(answer)
    });
    refused.await.expect_error(401, "unauthenticated");
    assert!(ended.elapsed() < Duration::from_secs(1), "{:?}", ended.elapsed());
    second.at(other).get("/api/v1/auth/sessions").await.expect(200);
}

#[tokio::test]
async fn postgres_that_is_away_is_503_and_signs_nobody_out() {
    let postgres = Postgres::start().await;
    let vars = [
        ("DATABASE_URL", &*postgres.url()),
        ("SESSION_STORE", "postgres"),
        ("SESSION_NEAR_CACHE", "off"),
    ];
    let app = TestApp::embedded_with(&vars).await;
    let browser = app.signed_in("ann@example.com").await;
    postgres.kill();
    browser.get("/api/v1/auth/sessions").await.expect_error(503, "unavailable");
    app.browser().get("/api/v1/health").await.expect(503);
    postgres.restart().await;
    eventually(async || {
        let answer = browser.get("/api/v1/auth/sessions").await;
        assert_ne!(answer.status, 401);
        (answer.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn two_instances_on_one_postgres_admit_exactly_twenty() {
    let postgres = Postgres::start().await;
    let mut app = TestApp::embedded_with(&[
        ("DATABASE_URL", &*postgres.url()),
        ("SESSION_STORE", "postgres"),
        ("AUTH_RATE_LIMIT_PER_MINUTE", "20"),
    ])
    .await;
    let other = app.add_instance().await;
    let mut requests = JoinSet::new();
    for n in 0..100 {
        let browser = if n % 2 == 0 { app.browser() } else { app.browser().at(other) };
        requests.spawn(async move { browser.get("/api/v1/auth/methods").await });
    }
    let answers = requests.join_all().await;
    let admitted = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(admitted, 20);
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(answer.status, 429);
        assert_eq!(answer.code(), "rate_limited");
        let retry: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1..=61).contains(&retry));
    }
    postgres.kill();
    app.browser().get("/api/v1/auth/methods").await.expect_error(503, "unavailable");
}
