//! Forwarding headers, one per line of input: `F…` is a `Forwarded` header, every other line an
//! `X-Forwarded-For` header.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tracera_guard::{ClientAddr, ProxyHeader, TrustedProxies};

const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
static PROXIES: LazyLock<TrustedProxies> =
    LazyLock::new(|| "10.0.0.0/8, 2001:db8::/32".parse().expect("two ranges"));

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let (name, line) = match line.strip_prefix(b"F") {
            Some(rest) => ("forwarded", rest),
            None => ("x-forwarded-for", line),
        };
        if let Ok(line) = HeaderValue::from_bytes(line) {
            headers.append(name, line);
        }
    }
    assert_eq!(
        PROXIES.client_addr(STRANGER, &headers).ip(),
        STRANGER,
        "nobody believes a stranger"
    );
    for header in [ProxyHeader::XForwardedFor, ProxyHeader::Forwarded] {
        let client = PROXIES.clone().header(header).client_addr(PROXY, &headers);
        assert_eq!(client, ClientAddr::from(client.ip()), "there is one form of an address");
        assert!(!client.rate_key().is_empty());
    }
    headers.remove("x-forwarded-for");
    assert_eq!(PROXIES.client_addr(PROXY, &headers).ip(), PROXY, "the other header never counts");
});
