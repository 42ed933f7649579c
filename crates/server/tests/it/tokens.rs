//! API tokens: shown once, scoped, limited, revoked on all instances.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::browser::{Answer, Browser};
use crate::harness::{TestApp, eventually};

const TOKENS: &str = "/api/v1/auth/tokens";
const ALL: [&str; 3] = ["portfolio:read", "portfolio:import", "account:read"];

async fn make(owner: &Browser, scopes: &[&str]) -> (String, Value) {
    let wanted = json!({ "name": "bot", "scopes": scopes });
    let made = owner.post(TOKENS, &wanted).await.expect(201).json();
    (made["token"].as_str().unwrap().to_owned(), made)
}

async fn ask(app: &TestApp, token: &str, method: Method, path: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    app.browser().send(method, path, &[("authorization", &bearer)], None).await
}

async fn get(app: &TestApp, token: &str, path: &str) -> Answer {
    ask(app, token, Method::GET, path).await
}

#[tokio::test]
async fn a_token_is_shown_once_listed_used_and_revoked() {
    let app = TestApp::start().await;
    let owner = app.signed_in("alice@example.com").await;
    let (token, made) = make(&owner, &ALL).await;
    assert!(token.starts_with("trc_") && token.len() == 53);
    assert_eq!(made["scopes"], json!(ALL));
    app.notice_to("alice@example.com", "An API token was made").await;
    let days = |it: &Value| it["expires_at"].as_str().unwrap()[..10].to_owned();
    assert_eq!(days(&made), "2030-06-15", "ninety days");
    let listed = owner.get(TOKENS).await.expect(200);
    assert!(!listed.body.contains(&token));
    assert_eq!(listed.json()["tokens"][0]["id"], made["id"]);
    assert_eq!(listed.json()["tokens"][0]["last_used_at"], Value::Null);

    let me = get(&app, &token, "/api/v1/auth/me").await.expect(200);
    assert_eq!(me.json()["user"]["email"], "alice@example.com");
    assert!(me.set_cookie("session").is_none());
    assert_ne!(me.header("ratelimit"), "");
    get(&app, &token, "/api/v1/portfolio").await.expect(200);
    eventually(|| async {
        let listed = owner.get(TOKENS).await.json();
        (listed["tokens"][0]["last_used_at"] != Value::Null).then_some(())
    })
    .await;

    let id = made["id"].as_str().unwrap();
    let stranger = app.signed_in("mallory@example.com").await;
    stranger.delete(&format!("{TOKENS}/{id}")).await.expect_error(404, "not_found");
    get(&app, &token, "/api/v1/auth/me").await.expect(200);
    owner.delete(&format!("{TOKENS}/{id}")).await.expect(204);
    owner.delete(&format!("{TOKENS}/{id}")).await.expect_error(404, "not_found");
    let refused = get(&app, &token, "/api/v1/auth/me").await.expect_error(401, "invalid_token");
    assert!(refused.header("www-authenticate").starts_with("Bearer "));
}

#[tokio::test]
async fn what_is_asked_for_is_checked_and_needs_a_recent_session() {
    let app = TestApp::start().await;
    let owner = app.signed_in("alice@example.com").await;
    for wanted in [
        json!({ "name": "", "scopes": ALL }),
        json!({ "name": "x".repeat(61), "scopes": ALL }),
        json!({ "name": "a\u{0}b", "scopes": ALL }),
        json!({ "name": "bot", "scopes": [] }),
        json!({ "name": "bot", "scopes": ["root"] }),
        json!({ "name": "bot", "scopes": ALL, "expires_in_days": 0 }),
        json!({ "name": "bot", "scopes": ALL, "expires_in_days": 366 }),
    ] {
        owner.post(TOKENS, &wanted).await.expect_error(400, "invalid_token_request");
    }
    let year = json!({ "name": "bot", "scopes": ALL, "expires_in_days": 365 });
    let made = owner.post(TOKENS, &year).await.expect(201).json();
    app.advance(Duration::from_mins(16));
    owner.post(TOKENS, &year).await.expect_error(403, "reauthentication_required");
    let one = format!("{TOKENS}/{}", made["id"].as_str().unwrap());
    owner.delete(&one).await.expect_error(403, "reauthentication_required");
}

