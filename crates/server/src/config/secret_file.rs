//! Secrets in files, as Docker and systemd provide them: `NAME_FILE` is the path of a file with the
//! value of `NAME`.
//!
//! This works for every variable whose value is not shown in full. Messages omit the path, which
//! may be the secret itself by mistake.

use std::fs::File;
use std::io::{self, Read};

use super::problem::Wrong;
use super::table::{Exposure, Variable, variables};

/// Limit on the file's size. A secret is far shorter, but a device may be endless.
const MAX_BYTES: u64 = 64 * 1024;

/// The variables that can be read from a file, with the name of the variable for the path.
pub(super) fn candidates() -> impl Iterator<Item = (&'static Variable, String)> {
    variables()
        .filter(|row| row.exposure != Exposure::Public)
        .map(|row| (row, format!("{}_FILE", row.name)))
}

/// The content of the file, without a trailing line feed.
pub(super) fn read(path: &str) -> Result<String, Wrong> {
    let cannot = |error: io::Error| {
        let what = format!("names a file that cannot be read ({error})");
        Wrong::new(what, "write the path of a file with the value in UTF-8 that this user may read")
    };
    let mut value = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut value))
        .map_err(cannot)?;
    if value.len() as u64 > MAX_BYTES {
        return Err(Wrong::new(
            "names a file of more than 64 KiB",
            "write the path of a file with the value",
        ));
    }
    let value = value.strip_suffix('\n').unwrap_or(&value);
    let value = value.strip_suffix('\r').unwrap_or(value);
    if value.is_empty() {
        return Err(Wrong::new("names an empty file", "put the value into the file"));
    }
    Ok(value.to_owned())
}
