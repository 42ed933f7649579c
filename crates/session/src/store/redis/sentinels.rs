//! Finds the primary by asking Sentinels.
//!
//! 1. All Sentinels are asked at once. The answer with the highest configuration epoch counts,
//!    since every failover raises it. A Sentinel that missed a failover still names the old
//!    primary.
//! 2. A Sentinel that leads a failover has the new epoch before it names the new primary. So of two
//!    answers of one epoch, that of a Sentinel without a failover under way counts.
//! 3. A primary that its Sentinel considers down is ignored.
//! 4. A primary that is replaced while alive keeps accepting writes, which are lost, until a
//!    Sentinel demotes it seconds later. So the Sentinels are asked at every heartbeat, and
//!    [`Watch::has_replaced`] tells whether the connection in use leads to such a primary.
//!
//! Source: [Guidelines for Redis clients with support for Sentinel][clients].
//!
//! [clients]: https://redis.io/docs/latest/develop/reference/sentinel-clients/

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, ProtocolVersion, RedisConnectionInfo,
    RedisError, RedisResult,
};
use tokio::sync::{Notify, watch};

use super::client::{TlsCertificates, client, connect, moved_to};
use super::error::flatten;
use super::limits::RedisLimits;
use super::url::RedisUrl;
use crate::sync::{sleep, spawn, timeout};

/// The Sentinels of a service, and how to connect to the primary that they name.
#[derive(Clone)]
pub(super) struct Sentinels {
    nodes: Vec<Node>,
    service: String,
    /// How to connect to the primary; its address is filled in.
    primary: ConnectionInfo,
    limits: RedisLimits,
}

#[derive(Clone)]
struct Node {
    client: Client,
    /// Kept for the next question.
    connection: Option<MultiplexedConnection>,
}

/// A primary as a Sentinel names it. Ordered from older to newer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Primary {
    epoch: u64,
    /// Whether no failover is under way at this Sentinel.
    is_settled: bool,
    host: String,
    port: u16,
}

/// The latest answer of the Sentinels.
pub(super) struct Watch(watch::Receiver<Option<Primary>>);

impl Sentinels {
    pub(super) fn new(
        url: &RedisUrl,
        certificates: Option<&TlsCertificates>,
        protocol: ProtocolVersion,
        limits: RedisLimits,
    ) -> RedisResult<Self> {
        let mut own = RedisConnectionInfo::default();
        if let Some(user) = &url.sentinel_username {
            own = own.set_username(user);
        }
        if let Some(password) = &url.sentinel_password {
            own = own.set_password(password);
        }
        let node = |server: &ConnectionInfo| {
            let info = server.clone().set_redis_settings(own.clone());
            Ok(Node { client: client(info, certificates.cloned())?, connection: None })
        };
        let of_primary = url.servers[0].redis_settings().clone().set_protocol(protocol);
        let primary = url.servers[0].clone().set_redis_settings(of_primary);
        Ok(Self {
            nodes: url.servers.iter().map(node).collect::<RedisResult<_>>()?,
            service: url.service().to_owned(),
            primary: client(primary, certificates.cloned())?.get_connection_info().clone(),
            limits,
        })
    }

    /// Connects to the primary.
    pub(super) async fn connect(
        &mut self,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<(MultiplexedConnection, Primary)> {
        let primary = self.primary().await?;
        let info = moved_to(&self.primary, &primary.host, primary.port);
        let client = Client::open(info)?;
        let connection = connect(&client, config).await?;
        Ok((connection, primary))
    }

    /// Asks at every heartbeat, and calls `attention` when another primary is named. Ends when the
    /// watch is dropped.
    pub(super) fn watch(mut self, attention: Arc<Notify>) -> Watch {
        let (sender, receiver) = watch::channel(None);
        spawn(async move {
            loop {
                tokio::select! {
                    () = sender.closed() => return,
                    () = sleep(self.limits.heartbeat) => {}
                }
                // While no Sentinel answers, the last answer stays valid.
                let Ok(primary) = self.primary().await else { continue };
                if sender.borrow().as_ref() != Some(&primary) {
                    sender.send_replace(Some(primary));
                    attention.notify_one();
                }
            }
        });
        Watch(receiver)
    }

    async fn primary(&mut self) -> RedisResult<Primary> {
        let (limits, service) = (self.limits, &*self.service);
        let answers = join_all(self.nodes.iter_mut().map(|node| node.ask(service, limits))).await;
        newest(answers)
    }
}

impl Node {
    /// `None` if this Sentinel names no primary of the service.
    async fn ask(&mut self, service: &str, limits: RedisLimits) -> RedisResult<Option<Primary>> {
        let asking = async {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => {
                    let config = AsyncConnectionConfig::new()
                        .set_connection_timeout(Some(limits.connect))
                        .set_response_timeout(Some(limits.response));
                    connect(&self.client, &config).await?
                }
            };
            let mut masters = redis::cmd("SENTINEL");
            masters.arg("MASTERS");
            let answer: Vec<HashMap<String, String>> = masters.query_async(&mut connection).await?;
            self.connection = Some(connection);
            Ok(answer.iter().find_map(|fields| Primary::parse(fields, service)))
        };
        flatten(timeout(limits.connect, asking).await)
    }
}

