//! Connections: their lifetime, their number per client, their start and their end.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::get;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracera::config::ListenAddr;
use tracera::http::serve::{Listener, ServeLimits, Serving, serve};
use tracera_guard::SecurityHeaders;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
/// Longer than any step of the tests.
const LONG: Duration = Duration::from_secs(20);
const MIB: usize = 1024 * 1024;

fn routes() -> Router {
    let large = || async { Body::from(Bytes::from(vec![b'x'; 16 * MIB])) };
    let peer = |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() };
    Router::new().route("/", get(peer)).route("/large", get(large))
}

async fn start(change: impl FnOnce(&mut Serving)) -> (SocketAddr, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let mut serving = Serving::new(SecurityHeaders::new(), stop.clone());
    change(&mut serving);
    tokio::spawn(serve(listener, routes(), serving));
    (addr, stop.drop_guard())
}

async fn limited(limits: ServeLimits) -> (SocketAddr, DropGuard) {
    start(|serving| serving.limits = limits).await
}

fn trusting(serving: &mut Serving) {
    serving.proxies = "127.0.0.1".parse().unwrap();
}

/// Sends `bytes` and reads one response, or until the end of the connection.
async fn exchange(stream: &mut (impl AsyncRead + AsyncWriteExt + Unpin), bytes: &[u8]) -> String {
    stream.write_all(bytes).await.unwrap();
    read_answer(stream).await
}

fn is_whole(answer: &str) -> bool {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.is_some_and(|length| length.parse() == Ok(body.len()))
}

async fn read_answer(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    let reading = async {
        loop {
            let text = String::from_utf8_lossy(&answer).into_owned();
            if is_whole(&text) || stream.read_buf(&mut answer).await.unwrap_or(0) == 0 {
                return text;
            }
        }
    };
    timeout(LONG, reading).await.expect("an answer or the end")
}

#[tokio::test]
async fn a_connection_waits_longer_for_a_request_than_for_its_headers() {
    let limits = ServeLimits {
        idle: Duration::from_secs(4),
        header_read: Duration::from_millis(500),
        ..ServeLimits::default()
    };
    let (addr, _stop) = limited(limits).await;
    let mut idle = TcpStream::connect(addr).await.unwrap();
    assert!(exchange(&mut idle, REQUEST).await.starts_with("HTTP/1.1 200"));
    let begun = Instant::now();
    sleep(limits.header_read * 2).await;
    assert!(exchange(&mut idle, REQUEST).await.starts_with("HTTP/1.1 200"), "idle is not slow");

    let mut slow = TcpStream::connect(addr).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let begun_slow = Instant::now();
    assert_eq!(read_answer(&mut slow).await, "", "closed");
    assert!(begun_slow.elapsed() < limits.idle, "{:?}", begun_slow.elapsed());

    assert_eq!(read_answer(&mut idle).await, "", "idle connections end too");
    assert!(begun.elapsed() >= limits.idle);
}

#[tokio::test]
async fn who_reads_nothing_loses_the_connection_and_who_reads_slowly_does_not() {
    let limits = ServeLimits { stall: Duration::from_secs(3), ..ServeLimits::default() };
    let (addr, _stop) = limited(limits).await;
    let request = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n";

    let mut honest = TcpStream::connect(addr).await.unwrap();
    honest.write_all(request).await.unwrap();
    let honest = tokio::spawn(async move {
        let (mut read, mut piece) = (0, vec![0; 100_000]);
        let begun = Instant::now();
        // The rate is 1 MB/s with a tenth of the default limit, which corresponds to 100 kB/s with
        // the full limit.
        while begun.elapsed() < limits.stall * 3 {
            read += honest.read_exact(&mut piece).await.expect("still served");
            sleep(Duration::from_millis(100)).await;
        }
        read
    });

    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let mut deaf = socket.connect(addr).await.unwrap();
    // Unread responses block the next ones.
    deaf.write_all(&request.repeat(50)).await.unwrap();
    sleep(limits.stall * 2).await;
    let mut rest = Vec::new();
    let ended = timeout(LONG, deaf.read_to_end(&mut rest)).await.unwrap();
    assert!(ended.is_err(), "it is reset");
    assert!(rest.len() < MIB, "{} bytes waited for the reader", rest.len());
    assert!(honest.await.unwrap() > 3_000_000);
}

#[tokio::test]
async fn one_client_has_so_many_connections_and_a_trusted_proxy_any_number() {
    let limits = ServeLimits { connections_per_client: 3, ..ServeLimits::default() };
    let (addr, _stop) = limited(limits).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        assert!(exchange(&mut stream, REQUEST).await.starts_with("HTTP/1.1 200"));
        open.push(stream);
    }
    let mut fourth = TcpStream::connect(addr).await.unwrap();
    let _ = fourth.write_all(REQUEST).await;
    assert_eq!(read_answer(&mut fourth).await, "");
    open.pop();
    crate::harness::eventually(|| async {
        let mut again = TcpStream::connect(addr).await.unwrap();
        let _ = again.write_all(REQUEST).await;
        read_answer(&mut again).await.starts_with("HTTP/1.1 200").then_some(())
    })
    .await;

    let (addr, _stop) = start(|serving| {
        serving.limits = limits;
        trusting(serving);
    })
    .await;
    for _ in 0..10 {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        assert!(exchange(&mut stream, REQUEST).await.starts_with("HTTP/1.1 200"));
        open.push(stream);
    }
}