#[tokio::test]
async fn a_token_does_what_its_scopes_allow_and_never_changes_the_account() {
    let app = TestApp::start().await;
    let owner = app.signed_in("alice@example.com").await;
    let reads =
        ["/api/v1/auth/me", "/api/v1/auth/events"].map(|it| (Method::GET, it, "account:read"));
    let portfolio = ["", "/history", "/export.csv", "/export.json"];
    let portfolio = portfolio.map(|it| format!("/api/v1/portfolio{it}"));
    let portfolio = portfolio.iter().map(|it| (Method::GET, &**it, "portfolio:read"));
    let imports = [(Method::POST, "/api/v1/portfolio/import", "portfolio:import")];
    let routes: Vec<_> = reads.into_iter().chain(portfolio).chain(imports).collect();
    for scope in ALL {
        let (token, _) = make(&owner, &[scope]).await;
        for (method, path, needed) in &routes {
            let answer = ask(&app, &token, method.clone(), path).await;
            if *needed == scope {
                assert_ne!(answer.status.as_u16(), 401, "{scope} {path}");
                assert_ne!(answer.status.as_u16(), 403, "{scope} {path}: {}", answer.body);
            } else {
                let refused = answer.expect_error(403, "insufficient_scope");
                assert!(refused.header("www-authenticate").contains(needed));
            }
        }
    }
    let (token, made) = make(&owner, &ALL).await;
    let one = format!("{TOKENS}/{}", made["id"].as_str().unwrap());
    for (method, path) in [
        (Method::GET, TOKENS),
        (Method::POST, TOKENS),
        (Method::DELETE, &*one),
        (Method::GET, "/api/v1/auth/sessions"),
        (Method::DELETE, "/api/v1/auth/sessions"),
        (Method::POST, "/api/v1/auth/logout"),
        (Method::GET, "/api/v1/auth/passkeys"),
        (Method::POST, "/api/v1/auth/passkeys/options"),
        (Method::POST, "/api/v1/auth/recovery-codes"),
        (Method::PUT, "/api/v1/auth/passkey-only"),
        (Method::POST, "/api/v1/auth/email"),
        (Method::GET, "/api/v1/auth/providers"),
    ] {
        ask(&app, &token, method, path).await.expect_error(401, "unauthenticated");
    }
}

#[tokio::test]
async fn wrong_tokens_cost_no_store() {
    let app = TestApp::start().await;
    let owner = app.signed_in("alice@example.com").await;
    let (good, _) = make(&owner, &ALL).await;
    let wrong = [
        String::new(),
        "x".to_owned(),
        good.to_lowercase(),
        good.to_uppercase(),
        good[1..].to_owned(),
        good[..52].to_owned(),
        format!("{good}0"),
        format!("{good} {good}"),
        good.replacen("trc_", "ghp_", 1),
        good.chars().rev().collect(),
    ];
    let lock = app.lock_database().await;
    app.redis().kill();
    for token in &wrong {
        get(&app, token, "/api/v1/portfolio").await.expect_error(401, "invalid_token");
    }
    for header in [format!("bearer  {good}"), format!("BEARER {good},"), "Bearer".to_owned()] {
        let headers = [("authorization", &*header)];
        let answer = app.browser().send(Method::GET, "/api/v1/portfolio", &headers, None).await;
        answer.expect_error(401, "invalid_token");
    }
    let twice = [("authorization", &*format!("Bearer {good}")), ("authorization", "Bearer x")];
    let answer = app.browser().send(Method::GET, "/api/v1/portfolio", &twice, None).await;
    answer.expect_error(401, "invalid_token");
    drop(lock);
}