/// The newest primary named. If none is named, the first error.
fn newest(answers: Vec<RedisResult<Option<Primary>>>) -> RedisResult<Primary> {
    let mut named = Vec::new();
    let mut first_error = None;
    for answer in answers {
        match answer {
            Ok(primary) => named.extend(primary),
            Err(error) => {
                first_error.get_or_insert(error);
            }
        }
    }
    named.into_iter().max().ok_or_else(|| first_error.unwrap_or_else(names_none))
}

fn names_none() -> RedisError {
    (ErrorKind::MasterNameNotFoundBySentinel, "no Sentinel names a living primary of that service")
        .into()
}

impl Primary {
    fn parse(fields: &HashMap<String, String>, service: &str) -> Option<Self> {
        let flags = fields.get("flags")?;
        let is_down = flags.split(',').any(|flag| matches!(flag, "s_down" | "o_down"));
        if fields.get("name")? != service || is_down {
            return None;
        }
        Some(Self {
            epoch: fields.get("config-epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0),
            is_settled: !flags.contains("failover_in_progress"),
            host: fields.get("ip")?.clone(),
            port: fields.get("port")?.parse().ok()?,
        })
    }
}

impl Watch {
    /// Whether the Sentinels now name another server in place of this primary.
    pub(super) fn has_replaced(&self, primary: &Primary) -> bool {
        self.0.borrow().as_ref().is_some_and(|named| {
            (named.epoch, named.is_settled) > (primary.epoch, primary.is_settled)
                && (&*named.host, named.port) != (&*primary.host, primary.port)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::redis::error::not_connected;

    fn named(epoch: &str, flags: &str, port: &str) -> Option<Primary> {
        let fields = [
            ("name", "tracera"),
            ("ip", "127.0.0.1"),
            ("port", port),
            ("flags", flags),
            ("config-epoch", epoch),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Primary::parse(&HashMap::from(fields), "tracera")
    }

    #[test]
    fn the_newest_answer_counts() {
        let away = || Err(not_connected());
        for (answers, port) in [
            (vec![Ok(named("0", "master", "1")), Ok(named("1", "master", "2")), away()], 2),
            (vec![Ok(named("9", "master", "1")), Ok(named("10", "master", "2"))], 2),
            // The leader of a failover has the new epoch and still the old address.
            (
                vec![
                    Ok(named("1", "master", "2")),
                    Ok(named("1", "master,failover_in_progress", "7")),
                ],
                2,
            ),
            (vec![Ok(named("2", "s_down,master", "3")), Ok(named("1", "master", "2"))], 2),
            (vec![away(), Ok(None), Ok(named("1", "master", "2"))], 2),
        ] {
            assert_eq!(newest(answers).unwrap().port, port);
        }
        assert!(newest(vec![away()]).unwrap_err().is_io_error());
        let none = newest(vec![Ok(None), Ok(named("1", "o_down,master", "1"))]).unwrap_err();
        assert_eq!(none.kind(), ErrorKind::MasterNameNotFoundBySentinel);
    }

    #[test]
    fn only_a_newer_answer_with_another_address_replaces_a_primary() {
        let in_use = named("3", "master", "1").unwrap();
        for (answer, replaces) in [
            (named("4", "master", "2"), true),
            (named("4", "master", "1"), false),
            // A Sentinel that was away answers with an earlier epoch.
            (named("2", "master", "2"), false),
            (named("3", "master", "2"), false),
            (None, false),
        ] {
            let (_sender, receiver) = watch::channel(answer.clone());
            assert_eq!(Watch(receiver).has_replaced(&in_use), replaces, "{answer:?}");
        }
        let during = named("4", "master,failover_in_progress", "1").unwrap();
        let (_sender, receiver) = watch::channel(named("4", "master", "2"));
        assert!(Watch(receiver).has_replaced(&during), "the leader has come to the new address");
    }
}
