//! Delivery trouble, as shown on the page that waits for the mail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use axum::Router;
use axum::extract::Path;
use axum::routing::post;
use http::StatusCode;

use crate::browser::Browser;
use crate::chromium;
use crate::harness::{TestApp, eventually};
use crate::portfolio::upstream::serve;

/// A mail service that responds with a status chosen by the test.
struct MailService {
    url: String,
    status: Arc<AtomicU16>,
}

impl MailService {
    async fn start() -> Self {
        let status = Arc::new(AtomicU16::new(503));
        let (said, told) = (Arc::clone(&status), Arc::clone(&status));
        let answer = move || {
            let status = StatusCode::from_u16(said.load(Ordering::SeqCst)).unwrap();
            async move { (status, "{}") }
        };
        let tell = move |Path(status): Path<u16>| {
            told.store(status, Ordering::SeqCst);
            async { StatusCode::NO_CONTENT }
        };
        let routes =
            Router::new().route("/emails", post(answer)).route("/say/{status}", post(tell));
        Self { url: serve(routes).await, status }
    }

    async fn app(&self) -> TestApp {
        TestApp::like_production(&[
            ("RESEND_API_KEY", "re_test"),
            ("RESEND_FROM_EMAIL", "no-reply@example.com"),
            ("RESEND_API_URL", &self.url),
        ])
        .await
    }

    fn says(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }
}

async fn ask(browser: &Browser, email: &str) {
    let token = browser.form_token("/login").await;
    let fields = [("csrf_token", &*token), ("email", email)];
    let answer = browser.submit("/login", &fields).await.expect(303);
    assert_eq!(answer.header("location"), "/login/code");
}

async fn becomes(browser: &Browser, status: &str) {
    eventually(|| async {
        let told = browser.get("/login/status").await.expect(200).json();
        (told["status"] == status).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_page_that_waits_says_what_became_of_the_mail_and_nothing_of_an_account() {
    let service = MailService::start().await;
    let app = service.app().await;
    for email in ["known@example.com", "unknown@example.com"] {
        let browser = app.browser();
        service.says(503);
        ask(&browser, email).await;
        becomes(&browser, "mail_delayed").await;
        let page = browser.get("/login/code").await.expect(200).body;
        assert!(page.contains(r#"data-trouble="mail_delayed">Our mail server has not"#), "{page}");
        assert!(page.contains("<p data-promise hidden>"), "{page}");
        // A later attempt succeeded.
        service.says(200);
        becomes(&browser, "waiting").await;
        let page = browser.get("/login/code").await.expect(200).body;
        assert!(page.contains("<p data-promise>A sign-in link is on its way"), "{page}");
        service.says(422);
        ask(&browser, email).await;
        becomes(&browser, "mail_given_up").await;
        let page = browser.get("/login/code").await.expect(200).body;
        assert!(page.contains(r#"data-trouble="mail_given_up">Our mail server did not"#), "{page}");
        // Another browser sees nothing of it.
        let other = app.browser();
        other.get("/login").await.expect(200);
        becomes(&other, "waiting").await;
    }
}

#[tokio::test]
async fn no_mail_is_promised_that_will_not_come() {
    let service = MailService::start().await;
    let app = service.app().await;
    let vars = [("TRACERA_BACKSTAGE", &*service.url)];
    chromium::run_with("mail_troubles", &app, &vars).await;
}
