use std::net::IpAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::connect_info::MockConnectInfo;
use axum::routing::get;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proptest::prelude::*;
use tower::ServiceExt;

use super::*;

/// Trusted: `10.0.0.0/8` and `fd00::/8`. The peer of a case is 10.0.0.1 unless it says otherwise.
const TRUSTED: &str = "10.0.0.0/8, fd00::/8";

fn proxies(list: &str) -> TrustedProxies {
    list.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
    }
    headers
}

fn client(peer: &str, lines: &[(&str, &str)]) -> String {
    proxies(TRUSTED).client_addr(ip(peer), &headers(lines)).ip().to_string()
}

/// The client according to the `Forwarded` header.
fn client_by_forwarded(peer: &str, lines: &[(&str, &str)]) -> String {
    let proxies = proxies(TRUSTED).header(ProxyHeader::Forwarded);
    proxies.client_addr(ip(peer), &headers(lines)).ip().to_string()
}

#[test]
fn from_an_untrusted_peer_no_header_counts() {
    let peer = "198.51.100.7";
    for name in [
        "x-forwarded-for",
        "X-Real-IP",
        "True-Client-IP",
        "CF-Connecting-IP",
        "Client-IP",
        "X-Client-IP",
        "X-Cluster-Client-IP",
        "Fastly-Client-IP",
    ] {
        assert_eq!(client(peer, &[(name, "1.2.3.4")]), peer, "{name}");
    }
    for lines in [
        &[("forwarded", "for=1.2.3.4")][..],
        &[("x-forwarded-for", "10.0.0.1")],
        &[("x-forwarded-for", "1.2.3.4, 10.0.0.1")],
        &[("x-forwarded-for", "1.2.3.4"), ("x-forwarded-for", "5.6.7.8")],
        &[("x-forwarded-for", "1.2.3.4"), ("forwarded", "for=1.2.3.4")],
        &[("x-forwarded-for", "")],
    ] {
        assert_eq!(client(peer, lines), peer, "{lines:?}");
    }
}

#[test]
fn by_default_nobody_is_trusted() {
    let spoofed = headers(&[("x-forwarded-for", "1.2.3.4"), ("forwarded", "for=1.2.3.4")]);
    for peer in ["127.0.0.1", "10.0.0.1", "::1"] {
        let client = TrustedProxies::default().client_addr(ip(peer), &spoofed);
        assert_eq!(client.ip(), ip(peer));
    }
}

