//! Sends a command to a cluster so that it is executed at most once.
//!
//! The client library resends a command when its connection broke or a reply was late. The first
//! copy may have been executed, so an increment could count twice. Its retries are therefore
//! disabled. This module resends a command only if a node refused it without executing it.

use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, Pipeline, RedisResult, ServerErrorKind, Value};

use super::cluster_supervisor::Cluster;
use crate::sync::sleep;

/// Sends the command until a node takes it. The caller bounds the time.
pub(super) async fn send(cluster: &Cluster, command: &Cmd) -> RedisResult<Value> {
    let mut pause = Duration::from_millis(20);
    loop {
        // Fetched on each attempt, because the connection may have been replaced.
        let mut connection = cluster.connection();
        match connection.req_packed_command(command).await.and_then(Value::extract_error) {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::Ask) => {
                match error.redirect_node().and_then(|(node, _)| node.rsplit_once(':')) {
                    Some((host, port)) => return ask(cluster, command, host, port).await,
                    None => return Err(error),
                }
            }
            Err(error) if was_refused(error.kind()) => {}
            answer => return answer,
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}

/// Whether the error proves that no node has executed the command, and a retry may succeed.
fn was_refused(error: ErrorKind) -> bool {
    use ServerErrorKind as Server;
    matches!(
        error,
        ErrorKind::ClusterConnectionNotFound
            | ErrorKind::Server(
                Server::Moved
                    | Server::TryAgain
                    | Server::ClusterDown
                    | Server::MasterDown
                    | Server::BusyLoading
                    | Server::ReadOnly
            )
    )
}

/// Sends the command to the node that takes over the slot, on a separate connection. The library
/// drops all its connections when a redirect names a node missing in its map of slots. `ASKING`
/// permits the next command only, so both go in one write.
async fn ask(cluster: &Cluster, command: &Cmd, host: &str, port: &str) -> RedisResult<Value> {
    let unusable = |_| (ErrorKind::UnexpectedReturnType, "ASK without a usable address");
    let mut connection = cluster.connect_to(host, port.parse().map_err(unusable)?).await?;
    let mut both = Pipeline::with_capacity(2);
    both.add_command(redis::cmd("ASKING")).add_command(command.clone());
    let answer = connection.req_packed_commands(&both, 1, 1).await?;
    let missing = || (ErrorKind::UnexpectedReturnType, "no reply to a redirected command");
    answer.into_iter().next().ok_or_else(missing)?.extract_error()
}
