//! Outages of Redis and the database under load: no request hangs, and nobody is signed out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use reqwest::Method;
use tokio::task::JoinSet;
use tracera::clock::Stopwatch;
use tracera_testkit::Postgres;

use crate::browser::Browser;
use crate::harness::{TestApp, eventually};

/// Maximum response time during an outage.
const BOUND: Duration = Duration::from_secs(2);

/// Sends requests of a signed-in user over 16 connections until stopped, and counts the responses.
struct Load {
    stop: Arc<AtomicBool>,
    refused: Arc<AtomicU32>,
    workers: JoinSet<()>,
}

impl Load {
    fn start(browser: &Browser) -> Self {
        let (stop, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let mut workers = JoinSet::new();
        for _ in 0..16 {
            let (browser, stop, refused) = (browser.fork(), stop.clone(), refused.clone());
            workers.spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let watch = Stopwatch::start();
                    let answer = browser.get("/api/v1/auth/sessions").await;
                    assert!(watch.elapsed() < BOUND, "{:?}", watch.elapsed());
                    match answer.status.as_u16() {
                        200 => {}
                        503 => {
                            assert_eq!(answer.code(), "unavailable");
                            assert!(!answer.header("retry-after").is_empty());
                            assert!(
                                answer.set_cookie("session").is_none(),
                                "an outage signs nobody out"
                            );
                            refused.fetch_add(1, Ordering::SeqCst);
                        }
                        other => panic!("{other}: {}", answer.body),
                    }
                }
            });
        }
        Self { stop, refused, workers }
    }

    async fn until_refused(&self) {
        let before = self.refused.load(Ordering::SeqCst);
        let more = || async { (self.refused.load(Ordering::SeqCst) > before + 50).then_some(()) };
        eventually(more).await;
    }

    async fn stop(mut self) {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(worker) = self.workers.join_next().await {
            worker.unwrap();
        }
    }
}

async fn recovered(browser: &Browser) {
    eventually(|| async {
        (browser.get("/api/v1/auth/sessions").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_frozen_redis_is_503_within_two_seconds_and_everybody_is_signed_in_after_it() {
    let app = TestApp::start().await;
    let browser = app.signed_in("a@example.com").await;
    let load = Load::start(&browser);
    app.redis().freeze().await;
    load.until_refused().await;
    app.redis().thaw();
    recovered(&browser).await;
    load.stop().await;
    assert!(browser.me().await.is_some());
}

#[tokio::test]
async fn a_killed_redis_is_503_and_a_new_one_is_found_without_a_restart() {
    let app = TestApp::start().await;
    let browser = app.signed_in("a@example.com").await;
    let load = Load::start(&browser);
    app.redis().kill();
    load.until_refused().await;
    load.stop().await;
    app.redis().restart().await;
    let visitor = app.browser();
    eventually(|| async { (visitor.get("/api/v1/auth/me").await.status == 200).then_some(()) })
        .await;
    assert_eq!(browser.me().await, None, "this Redis kept nothing over its restart");
    app.sign_in(&browser, "a@example.com").await;
    assert!(browser.me().await.is_some());
}

#[tokio::test]
async fn without_redis_nothing_that_needs_it_is_answered_otherwise() {
    let app = TestApp::start().await;
    let browser = app.signed_in("a@example.com").await;
    let token = browser.csrf().await;
    let link = app.link_token(&app.browser(), "b@example.com").await;
    app.redis().kill();
    for (method, path) in [
        (Method::GET, "/api/v1/auth/me"),
        (Method::GET, "/api/v1/auth/csrf"),
        (Method::GET, "/api/v1/auth/sessions"),
        (Method::GET, "/api/v1/auth/providers"),
        (Method::POST, "/api/v1/auth/logout"),
        (Method::DELETE, "/api/v1/auth/sessions"),
        (Method::POST, "/api/v1/auth/magic/request"),
        (Method::GET, "/"),
        (Method::GET, "/login"),
    ] {
        let watch = Stopwatch::start();
        let answer = browser.send(method, path, &[("x-csrf-token", &token)], None).await;
        assert_eq!(answer.status, 503, "{path}");
        assert!(answer.set_cookie("session").is_none());
        assert!(watch.elapsed() < BOUND, "{path}: {:?}", watch.elapsed());
    }
    browser.get("/healthz").await.expect(200);
    browser.get("/assets/app.css").await.expect(200);

    app.redis().restart().await;
    let visitor = app.browser();
    eventually(|| async { (visitor.get("/api/v1/auth/me").await.status == 200).then_some(()) })
        .await;
    visitor.redeem(&link).await.expect(200);
}

#[tokio::test]
async fn a_link_is_not_used_up_when_no_session_can_be_made() {
    let app = TestApp::start_with(&[]).await;
    let browser = app.browser();
    let token = app.link_token(&browser, "a@example.com").await;
    let csrf = browser.csrf().await;
    // Only the scripts that write sessions fail.
    app.redis().cli(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let body = serde_json::json!({ "token": token });
    let verify = "/api/v1/auth/magic/verify";
    let answer = browser.send(Method::POST, verify, &[("x-csrf-token", &csrf)], Some(&body)).await;
    answer.expect_error(503, "unavailable");
    app.browser().get("/api/v1/health").await.expect(200);
    app.redis().cli(&["CONFIG", "SET", "maxmemory", "0"]).await;
    browser.redeem(&token).await.expect(200);
}

#[tokio::test]
async fn the_whole_way_works_on_postgresql_and_its_outage_is_503() {
    let postgres = Postgres::start().await;
    let url = postgres.create_database().await;
    let app = TestApp::start_with(&[("DATABASE_URL", &url)]).await;
    let browser = app.signed_in("a@example.com").await;
    let id = browser.me().await;
    browser.logout().await.expect(204);
    app.sign_in(&browser, "a@example.com").await;
    assert_eq!(browser.me().await, id);

    postgres.kill();
    browser.get("/api/v1/auth/me").await.expect_error(503, "unavailable");
    let health = browser.get("/api/v1/health").await.expect(503);
    assert_eq!(health.json()["database"], "down");
    browser.get("/api/v1/auth/sessions").await.expect(200);
    postgres.restart().await;
    eventually(|| async { (browser.get("/api/v1/auth/me").await.status == 200).then_some(()) })
        .await;
    assert_eq!(browser.me().await, id);
}