#[test]
fn behind_a_trusted_proxy_x_forwarded_for_is_walked_from_the_right() {
    for (lines, expected) in [
        // Simple cases.
        (&["203.0.113.9"][..], "203.0.113.9"),
        (&["2001:db8::9"], "2001:db8::9"),
        (&["  203.0.113.9\t"], "203.0.113.9"),
        (&["203.0.113.9:4711"], "203.0.113.9"),
        (&["[2001:db8::9]"], "2001:db8::9"),
        (&["[2001:db8::9]:80"], "2001:db8::9"),
        (&["::ffff:203.0.113.9"], "203.0.113.9"),
        (&["[::ffff:203.0.113.9]:443"], "203.0.113.9"),
        // Faked hops on the left change nothing.
        (&["1.2.3.4, 203.0.113.9"], "203.0.113.9"),
        (&["10.0.0.5, 203.0.113.9"], "203.0.113.9"),
        (&["1.2.3.4", "203.0.113.9"], "203.0.113.9"),
        (&["203.0.113.9", "1.2.3.4"], "1.2.3.4"),
        (&["junk, \"open, 203.0.113.9"], "203.0.113.9"),
        (&["\\, 203.0.113.9"], "203.0.113.9"),
        (&["\u{fffd}", "203.0.113.9"], "203.0.113.9"),
        // Trusted hops are skipped, in both spellings.
        (&["203.0.113.9, 10.1.1.1"], "203.0.113.9"),
        (&["203.0.113.9, 10.1.1.1, 10.2.2.2"], "203.0.113.9"),
        (&["203.0.113.9, fd00::5, ::ffff:10.2.2.2"], "203.0.113.9"),
        (&["203.0.113.9", "10.1.1.1"], "203.0.113.9"),
        (&["1.2.3.4, 203.0.113.9, 10.1.1.1"], "203.0.113.9"),
        (&["10.9.9.9"], "10.9.9.9"),
        (&["10.9.9.9, 10.1.1.1"], "10.9.9.9"),
        // An element that is not an address ends the walk at the closest known hop.
        (&[""], "10.0.0.1"),
        (&[","], "10.0.0.1"),
        (&["203.0.113.9,"], "10.0.0.1"),
        (&["unknown"], "10.0.0.1"),
        (&["_hidden"], "10.0.0.1"),
        (&["1.2.3.4, unknown"], "10.0.0.1"),
        (&["1.2.3.4, unknown, 10.1.1.1"], "10.1.1.1"),
        (&["1.2.3.4, , 10.1.1.1"], "10.1.1.1"),
        (&["fe80::1%eth0"], "10.0.0.1"),
        (&["[fe80::1%25eth0]"], "10.0.0.1"),
        (&["203.0.113.9:"], "10.0.0.1"),
        (&["203.0.113.9:99999"], "10.0.0.1"),
        (&["203.0.113.9:+80"], "10.0.0.1"),
        (&["203.0.113.9:80:80"], "10.0.0.1"),
        (&["[2001:db8::9"], "10.0.0.1"),
        (&["2001:db8::9]"], "10.0.0.1"),
        (&["[2001:db8::9]80"], "10.0.0.1"),
        (&["[203.0.113.9]"], "10.0.0.1"),
        (&["\"203.0.113.9\""], "10.0.0.1"),
        (&["203.0.113.09"], "10.0.0.1"),
        (&["0xcb.0.113.9"], "10.0.0.1"),
        (&["3405803785"], "10.0.0.1"),
        (&["203.0.113"], "10.0.0.1"),
        (&["203.0.113.9/32"], "10.0.0.1"),
        (&["example.org"], "10.0.0.1"),
        (&["203.0.113.9 1.2.3.4"], "10.0.0.1"),
    ] {
        let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
        assert_eq!(client("10.0.0.1", &lines), expected, "{lines:?}");
    }
}

#[test]
fn behind_a_trusted_proxy_forwarded_is_walked_from_the_right() {
    for (lines, expected) in [
        (&["for=203.0.113.9"][..], "203.0.113.9"),
        (&["For=203.0.113.9;proto=https;by=10.0.0.1"], "203.0.113.9"),
        (&["proto=https; FOR=\"203.0.113.9:47\" ;host=a"], "203.0.113.9"),
        (&["for=\"[2001:db8::1]:4711\""], "2001:db8::1"),
        (&["for=\"[2001:db8::1]\""], "2001:db8::1"),
        (&["for=\"[::ffff:203.0.113.9]\""], "203.0.113.9"),
        (&["for=1.2.3.4, for=203.0.113.9"], "203.0.113.9"),
        (&["for=1.2.3.4", "for=203.0.113.9, for=10.1.1.1"], "203.0.113.9"),
        (&["for=203.0.113.9;host=\"a, for=1.2.3.4\""], "203.0.113.9"),
        (&["for=203.0.113.9;host=\"a;for=1.2.3.4\""], "203.0.113.9"),
        // A sender's open quote does not swallow the hop that the proxy appended.
        (&["for=\"1.2.3.4, for=203.0.113.9"], "203.0.113.9"),
        (&["for=203.0.113.9;host=\"a\\\", for=1.2.3.4, \\\"b\""], "10.0.0.1"),
        // Read from the right without its backslashes, this would name 1.2.3.4.
        (&["for=203.0.113.9;host=\"a\\\", for=1.2.3.4;x=\\\"\""], "10.0.0.1"),
        (&["for=\"203.0.113\\.9\""], "10.0.0.1"),
        (&["for=unknown"], "10.0.0.1"),
        (&["for=_hidden"], "10.0.0.1"),
        (&["for=1.2.3.4, for=_SEVKISEK, for=10.1.1.1"], "10.1.1.1"),
        (&["for=\"203.0.113.9:_port\""], "10.0.0.1"),
        (&["for=1.2.3.4;for=203.0.113.9"], "10.0.0.1"),
        (&["proto=https"], "10.0.0.1"),
        (&["203.0.113.9"], "10.0.0.1"),
        (&["for=203.0.113.9;"], "10.0.0.1"),
        (&["for=\"203.0.113.9"], "10.0.0.1"),
        (&["for="], "10.0.0.1"),
        (&[""], "10.0.0.1"),
    ] {
        let lines: Vec<_> = lines.iter().map(|line| ("forwarded", *line)).collect();
        assert_eq!(client_by_forwarded("10.0.0.1", &lines), expected, "{lines:?}");
    }
}

