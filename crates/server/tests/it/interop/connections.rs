//! Connections between proxies and the server: no request is lost when they are kept or closed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Client;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracera_testkit::{RedisServer, free_port};

use super::proxy::Proxy;
use crate::harness::{SECRET, eventually};
use crate::process::Running;

/// Two instances over one Redis and one database.
struct Pair {
    redis: RedisServer,
    directory: TempDir,
    addrs: [SocketAddr; 2],
    extra: Vec<(&'static str, &'static str)>,
}

impl Pair {
    async fn new(extra: &[(&'static str, &'static str)]) -> Self {
        let addr = || SocketAddr::from(([127, 0, 0, 1], free_port()));
        Self {
            redis: RedisServer::start().await,
            directory: tempfile::tempdir().unwrap(),
            addrs: [addr(), addr()],
            extra: extra.to_vec(),
        }
    }

    async fn start(&self, which: usize) -> Running {
        let redis = self.redis.url();
        let own = [
            ("SESSION_SECRET", SECRET),
            ("REDIS_URL", &*redis),
            ("BASE_URL", "https://tracera.example"),
            ("TRUSTED_PROXIES", "127.0.0.1"),
            ("PRICE_FEED_URL", "file:///nothing"),
            ("AUTH_RATE_LIMIT_PER_MINUTE", "10000"),
        ];
        let vars = [&own, &self.extra[..]].concat();
        Running::start_at(self.addrs[which], "serve", self.directory.path(), &vars).await
    }
}

/// The error, if the request failed.
async fn get(client: &Client, url: &str) -> Result<(), String> {
    let answer = client.get(url).send().await.map_err(|error| format!("{error:?}"))?;
    let status = answer.status();
    answer.bytes().await.map_err(|error| format!("{error:?}"))?;
    if status.is_success() { Ok(()) } else { Err(status.to_string()) }
}

