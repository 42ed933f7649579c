//! The rate limit as clients see it.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::connect_info::MockConnectInfo;
use axum::response::IntoResponse;
use axum::routing::get;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use tower::{ServiceBuilder, ServiceExt};
use tower_http::trace::TraceLayer;
use tracera_guard::{
    ClientLimit, RateLimit, RateLimitRejection, RateLimiter, TrustedProxies, path_is_under,
};

const AUTH: RateLimit = RateLimit::new("auth", 20, Duration::from_secs(60));

fn is_limited(request: &Request<Body>) -> bool {
    path_is_under(request.uri().path(), "/api/v1/auth/")
}

/// An app with a limited and an unlimited part, as seen by the peer at `addr`. `reached` counts the
/// calls of its handlers.
struct App {
    limiter: RateLimiter,
    reached: Arc<AtomicUsize>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        Some(self.headers.get(name)?.to_str().unwrap())
    }
}

impl App {
    fn new(limiter: RateLimiter) -> Self {
        Self { limiter, reached: Arc::default() }
    }

    fn reached(&self) -> usize {
        self.reached.load(Ordering::SeqCst)
    }

    async fn get(&self, addr: &str, path: &str) -> Answer {
        self.send(addr, Request::get(path)).await
    }

    async fn send(&self, addr: &str, request: http::request::Builder) -> Answer {
        let limit = ClientLimit::new(self.limiter.clone()).only(is_limited);
        let reached = Arc::clone(&self.reached);
        let handler = async move || {
            reached.fetch_add(1, Ordering::SeqCst);
            "reached"
        };
        let router = Router::new()
            .route("/api/v1/auth/me", get(handler.clone()))
            .route("/free", get(handler))
            .layer(limit)
            .layer(TrustedProxies::default())
            .layer(MockConnectInfo(addr.parse::<SocketAddr>().unwrap()));
        let response = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }
}

