//! Runs the scripts in `tests/browser` in the system's Chromium, against a server of the test.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::harness::TestApp;

/// Time limit of a script.
const LIMIT: Duration = Duration::from_mins(4);

/// Runs `tests/browser/<name>.mjs` to completion.
///
/// # Panics
/// When the script fails or exceeds the time limit, with its output.
pub(crate) async fn run(name: &str, app: &TestApp) {
    run_with(name, app, &[]).await;
}

/// Like [`run`], with further variables for the script.
pub(crate) async fn run_with(name: &str, app: &TestApp, vars: &[(&str, &str)]) {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let packages = workspace.join(".tools/node/node_modules");
    assert!(packages.is_dir(), "{} is missing: script/test installs it", packages.display());
    let artifacts = workspace.join("test-artifacts");
    std::fs::create_dir_all(&artifacts).unwrap();
    let script: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/browser", name].iter().collect();
    let running = Command::new("node")
        .arg(script.with_extension("mjs"))
        .env("TRACERA_URL", app.instances[0].app.base_url.as_str())
        .env("TRACERA_MAILBOX", app.mailbox_path().unwrap_or_default())
        .env("TRACERA_PACKAGES", packages)
        .env("TRACERA_ARTIFACTS", artifacts)
        .envs(vars.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output =
        tokio::time::timeout(LIMIT, running).await.expect("the script takes too long").unwrap();
    assert!(
        output.status.success(),
        "{name}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
