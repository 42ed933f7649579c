//! Listening, the public URL and proxies.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use tracera_guard::{ProxyHeader, TrustedProxies};
use url::Url;

use super::Mode;
use super::address::{is_loopback, not_a_url};
use super::problem::{Wrong, quoted};
use super::reader::{Read, Reader, parse_bool};
use crate::domain::email::Email;

/// Listening, the public URL and proxies.
#[derive(Debug)]
pub struct HttpSettings {
    /// The public origin; its path is `/`. Default `http://localhost:8080`; in dev mode with the
    /// port of `listen_addr`.
    pub base_url: Url,
    /// Socket to bind. Default `127.0.0.1:8080`.
    pub listen_addr: ListenAddr,
    /// How long a connection may wait for its next request. Default 130 s.
    pub idle_connection: Duration,
    /// How long the server keeps listening after it was asked to stop. Default: zero.
    pub drain: Duration,
    /// Maximum number of open connections per client. Default 200.
    pub connections_per_client: usize,
    /// Whether trusted proxies use the PROXY protocol. Default no.
    pub proxy_protocol: bool,
    /// Proxies whose forwarding header is trusted, and the name of that header. Default none, with
    /// `X-Forwarded-For`.
    pub trusted_proxies: TrustedProxies,
    /// Timeout of a request. Default 30 s.
    pub request_timeout: Duration,
    /// The security contact: a `mailto:` or `https` URL. Default none.
    pub security_contact: Option<String>,
}

/// The address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddr {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl ListenAddr {
    /// The port of a TCP address.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(addr) => Some(addr.port()),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl HttpSettings {
    /// Whether the public URL is `https`.
    pub fn is_https(&self) -> bool {
        self.base_url.scheme() == "https"
    }

    /// Whether the public URL is reachable from this machine only.
    pub fn is_local(&self) -> bool {
        self.base_url.host_str().is_some_and(is_loopback)
    }
}

pub(super) fn read(reader: &mut Reader<'_>) -> Read<HttpSettings> {
    let listen_addr = read_listen_addr(reader);
    let base_url = read_base_url(reader, listen_addr.as_ref().ok());
    let trusted_proxies = read_trusted_proxies(reader, listen_addr.as_ref().ok());
    let timeout = reader.number("REQUEST_TIMEOUT_SECONDS", 1..=300);
    let idle = reader.number("IDLE_CONNECTION_SECONDS", 1..=3600);
    let drain = reader.number("DRAIN_SECONDS", 0..=300);
    let connections_per_client = reader.number("MAX_CONNECTIONS_PER_CLIENT", 1..=20_000);
    let proxy_protocol = reader.read("PROXY_PROTOCOL", parse_bool);
    let security_contact = reader.optional("SECURITY_CONTACT", parse_contact);
    let http = HttpSettings {
        base_url: base_url?,
        listen_addr: listen_addr?,
        trusted_proxies: trusted_proxies?,
        request_timeout: Duration::from_secs(timeout?),
        idle_connection: Duration::from_secs(idle?),
        drain: Duration::from_secs(drain?),
        connections_per_client: connections_per_client?,
        proxy_protocol: proxy_protocol?,
        security_contact: security_contact?,
    };
    let has_proxies = reader.given("TRUSTED_PROXIES").is_some()
        || matches!(http.listen_addr, ListenAddr::Unix(_));
    if http.proxy_protocol && !has_proxies {
        let wrong = Wrong::new(
            "is on while TRUSTED_PROXIES names nobody to send it",
            "set TRUSTED_PROXIES to the proxies in front",
        );
        return Err(reader.refuse("PROXY_PROTOCOL", wrong));
    }
    warn(reader, &http);
    Ok(http)
}

