//! Sign-in with Google and GitHub: the resulting account, and all the ways to fail.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::browser::{Answer, Browser};
use crate::fake_providers::{FakeProviders, Reply, query};
use crate::harness::TestApp;

const GOOGLE: &str = "/api/v1/auth/google";
const GITHUB: &str = "/api/v1/auth/github";

async fn start() -> (TestApp, FakeProviders) {
    let fake_providers = FakeProviders::start().await;
    let vars = fake_providers.vars();
    let vars: Vec<_> = vars.iter().map(|(name, value)| (&**name, &**value)).collect();
    (TestApp::embedded_with(&vars).await, fake_providers)
}

pub(crate) fn now(app: &TestApp) -> u64 {
    app.clock.now().as_millis() / 1000
}

pub(crate) fn google(app: &TestApp, sub: &str, email: &str) -> Value {
    json!({ "now": now(app), "sub": sub, "email": email, "email_verified": true })
}

pub(crate) fn github(id: u64, email: &str) -> Value {
    json!({ "id": id, "emails": [{ "email": email, "primary": true, "verified": true }] })
}

pub(crate) async fn leave(browser: &Browser, path: &str) -> String {
    let answer = browser.get(path).await.expect(303);
    assert!(answer.set_cookie("transaction").is_some());
    answer.header("location").to_owned()
}

/// The page where a callback ends. Its URL contains no code or state.
pub(crate) fn landed(answer: Answer) -> String {
    let answer = answer.expect(303);
    assert_eq!(answer.set_cookie("transaction"), None, "others may be under way in this browser");
    let target = answer.header("location").to_owned();
    assert!(!target.contains("code") && !target.contains("state"), "{target}");
    target
}

pub(crate) async fn sign_in(
    fake_providers: &FakeProviders,
    browser: &Browser,
    path: &str,
    person: Value,
) -> String {
    let location = leave(browser, path).await;
    landed(browser.get(&fake_providers.agree(&location, person)).await)
}

/// Links a provider to the signed-in user.
pub(crate) async fn link(
    fake_providers: &FakeProviders,
    browser: &Browser,
    provider: &str,
    person: Value,
) -> String {
    let begun = browser
        .post(&format!("/api/v1/auth/providers/{provider}/link"), &json!({}))
        .await
        .expect(200);
    let location = begun.json()["redirect_to"].as_str().unwrap().to_owned();
    landed(browser.get(&fake_providers.agree(&location, person)).await)
}

pub(crate) async fn email(browser: &Browser) -> Value {
    browser.get("/api/v1/auth/me").await.json()["user"]["email"].clone()
}

#[tokio::test]
async fn the_request_is_the_least_there_is() {
    let (app, fake_providers) = start().await;
    let (one, two) = (leave(&app.browser(), GOOGLE).await, leave(&app.browser(), GOOGLE).await);
    assert!(one.starts_with(&format!("{}/authorize?", fake_providers.base())), "{one}");
    let (one, two) = (query(&one), query(&two));
    assert_eq!((&*one["scope"], &*one["response_type"]), ("openid email profile", "code"));
    assert_eq!(one["redirect_uri"], "http://localhost:8080/api/v1/auth/google/callback");
    for fresh in ["state", "nonce", "code_challenge"] {
        assert!(one[fresh].len() == 43 && one[fresh] != two[fresh], "{fresh}");
    }
    let github = query(&leave(&app.browser(), GITHUB).await);
    assert_eq!(
        (&*github["scope"], &*github["code_challenge_method"]),
        ("read:user user:email", "S256")
    );
    assert_eq!(github["redirect_uri"], "http://localhost:8080/api/v1/auth/github/callback");
}

#[tokio::test]
async fn a_new_person_gets_an_account_and_finds_it_again() {
    let (app, fake_providers) = start().await;
    let (first, again) = (app.browser(), app.browser());
    assert_eq!(
        sign_in(&fake_providers, &first, GOOGLE, google(&app, "1", "a@gmail.com")).await,
        "/"
    );
    assert_eq!(email(&first).await, "a@gmail.com");
    // A changed address at the provider changes nothing here.
    assert_eq!(
        sign_in(&fake_providers, &again, GOOGLE, google(&app, "1", "b@gmail.com")).await,
        "/"
    );
    assert_eq!((again.me().await, email(&again).await), (first.me().await, json!("a@gmail.com")));
    // The same number at another provider is another user.
    let other = app.browser();
    assert_eq!(sign_in(&fake_providers, &other, GITHUB, github(1, "c@example.com")).await, "/");
    assert_ne!(other.me().await, first.me().await);
    let methods = other.get("/api/v1/auth/methods").await.json();
    let methods: Vec<_> =
        methods["methods"].as_array().unwrap().iter().map(|it| it["method"].clone()).collect();
    assert_eq!(methods, ["email", "google", "github", "steam"]);
}

