//! The table of the races.

use std::fmt::Write as _;

use super::outcome::Outcome;
use super::{Circumstances, Row};

const HEAD: &str = "\
| | S writes another field, W wrote `a` | S only reads, W wrote `a` | S writes, W was the logout | \
                    S reads, W was the logout |
|---|---|---|---|---|
";

/// The explanation of the table.
pub(crate) const TITLE: &str = "\
## Requests that overlap

S is held between load and commit while W runs. Then: what became of the session, and what S \
                                answered. Bold is what should
not be; `W: 401` means that W itself was refused.
";

/// One row per contender.
pub(crate) fn table(rows: &[Row]) -> String {
    rows.iter().fold(HEAD.to_owned(), |mut text, row| {
        let cells: Vec<_> = row.outcomes.iter().map(|outcomes| cell(outcomes)).collect();
        writeln!(text, "| {} | {} |", row.contender.name, cells.join(" | "))
            .expect("writing to memory does not fail");
        text
    })
}

/// One outcome, or each with the circumstances that led to it.
fn cell(outcomes: &[(Circumstances, Outcome)]) -> String {
    let processes = |circumstances: Circumstances| {
        if circumstances.two_processes { "two processes" } else { "one process" }
    };
    let expiry =
        |circumstances: Circumstances| if circumstances.sliding { "sliding" } else { "fixed" };
    let both = |circumstances| format!("{}, {}", expiry(circumstances), processes(circumstances));
    grouped(outcomes, |_| String::new())
        .or_else(|| grouped(outcomes, |circumstances| expiry(circumstances).to_owned()))
        .or_else(|| grouped(outcomes, |circumstances| processes(circumstances).to_owned()))
        .or_else(|| grouped(outcomes, both))
        .unwrap_or_default()
}

/// One part per label; `None` when the label does not tell the outcomes apart.
fn grouped(
    outcomes: &[(Circumstances, Outcome)],
    label: impl Fn(Circumstances) -> String,
) -> Option<String> {
    let mut groups: Vec<(String, &Outcome)> = Vec::new();
    for (circumstances, outcome) in outcomes {
        let label = label(*circumstances);
        match groups.iter().find(|(known, _)| *known == label) {
            Some((_, known)) if *known == outcome => {}
            Some(_) => return None,
            None => groups.push((label, outcome)),
        }
    }
    let parts = groups.into_iter().map(|(label, outcome)| {
        let text =
            if outcome.right { outcome.text.clone() } else { format!("**{}**", outcome.text) };
        if label.is_empty() { text } else { format!("{label}: {text}") }
    });
    Some(parts.collect::<Vec<_>>().join("<br>"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(texts: [&str; 4]) -> Vec<(Circumstances, Outcome)> {
        [(false, false), (false, true), (true, false), (true, true)]
            .into_iter()
            .zip(texts)
            .map(|((sliding, two_processes), text)| {
                let outcome = Outcome { right: text == "kept", text: text.to_owned() };
                (Circumstances { sliding, two_processes }, outcome)
            })
            .collect()
    }

    #[test]
    fn a_cell_names_only_the_circumstances_that_matter() {
        for (texts, expected) in [
            (["kept", "kept", "kept", "kept"], "kept"),
            (["kept", "kept", "lost", "lost"], "fixed: kept<br>sliding: **lost**"),
            (["kept", "lost", "kept", "lost"], "one process: kept<br>two processes: **lost**"),
            (
                ["kept", "kept", "kept", "lost"],
                "fixed, one process: kept<br>fixed, two processes: kept<br>sliding, one process: \
                 kept<br>sliding, two processes: **lost**",
            ),
        ] {
            assert_eq!(cell(&outcomes(texts)), expected);
        }
    }
}