fn parse_contact(value: &str) -> Result<String, Wrong> {
    let is_mail = |address| Email::parse(address).is_ok_and(|email| email.as_str() == address);
    let url = Url::parse(value).ok();
    if url.as_ref().is_some_and(|url| !url.username().is_empty() || url.password().is_some()) {
        return Err(Wrong::new("holds a user name or password", "leave them out: it is published"));
    }
    let is_site = url.is_some_and(|url| url.scheme() == "https")
        && value.bytes().all(|byte| byte.is_ascii_graphic());
    if is_site || value.strip_prefix("mailto:").is_some_and(is_mail) {
        return Ok(value.to_owned());
    }
    // Any URL may contain a password, even a malformed one.
    let what = if value.contains("://") {
        "is no https address".to_owned()
    } else {
        format!("is {}", quoted(value))
    };
    Err(Wrong::new(what, "write mailto: and an address, or an https address"))
}

/// Parses the address for metrics. Default none.
pub(super) fn read_metrics_addr(
    reader: &mut Reader<'_>,
    http: Option<&HttpSettings>,
) -> Read<Option<SocketAddr>> {
    let Some(addr) = reader.optional("METRICS_ADDR", parse_socket_addr)? else {
        return Ok(None);
    };
    require_loopback_in_dev(reader, "METRICS_ADDR", addr)?;
    if http.is_some_and(|http| http.listen_addr == ListenAddr::Tcp(addr) && addr.port() != 0) {
        let wrong = Wrong::new("is the same as LISTEN_ADDR", "use another port");
        return Err(reader.refuse("METRICS_ADDR", wrong));
    }
    if !addr.ip().is_loopback() {
        reader.warn("METRICS_ADDR", "is not loopback: whoever reaches it can read the metrics");
    }
    Ok(Some(addr))
}

fn read_listen_addr(reader: &mut Reader<'_>) -> Read<ListenAddr> {
    let addr = reader.read("LISTEN_ADDR", parse_listen_addr)?;
    match &addr {
        ListenAddr::Tcp(addr) => require_loopback_in_dev(reader, "LISTEN_ADDR", *addr)?,
        ListenAddr::Unix(_) if reader.mode == Mode::Dev => {
            let what = "is a socket file, which no browser opens";
            let wrong = Wrong::new(what, "use 127.0.0.1:8080, or run `tracera serve`");
            return Err(reader.refuse("LISTEN_ADDR", wrong));
        }
        ListenAddr::Unix(_) => {}
    }
    Ok(addr)
}

fn parse_listen_addr(value: &str) -> Result<ListenAddr, Wrong> {
    match value.strip_prefix("unix:") {
        Some(path) if path.starts_with('/') => Ok(ListenAddr::Unix(path.into())),
        Some(_) => Err(Wrong::new(
            format!("is {}", quoted(value)),
            "write unix: and the whole path of a socket file, such as unix:/run/tracera/socket",
        )),
        None => parse_socket_addr(value).map(ListenAddr::Tcp),
    }
}

fn require_loopback_in_dev(
    reader: &mut Reader<'_>,
    name: &'static str,
    addr: SocketAddr,
) -> Read<()> {
    if reader.mode == Mode::Serve || addr.ip().is_loopback() {
        return Ok(());
    }
    let what = format!("is {addr}, but `tracera dev` is for this machine only");
    Err(reader.refuse(name, Wrong::new(what, "use 127.0.0.1 or [::1], or run `tracera serve`")))
}

pub(super) fn parse_socket_addr(value: &str) -> Result<SocketAddr, Wrong> {
    let remedy = "write an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080";
    value.parse().map_err(|_| Wrong::new(format!("is {}", quoted(value)), remedy))
}

