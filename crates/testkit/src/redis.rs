//! A single Redis server.

use std::sync::{Arc, Mutex, MutexGuard};

use tempfile::TempDir;

use crate::certificate::{Certificate, text};
use crate::free_port;
use crate::process::{Process, output, run, wait_until};

/// The number of attempts to start, each on another port.
pub(crate) const ATTEMPTS: usize = 5;

/// The server prints this when it is ready.
pub(crate) const READY: &str = "Ready to accept connections";

/// Prints every key with its type, its value in readable form and its serialised form.
const DUMP_ALL: &str = r"
local read = {
  string = function(key) return redis.call('GET', key) end,
  hash = function(key) return redis.call('HGETALL', key) end,
  list = function(key) return redis.call('LRANGE', key, 0, -1) end,
  set = function(key) return redis.call('SMEMBERS', key) end,
  zset = function(key) return redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') end,
  stream = function(key) return redis.call('XRANGE', key, '-', '+') end,
}
local dump, cursor = {}, '0'
repeat
  local page = redis.call('SCAN', cursor, 'COUNT', 1000)
  cursor = page[1]
  for _, key in ipairs(page[2]) do
    local kind = redis.call('TYPE', key).ok
    table.insert(dump, {key, kind, read[kind](key), redis.call('DUMP', key)})
  end
until cursor == '0'
return dump";

/// An empty Redis server without persistence, killed when dropped.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    options: Vec<String>,
    directory: TempDir,
    sign: &'static str,
    /// The certificate presented to clients; `None` without TLS.
    tls: Option<Arc<Certificate>>,
    /// `None` after [`RedisServer::kill`].
    process: Mutex<Option<Process>>,
}

impl RedisServer {
    /// Starts a server with Redis' own defaults, apart from persistence, which is off.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a server with more options, such as `&["--maxmemory", "2mb"]`.
    pub async fn start_with(options: &[&str]) -> Self {
        Self::start_until(options, READY, None).await
    }

    /// Starts a server that speaks TLS only.
    pub async fn start_with_tls(certificate: &Arc<Certificate>) -> Self {
        Self::start_until(&[], READY, Some(certificate)).await
    }

