//! Compresses responses with gzip, if the client accepts it.
//!
//! 1. Callers decide for each response; nothing is compressed by default. If a response contains a
//!    secret beside text that an attacker can choose, its length reveals the secret (BREACH). A
//!    page with a CSRF token may be compressed, because the token is masked differently each time.
//!    A page that repeats text from another site's link may not, see [`is_of_stranger`].
//! 2. Responses that fit into one packet are not compressed.
//! 3. `Vary: Accept-Encoding` is set even if the response was not compressed.

use std::io::Write;

use axum::body::{Body, to_bytes};
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Uri, header};

/// The payload of one packet, without headers.
const WORTH_IT: usize = 1_024;
/// A fast level: higher ones take three times as long for a tenth fewer bytes.
const LEVEL: u32 = 3;

/// Compresses the response if the client accepts gzip. For bodies that are already in memory.
pub async fn compressed(request: &HeaderMap, response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    parts.headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    if !takes_gzip(request) || parts.headers.contains_key(header::CONTENT_ENCODING) {
        return Response::from_parts(parts, body);
    }
    // The body is in memory, so this neither waits nor fails.
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        return Response::from_parts(parts, Body::empty());
    };
    let packed = if bytes.len() > WORTH_IT { gzip(&bytes, LEVEL) } else { None };
    let Some(packed) = packed else { return Response::from_parts(parts, Body::from(bytes)) };
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(packed))
}

/// Compresses bytes; `None` if the result is not smaller.
pub fn gzip(bytes: &[u8], level: u32) -> Option<Vec<u8>> {
    let mut packer = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::new(level));
    packer.write_all(bytes).ok()?;
    packer.finish().ok().filter(|packed| packed.len() < bytes.len())
}

/// Whether `Accept-Encoding` allows gzip (RFC 9110, 12.5.3).
pub fn takes_gzip(request: &HeaderMap) -> bool {
    let lists = request.get_all(header::ACCEPT_ENCODING).iter();
    lists.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").unwrap_or("1");
        name.trim().eq_ignore_ascii_case("gzip") && weight.parse().is_ok_and(|it: f32| it > 0.0)
    })
}

/// Whether another site may have chosen the request's query. That is so for any query, unless the
/// browser attributes the request to this site or to the user.
pub fn is_of_stranger(uri: &Uri, request: &HeaderMap) -> bool {
    let site = request.get("sec-fetch-site").map(HeaderValue::as_bytes);
    uri.query().is_some_and(|query| !query.is_empty())
        && !matches!(site, Some(b"same-origin" | b"none"))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))])
    }

    #[tokio::test]
    async fn who_takes_gzip_gets_it() {
        let text = "AK-47 | Redline ".repeat(1_000);
        let answer = || Response::new(Body::from(text.clone()));
        for (accepted, is_packed) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("identity", false),
            ("x-gzipped", false),
        ] {
            let answer = compressed(&headers("accept-encoding", accepted), answer()).await;
            assert_eq!(answer.headers()["vary"], "accept-encoding");
            let is_said = answer.headers().contains_key("content-encoding");
            assert_eq!(is_said, is_packed, "{accepted}");
            let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
            let mut read = String::new();
            if is_packed {
                assert!(body.len() < text.len() / 20);
                flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut read).unwrap();
            } else {
                read = String::from_utf8(body.to_vec()).unwrap();
            }
            assert_eq!(read, text);
        }
    }

    #[test]
    fn what_another_site_chose_is_known() {
        let chosen = |uri: &'static str, site: &'static str| {
            is_of_stranger(&Uri::from_static(uri), &headers("sec-fetch-site", site))
        };
        assert!(chosen("/?q=secret", "cross-site") && chosen("/?q=secret", "same-site"));
        assert!(!chosen("/?q=ak", "same-origin") && !chosen("/?q=ak", "none"));
        assert!(!chosen("/", "cross-site"));
        assert!(is_of_stranger(&Uri::from_static("/?q=x"), &HeaderMap::new()));
    }
}
