//! Headers that name the origin of a request, one per line of input. The first character chooses
//! the header.
#![no_main]

use std::sync::LazyLock;

use http::header::{ORIGIN, REFERER};
use http::{HeaderMap, HeaderValue, Method};
use libfuzzer_sys::fuzz_target;
use tracera_guard::{CsrfKeys, OriginPolicy, ResourceIsolation, VisitorCookie, token_from_headers};

static POLICY: LazyLock<OriginPolicy> =
    LazyLock::new(|| OriginPolicy::new("https://tracera.example").expect("an origin"));
static KEYS: LazyLock<(CsrfKeys, VisitorCookie)> =
    LazyLock::new(|| (CsrfKeys::new([7; 32], []), VisitorCookie::new([8; 32], [], false)));

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let Some((kind, rest)) = line.split_first() else { continue };
        let name = match kind {
            b'O' => ORIGIN.as_str(),
            b'R' => REFERER.as_str(),
            b'S' => "sec-fetch-site",
            b'M' => "sec-fetch-mode",
            b'D' => "sec-fetch-dest",
            b'T' => "x-csrf-token",
            _ => "cookie",
        };
        if let Ok(value) = HeaderValue::from_bytes(rest) {
            headers.append(name, value);
        }
    }
    let only = |name: &str| {
        let mut lines = headers.get_all(name).iter().map(HeaderValue::as_bytes);
        lines.next().filter(|_| lines.next().is_none())
    };
    assert!(POLICY.check(&Method::GET, &headers).is_ok());
    if POLICY.check(&Method::POST, &headers).is_ok() {
        assert!(!matches!(only("sec-fetch-site"), Some(b"cross-site" | b"same-site")));
        let ours = [&b"https://tracera.example"[..], b"https://tracera.example:443"];
        let origin = only("origin").map(<[u8]>::to_ascii_lowercase);
        let hidden = origin.as_deref() == Some(&b"null"[..])
            && only("sec-fetch-site") == Some(&b"same-origin"[..]);
        assert!(hidden || origin.is_none_or(|origin| ours.contains(&&*origin)));
        assert!(headers.get_all("origin").iter().count() < 2);
    }
    let _ = ResourceIsolation::new().check(&Method::GET, &headers);
    let (keys, visitors) = &*KEYS;
    assert!(!token_from_headers(&headers).is_some_and(|token| keys.verify(b"a session", token)));
    assert!(visitors.parse(&headers).is_none());
});
