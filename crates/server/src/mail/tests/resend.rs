use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::any;
use http::{HeaderMap, StatusCode, header};
use serde_json::Value;

use super::{LONG, Log, Parts, quick, resend_at, send_one, send_one_within, take_in};
use crate::mail::delivery::Limits;
use crate::mail::{Mailer, SignInMail};

/// A request to the fake service: path, headers, body.
type Request = (String, HeaderMap, Value);
type Reply = (StatusCode, Option<(&'static str, &'static str)>);
type Script = (Arc<Mutex<Vec<Request>>>, Vec<Reply>);

/// A fake Resend: returns each of `replies` in turn, then 200. Like Resend, it refuses requests
/// without a key.
struct Double {
    url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Double {
    async fn start(replies: &[Reply]) -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let state = (Arc::clone(&requests), replies.to_vec());
        let app = Router::new().fallback(any(answer)).with_state(state);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, requests }
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

async fn answer(
    State((requests, replies)): State<Script>,
    uri: http::Uri,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, HeaderMap, String) {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    if !agent.is_some_and(|agent| agent.starts_with("Tracera/")) {
        return (StatusCode::FORBIDDEN, HeaderMap::new(), String::new());
    }
    let at = {
        let mut requests = requests.lock().unwrap();
        requests.push((uri.path().to_owned(), headers, serde_json::from_str(&body).unwrap()));
        requests.len() - 1
    };
    let (status, extra) = replies.get(at).copied().unwrap_or((StatusCode::OK, None));
    let headers =
        extra.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    (
        status,
        headers.collect(),
        r#"{"name":"validation_error","message":"alice@example.com canary"}"#.to_owned(),
    )
}

#[tokio::test]
async fn a_mail_is_handed_over_whole() {
    let double = Double::start(&[]).await;
    let log = Log::capture();
    send_one(resend_at(&double.url), quick()).await;

    let requests = double.requests();
    let [(path, headers, body)] = &requests[..] else { panic!("one request: {requests:?}") };
    assert_eq!(path, "/emails");
    assert_eq!(headers[header::AUTHORIZATION], "Bearer canary-key");
    assert_eq!(body["from"], "Tracera <sign-in@tracera.example>");
    assert_eq!(body["to"], serde_json::json!(["alice@example.com"]));
    assert_eq!(body["subject"], "Sign in to Tracera");
    assert_eq!(body["headers"]["Auto-Submitted"], "auto-generated");
    assert!(body["text"].as_str().unwrap().contains("verify?token=canary-token&x=1\n"));
    assert!(body["html"].as_str().unwrap().starts_with("<!doctype html>"));
    assert!(log.text().contains("mail sent"));
}

#[tokio::test]
async fn a_mail_that_is_put_off_is_sent_later_and_counts_once() {
    for status in
        [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE, StatusCode::CONFLICT]
    {
        let double = Double::start(&[(status, Some(("retry-after", "0")))]).await;
        let log = Log::capture();
        send_one(resend_at(&double.url), quick()).await;
        let keys: Vec<_> = double
            .requests()
            .iter()
            .map(|(_, headers, _)| headers["idempotency-key"].clone())
            .collect();
        assert!(keys.len() == 2 && keys[0] == keys[1], "{status}: {keys:?}");
        assert!(log.text().contains(&format!("the mail service answered {}", status.as_u16())));
    }
}

#[tokio::test]
async fn a_wish_to_wait_is_heard_within_the_life_of_the_link() {
    let double =
        Double::start(&[(StatusCode::TOO_MANY_REQUESTS, Some(("retry-after", "86400")))]).await;
    let log = Log::capture();
    let mailer = Mailer::with(resend_at(&double.url), quick(), None);
    let parts = Parts::of("alice@example.com");
    take_in(&mailer, &SignInMail { valid_for: Duration::from_millis(300), ..parts.mail() })
        .unwrap();
    assert_eq!(mailer.shutdown(LONG).await, 0);
    assert_eq!(double.requests().len(), 1);
    assert!(
        log.text().contains("pause=60s") && log.text().contains("its link ended first"),
        "{}",
        log.text()
    );
}

#[tokio::test]
async fn a_mail_that_is_refused_is_not_tried_again() {
    for status in
        [StatusCode::UNPROCESSABLE_ENTITY, StatusCode::UNAUTHORIZED, StatusCode::BAD_REQUEST]
    {
        let double = Double::start(&[(status, None)]).await;
        let log = Log::capture();
        send_one(resend_at(&double.url), quick()).await;
        assert_eq!(double.requests().len(), 1, "{status}");
        let given_up = format!("the mail service answered {} (validation_error)", status.as_u16());
        assert!(log.text().contains("mail given up") && log.text().contains(&given_up));
    }
}

#[tokio::test]
async fn a_redirect_does_not_get_the_key() {
    let elsewhere = Double::start(&[]).await;
    let target: &'static str = format!("{}/emails", elsewhere.url).leak();
    for status in
        [StatusCode::FOUND, StatusCode::TEMPORARY_REDIRECT, StatusCode::PERMANENT_REDIRECT]
    {
        let double = Double::start(&[(status, Some(("location", target)))]).await;
        send_one(resend_at(&double.url), quick()).await;
        assert_eq!(double.requests().len(), 1, "{status}");
    }
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn a_service_that_is_silent_or_away_is_left_in_time_and_its_address_not_logged() {
    let limits = Limits { step: Duration::from_millis(50), ..quick() };
    let valid_for = Duration::from_millis(300);
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let log = Log::capture();
    let url = format!("http://{}/canary", silent.local_addr().unwrap());
    send_one_within(resend_at(&url), limits, valid_for).await;
    assert!(log.text().matches("no answer in time").count() > 1, "{}", log.text());
    drop(log);

    let log = Log::capture();
    let url = format!("http://127.0.0.1:{}/canary", tracera_testkit::free_port());
    send_one_within(resend_at(&url), quick(), valid_for).await;
    let refused = log.text().matches("tcp connect error: Connection refused").count();
    assert!(refused > 1, "{}", log.text());
}
