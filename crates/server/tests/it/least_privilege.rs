//! The Redis user in `docs/configure.md` has exactly the necessary rights.

use std::time::Duration;

use tracera_testkit::{RedisCluster, RedisServer};

use crate::harness::TestApp;

/// The rule from the guide, without its first two words and with a password.
pub(crate) fn documented_rule() -> Vec<String> {
    let line = guide();
    let line = line.lines().find(|line| line.starts_with("user tracera on ")).unwrap();
    line.split_whitespace().skip(2).map(|word| word.replace(">PASSWORD", ">password")).collect()
}

fn guide() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configure.md"))
        .unwrap()
}

async fn give_rights(redis: &RedisServer, rule: &[String]) {
    let words = ["ACL", "SETUSER", "tracera"].into_iter().chain(rule.iter().map(String::as_str));
    redis.cli(&words.collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn the_documented_redis_user_is_enough_for_everything_and_for_nothing_else() {
    let redis = RedisServer::start().await;
    give_rights(&redis, &documented_rule()).await;
    let url = format!("redis://tracera:password@127.0.0.1:{}", redis.port());
    let vars = [
        ("REDIS_URL", &*url),
        ("SESSION_IDLE_MINUTES", "30"),
        ("AUTH_RATE_LIMIT_PER_MINUTE", "20"),
    ];
    let app = TestApp::on(redis, &vars).await;

    let first = app.signed_in("a@example.com").await;
    app.advance(Duration::from_mins(5));
    let second = app.signed_in("a@example.com").await;
    assert!(first.me().await.is_some());
    second.delete("/api/v1/auth/sessions").await.expect(204);
    assert_eq!(first.me().await, None);
    second.logout().await.expect(204);
    let limited = app.browser();
    for _ in 0..20 {
        limited.get("/api/v1/auth/methods").await;
    }
    limited.get("/api/v1/auth/methods").await.expect_error(429, "rate_limited");
    app.browser().get("/api/v1/health").await.expect(200);

    let denied = app.redis().cli(&["ACL", "LOG"]).await;
    assert_eq!(denied.trim(), "", "the server asked for more than it may");
    for forbidden in ["KEYS *", "FLUSHALL", "CONFIG GET *", "GET other", "SCAN 0"] {
        let command: Vec<_> =
            ["ACL", "DRYRUN", "tracera"].into_iter().chain(forbidden.split(' ')).collect();
        let answer = app.redis().cli(&command).await;
        assert!(answer.contains("has no permissions"), "{forbidden}: {answer}");
    }
}

#[tokio::test]
async fn on_a_cluster_the_documented_rights_are_enough_with_those_for_a_cluster() {
    let guide = guide();
    let (_, after) = guide.split_once("it needs `").unwrap();
    let (for_clusters, _) = after.split_once("` too").unwrap();
    let rule = [documented_rule(), for_clusters.split(' ').map(str::to_owned).collect()].concat();
    let cluster = RedisCluster::start().await;
    for node in cluster.nodes() {
        give_rights(node, &rule).await;
    }
    let hosts: Vec<_> =
        cluster.nodes().iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
    let url = format!("redis+cluster://tracera:password@{}", hosts.join(","));
    let app = TestApp::embedded_with(&[("REDIS_URL", &url)]).await;

    let first = app.signed_in("a@example.com").await;
    let second = app.signed_in("a@example.com").await;
    second.delete("/api/v1/auth/sessions").await.expect(204);
    assert_eq!(first.me().await, None);
    second.logout().await.expect(204);
    app.browser().get("/api/v1/health").await.expect(200);
    for node in cluster.nodes() {
        assert_eq!(node.cli(&["ACL", "LOG"]).await.trim(), "");
        assert_eq!(node.cli(&["ACL", "DRYRUN", "tracera", "ASKING"]).await.trim(), "OK");
    }
}
