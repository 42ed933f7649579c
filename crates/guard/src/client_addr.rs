//! The client's address, with or without proxies: [`TrustedProxies`] has the rules.

mod hops;

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::connect_info::MockConnectInfo;
use axum::extract::{ConnectInfo, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{Extensions, HeaderMap};
use ipnet::{IpNet, Ipv4Net};

use self::hops::Hops;
use crate::layer::{Guard, Settings, Verdict, guard_layer};

/// The proxies whose forwarding header is trusted, and the [`tower::Layer`] that finds the client's
/// address. Parsed from addresses and CIDR ranges separated by commas. Default: none.
///
/// 1. The client is the TCP peer, whatever the headers say, unless the peer is a trusted proxy.
/// 2. Exactly one header is trusted: `X-Forwarded-For`, or the one that [`TrustedProxies::header`]
///    names. Most proxies pass the other one through as the client wrote it, so it is ignored.
/// 3. The hops of all lines of that header, joined in order, are walked from right to left past
///    trusted proxies. The first untrusted hop is the client.
/// 4. A hop that is no address (`unknown`, `_hidden`, a zone id, a backslash, junk) ends the walk,
///    and so does the 33rd hop. The client is then the closest address known so far.
/// 5. An IPv4-mapped IPv6 address is treated as the IPv4 address. So is a public IPv4 address in
///    the NAT64 prefix `64:ff9b::/96` (RFC 6052). Ports are ignored.
///
/// For a deployment: a trusted proxy must set the trusted header or append to it. Name each proxy,
/// not the network that clients share with it.
///
/// ```
/// use axum::{Router, routing::get};
/// use tracera_guard::{ClientAddr, TrustedProxies};
///
/// # fn main() -> Result<(), tracera_guard::TrustedProxiesError> {
/// let proxies: TrustedProxies = "127.0.0.1, 10.0.0.0/8, fd00::/8".parse()?;
/// let app: Router = Router::new()
///     .route("/", get(async |client: ClientAddr| client.ip().to_string()))
///     .layer(proxies);
/// // Serve it with `app.into_make_service_with_connect_info::<SocketAddr>()`.
/// # let _ = app;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    ranges: Arc<[IpNet]>,
    header: ProxyHeader,
    settings: Settings<ClientAddrMissing>,
}

/// The header in which trusted proxies name their client. Parsed from the header's name.
///
/// ```
/// use tracera_guard::{ProxyHeader, TrustedProxies};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let proxies: TrustedProxies = "10.0.0.0/8".parse()?;
/// let proxies = proxies.header("forwarded".parse::<ProxyHeader>()?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`, which most proxies set.
    #[default]
    XForwardedFor,
    /// `Forwarded` of RFC 7239.
    Forwarded,
}

impl FromStr for ProxyHeader {
    type Err = ProxyHeaderError;

    fn from_str(name: &str) -> Result<Self, ProxyHeaderError> {
        match name.to_ascii_lowercase().as_str() {
            "x-forwarded-for" => Ok(Self::XForwardedFor),
            "forwarded" => Ok(Self::Forwarded),
            _ => Err(ProxyHeaderError(name.to_owned())),
        }
    }
}

/// No forwarding header of this name is supported.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is neither x-forwarded-for nor forwarded")]
pub struct ProxyHeaderError(String);

/// A list of trusted proxies was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrustedProxiesError {
    /// An item is neither an address nor a CIDR range.
    #[error("`{0}` is neither an IP address nor a CIDR range like 10.0.0.0/8")]
    Malformed(String),
    /// An item covers all addresses, so that every client could choose its own address.
    #[error("`{0}` trusts every address, so any client could claim to be any other")]
    Everybody(String),
}

impl TrustedProxies {
    /// True if the peer or hop `addr` is a trusted proxy.
    pub fn contains(&self, addr: IpAddr) -> bool {
        let addr = canonical(addr);
        self.ranges.iter().any(|range| range.contains(&addr))
    }

    /// True if every IPv4 or every IPv6 address is trusted, so that any client can claim to be any
    /// other.
    pub fn trusts_everybody(&self) -> bool {
        self.ranges.iter().any(|range| range.prefix_len() == 0)
    }

    /// The header that is trusted. Default: [`ProxyHeader::XForwardedFor`].
    #[must_use]
    pub fn header(self, header: ProxyHeader) -> Self {
        Self { header, ..self }
    }

    /// The client behind a connection from `peer` that sent `headers`, by the rules above.
    pub fn client_addr(&self, peer: IpAddr, headers: &HeaderMap) -> ClientAddr {
        let peer = canonical(peer);
        if !self.contains(peer) {
            return ClientAddr(peer);
        }
        ClientAddr(self.first_untrusted(peer, Hops::of(self.header, headers)))
    }

    fn first_untrusted(&self, peer: IpAddr, hops: Hops<'_>) -> IpAddr {
        let mut closest = peer;
        for hop in hops {
            closest = hop;
            if !self.contains(hop) {
                break;
            }
        }
        closest
    }
}

/// Accepts any range, even one of all addresses, which parsing refuses.
impl FromIterator<IpNet> for TrustedProxies {
    fn from_iter<I: IntoIterator<Item = IpNet>>(ranges: I) -> Self {
        let ranges = ranges.into_iter().map(canonical_range).collect();
        Self { ranges, ..Self::default() }
    }
}

impl FromStr for TrustedProxies {
    type Err = TrustedProxiesError;

    fn from_str(list: &str) -> Result<Self, Self::Err> {
        let items = list.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(parse_range).collect()
    }
}

