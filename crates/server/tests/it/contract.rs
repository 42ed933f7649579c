//! Each row of the URL table, with its status codes.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::TestApp;

#[tokio::test]
async fn a_person_signs_in_stays_signed_in_and_signs_out() {
    let app = TestApp::start().await;
    let browser = app.browser();
    assert_eq!(browser.me().await, None);

    let token = app.link_token(&browser, "alice@example.com").await;
    let answer = browser.redeem(&token).await.expect(200);
    let user = &answer.json()["user"];
    assert_eq!(user["email"], "alice@example.com");
    assert_eq!(user["role"], "user");
    assert_eq!(browser.me().await.as_deref(), user["id"].as_str());

    let thief = browser.fork();
    let answer = browser.logout().await.expect(204);
    assert!(answer.set_cookie("session").unwrap().contains("Max-Age=0"));
    assert_eq!(answer.header("clear-site-data"), "\"cache\", \"storage\"");
    assert_eq!(browser.me().await, None);
    thief
        .call(Method::POST, "/api/v1/auth/logout", None)
        .await
        .expect_error(401, "unauthenticated");
    let keys = app.redis().cli(&["KEYS", "session:*"]).await;
    assert_eq!(keys.trim(), "", "the record is gone");
}

#[tokio::test]
async fn health_says_what_is_up() {
    let app = TestApp::start().await;
    let browser = app.browser();
    browser.get("/healthz").await.expect(200);
    let health = browser.get("/api/v1/health").await.expect(200);
    assert_eq!(health.json(), json!({ "status": "ok", "database": "up", "redis": "up" }));

    app.redis().kill();
    let health = browser.get("/api/v1/health").await.expect(503);
    assert_eq!(health.json(), json!({ "status": "degraded", "database": "up", "redis": "down" }));
    assert_eq!(health.header("retry-after"), "2");
    browser.get("/healthz").await.expect(200);

    let embedded = TestApp::embedded().await;
    let health = embedded.browser().get("/api/v1/health").await.expect(200);
    assert_eq!(health.json()["redis"], "embedded");
}

#[tokio::test]
async fn private_routes_are_401_in_every_spelling_without_a_session() {
    let app = TestApp::start().await;
    let browser = app.browser();
    for path in [
        "/api/v1/auth/logout",
        "/api/v1/auth/providers",
        "/api/v1/auth/sessions",
        "/api/v1/auth/sessions/abcdefghijkl",
    ] {
        let upper = path.to_uppercase();
        let encoded = path.replace("auth", "%61uth");
        let doubled = path.replace("/v1", "//v1");
        let dotted = path.replace("/v1", "/./v1");
        let slash = format!("{path}/");
        for spelling in [path, &upper, &encoded, &doubled, &dotted, &slash] {
            for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                let answer = browser.send(method.clone(), spelling, &[], None).await;
                assert_eq!(answer.code(), "unauthenticated", "{method} {spelling}");
                assert_eq!(answer.header("www-authenticate"), "Cookie realm=\"tracera\"");
                answer.expect(401);
            }
            browser.send(Method::HEAD, spelling, &[], None).await.expect(401);
        }
    }
    browser.get("/api/v1/auth/nothing").await.expect_error(404, "not_found");
    browser.get("/nothing").await.expect_error(404, "not_found");
}

#[tokio::test]
async fn a_dead_session_is_401_whatever_the_csrf_token() {
    let app = TestApp::start().await;
    let browser = app.signed_in("a@example.com").await;
    let good = browser.csrf().await;
    let thief = browser.fork();
    browser.logout().await.expect(204);
    for token in ["", "nonsense", &good] {
        let answer = thief
            .fork()
            .send(Method::POST, "/api/v1/auth/logout", &[("x-csrf-token", token)], None)
            .await;
        answer.expect_error(401, "unauthenticated");
    }
}

#[tokio::test]
async fn a_wrong_method_says_which_are_right() {
    let app = TestApp::start().await;
    let browser = app.signed_in("a@example.com").await;
    let answer = browser.call(Method::PUT, "/api/v1/auth/logout", None).await;
    assert_eq!(answer.header("allow"), "POST");
    answer.expect_error(405, "method_not_allowed");
    let answer = app.browser().send(Method::POST, "/healthz", &[], None).await;
    assert_eq!(answer.header("allow"), "GET,HEAD");
    answer.expect_error(405, "method_not_allowed");
    let answer = app.browser().get("/api/v1/auth/magic/request").await;
    assert_eq!(answer.header("allow"), "POST");
    answer.expect_error(405, "method_not_allowed");
}

