//! Every fault of the proxy, in front of a real Redis.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracera_testkit::{Fault, FaultProxy, RedisServer};

const LIMIT: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_millis(50);

async fn start() -> (RedisServer, FaultProxy) {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.port()).await;
    (redis, proxy)
}

async fn connect(proxy: &FaultProxy) -> TcpStream {
    TcpStream::connect(("127.0.0.1", proxy.port())).await.expect("the proxy accepts")
}

fn request(words: &[&str]) -> String {
    let bulks: Vec<String> =
        words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{}\r\n{}", words.len(), bulks.concat())
}

async fn send(connection: &mut TcpStream, words: &[&str]) {
    connection.write_all(request(words).as_bytes()).await.expect("the connection takes a request");
}

async fn expect(connection: &mut TcpStream, expected: &str) {
    let mut reply = vec![0; expected.len()];
    let read = tokio::time::timeout(LIMIT, connection.read_exact(&mut reply)).await;
    read.expect("a reply comes in time").expect("a whole reply comes");
    assert_eq!(String::from_utf8_lossy(&reply), expected);
}

async fn expect_reset(connection: &mut TcpStream) {
    let read =
        tokio::time::timeout(LIMIT, connection.read_u8()).await.expect("the reset comes in time");
    assert_eq!(read.expect_err("no byte comes").kind(), ErrorKind::ConnectionReset);
}

async fn is_silent(connection: &mut TcpStream) -> bool {
    tokio::time::timeout(SILENCE, connection.read_u8()).await.is_err()
}

#[tokio::test]
async fn requests_pass_and_a_dead_server_is_noticed() {
    let (redis, proxy) = start().await;
    let mut connection = connect(&proxy).await;
    send(&mut connection, &["SET", "key", "value"]).await;
    expect(&mut connection, "+OK\r\n").await;
    connection.write_all(b"PING\r\n").await.unwrap();
    expect(&mut connection, "+PONG\r\n").await;
    assert_eq!(redis.cli(&["GET", "key"]).await, "value");
    redis.kill();
    let ended = tokio::time::timeout(LIMIT, connection.read(&mut [0])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
}

#[tokio::test]
async fn refuse_resets_connections_and_closes_the_port_until_healed() {
    let (_redis, proxy) = start().await;
    let mut old = connect(&proxy).await;
    send(&mut old, &["PING"]).await;
    expect(&mut old, "+PONG\r\n").await;
    proxy.set(Fault::Refuse).await;
    expect_reset(&mut old).await;
    let refused = TcpStream::connect(("127.0.0.1", proxy.port())).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    proxy.set(Fault::None).await;
    let mut new = connect(&proxy).await;
    send(&mut new, &["PING"]).await;
    expect(&mut new, "+PONG\r\n").await;
}

#[tokio::test]
async fn a_black_hole_swallows_old_and_new_connections() {
    let (redis, proxy) = start().await;
    let mut old = connect(&proxy).await;
    send(&mut old, &["PING"]).await;
    expect(&mut old, "+PONG\r\n").await;
    proxy.set(Fault::BlackHole).await;
    let mut new = connect(&proxy).await;
    for connection in [&mut old, &mut new] {
        send(connection, &["SET", "key", "value"]).await;
        assert!(is_silent(connection).await);
    }
    proxy.set(Fault::None).await;
    expect_reset(&mut old).await;
    expect_reset(&mut new).await;
    assert_eq!(redis.cli(&["EXISTS", "key"]).await, "0");
}

#[tokio::test]
async fn a_delayed_reply_comes_late_but_whole() {
    let (_redis, proxy) = start().await;
    proxy.set(Fault::Delay(SILENCE * 4)).await;
    let mut connection = connect(&proxy).await;
    send(&mut connection, &["PING"]).await;
    assert!(is_silent(&mut connection).await);
    expect(&mut connection, "+PONG\r\n").await;
}

#[tokio::test]
async fn a_cut_reply_is_followed_by_a_reset_and_happens_once() {
    let (redis, proxy) = start().await;
    let mut connection = connect(&proxy).await;
    proxy.set(Fault::CutReply(2)).await;
    send(&mut connection, &["INCR", "counter"]).await;
    expect(&mut connection, ":1").await;
    expect_reset(&mut connection).await;
    assert_eq!(redis.cli(&["GET", "counter"]).await, "1");
    let mut next = connect(&proxy).await;
    send(&mut next, &["INCR", "counter"]).await;
    expect(&mut next, ":2\r\n").await;
}

#[tokio::test]
async fn injected_replies_keep_their_place_in_a_pipeline() {
    let (redis, proxy) = start().await;
    proxy.inject_once("incr", "-OOM command not allowed\r\n");
    proxy.inject("GET", "-LOADING Redis is loading\r\n");
    let mut connection = connect(&proxy).await;
    let pipeline =
        ["INCR", "INCR", "GET", "INCR", "GET"].map(|command| request(&[command, "counter"]));
    connection.write_all(pipeline.concat().as_bytes()).await.unwrap();
    let replies = "-OOM command not allowed\r\n:1\r\n-LOADING Redis is loading\r\n:2\r\n-LOADING \
                   Redis is loading\r\n";
    expect(&mut connection, replies).await;
    proxy.clear_rules();
    send(&mut connection, &["GET", "counter"]).await;
    expect(&mut connection, "$1\r\n2\r\n").await;
    assert_eq!(redis.command_calls("get").await, 1);
}

#[tokio::test]
async fn a_held_request_waits_for_its_release() {
    let (redis, proxy) = start().await;
    let mut hold = proxy.hold_next("SET");
    let mut slow = connect(&proxy).await;
    let mut other = connect(&proxy).await;
    send(&mut slow, &["SET", "key", "slow"]).await;
    hold.reached().await;
    send(&mut other, &["SET", "key", "other"]).await;
    expect(&mut other, "+OK\r\n").await;
    assert_eq!(redis.cli(&["GET", "key"]).await, "other");
    hold.release();
    expect(&mut slow, "+OK\r\n").await;
    assert_eq!(redis.cli(&["GET", "key"]).await, "slow");
}

#[tokio::test]
async fn a_held_request_can_be_refused() {
    let (redis, proxy) = start().await;
    let mut hold = proxy.hold_next("SET");
    let mut connection = connect(&proxy).await;
    send(&mut connection, &["SET", "key", "value"]).await;
    hold.reached().await;
    proxy.set(Fault::Refuse).await;
    hold.release();
    expect_reset(&mut connection).await;
    assert_eq!(redis.cli(&["EXISTS", "key"]).await, "0");
}
