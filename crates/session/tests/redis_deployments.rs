//! The conformance suite on a cluster and as a user with only the documented permissions, and the
//! options for operators.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod patience;

use std::time::Duration;

use http::HeaderMap;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracera_session::{
    KeyRing, RedisConnection, RedisStore, Session, SessionConfig, SessionError, Sessions, SignIn,
    UserId, testing,
};
use tracera_testkit::{Fault, FaultProxy, RedisCluster, RedisServer};

use self::patience::PATIENT;

async fn run_all(url: &str) {
    let connect = async || RedisStore::new(RedisConnection::open_with(url, PATIENT).await.unwrap());
    for case in testing::ALL {
        println!("{}", case.name);
        case.run(testing::Instances::new(connect().await, connect().await)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_three_primaries_and_three_replicas_conforms() {
    let cluster = RedisCluster::start().await;
    let url = cluster_url(&cluster);
    run_all(&url).await;
    let mut loaded = 0;
    for node in cluster.nodes() {
        loaded += usize::from(node.command_calls("evalsha").await > 0);
    }
    assert_eq!(loaded, 3, "the cases were spread over all primaries");
}

fn cluster_url(cluster: &RedisCluster) -> String {
    let hosts: Vec<_> = cluster.urls().iter().map(|url| url.replace("redis://", "")).collect();
    format!("redis+cluster://{}", hosts.join(","))
}

/// The permissions listed in the documentation of [`RedisStore`].
fn documented_acl() -> Vec<String> {
    let source = include_str!("../src/store/redis.rs");
    let (_, from_line) =
        source.split_once("ACL SETUSER tracera on >password ").expect("it is documented");
    let (line, _) = from_line.split_once("```").expect("in a block");
    line.split_whitespace().filter(|word| *word != "///").map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_the_documented_rights_alone_conforms() {
    let redis = RedisServer::start().await;
    let rights = documented_acl();
    let mut acl = vec!["ACL", "SETUSER", "tracera", "on", ">password"];
    acl.extend(rights.iter().map(String::as_str));
    redis.cli(&acl).await;
    redis.cli(&["ACL", "SETUSER", "default", "off"]).await;
    let url = format!("redis://tracera:password@127.0.0.1:{}", redis.port());
    run_all(&url).await;
}

#[tokio::test]
async fn a_policy_that_evicts_is_found() {
    for (options, expected) in [
        (&[][..], None),
        (&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"], Some("allkeys-lru")),
        (&["--maxmemory-policy", "volatile-ttl"], Some("volatile-ttl")),
    ] {
        let redis = RedisServer::start_with(options).await;
        let store = RedisStore::connect(&redis.url()).await.unwrap();
        assert_eq!(store.evicting_policy().await.unwrap().as_deref(), expected, "{options:?}");
    }
    let cluster = RedisCluster::start().await;
    let store = RedisStore::connect(&cluster_url(&cluster)).await.unwrap();
    assert_eq!(store.evicting_policy().await.unwrap(), None);
    cluster.nodes()[0].cli(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]).await;
    assert_eq!(store.evicting_policy().await.unwrap().as_deref(), Some("allkeys-random"));
}

/// Sessions whose end and rotation one replica has to confirm, over the connection `own`.
async fn acknowledged(url: &str, own: RedisConnection, within: Duration) -> Sessions {
    let store = RedisStore::connect(url).await.unwrap();
    let store = store.with_replica_ack(own, 1, within);
    Sessions::new(store, KeyRing::new(&[7; 32]).unwrap(), SessionConfig::default())
}

fn session_key(user: &UserId) -> String {
    format!("session:{{{}}}", tracera_session::store::Tag::of_user(user))
}

async fn signed_in(sessions: &Sessions, user: &UserId) -> Session {
    let session = sessions.open(&HeaderMap::new()).await;
    session.sign_in(SignIn::new(user.clone(), "test")).await.unwrap();
    session
}

#[tokio::test]
async fn a_sign_out_waits_for_replicas_and_says_when_they_are_missing() {
    let primary = RedisServer::start().await;
    let replica = primary.start_replica().await;
    let own = RedisConnection::open(&primary.url()).await.unwrap();
    let sessions = acknowledged(&primary.url(), own, Duration::from_millis(600)).await;
    let user = UserId::new("user").unwrap();
    let (first, second) = (signed_in(&sessions, &user).await, signed_in(&sessions, &user).await);
    first.rotate().await.unwrap();
    first.sign_out().await.unwrap();
    assert!(
        replica.cli(&["HLEN", &replica.cli(&["KEYS", "*"]).await]).await.parse::<u8>().unwrap() < 4
    );

    replica.freeze().await;
    second.rotate().await.unwrap();
    let refused = second.sign_out().await.unwrap_err();
    let SessionError::Unavailable(cause) = refused else { panic!("{refused}") };
    assert!(cause.to_string().contains("0 of 1 replicas"), "{cause}");
    assert_eq!(sessions.list(&user).await.unwrap(), [], "the primary has done it");
    assert!(sessions.revoke_all(&user).await.is_err());
    replica.thaw();
    let deadline = Instant::now() + Duration::from_secs(10);
    while sessions.revoke_all(&user).await.is_err() {
        assert!(Instant::now() < deadline, "the replica never caught up");
    }
}

/// The frozen replica never confirms, so each `WAIT` takes its full time, and Redis executes one at
/// a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_that_replicas_do_not_confirm_are_done_and_said_to_be() {
    let primary = RedisServer::start().await;
    let replica = primary.start_replica().await;
    let own = RedisConnection::open(&primary.url()).await.unwrap();
    let sessions = acknowledged(&primary.url(), own, Duration::from_millis(400)).await;
    let user = UserId::new("user").unwrap();
    // Loads the scripts into Redis, confirmed or not. Otherwise each would need another turn.
    let session = signed_in(&sessions, &user).await;
    session.rotate().await.unwrap();
    drop(session.sign_out().await);
    let mut signed = Vec::new();
    for _ in 0..8 {
        signed.push(signed_in(&sessions, &user).await);
    }
    replica.freeze().await;
    for _ in 0..2 {
        let mut rotating = JoinSet::new();
        for session in signed.clone() {
            rotating.spawn(async move { session.rotate().await });
        }
        for rotated in rotating.join_all().await {
            rotated.unwrap();
        }
    }
    let mut ending = JoinSet::new();
    for session in signed {
        ending.spawn(async move { session.sign_out().await });
    }
    for ended in ending.join_all().await {
        let cause = ended.unwrap_err();
        let SessionError::Unavailable(cause) = cause else { panic!("{cause:?}") };
        assert!(cause.to_string().contains("0 of 1 replicas"), "{cause}");
    }
    replica.thaw();
}

#[tokio::test]
async fn a_redis_that_cannot_be_asked_about_replicas_fails_a_sign_out_and_no_rotation() {
    let primary = RedisServer::start().await;
    let proxy = FaultProxy::start(primary.port()).await;
    let own = RedisConnection::open(&proxy.redis_url()).await.unwrap();
    let sessions = acknowledged(&primary.url(), own, Duration::from_millis(600)).await;
    let session = signed_in(&sessions, &UserId::new("user").unwrap()).await;
    proxy.inject("WAIT", "-NOPERM this user has no permissions to run this command\r\n");
    session.rotate().await.unwrap();
    let refused = session.sign_out().await.unwrap_err();
    let SessionError::Unavailable(cause) = refused else { panic!("{refused}") };
    assert!(cause.to_string().contains("no permissions"), "{cause}");
}

/// The next connection may lead to another primary, whose replicas lack the write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_over_another_connection_is_not_confirmed() {
    let primary = RedisServer::start().await;
    let proxy = FaultProxy::start(primary.port()).await;
    let own = RedisConnection::open_with(&proxy.redis_url(), PATIENT).await.unwrap();
    let sessions = acknowledged(&primary.url(), own, Duration::from_millis(200)).await;
    let user = UserId::new("user").unwrap();
    // Loads the script into Redis.
    signed_in(&sessions, &user).await.sign_out().await.unwrap_err();
    let (one, other) = (signed_in(&sessions, &user).await, signed_in(&sessions, &user).await);
    // Both sign-outs are sent before the first is answered. Then one runs `WAIT`, and the other
    // waits for its turn.
    let mut first = proxy.hold_next("EVALSHA");
    let one = tokio::spawn(async move { one.sign_out().await });
    first.reached().await;
    let other = tokio::spawn(async move { other.sign_out().await });
    first.followed().await;
    let mut waiting = proxy.hold_next("WAIT");
    first.release();
    waiting.reached().await;
    let both_are_carried_out = async {
        while !sessions.list(&user).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENT.total, both_are_carried_out).await.unwrap();
    proxy.set(Fault::Refuse).await;
    waiting.release();
    proxy.inject("WAIT", ":1\r\n");
    proxy.set(Fault::None).await;
    let (one, other) = (one.await.unwrap(), other.await.unwrap());
    assert!(one.is_err() && other.is_err(), "{one:?} {other:?}");
}

/// A replica of every primary must confirm, because it is not known which primary ran the script.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_cluster_a_sign_out_waits_for_a_replica_of_each_primary() {
    let cluster = RedisCluster::start().await;
    let url = cluster_url(&cluster);
    let own = RedisConnection::open(&url).await.unwrap();
    let sessions = acknowledged(&url, own, Duration::from_millis(600)).await;
    let user = UserId::new("user").unwrap();
    let (first, second) = (signed_in(&sessions, &user).await, signed_in(&sessions, &user).await);
    first.sign_out().await.unwrap();

    let key = session_key(&user);
    let replica = replica_of(&cluster, cluster.primary_of(&key).await).await;
    replica.freeze().await;
    let refused = second.sign_out().await.unwrap_err();
    assert!(
        matches!(&refused, SessionError::Unavailable(cause) if cause.to_string().contains("0 of 1"))
    );
    replica.thaw();
}

async fn replica_of<'a>(cluster: &'a RedisCluster, primary: &RedisServer) -> &'a RedisServer {
    for node in cluster.nodes() {
        let role = node.cli(&["ROLE"]).await;
        if role.starts_with("slave") && role.lines().any(|line| line == primary.port().to_string())
        {
            return node;
        }
    }
    panic!("no replica");
}

/// While a slot moves, commands for its new primary use a connection on which no later `WAIT` runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_cluster_what_a_primary_did_that_is_taking_a_slot_over_is_not_confirmed() {
    let cluster = RedisCluster::start().await;
    let url = cluster_url(&cluster);
    let own = RedisConnection::open(&url).await.unwrap();
    let sessions = acknowledged(&url, own, Duration::from_millis(400)).await;
    let user = UserId::new("user").unwrap();
    let session = signed_in(&sessions, &user).await;
    let key = session_key(&user);
    let source = cluster.primary_of(&key).await;
    let mut primaries = Vec::new();
    for node in cluster.nodes() {
        if node.cli(&["ROLE"]).await.starts_with("master") {
            primaries.push(node);
        }
    }
    let target = primaries.into_iter().find(|node| node.port() != source.port()).unwrap();
    cluster.migrate_slot_of(&key, target).await.move_keys().await;
    let replica = replica_of(&cluster, target).await;
    replica.freeze().await;
    assert!(session.sign_out().await.is_err());
    replica.thaw();
    assert_eq!(sessions.list(&user).await.unwrap(), [], "the primary has done it");
}
