//! Tests a client without cookies, which receives a token and sends it back.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bridge_tonic::Text;
use http::{Request, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full};
use prost::Message;
use tonic::body::Body;
use tower::ServiceExt;
use tracera_session::{EmbeddedStore, KeyRing, SessionConfig, Sessions};

/// The text in a method's response, or its gRPC status.
async fn call(sessions: &Sessions, method: &str, token: Option<&str>) -> Result<String, String> {
    let mut request = Request::post(format!("/example.Accounts/{method}"))
        .header("content-type", "application/grpc");
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    // An empty message: not compressed, length 0.
    let body = Body::new(Full::from(vec![0; 5]));
    let response =
        bridge_tonic::app(sessions.clone()).oneshot(request.body(body).unwrap()).await.unwrap();
    if let Some(status) = response.headers().get("grpc-status") {
        return Err(status.to_str().unwrap().to_owned());
    }
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Ok(Text::decode(&body[5..]).unwrap().text)
}

#[tokio::test]
async fn a_client_signs_in_and_is_known_by_its_token() {
    let config = SessionConfig::default().token_header(AUTHORIZATION);
    let sessions = Sessions::new(EmbeddedStore::in_memory().unwrap(), KeyRing::generate(), config);
    assert_eq!(call(&sessions, "Me", None).await, Err("16".to_owned()), "unauthenticated");
    let token = call(&sessions, "SignIn", None).await.unwrap();
    assert_eq!(call(&sessions, "Me", Some(&token)).await, Ok("42".to_owned()));
    sessions.revoke_all(&42.into()).await.unwrap();
    assert_eq!(call(&sessions, "Me", Some(&token)).await, Err("16".to_owned()));
}