/// Waits until the instance has written so many lines with this text about requests it answered.
async fn answered(running: &Running, count: usize, text: &str) {
    let is_one = |line: &&str| line.contains(r#""message":"answered""#) && line.contains(text);
    eventually(|| async {
        let log = running.log();
        (log.lines().filter(is_one).count() >= count).then_some(())
    })
    .await;
}

/// Two thousand requests around the moment when the proxy closes idle connections. The server keeps
/// them longer, so that none is lost.
async fn race(proxy: Proxy) {
    let client = proxy.client([127, 0, 0, 1]);
    let url = proxy.url("/healthz");
    let mut requests = JoinSet::new();
    for worker in 0..100_u64 {
        let (client, url) = (client.clone(), url.clone());
        requests.spawn(async move {
            let mut failures = Vec::new();
            for round in 0..20 {
                failures.extend(get(&client, &url).await.err());
                sleep(Duration::from_millis(900 + (worker * 7 + round * 31) % 200)).await;
            }
            failures
        });
    }
    let failures: Vec<String> = requests.join_all().await.concat();
    assert!(failures.is_empty(), "{failures:?}\n{}", proxy.logs());
}

/// Instances that keep idle connections for three seconds, for proxies that keep them for one.
async fn patient() -> (Pair, [Running; 2]) {
    let pair = Pair::new(&[("IDLE_CONNECTION_SECONDS", "3")]).await;
    let running = [pair.start(0).await, pair.start(1).await];
    (pair, running)
}

#[tokio::test]
async fn nginx_loses_no_request_to_an_idle_connection() {
    let (pair, _running) = patient().await;
    let changes =
        [("keepalive_timeout 10s", "keepalive_timeout 1s"), ("keepalive 32", "keepalive 128")];
    race(Proxy::nginx_with(pair.addrs, &changes).await).await;
}

#[tokio::test]
async fn haproxy_loses_no_request_to_an_idle_connection() {
    let (pair, _running) = patient().await;
    let changes = [("pool-purge-delay 5s", "pool-purge-delay 1s")];
    race(Proxy::haproxy_with(pair.addrs, &changes).await).await;
}

#[tokio::test]
async fn caddy_loses_no_request_to_an_idle_connection() {
    let (pair, _running) = patient().await;
    race(Proxy::caddy_with(pair.addrs, &[("keepalive 10s", "keepalive 1s")]).await).await;
}

#[tokio::test]
async fn apache_loses_no_request_to_an_idle_connection() {
    let (pair, _running) = patient().await;
    race(Proxy::apache_with(pair.addrs, &[("ttl=10", "ttl=1")]).await).await;
}

/// Restarts two instances in turn, twenty times, during requests.
async fn restarts(pair: &Pair, proxy: Proxy, mut running: [Option<Running>; 2]) {
    let client = proxy.client([127, 0, 0, 1]);
    let login = proxy.url("/login");
    let (done, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut load = JoinSet::new();
    for _ in 0..8 {
        let (client, login, done, count) =
            (client.clone(), login.clone(), done.clone(), count.clone());
        load.spawn(async move {
            let mut failures = Vec::new();
            while !done.load(Ordering::Relaxed) {
                failures.extend(get(&client, &login).await.err());
                count.fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_millis(5)).await;
            }
            failures
        });
    }
    for restart in 0..20 {
        let which = restart % 2;
        let status = running[which].take().unwrap().stop().await;
        assert_eq!(status, Some(0));
        running[which] = Some(pair.start(which).await);
        // Before the other one goes, the proxy has to use this one again.
        answered(running[which].as_ref().unwrap(), 1, r#""route":"/login""#).await;
    }
    done.store(true, Ordering::Relaxed);
    let failures: Vec<String> = load.join_all().await.concat();
    let count = count.load(Ordering::Relaxed);
    assert!(failures.is_empty(), "{} of {count}: {failures:?}\n{}", failures.len(), proxy.logs());
    assert!(count > 1_000, "{count}");
}

async fn draining() -> (Pair, [Option<Running>; 2]) {
    let pair = Pair::new(&[("DRAIN_SECONDS", "1")]).await;
    let running = [Some(pair.start(0).await), Some(pair.start(1).await)];
    (pair, running)
}

#[tokio::test]
async fn twenty_restarts_behind_nginx_lose_no_request() {
    let (pair, running) = draining().await;
    restarts(&pair, Proxy::nginx(pair.addrs).await, running).await;
}

#[tokio::test]
async fn twenty_restarts_behind_haproxy_lose_no_request() {
    let (pair, running) = draining().await;
    let changes = [("inter 2s fall 2", "inter 200ms fall 1")];
    restarts(&pair, Proxy::haproxy_with(pair.addrs, &changes).await, running).await;
}

#[tokio::test]
async fn haproxy_may_name_the_client_in_front_speak_http_2_and_check_without_a_path() {
    let quick = "source 127.0.0.2 check inter 200ms fall 1";
    let usual = "check inter 2s fall 2";
    // The tests' own requests come from another address, which is not trusted.
    let trusted = ("TRUSTED_PROXIES", "127.0.0.2");
    for (protocol, with) in [
        ("on", "send-proxy check-send-proxy"),
        ("on", "send-proxy-v2 check-send-proxy"),
        ("off", "proto h2"),
    ] {
        let pair = Pair::new(&[("PROXY_PROTOCOL", protocol), trusted]).await;
        let changes = [(usual, &*format!("{with} {quick}"))];
        behind_haproxy(&pair, &changes, r#""route":"/api/v1/health""#).await;
    }
    let pair = Pair::new(&[]).await;
    let bare = ("option httpchk GET /api/v1/health", "option httpchk");
    let expecting = ("    http-check expect status 200\n", "");
    let changes = [bare, expecting, (usual, quick)];
    behind_haproxy(&pair, &changes, r#""method":"OPTIONS""#).await;
}

/// `check` is what a log line says of the requests by which the proxy checks an instance.
async fn behind_haproxy(pair: &Pair, changes: &[(&str, &str)], check: &str) {
    let running = [pair.start(0).await, pair.start(1).await];
    let proxy = Proxy::haproxy_with(pair.addrs, changes).await;
    let (client, url) = (proxy.client([127, 0, 0, 1]), proxy.url("/login"));
    // An instance that failed its first checks is left out from then on.
    for instance in &running {
        answered(instance, 3, check).await;
    }
    for _ in 0..20 {
        assert_eq!(get(&client, &url).await, Ok(()), "{changes:?}\n{}", proxy.logs());
    }
}
