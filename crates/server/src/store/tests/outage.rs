use std::time::Duration;

use sqlx::{AssertSqlSafe, PgPool};
use tracera_testkit::{Fault, FaultProxy, Postgres};

use super::{NOW, email, shared_postgres};
use crate::clock::Stopwatch;
use crate::store::users::{find_by_email, find_or_create_by_verified_email};
use crate::store::{Database, StoreError};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_server_is_said_so_and_a_restarted_one_is_found_again() {
    let server = Postgres::start().await;
    let db = Database::postgres(&server.url()).await.unwrap();
    let alice = email("alice@example.com");
    let (user, _) = find_or_create_by_verified_email(&db, &alice, NOW).await.unwrap();

    server.kill();
    assert!(find_by_email(&db, &alice).await.unwrap_err().is_unavailable());
    assert!(db.ping().await.unwrap_err().is_unavailable());

    server.restart().await;
    assert_eq!(find_by_email(&db, &alice).await.unwrap(), Some(user));
    db.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_cannot_serve_for_now_is_unavailable() {
    let server = shared_postgres().await;
    let db = PgPool::connect(&server.create_database().await).await.unwrap();
    for (code, is_unavailable) in [
        ("25006", true),
        ("25P03", true),
        ("25P04", true),
        ("28000", true),
        ("28P01", true),
        ("3D000", true),
        ("40001", true),
        ("57P01", true),
        ("22021", false),
        ("25001", false),
        ("42501", false),
    ] {
        let sql = format!("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}'; END $$");
        let error =
            StoreError::from(sqlx::raw_sql(AssertSqlSafe(sql)).execute(&db).await.unwrap_err());
        assert_eq!(error.is_unavailable(), is_unavailable, "{code}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_server_holds_nobody_up() {
    let server = shared_postgres().await;
    let direct = server.create_database().await;
    let proxy = FaultProxy::start(server.port()).await;
    let url = direct.replace(&format!(":{}/", server.port()), &format!(":{}/", proxy.port()));
    let db = Database::postgres(&url).await.unwrap();
    db.ping().await.unwrap();

    proxy.set(Fault::BlackHole).await;
    let watch = Stopwatch::start();
    assert!(db.ping().await.unwrap_err().is_unavailable());
    assert!(watch.elapsed() < Duration::from_millis(1_500), "{:?}", watch.elapsed());
    let watch = Stopwatch::start();
    assert!(find_by_email(&db, &email("alice@example.com")).await.unwrap_err().is_unavailable());
    assert!(watch.elapsed() < Duration::from_millis(6_500), "{:?}", watch.elapsed());

    proxy.set(Fault::None).await;
    assert_eq!(find_by_email(&db, &email("alice@example.com")).await.unwrap(), None);
}

async fn read_only(admin: &PgPool, database: &str, on: bool) {
    let value = if on { "on" } else { "off" };
    let sql = format!("ALTER DATABASE {database} SET default_transaction_read_only = {value}");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(admin).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_a_server_that_takes_no_writes_leave_the_pool() {
    let server = shared_postgres().await;
    let url = server.create_database().await;
    let name = url.rsplit('/').next().unwrap();
    let admin = PgPool::connect(&server.url()).await.unwrap();
    Database::postgres(&url).await.unwrap();
    // As after a failover: open connections lead to the former primary.
    read_only(&admin, name, true).await;
    let db = Database::postgres(&url).await.unwrap();
    let alice = email("alice@example.com");
    futures_util::future::join_all((0..4).map(|_| find_by_email(&db, &alice))).await;
    assert!(db.ping().await.unwrap_err().is_unavailable(), "it answers, and is of no use");
    read_only(&admin, name, false).await;
    let first = find_or_create_by_verified_email(&db, &alice, NOW).await;
    assert!(first.is_ok() || first.unwrap_err().is_unavailable());
    for _ in 0..8 {
        find_or_create_by_verified_email(&db, &alice, NOW).await.unwrap();
    }
    db.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_without_the_right_to_create_serves_when_nothing_is_to_migrate() {
    let server = shared_postgres().await;
    let url = server.create_database().await;
    Database::postgres(&url).await.unwrap();
    let admin = PgPool::connect(&url).await.unwrap();
    let role = format!("clerk_{}", uuid::Uuid::new_v4().simple());
    let sql = format!(
        "CREATE ROLE {role} LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC; GRANT SELECT, \
         INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&admin).await.unwrap();
    let db = Database::postgres(&url.replace("postgres@", &format!("{role}@"))).await.unwrap();
    find_or_create_by_verified_email(&db, &email("alice@example.com"), NOW).await.unwrap();
    db.ping().await.unwrap();
}
