//! Tests of the samples in `deploy/` with software of others. `script/test --interop` runs these
//! tests.

mod connections;
mod mail;
mod monitoring;
mod proxies;
mod proxy;

/// A file of `deploy/`.
fn sample(name: &str) -> String {
    let path = deploy().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn deploy() -> std::path::PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy").into()
}
