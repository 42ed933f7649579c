//! Servers do not outlive the test process, however it ends.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;
use tracera_testkit::RedisServer;

/// Set in the process that will be killed.
const VICTIM: &str = "TRACERA_TESTKIT_VICTIM";

#[tokio::test]
async fn servers_die_with_a_killed_test_process() {
    if std::env::var_os(VICTIM).is_some() {
        let redis = RedisServer::start().await;
        println!("\nport {}", redis.port());
        std::future::pending::<()>().await;
    }
    let this_test = ["--exact", "servers_die_with_a_killed_test_process", "--nocapture"];
    // Removes the files of the killed process.
    let directory = tempfile::tempdir().unwrap();
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(this_test)
        .env(VICTIM, "1")
        .env("TMPDIR", directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let port = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("port ")?.parse::<u16>().ok());
    let port = port.expect("the victim starts its server");
    TcpStream::connect(("127.0.0.1", port)).await.unwrap();

    victim.kill().unwrap();
    victim.wait().unwrap();
    let gone = async { while TcpStream::connect(("127.0.0.1", port)).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(10), gone)
        .await
        .expect("the server ends with its parent");
}
