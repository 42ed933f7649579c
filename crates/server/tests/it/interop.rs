//! Tests the samples in `deploy/` with the real software that they configure. Run by `script/test
//! --interop`.

mod connections;
mod mail;
mod monitoring;
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
