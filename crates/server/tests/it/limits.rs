//! The rate limit on the authentication endpoints, and the limits on every request.

use axum::Router;
use axum::routing::get;
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::browser::Browser;
use crate::harness::{TestApp, listen};

const LIMIT: (&str, &str) = ("AUTH_RATE_LIMIT_PER_MINUTE", "20");

#[tokio::test]
async fn five_hundred_requests_over_two_instances_admit_exactly_twenty() {
    let mut app = TestApp::start_with(&[LIMIT]).await;
    let second = app.add_instance().await;
    let mut requests = JoinSet::new();
    for n in 0..500 {
        let browser = if n % 2 == 0 { app.browser() } else { app.browser().at(second) };
        requests.spawn(async move { browser.get("/api/v1/auth/methods").await });
    }
    let answers = requests.join_all().await;
    let admitted = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(admitted, 20);
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(answer.code(), "rate_limited");
        assert_eq!(answer.status, 429);
        let retry: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1..=61).contains(&retry));
        assert_eq!(answer.header("ratelimit-policy"), "\"auth\";q=20;w=60");
        assert!(answer.header("ratelimit").starts_with("\"auth\";r=0;t="));
    }
}

#[tokio::test]
async fn all_authentication_endpoints_share_one_budget_in_every_spelling() {
    let app = TestApp::start_with(&[LIMIT]).await;
    let browser = app.browser();
    let paths = [
        "/api/v1/auth/csrf",
        "/api/v1/auth/me",
        "/api/v1/auth/magic/verify?token=x",
        "/api/v1/auth/logout",
        "/api/v1/auth/nothing",
        "//api/v1/auth/csrf",
        "/api/v1/AUTH/csrf",
        "/api/v1/%61uth/csrf",
        "/api/v1/auth%2fcsrf",
        "/api/v1/./auth/csrf/",
    ];
    for path in paths.iter().cycle().take(20) {
        assert_ne!(browser.get(path).await.status, 429, "{path}");
    }
    for path in paths {
        for method in [Method::GET, Method::HEAD, Method::POST, Method::DELETE] {
            let answer = browser.send(method, path, &[], None).await;
            assert_eq!(answer.status, 429, "{path}");
        }
    }
    browser.get("/healthz").await.expect(200);
    browser.get("/login").await.expect(200);
}

#[tokio::test]
async fn forwarding_headers_count_only_from_a_trusted_proxy() {
    let app = TestApp::start_with(&[LIMIT]).await;
    for n in 0..30 {
        let address = format!("198.51.100.{n}");
        let headers = [
            ("x-forwarded-for", &*address),
            ("x-real-ip", &*address),
            ("cf-connecting-ip", &*address),
        ];
        let answer = app.browser().send(Method::GET, "/api/v1/auth/me", &headers, None).await;
        assert_eq!(answer.status == 429, n >= 20, "{n}");
    }

    let app = TestApp::start_with(&[LIMIT, ("TRUSTED_PROXIES", "127.0.0.1/32")]).await;
    let from = async |chain: &str| {
        let headers = [("x-forwarded-for", chain)];
        app.browser().send(Method::GET, "/api/v1/auth/me", &headers, None).await.status.as_u16()
    };
    for n in 0..20 {
        assert_eq!(from(&format!("192.0.2.{n}, 198.51.100.1")).await, 200, "{n}");
    }
    assert_eq!(from("198.51.100.1").await, 429, "what a client prepends does not help it");
    assert_eq!(from("198.51.100.2").await, 200, "another client is another budget");
    for n in 0..20 {
        assert_eq!(from(&format!("2001:db8:1:2::{n}")).await, 200);
    }
    assert_eq!(from("2001:db8:1:2:ffff::1").await, 429, "one IPv6 network is one client");
}

