//! Sessions bound to a device, in a browser that binds them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use serde_json::json;
use tracera::domain::email::Email;
use tracera::store::users;
use tracera_session::UserId;
use tracera_testkit::{Certificate, free_port};

use crate::chromium;
use crate::fake_providers::FakeProviders;
use crate::harness::TestApp;
use crate::portfolio::upstream::serve;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_proves_its_device_and_a_copied_cookie_opens_nothing() {
    let fake_providers = Arc::new(FakeProviders::start().await);
    let base_url = format!("https://tracera.localhost:{}", free_port());
    let mut vars = fake_providers.vars();
    vars.push(("BASE_URL".to_owned(), base_url));
    let vars: Vec<_> = vars.iter().map(|(name, value)| (&**name, &**value)).collect();
    let app = Arc::new(TestApp::start_with(&vars).await);

    let later = {
        let clock = app.clock.clone();
        post(async move || clock.advance(Duration::from_secs(10)))
    };
    let agree = post(async move |location: String| {
        let emails = json!([{ "email": "dan@example.com", "primary": true, "verified": true }]);
        fake_providers.agree(&location, json!({ "id": 1, "emails": emails }))
    });
    let sign_out = {
        let app = Arc::clone(&app);
        post(async move |email: String| {
            let app = &app.instances[0].app;
            let email = Email::parse(&email).unwrap();
            let user = users::find_by_email(&app.database, &email).await.unwrap().unwrap();
            let user = UserId::new(user.id.as_bytes()).unwrap();
            app.sessions.revoke_all(&user).await.unwrap();
        })
    };
    let (away, back) = (Arc::clone(&app), Arc::clone(&app));
    let routes = Router::new()
        .route("/later", later)
        .route("/agree", agree)
        .route("/sign-out-everywhere", sign_out)
        .route("/redis/away", post(async move || away.redis().freeze().await))
        .route("/redis/back", post(async move || back.redis().thaw()));
    let backstage = serve(routes).await;

    let certificate = Certificate::create().await;
    let backend = format!("http://{}", app.instances[0].addr);
    // The mailbox answers to no other name than this machine's.
    let mailbox = format!("{backend}{}", app.mailbox_path().unwrap());
    let vars = [
        ("TRACERA_MAILBOX", &*mailbox),
        ("TRACERA_BACKSTAGE", &*backstage),
        ("TRACERA_BACKEND", &*backend),
        ("TRACERA_CERTIFICATE", certificate.chain().to_str().unwrap()),
        ("TRACERA_KEY", certificate.key().to_str().unwrap()),
    ];
    chromium::run_with("device", &app, &vars).await;
}
