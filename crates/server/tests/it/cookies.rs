//! The session cookie: its attributes, its lifetime, and values that are refused.

use std::time::Duration;

use reqwest::Method;
use tracera::clock::utc;

use crate::browser::Answer;
use crate::harness::TestApp;

async fn sign_in_answer(app: &TestApp) -> Answer {
    let browser = app.browser();
    let token = app.link_token(&browser, "a@example.com").await;
    browser.redeem(&token).await.expect(200)
}

#[tokio::test]
async fn over_http_the_cookie_is_plain_and_over_https_it_is_secure() {
    let app = TestApp::start().await;
    let cookie = sign_in_answer(&app).await.set_cookie("session").unwrap();
    let (value, attributes) = cookie.split_once(';').unwrap();
    assert_eq!(value.len(), "session=".len() + 111);
    let (before, expires) = attributes.split_once("; Expires=").unwrap();
    assert_eq!(before, " HttpOnly; SameSite=Lax; Path=/; Max-Age=259200");
    // `Expires` has the same effect for a client that ignores `Max-Age`.
    let format = time::format_description::well_known::Rfc2822;
    let expires = time::OffsetDateTime::parse(expires, &format).unwrap();
    assert_eq!(expires.unix_timestamp(), utc(app.clock.now()).unix_timestamp() + 259_200);

    let app = TestApp::start_with(&[("BASE_URL", "https://tracera.localhost")]).await;
    let browser = app.browser();
    let answer = browser.get("/api/v1/auth/csrf").await.expect(200);
    assert!(answer.set_cookie("__Host-visitor").unwrap().contains("Secure"));
    assert_eq!(answer.header("strict-transport-security"), "max-age=31536000; includeSubDomains");
    let answer = sign_in_answer(&app).await;
    let cookie = answer.set_cookie("__Host-session").unwrap();
    assert!(cookie.contains("; HttpOnly; SameSite=Lax; Path=/; Max-Age=259200; "), "{cookie}");
    assert!(cookie.ends_with(" GMT; Secure"), "{cookie}");
    assert!(!cookie.to_lowercase().contains("domain"));
}

#[tokio::test]
async fn the_record_lives_as_long_as_the_cookie_and_use_does_not_move_it() {
    let app = TestApp::start_with(&[("SESSION_LIFETIME_HOURS", "5")]).await;
    let browser = app.signed_in("a@example.com").await;
    let key = app.redis().cli(&["--raw", "KEYS", "session:*"]).await.trim().to_owned();
    let ttl: i64 = app.redis().cli(&["TTL", &key]).await.trim().parse().unwrap();
    assert!((5 * 3600 - 5..=5 * 3600).contains(&ttl), "{ttl}");
    let expires = app.redis().cli(&["PEXPIRETIME", &key]).await;
    for _ in 0..5 {
        app.advance(Duration::from_mins(30));
        browser.get("/api/v1/auth/sessions").await.expect(200);
    }
    assert_eq!(app.redis().cli(&["PEXPIRETIME", &key]).await, expires);

    app.advance(Duration::from_mins(149));
    assert!(browser.me().await.is_some(), "a minute before the end");
    app.advance(Duration::from_mins(1));
    let answer = browser.get("/api/v1/auth/sessions").await;
    assert!(answer.set_cookie("session").unwrap().contains("Max-Age=0"));
    answer.expect_error(401, "unauthenticated");
}

#[tokio::test]
async fn an_idle_session_ends_and_a_used_one_ends_at_the_absolute_deadline() {
    let vars = [("SESSION_IDLE_MINUTES", "30"), ("SESSION_LIFETIME_HOURS", "1")];
    let app = TestApp::start_with(&vars).await;
    let idle = app.signed_in("idle@example.com").await;
    let used = app.signed_in("used@example.com").await;
    for _ in 0..5 {
        app.advance(Duration::from_mins(10));
        assert!(used.me().await.is_some());
    }
    assert_eq!(idle.me().await, None);
    app.advance(Duration::from_mins(10));
    assert_eq!(used.me().await, None);
}