fn parse_range(item: &str) -> Result<IpNet, TrustedProxiesError> {
    let range = item
        .parse::<IpNet>()
        .or_else(|_| item.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| TrustedProxiesError::Malformed(item.to_owned()))?;
    let range = canonical_range(range);
    if range.prefix_len() == 0 {
        return Err(TrustedProxiesError::Everybody(item.to_owned()));
    }
    Ok(range)
}

/// Converts a range of IPv4-mapped or NAT64 addresses into the IPv4 range.
fn canonical_range(range: IpNet) -> IpNet {
    let IpNet::V6(v6) = range else { return range };
    match (canonical(v6.network().into()), v6.prefix_len().checked_sub(96)) {
        (IpAddr::V4(network), Some(prefix_len)) => {
            Ipv4Net::new(network, prefix_len).map_or(range, IpNet::V4)
        }
        _ => range,
    }
}

/// The canonical form of an address: IPv4-mapped and NAT64 addresses become IPv4.
///
/// The NAT64 prefix must not be used for private addresses (RFC 6052, section 3.1). Those are left
/// as they are, so that no outside address looks like an inside proxy.
fn canonical(addr: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = addr.to_canonical() else { return addr.to_canonical() };
    let [0x64, 0xff9b, 0, 0, 0, 0, ..] = v6.segments() else { return addr };
    let [.., a, b, c, d] = v6.octets();
    let v4 = Ipv4Addr::new(a, b, c, d);
    if is_private(v4) { addr } else { v4.into() }
}

fn is_private(v4: Ipv4Addr) -> bool {
    let is_shared = matches!(v4.octets(), [100, 64..=127, ..]);
    is_shared
        || v4.is_private()
        || v4.is_loopback()
        || v4.is_link_local()
        || v4.is_unspecified()
        || v4.is_broadcast()
        || v4.is_multicast()
}

/// The address of the client. An extractor below the layer [`TrustedProxies`].
///
/// ```
/// use axum::{Router, routing::get};
/// use tracera_guard::{ClientAddr, TrustedProxies};
///
/// let app: Router = Router::new()
///     .route("/ip", get(async |client: ClientAddr| client.text()))
///     .layer(TrustedProxies::default());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddr(IpAddr);

impl ClientAddr {
    /// The address; never an IPv4-mapped IPv6 one.
    pub fn ip(self) -> IpAddr {
        self.0
    }

    /// The address as `Display` writes it, at a tenth of the cost for IPv4, because limits and logs
    /// need it for each request.
    pub fn text(self) -> String {
        let IpAddr::V4(v4) = self.0 else { return self.0.to_string() };
        let mut text = String::with_capacity("255.255.255.255".len());
        for (place, octet) in v4.octets().into_iter().enumerate() {
            if place > 0 {
                text.push('.');
            }
            text.push_str(itoa::Buffer::new().format(octet));
        }
        text
    }

    /// The key for counting this client's requests: an IPv4 address as it is, an IPv6 address as
    /// its /64. One customer usually has a whole /64.
    pub fn rate_key(self) -> String {
        match self.0 {
            IpAddr::V4(_) => self.text(),
            IpAddr::V6(_) => self.network(32, 64),
        }
    }

    /// The network of the client, with one prefix length for IPv4 and one for IPv6, such as
    /// `203.0.113.0/24`.
    ///
    /// # Panics
    /// If the length is more than the address has bits.
    pub fn network(self, v4_prefix: u8, v6_prefix: u8) -> String {
        let prefix = if self.0.is_ipv4() { v4_prefix } else { v6_prefix };
        let network = IpNet::new(self.0, prefix).expect("a prefix is no longer than its address");
        network.trunc().to_string()
    }
}

impl From<IpAddr> for ClientAddr {
    fn from(addr: IpAddr) -> Self {
        Self(canonical(addr))
    }
}

impl<S: Sync> FromRequestParts<S> for ClientAddr {
    type Rejection = ClientAddrMissing;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        parts.extensions.get().copied().ok_or(ClientAddrMissing)
    }
}

const NO_CLIENT: &str = "the client address is not known: add the layer TrustedProxies outside of \
    what needs it, and serve with into_make_service_with_connect_info::<SocketAddr>()";

/// The client's address is not known. A handler or guard that needs it must be inside the layer
/// [`TrustedProxies`]. That layer needs a server that provides `ConnectInfo<SocketAddr>`. As a
/// response: 500.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{NO_CLIENT}")]
pub struct ClientAddrMissing;

impl IntoResponse for ClientAddrMissing {
    fn into_response(self) -> Response {
        crate::reply::mistake(NO_CLIENT)
    }
}

guard_layer!(TrustedProxies, ClientAddrMissing);

impl Guard for TrustedProxies {
    type Rejection = ClientAddrMissing;
    type Awaited = Infallible;
    type Note = ();

    fn settings(&self) -> &Settings<ClientAddrMissing> {
        &self.settings
    }

    fn check(&self, request: &mut Request) -> Verdict<Self> {
        let Some(peer) = peer(request.extensions()) else {
            return Verdict::Reject(ClientAddrMissing);
        };
        let client = self.client_addr(peer.ip(), request.headers());
        request.extensions_mut().insert(client);
        Verdict::Pass(())
    }

    fn resume(&self, _: &mut Request, awaited: Infallible) -> Result<(), ClientAddrMissing> {
        match awaited {}
    }
}

/// The peer of the connection, as axum's servers provide it.
fn peer(extensions: &Extensions) -> Option<SocketAddr> {
    let connected = extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer);
    let mocked = || extensions.get::<MockConnectInfo<SocketAddr>>().map(|info| info.0);
    connected.or_else(mocked)
}

#[cfg(test)]
mod tests;
