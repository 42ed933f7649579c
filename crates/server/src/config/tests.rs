//! Accepted and refused values of all variables.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;

use secrecy::ExposeSecret;

use super::*;

mod cases;
mod documents;
mod in_clear;
mod secrets;
mod values;

const SECRET: &str = "kS0vV3y1QmZbq2nD8rTfXh5LwJ7cEu9A";
const OLDER: &str = "older-Qw8rT2yU4iO6pA1sD3fG5hJ7kL9z";

fn vars(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Parses `pairs` together with the one required variable.
fn read_in(mode: Mode, pairs: &[(&str, &str)]) -> Result<Config, Vec<Problem>> {
    let mut all = vars(&[("SESSION_SECRET", SECRET)]);
    all.extend(vars(pairs));
    Config::from_vars(&all, mode)
}

fn serve(pairs: &[(&str, &str)]) -> Result<Config, Vec<Problem>> {
    read_in(Mode::Serve, pairs)
}

fn accepted(pairs: &[(&str, &str)]) -> Config {
    serve(pairs).unwrap_or_else(|problems| panic!("{pairs:?} was refused: {problems:?}"))
}

/// The subjects and the texts of the problems.
fn refused(mode: Mode, pairs: &[(&str, &str)]) -> (Vec<String>, String) {
    let problems = read_in(mode, pairs).expect_err(&format!("{pairs:?} was accepted"));
    let subjects = problems.iter().map(|problem| problem.subject().to_owned()).collect();
    let text = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    (subjects, text)
}

fn warned_about(config: &Config) -> Vec<&'static str> {
    config.warnings().iter().map(Warning::variable).collect()
}

#[test]
fn defaults_are_those_of_the_table() {
    let config = accepted(&[]);
    assert_eq!(config.session.secret.expose_secret(), SECRET);
    assert!(config.session.previous_secrets.is_empty());
    assert_eq!(config.session.lifetime.as_secs(), 72 * 3600);
    assert_eq!(config.session.idle, None);
    assert_eq!(config.session.max_per_user, 100);
    assert!(!config.session.cookie_secure);
    assert_eq!(config.http.base_url.as_str(), "http://localhost:8080/");
    assert_eq!(config.http.listen_addr.to_string(), "127.0.0.1:8080");
    assert!(!config.http.trusted_proxies.contains([127, 0, 0, 1].into()));
    assert_eq!(config.http.request_timeout.as_secs(), 30);
    assert!(config.store.redis.is_none());
    assert_eq!(config.store.data_dir, Path::new("./data"));
    let DatabaseTarget::Sqlite(path) = &config.store.database else { panic!("not SQLite") };
    assert_eq!(path, Path::new("./data/tracera.db"));
    assert!(matches!(config.mail, MailSettings::None));
    assert_eq!(config.auth.rate_limit_per_minute, 20);
    assert_eq!(config.auth.magic_link_expiry.as_secs(), 600);
    assert!(config.auth.google.is_none() && config.auth.github.is_none());
    assert_eq!(config.steam.openid_url.as_str(), "https://steamcommunity.com/openid/login");
    assert!(config.steam.api_key.is_none());
    assert_eq!(config.prices.refresh.as_secs(), 1800);
    assert_eq!(config.portfolio.import_cooldown.as_secs(), 600);
    assert_eq!(config.log.format, None);
    assert_eq!(config.metrics_addr, None);
}

#[test]
fn an_empty_value_is_an_unset_one() {
    let names: Vec<_> =
        table::variables().map(|row| row.name).filter(|name| *name != "SESSION_SECRET").collect();
    let empty: Vec<_> = names.iter().map(|name| (*name, "")).collect();
    assert_eq!(format!("{:?}", accepted(&empty)), format!("{:?}", accepted(&[])));
    assert_eq!(refused(Mode::Serve, &[("SESSION_SECRET", "")]).0, ["SESSION_SECRET"]);
}

