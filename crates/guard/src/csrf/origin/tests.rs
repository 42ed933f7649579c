use axum::Router;
use axum::body::Body;
use axum::routing::any;
use http::HeaderMap;
use proptest::prelude::*;
use tower::ServiceExt;

use super::*;

const BASE: &str = "https://example.org";

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

fn check(base: &str, lines: &[(&'static str, &str)]) -> Result<(), OriginRejection> {
    OriginPolicy::new(base).unwrap().check(&Method::POST, &headers(lines))
}

#[test]
fn every_combination_of_fetch_site_origin_and_referer_is_decided_as_written() {
    const OURS: Option<&str> = Some(BASE);
    const THEIRS: Option<&str> = Some("https://evil.example");
    let page = |origin: Option<&str>| origin.map(|origin| format!("{origin}/page?q"));

    let mut cases = 0;
    for site in [
        None,
        Some("same-origin"),
        Some("none"),
        Some("same-site"),
        Some("cross-site"),
        Some("new-value"),
        Some("Cross-Site"),
        Some(""),
    ] {
        for origin in [None, OURS, THEIRS, Some("null")] {
            for referer in [None, OURS, THEIRS] {
                let expected = match (site, origin, referer) {
                    (Some("same-site" | "cross-site"), _, _) => Err(OriginRejection::OtherSite),
                    (_, Some(BASE), _)
                    | (Some("same-origin"), Some("null"), _)
                    | (Some("same-origin" | "none"), None, _)
                    | (_, None, Some(BASE) | None) => Ok(()),
                    (_, Some("null"), _) => Err(OriginRejection::HiddenOrigin),
                    (_, Some(_), _) => Err(OriginRejection::OtherOrigin),
                    (_, None, Some(_)) => Err(OriginRejection::OtherReferer),
                };
                let referer = page(referer);
                let sent: Vec<_> =
                    [("sec-fetch-site", site), ("origin", origin), ("referer", referer.as_deref())]
                        .into_iter()
                        .filter_map(|(name, value)| Some((name, value?)))
                        .collect();
                assert_eq!(check(BASE, &sent), expected, "{sent:?}");
                cases += 1;
            }
        }
    }
    assert_eq!(cases, 96);
}

#[test]
fn only_get_head_and_options_are_safe() {
    let hostile = headers(&[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")]);
    let policy = OriginPolicy::new(BASE).unwrap();
    for (method, safe) in [
        ("GET", true),
        ("HEAD", true),
        ("OPTIONS", true),
        ("POST", false),
        ("PUT", false),
        ("PATCH", false),
        ("DELETE", false),
        ("TRACE", false),
        ("CONNECT", false),
        ("PROPFIND", false),
        ("QUERY", false),
        ("get", false),
        ("Get", false),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        assert_eq!(is_safe_method(&method), safe, "{method}");
        assert_eq!(policy.check(&method, &hostile).is_ok(), safe, "{method}");
    }
}

#[test]
fn only_our_own_pages_open_web_sockets() {
    const THEIRS: &str = "https://sibling.example.org";
    let policy = OriginPolicy::new(BASE).unwrap();
    for (upgrade, origin, allowed) in [
        (&["websocket"][..], Some(BASE), true),
        (&["websocket"], None, true),
        (&["websocket"], Some(THEIRS), false),
        (&["WebSocket"], Some(THEIRS), false),
        (&["h2c, websocket "], Some(THEIRS), false),
        (&["h2c", "websocket"], Some(THEIRS), false),
        (&["websocket"], Some("null"), false),
        (&["h2c"], Some(THEIRS), true),
        (&["websockets"], Some(THEIRS), true),
        (&[], Some(THEIRS), true),
    ] {
        let lines = upgrade.iter().map(|value| ("upgrade", *value));
        let lines: Vec<_> = lines.chain(origin.map(|origin| ("origin", origin))).collect();
        assert_eq!(policy.check(&Method::GET, &headers(&lines)).is_ok(), allowed, "{lines:?}");
    }
    let of_same_site = headers(&[("upgrade", "websocket"), ("sec-fetch-site", "same-site")]);
    assert_eq!(policy.check(&Method::GET, &of_same_site), Err(OriginRejection::OtherSite));
    let of_elsewhere = headers(&[("origin", THEIRS)]);
    assert_eq!(policy.check(&Method::CONNECT, &of_elsewhere), Err(OriginRejection::OtherOrigin));
}

#[test]
fn origins_are_equal_only_in_scheme_host_and_port() {
    for (base, origin, ours) in [
        ("https://example.org", "https://example.org", true),
        ("https://example.org/", "https://example.org", true),
        ("https://example.org/app/", "https://example.org", true),
        ("https://EXAMPLE.org", "https://example.org", true),
        ("https://example.org", "HTTPS://Example.ORG", true),
        ("https://example.org", "https://example.org:443", true),
        ("https://example.org:443", "https://example.org", true),
        ("http://localhost:8080", "http://localhost:8080", true),
        ("http://localhost:80", "http://localhost", true),
        ("http://[::1]:8080", "http://[::1]:8080", true),
        ("http://[::1]", "http://[::1]:80", true),
        ("https://bücher.example", "https://xn--bcher-kva.example", true),
        ("https://example.org", "http://example.org", false),
        ("https://example.org", "https://example.org:8443", false),
        ("https://example.org:8443", "https://example.org", false),
        ("https://example.org", "http://example.org:443", false),
        ("https://example.org", "https://www.example.org", false),
        ("https://example.org", "https://example.org.evil.example", false),
        ("https://example.org", "https://evilexample.org", false),
        ("https://example.org", "https://example.org.", false),
        ("https://example.org", "https://example.org@evil.example", false),
        ("https://example.org", "https://evil.example@example.org", false),
        ("https://example.org", "https://example.org/", false),
        ("https://example.org", "https://example.org/x", false),
        ("https://example.org", "https:example.org", false),
        ("https://example.org", "//example.org", false),
        ("https://example.org", "example.org", false),
        ("https://example.org", "https://ex\tample.org", false),
        ("https://example.org", "https://example.org https://evil.example", false),
        ("https://example.org", "https://example.org,https://evil.example", false),
        ("https://example.org", "https://example%2eorg", false),
        ("https://example.org", "https://exämple.org", false),
        ("http://127.0.0.1:8080", "http://localhost:8080", false),
        ("https://example.org", "Null", false),
        ("https://example.org", "", false),
    ] {
        let expected = if ours { Ok(()) } else { Err(OriginRejection::OtherOrigin) };
        assert_eq!(check(base, &[("origin", origin)]), expected, "{base} {origin:?}");
    }
}

#[test]
fn a_referer_counts_by_its_origin() {
    for (referer, ours) in [
        ("https://example.org/a/b?c", true),
        ("https://example.org:443/", true),
        ("https://example.org", true),
        ("https://example.org.evil.example/", false),
        ("https://evil.example/https://example.org/", false),
        ("https://example.org@evil.example/", false),
        ("http://example.org/", false),
        ("about:blank", false),
        ("data:text/html,x", false),
        ("/page", false),
        ("", false),
        ("\u{fffd}", false),
    ] {
        assert_eq!(check(BASE, &[("referer", referer)]).is_ok(), ours, "{referer:?}");
    }
}

#[test]
fn pages_of_a_further_origin_may_do_the_same() {
    const SIBLING: &str = "https://www.example.org";
    let policy = OriginPolicy::new(BASE).unwrap().also("https://www.example.org/app").unwrap();
    let check = |lines: &[(&'static str, &str)]| policy.check(&Method::POST, &headers(lines));
    for site in ["same-origin", "same-site", "cross-site"] {
        assert_eq!(check(&[("origin", SIBLING), ("sec-fetch-site", site)]), Ok(()), "{site}");
    }
    assert_eq!(check(&[("origin", BASE)]), Ok(()));
    assert_eq!(check(&[("referer", "https://www.example.org/a")]), Ok(()));
    for (lines, why) in [
        (&[("origin", "https://evil.example.org")][..], OriginRejection::OtherOrigin),
        (&[("referer", "https://evil.example.org/")], OriginRejection::OtherReferer),
        (&[("origin", BASE), ("sec-fetch-site", "same-site")], OriginRejection::OtherSite),
        (&[("sec-fetch-site", "same-site")], OriginRejection::OtherSite),
        (&[("referer", SIBLING), ("sec-fetch-site", "same-site")], OriginRejection::OtherSite),
    ] {
        assert_eq!(check(lines), Err(why), "{lines:?}");
    }
    assert!(policy.also("www.example.org").is_err());
}

#[test]
fn repeated_headers_are_refused() {
    for lines in [
        [("origin", BASE), ("origin", BASE)],
        [("origin", BASE), ("origin", "https://evil.example")],
        [("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin")],
        [("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
        [("referer", "https://example.org/"), ("referer", "https://example.org/")],
    ] {
        assert_eq!(check(BASE, &lines), Err(OriginRejection::Repeated), "{lines:?}");
    }
}

#[test]
fn a_base_url_without_an_origin_is_refused() {
    for bad in
        ["", "example.org", "/", "ftp://example.org", "data:,x", "file:///", "https://", "null"]
    {
        let error = OriginPolicy::new(bad).unwrap_err();
        assert_eq!(error, OriginPolicyError(bad.to_owned()));
    }
}

#[test]
fn another_site_may_link_here_but_load_nothing() {
    for (method, site, mode, dest, allowed) in [
        (Method::GET, "cross-site", "navigate", "document", true),
        (Method::HEAD, "cross-site", "navigate", "document", false),
        (Method::POST, "cross-site", "navigate", "document", false),
        (Method::GET, "cross-site", "navigate", "iframe", false),
        (Method::GET, "cross-site", "navigate", "frame", false),
        (Method::GET, "cross-site", "navigate", "object", false),
        (Method::GET, "cross-site", "navigate", "embed", false),
        (Method::GET, "cross-site", "no-cors", "script", false),
        (Method::GET, "cross-site", "no-cors", "image", false),
        (Method::GET, "cross-site", "no-cors", "document", false),
        (Method::GET, "cross-site", "cors", "empty", false),
        (Method::GET, "cross-site", "", "", false),
        (Method::GET, "same-site", "no-cors", "image", true),
        (Method::GET, "same-origin", "cors", "empty", true),
        (Method::POST, "same-origin", "cors", "empty", true),
        (Method::GET, "none", "navigate", "document", true),
        (Method::GET, "unheard-of", "no-cors", "script", true),
    ] {
        let sent = headers(&[
            ("sec-fetch-site", site),
            ("sec-fetch-mode", mode),
            ("sec-fetch-dest", dest),
        ]);
        let decided = ResourceIsolation::new().check(&method, &sent);
        assert_eq!(decided.is_ok(), allowed, "{method} {site} {mode} {dest}");
    }
    assert_eq!(ResourceIsolation::new().check(&Method::GET, &HeaderMap::new()), Ok(()));
    let no_browsers = headers(&[("sec-fetch-site", "cross-site")]);
    assert_eq!(ResourceIsolation::new().check(&Method::GET, &no_browsers), Ok(()));
    let twice = headers(&[("sec-fetch-dest", "document"), ("sec-fetch-dest", "image")]);
    assert_eq!(
        ResourceIsolation::new().check(&Method::GET, &twice),
        Err(OriginRejection::Repeated)
    );
}

#[tokio::test]
async fn the_layers_answer_403_in_json_before_the_handler() {
    let policy = OriginPolicy::new(BASE).unwrap();
    let origin_only = Router::new().route("/", any(async || "reached")).layer(policy);
    let isolated =
        Router::new().route("/", any(async || "reached")).layer(ResourceIsolation::new());

    for (app, method, status) in [
        (&origin_only, Method::POST, StatusCode::FORBIDDEN),
        (&origin_only, Method::GET, StatusCode::OK),
        (&isolated, Method::GET, StatusCode::FORBIDDEN),
    ] {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method.clone();
        let cross_site = HeaderValue::from_static("cross-site");
        request.headers_mut().insert("sec-fetch-site", cross_site);
        request.headers_mut().insert("sec-fetch-mode", HeaderValue::from_static("no-cors"));
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{method}");
        let cors = |name: &http::HeaderName| name.as_str().starts_with("access-control-");
        assert!(!response.headers().keys().any(cors));
        let body = axum::body::to_bytes(response.into_body(), 1024).await.unwrap();
        let expected: &[u8] = if status == StatusCode::OK {
            b"reached"
        } else {
            br#"{"error":"this request did not come from our own pages","code":"csrf_failed"}"#
        };
        assert_eq!(body, expected);
    }
}

proptest! {
    #[test]
    fn any_headers_are_decided_without_panic(
        lines in proptest::collection::vec(
            (prop_oneof![Just("origin"), Just("referer"), Just("sec-fetch-site")],
             proptest::collection::vec(prop_oneof![0x20..0x7fu8, 0x80..=0xffu8], 0..40)),
            0..4),
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in &lines {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        let decided = OriginPolicy::new(BASE).unwrap().check(&Method::POST, &headers);
        prop_assert!(decided.is_err() || !headers.contains_key("origin"));
    }
}
