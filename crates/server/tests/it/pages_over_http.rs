//! The pages as plain HTTP: what their forms demand, what they cost, what they tell.

use crate::harness::TestApp;

#[tokio::test]
async fn forms_need_the_token_of_their_own_visitor() {
    let app = TestApp::start().await;
    let browser = app.browser();
    let token = browser.form_token("/login").await;
    let other = app.browser().form_token("/login").await;
    for bad in ["", "nonsense", &other] {
        browser.submit("/login", &[("csrf_token", bad), ("email", "a@example.com")]).await.expect(403);
    }
    browser.submit("/login", &[("email", "a@example.com")]).await.expect(403);
    let twice = [("csrf_token", &*token), ("csrf_token", &*token), ("email", "a@example.com")];
    browser.submit("/login", &twice).await.expect(403);
    assert_eq!(app.mails_to("a@example.com"), 0);
    let answer = browser.submit("/login", &[("csrf_token", &token), ("email", "a@example.com")]).await.expect(303);
    assert_eq!(answer.header("location"), "/login/code");
    app.mail_to("a@example.com").await;
}