#[tokio::test]
async fn a_trusted_proxy_names_the_client_in_front_and_a_stranger_is_itself() {
    let (addr, _stop) = start(|serving| {
        trusting(serving);
        serving.proxy_protocol = true;
        serving.limits.header_read = Duration::from_millis(500);
    })
    .await;
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\x10\x20\0\x50";
    for header in [&b"PROXY TCP4 192.0.2.7 10.0.0.1 4128 80\r\n"[..], v2] {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let answer = exchange(&mut stream, &[header, REQUEST].concat()).await;
        assert!(answer.ends_with("\r\n\r\n192.0.2.7:4128"), "{answer}");
        let again = exchange(&mut stream, REQUEST).await;
        assert!(again.ends_with("\r\n\r\n192.0.2.7:4128"), "for the whole connection: {again}");
    }
    let mut health = TcpStream::connect(addr).await.unwrap();
    let answer = exchange(&mut health, &[b"PROXY UNKNOWN\r\n", REQUEST].concat()).await;
    assert!(answer.contains("\r\n\r\n127.0.0.1:"), "{answer}");
    for refused in [REQUEST, b"PROXY TCP4 192.0.2.7\r\n", b"PROXY TCP4 192.0.2.7 "] {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        assert_eq!(exchange(&mut stream, refused).await, "", "closed without an answer");
    }

    let (addr, _stop) = start(|serving| {
        serving.proxies = "192.0.2.1".parse().unwrap();
        serving.proxy_protocol = true;
    })
    .await;
    let mut stranger = TcpStream::connect(addr).await.unwrap();
    assert!(exchange(&mut stranger, REQUEST).await.contains("\r\n\r\n127.0.0.1:"));
    let mut liar = TcpStream::connect(addr).await.unwrap();
    let lie = [b"PROXY TCP4 192.0.2.7 10.0.0.1 1 80\r\n", REQUEST].concat();
    let answer = exchange(&mut liar, &lie).await;
    assert!(!answer.contains("192.0.2.7"), "{answer}");
}

#[tokio::test]
async fn http_2_without_tls_is_spoken_with_trusted_proxies_alone() {
    // The preface and an empty SETTINGS frame (RFC 9113, 3.4).
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let (addr, _stop) = start(trusting).await;
    let mut proxy = TcpStream::connect(addr).await.unwrap();
    proxy.write_all(preface).await.unwrap();
    let mut frame = [0; 9];
    timeout(LONG, proxy.read_exact(&mut frame)).await.unwrap().unwrap();
    assert_eq!(frame[3], 4, "SETTINGS: {frame:?}");

    let (addr, _stop) = limited(ServeLimits::default()).await;
    let mut stranger = TcpStream::connect(addr).await.unwrap();
    let answer = exchange(&mut stranger, preface).await;
    assert!(!answer.contains("\0\x04"), "{answer:?}");
}

#[tokio::test]
async fn a_socket_file_is_served_like_an_address() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = Listener::bind(&ListenAddr::Unix(path.clone())).await.unwrap();
    let stop = CancellationToken::new();
    let serving = Serving::new(SecurityHeaders::new(), stop.clone());
    tokio::spawn(serve(listener, routes(), serving));
    let _stop = stop.drop_guard();
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let answer = exchange(&mut stream, REQUEST).await;
    assert!(answer.ends_with("\r\n\r\n127.0.0.1:0"), "{answer}");
}

#[tokio::test]
async fn headers_are_bounded_in_size() {
    let (addr, _stop) = limited(ServeLimits::default()).await;
    let with_header =
        |bytes: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(bytes));
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let answer = exchange(&mut stream, with_header(20 * 1024).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let mut refused = String::new();
    let _ = stream.write_all(with_header(25 * 1024).as_bytes()).await;
    let _ = stream.read_to_string(&mut refused).await;
    assert!(refused.starts_with("HTTP/1.1 431"), "{refused}");
}

#[tokio::test]
async fn while_draining_answers_close_their_connections_and_then_nobody_is_listened_to() {
    let draining = CancellationToken::new();
    let token = draining.clone();
    let (addr, stop) = start(|serving| serving.draining = token).await;
    let mut kept = TcpStream::connect(addr).await.unwrap();
    let answer = exchange(&mut kept, REQUEST).await;
    assert!(!answer.contains("connection: close"), "{answer}");
    draining.cancel();
    for stream in [&mut kept, &mut TcpStream::connect(addr).await.unwrap()] {
        let answer = exchange(stream, REQUEST).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        assert_eq!(read_answer(stream).await, "");
    }
    // Connected, but perhaps not accepted yet.
    let mut last = TcpStream::connect(addr).await.unwrap();
    drop(stop);
    assert!(exchange(&mut last, REQUEST).await.starts_with("HTTP/1.1 200"));
    crate::harness::eventually(|| async { TcpStream::connect(addr).await.err() }).await;
}
