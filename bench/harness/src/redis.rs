//! The Redis of all contenders, each of which uses another database.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context;
use redis::Connection;

use crate::process::Process;

/// The server's databases, and so the maximum number of contenders.
const DATABASES: &str = "32";
/// The time limit of a reply. Emptying millions of keys takes a while.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server without persistence, which ends when this value is dropped.
pub(crate) struct Redis {
    pub(crate) process: Process,
    port: u16,
    connection: Connection,
}

impl Redis {
    pub(crate) fn start() -> anyhow::Result<Self> {
        Self::start_with(free_port()?, &[])
    }

    /// Starts a server on `port` with more options.
    pub(crate) fn start_with(port: u16, options: &[&str]) -> anyhow::Result<Self> {
        let port_text = port.to_string();
        let args =
            ["--port", &port_text, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        let more = ["--databases", DATABASES, "--loglevel", "warning", "--dir", "/tmp"];
        let process = Process::spawn(
            "redis-server",
            &[&args[..], &more, options].concat(),
            &[],
            Stdio::null(),
            Stdio::inherit(),
        )?;
        let client = redis::Client::open(format!("redis://127.0.0.1:{port}"))?;
        let deadline = Instant::now() + Duration::from_secs(10);
        let connection = loop {
            match client.get_connection_with_timeout(Duration::from_secs(1)) {
                Ok(connection) => {
                    connection.set_read_timeout(Some(PATIENCE))?;
                    break connection;
                }
                Err(error) if Instant::now() > deadline => {
                    return Err(error).context("redis does not start");
                }
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        Ok(Self { process, port, connection })
    }

    /// The URL of a database.
    pub(crate) fn url(&self, database: usize) -> String {
        format!("redis://127.0.0.1:{}/{database}", self.port)
    }

    /// Empties all databases.
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        Ok(redis::cmd("FLUSHALL").exec(&mut self.connection)?)
    }

    /// The number of calls of each command since the start, including those inside scripts.
    pub(crate) fn commands(&mut self) -> anyhow::Result<BTreeMap<String, u64>> {
        Ok(self
            .info("commandstats")?
            .lines()
            .filter_map(|line| {
                let (name, stats) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
                Some((name.to_owned(), stats.split(',').next()?.parse().ok()?))
            })
            .collect())
    }

    /// Bytes the server has allocated.
    pub(crate) fn memory(&mut self) -> anyhow::Result<u64> {
        let info = self.info("memory")?;
        let used = info
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:"))
            .context("no used_memory")?;
        Ok(used.trim().parse()?)
    }

    /// A field of `INFO stats`.
    pub(crate) fn stat(&mut self, name: &str) -> anyhow::Result<u64> {
        let info = self.info("stats")?;
        let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(value.with_context(|| format!("no {name}"))?.trim().parse()?)
    }

    /// The port of the server.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Sends a command and returns its reply as text.
    pub(crate) fn ask(&mut self, command: &str) -> anyhow::Result<String> {
        let mut words = command.split(' ');
        let mut command = redis::cmd(words.next().unwrap_or_default());
        words.for_each(|word| {
            command.arg(word);
        });
        Ok(command.query(&mut self.connection)?)
    }

    fn info(&mut self, section: &str) -> anyhow::Result<String> {
        Ok(redis::cmd("INFO").arg(section).query(&mut self.connection)?)
    }
}

/// A port on which nothing listens.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
