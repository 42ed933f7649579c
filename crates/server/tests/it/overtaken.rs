//! Sign-ins and links in progress while their precondition is removed.

use axum::Router;
use axum::extract::State;
use axum::routing::{MethodRouter, get};
use http::StatusCode;
use serde_json::{Value, json};
use tracera::actions::sign_in::{SignInMethod, sign_in};
use tracera::auth::client::{Client, ClientInfo};
use tracera::auth::magic_link::{Credential, Secret};
use tracera::clock::utc;
use tracera::domain::email::Email;
use tracera::domain::provider::{Identity, Provider};
use tracera::http::App;
use tracera::http::error::AppResult;
use tracera::store::magic_links::ClaimedLink;
use tracera::store::users::User;
use tracera::store::{identities, users};
use tracera_session::{Session, UserId};

use crate::browser::Browser;
use crate::fake_providers::FakeProviders;
use crate::harness::{TestApp, eventually, listen};

struct Stage {
    app: TestApp,
    fake_providers: FakeProviders,
    /// Signed in as a@example.com.
    owner: Browser,
    user: UserId,
}

fn octocat() -> Value {
    json!({ "id": 1, "emails": [{ "email": "x@example.com", "primary": true, "verified": true }] })
}

impl Stage {
    async fn new() -> Self {
        let fake_providers = FakeProviders::start().await;
        let vars = fake_providers.vars();
        let vars: Vec<_> = vars.iter().map(|(name, value)| (&**name, &**value)).collect();
        let app = TestApp::embedded_with(&vars).await;
        let owner = app.signed_in("a@example.com").await;
        let user =
            UserId::new(account(&app.instances[0].app).await.unwrap().id.as_bytes()).unwrap();
        Self { app, fake_providers, owner, user }
    }

    /// Starts linking GitHub. Returns the callback URL.
    async fn begin_link(&self) -> String {
        let begun = self
            .owner
            .post("/api/v1/auth/providers/github/link", &json!({}))
            .await
            .expect(200)
            .json();
        self.fake_providers.agree(begun["redirect_to"].as_str().unwrap(), octocat())
    }

    async fn github_is_asked(&self, path: &str, before: usize) {
        eventually(async || (self.fake_providers.calls(path) > before).then_some(())).await;
    }

    /// Returns from GitHub, and signs out everywhere between GitHub's response and the following
    /// write.
    async fn overtake(&self, browser: &Browser, callback: &str) -> String {
        let before = self.fake_providers.calls("/login/oauth/access_token");
        let answers = self.fake_providers.hold_github_token();
        let sign_out_everywhere = async {
            self.github_is_asked("/login/oauth/access_token", before).await;
            let lock = self.app.lock_database().await;
            let before = self.fake_providers.calls("/api/user/emails");
            answers.add_permits(1);
            self.github_is_asked("/api/user/emails", before).await;
            self.app.writers_wait(1).await;
            self.app.instances[0].app.sessions.revoke_all(&self.user).await.unwrap();
            lock.rollback().await.unwrap();
        };
        let (landed, ()) = tokio::join!(browser.get(callback), sign_out_everywhere);
        landed.header("location").to_owned()
    }
}