#[tokio::test]
async fn a_token_decides_beside_a_cookie_and_needs_no_csrf_token() {
    let app = TestApp::start().await;
    let owner = app.signed_in("alice@example.com").await;
    let (token, _) = make(&owner, &["portfolio:import"]).await;
    let bearer = format!("Bearer {token}");
    let imported = ask(&app, &token, Method::POST, "/api/v1/portfolio/import").await;
    imported.expect_error(400, "steam_not_linked");
    let wrong = [("authorization", "Bearer trc_wrong")];
    let beside = owner.send(Method::GET, "/api/v1/portfolio", &wrong, None).await;
    beside.expect_error(401, "invalid_token");
    let good = [("authorization", &*bearer)];
    let elsewhere = owner.send(Method::GET, TOKENS, &good, None).await;
    elsewhere.expect(200);
}

#[tokio::test]
async fn a_revocation_reaches_every_instance_within_fifty_milliseconds() {
    let mut app = TestApp::start().await;
    let other = app.add_instance().await;
    let owner = app.signed_in("alice@example.com").await;
    for everywhere in [false, true] {
        let (token, made) = make(&owner, &ALL).await;
        let bearer = format!("Bearer {token}");
        let elsewhere = Browser::new(other);
        let headers = [("authorization", &*bearer)];
        let ask = || elsewhere.send(Method::GET, "/api/v1/portfolio", &headers, None);
        for _ in 0..3 {
            ask().await.expect(200);
        }
        if everywhere {
            owner.delete("/api/v1/auth/sessions").await.expect(204);
        } else {
            let id = made["id"].as_str().unwrap();
            owner.delete(&format!("{TOKENS}/{id}")).await.expect(204);
        }
        eventually(|| async { (ask().await.status == 401).then_some(()) }).await;
    }
    owner.get(TOKENS).await.expect(200);
}

#[tokio::test]
async fn a_token_ends_at_its_time_and_with_its_account() {
    let app = TestApp::start_with(&[("SESSION_LIFETIME_HOURS", "8760")]).await;
    let owner = app.signed_in("alice@example.com").await;
    let wanted = json!({ "name": "bot", "scopes": ALL, "expires_in_days": 1 });
    let made = owner.post(TOKENS, &wanted).await.expect(201).json();
    let token = made["token"].as_str().unwrap();
    get(&app, token, "/api/v1/auth/me").await.expect(200);
    app.advance(Duration::from_hours(24));
    get(&app, token, "/api/v1/auth/me").await.expect_error(401, "invalid_token");
    assert_eq!(owner.get(TOKENS).await.json()["tokens"], json!([]));
}

#[tokio::test]
async fn a_token_is_good_for_six_hundred_requests_a_minute() {
    let app = TestApp::start().await;
    let owner = app.signed_in("alice@example.com").await;
    let (token, _) = make(&owner, &ALL).await;
    let (other, _) = make(&owner, &ALL).await;
    let client = app.browser();
    let bearer = format!("Bearer {token}");
    for _ in 0..600 {
        let headers = [("authorization", &*bearer)];
        client.send(Method::GET, "/api/v1/portfolio", &headers, None).await.expect(200);
    }
    let limited = get(&app, &token, "/api/v1/portfolio").await.expect_error(429, "rate_limited");
    assert_ne!(limited.header("retry-after"), "");
    get(&app, &other, "/api/v1/portfolio").await.expect(200);
}

#[tokio::test]
async fn a_store_that_is_away_is_said_so() {
    let app = TestApp::start().await;
    let owner = app.signed_in("alice@example.com").await;
    let (token, _) = make(&owner, &ALL).await;
    get(&app, &token, "/api/v1/portfolio").await.expect(200);
    app.redis().kill();
    get(&app, &token, "/api/v1/portfolio").await.expect(503);
}
