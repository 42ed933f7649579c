//! Modules use only what stands right of them:
//! `main → operator, cli → start → demo → router → pages → api → http → actions → auth →
//! portfolio → store, mail, telemetry → config → domain`.

use std::fs;
use std::path::{Path, PathBuf};

/// From the left to the right. Modules of one row may use each other.
const STREETS: [&[&str]; 14] = [
    &["main"],
    &["operator", "cli"],
    &["start"],
    &["demo"],
    &["router"],
    &["pages"],
    &["api"],
    &["http"],
    &["actions"],
    &["auth"],
    &["portfolio"],
    &["store", "mail", "telemetry"],
    &["config"],
    &["domain"],
];

/// Small tools that everybody may use.
const TOOLS: [&str; 7] =
    ["backoff", "clock", "cookie", "error_chain", "http_client", "private_dir", "tls"];

fn place(module: &str) -> Option<usize> {
    STREETS.iter().position(|row| row.contains(&module))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let entries = entries.filter(|path| !path.file_name().is_some_and(|name| name == "tests"));
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// The modules that a source names by `crate::`, comments left out.
fn used(source: &str) -> impl Iterator<Item = &str> {
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split("crate::").skip(1)).flat_map(|rest| {
        let listed = rest.strip_prefix('{').and_then(|list| list.split('}').next());
        let names = listed.map_or(vec![rest], |list| list.split(',').map(str::trim).collect());
        let is_name = |it: char| it.is_ascii_lowercase() || it == '_';
        names.into_iter().map(move |name| name.split(|it| !is_name(it)).next().unwrap())
    })
}

#[test]
fn every_module_uses_only_what_stands_right_of_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut uses = 0;
    for path in sources(&root) {
        let inside = path.strip_prefix(&root).unwrap();
        let module = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        if module == "lib" || TOOLS.contains(&module) {
            continue;
        }
        let from = place(module).unwrap_or_else(|| panic!("{module} has no place in STREETS"));
        for target in used(&fs::read_to_string(&path).unwrap()) {
            if TOOLS.contains(&target) || target.is_empty() {
                continue;
            }
            let to = place(target).unwrap_or_else(|| panic!("{target} has no place in STREETS"));
            assert!(from <= to, "{} uses {target}, which stands left of it", inside.display());
            uses += 1;
        }
    }
    assert!(uses > 300, "{uses}");
}
