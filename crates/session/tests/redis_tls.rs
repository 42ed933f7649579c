//! Redis over TLS with a private certificate authority: one server, behind Sentinels, a cluster.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod patience;

use std::fs;
use std::sync::Arc;

use http::HeaderMap;
use tracera_session::{
    ConnectError, KeyRing, RedisAuthorities, RedisConnection, RedisStore, RedisUrlError,
    SessionConfig, Sessions, SignIn, UserId, store::Tag,
};
use tracera_testkit::{Certificate, RedisCluster, RedisSentinel, RedisServer};

use self::patience::PATIENT;

fn user(number: u8) -> UserId {
    UserId::new(format!("user-{number}")).unwrap()
}

fn authorities(certificate: &Certificate) -> RedisAuthorities {
    RedisAuthorities::from_pem(&fs::read(certificate.authority()).unwrap()).unwrap()
}

async fn sessions(url: &str, certificate: &Certificate) -> Sessions {
    let connection =
        RedisConnection::open_trusting(url, PATIENT, &authorities(certificate)).await.unwrap();
    Sessions::new(
        RedisStore::new(connection),
        KeyRing::new(&[7; 32]).unwrap(),
        SessionConfig::default(),
    )
}

async fn sign_in(sessions: &Sessions, user: &UserId) {
    let session = sessions.open(&HeaderMap::new()).await;
    session.sign_in(SignIn::new(user.clone(), "test")).await.unwrap();
}

#[tokio::test]
async fn a_server_with_a_certificate_of_the_named_authority_is_trusted_and_of_another_is_not() {
    let certificate = Arc::new(Certificate::create().await);
    let redis = RedisServer::start_with_tls(&certificate).await;
    sign_in(&sessions(&redis.url(), &certificate).await, &user(1)).await;

    let other = authorities(&Certificate::create().await);
    for opened in [
        RedisConnection::open_with(&redis.url(), PATIENT).await,
        RedisConnection::open_trusting(&redis.url(), PATIENT, &other).await,
    ] {
        let refused = opened.unwrap_err();
        assert!(refused.to_string().contains("invalid peer certificate"), "{refused}");
    }
    let plain = redis.url().replace("rediss", "redis");
    let refused = RedisConnection::open_trusting(&plain, PATIENT, &other).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Url(RedisUrlError::NoTls)));
}

#[tokio::test]
async fn sentinels_and_the_servers_behind_them_are_trusted() {
    let certificate = Arc::new(Certificate::create().await);
    let redis = RedisSentinel::start_with_tls(&certificate).await;
    sign_in(&sessions(&redis.url(), &certificate).await, &user(1)).await;
}

#[tokio::test]
async fn all_nodes_of_a_cluster_are_trusted_that_which_takes_a_slot_over_too() {
    let certificate = Arc::new(Certificate::create().await);
    let cluster = RedisCluster::start_with_tls(&certificate).await;
    let hosts: Vec<_> = cluster.urls().iter().map(|url| url.replace("rediss://", "")).collect();
    let sessions = sessions(&format!("rediss+cluster://{}", hosts.join(",")), &certificate).await;
    for number in 0..20 {
        sign_in(&sessions, &user(number)).await;
    }
    let mut primaries = 0;
    for node in cluster.nodes() {
        primaries += usize::from(node.command_calls("evalsha").await > 0);
    }
    assert_eq!(primaries, 3);

    let key = |number| format!("session:{{{}}}", Tag::of_user(&user(number)));
    let source = cluster.primary_of(&key(0)).await.port();
    let mut targets = Vec::new();
    for number in 1..20 {
        targets.push(cluster.primary_of(&key(number)).await);
    }
    let target = targets.into_iter().find(|target| target.port() != source).unwrap();
    let migration = cluster.migrate_slot_of(&key(0), target).await;
    migration.move_keys().await;
    assert_eq!(sessions.list(&user(0)).await.unwrap().len(), 1);
    migration.finish().await;
}

#[test]
fn what_is_no_certificate_is_refused() {
    for pem in [
        "",
        "no certificate",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nAAAA\n",
    ] {
        assert!(RedisAuthorities::from_pem(pem.as_bytes()).is_err(), "{pem}");
    }
}
