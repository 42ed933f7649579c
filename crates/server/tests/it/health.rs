//! Health says what requests would meet, and a start on what cannot serve is refused.

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tracera_testkit::{Postgres, RedisCluster, RedisServer};

use crate::harness::{SECRET, TestApp, eventually};
use crate::process::run;

async fn becomes(app: &TestApp, expected: &Value) {
    let browser = app.browser();
    eventually(|| async {
        (browser.get("/api/v1/health").await.json() == *expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_runs_no_script_or_takes_no_write_is_not_up() {
    let app = TestApp::start().await;
    let ok = json!({ "status": "ok", "database": "up", "redis": "up" });
    let degraded = json!({ "status": "degraded", "database": "up", "redis": "down" });
    becomes(&app, &ok).await;
    for (breaks, mends) in [
        (
            &["ACL", "SETUSER", "default", "-eval", "-evalsha"][..],
            &["ACL", "SETUSER", "default", "+@all"][..],
        ),
        (&["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"]),
        (
            &["CONFIG", "SET", "min-replicas-to-write", "1"],
            &["CONFIG", "SET", "min-replicas-to-write", "0"],
        ),
    ] {
        app.redis().cli(breaks).await;
        becomes(&app, &degraded).await;
        app.redis().cli(mends).await;
        becomes(&app, &ok).await;
    }
}

#[tokio::test]
async fn a_start_on_a_redis_that_runs_no_script_is_refused_with_the_reason() {
    let redis = RedisServer::start().await;
    redis.cli(&["ACL", "SETUSER", "weak", "on", ">pw", "~*", "+@all", "-eval", "-evalsha"]).await;
    let url = format!("redis://weak:pw@127.0.0.1:{}", redis.port());
    let vars = [("SESSION_SECRET", SECRET), ("REDIS_URL", &*url)];
    let (status, _, err) = run(&["serve"], &vars);
    let last = err.lines().last().unwrap();
    assert_eq!(status, 1, "{err}");
    assert!(last.starts_with("tracera: REDIS_URL: the user may not do there"), "{err}");
    assert!(last.contains("evalsha") && last.contains("docs/configure.md"), "{err}");
}

#[tokio::test]
async fn a_start_on_one_node_of_a_cluster_is_refused_with_the_right_url() {
    let cluster = RedisCluster::start().await;
    let url = format!("redis://127.0.0.1:{}", cluster.nodes()[0].port());
    let vars = [("SESSION_SECRET", SECRET), ("REDIS_URL", &*url)];
    for command in [&["serve"][..], &["check-config", "--connect"]] {
        let (status, out, err) = run(command, &vars);
        assert_eq!(status, 1, "{out}{err}");
        assert!(format!("{out}{err}").contains("write redis+cluster://"), "{out}{err}");
    }
}

#[tokio::test]
async fn a_postgres_that_becomes_read_only_is_not_up() {
    let postgres = Postgres::start().await;
    let url = postgres.create_database().await;
    let app = TestApp::embedded_with(&[("DATABASE_URL", &url)]).await;
    becomes(&app, &json!({ "status": "ok", "database": "up", "redis": "embedded" })).await;
    let mut admin = PgConnection::connect(&postgres.url()).await.unwrap();
    let mut say = async |sql: &'static str| sqlx::query(sql).execute(&mut admin).await.unwrap();
    say("ALTER SYSTEM SET default_transaction_read_only = on").await;
    say("SELECT pg_reload_conf()").await;
    let degraded = json!({ "status": "degraded", "database": "down", "redis": "embedded" });
    becomes(&app, &degraded).await;
    say("SET default_transaction_read_only = off").await;
    say("ALTER SYSTEM RESET default_transaction_read_only").await;
    say("SELECT pg_reload_conf()").await;
    becomes(&app, &json!({ "status": "ok", "database": "up", "redis": "embedded" })).await;
}
