//! The table, `.env.sample` and the report are consistent.

use std::{env, fs};

use super::*;

#[test]
fn the_sample_is_made_from_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.env.sample");
    if env::var_os("UPDATE_ENV_SAMPLE").is_some() {
        fs::write(&path, env_sample()).unwrap();
    }
    let sample = fs::read_to_string(&path).unwrap();
    assert_eq!(
        sample,
        env_sample(),
        "run this test with UPDATE_ENV_SAMPLE=1 to write .env.sample anew"
    );
}

#[test]
fn the_sample_names_every_variable_once_and_copied_as_it_is_lacks_only_the_secret() {
    let sample = env_sample();
    let named: Vec<_> = sample
        .lines()
        .filter_map(|line| line.trim_start_matches('#').split_once('=').map(|(name, _)| name))
        .filter(|name| unknown::is_known(name))
        .collect();
    assert_eq!(named, table::variables().map(|row| row.name).collect::<Vec<_>>());

    let folder = tempfile::tempdir().unwrap();
    let dotenv = folder.path().join(".env");
    fs::write(&dotenv, &sample).unwrap();
    let copied = Environment::collect([], &dotenv);
    let problems = copied.config(Mode::Serve).unwrap_err();
    assert_eq!(problems.iter().map(Problem::subject).collect::<Vec<_>>(), ["SESSION_SECRET"]);
    assert!(problems[0].to_string().contains("tracera secret"));
}

#[test]
fn the_sample_with_every_line_in_force_is_read_like_the_defaults() {
    let named = |line: &&str| line.split_once('=').is_some_and(|(name, _)| unknown::is_known(name));
    let sample = env_sample();
    let in_force: String = sample
        .lines()
        .map(|line| line.trim_start_matches('#'))
        .filter(named)
        .flat_map(|line| [line, "\n"])
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let dotenv = folder.path().join(".env");
    fs::write(&dotenv, in_force).unwrap();
    let secret = (OsString::from("SESSION_SECRET"), OsString::from(SECRET));
    let environment = Environment::collect([secret], &dotenv);
    let config = environment.config(Mode::Serve).unwrap();
    assert_eq!(
        format!("{config:?}"),
        format!("{:?}", accepted(&[("BASE_URL", "http://localhost:8080")]))
    );
}

#[test]
fn every_variable_is_described_and_no_line_is_long() {
    let mut names = BTreeSet::new();
    for row in table::variables() {
        assert!(names.insert(row.name), "{} stands in the table twice", row.name);
        assert!(!row.unit.is_empty() && row.help.ends_with('.'), "{}", row.name);
    }
    for text in [help_text(), env_sample()] {
        for line in text.lines() {
            assert!(line.len() <= 81 || line.contains("https://"), "{line}");
        }
    }
}

#[test]
fn the_report_says_values_origins_and_what_would_happen() {
    let folder = tempfile::tempdir().unwrap();
    let dotenv = folder.path().join(".env");
    fs::write(
        &dotenv,
        "REDIS_URL=redis://:pw@redis.example/2\nSESSION_IDLE_MINUTES=30\nPRICE_CURRENCY=EUR\n",
    )
    .unwrap();
    let process = [("SESSION_SECRET", SECRET), ("BASE_URL", "https://tracera.example")];
    let process = process.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let environment = Environment::collect(process, &dotenv);
    let config = environment.config(Mode::Serve);
    let report = report(&environment, &config);
    let lines: BTreeSet<_> =
        report.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for expected in [
        "SESSION_SECRET set (32 bytes) (environment)",
        "BASE_URL https://tracera.example (environment)",
        "REDIS_URL redis://***@redis.example/2 (.env)",
        "SESSION_IDLE_MINUTES 30 (.env)",
        "SESSION_LIFETIME_HOURS 72 (default)",
        "SESSION_COOKIE_SECURE true (default)",
        "DATABASE_URL sqlite://./data/tracera.db (default)",
        "PRICE_FEED_URL https://api.skinport.com/v1/items?app_id=730&currency=EUR&tradable=0 \
         (default)",
        "PRICE_FALLBACK_URLS https://market.csgo.com/api/v2/prices/EUR.json (default)",
        "keep sessions in redis://***@redis.example/2",
        "e-mail off (neither SMTP_URL nor RESEND_API_KEY is set)",
        "Google off (GOOGLE_CLIENT_ID is not set)",
        "OIDC off (OIDC_CLIENT_ID is not set)",
        "SMTP_URL is not set, nor is RESEND_API_KEY: nobody can sign in by e-mail",
    ] {
        assert!(lines.contains(expected), "{expected:?} is missing in\n{report}");
    }
}