async fn account(app: &App) -> Option<User> {
    users::find_by_email(&app.database, &Email::parse("a@example.com").unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_link_whose_session_ends_while_it_is_written_is_taken_back() {
    let stage = Stage::new().await;
    let callback = stage.begin_link().await;
    assert_eq!(stage.overtake(&stage.owner, &callback).await, "/login?error=session_changed");
    let app = &stage.app.instances[0].app;
    let user = account(app).await.unwrap();
    assert_eq!(identities::of_user(&app.database, user.id).await.unwrap(), []);
}

#[tokio::test]
async fn signing_out_everywhere_ends_a_sign_in_under_way() {
    let stage = Stage::new().await;
    let callback = stage.begin_link().await;
    assert_eq!(stage.owner.get(&callback).await.header("location"), "/");
    let browser = stage.app.browser();
    let begun = browser.get("/api/v1/auth/github").await.expect(303);
    let callback = stage.fake_providers.agree(begun.header("location"), octocat());
    assert_eq!(stage.overtake(&browser, &callback).await, "/login?error=session_changed");
    assert_eq!(browser.me().await, None);
}

/// Paths from the URL table with other handlers: any other path would be refused earlier.
const BY_IDENTITY: &str = "/api/v1/auth/methods";
const BY_MAILBOX: &str = "/api/v1/auth/me";
const BY_OWN_MAILBOX: &str = "/api/v1/auth/github";

/// Signs in to the account of a@example.com by a credential that was valid a moment ago.
async fn by(
    method: SignInMethod<'_>,
    app: &App,
    session: &Session,
    visit: &ClientInfo,
) -> AppResult<()> {
    let user = account(app).await.unwrap();
    sign_in(&app.accounts(), session, user, method, visit).await?;
    Ok(())
}

fn credential(token: &str) -> Credential {
    Credential {
        secret: Secret::Token(token.to_owned()),
        browser: b"a browser".to_vec(),
        transaction: None,
    }
}

async fn claimed(app: &TestApp, email: &str) -> ClaimedLink {
    claim(app, &app.link_token(&app.browser(), email).await).await
}

async fn claim(app: &TestApp, token: &str) -> ClaimedLink {
    let links = app.instances[0].app.magic_links.as_ref().unwrap();
    let ip = [127, 0, 0, 1].into();
    let visit = ClientInfo { client: Client::default(), ip, device_token: None };
    links.claim(&credential(token), &visit, utc(app.clock.now())).await.unwrap()
}

fn by_link(link: ClaimedLink) -> MethodRouter<App> {
    get(move |State(app): State<App>, session: Session, visit: ClientInfo| {
        let link = link.clone();
        async move { by(SignInMethod::Mailbox(&link), &app, &session, &visit).await }
    })
}

#[tokio::test]
async fn what_does_not_lead_to_the_account_any_more_signs_nobody_in() {
    let app = TestApp::embedded().await;
    let owner = app.signed_in("a@example.com").await;
    let identity = async |State(app): State<App>, session: Session, visit: ClientInfo| {
        let issuer = "https://github.com".to_owned();
        let unlinked = Identity { provider: Provider::Github, issuer, subject: "1".to_owned() };
        by(SignInMethod::Identity(&unlinked), &app, &session, &visit).await
    };
    let routes = Router::new()
        .route(BY_IDENTITY, get(identity))
        .route(BY_MAILBOX, by_link(claimed(&app, "former@example.com").await))
        .route(BY_OWN_MAILBOX, by_link(claimed(&app, "a@example.com").await));
    let (addr, _stop) = listen(tracera::router::layered(&app.instances[0].app, routes)).await;
    for path in [BY_IDENTITY, BY_MAILBOX] {
        let answer = Browser::new(addr).get(path).await.expect_error(409, "sign_in_superseded");
        assert_eq!(answer.set_cookie("session"), None, "{path}");
    }
    let sessions = owner.get("/api/v1/auth/sessions").await.json();
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 1, "{sessions}");
    assert_eq!(Browser::new(addr).get(BY_OWN_MAILBOX).await.status, StatusCode::OK.as_u16());
    owner.delete("/api/v1/auth/sessions").await.expect(204);
    Browser::new(addr).get(BY_OWN_MAILBOX).await.expect_error(409, "sign_in_superseded");
}

#[tokio::test]
async fn a_link_that_is_being_redeemed_ends_when_its_owner_signs_out_everywhere() {
    let app = TestApp::embedded().await;
    let owner = app.signed_in("a@example.com").await;
    let thief = app.browser();
    let token = app.link_token(&thief, "a@example.com").await;
    let claimed = claim(&app, &token).await;
    let links = app.instances[0].app.magic_links.as_ref().unwrap();
    owner.delete("/api/v1/auth/sessions").await.expect(204);
    links.release(&claimed).await;
    thief.redeem(&token).await.expect_error(400, "link_invalid");
}
