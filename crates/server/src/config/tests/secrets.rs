//! No output contains a secret.

use super::*;

const CANARY: &str = "canary";

/// All secret variables, with accepted values that contain the canary.
const ACCEPTED: [(&str, &str); 14] = [
    ("SESSION_SECRET", "canary-kS0vV3y1QmZbq2nD8rTfXh5LwJ7cEu9A"),
    ("SESSION_SECRET_PREVIOUS", "canary-older-Qw8rT2yU4iO6pA1sD3fG5hJ7kL9z"),
    ("REDIS_URL", "redis://canary:canary@redis.example/0"),
    ("DATABASE_URL", "postgres://canary:canary@db.example/tracera?password=canary"),
    ("SMTP_URL", "smtps://canary:canary@mail.example"),
    ("MAIL_FROM", "a@b.example"),
    ("GOOGLE_CLIENT_ID", "id"),
    ("GOOGLE_CLIENT_SECRET", "canary"),
    ("OIDC_ISSUER_URL", "https://id.example"),
    ("OIDC_CLIENT_ID", "id"),
    ("OIDC_CLIENT_SECRET", "canary"),
    ("STEAM_API_KEY", "canary"),
    ("PRICE_FEED_URL", "https://canary:canary@prices.example/items?key=canary"),
    ("LOG_FORMAT", "json"),
];

fn environment(pairs: &[(&str, &str)]) -> Environment {
    let process = pairs.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Environment::collect(process, Path::new("/nonexistent/.env"))
}

#[test]
fn accepted_secrets_are_shown_neither_by_debug_nor_by_the_report() {
    for more in [
        vec![],
        vec![("REDIS_URL", ""), ("REDIS_HOST", "redis.example"), ("REDIS_PASSWORD", "canary")],
        vec![(
            "REDIS_URL",
            "redis+sentinel://h/t?sentinel_username=canary&sentinel_password=canary",
        )],
        vec![("SMTP_URL", ""), ("RESEND_API_KEY", "canary"), ("RESEND_FROM_EMAIL", "a@b.example")],
        vec![("GITHUB_CLIENT_ID", "id"), ("GITHUB_CLIENT_SECRET", "canary")],
    ] {
        let environment = environment(&[&ACCEPTED[..], &more].concat());
        let config = environment.config(Mode::Serve);
        let shown = format!("{config:?} {environment:?} {}", report(&environment, &config));
        assert!(config.is_ok(), "{config:?}");
        assert!(!shown.contains(CANARY), "{shown}");
    }
}

#[test]
fn refused_values_that_may_hold_a_secret_are_not_repeated() {
    let broken = [
        "canary",
        "canary\n",
        "canary://canary",
        "redis://canary:can/canary@h",
        "smtp://u:canary@mail.example",
        "smtps://canary@mail.example",
        "postgres://canary:canary@h",
        "https://canary:canary@h/x y",
        "sqlite://canary/",
        "http://u:canary@prices.example",
        "redis://:canary@h:port",
        "redis+sentinel://h/t?sentinel_password=canary&canary",
        "can ary canary",
    ];
    for row in table::variables().filter(|row| row.exposure != Exposure::Public) {
        for value in broken {
            let environment = environment(&[("SESSION_SECRET", SECRET), (row.name, value)]);
            let config = environment.config(Mode::Serve);
            let problems: Vec<_> = config
                .iter()
                .map(|_| String::new())
                .chain(
                    config
                        .as_ref()
                        .err()
                        .into_iter()
                        .flatten()
                        .map(|problem| format!("{problem} {problem:?}")),
                )
                .collect();
            let shown = format!("{problems:?} {}", report(&environment, &config));
            // The path of a database file is not secret.
            let shown = shown.replace("sqlite://canary/", "");
            assert!(!shown.contains(CANARY), "{}={value:?}: {shown}", row.name);
        }
    }
}

#[test]
fn credentials_in_a_url_that_should_have_none_are_not_repeated() {
    for row in table::variables().filter(|row| row.unit.contains("https")) {
        for value in ["https://u:canary@h.example", "ftp://u:canary@h", "https://u:canary@h:port"] {
            let environment = environment(&[("SESSION_SECRET", SECRET), (row.name, value)]);
            let config = environment.config(Mode::Serve);
            let shown = format!("{config:?} {}", report(&environment, &config));
            assert!(!shown.contains(CANARY), "{}={value:?}: {shown}", row.name);
        }
    }
}

#[test]
fn a_value_cannot_forge_a_line() {
    let hostile = "x\r\nfine\u{1b}[2J\u{9b}\u{2028}";
    for row in table::variables() {
        let environment = environment(&[
            ("SESSION_SECRET", SECRET),
            (row.name, hostile),
            (&format!("PRICE_{hostile}"), "x"),
        ]);
        let config = environment.config(Mode::Serve);
        let shown = report(&environment, &config);
        let raw = |c: char| c != '\n' && (c.is_control() || c == '\u{2028}');
        assert!(!shown.contains(raw) && !shown.contains("\nfine"), "{}: {shown:?}", row.name);
    }
}
