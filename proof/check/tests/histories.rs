//! Correct histories, and histories with a deliberate error, each with its first wrong line.
//!
//! A line is `start end client server op user session [field=value] outcome`, times in
//! milliseconds, `-` for none; or `start end fault kind`.

use prove_check::{Verdict, check, read};
use serde_json::{Value, json};

fn event(line: &str) -> Value {
    let words: Vec<&str> = line.split_whitespace().collect();
    let time = |word: &str| word.parse::<u64>().expect("a time") * 1000;
    let (start, end) = (time(words[0]), time(words[1]));
    if words[2] == "fault" {
        return json!({"start": start, "end": end, "op": "fault", "kind": words[3]});
    }
    let name = |word: &str| if word == "-" { Value::Null } else { json!(word) };
    let (field, value) = match words.get(7).and_then(|word| word.split_once('=')) {
        Some((field, value)) => (json!(field), name(value)),
        None => (Value::Null, Value::Null),
    };
    json!({
        "start": start, "end": end, "client": name(words[2]), "server": name(words[3]),
        "op": words[4], "user": name(words[5]), "session": name(words[6]),
        "field": field, "value": value, "outcome": words.last(),
    })
}

fn verdict(history: &str) -> Verdict {
    let lines: Vec<String> = history
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| event(line).to_string())
        .collect();
    check(&read(&lines.join("\n")).expect("lines of a history"))
}

const RIGHT: &[(&str, &str)] = &[
    ("nothing at all", ""),
    (
        "a session from beginning to end",
        "0 10 c1 s1 sign_in u1 a ok
         20 30 c1 s1 commit u1 a n=1 ok
         40 50 c1 s2 load u1 a n=1 ok
         60 70 c1 s1 sign_out u1 a ok
         90 95 c1 s1 load u1 a refused",
    ),
    (
        "a copy is used for less than two seconds",
        "0 10 c1 s1 sign_in u1 a ok
         60 70 c2 s1 sign_out u1 a ok
         2000 2010 c1 s2 load u1 a ok
         2100 2110 c1 s2 load u1 a refused",
    ),
    (
        "a field is read as it was for less than two seconds",
        "0 10 c1 s1 sign_in u1 a ok
         20 30 c1 s1 commit u1 a n=1 ok
         40 50 c1 s1 commit u1 a n=2 ok
         60 70 c2 s2 load u1 a n=1 ok
         80 90 c2 s2 load u1 a n=2 ok
         95 99 c2 s3 load u1 a n=- ok",
    ),
    (
        "writes at the same time are in any order",
        "0 10 c1 s1 sign_in u1 a ok
         20 50 c1 s1 commit u1 a n=1 ok
         20 50 c2 s2 commit u1 a n=2 ok
         60 70 c1 s1 load u1 a n=2 ok
         3000 3010 c1 s1 load u1 a n=2 ok",
    ),
    (
        "a write that is under way can be seen",
        "0 10 c1 s1 sign_in u1 a ok
         30 35 c2 s2 load u1 a n=1 ok
         20 50 c1 s1 commit u1 a n=1 ok",
    ),
    (
        "a write without an answer was done later",
        "0 10 c1 s1 sign_in u1 a ok
         20 30 c1 s1 commit u1 a n=1 unknown
         40 50 c2 s2 load u1 a n=- ok
         5000 5010 c2 s2 load u1 a n=1 ok",
    ),
    (
        "a write without an answer was never done",
        "0 10 c1 s1 sign_in u1 a ok
         20 30 c1 s1 commit u1 a n=1 unavailable
         5000 5010 c2 s1 load u1 a n=- ok",
    ),
    (
        "a sign-out without an answer was done, or not",
        "0 10 c1 s1 sign_in u1 a ok
         0 10 c2 s1 sign_in u1 b ok
         20 30 c1 s1 sign_out u1 a unknown
         20 30 c2 s1 sign_out u1 b unavailable
         4000 4010 c1 s1 load u1 a refused
         4000 4010 c2 s1 load u1 b ok",
    ),
    (
        "a store that cannot be asked says nothing",
        "0 10 c1 s1 sign_in u1 a ok
         20 30 c1 s1 load u1 a unavailable
         40 50 c1 s1 load u1 a ok",
    ),
    (
        "all sessions of a user end, and no others",
        "0 10 c1 s1 sign_in u1 a ok
         0 10 c2 s1 sign_in u1 b ok
         0 10 c3 s1 sign_in u2 c ok
         20 30 c1 s1 revoke_all u1 - ok
         3000 3010 c1 s2 load u1 a refused
         3000 3010 c2 s2 load u1 b refused
         3000 3010 c3 s2 load u2 c ok",
    ),
    (
        "a sign-in at the time of a sign-out everywhere may win or lose",
        "0 50 c1 s1 sign_in u1 a ok
         0 50 c2 s1 sign_in u1 b ok
         0 50 c3 s1 sign_in u1 c refused
         20 30 c4 s1 revoke_all u1 - ok
         3000 3010 c1 s2 load u1 a refused
         3000 3010 c2 s2 load u1 b ok
         3000 3010 c3 s2 load u1 c refused",
    ),
    (
        "who comes with the id of before is refused",
        "0 10 c1 s1 sign_in u1 a ok
         25 30 c2 s2 load u1 a refused
         20 40 c1 s1 rotate u1 a ok
         50 60 c1 s1 load u1 a ok",
    ),
    (
        "two rotations at once",
        "0 10 c1 s1 sign_in u1 a ok
         20 40 c1 s1 rotate u1 a ok
         20 40 c2 s2 rotate u1 a refused
         50 60 c1 s1 load u1 a ok",
    ),
    (
        "a commit at the time of a sign-out may win or lose",
        "0 10 c1 s1 sign_in u1 a ok
         20 50 c1 s1 commit u1 a n=1 ok
         20 50 c2 s2 sign_out u1 a ok
         30 60 c3 s2 commit u1 a m=1 refused",
    ),
    (
        "a browser that signs in anew gives its session up",
        "0 10 c1 s1 sign_in u1 a ok
         20 30 c1 s1 sign_in u2 b ok
         40 50 c1 s1 load u1 a refused
         40 50 c1 s1 load u2 b ok",
    ),
    (
        "what is asked under a session given up reaches the new one",
        "0 10 c1 s1 sign_in u1 a ok
         20 30 c1 s1 sign_in u1 b ok
         25 40 c1 s1 commit u1 a n=1 ok
         50 60 c1 s1 load u1 b n=1 ok
         55 70 c1 s1 sign_out u1 a ok
         80 90 c1 s1 load u1 b refused",
    ),
    (
        "fields do not touch each other",
        "0 10 c1 s1 sign_in u1 a ok
         20 50 c1 s1 commit u1 a n=1 ok
         20 50 c1 s2 commit u1 a m=2 ok
         60 70 c1 s1 load u1 a n=1 ok
         60 70 c1 s1 load u1 a m=2 ok",
    ),
    (
        "a field is removed",
        "0 10 c1 s1 sign_in u1 a ok
         20 30 c1 s1 commit u1 a n=1 ok
         40 50 c1 s1 commit u1 a n=- ok
         60 70 c1 s1 load u1 a n=- ok",
    ),
    (
        "lines in another order than their ends",
        "60 70 c1 s1 load u1 a n=1 ok
         20 30 c1 s1 commit u1 a n=1 ok
         0 10 c1 s1 sign_in u1 a ok",
    ),
];

