//! Tracking on every primary of a cluster, whose connections the client library makes and replaces by itself.
//!
//! The ids the servers gave our connections tell them apart: as long as each primary answers under the id it had, no
//! connection was replaced and none of their changes can have been missed. Any difference, a refusal or a silence
//! counts as a loss.

use std::collections::BTreeMap;

use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, ResponsePolicy, RoutingInfo};
use redis::{FromRedisValue, RedisResult, Value};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::connection::RedisLimits;
use super::tracking::{Tracking, tracking_on};

/// The id of our connection to each primary, by address.
type Ids = BTreeMap<String, i64>;

/// Looks after `tracking` until nobody holds the connection any more.
pub(super) async fn watch_cluster(
    mut cluster: ClusterConnection,
    tracking: Tracking,
    attention: std::sync::Arc<Notify>,
    held: watch::Sender<()>,
    limits: RedisLimits,
) {
    let mut known = Ids::new();
    loop {
        tokio::select! {
            () = held.closed() => return,
            () = attention.notified() => {}
            () = tokio::time::sleep(limits.heartbeat) => {}
        }
        if !tracking.is_wanted() {
            continue;
        }
        let heartbeat = tracking.heartbeat();
        match timeout(limits.total, track(&mut cluster)).await {
            Ok(Ok(ids)) if ids == known => {
                heartbeat.into_iter().for_each(crate::changes::Heartbeat::answered);
            }
            Ok(Ok(ids)) => {
                tracking.disconnected();
                tracking.turned_on();
                known = ids;
                // These connections track now; the next round proves them unchanged.
                attention.notify_one();
            }
            failed => {
                tracking.disconnected();
                known.clear();
                if let Ok(Err(error)) = failed
                    && !error.is_io_error()
                    && !error.is_unrecoverable_error()
                {
                    tracking.refused(&error);
                }
            }
        }
    }
}

/// Has all primaries track and says over which connections.
async fn track(cluster: &mut ClusterConnection) -> RedisResult<Ids> {
    let primaries = |policy| RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, policy));
    cluster
        .route_command(tracking_on(), primaries(Some(ResponsePolicy::AllSucceeded)))
        .await?
        .extract_error()?;
    let mut ask = redis::cmd("CLIENT");
    ask.arg("ID");
    let ids: Value = cluster.route_command(ask, primaries(None)).await?;
    Ok(Ids::from_redis_value(ids)?)
}
