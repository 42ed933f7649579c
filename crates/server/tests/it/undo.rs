//! Recovering a taken account, and attempts to abuse the recovery.

use std::time::Duration;

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::fake_providers::FakeProviders;
use crate::harness::{TestApp, token_of};

const UNDO: &str = "/api/v1/auth/undo";

async fn start() -> (TestApp, FakeProviders) {
    let fake_providers = FakeProviders::start().await;
    let vars = fake_providers.vars();
    let vars: Vec<_> = vars.iter().map(|(name, value)| (&**name, &**value)).collect();
    (TestApp::embedded_with(&vars).await, fake_providers)
}

async fn change_address(app: &TestApp, browser: &Browser, email: &str) {
    browser.post("/api/v1/auth/email", &json!({ "email": email })).await.expect(200);
    let link = app.notice_to(email, "Confirm your address").await.link;
    let confirm = json!({ "token": token_of(&link) });
    browser.post("/api/v1/auth/email/confirm", &confirm).await.expect(200);
}

async fn undo_token(app: &TestApp, email: &str, subject: &str) -> String {
    let mail = app.notice_to(email, subject).await;
    assert!(mail.link.starts_with("http://localhost:8080/undo?token="), "{}", mail.link);
    assert!(mail.text.contains("This was not me"), "{}", mail.text);
    token_of(&mail.link)
}

async fn address(browser: &Browser) -> Value {
    browser.get("/api/v1/auth/me").await.expect(200).json()["user"]["email"].clone()
}

#[tokio::test]
async fn the_owner_of_the_former_address_takes_the_account_back_without_signing_in() {
    let (app, fake_providers) = start().await;
    let thief = app.signed_in("owner@example.com").await;
    let user = thief.me().await;
    let begun =
        thief.post("/api/v1/auth/providers/github/link", &json!({})).await.expect(200).json();
    change_address(&app, &thief, "thief@example.com").await;
    app.advance(Duration::from_secs(2));
    let person = json!({ "id": 9, "emails": [] });
    thief
        .get(&fake_providers.agree(begun["redirect_to"].as_str().unwrap(), person.clone()))
        .await
        .expect(303);
    let token = undo_token(&app, "owner@example.com", "was changed").await;
    let thiefs_token = undo_token(&app, "thief@example.com", "GitHub was linked").await;

    let owner = app.browser();
    let page = owner.get(&format!("/undo?token={token}.")).await.expect(200).body;
    assert!(page.contains("Take your account back?") && page.contains("o***@"), "{page}");
    assert_eq!(address(&thief).await, "thief@example.com", "looking changes nothing");
    let fields = [("csrf_token", &*owner.form_token("/login").await), ("token", &*token)];
    let answer = owner.submit("/undo", &fields).await.expect(303);
    let page = owner.get(answer.header("location")).await.expect(200).body;
    assert!(page.contains("Your account is yours again"), "{page}");

    assert_eq!((owner.me().await, thief.me().await), (None, None), "it signs nobody in");
    app.notice_to("owner@example.com", "yours again").await;
    app.sign_in(&owner, "owner@example.com").await;
    assert_eq!(owner.me().await, user);
    let linked = owner.get("/api/v1/auth/providers").await.json();
    assert!(linked["providers"].as_array().unwrap().iter().all(|it| it["linked"] == false));
    // Links mailed to the thief are void, and a used link stays used.
    for token in [thiefs_token, token] {
        app.browser()
            .post(UNDO, &json!({ "token": token }))
            .await
            .expect_error(400, "link_invalid");
    }
    assert_eq!(address(&owner).await, "owner@example.com");
}

#[tokio::test]
async fn a_link_works_for_seven_days_and_no_longer() {
    let (app, _providers) = start().await;
    for (age, works) in [(Duration::from_hours(167), true), (Duration::from_hours(168), false)] {
        let from = format!("old{works}@example.com");
        let browser = app.signed_in(&from).await;
        change_address(&app, &browser, &format!("new{works}@example.com")).await;
        let token = undo_token(&app, &from, "was changed").await;
        app.advance(age);
        let answer = app.browser().post(UNDO, &json!({ "token": token })).await;
        if works {
            answer.expect(204);
        } else {
            answer.expect_error(400, "link_invalid");
        }
    }
}

