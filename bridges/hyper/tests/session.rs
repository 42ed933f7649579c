//! Tests a sign-in over a real connection, and the next request.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tracera_session::{EmbeddedStore, KeyRing, SessionConfig, Sessions};

async fn get(address: std::net::SocketAddr, path: &str, cookie: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncookie: {cookie}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_browser_signs_in_and_is_known_afterwards() {
    let config = SessionConfig::default().secure(false);
    let sessions = Sessions::new(EmbeddedStore::in_memory().unwrap(), KeyRing::generate(), config);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(bridge_hyper::serve(listener, sessions));

    let nobody = get(address, "/me", "").await;
    assert!(nobody.starts_with("HTTP/1.1 401"), "{nobody}");
    let signed_in = get(address, "/in", "").await;
    let (_, cookie) = signed_in.split_once("set-cookie: ").expect(&signed_in);
    let (cookie, _) = cookie.split_once(';').unwrap();
    let known = get(address, "/me", cookie).await;
    assert!(known.starts_with("HTTP/1.1 200") && known.ends_with("\r\n\r\n42"), "{known}");
}