#[tokio::test]
async fn the_twenty_first_request_is_told_when_to_come_back() {
    let app = App::new(RateLimiter::in_memory(AUTH));
    for n in 1..=20 {
        let answer = app.get("203.0.113.9:1", "/api/v1/auth/me").await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "reached"));
        assert_eq!(answer.header("ratelimit-policy"), Some(r#""auth";q=20;w=60"#));
        let (state, t) = answer.header("ratelimit").unwrap().split_once(";t=").unwrap();
        assert_eq!(state, format!(r#""auth";r={}"#, 20 - n));
        assert!((1..=60).contains(&t.parse::<u32>().unwrap()), "{t}");
        assert_eq!(answer.header("retry-after"), None);
    }

    let refused = app.get("203.0.113.9:2", "/api/v1/auth/me").await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(app.reached(), 20);
    assert_eq!(refused.header("content-type"), Some("application/json"));
    assert_eq!(refused.header("cache-control"), Some("no-store"));
    assert_eq!(
        refused.body,
        r#"{"error":"too many requests, please wait a moment and try again","code":"rate_limited"}"#
    );
    assert_eq!(refused.header("ratelimit-policy"), Some(r#""auth";q=20;w=60"#));
    let (state, t) = refused.header("ratelimit").unwrap().split_once(";t=").unwrap();
    assert_eq!(state, r#""auth";r=0"#);
    let retry_after: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!(retry_after >= t.parse().unwrap() && retry_after <= 61, "{retry_after} {t}");

    let other = app.get("203.0.113.10:1", "/api/v1/auth/me").await;
    assert_eq!(other.status, StatusCode::OK);
}

#[tokio::test]
async fn neither_spelling_method_nor_spoofed_headers_dodge_the_limit() {
    let app = App::new(RateLimiter::in_memory(AUTH));
    for _ in 0..20 {
        app.get("203.0.113.9:1", "/api/v1/auth/me").await;
    }
    for path in [
        "/api/v1/auth/me/",
        "/api/v1/auth/me?x=1",
        "/api/v1//auth/me",
        "/api/v1/%61uth/me",
        "/api/v1/auth%2fme",
        "/API/v1/auth/me",
        "/api/v1/./auth/me",
        "/api/v1/auth;x/me",
        "/api/v1/auth/nothing-here",
        "/api/v1/auth",
    ] {
        let answer = app.get("203.0.113.9:1", path).await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{path}");
    }
    for method in ["HEAD", "POST", "OPTIONS", "DELETE", "BREW"] {
        let request = Request::builder().method(method).uri("/api/v1/auth/me");
        let answer = app.send("203.0.113.9:1", request).await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{method}");
    }
    for (name, value) in [
        ("x-forwarded-for", "1.2.3.4"),
        ("forwarded", "for=1.2.3.4"),
        ("x-real-ip", "1.2.3.4"),
        ("true-client-ip", "1.2.3.4"),
        ("cf-connecting-ip", "1.2.3.4"),
    ] {
        let request = Request::get("/api/v1/auth/me").header(name, value);
        let answer = app.send("203.0.113.9:1", request).await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{name}");
    }
    assert_eq!(app.reached(), 20);
}

#[tokio::test]
async fn other_paths_are_neither_limited_nor_marked() {
    let app = App::new(RateLimiter::in_memory(AUTH));
    for _ in 0..30 {
        let answer = app.get("203.0.113.9:1", "/free").await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("ratelimit"), None);
    }
}

#[tokio::test]
async fn a_64_of_ipv6_and_a_mapped_ipv4_address_count_as_one() {
    let app = App::new(RateLimiter::in_memory(AUTH));
    for n in 0..30 {
        let answer = app.get(&format!("[2001:db8::{n:x}]:1"), "/api/v1/auth/me").await;
        assert_eq!(answer.status == StatusCode::OK, n < 20, "{n}");
        let v4 = if n % 2 == 0 { "203.0.113.9:1" } else { "[::ffff:203.0.113.9]:1" };
        let answer = app.get(v4, "/api/v1/auth/me").await;
        assert_eq!(answer.status == StatusCode::OK, n < 20, "{n}");
    }
    let other = app.get("[2001:db8:0:1::1]:1", "/api/v1/auth/me").await;
    assert_eq!(other.status, StatusCode::OK);
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn without_its_store_a_limited_route_is_closed_and_others_are_not() {
    let server = tracera_testkit::RedisServer::start().await;
    let client = redis::Client::open(server.url()).unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    let app = App::new(RateLimiter::redis(AUTH, connection));
    assert_eq!(app.get("203.0.113.9:1", "/api/v1/auth/me").await.status, StatusCode::OK);

    server.kill();
    let answer = app.get("203.0.113.9:1", "/api/v1/auth/me").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(answer.body.contains(r#""code":"unavailable""#), "{}", answer.body);
    assert_eq!(app.reached(), 1);
    assert_eq!(app.get("203.0.113.9:1", "/free").await.status, StatusCode::OK);
}

#[tokio::test]
async fn without_the_address_of_its_client_a_limited_route_is_closed_and_others_are_not() {
    let limit = ClientLimit::new(RateLimiter::in_memory(AUTH)).only(is_limited);
    let router = Router::new()
        .route("/api/v1/auth/me", get(async || ()))
        .route("/free", get(async || ()))
        .layer(limit);
    for (path, status) in [("/api/v1/auth/me", 500), ("/free", 200)] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body = std::str::from_utf8(&body).unwrap();
        let says_why = cfg!(debug_assertions) && status == 500;
        assert_eq!(body.contains("add the layer TrustedProxies"), says_why, "{path}: {body}");
    }
}

#[tokio::test]
async fn changing_addresses_within_a_network_buys_ten_or_fifty_times_the_rate() {
    let limiter = RateLimiter::in_memory(RateLimit::new("all", 1, Duration::from_secs(60)));
    let limit = ClientLimit::new(limiter).wide(10, 50);
    let router = Router::new().route("/", get(async || ())).layer(limit);
    let ask = async |addr: String| {
        let peer = MockConnectInfo(addr.parse::<SocketAddr>().unwrap());
        let router = router.clone().layer(TrustedProxies::default()).layer(peer);
        let request = Request::get("/").body(Body::empty()).unwrap();
        router.oneshot(request).await.unwrap().status() == StatusCode::OK
    };
    for n in 0..30 {
        assert_eq!(ask(format!("203.0.113.{n}:1")).await, n < 10, "IPv4 {n}");
    }
    assert!(ask("203.0.114.1:1".to_owned()).await, "the next /24");
    let mut admitted = 0;
    for of_48 in 0..16 {
        for of_56 in 0..16 {
            admitted += i32::from(ask(format!("[2001:db8:1:{of_48:x}{of_56:02x}::1]:1")).await);
        }
        assert_eq!(admitted, ((of_48 + 1) * 10).min(50), "IPv6 /56 {of_48}");
    }
    assert!(ask("[2001:db8:2::1]:1".to_owned()).await, "the next /48");
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn wider_networks_cost_no_further_round_trip_and_lie_in_one_slot() {
    let server = tracera_testkit::RedisServer::start().await;
    let client = redis::Client::open(server.url()).unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    let limit = ClientLimit::new(RateLimiter::redis(AUTH, connection)).wide(10, 50);
    let app = |addr: &str| {
        let peer = MockConnectInfo(addr.parse::<SocketAddr>().unwrap());
        let router = Router::new().route("/", get(async || ())).layer(limit.clone());
        router.layer(TrustedProxies::default()).layer(peer)
    };
    let request = || Request::get("/").body(Body::empty()).unwrap();
    for (addr, tag, mut keys) in [
        ("203.0.113.9:1", "{203.0.113.0/24}", vec!["", "203.0.113.9"]),
        (
            "[2001:db8:1:2ff::9]:1",
            "{2001:db8:1::/48}",
            vec!["", "2001:db8:1:200::/56", "2001:db8:1:2ff::/64"],
        ),
    ] {
        server.cli(&["FLUSHALL"]).await;
        assert_eq!(app(addr).oneshot(request()).await.unwrap().status(), 200);
        let before = server.command_calls("evalsha").await;
        assert_eq!(app(addr).oneshot(request()).await.unwrap().status(), 200);
        assert_eq!(server.command_calls("evalsha").await, before + 1, "one call");
        let found = server.cli(&["--raw", "KEYS", "*"]).await;
        let mut found: Vec<_> = found.split_whitespace().collect();
        found.sort_unstable();
        keys.sort_unstable();
        let keys: Vec<_> = keys.iter().map(|key| format!("ratelimit:auth:{tag}{key}")).collect();
        assert_eq!(found, keys);
    }
}

#[tokio::test]
async fn unless_told_otherwise_every_request_counts() {
    let limiter = RateLimiter::in_memory(RateLimit::new("all", 1, Duration::from_secs(60)));
    let router = Router::new()
        .route("/", get(async || ()))
        .layer(ClientLimit::new(limiter))
        .layer(TrustedProxies::default())
        .layer(MockConnectInfo("203.0.113.9:4711".parse::<SocketAddr>().unwrap()));
    for (path, status) in [("/", 200), ("/nothing", 429)] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        assert_eq!(router.clone().oneshot(request).await.unwrap().status(), status, "{path}");
    }
}

#[tokio::test]
async fn a_refusal_is_answered_as_the_application_says() {
    let limiter = RateLimiter::in_memory(RateLimit::new("all", 1, Duration::from_secs(60)));
    let limit = ClientLimit::new(limiter).on_rejection(|rejection, parts| {
        assert!(matches!(rejection, RateLimitRejection::Limited(_)));
        (StatusCode::IM_A_TEAPOT, parts.uri.path().to_owned()).into_response()
    });
    let router = Router::new()
        .layer(limit)
        .layer(TrustedProxies::default())
        .layer(MockConnectInfo("203.0.113.9:4711".parse::<SocketAddr>().unwrap()));
    for (status, text) in [(404, ""), (418, "/tea")] {
        let request = Request::get("/tea").body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, text);
    }
}

#[tokio::test]
async fn the_layers_below_may_answer_with_bodies_of_their_own() {
    let limiter = RateLimiter::in_memory(RateLimit::new("all", 1, Duration::from_secs(60)));
    let layers = ServiceBuilder::new()
        .layer(MockConnectInfo("203.0.113.9:4711".parse::<SocketAddr>().unwrap()))
        .layer(TrustedProxies::default())
        .layer(ClientLimit::new(limiter))
        .layer(TraceLayer::new_for_http());
    let router = Router::new().route("/", get(async || "reached")).layer(layers);
    for (status, text) in [(200, "reached"), (429, "rate_limited")] {
        let request = Request::get("/").body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(str::from_utf8(&body).unwrap().contains(text));
    }
}
