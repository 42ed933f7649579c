//! The conformance suite on the Redis store, over one Redis.

mod patience;

use tracera_session::{RedisConnection, RedisStore, testing::Instances};
use tracera_testkit::RedisServer;

use self::patience::PATIENT;

async fn storage() -> Instances {
    let redis = RedisServer::start().await;
    let connect = async || {
        let connection = RedisConnection::open_with(&redis.url(), PATIENT).await;
        RedisStore::new(connection.expect("it has just started"))
    };
    Instances::new(connect().await, connect().await).keeping(redis)
}

tracera_session::conformance!(storage);