#[test]
fn exactly_one_header_is_believed() {
    for (x_forwarded_for, forwarded, by_x_forwarded_for, by_forwarded) in [
        ("203.0.113.9", "for=203.0.113.9", "203.0.113.9", "203.0.113.9"),
        ("203.0.113.9", "for=1.2.3.4", "203.0.113.9", "1.2.3.4"),
        ("203.0.113.9", "for=unknown", "203.0.113.9", "10.0.0.1"),
        ("203.0.113.9", "for=\"", "203.0.113.9", "10.0.0.1"),
        ("junk", "for=1.2.3.4", "10.0.0.1", "1.2.3.4"),
    ] {
        let lines = [("x-forwarded-for", x_forwarded_for), ("forwarded", forwarded)];
        assert_eq!(client("10.0.0.1", &lines), by_x_forwarded_for, "{lines:?}");
        assert_eq!(client_by_forwarded("10.0.0.1", &lines), by_forwarded, "{lines:?}");
    }
    let only = ["x-forwarded-for", "forwarded"];
    for (name, parsed) in only.into_iter().zip([ProxyHeader::XForwardedFor, ProxyHeader::Forwarded])
    {
        assert_eq!(name.parse(), Ok(parsed));
        assert_eq!(name.to_uppercase().parse(), Ok(parsed));
    }
    for other in ["", "x-real-ip", "x-forwarded-for,forwarded", " forwarded"] {
        let error = other.parse::<ProxyHeader>().unwrap_err();
        assert_eq!(error, ProxyHeaderError(other.to_owned()));
    }
}

#[test]
fn a_nat64_address_is_the_public_ipv4_address_in_it() {
    for (nat64, expected) in [
        ("64:ff9b::203.0.113.9", "203.0.113.9"),
        ("64:ff9b::c000:221", "192.0.2.33"),
        ("64:ff9b::10.0.0.1", "64:ff9b::a00:1"),
        ("64:ff9b::127.0.0.1", "64:ff9b::7f00:1"),
        ("64:ff9b::169.254.1.1", "64:ff9b::a9fe:101"),
        ("64:ff9b::100.64.0.1", "64:ff9b::6440:1"),
        ("64:ff9b::255.255.255.255", "64:ff9b::ffff:ffff"),
        ("64:ff9b::224.0.0.1", "64:ff9b::e000:1"),
        ("64:ff9b::", "64:ff9b::"),
        ("64:ff9b:0:0:0:1:cb00:7109", "64:ff9b::1:cb00:7109"),
        ("64:ff9b:1::cb00:7109", "64:ff9b:1::cb00:7109"),
    ] {
        assert_eq!(ClientAddr::from(ip(nat64)).ip(), ip(expected), "{nat64}");
        assert_eq!(client(nat64, &[]), ip(expected).to_string(), "the peer {nat64}");
        let hop = [("x-forwarded-for", nat64)];
        assert_eq!(client("10.0.0.1", &hop), ip(expected).to_string(), "the hop {nat64}");
    }
    let forwarded = [("x-forwarded-for", "203.0.113.9")];
    assert_eq!(client("64:ff9b::10.0.0.1", &forwarded), "64:ff9b::a00:1", "it is no proxy");
    let proxies = proxies("64:ff9b::198.51.100.0/120");
    assert!(proxies.contains(ip("198.51.100.7")) && proxies.contains(ip("64:ff9b::198.51.100.7")));
}

