//! Sign-in by e-mail: what a link and a code can do, and what they cannot do.

use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;

use crate::browser::Browser;
use crate::harness::{TestApp, eventually};

#[tokio::test]
async fn looking_at_a_link_never_uses_it() {
    let app = TestApp::start().await;
    let browser = app.browser();
    let token = app.link_token(&browser, "alice@example.com").await;
    let path = format!("/api/v1/auth/magic/verify?token={token}");
    let scanner = app.browser();
    for _ in 0..5 {
        for method in [Method::HEAD, Method::GET] {
            let headers = [
                ("sec-purpose", "prefetch"),
                ("user-agent", "Mozilla/5.0 (compatible; LinkScanner)"),
            ];
            let page = scanner.send(method, &path, &headers, None).await.expect(200);
            assert!(page.set_cookie("session").is_none());
            assert_eq!(page.header("referrer-policy"), "strict-origin-when-cross-origin");
            if page.body.contains("<html") {
                assert!(page.body.contains(r#"<meta name="referrer" content="strict-origin">"#));
            }
            assert_eq!(page.header("cache-control"), "no-store");
            assert_eq!(page.header("x-robots-tag"), "noindex");
        }
    }
    let page = scanner.get(&path).await;
    assert!(page.body.contains("a***@<wbr>example.<wbr>com"), "{}", page.body);
    assert!(page.body.contains("Firefox on Linux"));
    assert!(!page.body.contains("alice"));
    browser.redeem(&token).await.expect(200);
    scanner.get(&path).await.expect(400);
}

#[tokio::test]
async fn sign_ins_are_counted_by_method_and_outcome() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let counted = recorder.handle();
    let _collecting = metrics::set_default_local_recorder(&recorder);
    let app = TestApp::embedded().await;
    let browser = app.signed_in("alice@example.com").await;
    browser.redeem("nonsense").await.expect_error(400, "link_invalid");
    browser.get("/api/v1/auth/github/callback?code=x&state=y").await.expect(303);
    let shown = counted.render();
    for (method, outcome) in [("email", "done"), ("email", "failed"), ("github", "stray")] {
        let line = format!(r#"tracera_sign_ins_total{{method="{method}",outcome="{outcome}"}} 1"#);
        assert!(shown.lines().any(|shown| shown == line), "{shown}");
    }
}

#[tokio::test]
async fn a_hundred_redemptions_over_two_instances_make_one_session() {
    let mut app = TestApp::start().await;
    let second = app.add_instance().await;
    let token = app.link_token(&app.browser(), "alice@example.com").await;
    let mut redemptions = JoinSet::new();
    for n in 0..100 {
        let browser = if n % 2 == 0 { app.browser() } else { app.browser().at(second) };
        let token = token.clone();
        redemptions.spawn(async move { browser.redeem(&token).await });
    }
    let answers = redemptions.join_all().await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!((won.len(), lost.len()), (1, 99));
    assert!(lost.iter().all(|answer| answer.status == 400 && answer.body == lost[0].body));
    assert!(lost.iter().all(|answer| answer.set_cookie("session").is_none()));
    let fields = app
        .redis()
        .cli(&[
            "--raw",
            "EVAL",
            "return redis.call('HLEN', redis.call('KEYS', 'session:*')[1])",
            "0",
        ])
        .await;
    assert_eq!(fields.trim(), "2", "the user and one session");
}

#[tokio::test]
async fn only_the_newest_link_works_and_none_after_it_expired() {
    let app = TestApp::start().await;
    let browser = app.browser();
    let older = app.link_token(&browser, "a@example.com").await;
    let newest = app.link_token(&browser, "a@example.com").await;
    browser.redeem(&older).await.expect_error(400, "link_invalid");
    app.advance(Duration::from_secs(599));
    browser.redeem(&newest).await.expect(200);
    app.browser().redeem(&newest).await.expect_error(400, "link_invalid");

    let late = app.link_token(&browser, "a@example.com").await;
    app.advance(Duration::from_secs(600));
    browser.redeem(&late).await.expect_error(400, "link_invalid");
}

#[tokio::test]
async fn a_code_works_only_in_the_browser_that_asked_and_not_after_five_wrong_ones() {
    let app = TestApp::start().await;
    let browser = app.browser();
    app.link_token(&browser, "a@example.com").await;
    let code = app.mail_to("a@example.com").await.code;
    let verify = "/api/v1/auth/magic/verify";
    app.browser().post(verify, &json!({ "code": code })).await.expect_error(400, "link_invalid");
    let spaced = format!("{} {}", &code[..3], &code[3..]);
    browser.post(verify, &json!({ "code": spaced })).await.expect(200);

    let other = app.browser();
    let token = app.link_token(&other, "b@example.com").await;
    let code = app.mail_to("b@example.com").await.code;
    let wrong = if code == "000000" { "000001" } else { "000000" };
    for _ in 0..5 {
        other.post(verify, &json!({ "code": wrong })).await.expect_error(400, "link_invalid");
    }
    other.post(verify, &json!({ "code": code })).await.expect_error(400, "link_invalid");
    other.redeem(&token).await.expect(200);
}

#[tokio::test]
async fn the_owner_reads_of_wrong_codes_once_per_mail() {
    let app = TestApp::start().await;
    let owner = app.signed_in("a@example.com").await;
    let failures = async || {
        let told = owner.get("/api/v1/auth/events").await.expect(200).json();
        let events = told["events"].as_array().unwrap().clone();
        events.into_iter().filter(|event| event["event"] == "sign_in_failed").collect::<Vec<_>>()
    };
    for mails in 1..=2 {
        let guesser = app.browser();
        app.link_token(&guesser, "a@example.com").await;
        let code = app.mail_to("a@example.com").await.code;
        let wrong = if code == "000000" { "000001" } else { "000000" };
        for _ in 0..7 {
            let guess = guesser.post("/api/v1/auth/magic/verify", &json!({ "code": wrong })).await;
            guess.expect_error(400, "link_invalid");
        }
        let events =
            eventually(|| async { Some(failures().await).filter(|all| all.len() == mails) }).await;
        assert_eq!(
            (&events[0]["method"], &events[0]["ip"]),
            (&json!("email"), &json!("127.0.0.1"))
        );
    }
    // No account has this address, so nothing is recorded; the response is the same.
    let guesser = app.browser();
    app.link_token(&guesser, "nobody@example.com").await;
    let guess = guesser.post("/api/v1/auth/magic/verify", &json!({ "code": "1" })).await;
    guess.expect_error(400, "link_invalid");
    assert_eq!(failures().await.len(), 2);
}

#[tokio::test]
async fn known_and_unknown_addresses_get_the_same_answer() {
    let app = TestApp::start().await;
    app.signed_in("known@example.com").await;
    let known = app.browser().request_link("known@example.com").await;
    let unknown = app.browser().request_link("unknown@example.com").await;
    assert_eq!((known.status, &known.body), (unknown.status, &unknown.body));
    let names = |answer: &crate::browser::Answer| {
        answer.headers.keys().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(names(&known), names(&unknown));
}

#[tokio::test]
async fn a_mailbox_gets_six_mails_from_a_network_and_its_last_link_stays_good() {
    let app = TestApp::start().await;
    let attacker = app.browser();
    for n in 1..=6 {
        attacker.request_link("victim@example.com").await.expect(200);
        eventually(|| async { (app.mails_to("victim@example.com") == n).then_some(()) }).await;
    }
    let normal = app.browser().request_link("other@example.com").await;
    for _ in 0..20 {
        let limited = attacker.request_link("victim@example.com").await.expect(200);
        assert_eq!(limited.body, normal.body);
    }
    app.mail_to("other@example.com").await;
    assert_eq!(app.mails_to("victim@example.com"), 6);
    attacker.request_link("victim+tag@example.com").await.expect(200);
    app.browser().request_link("other@example.com").await.expect(200);
    eventually(|| async { (app.mails_to("other@example.com") == 2).then_some(()) }).await;
    assert_eq!(app.mails_to("victim+tag@example.com"), 0);
    let link = app.mail_to("victim@example.com").await.link;
    let owner = app.browser();
    owner.redeem(&crate::harness::token_of(&link)).await.expect(200);
    app.sign_in(&owner, "victim@example.com").await;
}

#[tokio::test]
async fn an_address_that_gets_no_mail_costs_the_same_work() {
    let mut app = TestApp::start().await;
    let browser = app.browser();
    for n in 1..=6 {
        browser.request_link("a@example.com").await.expect(200);
        eventually(|| async { (app.mails_to("a@example.com") == n).then_some(()) }).await;
    }
    let code = app.mail_to("a@example.com").await.code;
    browser.request_link("a@example.com").await.expect(200);
    app.instances[0].app.database.close().await;
    for email in ["a@example.com", "b@example.com"] {
        browser.request_link(email).await.expect_error(503, "unavailable");
    }
    // The links sent before stay valid.
    let second = app.add_instance().await;
    browser
        .at(second)
        .post("/api/v1/auth/magic/verify", &json!({ "code": code }))
        .await
        .expect(200);
}

#[tokio::test]
async fn after_ten_codes_in_a_day_an_address_gets_links_only() {
    let app = TestApp::start().await;
    for _ in 0..10 {
        app.signed_in("a@example.com").await;
        assert_eq!(app.mail_to("a@example.com").await.code.len(), 6);
    }
    let browser = app.browser();
    let token = app.link_token(&browser, "a@example.com").await;
    let mail = app.mail_to("a@example.com").await;
    assert_eq!((&*mail.code, &*mail.subject), ("", "Sign in to Tracera"));
    assert!(!mail.text.contains("code") && !mail.html.contains("Or type"), "{}", mail.text);
    browser.redeem(&token).await.expect(200);
}

#[tokio::test]
async fn sign_in_gives_a_new_id_and_ends_the_old_session() {
    let app = TestApp::start().await;
    let browser = app.signed_in("a@example.com").await;
    let old = browser.fork();
    app.sign_in(&browser, "a@example.com").await;
    assert_ne!(browser.cookie("session"), old.cookie("session"));
    assert_eq!(old.me().await, None);
    assert!(browser.me().await.is_some());

    let as_a = browser.fork();
    app.sign_in(&browser, "b@example.com").await;
    assert_eq!(as_a.me().await, None, "signing in as somebody else ends the session before");
}

#[tokio::test]
async fn a_planted_cookie_is_never_adopted() {
    let app = TestApp::start().await;
    let attacker = app.signed_in("attacker@example.com").await;
    let planted = attacker.cookie("session").unwrap();
    let victim = app.browser();
    victim.set_cookie("session", &planted);
    app.sign_in(&victim, "victim@example.com").await;
    assert_ne!(victim.cookie("session").unwrap(), planted);
    assert_eq!(attacker.me().await, None, "the planted session is dead");
}

#[tokio::test]
async fn links_are_built_from_the_base_url_whatever_the_request_says() {
    let app = TestApp::start_with(&[("BASE_URL", "https://tracera.localhost")]).await;
    let browser = app
        .browser()
        .with_header("host", "evil.example")
        .with_header("x-forwarded-host", "evil.example")
        .with_header("forwarded", "host=evil.example");
    app.link_token(&browser, "a@example.com").await;
    let link = app.mail_to("a@example.com").await.link;
    assert!(
        link.starts_with("https://tracera.localhost/api/v1/auth/magic/verify?token="),
        "{link}"
    );
}

/// The service behind a proxy, so that browsers can have different addresses.
async fn behind_a_proxy() -> TestApp {
    TestApp::start_with(&[("TRUSTED_PROXIES", "127.0.0.1/32")]).await
}

#[tokio::test]
async fn a_request_of_another_browser_voids_neither_link_nor_code() {
    let app = TestApp::start().await;
    let owner = app.browser();
    let link = app.link_token(&owner, "a@example.com").await;
    let code = app.mail_to("a@example.com").await.code;
    for _ in 0..3 {
        app.browser().request_link("a@example.com").await.expect(200);
    }
    let path = format!("/api/v1/auth/magic/verify?token={link}");
    assert!(owner.get(&path).await.expect(200).body.contains(", this browser<"));
    assert!(app.browser().get(&path).await.expect(200).body.contains(", another browser<"));
    owner.post("/api/v1/auth/magic/verify", &json!({ "code": code })).await.expect(200);
}

#[tokio::test]
async fn strangers_keep_nobody_from_a_mail() {
    let app = behind_a_proxy().await;
    let from = |browser: &Browser, ip: &str| browser.with_header("x-forwarded-for", ip);
    let known = from(&app.browser(), "192.0.2.1");
    app.sign_in(&known, "a@example.com").await;
    known.logout().await.expect(204);
    for _ in 0..8 {
        let stranger = from(&app.browser(), "198.51.100.7");
        stranger.request_link("a@example.com").await.expect(200);
    }
    eventually(|| async { (app.mails_to("a@example.com") == 7).then_some(()) }).await;
    let unknown = from(&app.browser(), "203.0.113.9");
    app.sign_in(&unknown, "a@example.com").await;
    for network in 0..40 {
        let stranger = from(&app.browser(), &format!("198.18.{network}.7"));
        stranger.request_link("a@example.com").await.expect(200);
    }
    let token = app.link_token(&known, "a@example.com").await;
    assert!(!app.mail_to("a@example.com").await.link.is_empty());
    known.redeem(&token).await.expect(200);
}

#[tokio::test]
async fn after_many_wrong_codes_strangers_get_links_only() {
    let app = TestApp::start().await;
    let known = app.signed_in("a@example.com").await;
    known.logout().await.expect(204);
    let verify = "/api/v1/auth/magic/verify";
    let asked = app.browser();
    app.link_token(&asked, "asked@example.com").await;
    let code_before = app.mail_to("asked@example.com").await.code;
    for n in 0..20 {
        let (guesser, email) = (app.browser(), format!("{n}@example.com"));
        app.link_token(&guesser, &email).await;
        let code = app.mail_to(&email).await.code;
        let wrong = if code == "000000" { "000001" } else { "000000" };
        for _ in 0..5 {
            guesser.post(verify, &json!({ "code": wrong })).await.expect(400);
        }
    }
    let stranger = app.browser();
    let token = app.link_token(&stranger, "b@example.com").await;
    assert_eq!(app.mail_to("b@example.com").await.code, "");
    stranger.redeem(&token).await.expect(200);
    let early = asked.post(verify, &json!({ "code": code_before })).await;
    early.expect_error(400, "link_invalid");
    app.link_token(&known, "a@example.com").await;
    let code = app.mail_to("a@example.com").await.code;
    known.post(verify, &json!({ "code": code })).await.expect(200);
}