/// The number is that of the wrong line.
const WRONG: &[(&str, usize, &str)] = &[
    ("a session nobody signed in", 1, "0 10 c1 s1 load u1 a ok"),
    (
        "a session that lives before it is signed in",
        1,
        "0 10 c1 s1 load u1 a ok
         20 30 c1 s1 sign_in u1 a ok",
    ),
    (
        "a session whose sign-in was refused",
        2,
        "0 10 c1 s1 sign_in u1 a refused
         20 30 c1 s1 load u1 a ok",
    ),
    (
        "a copy used for more than two seconds",
        3,
        "0 10 c1 s1 sign_in u1 a ok
         60 70 c1 s1 sign_out u1 a ok
         2071 2080 c1 s2 load u1 a ok",
    ),
    (
        "a server that does not see its own sign-out",
        3,
        "0 10 c1 s1 sign_in u1 a ok
         60 70 c2 s1 sign_out u1 a ok
         71 80 c1 s1 load u1 a ok",
    ),
    (
        "a revoked session that lives on",
        4,
        "0 10 c1 s1 sign_in u1 a ok
         20 30 c2 s2 revoke u1 a ok
         40 50 c1 s3 load u1 a ok
         2100 2110 c1 s3 load u1 a ok",
    ),
    (
        "a session that lives after a sign-out everywhere",
        4,
        "0 10 c1 s1 sign_in u1 a ok
         0 10 c2 s1 sign_in u1 b ok
         20 30 c1 s1 revoke_all u1 - ok
         3000 3010 c2 s2 load u1 b ok",
    ),
    (
        "a sign-out everywhere that spares a session of its own server",
        3,
        "0 10 c1 s1 sign_in u1 a ok
         20 30 c1 s1 revoke_all u1 - ok
         40 50 c1 s1 load u1 a ok",
    ),
    (
        "a commit that brings a session back",
        3,
        "0 10 c1 s1 sign_in u1 a ok
         20 30 c1 s1 sign_out u1 a ok
         40 50 c2 s2 commit u1 a n=1 ok",
    ),
    (
        "a rotation that brings a session back",
        3,
        "0 10 c1 s1 sign_in u1 a ok
         20 30 c1 s1 revoke_all u1 - ok
         40 50 c2 s2 rotate u1 a ok",
    ),
    (
        "a session that lives again after it was found dead",
        4,
        "0 10 c1 s1 sign_in u1 a ok
         20 30 c1 s1 sign_out u1 a unknown
         100 110 c1 s1 load u1 a refused
         2200 2210 c1 s2 load u1 a ok",
    ),
    (
        "a live session that is refused",
        2,
        "0 10 c1 s1 sign_in u1 a ok
         20 30 c1 s1 load u1 a refused",
    ),
    (
        "a live session whose commit is refused",
        2,
        "0 10 c1 s1 sign_in u1 a ok
         20 30 c1 s1 commit u1 a n=1 refused
         40 50 c1 s1 sign_out u1 a ok",
    ),
    (
        "a session refused long after its rotation",
        3,
        "0 10 c1 s1 sign_in u1 a ok
         20 30 c1 s1 rotate u1 a ok
         40 50 c1 s1 load u1 a refused",
    ),
    (
        "another user's sign-out everywhere",
        3,
        "0 10 c1 s1 sign_in u1 a ok
         20 30 c2 s1 revoke_all u2 - ok
         40 50 c1 s1 load u1 a refused",
    ),
    (
        "a lost field",
        4,
        "0 10 c1 s1 sign_in u1 a ok
         20 40 c1 s1 commit u1 a n=1 ok
         20 40 c1 s2 commit u1 a m=1 ok
         2100 2110 c1 s1 load u1 a n=- ok",
    ),
    (
        "an older value after two seconds",
        4,
        "0 10 c1 s1 sign_in u1 a ok
         20 30 c1 s1 commit u1 a n=1 ok
         40 50 c1 s1 commit u1 a n=2 ok
         2060 2070 c2 s2 load u1 a n=1 ok",
    ),
    (
        "an older value at the server that wrote the newer",
        4,
        "0 10 c1 s1 sign_in u1 a ok
         20 30 c1 s2 commit u1 a n=1 ok
         40 50 c1 s1 commit u1 a n=2 ok
         60 70 c1 s1 load u1 a n=1 ok",
    ),
    (
        "a value that nobody wrote",
        3,
        "0 10 c1 s1 sign_in u1 a ok
         20 30 c1 s1 commit u1 a n=1 ok
         40 50 c1 s1 load u1 a n=7 ok",
    ),
    (
        "a value before it was written",
        2,
        "0 10 c1 s1 sign_in u1 a ok
         20 30 c1 s1 load u1 a n=1 ok
         40 50 c1 s1 commit u1 a n=1 ok",
    ),
    (
        "a value whose commit was refused",
        4,
        "0 10 c1 s1 sign_in u1 a ok
         20 30 c2 s1 sign_out u1 a unknown
         20 30 c1 s1 commit u1 a n=1 refused
         25 35 c1 s1 load u1 a n=1 ok",
    ),
    (
        "a removed field that is back",
        5,
        "0 10 c1 s1 sign_in u1 a ok
         20 30 c1 s1 commit u1 a n=1 ok
         40 50 c1 s1 commit u1 a n=- ok
         60 70 c1 s1 load u1 a n=- ok
         80 90 c1 s1 load u1 a n=1 ok",
    ),
    (
        "two orders of the same writes",
        6,
        "0 10 c1 s1 sign_in u1 a ok
         20 50 c1 s1 commit u1 a n=1 ok
         20 50 c2 s1 commit u1 a n=2 ok
         60 70 c1 s1 load u1 a n=1 ok
         3000 3010 c2 s2 load u1 a n=1 ok
         6000 6010 c2 s2 load u1 a n=2 ok",
    ),
    (
        "the field of another session",
        4,
        "0 10 c1 s1 sign_in u1 a ok
         0 10 c2 s1 sign_in u1 b ok
         20 30 c1 s1 commit u1 a n=1 ok
         40 50 c2 s1 load u1 b n=1 ok",
    ),
    (
        "another user's answer",
        2,
        "0 10 c1 s1 sign_in u1 a ok
         20 30 c1 s1 load u2 a ok",
    ),
    (
        "a session signed in twice",
        2,
        "0 10 c1 s1 sign_in u1 a ok
         20 30 c2 s1 sign_in u1 a ok",
    ),
    (
        "an ended session long before a fault",
        4,
        "0 10 c1 s1 sign_in u1 a ok
         20 30 c1 s1 sign_out u1 a ok
         9000 9010 fault kill
         12000 12010 c1 s2 load u1 a ok",
    ),
    (
        "an ended session after a fault that loses nothing",
        4,
        "0 10 c1 s1 sign_in u1 a ok
         20 30 c1 s1 sign_out u1 a ok
         30 40 fault move_slot
         3000 3010 c1 s2 load u1 a ok",
    ),
    (
        "the first of two wrong lines, in two sessions",
        3,
        "0 10 c1 s1 sign_in u1 b ok
         0 10 c2 s1 sign_in u1 a ok
         20 30 c1 s1 load u1 b refused
         40 50 c2 s1 load u1 a refused",
    ),
];

