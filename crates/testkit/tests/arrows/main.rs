//! Compares the module order of ARCHITECTURE.md with the `use` lines of the crates.
//!
//! 1. Modules of one folder form no cycle. A module and its submodules count as one.
//! 2. [`ROOMS`] lists the modules of the server; a module uses only modules to its right.
//! 3. Pages and API do not use each other.
//!
//! Tests inside the sources are ignored.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use source::Module;

mod source;

/// The modules of the server from left to right. Modules of one line may use each other, without a
/// cycle.
const ROOMS: &[&[&str]] = &[
    &["main"],
    &["cli", "operator"],
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
    &["backoff", "clock", "cookie", "error_chain", "http_client", "private_dir", "tls"],
];

/// The `use` relations: the two modules, and the files of both.
type Arrows = BTreeMap<(String, String), (PathBuf, PathBuf)>;

fn sources(name: &str) -> Vec<Module> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("crates/");
    source::read(&crates.join(name).join("src"))
}

/// The relations between the modules directly under `folder`.
fn arrows_under(modules: &[Module], folder: &[String]) -> Arrows {
    let child = |path: &[String]| path.strip_prefix(folder)?.first().cloned();
    let mut arrows = Arrows::new();
    for module in modules {
        let Some(from) = child(&module.path) else { continue };
        for target in &module.uses {
            let to = child(&target.path).filter(|to| *to != from);
            if let Some(to) = to {
                let files = (module.file.clone(), target.file.clone());
                arrows.entry((from.clone(), to)).or_insert(files);
            }
        }
    }
    arrows
}

/// A cycle of relations, if there is one.
fn circle(arrows: &Arrows) -> Option<Vec<String>> {
    fn visit(
        arrows: &Arrows,
        at: &str,
        way: &mut Vec<String>,
        done: &mut BTreeSet<String>,
    ) -> Option<Vec<String>> {
        if let Some(begin) = way.iter().position(|seen| seen == at) {
            return Some(way[begin..].to_vec());
        }
        if !done.insert(at.to_owned()) {
            return None;
        }
        way.push(at.to_owned());
        let next = arrows.keys().filter(|(from, _)| from == at);
        let found = next.into_iter().find_map(|(_, to)| visit(arrows, to, way, done));
        way.pop();
        found
    }
    let mut done = BTreeSet::new();
    arrows.keys().find_map(|(from, _)| visit(arrows, from, &mut Vec::new(), &mut done))
}

/// A description of the cycle, with both files of each relation.
fn describe(circle: &[String], arrows: &Arrows) -> String {
    let next = circle.iter().cycle().skip(1);
    let lines = circle.iter().zip(next).map(|(from, to)| {
        let (by, of) = &arrows[&(from.clone(), to.clone())];
        format!("  {from} -> {to}: {} uses {}", by.display(), of.display())
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn no_modules_form_a_circle() {
    let mut circles = Vec::new();
    for name in ["session", "guard", "server", "testkit"] {
        let modules = sources(name);
        let folders: BTreeSet<_> =
            modules.iter().filter_map(|module| module.path.split_last()).map(|at| at.1).collect();
        for folder in folders {
            let arrows = arrows_under(&modules, folder);
            if let Some(circle) = circle(&arrows) {
                circles.push(format!(
                    "{name} {}\n{}",
                    folder.join("::"),
                    describe(&circle, &arrows)
                ));
            }
        }
    }
    assert!(circles.is_empty(), "modules know each other in a circle:\n{}", circles.join("\n"));
}

#[test]
fn the_rooms_of_the_server_know_only_rooms_to_their_right() {
    let modules = sources("server");
    let place = |room: &str| {
        ROOMS.iter().position(|rooms| rooms.contains(&room)).unwrap_or_else(|| {
            panic!("the room {room} has no place in the picture: see ROOMS in this test")
        })
    };
    let left: Vec<_> = arrows_under(&modules, &[])
        .into_iter()
        .filter(|((from, to), _)| {
            let are_faces = from == "pages" && to == "api";
            are_faces || place(to) < place(from)
        })
        .map(|((from, to), (by, of))| {
            format!("  {from} -> {to}: {} uses {}", by.display(), of.display())
        })
        .collect();
    assert!(left.is_empty(), "arrows to the left, or between the faces:\n{}", left.join("\n"));
}

#[test]
fn a_circle_is_found_and_named() {
    let arrow = |from: &str, to: &str| {
        let file = |name: &str| PathBuf::from(format!("{name}.rs"));
        ((from.to_owned(), to.to_owned()), (file(from), file(to)))
    };
    let straight = Arrows::from_iter([arrow("a", "b"), arrow("a", "c"), arrow("b", "c")]);
    assert_eq!(circle(&straight), None);
    let round = Arrows::from_iter([arrow("a", "b"), arrow("b", "c"), arrow("c", "b")]);
    let found = circle(&round).unwrap();
    assert_eq!(found, ["b", "c"]);
    assert!(describe(&found, &round).contains("c -> b: c.rs uses b.rs"));
}
