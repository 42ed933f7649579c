//! `tracera healthcheck`: asks the server with the same environment for its health. For containers
//! without curl.

use std::fmt::Display;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::config::{HttpSettings, ListenAddr};

/// Longer than the server needs to report a failed store, and shorter than Docker's timeout of 30
/// s.
const LIMIT: Duration = Duration::from_secs(5);
const PATH: &str = "/api/v1/health";
const MAX_BYTES: u64 = 16 * 1024;
/// A PROXY header for a connection on the proxy's own behalf.
const OWN_BEHALF: &[u8] = b"PROXY UNKNOWN\r\n";

/// Why the server is not healthy.
#[derive(Debug, thiserror::Error)]
pub enum NotHealthy {
    /// The port is chosen when the server starts, so it is unknown.
    #[error("LISTEN_ADDR has port 0, so that nobody knows where to ask; choose a port")]
    NoPort,
    /// The server did not respond.
    #[error("no answer from {0}: {1}")]
    Silent(String, #[source] io::Error),
    /// The server reported a problem.
    #[error("the server at {0} says: {1}")]
    Unwell(String, String),
}

/// Requests the health of the server with these settings.
///
/// # Errors
/// [`NotHealthy`] unless the status is 200 within five seconds.
pub async fn ask(http: &HttpSettings) -> Result<String, NotHealthy> {
    match &http.listen_addr {
        ListenAddr::Tcp(addr) if addr.port() == 0 => Err(NotHealthy::NoPort),
        ListenAddr::Tcp(addr) => {
            let addr = reachable(*addr);
            let greeting = greeting(http, addr.ip());
            judge(addr, async { fetch(TcpStream::connect(addr).await?, greeting).await }).await
        }
        ListenAddr::Unix(path) => {
            let greeting = greeting(http, Ipv4Addr::LOCALHOST.into());
            let asked = async { fetch(UnixStream::connect(path).await?, greeting).await };
            judge(&http.listen_addr, asked).await
        }
    }
}

/// The PROXY header that a trusted proxy must send first.
fn greeting(http: &HttpSettings, from: IpAddr) -> &'static [u8] {
    let greets = http.proxy_protocol && http.trusted_proxies.contains(from);
    if greets { OWN_BEHALF } else { b"" }
}

async fn judge(
    addr: impl Display,
    asked: impl Future<Output = io::Result<String>>,
) -> Result<String, NotHealthy> {
    let addr = addr.to_string();
    let answer =
        timeout(LIMIT, asked).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Err(NotHealthy::Silent(addr, error)),
    };
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    // Keeps the message on one line, whatever responded.
    let said: String =
        if body.is_empty() { status } else { body }.chars().filter(|c| !c.is_control()).collect();
    if status.starts_with("HTTP/1.1 200 ") { Ok(said) } else { Err(NotHealthy::Unwell(addr, said)) }
}

/// A server that listens on all addresses is reachable by loopback.
fn reachable(mut addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => addr.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => addr.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    addr
}

async fn fetch(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    greeting: &[u8],
) -> io::Result<String> {
    let request = format!("GET {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(&[greeting, request.as_bytes()].concat()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_BYTES).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio::net::TcpListener;

    use super::*;
    use crate::config::{Config, Mode};

    async fn ask(addr: SocketAddr) -> Result<String, NotHealthy> {
        let secret = "kS0vV3y1QmZbq2nD8rTfXh5LwJ7cEu9A".to_owned();
        let vars = [("SESSION_SECRET", secret), ("LISTEN_ADDR", addr.to_string())];
        let vars: BTreeMap<_, _> = vars.map(|(name, value)| (name.to_owned(), value)).into();
        super::ask(&Config::from_vars(&vars, Mode::Serve).unwrap().http).await
    }

    /// A listener that accepts one connection and sends `answer`, or nothing and keeps it open.
    async fn saying(answer: Option<&'static str>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /api/v1/health HTTP/1.1\r\n"));
            match answer {
                Some(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
                None => std::future::pending().await,
            }
        });
        addr
    }

    #[tokio::test]
    async fn only_200_is_healthy_and_what_was_said_is_one_line() {
        let well = saying(Some("HTTP/1.1 200 OK\r\n\r\n{\"status\":\"ok\"}\n")).await;
        assert_eq!(ask(well).await.unwrap(), "{\"status\":\"ok\"}");
        for (answer, says) in [
            (
                "HTTP/1.1 503 Service Unavailable\r\n\r\n{\"redis\":\"down\"}",
                "says: {\"redis\":\"down\"}",
            ),
            ("SSH-2.0-OpenSSH\r\nx\r\n", "says: SSH-2.0-OpenSSH"),
            ("", "says: "),
        ] {
            let why = ask(saying(Some(answer)).await).await.unwrap_err().to_string();
            assert!(why.ends_with(says) && why.lines().count() == 1, "{why}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_is_not_waited_for() {
        let why = ask(saying(None).await).await.unwrap_err().to_string();
        assert!(why.ends_with("timed out"), "{why}");
    }

    #[tokio::test]
    async fn a_server_that_listens_everywhere_is_asked_by_loopback() {
        for (listens, asked) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("10.0.0.1:80", "10.0.0.1:80"),
        ] {
            assert_eq!(reachable(listens.parse().unwrap()).to_string(), asked);
        }
        let no_port = ask("127.0.0.1:0".parse().unwrap()).await;
        assert!(matches!(no_port, Err(NotHealthy::NoPort)));
    }
}