#[tokio::test]
async fn a_whole_network_of_addresses_buys_the_configured_multiple() {
    let app = TestApp::start_with(&[
        ("AUTH_RATE_LIMIT_PER_MINUTE", "2"),
        ("AUTH_RATE_LIMIT_WIDE", "2,3"),
        ("TRUSTED_PROXIES", "127.0.0.1/32"),
        ("TRUSTED_PROXY_HEADER", "forwarded"),
    ])
    .await;
    let from = async |address: &str| {
        let forwarded = format!("for=\"{address}\"");
        let headers = [("forwarded", &*forwarded), ("x-forwarded-for", "192.0.2.1")];
        app.browser().send(Method::GET, "/api/v1/auth/me", &headers, None).await.status.as_u16()
    };
    for n in 0..6 {
        let expected = if n < 4 { 200 } else { 429 };
        assert_eq!(from(&format!("198.51.100.{n}")).await, expected, "the /24 {n}");
        let expected = if n < 4 { 200 } else { 429 };
        assert_eq!(from(&format!("[2001:db8:1:{n}::1]")).await, expected, "the /56 {n}");
    }
    for n in 1..6 {
        let expected = if n < 3 { 200 } else { 429 };
        assert_eq!(from(&format!("[2001:db8:1:{n}00::1]")).await, expected, "the /48 {n}");
    }
    assert_eq!(from("[2001:db8:2::1]").await, 200, "the next /48");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let app = TestApp::start().await;
    let answer = app
        .browser()
        .send(Method::POST, "/login", &[], Some(&serde_json::json!("x".repeat(100_000))))
        .await;
    answer.expect_error(413, "body_too_large");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_the_clients_fault() {
    let app = TestApp::start_with(&[("REQUEST_TIMEOUT_SECONDS", "1")]).await;
    let mut connection = TcpStream::connect(app.instances[0].addr).await.unwrap();
    let head = "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nContent-Type: \
                application/x-www-form-urlencoded\r\n\r\ncsrf_";
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    // The read ends only because the server closes the connection after its response.
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert!(answer.contains("\r\nx-content-type-options: nosniff\r\n"), "{answer}");
    assert!(
        answer.ends_with(r#"{"error":"the body took too long to arrive","code":"body_timeout"}"#),
        "{answer}"
    );
}

#[tokio::test]
async fn what_is_no_request_is_answered_with_the_security_headers_too() {
    let app = TestApp::start_with(&[("BASE_URL", "https://tracera.localhost")]).await;
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n".to_owned(), "400 Bad Request"),
        ("nonsense\r\n\r\n".to_owned(), "400 Bad Request"),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "x: y\r\n".repeat(100)), "431 "),
    ] {
        let mut connection = TcpStream::connect(app.instances[0].addr).await.unwrap();
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        for header in [
            "x-content-type-options: nosniff",
            "x-frame-options: DENY",
            "referrer-policy: strict-origin-when-cross-origin",
            "x-xss-protection: 1; mode=block",
            "strict-transport-security: max-age=31536000; includeSubDomains",
        ] {
            assert_eq!(
                answer.matches(&format!("\r\n{header}\r\n")).count(),
                1,
                "{header}: {answer}"
            );
        }
    }
}

#[tokio::test]
async fn a_request_names_one_host() {
    let app = TestApp::start().await;
    for (hosts, status) in [
        ("Host: localhost\r\n", "200 OK"),
        ("Host: localhost\r\nHost: evil.example\r\n", "400 Bad Request"),
        ("Host: localhost\r\nHost: localhost\r\n", "400 Bad Request"),
        ("", "400 Bad Request"),
    ] {
        let mut connection = TcpStream::connect(app.instances[0].addr).await.unwrap();
        let request = format!("GET /healthz HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{hosts}{answer}");
        assert_eq!(
            answer.contains("\"code\":\"bad_host\""),
            status.starts_with("400"),
            "{hosts}{answer}"
        );
    }
}

#[tokio::test]
async fn a_body_ends_in_one_way_only() {
    let app = TestApp::start().await;
    let answer = async |headers: &str| {
        let mut connection = TcpStream::connect(app.instances[0].addr).await.unwrap();
        let request = format!("POST /login HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n0\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer
    };
    for headers in [
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
    ] {
        let answer = answer(headers).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{headers}{answer}");
    }
    for headers in [
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let answer = answer(headers).await;
        assert!(
            answer.starts_with("HTTP/1.1 403 "),
            "read, and refused for want of a token: {answer}"
        );
        assert!(
            answer.contains("\r\nconnection: close\r\n"),
            "nothing after it is a request: {answer}"
        );
    }
}

#[tokio::test]
async fn a_handler_that_panics_or_hangs_ends_only_its_own_request() {
    let app = TestApp::start_with(&[("REQUEST_TIMEOUT_SECONDS", "1")]).await;
    // Paths from the URL table with other handlers: any other path would be refused earlier.
    let (panics, hangs) = ("/healthz", "/api/v1/health");
    let routes = Router::new()
        .route(panics, get(async || -> &'static str { panic!("canary in the panic") }))
        .route(hangs, get(async || std::future::pending::<&'static str>().await));
    let (addr, _stop) = listen(tracera::router::layered(&app.instances[0].app, routes)).await;
    let browser = Browser::new(addr);
    let answer = browser.get(panics).await.expect_error(500, "internal");
    assert!(!answer.body.contains("canary"));
    assert_eq!(answer.header("x-request-id").len(), 16);
    let answer = browser.get(hangs).await.expect_error(503, "timeout");
    assert_eq!(answer.header("retry-after"), "1");
    browser.get(panics).await.expect(500);
}