#[tokio::test]
async fn what_is_no_cookie_of_ours_costs_redis_nothing() {
    let app = TestApp::start().await;
    let browser = app.signed_in("a@example.com").await;
    let good = browser.cookie("session").unwrap();
    let foreign = {
        let other =
            TestApp::start_with(&[("SESSION_SECRET", "another secret of thirty-two bytes!!")])
                .await;
        other.signed_in("a@example.com").await.cookie("session").unwrap()
    };
    let short = good[..good.len() - 1].to_owned();
    let forged = format!("{}{}", short, if good.ends_with('A') { 'B' } else { 'A' });
    let cookies = [
        String::new(),
        short,
        format!("{good}A"),
        forged,
        foreign,
        good.to_uppercase(),
        "x".repeat(good.len()),
        format!("{good}; session={good}"),
        format!("; Session={good}"),
    ];
    let before = app.redis().command_calls("hmget").await;
    for cookie in cookies {
        let visitor = app.browser();
        let header = format!("session={cookie}");
        let answer = visitor.send(Method::GET, "/", &[("cookie", &header)], None).await.expect(303);
        assert_eq!(answer.header("location"), "/login", "{cookie}");
        // A session cookie that another application on the host has set is not cleared.
        let both_verify = cookie.matches(&*good).count() == 2;
        assert_eq!(answer.set_cookie("session").is_some(), both_verify, "{cookie}");
    }
    assert_eq!(app.redis().command_calls("hmget").await, before);
    for (name, value) in [("x-session-id", &*good), ("authorization", &*format!("Bearer {good}"))] {
        let answer = app.browser().send(Method::GET, "/", &[(name, value)], None).await;
        assert_eq!(answer.header("location"), "/login");
    }
    app.browser().get(&format!("/?session={good}&sid={good}")).await.expect(303);
    assert!(browser.me().await.is_some());
}

/// All cookies of this server, as another application on the host may have set them over plain
/// http.
const THEIRS: &str = "session=theirs; visitor=theirs; asked=theirs; next=theirs; device=theirs; \
                      transaction=theirs; passkey=theirs; passkey-offer=theirs; last_used=\u{fc}";

#[tokio::test]
async fn cookies_of_another_application_of_the_host_disturb_nothing() {
    let app = TestApp::start().await;
    let browser = app.browser().with_header("cookie", THEIRS);
    let page = browser.get("/login").await.expect(200);
    assert_eq!(page.set_cookie("session"), None);
    app.sign_in(&browser, "a@example.com").await;
    let me = browser.me().await.expect("signed in beside their cookies");

    // Also on pages, with the code that this browser requested.
    let pages = app.browser().with_header("cookie", THEIRS);
    let token = pages.form_token("/login?next=/account").await;
    let fields = [("csrf_token", &*token), ("email", "a@example.com")];
    let answer = pages.submit("/login", &fields).await.expect(303);
    assert_eq!(answer.header("location"), "/login/code");
    let code = app.mail_to("a@example.com").await.code;
    let token = pages.form_token("/login/code").await;
    let answer = pages.submit("/login/code", &[("csrf_token", &token), ("code", &code)]).await;
    assert_eq!(answer.expect(303).header("location"), "/account");
    assert_eq!(pages.me().await, Some(me));

    // Two valid session cookies mean that somebody planted one, so neither is accepted.
    let other = app.signed_in("b@example.com").await.cookie("session").unwrap();
    let planted = browser.with_header("cookie", &format!("session={other}"));
    assert_eq!(planted.me().await, None);
}

#[tokio::test]
async fn the_session_cookie_has_the_name_that_was_chosen() {
    let mut app = TestApp::start_with(&[("SESSION_COOKIE_NAME", "tracera")]).await;
    let browser = app.browser().with_header("cookie", "session=theirs");
    app.sign_in(&browser, "a@example.com").await;
    assert!(browser.me().await.is_some());
    assert!(browser.cookie("tracera").is_some() && browser.cookie("session").is_none());

    // Under another name nobody is signed in, but old sessions can still be ended.
    app.set(&[("SESSION_COOKIE_NAME", "sid")]);
    let renamed = app.add_instance().await;
    assert_eq!(browser.at(renamed).me().await, None);
    app.advance(Duration::from_secs(1));
    let newer = app.browser().at(renamed);
    app.sign_in(&newer, "a@example.com").await;
    assert!(newer.cookie("sid").is_some());
    newer.delete("/api/v1/auth/sessions").await;
    assert_eq!(browser.me().await, None);
}

#[tokio::test]
async fn changing_the_secret_signs_nobody_out_until_the_old_one_is_dropped() {
    const OLD: &str = "the first secret of more than 32 bytes";
    const NEW: &str = "the second secret of more than 32 bytes";
    let mut app = TestApp::start_with(&[("SESSION_SECRET", OLD)]).await;
    let browser = app.signed_in("a@example.com").await;

    app.set(&[("SESSION_SECRET", NEW), ("SESSION_SECRET_PREVIOUS", OLD)]);
    let rotated = browser.at(app.add_instance().await);
    assert!(rotated.me().await.is_some());
    let newer = app.browser().at(app.instances[1].addr);
    app.advance(Duration::from_secs(1));
    app.sign_in(&newer, "a@example.com").await;

    app.set(&[("SESSION_SECRET", NEW), ("SESSION_SECRET_PREVIOUS", "")]);
    let third = app.add_instance().await;
    assert_eq!(browser.at(third).fork().me().await, None);
    let newer = newer.at(third);
    assert!(newer.me().await.is_some());
    let listed = newer.get("/api/v1/auth/sessions").await.expect(200).json();
    assert_eq!(
        listed["sessions"].as_array().map(Vec::len),
        Some(1),
        "a retired session is not listed"
    );
}