#[test]
fn the_peer_is_compared_in_its_ipv4_form() {
    let forwarded = [("x-forwarded-for", "203.0.113.9")];
    assert_eq!(client("::ffff:10.0.0.1", &forwarded), "203.0.113.9");
    assert_eq!(client("::ffff:198.51.100.7", &forwarded), "198.51.100.7");
    assert_eq!(client("fd00::1", &forwarded), "203.0.113.9");
    assert_eq!(client("fe00::1", &forwarded), "fe00::1");
}

#[test]
fn a_walk_ends_after_32_hops_and_at_an_overlong_one() {
    let mut hops = vec!["1.2.3.4"; 1];
    hops.extend(vec!["10.7.7.7"; 31]);
    assert_eq!(client("10.0.0.1", &[("x-forwarded-for", &hops.join(","))]), "1.2.3.4");
    hops.push("10.8.8.8");
    assert_eq!(client("10.0.0.1", &[("x-forwarded-for", &hops.join(","))]), "10.7.7.7");

    let padded = format!("for=203.0.113.9;host={}", "a".repeat(600));
    assert_eq!(client_by_forwarded("10.0.0.1", &[("forwarded", &padded)]), "10.0.0.1");
    let padded = format!("for={}, for=203.0.113.9", "a".repeat(60_000));
    assert_eq!(client_by_forwarded("10.0.0.1", &[("forwarded", &padded)]), "203.0.113.9");
}

#[test]
fn lists_of_proxies_parse_or_name_the_bad_item() {
    for nobody in ["", " , "] {
        assert!(!proxies(nobody).contains(ip("127.0.0.1")), "{nobody:?}");
    }
    assert!(proxies("10.1.2.3/8").contains(ip("10.200.0.1")));
    assert!(proxies("10.1.2.3").contains(ip("10.1.2.3")));
    assert!(!proxies("10.1.2.3").contains(ip("10.1.2.4")));
    assert!(proxies("::1,127.0.0.0/8").contains(ip("127.0.0.1")));
    assert!(proxies("::ffff:10.0.0.0/104").contains(ip("10.9.9.9")));
    assert!(!proxies("::ffff:10.0.0.0/104").contains(ip("11.0.0.1")));
    assert!(proxies("::ffff:10.0.0.1").contains(ip("10.0.0.1")));

    for bad in ["10.0.0.0/33", "10.0.0", "localhost", "10.0.0.1:80", "fe80::1%eth0", "*", "/8"] {
        let list = format!("127.0.0.1, {bad}");
        let error = list.parse::<TrustedProxies>().unwrap_err();
        assert_eq!(error, TrustedProxiesError::Malformed(bad.to_owned()));
        assert!(error.to_string().contains(bad));
    }
    let mapped: TrustedProxies = ["::ffff:10.0.0.0/104".parse().unwrap()].into_iter().collect();
    assert!(mapped.contains(ip("10.9.9.9")) && !mapped.trusts_everybody());
    let everybody: TrustedProxies = ["::ffff:0:0/96".parse().unwrap()].into_iter().collect();
    assert!(everybody.contains(ip("203.0.113.9")) && everybody.trusts_everybody());
    for everybody in ["0.0.0.0/0", "::/0", "::ffff:0:0/96"] {
        let error = everybody.parse::<TrustedProxies>().unwrap_err();
        assert_eq!(error, TrustedProxiesError::Everybody(everybody.to_owned()));
    }
}

#[test]
fn addresses_are_written_as_everywhere() {
    for address in ["0.0.0.0", "127.0.0.1", "203.0.113.9", "255.255.255.255", "::1", "2001:db8::7"]
    {
        assert_eq!(ClientAddr::from(ip(address)).text(), address);
    }
}

