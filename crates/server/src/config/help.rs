//! Formats the table for `--help` and as `.env.sample`.

use std::fmt::Write as _;

use super::table::{Exposure, Fallback, Variable, sections};

const SAMPLE_HEAD: &str = "\
# Read as .env in the working directory of Tracera; the real environment wins.
# Every variable stands here with its default; drop the # in front to change it.
# An empty value is an unset one. White space, # and $ belong in 'single quotes'.
# `tracera check-config` says what the server makes of it.
# Secrets and URLs with credentials may stand in a file: NAME_FILE is its path.
";

/// The part of `--help` that lists every variable with its default and unit.
pub fn help_text() -> String {
    let mut text = String::from(
        "Environment variables (also read from .env in the working directory; the \
         real\nenvironment wins, an empty value is an unset one). A secret or a URL \
         with\ncredentials may stand in a file instead: NAME_FILE is its path.\n",
    );
    for section in sections() {
        let _ = writeln!(text, "\n{}:", section.title);
        for row in section.variables {
            let _ = writeln!(text, "  {}", row.name);
            wrap(&mut text, "      ", row.help);
            wrap(&mut text, "      ", &describe(row));
        }
    }
    text.push_str("\nExit status: 0 fine, 1 could not start, 2 configuration or usage.");
    text
}

/// The text of `.env.sample`.
pub fn env_sample() -> String {
    let mut text = SAMPLE_HEAD.to_owned();
    for section in sections() {
        let _ = writeln!(text, "\n\n# {}", section.title);
        for row in section.variables {
            text.push('\n');
            wrap(&mut text, "# ", row.help);
            wrap(&mut text, "# ", &describe(row));
            let _ = match row.fallback {
                Fallback::Required => writeln!(text, "{}=", row.name),
                Fallback::Value(value) => writeln!(text, "#{}={value}", row.name),
                Fallback::Derived(_) | Fallback::Unset => writeln!(text, "#{}=", row.name),
            };
        }
    }
    text
}

fn describe(row: &Variable) -> String {
    let secret = if row.exposure == Exposure::Secret { " Secret." } else { "" };
    match row.fallback {
        Fallback::Required => format!("Required. Value: {}.{secret}", row.unit),
        Fallback::Unset => format!("Default: unset. Value: {}.{secret}", row.unit),
        Fallback::Value(default) | Fallback::Derived(default) => {
            format!("Default: {default}. Value: {}.{secret}", row.unit)
        }
    }
}

/// Appends `text` in lines of at most 80 characters, so that terminals do not wrap them without
/// indentation.
fn wrap(out: &mut String, indent: &str, text: &str) {
    let mut line = indent.to_owned();
    for word in text.split(' ') {
        if line.len() + word.len() > 79 && line.len() > indent.len() {
            out.push_str(line.trim_end());
            out.push('\n');
            line.truncate(indent.len());
        }
        line.push_str(word);
        line.push(' ');
    }
    out.push_str(line.trim_end());
    out.push('\n');
}
