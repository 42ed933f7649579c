//! Tests the Redis parts against real servers.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracera_testkit::{RedisCluster, RedisSentinel, RedisServer};

#[tokio::test]
async fn a_restarted_server_keeps_its_port_and_loses_its_data() {
    let redis = RedisServer::start().await;
    redis.cli(&["SET", "key", "value"]).await;
    assert_eq!(redis.cli(&["GET", "key"]).await, "value");
    redis.restart().await;
    assert_eq!(redis.cli(&["DBSIZE"]).await, "0");
    redis.kill();
    assert!(TcpStream::connect(("127.0.0.1", redis.port())).await.is_err());
    redis.restart().await;
    assert_eq!(redis.cli(&["PING"]).await, "PONG");
}

#[tokio::test]
async fn a_frozen_server_is_silent_until_thawed() {
    let redis = RedisServer::start().await;
    redis.freeze().await;
    let mut connection = TcpStream::connect(("127.0.0.1", redis.port())).await.unwrap();
    connection.write_all(b"PING\r\n").await.unwrap();
    let mut reply = [0; 7];
    let early =
        tokio::time::timeout(Duration::from_millis(50), connection.read_exact(&mut reply)).await;
    assert!(early.is_err(), "{reply:?}");
    redis.thaw();
    connection.read_exact(&mut reply).await.unwrap();
    assert_eq!(&reply, b"+PONG\r\n");
}

#[tokio::test]
async fn a_dump_shows_values_of_every_type_and_calls_are_counted() {
    let redis = RedisServer::start_with(&["--maxmemory", "20mb"]).await;
    assert_eq!(redis.cli(&["CONFIG", "GET", "maxmemory"]).await, "maxmemory\n20971520");
    assert_eq!(redis.command_calls("hset").await, 0);
    for command in [
        ["SET", "string", "in-string", "EX", "100"].as_slice(),
        &["HSET", "hash", "field", "in-hash"],
        &["RPUSH", "list", "in-list"],
        &["SADD", "set", "in-set"],
        &["ZADD", "zset", "1", "in-zset"],
        &["XADD", "stream", "*", "field", "in-stream"],
    ] {
        redis.cli(command).await;
    }
    assert_eq!(redis.command_calls("hset").await, 1);
    let dump = String::from_utf8_lossy(&redis.dump_all().await).into_owned();
    for kind in ["string", "hash", "list", "set", "zset", "stream"] {
        assert!(dump.contains(&format!("in-{kind}")), "{kind} is missing in {dump}");
    }
}

#[tokio::test]
#[should_panic(expected = "ERR unknown command")]
async fn an_error_reply_fails_the_test() {
    RedisServer::start().await.cli(&["NONSENSE"]).await;
}

/// Sets `key` to `value` and waits for `replicas` replicas. On one connection, because WAIT covers
/// the writes of its own connection only.
async fn set_on_replicas(primary: &RedisServer, replicas: usize) {
    let mut connection =
        TcpStream::connect(("127.0.0.1", primary.port())).await.expect("the primary accepts");
    let commands = format!("SET key value\r\nWAIT {replicas} 5000\r\n");
    connection.write_all(commands.as_bytes()).await.expect("the primary reads");
    let expected = format!("+OK\r\n:{replicas}\r\n");
    let mut reply = vec![0; expected.len()];
    connection.read_exact(&mut reply).await.expect("the primary answers");
    assert_eq!(String::from_utf8_lossy(&reply), expected);
}

#[tokio::test]
async fn a_cluster_survives_the_death_of_a_primary() {
    let cluster = RedisCluster::start().await;
    assert_eq!(cluster.urls().len(), 6);
    let old = cluster.primary_of("key").await;
    set_on_replicas(old, 1).await;
    cluster.kill_primary_of("key").await;
    cluster.wait_for_failover_of("key").await;
    let new = cluster.primary_of("key").await;
    assert_ne!(new.port(), old.port());
    assert_eq!(new.cli(&["GET", "key"]).await, "value");
}

#[tokio::test]
async fn a_cluster_moves_a_slot_with_its_keys() {
    let cluster = RedisCluster::start().await;
    let old = cluster.primary_of("key").await;
    set_on_replicas(old, 1).await;
    let mut others = cluster.nodes().iter().filter(|node| node.port() != old.port());
    let new = loop {
        let node = others.next().expect("there are three primaries");
        if node.cli(&["ROLE"]).await.starts_with("master") {
            break node;
        }
    };
    let migration = cluster.migrate_slot_of("key", new).await;
    assert_eq!(old.cli(&["GET", "key"]).await, "value");
    migration.move_keys().await;
    assert_eq!(ask(old, "GET key").await, format!("-ASK 12539 127.0.0.1:{}", new.port()));
    migration.finish().await;
    assert_eq!(ask(old, "GET key").await, format!("-MOVED 12539 127.0.0.1:{}", new.port()));
    assert_eq!(new.cli(&["GET", "key"]).await, "value");
    assert_eq!(cluster.primary_of("key").await.port(), new.port());
    assert_eq!((old.error_replies("ASK").await, old.error_replies("MOVED").await), (1, 1));
}

/// The first line of the reply to a command.
async fn ask(server: &RedisServer, command: &str) -> String {
    let mut connection =
        TcpStream::connect(("127.0.0.1", server.port())).await.expect("the server accepts");
    connection.write_all(format!("{command}\r\n").as_bytes()).await.expect("the server reads");
    let mut line = String::new();
    tokio::io::BufReader::new(connection).read_line(&mut line).await.expect("the server answers");
    line.trim_end().to_owned()
}

#[tokio::test]
async fn sentinels_replace_a_dead_primary() {
    let group = RedisSentinel::start().await;
    assert!(
        group.url().starts_with("redis+sentinel://127.0.0.1:") && group.url().ends_with("/tracera")
    );
    let old = group.primary().await;
    set_on_replicas(old, 2).await;
    group.kill_primary().await;
    group.wait_for_failover().await;
    let new = group.primary().await;
    assert_ne!(new.port(), old.port());
    assert_eq!(new.cli(&["GET", "key"]).await, "value");
}