    /// Starts a server that is ready once it has printed `sign`.
    pub(crate) async fn start_until(
        options: &[&str],
        sign: &'static str,
        tls: Option<&Arc<Certificate>>,
    ) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        let mut failure = String::new();
        for _ in 0..ATTEMPTS {
            let port = free_port();
            match launch(port, &options, &directory, sign, tls).await {
                Ok(process) => {
                    let (tls, process) = (tls.cloned(), Mutex::new(Some(process)));
                    return Self { port, options, directory, sign, tls, process };
                }
                Err(error) => failure = error,
            }
        }
        panic!("redis-server {options:?} {failure}");
    }

    /// Starts a replica of this server. When this returns, the replica has copied everything and
    /// receives new writes.
    pub async fn start_replica(&self) -> Self {
        // For both servers, because the replica may become the primary. With diskless replication a
        // primary waits five seconds for more replicas before the first may copy. It also sends an
        // online replica nothing until that replica reports, which may take a second.
        let by_file = [("repl-diskless-sync", "no"), ("rdb-del-sync-files", "yes")];
        for (option, value) in by_file {
            self.cli(&["CONFIG", "SET", option, value]).await;
        }
        let port = self.port.to_string();
        let by_file = by_file.map(|(option, value)| [format!("--{option}"), value.to_owned()]);
        let by_file = by_file.iter().flatten().map(String::as_str);
        let options: Vec<_> = by_file.chain(["--replicaof", "127.0.0.1", &port]).collect();
        let replica = Self::start_until(&options, READY, self.tls.as_ref()).await;
        let fed = format!("port={},state=online", replica.port);
        let copied = async || {
            self.cli(&["INFO", "replication"]).await.contains(&fed)
                && replica.cli(&["INFO", "replication"]).await.contains("master_link_status:up")
        };
        wait_until("the replica has copied its primary", copied).await;
        replica
    }

    /// `redis://127.0.0.1:{port}`, or `rediss` with TLS.
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", scheme(self.tls.is_some()), self.port)
    }

    /// The port, the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills the server and starts it again on the same port, without data.
    pub async fn restart(&self) {
        self.kill();
        let process =
            launch(self.port, &self.options, &self.directory, self.sign, self.tls.as_ref()).await;
        *self.process() = Some(process.unwrap_or_else(|error| panic!("redis-server {error}")));
    }

    /// Kills the server at once. Connections are reset and new ones refused.
    pub fn kill(&self) {
        self.process().take();
    }

    /// Suspends the server. Connections stay open and the kernel accepts new ones, but nothing is
    /// answered.
    pub async fn freeze(&self) {
        let process = self.process().take().expect("the server runs");
        process.freeze().await;
        *self.process() = Some(process);
    }

    /// Resumes a frozen server.
    pub fn thaw(&self) {
        self.process().as_ref().expect("the server runs").thaw();
    }

    /// Runs one command through `redis-cli` and returns its output, without the last line break.
    /// Panics when the server answers with an error.
    pub async fn cli(&self, command: &[&str]) -> String {
        let printed = String::from_utf8_lossy(&self.cli_bytes(command).await).into_owned();
        printed.strip_suffix('\n').unwrap_or(&printed).to_owned()
    }

    /// Like `cli`, but `None` when the server does not answer, for instance while it is being
    /// demoted.
    pub async fn ask(&self, command: &[&str]) -> Option<String> {
        let answer = output("redis-cli", &texts(&self.cli_args(command))).await;
        answer.status.success().then(|| String::from_utf8_lossy(&answer.stdout).into_owned())
    }

    /// All data of the server: each key with its readable and its serialised value.
    pub async fn dump_all(&self) -> Vec<u8> {
        self.cli_bytes(&["EVAL", DUMP_ALL, "0"]).await
    }

    /// The number of calls of a command (lower-case name), including calls in scripts.
    pub async fn command_calls(&self, command: &str) -> u64 {
        let prefix = format!("cmdstat_{command}:calls=");
        let statistics = self.cli(&["INFO", "commandstats"]).await;
        let calls =
            statistics.lines().find_map(|line| line.strip_prefix(&prefix)?.split(',').next());
        calls.map_or(0, |calls| calls.parse().expect("INFO counts in whole numbers"))
    }

    /// The number of error replies that begin with `code`, such as `MOVED`.
    pub async fn error_replies(&self, code: &str) -> u64 {
        let prefix = format!("errorstat_{code}:count=");
        let statistics = self.cli(&["INFO", "errorstats"]).await;
        let count = statistics.lines().find_map(|line| line.strip_prefix(&prefix));
        count.map_or(0, |count| count.trim().parse().expect("INFO counts in whole numbers"))
    }

    /// Waits until every replica of this primary has received all writes so far, because
    /// replication is asynchronous. There must be at least one replica.
    pub async fn wait_for_replicas(&self) {
        let number = |text: &str, name: &str| {
            let (_, rest) = text.split_once(name)?;
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok()
        };
        let before = self.cli(&["INFO", "replication"]).await;
        let written = number(&before, "master_repl_offset:").expect("a primary says how far it is");
        wait_until("the replicas have what the primary has", async || {
            let info = self.cli(&["INFO", "replication"]).await;
            let replicas: Vec<_> = info.lines().filter(|line| line.starts_with("slave")).collect();
            !replicas.is_empty()
                && replicas
                    .iter()
                    .all(|line| number(line, "offset=").is_some_and(|offset| offset >= written))
        })
        .await;
    }

    async fn cli_bytes(&self, command: &[&str]) -> Vec<u8> {
        run("redis-cli", &texts(&self.cli_args(command))).await
    }

    fn cli_args(&self, command: &[&str]) -> Vec<String> {
        let tls = self.tls.as_deref().map(cli_options);
        let address = ["-e", "-h", "127.0.0.1", "-p"].map(str::to_owned);
        let command = command.iter().map(|&word| word.to_owned());
        let port = std::iter::once(self.port.to_string());
        address.into_iter().chain(port).chain(tls.into_iter().flatten()).chain(command).collect()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process().is_some()
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().expect("nothing panics while it holds the lock")
    }
}

async fn launch(
    port: u16,
    options: &[String],
    directory: &TempDir,
    sign: &str,
    tls: Option<&Arc<Certificate>>,
) -> Result<Process, String> {
    let path = directory.path().to_str().expect("temporary paths are UTF-8");
    let port = port.to_string();
    let own = ["--bind", "127.0.0.1", "--dir", path, "--save", "", "--appendonly", "no"];
    let port = match tls {
        Some(certificate) => server_options(certificate, port),
        None => vec!["--port".to_owned(), port],
    };
    // The caller's options come first, because a configuration file has to be the first argument.
    let args: Vec<String> =
        options.iter().cloned().chain(own.iter().map(ToString::to_string)).chain(port).collect();
    let mut process = Process::spawn("redis-server", &args, &directory.path().join("log"));
    process.ready(sign).await?;
    Ok(process)
}

fn server_options(certificate: &Certificate, port: String) -> Vec<String> {
    let [chain, key, authority] =
        [&*certificate.chain, &certificate.key, certificate.authority()].map(text);
    let on = [
        "--tls-replication",
        "yes",
        "--tls-cluster",
        "yes",
        "--tls-auth-clients",
        "no",
        "--port",
        "0",
    ];
    let files =
        [("--tls-cert-file", chain), ("--tls-key-file", key), ("--tls-ca-cert-file", authority)];
    let values = files.into_iter().chain([("--tls-port", port)]);
    on.map(ToOwned::to_owned)
        .into_iter()
        .chain(values.flat_map(|(name, value)| [name.to_owned(), value]))
        .collect()
}

/// The options of `redis-cli` for a connection with TLS.
pub(crate) fn cli_options(certificate: &Certificate) -> [String; 3] {
    ["--tls".to_owned(), "--cacert".to_owned(), text(certificate.authority())]
}

fn texts(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

pub(crate) fn scheme(tls: bool) -> &'static str {
    if tls { "rediss" } else { "redis" }
}
