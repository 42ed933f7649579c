//! "Confirm that it is you": the account, its sign-in methods, and the kept form.

use std::time::Duration;

use serde_json::{Value, json};
use tracera::domain::email::Email;
use tracera::store::users;

use crate::browser::{Browser, token_in};
use crate::fake_providers::FakeProviders;
use crate::harness::{TestApp, eventually, token_of};

const EMAIL: &str = "a@example.com";

type Fields<'a> = &'a [(&'a str, &'a str)];

async fn start() -> (TestApp, FakeProviders) {
    let fake_providers = FakeProviders::start().await;
    let vars = fake_providers.vars();
    let vars: Vec<_> = vars.iter().map(|(name, value)| (&**name, &**value)).collect();
    (TestApp::embedded_with(&vars).await, fake_providers)
}

/// Requests a mail on the confirm page at `at`, and waits for it.
pub(crate) async fn ask_to_confirm(app: &TestApp, browser: &Browser, at: &str) {
    let page = browser.get(at).await.expect(200).body;
    assert!(page.contains("Confirm that it is you"), "{page}");
    let (_, next) = page.split_once(r#"name="next" value=""#).unwrap();
    let (next, _) = next.split_once('"').unwrap();
    let before = app.mails_to(EMAIL);
    let fields = [("csrf_token", &*token_in(&page)), ("next", next)];
    let answer = browser.submit("/confirm", &fields).await.expect(303);
    assert_eq!(answer.header("location"), "/login/code");
    eventually(|| async { (app.mails_to(EMAIL) > before).then_some(()) }).await;
}

/// Confirms by the mailed link or code. Returns the page it redirects to.
async fn confirm(app: &TestApp, browser: &Browser, at: &str, by_code: bool) -> String {
    ask_to_confirm(app, browser, at).await;
    let mail = app.mail_to(EMAIL).await;
    let (path, field, value) = if by_code {
        ("/login/code", "code", mail.code.clone())
    } else {
        ("/login/confirm", "token", token_of(&mail.link))
    };
    let token = browser.form_token("/login/code").await;
    let answer = browser.submit(path, &[("csrf_token", &token), (field, &value)]).await;
    let here = answer.expect(303).header("location").to_owned();
    assert!(here.starts_with("/confirm"), "{here}");
    browser.get(&here).await.expect(303).header("location").to_owned()
}

async fn link_github(fake_providers: &FakeProviders, browser: &Browser, id: u64) {
    let begun = browser.post("/api/v1/auth/providers/github/link", &json!({})).await.json();
    let to = begun["redirect_to"].as_str().unwrap();
    browser.get(&fake_providers.agree(to, github(id))).await.expect(303);
}

fn github(id: u64) -> Value {
    let email = format!("{id}@example.com");
    json!({ "id": id, "emails": [{ "email": email, "primary": true, "verified": true }] })
}

#[tokio::test]
async fn the_page_names_the_account_and_offers_its_sign_in_methods_only() {
    let (app, fake_providers) = start().await;
    let browser = app.signed_in(EMAIL).await;
    link_github(&fake_providers, &browser, 7).await;
    let answer = browser.get("/confirm?next=/account").await.expect(303);
    assert_eq!(answer.header("location"), "/account", "this sign-in is recent");
    app.advance(Duration::from_mins(16));
    let at = browser.get("/account/data.json").await.expect(303).header("location").to_owned();
    assert_eq!(at, "/confirm?next=%2Faccount%2Fdata.json");
    let page = browser.get(&at).await.expect(200).body;
    for part in ["Confirm that it is you", "a@<wbr>example.<wbr>com", "Mail me a link", "GitHub"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(page.contains(r#"<a href="/account">Account</a>"#), "the navigation: {page}");
    for part in ["New here?", r#"type="email""#, "Google", "passkey", "recovery code"] {
        assert!(!page.contains(part), "{part}: {page}");
    }
    app.browser().get(&at).await.expect(303);
}

#[tokio::test]
async fn every_sign_in_method_of_the_account_confirms_and_leads_back() {
    let (app, fake_providers) = start().await;
    let browser = app.signed_in(EMAIL).await;
    let user = browser.me().await;
    link_github(&fake_providers, &browser, 7).await;
    for way in ["code", "link", "github"] {
        app.advance(Duration::from_mins(16));
        let at = "/confirm?next=%2Faccount";
        let landed = match way {
            "code" | "link" => confirm(&app, &browser, at, way == "code").await,
            _ => {
                browser.get(at).await.expect(200);
                let begin = "/api/v1/auth/github?next=%2Fconfirm%3Fnext%3D%252Faccount";
                let to = browser.get(begin).await.expect(303).header("location").to_owned();
                let here = browser.get(&fake_providers.agree(&to, github(7))).await.expect(303);
                let here = browser.get(here.header("location")).await.expect(303);
                here.header("location").to_owned()
            }
        };
        assert_eq!(landed, "/account", "{way}");
        assert_eq!(browser.me().await, user);
        browser.get("/account/data.json").await.expect(200);
    }
    let sessions = browser.get("/api/v1/auth/sessions").await.json();
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 1, "{sessions}");
}

#[tokio::test]
async fn a_proof_of_another_account_is_refused_and_makes_none() {
    let (app, fake_providers) = start().await;
    let other = app.signed_in("b@example.com").await;
    link_github(&fake_providers, &other, 8).await;
    let browser = app.signed_in(EMAIL).await;
    let user = browser.me().await;
    app.advance(Duration::from_mins(16));
    let at = "/confirm?next=%2Faccount";
    let refused = "/confirm?next=%2Faccount&error=other_account";
    let token = browser.form_token(at).await;
    // Identities of another account, and without an account.
    for id in [8, 9] {
        let begin = "/api/v1/auth/github?next=%2Fconfirm%3Fnext%3D%252Faccount";
        let to = browser.get(begin).await.expect(303).header("location").to_owned();
        let answer = browser.get(&fake_providers.agree(&to, github(id))).await.expect(303);
        assert_eq!(answer.header("location"), refused);
        browser.get(refused).await.expect(200);
    }
    // Addresses of another account, and without an account.
    for email in ["b@example.com", "new@example.com"] {
        browser.request_link(email).await.expect(200);
        let mail = app.mail_to(email).await;
        let link = token_of(&mail.link);
        for (path, field, value) in
            [("/login/confirm", "token", &link), ("/login/code", "code", &mail.code)]
        {
            let fields = [("csrf_token", &*token), (field, value)];
            let answer = browser.submit(path, &fields).await.expect(303);
            assert_eq!(answer.header("location"), refused, "{path}");
        }
        // The refused link is not used up.
        app.browser().redeem(&link).await.expect(200);
    }
    let page = browser.get(refused).await.expect(200).body;
    assert!(page.contains("That opens another account."), "{page}");
    assert_eq!(browser.me().await, user);
    browser.get("/account/data.json").await.expect(303);
    let database = &app.instances[0].app.database;
    for email in ["8@example.com", "9@example.com"] {
        let email = Email::parse(email).unwrap();
        assert_eq!(users::find_by_email(database, &email).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_form_that_had_to_wait_is_offered_with_what_was_typed() {
    let app = TestApp::embedded().await;
    let id = "00000000-0000-4000-8000-000000000000";
    let browser = app.signed_in(EMAIL).await;
    let steam = [("provider", "steam")];
    let linked = [("provider", "steam"), ("next", "/account")];
    let token = [("name", "bot \"1\""), ("portfolio_read", "true"), ("days", "30")];
    let forms: [(&str, Fields<'_>, &str, &str); 10] = [
        ("/account/providers/link", &steam, "/", "Link Steam"),
        ("/account/providers/link", &linked, "/account", "Link Steam"),
        ("/account/providers/unlink", &steam, "/account", "Unlink Steam"),
        ("/account/email", &[("email", "new@x.org")], "/account", "Send a link to new@x.org"),
        ("/account/passkeys/remove", &[("id", id)], "/account", "Remove the passkey"),
        ("/account/passkey-only", &[("enabled", "true")], "/account", "Turn on passkey only"),
        ("/account/recovery-codes", &[], "/account", "Make ten codes"),
        ("/account/tokens", &token, "/account", "Make the token bot"),
        ("/account/tokens/revoke", &[("id", id)], "/account", "Revoke the token"),
        (
            "/account/delete",
            &[("confirmation", "delete my account")],
            "/account",
            "Delete my account",
        ),
    ];
    for (path, fields, from, label) in forms {
        app.advance(Duration::from_mins(16));
        let csrf = browser.form_token("/account").await;
        let sent: Vec<_> = fields.iter().copied().chain([("csrf_token", &*csrf)]).collect();
        let answer = browser.submit(path, &sent).await.expect(303);
        let at = answer.header("location").to_owned();
        assert!(at.starts_with("/confirm"), "{path}: {at}");
        let page = browser.get(&at).await.expect(200).body;
        assert!(page.contains(label), "{path}: {page}");
        assert_eq!(confirm(&app, &browser, &at, false).await, from, "{path}");
        let page = browser.get(from).await.expect(200).body;
        let (_, offer) = page.split_once("id=\"kept-form\"").expect(path);
        let (offer, _) = offer.split_once("</aside>").unwrap();
        assert!(offer.contains(&format!(r#"action="{path}""#)), "{offer}");
        assert!(offer.contains(label), "{offer}");
        for (name, value) in fields {
            let value = value.replace('"', "&#34;");
            let field = format!(r#"name="{name}" value="{value}""#);
            assert!(offer.contains(&field), "{field}: {offer}");
        }
        // Another account in the same browser is not offered the form.
        let stranger = app.signed_in("stranger@example.com").await;
        stranger.set_cookie("form", &browser.cookie("form").unwrap());
        let page = stranger.get("/account").await.expect(200).body;
        assert!(!page.contains("kept-form"), "{path}");
        if path == "/account/delete" {
            continue;
        }
        // Sent from there the form is processed, and no longer offered.
        let csrf = token_in(offer);
        let sent: Vec<_> = fields.iter().copied().chain([("csrf_token", &*csrf)]).collect();
        let answer = browser.submit(path, &sent).await;
        assert!(!answer.header("location").starts_with("/confirm"), "{path}");
        assert_eq!(browser.cookie("form"), None, "{path}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_form_sent_after_its_session_ended_says_why_and_is_offered_after_the_sign_in() {
    for (vars, why) in [
        (vec![], "a sign-in lasts 72 hours."),
        (vec![("SESSION_IDLE_MINUTES", "90")], "lasts 72 hours, or 90 minutes without use."),
    ] {
        let app = TestApp::embedded_with(&vars).await;
        let browser = app.signed_in(EMAIL).await;
        let token = browser.form_token("/account").await;
        app.advance(Duration::from_hours(73));
        let form = [("csrf_token", &*token), ("email", "typed@example.com")];
        let answer = browser.submit("/account/email", &form).await.expect(303);
        let to = answer.header("location").to_owned();
        assert_eq!(to, "/login?error=session_over&next=%2Faccount");
        let page = browser.get(&to).await.expect(200).body;
        assert!(page.contains(why), "{page}");
        assert!(page.contains(r#"name="next" value="/account""#), "{page}");
        app.sign_in(&browser, EMAIL).await;
        let page = browser.get("/account").await.expect(200).body;
        assert!(page.contains("Send a link to typed@example.com"), "{page}");
        // A deletion is not kept for the next user who signs in.
        let form = [("csrf_token", &*token), ("confirmation", "delete my account")];
        let stranger = app.browser();
        stranger.submit("/account/delete", &form).await.expect(303);
        assert_eq!(stranger.cookie("form"), None);
    }
}

#[tokio::test]
async fn a_form_with_an_old_token_is_refused_and_kept() {
    let app = TestApp::embedded().await;
    let browser = app.signed_in(EMAIL).await;
    let form = [("csrf_token", "old"), ("email", "typed@example.com")];
    let page = browser.submit("/account/email", &form).await.expect(403).body;
    assert!(page.contains(r#"href="/account">Go on there"#), "{page}");
    assert_eq!(app.all_mails("typed@example.com").count(), 0);
    let page = browser.get("/account").await.expect(200).body;
    assert!(page.contains("Send a link to typed@example.com"), "{page}");
}

#[tokio::test]
async fn a_download_leads_to_a_sign_in_and_on_to_the_file() {
    let app = TestApp::embedded().await;
    for (file, page) in [
        ("/account/data.json", "/account?download=data"),
        ("/api/v1/portfolio/export.csv", "/?download=csv"),
        ("/api/v1/portfolio/export.json", "/?download=json"),
    ] {
        let browser = app.browser();
        let accept = [("accept", "text/html")];
        let answer = browser.send(reqwest::Method::GET, file, &accept, None).await;
        let next = format!("/login?next={}", file.replace('/', "%2F"));
        if answer.status == 401 {
            assert!(answer.body.contains(&format!(r#"href="{next}">Sign in"#)), "{}", answer.body);
        } else {
            assert_eq!(answer.expect(303).header("location"), next);
        }
        let token = browser.form_token(&next).await;
        browser.submit("/login", &[("csrf_token", &token), ("email", EMAIL)]).await.expect(303);
        let code = app.mail_to(EMAIL).await.code;
        let token = browser.form_token("/login/code").await;
        let fields = [("csrf_token", &*token), ("code", &*code)];
        let answer = browser.submit("/login/code", &fields).await.expect(303);
        assert_eq!(answer.header("location"), page);
        let begins = browser.get(page).await.expect(200).body;
        assert!(begins.contains(&format!("content=\"0; url={file}\"")), "{begins}");
        browser.get(file).await.expect(200);
        app.advance(Duration::from_mins(11));
    }
}
