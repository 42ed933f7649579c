//! Reads the sums out of a profile that callgrind wrote.

use std::collections::HashMap;

use anyhow::{Context, ensure};

/// Part of the names of functions that hash.
const HASHING: &str = "sha2::";

/// The instructions in one profile.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) all: u64,
    /// The instructions in functions of `sha2`.
    pub(crate) hashing: u64,
}

impl Profile {
    /// Reads the part of the [format](https://valgrind.org/docs/manual/cl-format.html) that is
    /// needed. `fn=` begins a function's lines of position and cost. The line after `calls=` is the
    /// cost of another function.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let mut hashes = HashMap::new();
        let (mut all, mut hashing, mut in_hash) = (0, 0, false);
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(name) = line.strip_prefix("fn=").or_else(|| line.strip_prefix("cfn=")) {
                // The first mention is `(ID) NAME`, each later one `(ID)`.
                let (id, name) = name.split_once(' ').unwrap_or((name, ""));
                let hash = *hashes.entry(id).or_insert_with(|| name.contains(HASHING));
                if line.starts_with("fn=") {
                    in_hash = hash;
                }
            } else if line.starts_with("calls=") {
                lines.next();
            } else if line.starts_with(|c: char| c.is_ascii_digit() || "+-*".contains(c)) {
                let cost = line.split_whitespace().nth(1).map_or(Ok(0), str::parse::<u64>);
                let cost = cost.with_context(|| format!("no cost in {line:?}"))?;
                all += cost;
                hashing += if in_hash { cost } else { 0 };
            }
        }
        ensure!(all > 0, "a profile without costs");
        Ok(Self { all, hashing })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_not_counted_twice() {
        let text = "version: 1\npositions: line\nevents: Ir\n\nfl=(1) main.rs\nfn=(1) main\n16 \
                    400\ncfn=(2) sha2::compress\ncalls=3 51\n+2 700\n* 20\n\nfn=(2)\n51 \
                    700\ntotals: 1120\n";
        assert_eq!(Profile::parse(text).unwrap(), Profile { all: 1120, hashing: 700 });
        assert!(Profile::parse("version: 1\n").is_err());
    }
}
