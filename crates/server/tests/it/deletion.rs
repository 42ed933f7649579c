//! Account deletion: the schedule, and its cancellation.

use std::time::Duration;

use tracera::actions::deletion;

use crate::browser::{Answer, Browser};
use crate::harness::{TestApp, token_of};

const EMAIL: &str = "a@example.com";
const DAY: Duration = Duration::from_hours(24);
const ALMOST_A_WEEK: Duration = Duration::from_secs(7 * 86_400 - 1);

/// The job that the service runs every ten minutes.
pub(crate) async fn delete_what_is_due(app: &TestApp) -> u64 {
    let app = &app.instances[0].app;
    let links = app.magic_links.as_ref();
    deletion::carry_out(&app.accounts(), links, app.now()).await.unwrap()
}

async fn ask(browser: &Browser) -> Answer {
    let token = browser.form_token("/account").await;
    let fields = [("csrf_token", &*token), ("confirmation", "delete my account")];
    browser.submit("/account/delete", &fields).await.expect(303)
}

#[tokio::test]
async fn it_waits_for_seven_days_and_says_what_happens_when() {
    let app = TestApp::embedded().await;
    let (browser, other) = (app.signed_in(EMAIL).await, app.signed_in(EMAIL).await);
    let user = browser.me().await;
    let page = browser.get("/account/delete").await.expect(200).body;
    for part in ["At once", "For 7 days", "2030-03-24 17:46 UTC", "for good", "Type <strong>"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let answer = ask(&browser).await;
    assert_eq!(answer.header("location"), "/login?done=deletion_asked");
    let page = browser.get("/login?done=deletion_asked").await.expect(200).body;
    assert!(page.contains("will be deleted in 7 days"), "{page}");
    for ended in [&browser, &other] {
        assert_eq!(ended.me().await, None);
    }
    let mail = app.notice_to(EMAIL, "will be deleted in 7 days").await;
    assert!(mail.text.contains("2030-03-24"), "{}", mail.text);
    app.advance(ALMOST_A_WEEK);
    assert_eq!(delete_what_is_due(&app).await, 0);
    app.sign_in(&browser, EMAIL).await;
    assert_eq!(browser.me().await, user);
    app.advance(Duration::from_secs(1));
    assert_eq!(delete_what_is_due(&app).await, 1);
    assert_eq!(browser.me().await, None);
    assert_eq!(delete_what_is_due(&app).await, 0);
    let again = app.signed_in(EMAIL).await;
    assert_ne!(again.me().await, user, "the address begins a new account");
}

/// What the pages say until then.
const WHEN: &str =
    "will be deleted on <time datetime=\"2030-03-24T17:46:40Z\">2030-03-24 17:46 UTC</time>";

#[tokio::test]
async fn its_owner_calls_it_off_signed_in() {
    let app = TestApp::embedded().await;
    let browser = app.signed_in(EMAIL).await;
    let user = browser.me().await;
    ask(&browser).await;
    app.sign_in(&browser, EMAIL).await;
    for page in ["/", "/account", "/account/delete"] {
        let page = browser.get(page).await.expect(200).body;
        assert!(page.contains(WHEN), "{page}");
        assert!(page.contains("Keep my account"), "{page}");
    }
    // A repeated request does not move the time.
    app.advance(Duration::from_mins(5));
    ask(&browser).await;
    app.sign_in(&browser, EMAIL).await;
    let page = browser.get("/account/delete").await.expect(200).body;
    assert!(page.contains(WHEN), "{page}");
    let token = browser.form_token("/account").await;
    let answer = browser.submit("/account/keep", &[("csrf_token", &token)]).await.expect(303);
    assert_eq!(answer.header("location"), "/account?done=account_kept");
    app.notice_to(EMAIL, "Your Tracera account stays").await;
    let page = browser.get("/account").await.expect(200).body;
    assert!(!page.contains("Keep my account"), "{page}");
    app.advance(8 * DAY);
    assert_eq!(delete_what_is_due(&app).await, 0);
    assert_eq!(app.signed_in(EMAIL).await.me().await, user);
}

#[tokio::test]
async fn the_link_in_the_mail_calls_it_off_without_a_sign_in() {
    let app = TestApp::embedded().await;
    let thief = app.signed_in(EMAIL).await;
    let user = thief.me().await;
    ask(&thief).await;
    let link = token_of(&app.notice_to(EMAIL, "will be deleted in 7 days").await.link);
    app.advance(ALMOST_A_WEEK);
    let owner = app.browser();
    let page = owner.get(&format!("/undo?token={link}")).await.expect(200).body;
    assert!(page.contains("if its deletion was asked for, it stays"), "{page}");
    let fields = [("csrf_token", &*owner.form_token("/login").await), ("token", &*link)];
    owner.submit("/undo", &fields).await.expect(303);
    app.advance(DAY);
    assert_eq!(delete_what_is_due(&app).await, 0);
    assert_eq!(app.signed_in(EMAIL).await.me().await, user);
}
