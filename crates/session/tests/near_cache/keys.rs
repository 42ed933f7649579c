//! A secret leaves the ring while sessions that it signed are in memory.

use tracera_session::{Ended, KeyRing, RedisStore};
use tracera_testkit::RedisServer;

use crate::support::{Node, user};

const OLDEST: &[u8] = b"the oldest secret, long enough for a ring";
const CURRENT: &[u8] = b"the current secret, long enough for a ring";

/// An instance's ring is fixed, so a secret retires with the last instance that has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retired_secret_opens_nothing_however_hot_its_sessions_are() {
    let redis = RedisServer::start().await;
    let store = RedisStore::connect(&redis.url()).await.unwrap();
    // All instances share one store, its connection and its feed of changes.
    let first = Node::with_keys(store.clone(), KeyRing::new(OLDEST).unwrap());
    let both = Node::with_keys(store.clone(), KeyRing::with_previous(CURRENT, [OLDEST]).unwrap());
    let old = first.sign_in("ann").await;
    let renewed = both.post("/rotate", &first.sign_in("ann").await).await;
    let new = both.sign_in("ann").await;
    for browser in [&old, &renewed, &new] {
        both.warm(browser).await;
    }

    let current = Node::with_keys(store, KeyRing::new(CURRENT).unwrap());
    for browser in [&renewed, &new] {
        current.warm(browser).await;
    }
    let (asked, stats) = (redis.command_calls("hmget").await, current.sessions.cache_stats());
    let session = current.sessions.open(&old).await;
    assert!(session.user().is_err());
    assert_eq!(session.ended(), Some(Ended::NotOurs));
    assert_eq!(redis.command_calls("hmget").await, asked, "it is refused before anybody is asked");
    assert_eq!(current.sessions.cache_stats(), stats, "and before anything is looked up");
    assert!(current.accepts(&renewed).await && current.accepts(&new).await);
    assert_eq!(current.sessions.list(&user("ann")).await.unwrap().len(), 2);
    assert!(both.accepts(&old).await, "an instance that still has the secret goes on with it");
}