#[test]
fn all_problems_are_listed_at_once() {
    let (subjects, text) = refused(
        Mode::Serve,
        &[
            ("SESSION_SECRET", "short"),
            ("SESSION_SECRET_PREVIOUS", "short too"),
            ("SESSION_LIFETIME_HOURS", "0"),
            ("SESION_SECRET", "typo"),
            ("BASE_URL", "ftp://x"),
            ("LISTEN_ADDR", "x"),
            ("METRICS_ADDR", "x"),
            ("REDIS_URL", "x"),
            ("DATABASE_URL", "x"),
            ("SMTP_URL", "x"),
            ("GOOGLE_CLIENT_ID", "x"),
            ("PRICE_FEED_URL", "x"),
            ("RUST_LOG", "a=b=c"),
        ],
    );
    let expected = [
        "LISTEN_ADDR",
        "BASE_URL",
        "SESSION_SECRET",
        "SESSION_SECRET_PREVIOUS",
        "SESSION_LIFETIME_HOURS",
        "REDIS_URL",
        "DATABASE_URL",
        "SMTP_URL",
        "GOOGLE_CLIENT_SECRET",
        "PRICE_FEED_URL",
        "RUST_LOG",
        "METRICS_ADDR",
        "SESION_SECRET",
    ];
    assert_eq!(subjects, expected, "{text}");
    assert_eq!(text.lines().count(), subjects.len());
    assert!(text.lines().all(|line| line.contains("; ")), "each says what to do: {text}");
}

#[test]
fn dev_listens_on_loopback_only_and_knows_its_address() {
    let dev = |pairs: &[(&str, &str)]| read_in(Mode::Dev, pairs);
    assert_eq!(dev(&[]).unwrap().http.base_url.as_str(), "http://localhost:8080/");
    let moved = dev(&[("LISTEN_ADDR", "[::1]:9000")]).unwrap();
    assert_eq!(moved.http.base_url.as_str(), "http://localhost:9000/");
    assert!(warned_about(&moved).is_empty());
    let named =
        dev(&[("LISTEN_ADDR", "127.0.0.1:9000"), ("BASE_URL", "https://dev.localhost")]).unwrap();
    assert_eq!(named.http.base_url.as_str(), "https://dev.localhost/");
    for (name, value) in [
        ("LISTEN_ADDR", "0.0.0.0:8080"),
        ("LISTEN_ADDR", "[::]:8080"),
        ("LISTEN_ADDR", "192.0.2.1:8080"),
        ("LISTEN_ADDR", "127.0.0.1:0"),
        ("METRICS_ADDR", "0.0.0.0:9100"),
        ("BASE_URL", "https://dev.example"),
        ("BASE_URL", "http://192.0.2.1:8080"),
    ] {
        let (subjects, text) = refused(Mode::Dev, &[(name, value)]);
        assert_eq!(subjects, [name], "{text}");
    }
    assert!(refused(Mode::Dev, &[("LISTEN_ADDR", "0.0.0.0:80")]).1.contains("tracera serve"));
    assert!(serve(&[("LISTEN_ADDR", "0.0.0.0:8080")]).is_ok());
}

#[test]
fn dev_prints_mail_whatever_is_set_and_uses_redis_when_told() {
    let dev = |pairs: &[(&str, &str)]| read_in(Mode::Dev, pairs).unwrap();
    assert!(matches!(dev(&[]).mail, MailSettings::Terminal));
    let with_smtp = dev(&[("SMTP_URL", "smtps://u:p@mail.example"), ("MAIL_FROM", "a@b.example")]);
    assert!(matches!(with_smtp.mail, MailSettings::Terminal));
    assert_eq!(warned_about(&with_smtp), ["SMTP_URL"]);
    assert!(dev(&[]).store.redis.is_none());
    assert!(dev(&[("REDIS_HOST", "localhost")]).store.redis.is_some());
}
