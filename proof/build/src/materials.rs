//! Lists every package in the program, as CycloneDX.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// The target of the build.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Writes the list. Returns the number of packages, without the program itself.
pub(crate) fn write(root: &Path, file: &Path) -> Result<usize> {
    let metadata = super::output(Command::new("cargo").current_dir(root).args([
        "metadata",
        "--format-version=1",
        "--locked",
        "--filter-platform",
        TARGET,
    ]))?;
    let lock = std::fs::read_to_string(root.join("Cargo.lock"))?;
    let components = components(&serde_json::from_str(&metadata)?, &checksums(&lock))?;
    let bom = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": { "type": "application", "name": "tracera" } },
        "components": components,
    });
    std::fs::create_dir_all(file.parent().context("a file in a folder")?)?;
    std::fs::write(file, serde_json::to_vec_pretty(&bom)?)?;
    Ok(components.len())
}

/// The packages that the program needs to run or to be built, each once.
fn components(
    metadata: &Value,
    checksums: &BTreeMap<(String, String), String>,
) -> Result<Vec<Value>> {
    let packages = metadata["packages"].as_array().context("packages")?;
    let by_id: BTreeMap<&str, &Value> =
        packages.iter().filter_map(|package| Some((package["id"].as_str()?, package))).collect();
    let nodes = metadata["resolve"]["nodes"].as_array().context("a resolution")?;
    let needs: BTreeMap<&str, &Value> =
        nodes.iter().filter_map(|node| Some((node["id"].as_str()?, node))).collect();
    let (root, _) = by_id
        .iter()
        .find(|(_, package)| package["name"] == "tracera")
        .context("the package of the program")?;
    let (mut seen, mut waiting) = (BTreeSet::new(), vec![*root]);
    while let Some(id) = waiting.pop() {
        if !seen.insert(id) {
            continue;
        }
        for dependency in needs[id]["deps"].as_array().into_iter().flatten() {
            let kinds = dependency["dep_kinds"].as_array();
            if kinds.into_iter().flatten().any(|kind| kind["kind"] != "dev") {
                waiting.extend(dependency["pkg"].as_str());
            }
        }
    }
    seen.remove(root);
    Ok(seen.into_iter().map(|id| component(by_id[id], checksums)).collect())
}

fn component(package: &Value, checksums: &BTreeMap<(String, String), String>) -> Value {
    let text = |name: &str| package[name].as_str().unwrap_or_default().to_owned();
    let (name, version) = (text("name"), text("version"));
    let mut component = json!({
        "type": "library",
        "name": name,
        "version": version,
        "purl": format!("pkg:cargo/{name}@{version}"),
        "licenses": [{ "expression": text("license").replace('/', " OR ") }],
    });
    if let Some(checksum) = checksums.get(&(name, version)) {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    component
}

/// The checksums in the lock file, by name and version.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let value = |package: &str, name: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(name));
        line.map(|line| line.trim_matches(|c| " =\"".contains(c)).to_owned())
    };
    let entry = |package: &str| {
        let key = (value(package, "name")?, value(package, "version")?);
        Some((key, value(package, "checksum")?))
    };
    lock.split("[[package]]").skip(1).filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_goes_into_the_program_is_listed() {
        let package = |name: &str| {
            json!({ "id": name, "name": name, "version": "1.0.0",
            "license": "MIT/Apache-2.0" })
        };
        let needs = |id: &str, deps: &[(&str, Value)]| {
            let deps: Vec<_> = deps
                .iter()
                .map(|(pkg, kind)| json!({ "pkg": pkg, "dep_kinds": [{ "kind": kind }] }))
                .collect();
            json!({ "id": id, "deps": deps })
        };
        let packages = ["tracera", "a", "b", "tests", "elsewhere"].map(package);
        let metadata = json!({
            "packages": packages,
            "resolve": { "nodes": [
                needs("tracera", &[("a", Value::Null), ("tests", json!("dev"))]),
                needs("a", &[("b", json!("build"))]),
                needs("b", &[]),
                needs("tests", &[("elsewhere", Value::Null)]),
                needs("elsewhere", &[]),
            ] },
        });
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"cafe\"\n";
        let listed = components(&metadata, &checksums(lock)).unwrap();
        assert_eq!(listed.iter().map(|one| &one["name"]).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(listed[0]["hashes"][0]["content"], "cafe");
        assert_eq!(listed[0]["licenses"][0]["expression"], "MIT OR Apache-2.0");
    }
}