fn read_base_url(reader: &mut Reader<'_>, listen_addr: Option<&ListenAddr>) -> Read<Url> {
    if reader.mode == Mode::Dev
        && reader.given("BASE_URL").is_none()
        && let Some(ListenAddr::Tcp(listen_addr)) = listen_addr
    {
        if listen_addr.port() == 0 {
            let wrong =
                Wrong::new("has port 0, so that the address to open is unknown", "choose a port");
            return Err(reader.refuse("LISTEN_ADDR", wrong));
        }
        let url = format!("http://localhost:{}", listen_addr.port());
        return Ok(Url::parse(&url).expect("a port makes this a URL"));
    }
    let url = reader.read("BASE_URL", parse_base_url)?;
    if reader.mode == Mode::Dev && !url.host_str().is_some_and(is_loopback) {
        let what = format!(
            "is {url}, but `tracera dev` is for this machine only: whoever opens it reads all mail"
        );
        return Err(
            reader.refuse("BASE_URL", Wrong::new(what, "leave it out, or run `tracera serve`"))
        );
    }
    Ok(url)
}

fn parse_base_url(value: &str) -> Result<Url, Wrong> {
    if value.trim() != value || value.contains(char::is_control) {
        return Err(Wrong::new("begins or ends with white space", "remove it"));
    }
    let url = Url::parse(value).map_err(not_a_url)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Wrong::new("is neither http nor https", "write an http or https URL"));
    }
    let plain = |host: &str| {
        host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    if url.port() == Some(0) || matches!(url.host(), Some(url::Host::Domain(host)) if !plain(host))
    {
        return Err(Wrong::new(
            "names a host or port no browser can open",
            "write the one public origin",
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Wrong::new("holds credentials", "write scheme, host and port only"));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(Wrong::new("is more than an origin", "write scheme, host and port only"));
    }
    Ok(url)
}

fn read_trusted_proxies(
    reader: &mut Reader<'_>,
    listen_addr: Option<&ListenAddr>,
) -> Read<TrustedProxies> {
    let networks = reader.optional("TRUSTED_PROXIES", |value| {
        value.split(',').map(|entry| parse_network(entry.trim())).collect::<Result<Vec<_>, _>>()
    });
    let header = reader.read("TRUSTED_PROXY_HEADER", |name| {
        let wrong =
            |_| Wrong::new(format!("is {}", quoted(name)), "write x-forwarded-for or forwarded");
        name.parse::<ProxyHeader>().map_err(wrong)
    });
    // Processes that can open the socket file are proxies. Their connections count as local.
    let local = matches!(listen_addr, Some(ListenAddr::Unix(_)))
        .then(|| IpNet::from(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    let networks = networks?.unwrap_or_default().into_iter().chain(local);
    Ok(networks.collect::<TrustedProxies>().header(header?))
}

/// Parses a network or a single address.
fn parse_network(entry: &str) -> Result<IpNet, Wrong> {
    if entry.is_empty() {
        return Err(Wrong::new("has an empty entry", "remove the comma too many"));
    }
    let network = entry
        .parse::<IpNet>()
        .or_else(|_| entry.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| {
            let remedy = "write networks such as 10.0.0.0/8, separated by commas";
            Wrong::new(format!("lists {}", quoted(entry)), remedy)
        })?;
    if network.trunc() != network {
        let what = format!("lists {}, an address inside a network", quoted(entry));
        return Err(Wrong::new(what, format!("write {} for the network", network.trunc())));
    }
    Ok(network)
}

fn warn(reader: &mut Reader<'_>, http: &HttpSettings) {
    if http.trusted_proxies.trusts_everybody() {
        reader.warn(
            "TRUSTED_PROXIES",
            "trusts every address: any client can choose the address it is counted by",
        );
    }
    if !http.is_https() && !http.is_local() {
        reader.warn("BASE_URL", "is http: cookies and sign-in links cross the network unencrypted");
    }
    let Some(port) = http.listen_addr.port() else { return };
    if reader.given("BASE_URL").is_none() && http.base_url.port() != Some(port) {
        let text = format!(
            "is not set: links will point to {} while port {port} is listened on",
            http.base_url
        );
        reader.warn("BASE_URL", text);
    }
}