#[test]
fn ipv6_clients_count_by_their_64() {
    let key = |addr: &str| ClientAddr::from(ip(addr)).rate_key();
    assert_eq!(key("203.0.113.9"), "203.0.113.9");
    assert_eq!(key("::ffff:203.0.113.9"), "203.0.113.9");
    assert_eq!(key("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
    assert_eq!(key("2001:db8:1:2:ffff::"), "2001:db8:1:2::/64");
    assert_ne!(key("2001:db8:1:3::"), key("2001:db8:1:2::"));
}

#[test]
fn networks_are_cut_to_their_length() {
    let network = |addr: &str, v4, v6| ClientAddr::from(ip(addr)).network(v4, v6);
    assert_eq!(network("203.0.113.9", 24, 48), "203.0.113.0/24");
    assert_eq!(network("203.0.113.9", 32, 48), "203.0.113.9/32");
    assert_eq!(network("2001:db8:1:2ff:3:4:5:6", 24, 56), "2001:db8:1:200::/56");
    assert_eq!(network("2001:db8:1:2ff:3:4:5:6", 24, 48), "2001:db8:1::/48");
}

fn app() -> Router {
    Router::new()
        .route("/", get(async |client: ClientAddr| client.ip().to_string()))
        .layer(proxies(TRUSTED))
}

async fn answer(app: Router) -> (StatusCode, String) {
    let request =
        Request::get("/").header("x-forwarded-for", "203.0.113.9").body(Body::empty()).unwrap();
    let response = app.oneshot(request).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), 1024).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn the_layer_hands_the_address_to_the_handler() {
    let peer = |addr: &str| MockConnectInfo(SocketAddr::new(ip(addr), 4711));
    let (status, body) = answer(app().layer(peer("10.0.0.1"))).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "203.0.113.9"));
    let (status, body) = answer(app().layer(peer("198.51.100.7"))).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "198.51.100.7"));
}

#[tokio::test]
async fn a_missing_layer_is_a_500_and_not_a_guess() {
    let unlayered = Router::new().route("/", get(async |_: ClientAddr| "reached"));
    for app in [app(), unlayered] {
        let (status, body) = answer(app).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(body.contains(r#""code":"internal""#), "{body}");
    }
}

fn any_headers() -> impl Strategy<Value = HeaderMap> {
    let bytes = proptest::collection::vec(prop_oneof![0x20..0x7fu8, 0x80..=0xffu8], 0..80);
    let text = "(for=|\"|\\[|\\]|:|;|,| |\\\\|10\\.0\\.0\\.1|1\\.2\\.3\\.4|::1|unknown|_x|%){0,20}";
    let value = prop_oneof![bytes, text.prop_map(String::into_bytes)];
    let name = prop_oneof![Just("x-forwarded-for"), Just("forwarded"), Just("x-real-ip")];
    proptest::collection::vec((name, value), 0..5).prop_map(|lines| {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, HeaderValue::from_bytes(&value).unwrap());
        }
        headers
    })
}

proptest! {
    #[test]
    fn from_any_untrusted_peer_headers_never_matter(
        peer in prop_oneof![any::<[u8; 4]>().prop_map_into(), any::<[u8; 16]>().prop_map_into()],
        headers in any_headers(),
    ) {
        let peer: IpAddr = peer;
        let proxies = proxies(TRUSTED);
        prop_assume!(!proxies.contains(peer));
        prop_assert_eq!(proxies.client_addr(peer, &headers), ClientAddr::from(peer));
    }

    /// The hop that the proxy appends on a separate line decides, whatever the sender writes.
    #[test]
    fn what_stands_left_of_the_proxys_hop_never_matters(headers in any_headers()) {
        let mut headers = headers;
        headers.append("x-forwarded-for", HeaderValue::from_static("203.0.113.9"));
        let client = proxies(TRUSTED).client_addr(ip("10.0.0.1"), &headers);
        prop_assert_eq!(client.ip(), ip("203.0.113.9"));
    }

    #[test]
    fn any_list_of_proxies_parses_or_is_refused(list in ".{0,40}") {
        let _ = list.parse::<TrustedProxies>();
    }
}
