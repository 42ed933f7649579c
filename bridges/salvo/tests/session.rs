//! Tests a sign-in and the next request.

use http::header::{COOKIE, SET_COOKIE};
use salvo::Service;
use salvo::test::{ResponseExt, TestClient};
use tracera_session::{EmbeddedStore, KeyRing, SessionConfig, Sessions};

#[tokio::test]
async fn a_browser_signs_in_and_is_known_afterwards() {
    let config = SessionConfig::default().secure(false);
    let sessions = Sessions::new(EmbeddedStore::in_memory().unwrap(), KeyRing::generate(), config);
    let service = Service::new(bridge_salvo::app(sessions.clone()));
    let get = async |path: &str, cookie: &str| {
        let url = format!("http://localhost{path}");
        TestClient::get(url).add_header(COOKIE, cookie, true).send(&service).await
    };
    assert_eq!(get("/me", "").await.status_code.unwrap(), 401);
    let signed_in = get("/in", "").await;
    let cookie = signed_in.headers()[SET_COOKIE].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap();
    assert_eq!(get("/me", cookie).await.take_string().await.unwrap(), "42");
    sessions.revoke_all(&42.into()).await.unwrap();
    assert_eq!(get("/me", cookie).await.status_code.unwrap(), 401);
}
