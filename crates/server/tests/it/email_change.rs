//! Changing the address of an account: the recipients of mails, and their limits.

use std::time::Duration;

use serde_json::json;

use crate::browser::Browser;
use crate::deletion::delete_what_is_due;
use crate::harness::TestApp;

async fn wish(browser: &Browser, email: &str) {
    browser.post("/api/v1/auth/email", &json!({ "email": email })).await.expect(200);
}

/// Requests the address and waits for the `n`th mail to it.
async fn wish_and_wait(app: &TestApp, browser: &Browser, email: &str, n: usize) {
    wish(browser, email).await;
    crate::harness::eventually(|| async { (app.all_mails(email).count() == n).then_some(()) })
        .await;
}

#[tokio::test]
async fn a_stranger_who_asks_for_an_address_stops_none_of_its_sign_in_mails() {
    let app = TestApp::start().await;
    let stranger = app.signed_in("stranger@example.com").await;
    for n in 1..=5 {
        wish_and_wait(&app, &stranger, "victim@example.com", n).await;
    }
    wish(&stranger, "victim@example.com").await;
    app.signed_in("victim@example.com").await;
}

#[tokio::test]
async fn mails_that_confirm_an_address_are_counted_for_it_and_for_who_asks() {
    let app = TestApp::start().await;
    let one = app.signed_in("one@example.com").await;
    let two = app.signed_in("two@example.com").await;
    for n in 1..=4 {
        wish_and_wait(&app, &one, "a@example.com", n).await;
    }
    wish_and_wait(&app, &one, "b@example.com", 1).await;
    for _ in 0..5 {
        wish(&one, "c@example.com").await;
    }
    wish_and_wait(&app, &two, "a@example.com", 5).await;
    wish(&two, "a@example.com").await;
    // A request refused by the user's own limit does not count against the address.
    wish_and_wait(&app, &two, "c@example.com", 1).await;
    let mails = ["a", "b", "c"].map(|name| app.all_mails(&format!("{name}@example.com")).count());
    assert_eq!(mails, [5, 1, 1]);
}

#[tokio::test]
async fn the_old_address_is_told_of_the_new_one() {
    let app = TestApp::start().await;
    let browser = app.signed_in("old@example.com").await;
    wish(&browser, "new@example.com").await;
    let link = app.notice_to("new@example.com", "Confirm your address").await.link;
    assert_eq!(app.all_mails("old@example.com").count(), 1, "nothing has changed yet");
    let confirm = json!({ "token": crate::harness::token_of(&link) });
    browser.post("/api/v1/auth/email/confirm", &confirm).await.expect(200);
    let notice = app.notice_to("old@example.com", "was changed").await;
    assert!(notice.text.contains("n***@example.com"), "{}", notice.text);
    assert!(!notice.text.contains("new@example.com") && !notice.html.contains("new@example.com"));
    assert_eq!(app.all_mails("new@example.com").count(), 1, "the new one is not");
    let log = browser.get("/api/v1/auth/events").await.expect(200).json();
    let newest = &log["events"][0];
    assert_eq!(newest["event"], "email_changed");
    assert_eq!(newest["about"], "n***@example.com");
}

#[tokio::test]
async fn what_was_counted_for_a_user_goes_with_the_account() {
    let app = TestApp::start().await;
    let browser = app.signed_in("a@example.com").await;
    wish(&browser, "b@example.com").await;
    let counts = async || app.redis().cli(&["--raw", "KEYS", "ratelimit:confirmation:*"]).await;
    assert_eq!(counts().await.split_whitespace().count(), 2);
    let token = browser.form_token("/account").await;
    let fields = [("csrf_token", &*token), ("confirmation", "delete my account")];
    browser.submit("/account/delete", &fields).await.expect(303);
    app.advance(Duration::from_hours(7 * 24));
    delete_what_is_due(&app).await;
    assert_eq!(counts().await.split_whitespace().count(), 1, "that of the address stays");
}
