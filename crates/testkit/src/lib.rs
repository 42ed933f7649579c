//! Starts the real servers that the tests run against.
//!
//! Rules of every part:
//!
//! 1. Nothing has to run beforehand: each server is a child of the test, on a free port of
//!    127.0.0.1, in a private temporary directory.
//! 2. A `start` returns when the server has reported that it is ready. If another process took the
//!    port, another port is tried.
//! 3. Dropping a server kills it. So does the death of the test process.
//! 4. Every wait has a limit. Failures panic with the server's output, because only tests call this
//!    crate.
//!
//! ```no_run
//! # async fn example() {
//! let redis = tracera_testkit::RedisServer::start().await;
//! assert_eq!(redis.cli(&["PING"]).await, "PONG");
//! # }
//! ```

mod authenticator;
mod certificate;
mod fault_proxy;
mod log;
mod oidc;
mod openid;
mod port;
mod postfix;
mod postgres;
mod process;
mod redis;
mod redis_cluster;
mod redis_sentinel;
mod slot_migration;
mod smtp;

pub use authenticator::{Algorithm, Draft, Passkey};
pub use certificate::Certificate;
pub use fault_proxy::{Fault, FaultProxy, Hold};
pub use log::{CapturedLog, Written};
pub use oidc::OidcProvider;
pub use openid::OpenIdProvider;
pub use port::free_port;
pub use postfix::Postfix;
pub use postgres::Postgres;
pub use redis::RedisServer;
pub use redis_cluster::RedisCluster;
pub use redis_sentinel::RedisSentinel;
pub use slot_migration::SlotMigration;
pub use smtp::{ReceivedMail, SmtpMode, SmtpServer};
