//! The pages over plain HTTP: the requirements of forms, their limits, their notices.

use std::time::Duration;

use tracera::clock::utc;

use crate::browser::{Browser, EventStream, token_in};
use crate::confirming::ask_to_confirm;
use crate::harness::{TestApp, eventually, token_of};

const CONFIRM: &str = "/confirm?next=%2Faccount";

#[tokio::test]
async fn forms_need_the_token_of_their_own_visitor() {
    let app = TestApp::start().await;
    let browser = app.browser();
    let token = browser.form_token("/login").await;
    let other = app.browser().form_token("/login").await;
    for bad in ["", "nonsense", &other] {
        browser
            .submit("/login", &[("csrf_token", bad), ("email", "a@example.com")])
            .await
            .expect(403);
    }
    browser.submit("/login", &[("email", "a@example.com")]).await.expect(403);
    let twice = [("csrf_token", &*token), ("csrf_token", &*token), ("email", "a@example.com")];
    browser.submit("/login", &twice).await.expect(403);
    assert_eq!(app.mails_to("a@example.com"), 0);
    let answer = browser
        .submit("/login", &[("csrf_token", &token), ("email", "a@example.com")])
        .await
        .expect(303);
    assert_eq!(answer.header("location"), "/login/code");
    app.mail_to("a@example.com").await;
}

