//! `PostgreSQL` behind `PgBouncer`.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use reqwest::StatusCode;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tracera_testkit::{Postgres, free_port};

use super::found;
use crate::harness::{SECRET, eventually};
use crate::process::{Running, run};

/// What docs/configure.md says.
const DOCUMENTED: &str = "ignore_startup_parameters = extra_float_digits,options\n";

/// A running `PgBouncer` with two connections to a database of its own; killed when dropped, or
/// when the test's process dies.
struct PgBouncer {
    url: String,
    child: Child,
    directory: TempDir,
    _postgres: Postgres,
}

impl PgBouncer {
    async fn start(settings: &str) -> Self {
        let postgres = Postgres::start().await;
        let database = postgres.create_database().await;
        let name = database.rsplit_once('/').unwrap().1;
        let directory = tempfile::tempdir().unwrap();
        let (port, path) = (free_port(), directory.path());
        fs::write(path.join("users"), "\"postgres\" \"\"\n").unwrap();
        let config = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = \
             127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = \
             {}\ndefault_pool_size = 2\n{settings}",
            postgres.port(),
            path.join("users").display()
        );
        fs::write(path.join("pgbouncer.ini"), config).unwrap();
        let log = File::create(path.join("log")).unwrap();
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .args(rights(path))
            .arg("--")
            .arg(found("pgbouncer"))
            .arg(path.join("pgbouncer.ini"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let url = format!("postgres://postgres@127.0.0.1:{port}/{name}");
        let mut bouncer = Self { url, child, directory, _postgres: postgres };
        eventually(|| {
            if let Some(status) = bouncer.child.try_wait().unwrap() {
                panic!("pgbouncer ended with {status}:\n{}", bouncer.log());
            }
            let connected = tokio::net::TcpStream::connect(("127.0.0.1", port));
            async { connected.await.ok().map(drop) }
        })
        .await;
        bouncer
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    fn vars(&self) -> [(&'static str, &str); 4] {
        [
            ("SESSION_SECRET", SECRET),
            ("DATABASE_URL", &self.url),
            ("PRICE_FEED_URL", "file:///nothing"),
            ("AUTH_RATE_LIMIT_PER_MINUTE", "10000"),
        ]
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        // Both fail only for a child that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `PgBouncer` refuses to run as root. As root it becomes the user of `PostgreSQL`, to whom the
/// directory then belongs.
fn rights(directory: &Path) -> &'static [&'static str] {
    let chown = Command::new("chown").args(["-R", "postgres:"]).arg(directory).output().unwrap();
    if chown.status.success() {
        &["--reuid=postgres", "--regid=postgres", "--clear-groups"]
    } else {
        &[]
    }
}

/// Major and minor.
fn version() -> (u32, u32) {
    let said = Command::new(found("pgbouncer")).arg("--version").output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    let (_, version) = said.lines().next().unwrap().rsplit_once(' ').unwrap();
    let mut parts = version.split('.').map(|part| part.parse().unwrap());
    (parts.next().unwrap(), parts.next().unwrap())
}

/// Sixteen requests at once, over more connections than `PgBouncer` has. Each looks for a link in
/// the database that is not there. Returns how many were told so.
async fn crowd(server: &Running) -> usize {
    let mut asking = JoinSet::new();
    for _ in 0..16 {
        let browser = server.browser();
        asking.spawn(async move { browser.redeem(&"A".repeat(43)).await.status });
    }
    asking.join_all().await.into_iter().filter(StatusCode::is_client_error).count()
}

#[tokio::test]
async fn in_session_mode_with_the_documented_settings_everything_works() {
    let bouncer = PgBouncer::start(&format!("{DOCUMENTED}pool_mode = session\n")).await;
    let directory = tempfile::tempdir().unwrap();
    // Each connection keeps one of PgBouncer's as long as it lives.
    let vars = [&bouncer.vars()[..], &[("DATABASE_MAX_CONNECTIONS", "2")]].concat();
    let server = Running::start("dev", directory.path(), &vars).await;
    for _ in 0..3 {
        assert_eq!(crowd(&server).await, 16, "{}\n{}", server.log(), bouncer.log());
    }
    server.browser().get("/api/v1/health").await.expect(200);
    assert_eq!(server.stop().await, Some(0));
}

#[tokio::test]
async fn in_transaction_mode_everything_works_or_the_log_names_the_setting() {
    let knows_statements = version() >= (1, 21);
    let statements = if knows_statements { "max_prepared_statements = 200\n" } else { "" };
    let settings = format!("{DOCUMENTED}pool_mode = transaction\n{statements}");
    let bouncer = PgBouncer::start(&settings).await;
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start("dev", directory.path(), &bouncer.vars()).await;
    if knows_statements {
        for _ in 0..3 {
            assert_eq!(crowd(&server).await, 16, "{}\n{}", server.log(), bouncer.log());
        }
    } else {
        eventually(|| async {
            crowd(&server).await;
            server.log().contains("behind PgBouncer set pool_mode = session").then_some(())
        })
        .await;
    }
    assert_eq!(server.stop().await, Some(0));
}

#[tokio::test]
async fn without_the_documented_settings_the_start_names_them() {
    let bouncer = PgBouncer::start("pool_mode = session\n").await;
    let (status, _, err) = run(&["serve"], &bouncer.vars());
    assert_eq!((status, err.lines().count()), (1, 1), "{err}");
    assert!(err.contains("in pgbouncer.ini set ignore_startup_parameters"), "{err}");
}