#[tokio::test]
async fn options_says_which_methods_are_right_and_lets_no_other_site_in() {
    let app = TestApp::start().await;
    let headers = [
        ("origin", "https://evil.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "x-csrf-token"),
    ];
    for (path, allowed) in [
        ("/", "GET,HEAD"),
        ("/login", "GET,HEAD,POST"),
        ("/api/v1/health", "GET,HEAD"),
        ("/api/v1/auth/magic/request", "POST"),
    ] {
        for headers in [&[][..], &headers] {
            let answer = app.browser().send(Method::OPTIONS, path, headers, None).await;
            let answer = answer.expect(204);
            assert_eq!(answer.header("allow"), allowed, "{path}");
            assert!(
                !answer.headers.keys().any(|name| name.as_str().starts_with("access-control")),
                "{path}"
            );
        }
    }
    let answer = app.browser().send(Method::OPTIONS, "/api/v1/auth/logout", &[], None).await;
    answer.expect_error(401, "unauthenticated");
}

#[tokio::test]
async fn malformed_requests_are_refused_with_the_right_status() {
    let app = TestApp::start().await;
    let browser = app.browser();
    let path = "/api/v1/auth/magic/request";
    for body in [
        json!({}),
        json!({ "email": 1 }),
        json!({ "email": "a@b.example", "role": "admin" }),
        json!([]),
    ] {
        browser.post(path, &body).await.expect_error(400, "malformed_body");
    }
    for (body, named) in [
        (json!({}), "missing field `email`"),
        (json!({ "email": "canary", "role": "canary" }), "unknown field `role`, expected `email`"),
        (json!({ "email": ["canary"] }), "check its syntax"),
        (json!({ "x".repeat(5000): "canary" }), "check its syntax"),
    ] {
        let answer = browser.post(path, &body).await.expect_error(400, "malformed_body");
        assert!(answer.body.contains(named) && !answer.body.contains("canary"), "{}", answer.body);
    }
    for email in [
        "",
        "a",
        "a@b",
        "a@b.example, c@d.example",
        "a@b.example\r\nBcc: c@d.example",
        "ａ@b.example",
    ] {
        browser.post(path, &json!({ "email": email })).await.expect_error(400, "invalid_email");
    }
    let token = browser.csrf().await;
    browser.send(Method::POST, path, &[("x-csrf-token", &token)], None).await.expect(415);
    let huge = json!({ "email": "x".repeat(20_000) });
    browser.post(path, &huge).await.expect_error(413, "body_too_large");
    let both = json!({ "token": "a", "code": "1" });
    browser.post("/api/v1/auth/magic/verify", &both).await.expect_error(400, "malformed_body");
    browser.redeem("nonsense").await.expect_error(400, "link_invalid");
}

#[tokio::test]
async fn own_sessions_are_listed_and_ended_by_their_handles() {
    let app = TestApp::start().await;
    let first = app.signed_in("a@example.com").await;
    app.advance(Duration::from_secs(5));
    let second = app.signed_in("a@example.com").await;
    let stranger = app.signed_in("b@example.com").await;

    let listed = first.get("/api/v1/auth/sessions").await.expect(200).json();
    let sessions = listed["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 2);
    let other = sessions.iter().find(|session| session["current"] == false).unwrap();
    for (field, value) in
        [("browser", "Firefox"), ("device", "Linux"), ("ip", "127.0.0.1"), ("method", "email")]
    {
        assert_eq!(other[field], value);
    }
    assert_eq!(other["created_at"], "2030-03-17T17:46:45Z");

    let path = format!("/api/v1/auth/sessions/{}", other["handle"].as_str().unwrap());
    stranger.delete(&path).await.expect_error(404, "not_found");
    assert!(second.me().await.is_some());
    first.delete(&path).await.expect(204);
    assert_eq!(second.me().await, None);
    first.delete(&path).await.expect_error(404, "not_found");
    first.delete("/api/v1/auth/sessions/nonsense").await.expect_error(404, "not_found");
    assert!(stranger.me().await.is_some());
}

#[tokio::test]
async fn ending_all_others_leaves_this_one() {
    let app = TestApp::start().await;
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(app.signed_in("a@example.com").await);
    }
    let this = app.signed_in("a@example.com").await;
    let unused = app.link_token(&app.browser(), "a@example.com").await;
    this.delete("/api/v1/auth/sessions").await.expect(204);
    for other in others {
        assert_eq!(other.me().await, None);
    }
    assert!(this.me().await.is_some());
    app.browser().redeem(&unused).await.expect_error(400, "link_invalid");
    let left = this.get("/api/v1/auth/sessions").await.expect(200).json();
    assert_eq!(left["sessions"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn ending_this_session_by_its_handle_clears_the_cookie() {
    let app = TestApp::start().await;
    let browser = app.signed_in("a@example.com").await;
    let listed = browser.get("/api/v1/auth/sessions").await.json();
    let handle = listed["sessions"][0]["handle"].as_str().unwrap();
    let answer = browser.delete(&format!("/api/v1/auth/sessions/{handle}")).await.expect(204);
    assert!(answer.set_cookie("session").unwrap().contains("Max-Age=0"));
    assert_eq!(browser.me().await, None);
}

#[tokio::test]
async fn methods_name_what_is_configured() {
    let app = TestApp::start().await;
    let methods: Value = app.browser().get("/api/v1/auth/methods").await.expect(200).json();
    assert_eq!(methods["methods"][0], json!({ "method": "email" }));
}
