//! The conformance suite on the Redis store, over one Redis.

use tracera_session::{RedisStore, testing::Instances};
use tracera_testkit::RedisServer;

async fn storage() -> Instances {
    let redis = RedisServer::start().await;
    let connect = async || RedisStore::connect(&redis.url()).await.expect("it has just started");
    Instances::new(connect().await, connect().await).keeping(redis)
}

tracera_session::conformance!(storage);