#[tokio::test]
async fn an_address_that_has_an_account_opens_nothing() {
    let (app, fake_providers) = start().await;
    let owner = app.signed_in("a@gmail.com").await;
    let hosted = |mut person: Value| {
        person["hd"] = json!("gmail.com");
        person
    };
    for (path, person) in [
        (GOOGLE, google(&app, "1", "a@gmail.com")),
        (GOOGLE, hosted(google(&app, "2", "a@gmail.com"))),
        (GITHUB, github(3, "A@gmail.com")),
    ] {
        let before = app.mails_to("a@gmail.com");
        let browser = app.browser();
        assert_eq!(
            sign_in(&fake_providers, &browser, path, person.clone()).await,
            "/login?error=proof_mailed",
            "{person}"
        );
        assert_eq!(browser.me().await, None);
        crate::harness::eventually(|| async {
            (app.mails_to("a@gmail.com") > before).then_some(())
        })
        .await;
        assert_eq!(app.mail_to("a@gmail.com").await.code, "", "a code would work in no browser");
        // A sign-in never links, neither for the owner of the address nor for somebody else.
        assert_eq!(
            sign_in(&fake_providers, &owner, path, person.clone()).await,
            "/login?error=account_exists"
        );
        let other = app.signed_in("other@example.com").await;
        assert_eq!(
            sign_in(&fake_providers, &other, path, person).await,
            "/login?error=account_exists"
        );
        assert_eq!(email(&other).await, "other@example.com");
    }
    // The mailed link proves the address; then linking is one step.
    let browser = app.browser();
    let token = crate::harness::token_of(&app.mail_to("a@gmail.com").await.link);
    browser.redeem(&token).await.expect(200);
    assert_eq!(
        link(&fake_providers, &browser, "google", google(&app, "1", "a@gmail.com")).await,
        "/"
    );
    let now_in = app.browser();
    assert_eq!(
        sign_in(&fake_providers, &now_in, GOOGLE, google(&app, "1", "a@gmail.com")).await,
        "/"
    );
    assert_eq!(now_in.me().await, owner.me().await);
    let events = owner.get("/api/v1/auth/events").await.json();
    let kinds: Vec<_> = events["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["event"].as_str().unwrap())
        .collect();
    assert!(kinds.contains(&"sign_in_failed") && kinds.contains(&"linked"), "{kinds:?}");
}

#[tokio::test]
async fn an_address_that_is_not_verified_counts_for_nothing() {
    let (app, fake_providers) = start().await;
    let unverified = |value: Value| {
        let mut person = google(&app, "1", "a@gmail.com");
        person["email_verified"] = value;
        (GOOGLE, person)
    };
    let listed = |emails: Value| (GITHUB, json!({ "id": 1, "emails": emails }));
    for (path, person) in [
        unverified(json!(false)),
        unverified(json!("false")),
        unverified(json!("true ")),
        (GOOGLE, json!({ "now": now(&app), "sub": "1" })),
        listed(json!([])),
        listed(json!([{ "email": "a@example.com", "primary": true, "verified": false }])),
        listed(json!([{ "email": "a@example.com", "primary": false, "verified": true }])),
        listed(json!([{
            "email": "1+octocat@users.noreply.github.com", "primary": true, "verified": true
        }])),
        (
            GITHUB,
            json!({
                "id": 1, "scope": "read:user",
                "emails": [{ "email": "a@example.com", "primary": true, "verified": true }]
            }),
        ),
    ] {
        let browser = app.browser();
        assert_eq!(
            sign_in(&fake_providers, &browser, path, person.clone()).await,
            "/login?error=email_unverified",
            "{person}"
        );
        assert_eq!(browser.me().await, None);
    }
    for no in [403, 404] {
        fake_providers.instead("/api/user/emails", Reply::Says(no, "{}".to_owned()));
        let browser = app.browser();
        let target = sign_in(&fake_providers, &browser, GITHUB, github(1, "a@example.com")).await;
        assert_eq!(target, "/login?error=email_unverified", "{no}");
    }
}

#[tokio::test]
async fn a_github_app_has_no_scopes_and_signs_in() {
    let (app, fake_providers) = start().await;
    let mut person = github(1, "a@example.com");
    person["scope"] = json!("");
    let browser = app.browser();
    assert_eq!(sign_in(&fake_providers, &browser, GITHUB, person).await, "/");
    assert!(browser.me().await.is_some());
}

#[tokio::test]
async fn the_primary_address_is_found_on_a_later_page() {
    let (app, fake_providers) = start().await;
    let other = |name: &str| {
        json!({ "email": format!("{name}@example.com"), "primary": false,
        "verified": true })
    };
    let primary = json!({ "email": "main@example.com", "primary": true, "verified": true });
    let person =
        json!({ "id": 1, "emails": [other("a"), other("b"), other("c"), other("d"), primary] });
    let browser = app.browser();
    assert_eq!(sign_in(&fake_providers, &browser, GITHUB, person).await, "/");
    assert_eq!(email(&browser).await, "main@example.com");
}

/// Somebody signs in with an address that is no longer theirs; its owner signs in later.
#[tokio::test]
async fn the_owner_of_the_mailbox_gets_nothing_of_who_was_there_before() {
    let (app, fake_providers) = start().await;
    let attacker = app.browser();
    assert_eq!(
        sign_in(&fake_providers, &attacker, GITHUB, github(1, "victim@corp.example")).await,
        "/"
    );
    assert_eq!(
        link(&fake_providers, &attacker, "google", google(&app, "9", "mallory@gmail.com")).await,
        "/"
    );
    let account = attacker.me().await;
    attacker
        .post("/api/v1/auth/email", &json!({ "email": "mallory@example.com" }))
        .await
        .expect(200);
    let change = app.notice_to("mallory@example.com", "Confirm your address").await.link;

    let victim = app.signed_in("victim@corp.example").await;
    assert_eq!(victim.me().await, account);
    assert_eq!(victim.get("/api/v1/auth/me").await.json()["user"]["name"], json!(null));
    attacker.get("/api/v1/auth/sessions").await.expect_error(401, "unauthenticated");
    let providers = victim.get("/api/v1/auth/providers").await.json();
    assert!(
        providers["providers"].as_array().unwrap().iter().all(|it| it["linked"] == false),
        "{providers}"
    );
    let change = json!({ "token": crate::harness::token_of(&change) });
    victim.post("/api/v1/auth/email/confirm", &change).await.expect_error(400, "link_invalid");
    assert_eq!(
        sign_in(&fake_providers, &app.browser(), GITHUB, github(1, "victim@corp.example")).await,
        "/login?error=proof_mailed"
    );
    app.notice_to("victim@corp.example", "was cleaned").await;
    // Now the mailbox is proved, so the next link removes nothing.
    assert_eq!(
        link(&fake_providers, &victim, "github", github(2, "victim@corp.example")).await,
        "/"
    );
    app.signed_in("victim@corp.example").await;
    let providers = victim.get("/api/v1/auth/providers").await.json();
    assert_eq!(providers["providers"][1]["linked"], true);
}

#[tokio::test]
async fn an_address_that_google_only_verified_is_proved_by_its_mailbox() {
    let (app, fake_providers) = start().await;
    for (sub, email, hd, stays) in [
        ("1", "a@corp.example", json!(null), false),
        ("2", "b@corp.example", json!(""), false),
        ("3", "c@corp.example", json!("corp.example"), true),
        ("4", "d@gmail.com", json!(null), true),
    ] {
        let before = app.browser();
        let mut person = google(&app, sub, email);
        person["hd"] = hd;
        assert_eq!(sign_in(&fake_providers, &before, GOOGLE, person).await, "/");
        let owner = app.signed_in(email).await;
        assert_eq!(before.me().await.is_some(), stays, "{email}");
        let providers = owner.get("/api/v1/auth/providers").await.json();
        assert_eq!(providers["providers"][0]["linked"], stays, "{email}");
    }
}

#[tokio::test]
async fn the_same_person_keeps_everything_when_they_prove_their_mailbox() {
    let (app, fake_providers) = start().await;
    let browser = app.browser();
    assert_eq!(sign_in(&fake_providers, &browser, GITHUB, github(1, "a@example.com")).await, "/");
    app.sign_in(&browser, "a@example.com").await;
    let providers = browser.get("/api/v1/auth/providers").await.json();
    assert_eq!(providers["providers"][1]["linked"], true);
}

#[tokio::test]
async fn what_a_token_says_has_to_fit() {
    let (app, fake_providers) = start().await;
    for (claim, value) in [
        ("iss", json!("https://evil.example")),
        ("aud", json!("another-client")),
        ("nonce", json!("another")),
        ("nonce", Value::Null),
        ("exp", json!(now(&app) - 60)),
        ("iat", json!(now(&app) + 60)),
        ("azp", json!("another-client")),
    ] {
        let mut person = google(&app, "1", "a@gmail.com");
        person[claim] = value.clone();
        let browser = app.browser();
        assert_eq!(
            sign_in(&fake_providers, &browser, GOOGLE, person).await,
            "/login?error=google_refused",
            "{claim} {value}"
        );
        assert_eq!(browser.me().await, None);
    }
}

#[tokio::test]
async fn a_new_key_is_fetched_once_and_an_unknown_one_is_refused() {
    let (app, fake_providers) = start().await;
    for (name, fetched) in [("a@gmail.com", 1), ("b@gmail.com", 1)] {
        assert_eq!(
            sign_in(&fake_providers, &app.browser(), GOOGLE, google(&app, name, name)).await,
            "/"
        );
        assert_eq!(fake_providers.calls("/jwks"), fetched);
    }
    assert_eq!(fake_providers.calls("/.well-known/openid-configuration"), 1);
    fake_providers.rotate_key();
    assert_eq!(
        sign_in(&fake_providers, &app.browser(), GOOGLE, google(&app, "c", "c@gmail.com")).await,
        "/"
    );
    assert_eq!(fake_providers.calls("/jwks"), 2);
    fake_providers.instead("/jwks", Reply::Says(200, json!({ "keys": [] }).to_string()));
    fake_providers.rotate_key();
    let target =
        sign_in(&fake_providers, &app.browser(), GOOGLE, google(&app, "d", "d@gmail.com")).await;
    assert_eq!((&*target, fake_providers.calls("/jwks")), ("/login?error=google_refused", 3));
}

#[tokio::test]
async fn odd_answers_end_the_sign_in() {
    let (app, fake_providers) = start().await;
    let says = |status: u16, body: &str| Reply::Says(status, body.to_owned());
    let error = r#"{"error":"incorrect_client_credentials","error_description":"<script>"}"#;
    let unsigned = r#"{"access_token":"x","id_token":"eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0."}"#;
    for (path, address, reply, code) in [
        // This case comes first, because keys are cached once they could be read.
        (GOOGLE, "/jwks", says(200, "<html>"), "google_unavailable"),
        (GOOGLE, "/token", says(400, error), "google_refused"),
        (GOOGLE, "/token", says(401, ""), "google_refused"),
        (GOOGLE, "/token", says(200, error), "google_refused"),
        (GOOGLE, "/token", says(200, unsigned), "google_refused"),
        (GOOGLE, "/token", says(429, ""), "google_unavailable"),
        (GOOGLE, "/token", says(500, ""), "google_unavailable"),
        (GOOGLE, "/token", Reply::Floods, "google_unavailable"),
        (GOOGLE, "/token", Reply::Redirects(fake_providers.base()), "google_unavailable"),
        (GITHUB, "/login/oauth/access_token", says(200, error), "github_refused"),
        (GITHUB, "/login/oauth/access_token", says(200, "{}"), "github_refused"),
        (GITHUB, "/login/oauth/access_token", says(200, "access_token=x"), "github_unavailable"),
        (GITHUB, "/login/oauth/access_token", says(502, ""), "github_unavailable"),
        (GITHUB, "/login/oauth/access_token", Reply::Floods, "github_unavailable"),
        (
            GITHUB,
            "/login/oauth/access_token",
            Reply::Redirects(fake_providers.base()),
            "github_unavailable",
        ),
        (GITHUB, "/api/user", says(401, r#"{"message":"Bad credentials"}"#), "github_refused"),
        (GITHUB, "/api/user", says(200, r#"{"id":"583231","login":"x"}"#), "github_unavailable"),
        (GITHUB, "/api/user/emails", says(500, ""), "github_unavailable"),
    ] {
        fake_providers.instead(address, reply.clone());
        let browser = app.browser();
        let person = if path == GOOGLE {
            google(&app, "1", "a@gmail.com")
        } else {
            github(1, "a@example.com")
        };
        let location = leave(&browser, path).await;
        let callback = fake_providers.agree(&location, person);
        assert_eq!(
            landed(browser.get(&callback).await),
            format!("/login?error={code}"),
            "{address} {reply:?}"
        );
        fake_providers.tell_the_truth();
        assert_eq!(
            browser.get(&callback).await.strayed(),
            format!("/login?error={code}"),
            "spent, so the same again: {address} {reply:?}"
        );
        assert_eq!(browser.me().await, None, "{address} {reply:?}");
    }
}

#[tokio::test]
async fn a_provider_that_cannot_be_discovered_is_said_at_the_start() {
    let (app, fake_providers) = start().await;
    let evil = json!({
        "issuer": "https://evil.example",
        "authorization_endpoint": "https://evil.example/a",
        "token_endpoint": "https://evil.example/t",
        "jwks_uri": "https://evil.example/k",
    });
    let mut plain = evil.clone();
    plain["issuer"] = json!(fake_providers.base());
    plain["token_endpoint"] = json!("http://evil.example/t");
    for reply in [
        Reply::Says(500, String::new()),
        Reply::Says(200, evil.to_string()),
        Reply::Says(200, plain.to_string()),
    ] {
        fake_providers.instead("/.well-known/openid-configuration", reply.clone());
        let answer = app.browser().get(GOOGLE).await.expect(303);
        assert_eq!(answer.header("location"), "/login?error=google_unavailable", "{reply:?}");
    }
    fake_providers.tell_the_truth();
    leave(&app.browser(), GOOGLE).await;
}

#[tokio::test]
async fn a_callback_without_a_transaction_of_its_own_asks_nobody() {
    let (app, fake_providers) = start().await;
    let browser = app.browser();
    for query in [
        "",
        "code=x",
        "code=x&state=",
        "code=x&state=y",
        "state=a&state=a&code=x",
        "error=access_denied",
    ] {
        for path in [GOOGLE, GITHUB] {
            let target = browser.get(&format!("{path}/callback?{query}")).await.strayed();
            assert_eq!(target, "/login?error=sign_in_expired", "{path} {query}");
        }
    }
    // Another browser's, another provider's, used, with a repeated parameter, expired.
    let callback =
        fake_providers.agree(&leave(&browser, GOOGLE).await, google(&app, "1", "a@gmail.com"));
    assert_eq!(app.browser().get(&callback).await.strayed(), "/login?error=sign_in_expired");
    let callback =
        fake_providers.agree(&leave(&browser, GOOGLE).await, google(&app, "1", "a@gmail.com"));
    let elsewhere = callback.replace("google", "github");
    let transaction = browser.cookie("transaction").unwrap();
    assert_eq!(landed(browser.get(&elsewhere).await), "/login?error=sign_in_expired");
    browser.set_cookie("transaction", &transaction);
    assert_eq!(browser.get(&callback).await.strayed(), "/login?error=sign_in_expired");
    let callback =
        fake_providers.agree(&leave(&browser, GOOGLE).await, google(&app, "1", "a@gmail.com"));
    assert_eq!(
        landed(browser.get(&format!("{callback}&code=y")).await),
        "/login?error=google_refused"
    );
    let callback =
        fake_providers.agree(&leave(&browser, GOOGLE).await, google(&app, "1", "a@gmail.com"));
    app.advance(Duration::from_mins(10));
    assert_eq!(landed(browser.get(&callback).await), "/login?error=sign_in_expired");
    assert_eq!(
        (fake_providers.calls("/token"), fake_providers.calls("/login/oauth/access_token")),
        (0, 0)
    );
}

#[tokio::test]
async fn a_callback_that_belongs_to_nothing_leaves_a_sign_in_under_way_alone() {
    let (app, fake_providers) = start().await;
    for (path, person) in
        [(GOOGLE, google(&app, "1", "a@gmail.com")), (GITHUB, github(1, "a@example.com"))]
    {
        let browser = app.browser();
        browser.set_cookie("next", &URL_SAFE_NO_PAD.encode("/account"));
        let location = leave(&browser, path).await;
        let state = &query(&location)["state"];
        let callback = fake_providers.agree(&location, person);
        for stray in
            ["code=x&state=y".to_owned(), "code=x".to_owned(), format!("state={state}&state=y")]
        {
            let target = browser.get(&format!("{path}/callback?{stray}")).await.strayed();
            assert_eq!(target, "/login?error=sign_in_expired", "{stray}");
        }
        // Without the cookie, and with an invented one.
        let other = app.browser();
        assert_eq!(other.get(&callback).await.strayed(), "/login?error=sign_in_expired");
        other.set_cookie("transaction", &"A".repeat(43));
        assert_eq!(other.get(&callback).await.strayed(), "/login?error=sign_in_expired");
        assert_eq!(landed(browser.get(&callback).await), "/account", "{path}");
        assert_eq!(landed(browser.get(&callback).await), "/account", "{path}: loaded twice");
        app.advance(Duration::from_secs(31));
        let late = browser.get(&callback).await.strayed();
        assert_eq!(late, "/login?error=sign_in_expired", "{path}");
    }
}

#[tokio::test]
async fn what_the_provider_reports_is_told_apart() {
    let (app, fake_providers) = start().await;
    for (path, report, code) in [
        (GOOGLE, "error=access_denied", "cancelled"),
        (GITHUB, "error=access_denied&error_description=%3Cscript%3E", "cancelled"),
        (GITHUB, "error=application_suspended", "github_refused"),
        (GOOGLE, "error=access_denied&code=x", "cancelled"),
        (GOOGLE, "error=server_error&code=x", "google_refused"),
        (GOOGLE, "code=", "google_refused"),
        (GOOGLE, "code=x&iss=https%3A%2F%2Fevil.example", "google_refused"),
        (GITHUB, "code=x&iss=https%3A%2F%2Fevil.example", "github_refused"),
    ] {
        let browser = app.browser();
        let state = query(&leave(&browser, path).await)["state"].clone();
        let target = landed(browser.get(&format!("{path}/callback?{report}&state={state}")).await);
        assert_eq!(target, format!("/login?error={code}"), "{report}");
    }
    assert_eq!(
        (fake_providers.calls("/token"), fake_providers.calls("/login/oauth/access_token")),
        (0, 0)
    );
}

#[tokio::test]
async fn github_may_name_itself() {
    let (app, fake_providers) = start().await;
    let browser = app.browser();
    let callback = fake_providers.agree(&leave(&browser, GITHUB).await, github(1, "a@example.com"));
    let issuer = format!("{}/login/oauth", fake_providers.base());
    assert_eq!(landed(browser.get(&format!("{callback}&iss={issuer}")).await), "/");
}

#[tokio::test]
async fn those_who_wait_for_a_silent_issuer_wait_together() {
    let (app, fake_providers) = start().await;
    fake_providers.instead("/.well-known/openid-configuration", Reply::Hangs);
    let begin = async || app.browser().get(GOOGLE).await.expect(303).header("location").to_owned();
    let together = async { tokio::join!(begin(), begin(), begin()) };
    let (one, two, three) = tokio::time::timeout(Duration::from_secs(15), together).await.unwrap();
    assert!([one, two, three].iter().all(|location| location == "/login?error=google_unavailable"));
    assert_eq!(fake_providers.calls("/.well-known/openid-configuration"), 1);
    fake_providers.tell_the_truth();
    app.advance(Duration::from_secs(15));
    leave(&app.browser(), GOOGLE).await;
}

#[tokio::test]
async fn a_stripped_challenge_fails_at_the_provider() {
    let (app, fake_providers) = start().await;
    let browser = app.browser();
    let location = leave(&browser, GOOGLE).await;
    let challenge = query(&location)["code_challenge"].clone();
    let callback = fake_providers
        .agree(&location.replace(&challenge, &"A".repeat(43)), google(&app, "1", "a@gmail.com"));
    assert_eq!(landed(browser.get(&callback).await), "/login?error=google_refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_callbacks_with_one_state_make_one_token_request() {
    let (app, fake_providers) = start().await;
    for (path, address) in [(GOOGLE, "/token"), (GITHUB, "/login/oauth/access_token")] {
        let browser = app.browser();
        let person = if path == GOOGLE {
            google(&app, "1", "a@gmail.com")
        } else {
            github(1, "b@example.com")
        };
        let callback = fake_providers.agree(&leave(&browser, path).await, person);
        let calls: Vec<_> = (0..50)
            .map(|_| {
                let (browser, callback) = (browser.fork(), callback.clone());
                tokio::spawn(async move {
                    browser.get(&callback).await.expect(303).header("location").to_owned()
                })
            })
            .collect();
        let mut home = 0;
        for call in calls {
            home += usize::from(call.await.unwrap() == "/");
        }
        assert_eq!((home, fake_providers.calls(address)), (50, 1), "{path}: the same outcome");
    }
}

#[tokio::test]
async fn linking_takes_what_is_free_and_nothing_else() {
    let (app, fake_providers) = start().await;
    let browser = app.signed_in("a@example.com").await;
    let bare = app.browser();
    bare.post("/api/v1/auth/providers/google/link", &json!({}))
        .await
        .expect_error(401, "unauthenticated");
    let path = "/api/v1/auth/providers/google/link";
    browser
        .send(reqwest::Method::POST, path, &[], Some(&json!({})))
        .await
        .expect_error(403, "csrf_failed");
    browser
        .post("/api/v1/auth/providers/myspace/link", &json!({}))
        .await
        .expect_error(404, "not_found");

    // The address of the identity does not matter here.
    app.signed_in("b@gmail.com").await;
    assert_eq!(
        link(&fake_providers, &browser, "google", google(&app, "1", "b@gmail.com")).await,
        "/"
    );
    assert_eq!(
        link(&fake_providers, &browser, "google", google(&app, "1", "b@gmail.com")).await,
        "/"
    );
    assert_eq!(
        link(&fake_providers, &browser, "google", google(&app, "2", "c@gmail.com")).await,
        "/login?error=already_linked"
    );
    let other = app.signed_in("d@example.com").await;
    assert_eq!(
        link(&fake_providers, &other, "google", google(&app, "1", "d@example.com")).await,
        "/login?error=identity_taken"
    );
    assert_eq!(email(&browser).await, "a@example.com");
    let signed_in = app.browser();
    assert_eq!(
        sign_in(&fake_providers, &signed_in, GOOGLE, google(&app, "1", "b@gmail.com")).await,
        "/"
    );
    assert_eq!(signed_in.me().await, browser.me().await);
}

#[tokio::test]
async fn linking_ends_with_the_session_that_began_it() {
    let (app, fake_providers) = start().await;
    let browser = app.signed_in("a@example.com").await;
    let begun =
        browser.post("/api/v1/auth/providers/github/link", &json!({})).await.expect(200).json();
    let callback =
        fake_providers.agree(begun["redirect_to"].as_str().unwrap(), github(1, "x@example.com"));
    let transaction = browser.cookie("transaction").unwrap();
    browser.logout().await.expect(204);
    browser.set_cookie("transaction", &transaction);
    assert_eq!(landed(browser.get(&callback).await), "/login?error=session_changed");
    let stranger = app.browser();
    assert_eq!(
        sign_in(&fake_providers, &stranger, GITHUB, github(1, "x@example.com")).await,
        "/",
        "linked to nobody"
    );
}

#[tokio::test]
async fn a_sign_in_in_any_way_ends_a_mailed_link() {
    let (app, fake_providers) = start().await;
    let owner = app.signed_in("a@example.com").await;
    assert_eq!(
        link(&fake_providers, &owner, "google", google(&app, "1", "a@gmail.com")).await,
        "/"
    );
    let mailed = app.link_token(&app.browser(), "a@example.com").await;
    assert_eq!(
        sign_in(&fake_providers, &app.browser(), GOOGLE, google(&app, "1", "a@gmail.com")).await,
        "/"
    );
    app.browser().redeem(&mailed).await.expect_error(400, "link_invalid");
}

#[tokio::test]
async fn the_log_and_the_mails_tell_what_happened() {
    let (app, fake_providers) = start().await;
    let browser = app.signed_in("a@example.com").await;
    assert_eq!(
        link(&fake_providers, &browser, "google", google(&app, "1", "a@gmail.com")).await,
        "/"
    );
    let second = app.browser();
    assert_eq!(
        sign_in(&fake_providers, &second, GOOGLE, google(&app, "1", "a@gmail.com")).await,
        "/"
    );
    let notice = app.notice_to("a@example.com", "New sign-in").await;
    assert!(
        notice.text.contains("Firefox on Linux") && notice.text.contains("127.0.0.1"),
        "{}",
        notice.text
    );
    assert!(notice.link.starts_with("http://localhost:8080/undo?token="), "{}", notice.link);
    // The browser is known by now.
    assert_eq!(
        sign_in(&fake_providers, &second, GOOGLE, google(&app, "1", "a@gmail.com")).await,
        "/"
    );
    browser.delete("/api/v1/auth/sessions").await.expect(204);
    browser.delete("/api/v1/auth/providers/google").await.expect(204);
    let told = browser.get("/api/v1/auth/events").await.expect(200).json();
    let events = told["events"].as_array().unwrap();
    let kinds: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    let expected = [
        "unlinked",
        "other_sessions_revoked",
        "signed_in",
        "signed_in",
        "new_device",
        "linked",
        "signed_in",
    ];
    assert_eq!(kinds, expected);
    assert_eq!((&events[2]["method"], &events[6]["method"]), (&json!("google"), &json!("email")));
    assert_eq!(
        (&events[0]["device"], &events[0]["ip"]),
        (&json!("Firefox on Linux"), &json!("127.0.0.1"))
    );
    let page = browser.get("/api/v1/auth/events?limit=3").await.expect(200).json();
    let rest =
        browser.get(&format!("/api/v1/auth/events?limit=200&before={}", page["next"])).await.json();
    assert_eq!(page["events"].as_array().unwrap()[..], events[..3]);
    assert_eq!(rest["events"].as_array().unwrap()[..], events[3..]);
    assert_eq!(rest["next"], Value::Null);
    for query in ["limit=0", "limit=201", "before=x", "after=1"] {
        browser
            .get(&format!("/api/v1/auth/events?{query}"))
            .await
            .expect_error(400, "malformed_query");
    }
    let other = app.signed_in("b@example.com").await;
    assert_eq!(
        other.get("/api/v1/auth/events").await.json()["events"].as_array().unwrap().len(),
        1
    );
}

#[tokio::test]
async fn a_browser_is_news_after_ninety_quiet_days() {
    let app = TestApp::embedded().await;
    app.signed_in("a@example.com").await;
    app.advance(Duration::from_hours(24 * 91));
    // The next event removes old ones.
    app.signed_in("b@example.com").await;
    app.signed_in("a@example.com").await;
    app.notice_to("a@example.com", "New sign-in").await;
    assert_eq!(
        app.all_mails("b@example.com").filter(|mail| mail.subject.contains("New sign-in")).count(),
        0
    );
}

#[tokio::test]
async fn a_provider_without_its_variables_is_off() {
    let app = TestApp::embedded().await;
    let browser = app.signed_in("a@example.com").await;
    for path in [GOOGLE, GITHUB, "/api/v1/auth/oidc"] {
        browser.get(path).await.expect_error(404, "method_not_configured");
    }
    browser
        .post("/api/v1/auth/providers/google/link", &json!({}))
        .await
        .expect_error(404, "method_not_configured");
    let providers = browser.get("/api/v1/auth/providers").await.json();
    let configured: Vec<_> = providers["providers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["configured"].clone())
        .collect();
    assert_eq!(configured, [false, false, true, false]);
}

#[tokio::test]
async fn what_the_id_token_leaves_out_is_asked_of_the_userinfo_endpoint_about_the_same_person() {
    let (app, fake_providers) = start().await;
    let person = |userinfo: Value| {
        let mut person = google(&app, "1", "");
        person["email"] = Value::Null;
        person["userinfo"] = userinfo;
        person
    };
    let told = json!({ "sub": "1", "email": "a@gmail.com", "email_verified": true });
    let browser = app.browser();
    assert_eq!(sign_in(&fake_providers, &browser, GOOGLE, person(told)).await, "/");
    assert_eq!(email(&browser).await, "a@gmail.com");
    assert_eq!(fake_providers.calls("/userinfo"), 1);

    let of_another = json!({ "sub": "2", "email": "b@gmail.com", "email_verified": true });
    let target = sign_in(&fake_providers, &app.browser(), GOOGLE, person(of_another)).await;
    assert_eq!(target, "/login?error=google_refused");
}
