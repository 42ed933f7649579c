//! A browser can repeat its own one-time request for some seconds. Data of one attempt does not
//! affect another.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::fake_providers::FakeProviders;
use crate::harness::TestApp;

async fn live_sessions(browser: &Browser) -> usize {
    let list = browser.get("/api/v1/auth/sessions").await.expect(200).json();
    list["sessions"].as_array().unwrap().len()
}

/// Sends a credential three times at once, like a browser that has not received a response, and
/// then once more. Each request signs in, and one session is left.
async fn repeated_in_one_browser(app: &TestApp, browser: &Browser, proof: &Value) {
    let token = browser.csrf().await;
    let before = browser.fork();
    let post = async |browser: &Browser| {
        let headers = [("x-csrf-token", &*token)];
        browser.send(Method::POST, "/api/v1/auth/magic/verify", &headers, Some(proof)).await
    };
    let (one, two, three) = (before.fork(), before.fork(), before.fork());
    let answers = tokio::join!(post(&one), post(&two), post(&three));
    let last = before.fork();
    let again = post(&last).await.expect(200);
    for answer in [answers.0, answers.1, answers.2] {
        let answer = answer.expect(200);
        assert_eq!(answer.json(), again.json());
    }
    assert_eq!(live_sessions(&last).await, 1);
    let mut alive = 0;
    for browser in [&one, &two, &three] {
        alive += usize::from(browser.me().await.is_some());
    }
    assert_eq!(alive, 0, "the last answer is the one that counts");
    // Once more with the new session and its CSRF token.
    last.post("/api/v1/auth/magic/verify", proof).await.expect(200);
    assert_eq!(live_sessions(&last).await, 1);
    let log = last.get("/api/v1/auth/events").await.json();
    let kinds: Vec<_> =
        log["events"].as_array().unwrap().iter().map(|event| event["event"].clone()).collect();
    assert_eq!(kinds, [json!("signed_in")], "a repetition is no news");
    // It does not work in another browser, nor later.
    app.browser().post("/api/v1/auth/magic/verify", proof).await.expect_error(400, "link_invalid");
    app.advance(Duration::from_secs(31));
    post(&before).await.expect_error(400, "link_invalid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_redeemed_twice_by_one_browser_is_redeemed() {
    let app = TestApp::start().await;
    let browser = app.browser();
    let token = app.link_token(&browser, "a@example.com").await;
    repeated_in_one_browser(&app, &browser, &json!({ "token": token })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_typed_twice_in_one_browser_is_redeemed() {
    let app = TestApp::start().await;
    let browser = app.browser();
    browser.request_link("a@example.com").await.expect(200);
    let code = app.mail_to("a@example.com").await.code;
    repeated_in_one_browser(&app, &browser, &json!({ "code": code })).await;
}

#[tokio::test]
async fn whoever_has_signed_out_is_not_signed_in_by_a_repetition() {
    let app = TestApp::start().await;
    let browser = app.browser();
    let token = app.link_token(&browser, "a@example.com").await;
    let before = browser.fork();
    browser.redeem(&token).await.expect(200);
    browser.logout().await.expect(204);
    before.redeem(&token).await.expect_error(400, "link_invalid");
    assert_eq!(before.me().await, None);
}

#[tokio::test]
async fn a_form_sent_twice_signs_in_and_an_own_used_link_leads_on() {
    let app = TestApp::start().await;
    let browser = app.browser();
    let link = app.link_token(&browser, "a@example.com").await;
    let token = browser.form_token("/login").await;
    let fields = [("csrf_token", &*token), ("token", &*link)];
    let before = browser.fork();
    browser.submit("/login/confirm", &fields).await.expect(303);
    let answer = before.submit("/login/confirm", &fields).await.expect(303);
    assert_eq!(answer.header("location"), "/");
    assert!(before.me().await.is_some() && browser.me().await.is_none());

    let path = format!("/api/v1/auth/magic/verify?token={link}");
    let answer = before.get(&path).await.expect(303);
    let page = before.get(answer.header("location")).await.expect(200).body;
    assert!(page.contains("You are signed in."), "{page}");
    let other = app.signed_in("b@example.com").await;
    assert!(other.get(&path).await.expect(400).body.contains("no longer works"));
}

#[tokio::test]
async fn two_addresses_asked_for_in_two_tabs_each_have_a_code_that_works() {
    let app = TestApp::start().await;
    let browser = app.browser();
    for email in ["a@example.com", "b@example.com"] {
        browser.request_link(email).await.expect(200);
    }
    let (a, b) = (app.mail_to("a@example.com").await.code, app.mail_to("b@example.com").await.code);
    let first = browser.fork();
    for (browser, code, email) in [(&first, a, "a@example.com"), (&browser, b, "b@example.com")] {
        let answer = browser.post("/api/v1/auth/magic/verify", &json!({ "code": code })).await;
        assert_eq!(answer.expect(200).json()["user"]["email"], email);
    }
}

#[tokio::test]
async fn what_is_fetched_ahead_or_looked_at_begins_nothing_and_uses_nothing_up() {
    let fake_providers = FakeProviders::start().await;
    let vars = fake_providers.vars();
    let vars: Vec<_> = vars.iter().map(|(name, value)| (&**name, &**value)).collect();
    let app = TestApp::embedded_with(&vars).await;
    let browser = app.browser();
    let ahead = async |path: &str| {
        let answer = browser.send(Method::HEAD, path, &[], None).await.expect(204);
        assert!(answer.set_cookie("transaction").is_none());
        for (name, value) in
            [("sec-purpose", "prefetch;prerender"), ("purpose", "prefetch"), ("x-moz", "prefetch")]
        {
            let answer = browser.send(Method::GET, path, &[(name, value)], None).await;
            assert!(answer.expect(403).set_cookie("transaction").is_none(), "{name}");
        }
    };
    let start = "/api/v1/auth/github";
    ahead(start).await;
    assert_eq!(browser.cookie("transaction"), None);
    let location = browser.get(start).await.expect(303).header("location").to_owned();
    let transaction = browser.cookie("transaction");
    ahead(start).await;
    assert_eq!(browser.cookie("transaction"), transaction);
    let person = json!({ "id": 1, "emails": [{ "email": "a@example.com", "primary": true,
        "verified": true }] });
    let callback = fake_providers.agree(&location, person);
    ahead(&callback).await;
    assert_eq!(fake_providers.calls("/login/oauth/access_token"), 0);
    assert_eq!(browser.get(&callback).await.expect(303).header("location"), "/");
}

#[tokio::test]
async fn each_attempt_leads_to_the_page_it_began_for() {
    let fake_providers = FakeProviders::start().await;
    let vars = fake_providers.vars();
    let vars: Vec<_> = vars.iter().map(|(name, value)| (&**name, &**value)).collect();
    let app = TestApp::embedded_with(&vars).await;
    let browser = app.browser();
    let page = browser.get("/login?next=/account").await.expect(200).body;
    assert!(page.contains(r#"href="/api/v1/auth/github?next=%2Faccount""#), "{page}");
    let begin = async |next: &str| {
        let path = format!("/api/v1/auth/github?next={next}");
        browser.get(&path).await.expect(303).header("location").to_owned()
    };
    let (account, items) = (begin("%2Faccount").await, begin("%2F%3Fq%3Dak").await);
    let evil = begin("%2F%2Fevil.example").await;
    let person = |id: u64| {
        let email = format!("{id}@example.com");
        json!({ "id": id, "emails": [{ "email": email, "primary": true, "verified": true }] })
    };
    for (location, id, target) in
        [(items, 1, "/?q=ak"), (account, 2, "/account"), (evil, 3, "/account")]
    {
        let browser = browser.fork();
        browser.set_cookie("next", "");
        let landed = browser.get(&fake_providers.agree(&location, person(id))).await.expect(303);
        assert_eq!(landed.header("location"), target);
    }
}
