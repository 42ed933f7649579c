//! The conformance suite on the Redis store, over one Redis.

use std::time::Duration;

use tracera_session::{RedisConnection, RedisLimits, RedisStore, testing::Instances};
use tracera_testkit::RedisServer;

/// The cases are about what happens and not how fast, and the machine may be busy with other tests.
const PATIENT: RedisLimits = RedisLimits {
    response: Duration::from_secs(20),
    connect: Duration::from_secs(20),
    grace: Duration::from_secs(20),
    heartbeat: Duration::from_secs(1),
    total: Duration::from_secs(30),
};

async fn storage() -> Instances {
    let redis = RedisServer::start().await;
    let connect = async || {
        let connection = RedisConnection::open_with(&redis.url(), PATIENT).await;
        RedisStore::new(connection.expect("it has just started"))
    };
    Instances::new(connect().await, connect().await).keeping(redis)
}

tracera_session::conformance!(storage);
