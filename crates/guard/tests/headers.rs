//! The security headers on every kind of response: of handlers, fallbacks, other layers, panics.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, SERVER, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use tower::{Layer, ServiceExt};
use tower_http::catch_panic::CatchPanicLayer;
use tracera_guard::SecurityHeaders;

const DATA_POLICY: &str =
    "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src \
                           'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; \
                           base-uri 'none'; frame-ancestors 'none'; object-src 'none'; \
                           manifest-src 'self'";

fn routes() -> Router {
    let refusing = middleware::from_fn(async |_: Request<Body>, _: middleware::Next| {
        StatusCode::TOO_MANY_REQUESTS
    });
    Router::new()
        .route("/", get(async || "data").head(async || "data"))
        .route("/page", get(async || Html("<p>page</p>")))
        .route("/loud", get(async || ([(CONTENT_TYPE, "Text/HTML;charset=utf-8")], "<p>")))
        .route("/htmlish", get(async || ([(CONTENT_TYPE, "text/htmlx")], "")))
        .route("/body", post(async |body: String| body))
        .route("/panic", get(async || -> Response { panic!("on purpose") }))
        .route("/redirect", get(async || Redirect::to("/")))
        .route("/empty", get(async || StatusCode::NO_CONTENT))
        .route("/own", get(own_headers))
        .route("/limited", get(async || "never").layer(refusing))
        .layer(DefaultBodyLimit::max(8))
        .layer(CatchPanicLayer::new())
}

/// Sets every header that the layer knows, some of them twice.
async fn own_headers() -> Response {
    let mut response = "own".into_response();
    for (name, value) in [
        ("referrer-policy", "no-referrer"),
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("cache-control", "public, max-age=31536000, immutable"),
        ("x-frame-options", "SAMEORIGIN"),
        ("x-frame-options", "ALLOWALL"),
        ("x-content-type-options", "other"),
        ("x-xss-protection", "0"),
        ("permissions-policy", "camera=*"),
        ("cross-origin-opener-policy", "unsafe-none"),
        ("cross-origin-resource-policy", "cross-origin"),
        ("strict-transport-security", "max-age=0"),
        ("server", "kept"),
    ] {
        response.headers_mut().append(name, HeaderValue::from_static(value));
    }
    response
}

async fn ask(config: SecurityHeaders, method: Method, path: &str) -> (StatusCode, HeaderMap) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(Body::from("more than eight bytes"))
        .unwrap();
    let response = config.layer(routes()).oneshot(request).await.unwrap();
    (response.status(), response.headers().clone())
}

/// Checks the headers that are the same on every response, each present once.
fn assert_guarded(headers: &HeaderMap, https: bool, what: &str) {
    let mut expected = BTreeMap::from([
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("x-xss-protection", "1; mode=block"),
    ]);
    if https {
        expected.insert("strict-transport-security", "max-age=31536000; includeSubDomains");
    } else {
        assert!(!headers.contains_key("strict-transport-security"), "{what}");
    }
    for (name, value) in expected {
        let sent: Vec<_> = headers.get_all(name).iter().collect();
        assert_eq!(sent, [value], "{what}: {name}");
    }
    for name in [
        "referrer-policy",
        "content-security-policy",
        "cache-control",
        "permissions-policy",
        "cross-origin-opener-policy",
        "cross-origin-resource-policy",
    ] {
        assert_eq!(headers.get_all(name).iter().count(), 1, "{what}: {name}");
    }
}

/// Checks the headers of a response whose handler set none.
fn assert_defaults(headers: &HeaderMap, what: &str) {
    for (name, value) in [
        ("referrer-policy", "strict-origin-when-cross-origin"),
        ("cache-control", "no-store"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(headers[name], value, "{what}: {name}");
    }
    let permissions = headers["permissions-policy"].to_str().unwrap();
    for feature in permissions.split(", ") {
        let is_of_own_pages = feature == "publickey-credentials-get=(self)";
        assert!(feature.ends_with("=()") || is_of_own_pages, "{what}: {feature}");
    }
    for feature in ["camera=()", "geolocation=()", "publickey-credentials-get=(self)"] {
        assert!(permissions.contains(feature), "{what}: {feature}");
    }
}

#[tokio::test]
async fn every_answer_carries_the_headers() {
    for (method, path, status) in [
        (Method::GET, "/", 200),
        (Method::HEAD, "/", 200),
        (Method::GET, "/page", 200),
        (Method::GET, "/empty", 204),
        (Method::GET, "/redirect", 303),
        (Method::GET, "/missing", 404),
        (Method::POST, "/", 405),
        (Method::POST, "/body", 413),
        (Method::GET, "/limited", 429),
        (Method::GET, "/panic", 500),
        (Method::GET, "/own", 200),
    ] {
        for https in [false, true] {
            let config = SecurityHeaders::new().https(https);
            let what = format!("{method} {path}");
            let (got, headers) = ask(config, method.clone(), path).await;
            assert_eq!(got, status, "{what}");
            assert_guarded(&headers, https, &what);
            if path != "/own" {
                assert_defaults(&headers, &what);
            }
        }
    }
}

#[tokio::test]
async fn the_content_policy_follows_the_content_type() {
    for (path, policy) in [
        ("/", DATA_POLICY),
        ("/missing", DATA_POLICY),
        ("/panic", DATA_POLICY),
        ("/htmlish", DATA_POLICY),
        ("/page", PAGE_POLICY),
        ("/loud", PAGE_POLICY),
    ] {
        let (_, headers) = ask(SecurityHeaders::default(), Method::GET, path).await;
        assert_eq!(headers[CONTENT_SECURITY_POLICY], policy, "{path}");
    }

    let own = SecurityHeaders::new().page_policy(HeaderValue::from_static("default-src 'self'"));
    let (_, page) = ask(own.clone(), Method::GET, "/page").await;
    assert_eq!(page[CONTENT_SECURITY_POLICY], "default-src 'self'");
    let (_, data) = ask(own, Method::GET, "/").await;
    assert_eq!(data[CONTENT_SECURITY_POLICY], DATA_POLICY);
}

#[tokio::test]
async fn a_handler_keeps_its_own_policies_and_overrides_no_fixed_header() {
    let (_, headers) = ask(SecurityHeaders::new(), Method::GET, "/own").await;
    assert_eq!(headers[REFERRER_POLICY], "no-referrer");
    assert_eq!(headers[CONTENT_SECURITY_POLICY], "default-src 'none'; sandbox");
    assert_eq!(headers[CACHE_CONTROL], "public, max-age=31536000, immutable");
    assert_eq!(headers["permissions-policy"], "camera=*");
    assert_eq!(headers["cross-origin-opener-policy"], "unsafe-none");
    assert_eq!(headers["cross-origin-resource-policy"], "cross-origin");
    assert_eq!(headers[X_FRAME_OPTIONS], "DENY");
    assert_eq!(headers[SERVER], "kept");
}

#[tokio::test]
async fn applying_twice_changes_nothing() {
    let config = SecurityHeaders::new().https(true);
    let app = config.layer(routes().layer(config.clone()));
    for path in ["/page", "/missing", "/panic"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        assert_guarded(response.headers(), true, path);
        let (_, once) = ask(config.clone(), Method::GET, path).await;
        assert_eq!(*response.headers(), once, "{path}");
    }
}
