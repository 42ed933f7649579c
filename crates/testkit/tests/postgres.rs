//! Tests a real `PostgreSQL` through its own client.

use tokio::net::TcpStream;
use tokio::process::Command;
use tracera_testkit::Postgres;

async fn query(url: &str, sql: &str) -> String {
    let output =
        Command::new("psql").args(["-XAt", url, "-c", sql]).output().await.expect("psql runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("psql prints UTF-8").trim_end().to_owned()
}

#[tokio::test]
async fn databases_are_separate_and_survive_a_restart() {
    let postgres = Postgres::start().await;
    let (first, second) = tokio::join!(postgres.create_database(), postgres.create_database());
    query(&first, "CREATE TABLE t (n int); INSERT INTO t VALUES (42)").await;
    assert_eq!(query(&second, "SELECT to_regclass('t') IS NULL").await, "t");
    postgres.kill();
    assert!(TcpStream::connect(("127.0.0.1", postgres.port())).await.is_err());
    postgres.restart().await;
    assert_eq!(query(&first, "SELECT n FROM t").await, "42");
    assert_eq!(query(&postgres.url(), "SELECT current_user").await, "postgres");
}
