//! The example application, tested over HTTP.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[path = "../examples/web.rs"]
#[expect(dead_code, reason = "its main is for whoever runs the example")]
mod web;

const ADA: &str = r#"{"name":"ada","password":"correct horse"}"#;

/// A browser: the server's address and a jar of cookies.
struct Browser {
    server: SocketAddr,
    jar: Vec<(String, String)>,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Browser {
    fn at(server: SocketAddr) -> Self {
        Self { server, jar: Vec::new() }
    }

    async fn ask(&mut self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let cookies: Vec<_> =
            self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nUser-Agent: \
             Firefox/150\r\nCookie: {}\r\nContent-Type: application/json\r\nContent-Length: \
             {}\r\n{headers}\r\n{body}",
            cookies.join("; "),
            body.len(),
        );
        let mut stream = TcpStream::connect(self.server).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        self.keep_cookies(head);
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    fn keep_cookies(&mut self, head: &str) {
        for line in head.lines().filter(|line| line.to_lowercase().starts_with("set-cookie: ")) {
            let cookie = &line["set-cookie: ".len()..];
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.jar.retain(|(kept, _)| kept != name);
            if !cookie.contains("Max-Age=0") {
                self.jar.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    async fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, "", "").await
    }

    async fn token(&mut self) -> String {
        self.get("/csrf").await.body.split('"').nth(3).unwrap().to_owned()
    }

    /// Sends the CSRF token, as a page of the application would.
    async fn act(&mut self, method: &str, path: &str, body: &str) -> u16 {
        let token = self.token().await;
        let headers = format!("X-CSRF-Token: {token}\r\nOrigin: http://localhost:3000\r\n");
        self.ask(method, path, &headers, body).await.status
    }

    async fn handles(&mut self) -> Vec<(String, bool)> {
        let listed: serde_json::Value =
            serde_json::from_str(&self.get("/sessions").await.body).unwrap();
        let one = |session: &serde_json::Value| {
            assert_eq!(
                (&session["client"], &session["address"]),
                (&"Firefox".into(), &"127.0.0.1".into())
            );
            (session["handle"].as_str().unwrap().to_owned(), session["current"].as_bool().unwrap())
        };
        listed.as_array().unwrap().iter().map(one).collect()
    }
}

async fn serve() -> SocketAddr {
    let app = web::app("http://localhost:3000", &[7; 32]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
            .await
            .unwrap();
    });
    address
}

#[tokio::test]
async fn the_example_signs_in_lists_ends_and_signs_out() {
    let server = serve().await;
    let (mut desk, mut phone) = (Browser::at(server), Browser::at(server));
    assert_eq!(desk.get("/me").await.status, 401);
    assert_eq!(desk.act("POST", "/auth/sign-in", &ADA.replace("horse", "mule")).await, 403);
    assert_eq!(desk.act("POST", "/auth/sign-in", ADA).await, 204);
    assert_eq!(desk.get("/me").await.body, "ada");
    assert_eq!(phone.act("POST", "/auth/sign-in", ADA).await, 204);

    let listed = desk.handles().await;
    assert_eq!(listed.len(), 2);
    let (others, _) = listed.iter().find(|(_, current)| !current).unwrap();
    assert_eq!(desk.act("DELETE", &format!("/sessions/{others}"), "").await, 204);
    assert_eq!(desk.act("DELETE", &format!("/sessions/{others}"), "").await, 404);
    assert_eq!(desk.act("DELETE", "/sessions/nonsense", "").await, 400);
    assert_eq!(phone.get("/me").await.status, 401);

    assert_eq!(phone.act("POST", "/auth/sign-in", ADA).await, 204);
    assert_eq!(desk.act("DELETE", "/sessions", "").await, 204);
    assert_eq!(phone.get("/me").await.status, 401);
    assert_eq!(desk.act("POST", "/auth/sign-out", "").await, 204);
    assert_eq!(desk.get("/me").await.status, 401);
}

#[tokio::test]
async fn the_example_refuses_what_a_stranger_can_send() {
    let server = serve().await;
    let mut browser = Browser::at(server);
    assert_eq!(browser.ask("POST", "/auth/sign-in", "", ADA).await.status, 403, "without a token");
    let of_visitor = browser.token().await;
    let elsewhere = format!("X-CSRF-Token: {of_visitor}\r\nOrigin: https://evil.example\r\n");
    assert_eq!(browser.ask("POST", "/auth/sign-in", &elsewhere, ADA).await.status, 403);
    assert_eq!(browser.act("POST", "/auth/sign-in", ADA).await, 204);
    let of_before = format!("X-CSRF-Token: {of_visitor}\r\n");
    assert_eq!(
        browser.ask("POST", "/auth/sign-out", &of_before, "").await.status,
        403,
        "a visitor's token"
    );
    assert_eq!(Browser::at(server).ask("POST", "/auth/sign-out", &of_before, "").await.status, 401);

    let mut refused = browser.get("/auth/nothing").await;
    for _ in 0..20 {
        assert!(refused.head.contains("x-frame-options: deny"), "{}", refused.head);
        refused = browser.get("/auth/nothing").await;
    }
    assert_eq!(refused.status, 429);
    assert!(
        refused.head.contains("retry-after: ") && refused.head.contains("x-frame-options: deny")
    );
    assert_eq!(browser.get("/me").await.status, 200, "the rest is not limited");
}

#[tokio::test]
async fn a_visitor_who_begins_to_store_something_keeps_the_token() {
    let mut visitor = Browser::at(serve().await);
    let token = format!("X-CSRF-Token: {}\r\n", visitor.token().await);
    let cookies = visitor.jar.len();
    assert_eq!(visitor.ask("PUT", "/theme", &token, r#""dark""#).await.status, 204);
    assert_eq!(visitor.jar.len(), cookies + 1, "the visit has a session");
    assert_eq!(visitor.ask("PUT", "/theme", &token, r#""light""#).await.status, 204);
    assert_eq!(visitor.ask("POST", "/auth/sign-in", &token, ADA).await.status, 204);
    assert_eq!(
        visitor.ask("PUT", "/theme", &token, r#""dark""#).await.status,
        403,
        "signed in since"
    );
    assert_eq!(visitor.act("PUT", "/theme", r#""dark""#).await, 204);
}
