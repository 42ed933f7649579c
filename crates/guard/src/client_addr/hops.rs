//! The hops that a forwarding header names, from the closest one outwards.
//!
//! The header is read from its right end, which the closest proxy wrote. A client's text further
//! left (an open quote, binary bytes, a thousand addresses) cannot change that.

use std::net::{IpAddr, Ipv6Addr};

use http::header::{FORWARDED, HeaderName};
use http::{HeaderMap, HeaderValue};

use super::{ProxyHeader, canonical};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const MAX_HOPS: usize = 32;
/// Longer than any element a proxy writes: addresses, host and scheme of one hop.
const MAX_ELEMENT_BYTES: usize = 512;

/// Yields addresses from right to left, up to the first element that is not an address.
pub(super) struct Hops<'a> {
    /// The lines of the header that are not fully read; the rightmost comes last.
    lines: Vec<&'a [u8]>,
    left: usize,
    parse: fn(&[u8]) -> Option<IpAddr>,
}

impl<'a> Hops<'a> {
    /// The hops of all lines of a header.
    pub(super) fn of(header: ProxyHeader, headers: &'a HeaderMap) -> Self {
        let (name, parse): (_, fn(&[u8]) -> _) = match header {
            ProxyHeader::XForwardedFor => (X_FORWARDED_FOR, node),
            ProxyHeader::Forwarded => (FORWARDED, forwarded_for),
        };
        let lines = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        Self { lines, left: MAX_HOPS, parse }
    }
}

impl Iterator for Hops<'_> {
    type Item = IpAddr;

    fn next(&mut self) -> Option<IpAddr> {
        self.left = self.left.checked_sub(1)?;
        let line = self.lines.pop()?;
        let (rest, element) = split_last(line, b',')?;
        self.lines.extend(rest);
        (self.parse)(element)
    }
}

/// The text before the last `separator` outside quotes, and the text after it.
///
/// `None` for an element that is too long or has a backslash. Read from the right, a backslash
/// makes quotes ambiguous, and no proxy writes one.
fn split_last(text: &[u8], separator: u8) -> Option<(Option<&[u8]>, &[u8])> {
    let mut quoted = false;
    for (at, byte) in text.iter().enumerate().rev() {
        if text.len() - at > MAX_ELEMENT_BYTES {
            return None;
        }
        match *byte {
            b'"' => quoted = !quoted,
            b'\\' => return None,
            byte if byte == separator && !quoted => {
                return Some((Some(&text[..at]), &text[at + 1..]));
            }
            _ => {}
        }
    }
    (!quoted).then_some((None, text))
}

/// The address in the only `for` parameter of a `Forwarded` element.
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    let mut found = None;
    let mut rest = Some(element);
    while let Some(text) = rest {
        let (before, pair) = split_last(text, b';')?;
        rest = before;
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (pair[..equals].trim_ascii(), &pair[equals + 1..]);
        if name.eq_ignore_ascii_case(b"for") && found.replace(value).is_some() {
            return None;
        }
    }
    let value = found?.trim_ascii();
    let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    node(unquoted.unwrap_or(value))
}

/// Parses `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`.
fn node(node: &[u8]) -> Option<IpAddr> {
    let node = str::from_utf8(node.trim_ascii()).ok()?;
    let addr = if let Some(bracketed) = node.strip_prefix('[') {
        let (addr, port) = bracketed.split_once(']')?;
        if !port.is_empty() && !is_port(port.strip_prefix(':')?) {
            return None;
        }
        addr.parse::<Ipv6Addr>().ok()?.into()
    } else {
        match node.split_once(':') {
            Some((addr, port)) if is_port(port) => addr.parse().ok()?,
            _ => node.parse::<IpAddr>().ok()?,
        }
    };
    Some(canonical(addr))
}

fn is_port(text: &str) -> bool {
    (1..=5).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && text.parse::<u16>().is_ok()
}
