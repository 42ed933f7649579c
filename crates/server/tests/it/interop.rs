//! Tests the samples in `deploy/` with the real software that they configure. Run by `script/test
//! --interop`.

mod connections;
mod mail;
mod monitoring;
mod pgbouncer;
mod proxies;
mod proxy;

/// Reads a file from `deploy/`.
fn sample(name: &str) -> String {
    let path = deploy().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn deploy() -> std::path::PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy").into()
}

/// Debian installs servers in directories that are not on every user's `PATH`.
fn found(program: &str) -> std::path::PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into()])
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("{program} is missing: script/bootstrap --interop installs it"))
}