#[test]
fn what_is_right_is_explained() {
    for (name, history) in RIGHT {
        let verdict = verdict(history);
        assert_eq!(verdict.impossible, [], "{name}");
        assert_eq!(verdict.lost, 0, "{name}");
    }
}

#[test]
fn what_is_wrong_is_found_at_its_first_line() {
    assert!(WRONG.len() >= 20);
    for (name, line, history) in WRONG {
        let found = verdict(history);
        assert_eq!(found.impossible.first().map(|first| first.line), Some(*line), "{name}");
    }
}

#[test]
fn what_a_fault_may_have_lost_is_counted_apart() {
    let lost = verdict(
        "0 10 c1 s1 sign_in u1 a ok
         20 30 c1 s1 sign_out u1 a ok
         40 50 fault kill
         5000 5010 c1 s2 load u1 a ok",
    );
    assert_eq!((lost.impossible, lost.lost, lost.revived.len()), (vec![], 1, 1));
    let field = verdict(
        "0 10 c1 s1 sign_in u1 a ok
         20 30 c1 s1 commit u1 a n=1 ok
         40 50 c1 s1 commit u1 a n=2 ok
         60 70 c1 s1 load u1 a n=2 ok
         80 90 fault partition
         5000 5010 c1 s2 load u1 a n=1 ok",
    );
    assert_eq!((field.impossible, field.lost, field.revived.len()), (vec![], 1, 0));
    let kept = verdict(
        "0 10 c1 s1 sign_in u1 a ok
         20 30 c1 s1 sign_out u1 a ok
         40 50 fault kill
         5000 5010 c1 s2 load u1 a refused",
    );
    assert_eq!((kept.impossible, kept.lost), (vec![], 0));
}