#[tokio::test]
async fn a_sign_in_form_that_comes_after_signing_in_in_another_tab_leads_on_and_does_nothing() {
    let app = TestApp::start().await;
    let browser = app.browser();
    let page = browser.get("/login?next=/account").await.expect(200).body;
    assert!(page.contains(r#"name="next" value="/account""#), "{page}");
    let token = token_in(&page);
    sign_in_by_form(&app, &browser, true).await;
    let user = browser.me().await;
    for (next, target) in [("/account", "/account"), ("", "/"), ("//evil.example", "/")] {
        for (path, field, value) in [
            ("/login", "email", "b@example.com"),
            ("/login/code", "code", "000000"),
            ("/login/confirm", "token", "x"),
        ] {
            let fields = [("csrf_token", &*token), (field, value), ("next", next)];
            let answer = browser.submit(path, &fields).await.expect(303);
            assert_eq!(answer.header("location"), target, "{path}");
            assert_eq!(answer.header("set-cookie"), "", "{path}");
        }
    }
    assert_eq!((browser.me().await, app.mails_to("b@example.com")), (user, 0));
}

#[tokio::test]
async fn a_sign_in_form_that_came_too_late_stands_there_again_with_what_was_typed() {
    let app = TestApp::start().await;
    let browser = app.browser();
    browser.get("/login").await.expect(200);
    let late = [("csrf_token", "old"), ("email", "a@example.com"), ("next", "/account")];
    let page = browser.submit("/login", &late).await.expect(403).body;
    for part in ["open for too long", r#"value="a@example.com""#, r#"name="next" value="/account""#]
    {
        assert!(page.contains(part), "{page}");
    }
    assert_eq!(app.mails_to("a@example.com"), 0);
    let again = [("csrf_token", &*token_in(&page)), ("email", "a@example.com")];
    browser.submit("/login", &again).await.expect(303);
    let mail = app.mail_to("a@example.com").await;
    let code = [("csrf_token", "old"), ("code", &*mail.code)];
    let page = browser.submit("/login/code", &code).await.expect(403).body;
    assert!(page.contains("open for too long") && page.contains("Six-digit code"), "{page}");
    // The link's token stays in the form, wherever the link is opened.
    let (opening, link) = (app.browser(), token_of(&mail.link));
    opening.get("/login").await.expect(200);
    let page = opening
        .submit("/login/confirm", &[("csrf_token", "old"), ("token", &*link)])
        .await
        .expect(403)
        .body;
    assert!(page.contains("open for too long") && page.contains("<dt>Asked with</dt>"), "{page}");
    assert_eq!(opening.me().await, None);
    let again = [("csrf_token", &*token_in(&page)), ("token", &*link)];
    assert_eq!(opening.submit("/login/confirm", &again).await.expect(303).header("location"), "/");
    assert!(opening.me().await.is_some());
}

#[tokio::test]
async fn the_page_and_the_log_name_the_cause_of_a_refused_form() {
    let app = TestApp::start().await;
    let browser = app.signed_in("a@example.com").await;
    let form = "application/x-www-form-urlencoded";
    let token = browser.form_token("/account").await;
    let (fresh, old) = (format!("csrf_token={token}"), "csrf_token=old".to_owned());
    let other = app.browser();
    let null = ("origin", "null");
    let (personal, public) = ("/account/passkey-offer", "/login/recovery");
    for (path, headers, body, title) in [
        (personal, vec![("origin", "http://localhost:8081")], &fresh, "came from another address"),
        (personal, vec![("sec-fetch-site", "cross-site")], &fresh, "came from another address"),
        (
            personal,
            vec![("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")],
            &fresh,
            "came from another address",
        ),
        (personal, vec![null], &fresh, "hides where this form came from"),
        (personal, vec![null, ("sec-fetch-site", "none")], &fresh, "hides where this form"),
        (personal, vec![], &old, "open for too long"),
        (public, vec![], &old, "sent no cookie"),
    ] {
        let headers = [vec![("accept", "text/html"), ("content-type", form)], headers].concat();
        let from = if path == public { &other } else { &browser };
        let answer = from.post_text(path, &headers, body).await.expect(403);
        assert!(answer.body.contains(title), "{headers:?}: {}", answer.body);
    }
    let headers = [("accept", "text/html"), ("content-type", form), null];
    let headers = [&headers[..], &[("sec-fetch-site", "same-origin")]].concat();
    browser.post_text(personal, &headers, &fresh).await.expect(303);
    // A sign-in form stands there again.
    let page = app.browser().submit("/login", &[("csrf_token", "old")]).await.expect(403).body;
    assert!(page.contains("Your browser sent no cookie") && page.contains("E-mail address"));
}

#[tokio::test]
async fn a_form_of_another_address_is_told_what_may_be_wrong() {
    let app = TestApp::start().await;
    let headers = [("origin", "http://127.0.0.1:8080"), ("accept", "text/html")];
    let answer =
        app.browser().send(reqwest::Method::POST, "/login", &headers, None).await.expect(403);
    assert!(answer.body.contains("another address than its own"), "{}", answer.body);
    assert!(
        answer.body.contains(r#"href="http://localhost:8080/">Go to the start page"#),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn where_browsers_are_sent_errors_are_pages_for_them_and_json_for_programs() {
    let app = TestApp::start_with(&[("AUTH_RATE_LIMIT_PER_MINUTE", "20")]).await;
    let (browser, stranger) = (app.signed_in("a@example.com").await, app.browser());
    let fails = async |browser: &Browser, path: &str, status: u16, code: &str, title: &str| {
        let accept = [("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
        let page = browser.send(reqwest::Method::GET, path, &accept, None).await.expect(status);
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8", "{path}");
        assert!(page.body.contains(title), "{path}: {}", page.body);
        let data = browser.get(path).await.expect_error(status, code);
        for header in ["www-authenticate", "content-security-policy"] {
            assert_eq!(
                page.header(header).is_empty(),
                data.header(header).is_empty(),
                "{header} on {path}"
            );
        }
    };
    let (link, linked) = ("/api/v1/auth/steam", "/api/v1/auth/steam/callback");
    let (csv, json) = ("/api/v1/portfolio/export.csv", "/api/v1/portfolio/export.json");
    for path in [link, linked, csv, json] {
        fails(&stranger, path, 401, "unauthenticated", "Please sign in first").await;
    }
    app.advance(Duration::from_mins(16));
    fails(&browser, link, 403, "reauthentication_required", "Please begin on a page of ours").await;
    while stranger.get("/api/v1/auth/me").await.status != 429 {}
    let sent = [
        "/api/v1/auth/google",
        "/api/v1/auth/google/callback",
        "/api/v1/auth/github",
        "/api/v1/auth/github/callback",
        "/api/v1/auth/oidc",
        "/api/v1/auth/oidc/callback",
        "/api/v1/auth/steam/login",
        "/api/v1/auth/steam/login/callback",
        "/api/v1/auth/magic/verify",
        link,
        linked,
    ];
    for path in sent {
        fails(&stranger, path, 429, "rate_limited", "That was a bit fast").await;
    }
    app.redis().kill();
    for path in sent.into_iter().chain([csv, json]) {
        fails(&browser, path, 503, "unavailable", "That signs nobody out").await;
    }
}

#[tokio::test]
async fn error_pages_of_who_is_signed_in_keep_their_navigation_while_there_is_a_store_to_tell() {
    let app = TestApp::start().await;
    let (person, stranger) = (app.signed_in("a@example.com").await, app.browser());
    let has_navigation = async |browser: &Browser, path: &str, status: u16| {
        let accept = [("accept", "text/html")];
        let page =
            browser.send(reqwest::Method::GET, path, &accept, None).await.expect(status).body;
        page.contains(r#"<a href="/account">Account</a>"#)
    };
    assert!(has_navigation(&person, "/nothing", 404).await);
    assert!(!has_navigation(&stranger, "/nothing", 404).await);
    app.redis().kill();
    assert!(!has_navigation(&person, "/account", 503).await);
}

#[tokio::test]
async fn pages_cost_nothing_of_the_limit_and_their_forms_count() {
    let app = TestApp::start_with(&[("AUTH_RATE_LIMIT_PER_MINUTE", "3")]).await;
    let browser = app.browser();
    let mailbox = app.mailbox_path().unwrap();
    for _ in 0..20 {
        for path in ["/login", "/login/status", &mailbox, "/assets/app.css"] {
            browser.get(path).await.expect(200);
        }
    }
    let token = browser.form_token("/login").await;
    for _ in 0..3 {
        browser
            .submit("/login/code", &[("csrf_token", &token), ("code", "000000")])
            .await
            .expect(303);
    }
    let limited = browser
        .submit("/login/code", &[("csrf_token", &token), ("code", "000000")])
        .await
        .expect(429);
    assert!(limited.body.contains("Please wait"), "{}", limited.body);
    browser.get("/api/v1/auth/me").await.expect_error(429, "rate_limited");
    browser.get("/login").await.expect(200);
}

#[tokio::test]
async fn a_person_can_sign_out_however_often_their_address_has_asked() {
    let app = TestApp::start_with(&[("AUTH_RATE_LIMIT_PER_MINUTE", "6")]).await;
    let person = app.signed_in("a@example.com").await;
    let token = person.form_token("/account").await;
    while app.browser().get("/api/v1/auth/methods").await.status != 429 {}
    person.get("/api/v1/auth/me").await.expect_error(429, "rate_limited");
    for _ in 0..5 {
        let form = [("csrf_token", &*token)];
        person.submit("/account/sessions/revoke-others", &form).await.expect(303);
    }
    person.submit("/logout", &[("csrf_token", "made-up")]).await.expect(403);
    person.submit("/logout", &[("csrf_token", &token)]).await.expect(303);
    assert_eq!(person.cookie("session"), None);
}

#[tokio::test]
async fn forms_that_end_sessions_are_counted_by_session() {
    let app = TestApp::start_with(&[("AUTH_RATE_LIMIT_PER_MINUTE", "10")]).await;
    let (one, other) = (app.signed_in("a@example.com").await, app.signed_in("b@example.com").await);
    let end_others = async |person: &Browser| {
        let token = person.form_token("/account").await;
        person.submit("/account/sessions/revoke-others", &[("csrf_token", &token)]).await
    };
    for _ in 0..10 {
        end_others(&one).await.expect(303);
    }
    end_others(&one).await.expect(429);
    end_others(&other).await.expect(303);
}

#[tokio::test]
async fn a_link_that_is_confirmed_too_fast_or_while_redis_is_away_can_be_confirmed_again() {
    let app = TestApp::start_with(&[("AUTH_RATE_LIMIT_PER_MINUTE", "3")]).await;
    let browser = app.browser();
    ask_by_form(&app, &browser, "/login").await;
    let (token, link) =
        (browser.form_token("/login").await, token_of(&app.mail_to("a@example.com").await.link));
    let confirm = async |browser: &Browser, token: &str| {
        browser.submit("/login/confirm", &[("csrf_token", token), ("token", &*link)]).await
    };
    for code in ["000000", "000001"] {
        browser.submit("/login/code", &[("csrf_token", &token), ("code", code)]).await.expect(400);
    }
    let page = confirm(&browser, &token).await.expect(429).body;
    assert!(page.contains(&format!(r#"name="token" value="{link}""#)), "{page}");
    assert_eq!((page.matches(&*link).count(), token_in(&page)), (1, token));
    let elsewhere = browser.with_header("origin", "https://evil.example");
    let page = confirm(&elsewhere, "x").await.expect(429).body;
    assert!(!page.contains(&*link), "what another site sent is not offered again: {page}");
    app.redis().kill();
    let page = confirm(&browser, &token_in(&browser.get("/login").await.expect(200).body))
        .await
        .expect(503)
        .body;
    assert!(page.contains(r#"action="/login/confirm""#) && page.contains(&*link), "{page}");
}

#[tokio::test]
async fn the_pages_of_a_person_cost_nothing_of_the_limit() {
    let app = TestApp::start_with(&[("AUTH_RATE_LIMIT_PER_MINUTE", "6")]).await;
    let browser = app.signed_in("a@example.com").await;
    for _ in 0..10 {
        for path in ["/", "/?sort=name", "/account", "/account/data.json", "/email?token=x"] {
            browser.get(path).await.expect(200);
        }
    }
    browser.get("/api/v1/auth/me").await.expect(200);
    browser.get("/api/v1/auth/me").await.expect(200);
    browser.get("/api/v1/auth/me").await.expect_error(429, "rate_limited");
}

#[tokio::test]
async fn what_is_asked_for_without_reading_a_page_has_an_answer() {
    let app = TestApp::start().await;
    let browser = app.browser();
    let icon = browser.get("/favicon.ico").await.expect(200);
    assert_eq!(icon.header("content-type"), "image/svg+xml");
    assert_eq!(icon.body, browser.get("/assets/icon.svg").await.expect(200).body);
    let robots = browser.get("/robots.txt").await.expect(200);
    assert_eq!(robots.header("content-type"), "text/plain; charset=utf-8");
    let rules = "Allow: /$\nAllow: /login$\nAllow: /assets/\nDisallow: /\n";
    assert_eq!(robots.body, format!("User-agent: *\n{rules}"));
    browser.get("/.well-known/security.txt").await.expect(404);
}

#[tokio::test]
async fn whom_to_tell_of_a_weakness_is_said_when_it_is_configured() {
    let contact = ("SECURITY_CONTACT", "mailto:security@tracera.example");
    let app = TestApp::start_with(&[contact]).await;
    let answer = app.browser().get("/.well-known/security.txt").await.expect(200);
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    let fields: Vec<_> = answer.body.lines().filter_map(|line| line.split_once(": ")).collect();
    let names: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["Contact", "Expires", "Preferred-Languages", "Canonical"]);
    assert_eq!((fields[0].1, fields[2].1), ("mailto:security@tracera.example", "en"));
    assert!(fields[3].1.ends_with("/.well-known/security.txt"), "{}", fields[3].1);
    let format = time::format_description::well_known::Rfc3339;
    let left = time::OffsetDateTime::parse(fields[1].1, &format).unwrap() - utc(app.clock.now());
    assert!((179..=180).contains(&left.whole_days()), "{left}");
}

#[tokio::test]
async fn the_page_everybody_may_read_says_what_the_site_is() {
    let app = TestApp::start().await;
    let browser = app.browser();
    let page = browser.get("/login?next=/account").await.expect(200).body;
    let content = |name: &str| {
        let (_, rest) = page.split_once(&format!("{name}\" content=\"")).expect(name);
        rest.split_once('"').unwrap().0.to_owned()
    };
    for name in ["name=\"description", "property=\"og:title", "property=\"og:description"] {
        assert!(content(name).len() > 20, "{name}");
    }
    assert!(content("property=\"og:url").ends_with("/login"));
    let host = content("property=\"og:url").replace("/login", "");
    for (name, kind) in [
        (content("property=\"og:image").replace(&host, ""), "image/png"),
        ("/assets/touch-icon.png".to_owned(), "image/png"),
        ("/assets/site.webmanifest".to_owned(), "application/manifest+json"),
    ] {
        assert_eq!(browser.get(&name).await.expect(200).header("content-type"), kind, "{name}");
    }
    let manifest = browser.get("/assets/site.webmanifest").await.json();
    for icon in manifest["icons"].as_array().unwrap() {
        browser.get(icon["src"].as_str().unwrap()).await.expect(200);
    }
}

#[tokio::test]
async fn pages_of_a_person_send_others_to_sign_in() {
    let app = TestApp::start().await;
    let browser = app.browser();
    for (path, next) in [
        ("/", ""),
        ("/?q=ak&sort=name", "?next=%2F%3Fq%3Dak%26sort%3Dname"),
        ("/account", "?next=%2Faccount"),
        ("/account?done=unlinked", "?next=%2Faccount"),
        ("/account/live", ""),
        ("/account/data.json", "?next=%2Faccount%2Fdata.json"),
        ("/email?token=x", "?next=%2Femail%3Ftoken%3Dx"),
    ] {
        let answer = browser.get(path).await.expect(303);
        assert_eq!(answer.header("location"), format!("/login{next}"), "{path}");
    }
    for path in
        ["/logout", "/import", "/email", "/account/delete", "/account/sessions/revoke-others"]
    {
        let answer = browser.submit(path, &[]).await.expect(303);
        assert_eq!(answer.header("location"), "/login", "{path}");
    }
}

/// Requests a link on the sign-in page and redeems it. Returns the page it redirects to.
async fn sign_in_by_form(app: &TestApp, browser: &Browser, by_code: bool) -> String {
    ask_by_form(app, browser, "/login").await;
    redeem_by_form(app, browser, "/login", by_code).await
}

/// Requests a link on this sign-in page. Returns the page it redirects to, once the mail has
/// arrived.
async fn ask_by_form(app: &TestApp, browser: &Browser, page: &str) -> String {
    let token = browser.form_token(page).await;
    let before = app.mails_to("a@example.com");
    let fields = [("csrf_token", &*token), ("email", "a@example.com")];
    let answer = browser.submit("/login", &fields).await.expect(303);
    eventually(|| async { (app.mails_to("a@example.com") > before).then_some(()) }).await;
    answer.header("location").to_owned()
}

/// Redeems the last mailed link, with the CSRF token of this page. Returns the page it redirects
/// to.
async fn redeem_by_form(app: &TestApp, browser: &Browser, page: &str, by_code: bool) -> String {
    let token = browser.form_token(page).await;
    let mail =
        app.all_mails("a@example.com").find(|mail| mail.link.contains("/magic/verify")).unwrap();
    let (path, field, value) = if by_code {
        ("/login/code", "code", mail.code.clone())
    } else {
        ("/login/confirm", "token", token_of(&mail.link))
    };
    let answer = browser.submit(path, &[("csrf_token", &token), (field, &value)]).await.expect(303);
    answer.header("location").to_owned()
}

#[tokio::test]
async fn the_fifth_wrong_code_is_said_to_be_the_last_and_the_wait_for_another_mail_goes_on() {
    let app = TestApp::start().await;
    let browser = app.browser();
    for again in [false, true] {
        ask_by_form(&app, &browser, "/login").await;
        let code = app.mail_to("a@example.com").await.code;
        let wrong = if code == "000000" { "000001" } else { "000000" };
        let token = browser.form_token("/login/code").await;
        for tried in 1..=6 {
            app.advance(Duration::from_secs(1));
            let fields = [("csrf_token", &*token), ("code", wrong)];
            let page = browser.submit("/login/code", &fields).await.expect(400).body;
            assert_eq!(
                page.contains("no code works any more"),
                tried >= 5,
                "{again} {tried}: {page}"
            );
            assert!(page.contains(&format!(r#"data-wait="{}""#, 30 - tried)), "{page}");
        }
    }
}

#[tokio::test]
async fn a_link_that_no_longer_works_says_so_to_everybody() {
    let app = TestApp::start().await;
    for (browser, page) in
        [(app.browser(), "/login"), (app.signed_in("a@example.com").await, "/account")]
    {
        let token = browser.form_token(page).await;
        let used = "x".repeat(43);
        let answer = browser
            .submit("/login/confirm", &[("csrf_token", &token), ("token", &used)])
            .await
            .expect(303);
        let page = browser.get(answer.header("location")).await.expect(200).body;
        assert!(page.contains("That link or code no longer works."), "{page}");
    }
}

#[tokio::test]
async fn signing_in_leads_on_to_the_page_that_was_asked_for() {
    let app = TestApp::start().await;
    for by_code in [true, false] {
        let browser = app.browser();
        let to_sign_in =
            browser.get("/?q=ak&sort=name").await.expect(303).header("location").to_owned();
        browser.get(&to_sign_in).await.expect(200);
        assert_eq!(sign_in_by_form(&app, &browser, by_code).await, "/?q=ak&sort=name");
        assert_eq!(browser.cookie("next"), None, "it is used up");
        assert_eq!(
            browser.get(&to_sign_in).await.expect(303).header("location"),
            "/?q=ak&sort=name"
        );
        assert_eq!(sign_in_by_form(&app, &app.browser(), by_code).await, "/");
    }
}

#[tokio::test]
async fn signing_in_leads_nowhere_else() {
    let app = TestApp::start().await;
    let signed_in = app.signed_in("b@example.com").await;
    for hostile in [
        "//evil.example",
        "/%5Cevil.example",
        "%2f%2fevil.example",
        "%252f%252fevil.example",
        "https://evil.example",
        "https%3A%2F%2Fevil.example%2Faccount",
        "javascript:alert(1)",
        "/account%0d%0aSet-Cookie:%20session=x",
        "/account/../api/v1/auth/me",
        "/api/v1/auth/steam",
        "/logout",
        "",
    ] {
        let browser = app.browser();
        let answer = browser.get(&format!("/login?next={hostile}")).await.expect(200);
        assert_eq!(answer.set_cookie("next"), None, "{hostile}");
        let answer = signed_in.get(&format!("/login?next={hostile}")).await.expect(303);
        assert_eq!(answer.header("location"), "/", "{hostile}");
    }
    let twice = app.browser().get("/login?next=/account&next=//evil.example").await;
    assert_eq!(twice.expect(200).set_cookie("next"), None);
    let browser = app.browser();
    browser.set_cookie("next", "Ly9ldmlsLmV4YW1wbGU");
    assert_eq!(sign_in_by_form(&app, &browser, true).await, "/", "a cookie somebody planted");
}

#[tokio::test]
async fn deleting_an_account_demands_its_phrase_and_a_recent_sign_in() {
    let app = TestApp::start().await;
    let browser = app.signed_in("a@example.com").await;
    let user = browser.me().await;
    let token = browser.form_token("/account").await;
    let delete = |phrase: &'static str| {
        let (browser, token) = (browser.clone(), token.clone());
        async move {
            browser
                .submit("/account/delete", &[("csrf_token", &token), ("confirmation", phrase)])
                .await
        }
    };
    let answer = delete("delete").await.expect(303);
    assert_eq!(answer.header("location"), "/account?error=wrong_phrase#delete");
    let page = browser.get("/account?error=wrong_phrase").await.expect(200).body;
    let (_, card) = page.split_once("id=\"delete\"").unwrap();
    assert!(
        card.contains("<details class=\"ask\" open>") && card.contains("Nothing was deleted"),
        "{page}"
    );
    assert_eq!(page.matches("Nothing was deleted").count(), 1);
    app.advance(Duration::from_mins(16));
    let answer = delete("delete my account").await.expect(303);
    assert_eq!(answer.header("location"), CONFIRM);
    let answer = browser.get("/account/data.json").await.expect(303);
    assert_eq!(answer.header("location"), "/confirm?next=%2Faccount%2Fdata.json");
    assert_eq!(browser.me().await, user);
    let other = app.signed_in("a@example.com").await;
    let token = other.form_token("/account").await;
    let fields = [("csrf_token", &*token), ("confirmation", " Delete my Account")];
    other.submit("/account/delete", &fields).await.expect(303);
    for ended in [browser, other] {
        assert_eq!(ended.me().await, None);
    }
    let again = app.signed_in("a@example.com").await;
    assert_eq!(again.me().await, user, "it waits for seven days");
}

#[tokio::test]
async fn the_account_page_says_when_sessions_were_used_and_when_things_happened() {
    let app = TestApp::start().await;
    let (_fresh, browser) =
        (app.signed_in("a@example.com").await, app.signed_in("a@example.com").await);
    let at = "datetime=\"2030-03-17T17:46:40Z\" title=\"2030-03-17 17:46 UTC\"";
    let page = browser.get("/account").await.expect(200).body;
    let last_active = format!("<dt>Last active</dt><dd><time {at} >just now</time></dd>");
    assert!(page.contains(&last_active), "{page}");
    assert!(!page.contains("not recorded"));
    let event = |said: &str| format!("<time class=\"quiet\" {at}>{said}</time>");
    app.advance(Duration::from_hours(23));
    let page = browser.get("/account").await.expect(200).body;
    assert!(page.contains(&event("23 hours ago")), "{page}");
    app.advance(Duration::from_hours(2));
    let page = browser.get("/account").await.expect(200).body;
    assert!(page.contains(&event("2030-03-17 17:46 UTC")), "{page}");
}

#[tokio::test]
async fn a_sign_in_with_a_new_browser_is_one_line_on_the_page_and_two_events_for_programs() {
    let app = TestApp::start().await;
    let (_first, browser) =
        (app.signed_in("a@example.com").await, app.signed_in("a@example.com").await);
    let page = browser.get("/account").await.expect(200).body;
    let (_, events) = page.split_once(r#"<ol class="events">"#).unwrap();
    let said = |what: &str| events.matches(&format!(">{what}: E-mail link<")).count();
    assert_eq!(
        (said("Signed in with a browser not seen before"), said("Signed in")),
        (1, 1),
        "{events}"
    );
    let list = browser.get("/api/v1/auth/events").await.expect(200).json();
    let kinds: Vec<_> =
        list["events"].as_array().unwrap().iter().map(|event| event["event"].clone()).collect();
    assert_eq!(kinds, ["signed_in", "new_device", "signed_in"]);
}

#[tokio::test]
async fn the_forms_give_an_account_another_address() {
    let app = TestApp::start().await;
    let browser = app.signed_in("a@example.com").await;
    let token = browser.form_token("/account").await;
    let ask = async |email: &str| {
        let answer =
            browser.submit("/account/email", &[("csrf_token", &token), ("email", email)]).await;
        answer.expect(303).header("location").to_owned()
    };
    assert_eq!(ask("nonsense").await, "/account?error=invalid_email");
    assert_eq!(ask("b@example.com").await, "/account?done=email_sent");
    let notice = async || {
        let page = browser.get("/account?done=email_sent").await.expect(200).body;
        let (_, notice) = page.split_once("role=\"status\">").unwrap();
        notice.split_once("</p>").unwrap().0.to_owned()
    };
    let expected =
        "A mail with a link is on its way to b@example.com. Nothing changes before you open it.";
    assert_eq!(notice().await, expected);
    let link = token_of(&app.notice_to("b@example.com", "Confirm").await.link);
    let page = format!("/email?token={link}");
    let token = browser.form_token(&page).await;
    let fields = [("csrf_token", &*token), ("token", &*link)];
    let answer = browser.submit("/email", &fields).await.expect(303);
    assert_eq!(answer.header("location"), "/account?done=email_changed");
    assert_eq!(
        notice().await,
        expected.replace(" to b@example.com", ""),
        "nothing is wanted any more"
    );
    assert_eq!(browser.get("/api/v1/auth/me").await.json()["user"]["email"], "b@example.com");
    let answer = browser.submit("/email", &fields).await.expect(303);
    assert_eq!(answer.header("location"), "/account?error=link_invalid");
}

#[tokio::test]
async fn an_address_that_another_account_has_is_refused_with_a_reason() {
    let app = TestApp::start().await;
    let (browser, _owner) =
        (app.signed_in("a@example.com").await, app.signed_in("b@example.com").await);
    let token = browser.form_token("/account").await;
    let wish = [("csrf_token", &*token), ("email", "b@example.com")];
    browser.submit("/account/email", &wish).await.expect(303);
    let link = token_of(&app.notice_to("b@example.com", "Confirm").await.link);
    let answer =
        browser.submit("/email", &[("csrf_token", &*token), ("token", &*link)]).await.expect(303);
    let page = browser.get(answer.header("location")).await.expect(200).body;
    assert!(page.contains("Another account has this address."), "{page}");
}

#[tokio::test]
async fn the_sign_in_page_sends_an_error_on_with_whoever_is_signed_in() {
    let app = TestApp::start().await;
    let browser = app.signed_in("a@example.com").await;
    for (asked, target) in [
        ("/login?error=identity_taken", "/?error=identity_taken"),
        ("/login?error=identity_taken&next=/account", "/account?error=identity_taken"),
        ("/login?error=identity_taken&next=//evil.example", "/?error=identity_taken"),
        ("/login?error=%0d%0aSet-Cookie:x", "/"),
        ("/login?error=nonsense&next=/account", "/account"),
    ] {
        assert_eq!(browser.get(asked).await.expect(303).header("location"), target, "{asked}");
    }
}

#[tokio::test]
async fn the_status_tells_only_the_browser_that_asked() {
    let app = TestApp::start().await;
    let (asking, other, opening) = (app.browser(), app.browser(), app.browser());
    other.get("/login").await;
    let token = app.link_token(&asking, "a@example.com").await;
    let status =
        async |browser: &Browser| browser.get("/login/status").await.json()["status"].clone();
    assert_eq!(status(&asking).await, "waiting");
    opening.redeem(&token).await.expect(200);
    assert_eq!(status(&asking).await, "confirmed_elsewhere");
    assert_eq!(status(&other).await, "waiting");
    assert_eq!(status(&opening).await, "signed_in");
    assert_eq!(asking.me().await, None);
    app.advance(Duration::from_mins(10));
    assert_eq!(status(&asking).await, "waiting", "what has expired is forgotten");
}

#[tokio::test]
async fn whoever_proves_again_who_they_are_is_waited_for_until_they_have() {
    let app = TestApp::start().await;
    let status =
        async |browser: &Browser| browser.get("/login/status").await.json()["status"].clone();
    for by_code in [true, false] {
        let browser = app.signed_in("a@example.com").await;
        app.advance(Duration::from_mins(16));
        let to_sign_in =
            browser.get("/account/data.json").await.expect(303).header("location").to_owned();
        assert_eq!(status(&browser).await, "signed_in", "nothing is asked for yet");
        ask_to_confirm(&app, &browser, &to_sign_in).await;
        assert_eq!(status(&browser).await, "waiting");
        let page = browser.get("/login/code").await.expect(200);
        let here = "/confirm?next=%2Faccount%2Fdata.json";
        assert!(page.body.contains(&format!("data-next=\"{here}\"")), "{}", page.body);
        assert_eq!(redeem_by_form(&app, &browser, "/login/code", by_code).await, here);
        let answer = browser.get(here).await.expect(303);
        assert_eq!(answer.header("location"), "/account?download=data");
        assert_eq!(status(&browser).await, "signed_in");
        browser.get("/account/data.json").await.expect(200);
    }
}

#[tokio::test]
async fn a_proof_given_elsewhere_or_to_the_api_is_noticed_by_the_page_that_waits() {
    let app = TestApp::start().await;
    let status =
        async |browser: &Browser| browser.get("/login/status").await.json()["status"].clone();
    let (browser, opening) = (app.signed_in("a@example.com").await, app.browser());
    opening.get("/login").await;
    for (redeeming, told) in [(&opening, "confirmed_elsewhere"), (&browser, "signed_in")] {
        app.advance(Duration::from_mins(16));
        ask_to_confirm(&app, &browser, CONFIRM).await;
        assert_eq!(status(&browser).await, "waiting");
        let page = browser.get("/login/code").await.expect(200).body;
        let ask_again = format!("href=\"{CONFIRM}\"");
        assert_eq!(page.matches(&ask_again).count(), 2, "{page}");
        let token = token_of(&app.mail_to("a@example.com").await.link);
        redeeming.redeem(&token).await.expect(200);
        assert_eq!(status(&browser).await, told);
    }
}

/// Waits up to a second for an event with this name. Returns its data.
async fn told(stream: &mut EventStream, name: &str) -> String {
    let waiting = async {
        loop {
            let event = stream.next_event().await;
            assert!(!event.is_empty(), "the stream ended without {name:?}");
            if let Some(rest) = event.strip_prefix(&format!("event: {name}")) {
                return rest.trim().to_owned();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(1), waiting).await.expect("not told within a second")
}

#[tokio::test]
async fn a_stream_tells_of_sessions_on_another_instance_and_of_the_end_of_its_own() {
    let mut app = TestApp::start().await;
    let elsewhere = app.add_instance().await;
    let browser = app.signed_in("a@example.com").await;
    let mut stream = browser.open("/account/live").await;
    let alone = told(&mut stream, "sessions").await;
    // Signs in on another instance, with the newest mail.
    let sign_in_elsewhere = async || {
        app.advance(Duration::from_secs(1));
        let other = app.browser().at(elsewhere);
        app.sign_in(&other, "a@example.com").await;
        other
    };
    for _ in 0..3 {
        let other = sign_in_elsewhere().await;
        let both = told(&mut stream, "sessions").await;
        assert!(
            both.len() > alone.len() && both.contains(alone.trim_start_matches("data: ")),
            "{both}"
        );
        other.logout().await.expect(204);
        assert_eq!(told(&mut stream, "sessions").await, alone);
    }
    let other = sign_in_elsewhere().await;
    told(&mut stream, "sessions").await;
    other.delete("/api/v1/auth/sessions").await.expect(204);
    told(&mut stream, "signed-out").await;
    assert_eq!(stream.next_event().await, "", "and no more");
}

#[tokio::test]
async fn streams_are_told_in_the_embedded_store_too() {
    let app = TestApp::embedded().await;
    let (browser, other) =
        (app.signed_in("a@example.com").await, app.signed_in("a@example.com").await);
    let mut stream = browser.open("/account/live").await;
    told(&mut stream, "sessions").await;
    other.delete("/api/v1/auth/sessions").await.expect(204);
    told(&mut stream, "signed-out").await;
}

#[tokio::test]
async fn a_user_has_sixteen_streams_of_all_kinds() {
    let app = TestApp::embedded().await;
    let (browser, other) =
        (app.signed_in("a@example.com").await, app.signed_in("b@example.com").await);
    let mut open = Vec::new();
    for _ in 0..16 {
        let mut stream = browser.open("/account/live").await;
        told(&mut stream, "sessions").await;
        open.push(stream);
    }
    for path in ["/account/live", "/api/v1/portfolio/import/events"] {
        browser.get(path).await.expect_error(429, "too_many_streams");
        other.open(path).await;
    }
    open.pop();
    eventually(async || {
        let answer = browser.get("/api/v1/portfolio/import/events").await;
        (answer.status == 200).then_some(())
    })
    .await;
}
