//! `docs/asvs.md` names a test for each requirement; all of these tests exist.

use std::collections::BTreeSet;
use std::path::Path;

const PAGE: &str = include_str!("../../../../docs/asvs.md");

/// The names of all functions in the sources below `directory`.
fn functions(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = std::fs::read_to_string(path).unwrap();
            let names =
                source.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
            found.extend(names.map(str::to_owned));
        }
    }
}

#[test]
fn every_test_the_page_names_is_there_and_every_row_says_something() {
    let mut there = BTreeSet::new();
    functions(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), &mut there);
    let rows = PAGE.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| #"));
    let (mut requirements, mut count) = (BTreeSet::new(), 0);
    for row in rows {
        let cells: Vec<_> = row.trim_matches(['|', ' ']).split(" | ").collect();
        let [requirement, level, _, shown] = cells[..] else { panic!("{row}") };
        assert!(requirements.insert(requirement), "{requirement} stands there twice");
        assert!(level.starts_with(['1', '2', '3']) && !shown.is_empty(), "{row}");
        let names = shown.split('`').skip(1).step_by(2).filter(|name| name.contains('_'));
        for name in names.filter(|name| {
            name.chars().all(|c| c.is_ascii_lowercase() || "_0123456789".contains(c))
        }) {
            assert!(there.contains(name), "{requirement} names {name}, which is no test");
            count += 1;
        }
    }
    assert!(count > 80, "{count}");
}
