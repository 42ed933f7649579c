//! The stores of sessions, and their faults.

use std::time::Duration;

use anyhow::{Result, ensure};
use fastrand::Rng;
use tokio::time::{Instant, sleep};
use tracera_testkit::{Fault, FaultProxy, RedisCluster, RedisSentinel, RedisServer};

use crate::client::World;

/// The servers of one store.
pub(crate) enum Place {
    /// One Redis, and a proxy in front of it for each server of the application.
    Single(RedisServer, Vec<FaultProxy>),
    Sentinel(RedisSentinel),
    Cluster(RedisCluster),
}

/// The kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Store {
    Single,
    Sentinel,
    Cluster,
}

impl Store {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Sentinel => "sentinel",
            Self::Cluster => "cluster",
        }
    }
}

impl Place {
    pub(crate) async fn start(store: Store, servers: usize) -> Self {
        match store {
            Store::Single => {
                let redis = RedisServer::start().await;
                let mut proxies = Vec::new();
                for _ in 0..servers {
                    proxies.push(FaultProxy::start(redis.port()).await);
                }
                Self::Single(redis, proxies)
            }
            Store::Sentinel => Self::Sentinel(RedisSentinel::start().await),
            Store::Cluster => Self::Cluster(RedisCluster::start().await),
        }
    }

    /// The servers of which some may take the place of others, and how many lead at a time.
    pub(crate) fn replicated(&self) -> Option<(Vec<String>, usize)> {
        let urls = |servers: &[RedisServer]| servers.iter().map(RedisServer::url).collect();
        match self {
            Self::Single(..) => None,
            Self::Sentinel(sentinel) => Some((urls(sentinel.servers()), 1)),
            Self::Cluster(cluster) => Some((urls(cluster.nodes()), 3)),
        }
    }

    /// The URL for this server of the application.
    pub(crate) fn url(&self, server: usize) -> String {
        match self {
            Self::Single(_, proxies) => proxies[server].redis_url(),
            Self::Sentinel(sentinel) => sentinel.url(),
            Self::Cluster(cluster) => cluster.urls()[0].replace("redis://", "redis+cluster://"),
        }
    }

    /// Causes one fault, and waits until everything works again.
    pub(crate) async fn fail(&self, world: &World, random: &mut Rng) -> Result<()> {
        if random.u32(..6) == 0 {
            let start = world.begin_fault();
            let server = &world.servers[random.usize(..world.servers.len())];
            server.clock.advance(Duration::from_millis(random.u64(100..3_000)));
            return world.fault(start, "set_clock");
        }
        match self {
            Self::Single(redis, proxies) => single(redis, proxies, world, random).await,
            Self::Sentinel(sentinel) => of_sentinel(sentinel, world, random).await,
            Self::Cluster(cluster) => of_cluster(cluster, world, random).await,
        }
    }
}

async fn single(
    redis: &RedisServer,
    proxies: &[FaultProxy],
    world: &World,
    random: &mut Rng,
) -> Result<()> {
    let start = world.begin_fault();
    let proxy = &proxies[random.usize(..proxies.len())];
    let long = Duration::from_millis(random.u64(200..4_000));
    let (kind, fault) = match random.u32(..4) {
        0 => ("unplug", Fault::BlackHole),
        1 => ("reset", Fault::Refuse),
        2 => ("delay", Fault::Delay(Duration::from_millis(random.u64(50..600)))),
        _ => {
            redis.freeze().await;
            sleep(long).await;
            redis.thaw();
            return world.fault(start, "stall");
        }
    };
    proxy.set(fault).await;
    sleep(long).await;
    proxy.set(Fault::None).await;
    world.fault(start, kind)
}

