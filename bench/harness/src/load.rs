//! Runs the load in a separate process and reads its results.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::contender::sibling;

/// The results of one run of the load.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Load {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_micros: u64,
    pub(crate) p99_micros: u64,
    pub(crate) p999_micros: u64,
    errors: u64,
    first_error: Option<String>,
}

/// The options of one run of the load.
#[derive(Clone, Copy)]
pub(crate) struct Order<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) mode: &'a str,
    pub(crate) cookies: Option<&'a Path>,
    pub(crate) seconds: f64,
    pub(crate) requests: Option<u64>,
    pub(crate) first_user: u64,
}

impl Order<'_> {
    /// Runs the load. A response that is not exactly the expected one is an error.
    pub(crate) fn run(&self) -> anyhow::Result<Load> {
        let mut command = Command::new(sibling("load")?);
        command.arg(format!("--address={}", self.address));
        command.arg(format!("--mode={}", self.mode));
        command.arg(format!("--seconds={}", self.seconds));
        command.arg(format!("--first-user={}", self.first_user));
        if let Some(mailbox) = crate::service::mailbox(self.address) {
            command.arg(format!("--mailbox={mailbox}"));
        }
        if let Some(path) = self.cookies {
            command.arg("--cookies").arg(path);
        }
        if let Some(requests) = self.requests {
            command.arg(format!("--requests={requests}"));
        }
        let output = command.output().context("cannot run the load")?;
        if !output.status.success() {
            bail!("the load failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        let load: Load = serde_json::from_slice(&output.stdout).context("the load's report")?;
        if let Some(error) = &load.first_error {
            bail!("{} wrong answers, the first: {error}", load.errors);
        }
        anyhow::ensure!(load.requests > 0, "the load sent nothing");
        Ok(load)
    }
}
