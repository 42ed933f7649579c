//! Clients that close the connection while their request changes the account.

use reqwest::Method;
use serde_json::{Value, json};
use tracera::clock::utc;
use tracera::domain::email::Email;
use tracera::store::{events, users};

use crate::browser::{Browser, OpenRequest};
use crate::fake_providers::FakeProviders;
use crate::harness::{TestApp, eventually, token_of};

struct Stage {
    app: TestApp,
    fake_providers: FakeProviders,
    requests: Vec<OpenRequest>,
}

impl Stage {
    async fn new() -> Self {
        let fake_providers = FakeProviders::start().await;
        let vars = fake_providers.vars();
        let vars: Vec<_> = vars.iter().map(|(name, value)| (&**name, &**value)).collect();
        Self { app: TestApp::embedded_with(&vars).await, fake_providers, requests: Vec::new() }
    }

    /// A signed-in user with a second session and GitHub linked.
    async fn user(&self, email: &str, github: u32) -> Browser {
        self.app.signed_in(email).await;
        let browser = self.app.signed_in(email).await;
        let begun =
            browser.post("/api/v1/auth/providers/github/link", &json!({})).await.expect(200).json();
        let emails = json!([{ "email": "x@example.com", "primary": true, "verified": true }]);
        let person = json!({ "id": github, "emails": emails });
        let callback = self.fake_providers.agree(begun["redirect_to"].as_str().unwrap(), person);
        assert_eq!(browser.get(&callback).await.header("location"), "/");
        browser
    }

    async fn send(
        &mut self,
        browser: &Browser,
        token: String,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) {
        let headers = [("x-csrf-token", &*token)];
        self.requests.push(browser.begin(method, path, &headers, body.as_ref()).await);
    }

    async fn hang_up(&mut self) {
        self.app.writers_wait(self.requests.len()).await;
        for request in self.requests.drain(..) {
            request.hang_up().await;
        }
    }

    async fn is_recorded(&self, email: &str, kind: &str) {
        let app = &self.app.instances[0].app;
        let email = Email::parse(email).unwrap();
        let user = users::find_by_email(&app.database, &email).await.unwrap().unwrap().id;
        eventually(|| async {
            let now = utc(self.app.clock.now());
            let events = events::list(&app.database, user, None, 20, now).await.unwrap();
            events.iter().any(|event| event.kind == kind).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn the_owner_learns_of_a_change_although_nobody_waits_for_its_answer() {
    let mut stage = Stage::new().await;
    let changer = stage.user("changer@example.com", 1).await;
    changer.post("/api/v1/auth/email", &json!({ "email": "new@example.com" })).await.expect(200);
    let link = stage.app.notice_to("new@example.com", "Confirm your address").await.link;
    let unlinker = stage.user("unlinker@example.com", 2).await;
    let (changing, unlinking) = (changer.csrf().await, unlinker.csrf().await);

    let lock = stage.app.lock_database().await;
    let confirmation = Some(json!({ "token": token_of(&link) }));
    stage.send(&changer, changing, Method::POST, "/api/v1/auth/email/confirm", confirmation).await;
    stage.send(&unlinker, unlinking, Method::DELETE, "/api/v1/auth/providers/github", None).await;
    stage.hang_up().await;
    lock.rollback().await.unwrap();

    stage.app.notice_to("changer@example.com", "was changed").await;
    stage.app.notice_to("unlinker@example.com", "was unlinked").await;
    stage.is_recorded("new@example.com", "email_changed").await;
    stage.is_recorded("unlinker@example.com", "unlinked").await;
}

#[tokio::test]
async fn the_end_of_sessions_is_recorded_although_nobody_waits_for_its_answer() {
    let mut stage = Stage::new().await;
    let (api, page) =
        (stage.user("api@example.com", 1).await, stage.user("page@example.com", 2).await);
    let (others, leaver) =
        (stage.user("others@example.com", 3).await, stage.user("leaver@example.com", 4).await);
    let other_session = async |browser: &Browser| {
        let sessions = browser.get("/api/v1/auth/sessions").await.json();
        let sessions = sessions["sessions"].as_array().unwrap().clone();
        let other = sessions.iter().find(|session| session["current"] == false).unwrap();
        other["handle"].as_str().unwrap().to_owned()
    };
    let path = format!("/api/v1/auth/sessions/{}", other_session(&api).await);
    let handle = other_session(&page).await;
    let form_token = page.form_token("/account").await;
    let (ending, leaving, revoking) = (others.csrf().await, leaver.csrf().await, api.csrf().await);

    let lock = stage.app.lock_database().await;
    stage.send(&api, revoking, Method::DELETE, &path, None).await;
    stage.send(&others, ending, Method::DELETE, "/api/v1/auth/sessions", None).await;
    stage.send(&leaver, leaving, Method::POST, "/api/v1/auth/logout", None).await;
    let fields = [("csrf_token", &*form_token), ("handle", &*handle)];
    stage.requests.push(page.begin_form("/account/sessions/revoke", &fields).await);
    stage.hang_up().await;
    lock.rollback().await.unwrap();

    for email in ["api@example.com", "page@example.com"] {
        stage.is_recorded(email, "session_revoked").await;
    }
    stage.is_recorded("others@example.com", "other_sessions_revoked").await;
    stage.is_recorded("leaver@example.com", "signed_out").await;
}

#[tokio::test]
async fn a_deletion_is_asked_for_to_the_end_although_nobody_waits_for_it() {
    let mut stage = Stage::new().await;
    let browser = stage.user("a@example.com", 1).await;
    let token = browser.form_token("/account").await;
    let lock = stage.app.lock_database().await;
    let fields = [("csrf_token", &*token), ("confirmation", "delete my account")];
    stage.requests.push(browser.begin_form("/account/delete", &fields).await);
    stage.hang_up().await;
    lock.rollback().await.unwrap();
    eventually(|| async { browser.me().await.is_none().then_some(()) }).await;
    let app = &stage.app.instances[0].app;
    let email = Email::parse("a@example.com").unwrap();
    let user = users::find_by_email(&app.database, &email).await.unwrap().unwrap();
    assert!(user.delete_at.is_some(), "it is asked for, and its sessions have ended");
}