/// The fault lasts until the old primary follows the new one. Until then two primaries may exist,
/// and writes to one of them are lost.
async fn of_sentinel(sentinel: &RedisSentinel, world: &World, random: &mut Rng) -> Result<()> {
    let start = world.begin_fault();
    let primary = sentinel.primary().await;
    let kind = match random.u32(..3) {
        0 => {
            primary.kill();
            sentinel.wait_for_failover().await;
            primary.restart().await;
            "kill"
        }
        1 => {
            let port = primary.port();
            primary.freeze().await;
            wait("another primary", async || sentinel.primary().await.port() != port).await?;
            primary.thaw();
            "freeze"
        }
        _ => {
            sentinel.sentinels()[0].cli(&["SENTINEL", "FAILOVER", "tracera"]).await;
            let port = primary.port();
            wait("another primary", async || sentinel.primary().await.port() != port).await?;
            "promote"
        }
    };
    wait("the old primary follows the new one", async || follows(primary).await).await?;
    world.fault(start, kind)?;
    // Sentinels do not replace a primary again within twice their failover-timeout.
    sleep(Duration::from_secs(4)).await;
    Ok(())
}

async fn of_cluster(cluster: &RedisCluster, world: &World, random: &mut Rng) -> Result<()> {
    let key = some_key(cluster, random).await;
    let primary = cluster.primary_of(&key).await;
    let start = world.begin_fault();
    match random.u32(..4) {
        0 => {
            cluster.kill_primary_of(&key).await;
            cluster.wait_for_failover_of(&key).await;
            world.record_fault(start, "kill")?;
            primary.restart().await;
        }
        1 => {
            primary.freeze().await;
            let port = primary.port();
            let others = cluster.nodes().iter().find(|node| node.port() != port);
            let other = others.expect("there are six");
            let myself = format!(":{port}@");
            wait("the others find it gone", async || {
                let nodes = other.cli(&["CLUSTER", "NODES"]).await;
                let line = nodes.lines().find(|line| line.contains(&myself));
                line.is_some_and(|line| line.contains("fail") && !line.contains("fail?"))
            })
            .await?;
            sleep(Duration::from_secs(1)).await;
            primary.thaw();
            world.record_fault(start, "freeze")?;
        }
        2 => {
            let id = primary.cli(&["CLUSTER", "MYID"]).await;
            let mine = format!("myself,slave {id}");
            for node in cluster.nodes() {
                if node.cli(&["CLUSTER", "NODES"]).await.contains(&mine) {
                    node.cli(&["CLUSTER", "FAILOVER", "TAKEOVER"]).await;
                    break;
                }
            }
            let port = primary.port();
            wait("another primary", async || cluster.primary_of(&key).await.port() != port).await?;
            world.record_fault(start, "promote")?;
        }
        _ => return move_slot(cluster, &key, world, start).await,
    }
    wait("the old primary follows the new one", async || follows(primary).await).await?;
    world.all_in_order();
    Ok(())
}

async fn move_slot(cluster: &RedisCluster, key: &str, world: &World, start: u64) -> Result<()> {
    let from = cluster.primary_of(key).await.port();
    for target in cluster.nodes() {
        if target.port() != from && target.cli(&["ROLE"]).await.starts_with("master") {
            let migration = cluster.migrate_slot_of(key, target).await;
            sleep(Duration::from_millis(100)).await;
            migration.move_keys().await;
            sleep(Duration::from_millis(100)).await;
            migration.finish().await;
            break;
        }
    }
    world.fault(start, "move_slot")
}

/// The key of one of the users.
async fn some_key(cluster: &RedisCluster, random: &mut Rng) -> String {
    let mut keys = Vec::new();
    for node in cluster.nodes() {
        if node.cli(&["ROLE"]).await.starts_with("master") {
            let own = node.cli(&["KEYS", "session:*"]).await;
            keys.extend(own.lines().filter(|key| !key.is_empty()).map(str::to_owned));
        }
    }
    if keys.is_empty() { "none".to_owned() } else { keys.swap_remove(random.usize(..keys.len())) }
}

/// Whether the server is a replica that is fully synchronised.
async fn follows(server: &RedisServer) -> bool {
    let info = server.ask(&["INFO", "replication"]).await.unwrap_or_default();
    info.contains("role:slave") && info.contains("master_link_status:up")
}

async fn wait(what: &str, done: impl AsyncFn() -> bool) -> Result<()> {
    let begun = Instant::now();
    while !done().await {
        ensure!(begun.elapsed() < Duration::from_secs(30), "{what} took more than 30 s");
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
