//! The pages in a real browser; the steps are the scripts in `tests/browser`.

use tracera::auth::email::Email;
use tracera::store::users;

use crate::chromium;
use crate::harness::TestApp;

#[tokio::test]
async fn a_person_signs_in_and_out_with_and_without_scripts() {
    let app = TestApp::for_real_browsers(&[]).await;
    chromium::run("sign_in", &app).await;
}

#[tokio::test]
async fn sessions_end_everywhere_and_the_account_leaves_nothing() {
    let app = TestApp::for_real_browsers(&[]).await;
    chromium::run("account", &app).await;
    let email = Email::parse("dana@example.com").unwrap();
    let user = users::find_by_email(&app.instances[0].app.database, &email).await.unwrap();
    assert_eq!(user, None);
    let keys = app.redis().cli(&["--raw", "KEYS", "*"]).await;
    let left: Vec<_> = keys.split_whitespace().filter(|key| !key.starts_with("ratelimit:auth:")).collect();
    // So that a sign-in which began before cannot end after: when all sessions ended, under a random id nobody has now.
    let [ended] = left[..] else { panic!("{left:?}") };
    let fields = app.redis().cli(&["--raw", "HKEYS", ended]).await;
    assert_eq!(fields.split_whitespace().collect::<Vec<_>>(), ["e", "u"]);
}
