//! Sign-in methods: how a link may be pasted, and which sessions end when a method is removed.

use serde_json::json;

use crate::browser::Browser;
use crate::fake_providers::FakeProviders;
use crate::harness::{TestApp, token_of};

async fn start() -> (TestApp, FakeProviders) {
    let fake_providers = FakeProviders::start().await;
    let vars = fake_providers.vars();
    let vars: Vec<_> = vars.iter().map(|(name, value)| (&**name, &**value)).collect();
    (TestApp::embedded_with(&vars).await, fake_providers)
}

async fn by_github(fake_providers: &FakeProviders, browser: &Browser, address: &str) {
    let person =
        json!({ "id": 7, "emails": [{ "email": address, "primary": true, "verified": true }] });
    let location =
        browser.get("/api/v1/auth/github").await.expect(303).header("location").to_owned();
    browser.get(&fake_providers.agree(&location, person)).await.expect(303);
    assert!(browser.me().await.is_some());
}

#[tokio::test]
async fn unlinking_a_provider_ends_the_sessions_that_began_by_it() {
    let (app, fake_providers) = start().await;
    let stranger = app.browser();
    by_github(&fake_providers, &stranger, "a@example.com").await;
    let owner = app.signed_in("a@example.com").await;
    let begun =
        owner.post("/api/v1/auth/providers/github/link", &json!({})).await.expect(200).json();
    let person = json!({ "id": 7, "emails": [] });
    owner
        .get(&fake_providers.agree(begun["redirect_to"].as_str().unwrap(), person))
        .await
        .expect(303);
    let (by_it, by_mail) = (app.browser(), app.signed_in("a@example.com").await);
    by_github(&fake_providers, &by_it, "a@example.com").await;
    owner.delete("/api/v1/auth/providers/github").await.expect(204);
    assert_eq!(by_it.me().await, None);
    assert!(owner.me().await.is_some() && by_mail.me().await.is_some());
}

#[tokio::test]
async fn whoever_unlinks_what_they_came_in_by_stays_signed_in() {
    let (app, fake_providers) = start().await;
    let browser = app.browser();
    by_github(&fake_providers, &browser, "a@example.com").await;
    browser.delete("/api/v1/auth/providers/github").await.expect(204);
    assert!(browser.me().await.is_some());
}

#[tokio::test]
async fn changing_the_address_ends_the_sessions_that_began_by_a_mail_to_the_former_one() {
    let app = TestApp::start().await;
    let (owner, other) =
        (app.signed_in("old@example.com").await, app.signed_in("old@example.com").await);
    owner.post("/api/v1/auth/email", &json!({ "email": "new@example.com" })).await.expect(200);
    let link = app.notice_to("new@example.com", "Confirm your address").await.link;
    let confirm = json!({ "token": token_of(&link) });
    owner.post("/api/v1/auth/email/confirm", &confirm).await.expect(200);
    assert!(owner.me().await.is_some());
    assert_eq!(other.me().await, None);
}

#[tokio::test]
async fn a_link_works_whatever_was_pasted_behind_it() {
    let app = TestApp::start().await;
    let browser = app.browser();
    let token = app.link_token(&browser, "a@example.com").await;
    for behind in [".", ">", ")", "%20", "%0A", "%0D%0A", "%E2%80%8B", "%3E", ",%20Robin"] {
        let path = format!("/api/v1/auth/magic/verify?token={token}{behind}");
        let page = browser.get(&path).await.expect(200).body;
        assert!(page.contains(&format!(r#"name="token" value="{token}""#)), "{behind}: {page}");
    }
    browser.redeem(&format!(" {token}>.\n")).await.expect(200);
}

#[tokio::test]
async fn an_address_works_whatever_was_pasted_around_it() {
    let app = TestApp::start().await;
    for typed in ["\u{a0}a@example.com\u{200b}", "\u{feff}b@example.com\n"] {
        app.browser().request_link(typed).await.expect(200);
    }
    app.mail_to("a@example.com").await;
    app.mail_to("b@example.com").await;
}
