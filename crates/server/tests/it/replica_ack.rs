//! `SESSION_REPLICA_ACK`: the end of a session is confirmed only after a replica has it.

use std::time::Duration;

use tracera::clock::Stopwatch;
use tracera_testkit::RedisServer;

use crate::harness::{TestApp, eventually};
use crate::least_privilege::documented_rule;

/// Maximum response time while a replica is down.
const BOUND: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_sign_out_is_confirmed_only_when_a_replica_has_it() {
    let primary = RedisServer::start().await;
    let replica = primary.start_replica().await;
    // The Redis user from the guide has the right to use `WAIT`.
    let rule = documented_rule();
    let rule: Vec<_> =
        ["ACL", "SETUSER", "tracera"].into_iter().chain(rule.iter().map(String::as_str)).collect();
    primary.cli(&rule).await;
    let url = format!("redis://tracera:password@127.0.0.1:{}", primary.port());
    let app = TestApp::on(primary, &[("REDIS_URL", &*url), ("SESSION_REPLICA_ACK", "1")]).await;
    let [first, second, third] = [
        app.signed_in("a@example.com").await,
        app.signed_in("a@example.com").await,
        app.signed_in("a@example.com").await,
    ];
    first.logout().await.expect(204);

    replica.freeze().await;
    let watch = Stopwatch::start();
    let refused = second.logout().await;
    assert!(watch.elapsed() < BOUND, "{:?}", watch.elapsed());
    assert_eq!((refused.status.as_u16(), &*refused.code()), (503, "unavailable"));
    assert!(refused.set_cookie("session").is_none(), "it is not confirmed");
    assert_eq!(second.me().await, None, "the primary has done it");
    third.delete("/api/v1/auth/sessions").await.expect_error(503, "unavailable");
    assert!(third.me().await.is_some(), "reading waits for nobody");
    app.signed_in("b@example.com").await;

    replica.thaw();
    eventually(|| async {
        (third.delete("/api/v1/auth/sessions").await.status.as_u16() == 204).then_some(())
    })
    .await;
    assert_eq!(
        app.redis().cli(&["ACL", "LOG"]).await.trim(),
        "",
        "the server asked for more than it may"
    );
}

#[tokio::test]
async fn nobody_waits_for_replicas_unless_told_to() {
    let app = TestApp::start().await;
    app.signed_in("a@example.com").await.logout().await.expect(204);
    assert_eq!(app.redis().command_calls("wait").await, 0);
}