#[test]
fn only_an_end_that_was_confirmed_counts_as_lost() {
    let revived = |first: &str, second: &str| {
        let verdict = verdict(&format!(
            "0 10 c1 s1 sign_in u1 a ok
             20 30 c2 s1 revoke u1 a {first}
             31 40 c2 s1 revoke u1 a {second}
             50 60 c1 s1 load u1 a refused
             70 1000 fault promote
             5000 5010 c1 s2 load u1 a ok"
        ));
        assert_eq!((verdict.impossible, verdict.lost), (vec![], 1), "{first}, {second}");
        verdict.revived.len()
    };
    // The primary had ended the session, and another request saw it. The requester was told that
    // the end may be lost.
    assert_eq!(revived("unavailable", "unknown"), 0);
    assert_eq!(revived("ok", "unavailable"), 1);
    // A requester who repeats the operation until it is confirmed may rely on it.
    assert_eq!(revived("unavailable", "ok"), 1);
}

#[test]
fn what_happens_at_two_primaries_at_once_is_counted_apart_and_nothing_after_it_is() {
    let story = |kind: &str, refused: u64| {
        let (end, again, last) = (refused + 10, refused + 20, refused + 30);
        verdict(&format!(
            "0 10 c1 s1 sign_in u1 a ok
             20 30 c1 s1 commit u1 a n=1 ok
             40 1000 fault {kind}
             {refused} {end} c1 s2 load u1 a refused
             {again} {last} c1 s1 commit u1 a n=2 ok"
        ))
    };
    let torn = story("promote", 500);
    assert_eq!((torn.impossible, torn.torn, torn.lost), (vec![], 1, 0));
    for later in [story("promote", 4000), story("kill", 500)] {
        assert_eq!((later.impossible.len(), later.torn), (1, 0));
    }
}

#[test]
fn what_is_no_history_is_unreadable() {
    let good = concat!(
        r#"{"start":1,"end":2,"client":1,"server":1,"op":"sign_in","user":"u","session":7,"#,
        r#""field":null,"value":null,"outcome":"ok"}"#
    );
    assert_eq!(read(good).map(|events| events.len()), Ok(1));
    for (bad, line) in [
        ("{}".to_owned(), 1),
        (format!("{good}\n\nno json"), 3),
        (good.replace("\"end\":2", "\"end\":0"), 1),
        (good.replace("sign_in", "sign_up"), 1),
        (good.replace("\"ok\"", "\"fine\""), 1),
        (good.replace(",\"outcome\":\"ok\"", ""), 1),
        (good.replace("\"session\":7", "\"session\":null"), 1),
    ] {
        assert_eq!(read(&bad).map_err(|error| error.line), Err(line), "{bad}");
    }
}
