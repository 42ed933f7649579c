//! CSRF: which unsafe requests are accepted, and which tokens are valid.

use reqwest::Method;

use crate::harness::TestApp;

const PATH: &str = "/api/v1/auth/sessions/abcdefghijkl";

#[tokio::test]
async fn the_token_decides_for_every_method_origin_and_fetch_site() {
    let app = TestApp::start().await;
    let browser = app.signed_in("a@example.com").await;
    let own = browser.csrf().await;
    let other = app.signed_in("b@example.com").await.csrf().await;
    let anonymous = app.browser().csrf().await;
    let truncated = &own[..own.len() - 1];
    let mut flipped = own.clone().into_bytes();
    flipped[50] = if flipped[50] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped).unwrap();

    let tokens = [
        (None, false),
        (Some(""), false),
        (Some("nonsense"), false),
        (Some(truncated), false),
        (Some(&*flipped), false),
        (Some(&*other), false),
        (Some(&*anonymous), false),
        (Some(&*own), true),
    ];
    let origins = [
        (None, true),
        (Some("http://localhost:8080"), true),
        (Some("http://localhost:8081"), false),
        (Some("https://localhost:8080"), false),
        (Some("http://localhost:8080.evil.example"), false),
        (Some("null"), false),
    ];
    let sites = [
        (None, true),
        (Some("same-origin"), true),
        (Some("none"), true),
        (Some("same-site"), false),
        (Some("cross-site"), false),
    ];
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        for (token, token_passes) in tokens {
            for (origin, origin_passes) in origins {
                for (site, site_passes) in sites {
                    let headers: Vec<_> =
                        [("x-csrf-token", token), ("origin", origin), ("sec-fetch-site", site)]
                            .into_iter()
                            .filter_map(|(name, value)| Some((name, value?)))
                            .collect();
                    let answer = browser.send(method.clone(), PATH, &headers, None).await;
                    // A hidden origin counts as missing if `Sec-Fetch-Site` is present.
                    let is_hidden = origin == Some("null") && site == Some("same-origin");
                    let origin_passes = origin_passes || is_hidden;
                    let passes = token_passes && origin_passes && site_passes;
                    // An accepted request reaches the route: there is no such session, or no such
                    // method.
                    let expected = match (passes, &method) {
                        (true, &Method::DELETE) => (404, "not_found"),
                        // A method that the route does not accept is refused before its token is
                        // checked.
                        (_, &Method::DELETE) => (403, "csrf_failed"),
                        _ if origin_passes && site_passes => (405, "method_not_allowed"),
                        _ => (403, "csrf_failed"),
                    };
                    assert_eq!(
                        (answer.status.as_u16(), &*answer.code()),
                        expected,
                        "{method} {token:?} {origin:?} {site:?}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn who_opens_the_site_under_another_name_is_told_the_right_one() {
    let app = TestApp::start().await;
    for (header, value, told) in [
        ("origin", "http://127.0.0.1:8080", true),
        ("referer", "http://127.0.0.1:8080/login", true),
        ("sec-fetch-site", "cross-site", false),
    ] {
        let answer =
            app.browser().send(Method::POST, "/login", &[(header, value)], None).await.expect(403);
        assert_eq!(
            answer.body.contains("open http://localhost:8080/ and try again"),
            told,
            "{header}"
        );
        assert!(answer.body.contains("did not come from our own pages"), "{}", answer.body);
    }
}

#[tokio::test]
async fn safe_methods_need_no_token_and_change_nothing() {
    let app = TestApp::start().await;
    let browser = app.signed_in("a@example.com").await;
    let before = app.redis().cli(&["--raw", "DUMP", &session_key(&app).await]).await;
    for path in ["/", "/login", "/api/v1/auth/me", "/api/v1/auth/sessions", "/api/v1/auth/methods"]
    {
        let answer =
            browser.send(Method::GET, path, &[("sec-fetch-site", "cross-site")], None).await;
        assert!(answer.status.is_success() || answer.status.is_redirection(), "{path}");
    }
    let after = app.redis().cli(&["--raw", "DUMP", &session_key(&app).await]).await;
    assert_eq!(before, after);
}

#[tokio::test]
async fn other_sites_may_link_here_but_load_nothing_and_use_up_nobodys_limit() {
    let app = TestApp::start_with(&[("AUTH_RATE_LIMIT_PER_MINUTE", "20")]).await;
    let browser = app.browser();
    let load = async |mode: &'static str, dest: &'static str| {
        let headers =
            [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest)];
        browser.send(Method::GET, "/api/v1/auth/methods", &headers, None).await
    };
    for _ in 0..10 {
        load("no-cors", "image").await.expect_error(403, "csrf_failed");
        load("no-cors", "script").await.expect_error(403, "csrf_failed");
        load("navigate", "iframe").await.expect_error(403, "csrf_failed");
    }
    for _ in 0..20 {
        load("navigate", "document").await.expect(200);
    }
    load("navigate", "document").await.expect_error(429, "rate_limited");
}

async fn session_key(app: &TestApp) -> String {
    app.redis().cli(&["--raw", "KEYS", "session:*"]).await.trim().to_owned()
}

#[tokio::test]
async fn the_token_rotates_at_sign_in() {
    let app = TestApp::start().await;
    let browser = app.browser();
    let before = browser.csrf().await;
    app.sign_in(&browser, "a@example.com").await;
    let headers = [("x-csrf-token", &*before)];
    let answer = browser.send(Method::POST, "/api/v1/auth/logout", &headers, None).await;
    answer.expect_error(403, "csrf_failed");
    browser.logout().await.expect(204);
}

#[tokio::test]
async fn each_response_masks_the_token_anew_and_earlier_ones_stay_good() {
    let app = TestApp::start().await;
    let browser = app.signed_in("a@example.com").await;
    let first = browser.csrf().await;
    let second = browser.csrf().await;
    assert_ne!(first, second);
    for token in [first, second] {
        let answer = browser.send(Method::DELETE, PATH, &[("x-csrf-token", &token)], None).await;
        answer.expect_error(404, "not_found");
    }
}

#[tokio::test]
async fn a_token_without_its_cookie_is_worth_nothing() {
    let app = TestApp::start().await;
    let token = app.browser().csrf().await;
    let answer = app
        .browser()
        .send(Method::POST, "/api/v1/auth/magic/request", &[("x-csrf-token", &token)], None)
        .await;
    answer.expect_error(403, "csrf_failed");
}

#[tokio::test]
async fn visitors_cost_redis_no_key() {
    let app = TestApp::start().await;
    for _ in 0..50 {
        let browser = app.browser();
        browser.csrf().await;
        browser.get("/login").await.expect(200);
        browser.me().await;
    }
    let keys = app.redis().cli(&["--raw", "KEYS", "*"]).await;
    let mut keys: Vec<_> = keys.split_whitespace().collect();
    keys.sort_unstable();
    let limits = ["ratelimit:auth:{127.0.0.0/24}", "ratelimit:auth:{127.0.0.0/24}127.0.0.1"];
    assert_eq!(keys, limits);
}
