//! A `PostgreSQL` server.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use crate::free_port;
use crate::process::{Ending, Process, run};
use crate::redis::ATTEMPTS;

/// `PostgreSQL` refuses to run as root, so the tests switch to the user that its package made.
const AS_POSTGRES: &[&str] = &["--reuid=postgres", "--regid=postgres", "--clear-groups"];

/// Test data must survive a crash of the server, not of the machine.
const OPTIONS: &[&str] = &[
    "fsync=off",
    "full_page_writes=off",
    "shared_buffers=16MB",
    "max_connections=200",
    "dynamic_shared_memory_type=mmap",
    "listen_addresses=127.0.0.1",
];

/// A new database cluster, reached as the user `postgres` without a password, ended when dropped.
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    directory: TempDir,
    /// `None` after [`Postgres::kill`].
    process: Mutex<Option<Process>>,
    databases: AtomicU32,
}

impl Postgres {
    /// Makes an empty database cluster and starts its server.
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        initialise(&directory).await;
        let mut failure = String::new();
        for _ in 0..ATTEMPTS {
            let port = free_port();
            match launch(port, &directory).await {
                Ok(process) => {
                    let process = Mutex::new(Some(process));
                    return Self { port, directory, process, databases: AtomicU32::new(0) };
                }
                Err(error) => failure = error,
            }
        }
        panic!("postgres {failure}");
    }

    /// The URL of the database that always exists: `postgres://postgres@127.0.0.1:{port}/postgres`
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The URL of the same database over a socket file: `postgres:///postgres?host={directory}&…`
    pub fn socket_url(&self) -> String {
        let directory = self.directory.path().display();
        format!("postgres:///postgres?host={directory}&port={}&user=postgres", self.port)
    }

    /// The port, the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes a new, empty database and returns its URL.
    pub async fn create_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let port = self.port.to_string();
        // Unlike the default template1, template0 can be copied concurrently.
        let args = ["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-T", "template0", &name];
        run(&program("createdb"), &args).await;
        self.url_of(&name)
    }

    /// Ends the server at once. Connections break and new ones are refused.
    pub fn kill(&self) {
        self.process.lock().expect("nothing panics while it holds the lock").take();
    }

    /// Ends the server and starts it again on the same port with the same data.
    pub async fn restart(&self) {
        self.kill();
        let process = launch(self.port, &self.directory).await;
        let process = process.unwrap_or_else(|error| panic!("postgres {error}"));
        *self.process.lock().expect("nothing panics while it holds the lock") = Some(process);
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

async fn initialise(directory: &TempDir) {
    let data = data(directory);
    let mut command = rights();
    if !command.is_empty() {
        run("chown", &["postgres:", directory.path().to_str().expect("temporary paths are UTF-8")])
            .await;
    }
    let initdb = program("initdb");
    let options =
        ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale", "--no-sync"];
    command.extend(["--", &initdb, "-D", &data]);
    command.extend(options);
    run("setpriv", &command).await;
}

async fn launch(port: u16, directory: &TempDir) -> Result<Process, String> {
    let mut args = vec!["-D".to_owned(), data(directory), "-p".to_owned(), port.to_string()];
    args.extend([
        "-c".to_owned(),
        format!("unix_socket_directories={}", directory.path().display()),
    ]);
    args.extend(OPTIONS.iter().flat_map(|option| ["-c".to_owned(), (*option).to_owned()]));
    let log = directory.path().join("log");
    let mut process = Process::spawn_as(&rights(), Ending::Quit, &program("postgres"), &args, &log);
    process.ready("database system is ready to accept connections").await?;
    Ok(process)
}

fn data(directory: &TempDir) -> String {
    directory.path().join("data").to_str().expect("temporary paths are UTF-8").to_owned()
}

fn rights() -> Vec<&'static str> {
    let user = std::fs::metadata("/proc/self").expect("Linux has /proc").uid();
    if user == 0 { AS_POSTGRES.to_vec() } else { Vec::new() }
}

/// A program of the newest server installed by Debian, whose directory is not on the PATH. On other
/// systems, its name alone.
fn program(name: &str) -> String {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let files =
        versions.map(|version| version.path().join("bin").join(name)).filter(|file| file.is_file());
    let newest = files.max_by_key(|file: &PathBuf| version_of(file));
    newest.map_or_else(
        || name.to_owned(),
        |file| file.to_str().expect("Debian's paths are UTF-8").to_owned(),
    )
}

/// The 15 of `/usr/lib/postgresql/15/bin/initdb`.
fn version_of(file: &std::path::Path) -> Option<u32> {
    file.ancestors().nth(2)?.file_name()?.to_str()?.parse().ok()
}
