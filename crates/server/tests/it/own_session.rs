//! Ending one's own session is signing out, by page and API alike.

use crate::browser::{Answer, Browser};
use crate::harness::TestApp;

async fn own_handle(browser: &Browser) -> String {
    let list = browser.get("/api/v1/auth/sessions").await.expect(200).json();
    let sessions = list["sessions"].as_array().unwrap();
    let own = sessions.iter().find(|session| session["current"] == true).unwrap();
    own["handle"].as_str().unwrap().to_owned()
}

/// What a response deletes in the browser: the cleared cookies, and its `Clear-Site-Data`.
fn forgotten(answer: &Answer) -> (Vec<String>, String) {
    let cookies = answer.headers.get_all("set-cookie").iter();
    let cleared = cookies.map(|cookie| cookie.to_str().unwrap()).filter(|cookie| {
        let gone = cookie.contains("Max-Age=0");
        assert!(gone, "only cleared: {cookie}");
        gone
    });
    let mut names: Vec<_> =
        cleared.map(|cookie| cookie.split('=').next().unwrap().to_owned()).collect();
    names.sort();
    (names, answer.header("clear-site-data").to_owned())
}

#[tokio::test]
async fn ending_ones_own_session_is_signing_out_by_form_and_by_api() {
    let app = TestApp::start().await;
    let by_logout = app.signed_in("a@example.com").await;
    let expected = forgotten(&by_logout.logout().await.expect(204));
    assert_eq!(expected, (vec!["session".to_owned()], "\"cache\", \"storage\"".to_owned()));

    let by_api = app.signed_in("a@example.com").await;
    let path = format!("/api/v1/auth/sessions/{}", own_handle(&by_api).await);
    assert_eq!(forgotten(&by_api.delete(&path).await.expect(204)), expected);

    let by_form = app.signed_in("a@example.com").await;
    let (token, handle) = (by_form.form_token("/account").await, own_handle(&by_form).await);
    let fields = [("csrf_token", &*token), ("handle", &*handle)];
    let answer = by_form.submit("/account/sessions/revoke", &fields).await.expect(303);
    assert_eq!(forgotten(&answer), expected);
    let page = by_form.get(answer.header("location")).await.expect(200).body;
    assert!(page.contains("You are signed out."), "{page}");

    for browser in [by_logout, by_api, by_form] {
        assert_eq!((browser.me().await, browser.cookie("session")), (None, None));
    }
}

#[tokio::test]
async fn ending_another_session_leaves_ones_own_and_clears_nothing() {
    let app = TestApp::start().await;
    let (browser, other) =
        (app.signed_in("a@example.com").await, app.signed_in("a@example.com").await);
    let path = format!("/api/v1/auth/sessions/{}", own_handle(&other).await);
    let answer = browser.delete(&path).await.expect(204);
    assert_eq!(forgotten(&answer), (Vec::new(), String::new()));
    assert!(browser.me().await.is_some() && other.me().await.is_none());
}
