//! An OpenID 2.0 provider that behaves like Steam, on the Python package `python3-openid`.

use tempfile::TempDir;

use crate::free_port;
use crate::process::{Process, tool};
use crate::redis::ATTEMPTS;

const SCRIPT: &str = include_str!("steam_op.py");

/// The provider, killed when dropped. The URL names the user: `__steamid=…` added to a request
/// signs in as that user, `__deny=1` declines. Without either, a page asks.
#[derive(Debug)]
pub struct OpenIdProvider {
    base: String,
    _process: Process,
    _directory: TempDir,
}

impl OpenIdProvider {
    /// Starts a provider.
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let script = directory.path().join("steam_op.py");
        std::fs::write(&script, SCRIPT).expect("a temporary file can be written");
        let script = script.to_str().expect("temporary paths are UTF-8").to_owned();
        let mut failure = String::new();
        for _ in 0..ATTEMPTS {
            let port = free_port();
            let args = [script.clone(), format!("--port={port}")];
            let mut process =
                Process::spawn(&tool("venv/bin/python"), &args, &directory.path().join("log"));
            match process.ready("listening").await {
                Ok(()) => {
                    let base = format!("http://127.0.0.1:{port}");
                    return Self { base, _process: process, _directory: directory };
                }
                Err(error) => failure = error,
            }
        }
        panic!("the OpenID provider {failure}");
    }

    /// The endpoint: `http://127.0.0.1:{port}/openid/login`.
    pub fn endpoint(&self) -> String {
        format!("{}/openid/login", self.base)
    }
}
