//! Tests a sign-in and the next request.

use http::header::{COOKIE, SET_COOKIE};
use poem::test::TestClient;
use tracera_session::{EmbeddedStore, KeyRing, SessionConfig, Sessions};

#[tokio::test]
async fn a_browser_signs_in_and_is_known_afterwards() {
    let config = SessionConfig::default().secure(false);
    let sessions = Sessions::new(EmbeddedStore::in_memory().unwrap(), KeyRing::generate(), config);
    let client = TestClient::new(bridge_poem::app(sessions.clone()));
    let get = async |path: &str, cookie: &str| client.get(path).header(COOKIE, cookie).send().await;
    get("/me", "").await.assert_status(http::StatusCode::UNAUTHORIZED);
    let signed_in = get("/in", "").await;
    signed_in.assert_status_is_ok();
    let cookie = signed_in.0.headers()[SET_COOKIE].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap();
    get("/me", cookie).await.assert_text("42").await;
    sessions.revoke_all(&42.into()).await.unwrap();
    get("/me", cookie).await.assert_status(http::StatusCode::UNAUTHORIZED);
}