/// Attempts to use an undo link against an account.
#[tokio::test]
async fn nobody_takes_an_account_by_undoing() {
    let (app, _providers) = start().await;
    // Invented tokens, a token of another kind, and none.
    let browser = app.browser();
    let sign_in_link = app.link_token(&browser, "a@example.com").await;
    for token in ["", "x", &"A".repeat(43), &sign_in_link] {
        browser.post(UNDO, &json!({ "token": token })).await.expect_error(400, "link_invalid");
    }
    // Another site cannot make a browser do it, because it has no CSRF token.
    browser
        .send(reqwest::Method::POST, UNDO, &[], Some(&json!({ "token": "x" })))
        .await
        .expect_error(403, "csrf_failed");
    // A thief changes the address twice, so the second notice goes to the thief. Its link works
    // only until the owner has used theirs.
    let thief = app.signed_in("owner@example.com").await;
    change_address(&app, &thief, "one@example.com").await;
    app.advance(Duration::from_secs(2));
    change_address(&app, &thief, "two@example.com").await;
    let (owners, thiefs) = (
        undo_token(&app, "owner@example.com", "was changed").await,
        undo_token(&app, "one@example.com", "was changed").await,
    );
    app.browser().post(UNDO, &json!({ "token": owners })).await.expect(204);
    app.browser().post(UNDO, &json!({ "token": thiefs })).await.expect_error(400, "link_invalid");
    // The notice about the recovery has no undo link, so the two cannot undo each other endlessly.
    let notice = app.notice_to("owner@example.com", "yours again").await;
    assert!(!notice.link.contains("/undo"), "{}", notice.link);
}

#[tokio::test]
async fn an_account_that_was_made_with_the_address_meanwhile_gives_it_back() {
    let (app, _providers) = start().await;
    let thief = app.signed_in("owner@example.com").await;
    let user = thief.me().await;
    change_address(&app, &thief, "thief@example.com").await;
    let token = undo_token(&app, "owner@example.com", "was changed").await;
    let puzzled = app.signed_in("owner@example.com").await;
    assert_ne!(puzzled.me().await, user, "the address begins a new account");
    app.browser().post(UNDO, &json!({ "token": token })).await.expect(204);
    assert_eq!((puzzled.me().await, thief.me().await), (None, None));
    assert_eq!(app.signed_in("owner@example.com").await.me().await, user);
}

type Row<'a> = (&'a str, &'a [&'a str], usize, u64, Option<usize>, bool);

/// The holder of a link, the events before, and whether using the link gives them the account.
#[tokio::test]
async fn who_takes_an_account_by_undoing_and_who_does_not() {
    let day = 86_400;
    // The addresses of the account in order. Then the mailbox of the link's holder, the seconds
    // from the last change to the use, and the mailbox that used its link before.
    let rows: [Row<'_>; 8] = [
        ("the owner, of whom a thief took the address", &["o1", "t1"], 0, day, None, true),
        ("the owner, on the last day", &["o2", "t2"], 0, 7 * day - 3, None, true),
        ("whoever has the mailbox later", &["o3", "t3"], 0, 7 * day, None, false),
        ("the owner, after two changes", &["o4", "t4", "u4"], 0, day, None, true),
        ("a thief with a mail to their own address", &["o5", "t5", "u5"], 1, day, Some(0), false),
        ("the owner, after the thief used theirs", &["o6", "t6", "u6"], 0, day, Some(1), true),
        ("an employer, whose mailbox was left a day ago", &["w7", "h7"], 0, day, None, true),
        ("an employer, whose mailbox was left a week ago", &["w8", "h8"], 0, 7 * day, None, false),
    ];
    for (who, names, holder, later, before, takes) in rows {
        let (app, _providers) = start().await;
        let addresses: Vec<_> = names.iter().map(|name| format!("{name}@example.com")).collect();
        let browser = app.signed_in(&addresses[0]).await;
        for address in &addresses[1..] {
            change_address(&app, &browser, address).await;
            app.advance(SECOND);
        }
        app.advance(Duration::from_secs(later - 1));
        for (used_by, counts) in before.map(|it| (it, true)).into_iter().chain([(holder, takes)]) {
            let token = undo_token(&app, &addresses[used_by], "was changed").await;
            let answer = app.browser().post(UNDO, &json!({ "token": token })).await;
            assert_eq!(answer.status == 204, counts, "{who}: {}", answer.body);
        }
        let user = app.signed_in(&addresses[holder]).await;
        let created = user.get("/api/v1/auth/me").await.json()["user"]["created_at"].clone();
        let is_theirs = created == "2030-03-17T17:46:40Z";
        assert_eq!(is_theirs, takes, "{who}");
    }
}

const SECOND: Duration = Duration::from_secs(1);
