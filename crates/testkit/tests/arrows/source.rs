//! Reads from the sources which module uses which.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// One file of a crate.
pub(crate) struct Module {
    /// The path inside the crate; empty for `lib.rs`.
    pub path: Vec<String>,
    pub file: PathBuf,
    /// The modules that the file uses.
    pub uses: Vec<Target>,
}

/// A module that another one uses.
pub(crate) struct Target {
    pub path: Vec<String>,
    pub file: PathBuf,
}

/// The modules of the crate with this `src` folder.
pub(crate) fn read(src: &Path) -> Vec<Module> {
    let mut files = Vec::new();
    collect(src, &mut files);
    let parsed: Vec<_> = files
        .into_iter()
        .map(|file| {
            let text = without_tests(&fs::read_to_string(&file).expect("a source can be read"));
            (module_path(src, &file), file, text)
        })
        .collect();
    let known: BTreeSet<_> = parsed.iter().map(|(path, ..)| path.clone()).collect();
    let file_of = |path: &[String]| {
        let found = parsed.iter().find(|(known, ..)| known == path);
        found.map(|(_, file, _)| short(src, file))
    };
    parsed
        .iter()
        .map(|(path, file, text)| {
            let named = paths(text).into_iter().filter_map(|named| resolve(path, &named, &known));
            let uses = named.collect::<BTreeSet<_>>().into_iter();
            let uses = uses.map(|path| Target { file: file_of(&path).expect("it is known"), path });
            Module { path: path.clone(), file: short(src, file), uses: uses.collect() }
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder can be read") {
        let path = entry.expect("an entry can be read").path();
        let stem = path.file_stem().expect("an entry has a name");
        if stem == "tests" {
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
}

fn short(src: &Path, file: &Path) -> PathBuf {
    let root = src.parent().and_then(Path::parent).expect("src lies in a crate");
    file.strip_prefix(root).expect("a file lies below its crate").to_owned()
}

fn module_path(src: &Path, file: &Path) -> Vec<String> {
    let inside = file.strip_prefix(src).expect("a file lies below src").with_extension("");
    let parts = inside.iter().map(|part| part.to_str().expect("names are ASCII").to_owned());
    parts.filter(|part| part != "lib").collect()
}

/// The code before the tests at a file's end, without comments.
fn without_tests(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let lines = code.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// Every path that begins with `crate`, `super` or `self`, and every path in a `use` line, with
/// braces expanded.
fn paths(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("use ") {
        let begins = text[..at].chars().next_back().is_none_or(char::is_whitespace);
        if let (true, Some(end)) = (begins, text[at..].find(';')) {
            expand(&[], &text[at + 4..at + end], &mut found);
        }
    }
    for root in ["crate::", "super::", "self::"] {
        for (at, _) in text.match_indices(root) {
            let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
            let end = text[at..].find(|c| !is_path(c)).unwrap_or(text.len() - at);
            expand(&[], &text[at..at + end], &mut found);
        }
    }
    found
}

/// Expands `a::{b, c::d}` to `a::b` and `a::c::d`.
fn expand(before: &[String], text: &str, found: &mut Vec<Vec<String>>) {
    let text = text.trim();
    let Some((first, braces)) = text.split_once('{') else {
        let text = text.split(" as ").next().unwrap_or_default();
        let parts = text.split("::").map(str::trim).filter(|part| !part.is_empty());
        found.push(before.iter().cloned().chain(parts.map(str::to_owned)).collect());
        return;
    };
    let head = first.split("::").map(str::trim).filter(|part| !part.is_empty());
    let before: Vec<_> = before.iter().cloned().chain(head.map(str::to_owned)).collect();
    let inside = braces.strip_suffix('}').unwrap_or(braces);
    let (mut depth, mut begin) = (0, 0);
    for (at, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&before, &inside[begin..at], found);
                begin = at + 1;
            }
            _ => {}
        }
    }
    if !inside[begin..].trim().is_empty() {
        expand(&before, &inside[begin..], found);
    }
}

/// The deepest module on a path used by `module`; `None` for other crates.
fn resolve(
    module: &[String],
    named: &[String],
    known: &BTreeSet<Vec<String>>,
) -> Option<Vec<String>> {
    let mut at = module.to_vec();
    let mut rest = named.iter().peekable();
    match rest.peek()?.as_str() {
        "crate" => {
            at.clear();
            rest.next();
        }
        "self" => {
            rest.next();
        }
        "super" => {
            while rest.next_if(|part| *part == "super").is_some() {
                at.pop()?;
            }
        }
        // A submodule, used without `self`.
        first => {
            at.push(first.to_owned());
            known.contains(&at).then_some(())?;
            rest.next();
        }
    }
    for part in rest {
        at.push(part.clone());
        if !known.contains(&at) {
            at.pop();
            break;
        }
    }
    (!at.is_empty()).then_some(at)
}
