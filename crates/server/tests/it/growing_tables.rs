//! Large tables, and the resources that the process then needs.

use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use crate::deletion::delete_what_is_due;
use crate::harness::{TestApp, eventually, token_of};
use crate::process::Running;

/// The number of events of one user that exceeds the limit. `script/attack` uses a million.
fn rows() -> u64 {
    if std::env::var_os("TRACERA_ATTACK").is_some() { 1_000_000 } else { 40_000 }
}

#[tokio::test]
async fn a_person_whose_log_has_grown_downloads_it_in_little_memory() {
    let directory = tempfile::tempdir().unwrap();
    let dev = Running::start("dev", directory.path(), &[]).await;
    let browser = dev.browser();
    browser.request_link("a@example.com").await.expect(200);
    let link = eventually(|| async {
        let log = dev.log();
        log.split_whitespace().find(|word| word.contains("verify?token=")).map(str::to_owned)
    })
    .await;
    browser.redeem(&token_of(&link)).await.expect(200);

    let file = SqliteConnectOptions::new().filename(directory.path().join("data/tracera.db"));
    let database = SqlitePool::connect_with(file).await.unwrap();
    let grow = "WITH RECURSIVE rows (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM rows WHERE n < $1)
        INSERT INTO security_events (user_id, kind, device, ip, at)
        SELECT users.id, 'session_revoked', 'Firefox on Linux', '192.0.2.7', events.at
        FROM rows, users, (SELECT max(at) AS at FROM security_events) AS events";
    sqlx::query(grow).bind(i64::try_from(rows()).unwrap()).execute(&database).await.unwrap();

    browser.get("/account").await.expect(200);
    let before = dev.peak_memory();
    let data = browser.get("/account/data.json").await.expect(200).json();
    let events = u64::try_from(data["events"].as_array().unwrap().len()).unwrap();
    assert!(events >= rows() && data["portfolio"]["items"].is_array());
    let grown = dev.peak_memory() - before;
    assert!(grown < 16 << 20, "{} MiB more for {events} events", grown >> 20);
    println!("{events} events were downloaded with {} MiB more memory", grown >> 20);

    // An insert removes the excess, some thousands at a time.
    let count = async || -> i64 {
        let sql = "SELECT count(*) FROM security_events";
        sqlx::query_scalar(sql).fetch_one(&database).await.unwrap()
    };
    let before = count().await;
    browser.logout().await.expect(204);
    let after = count().await;
    assert!(after == before + 1 - 5_000, "{before} before, {after} after");
}

#[tokio::test]
async fn a_thousand_events_of_a_user_are_kept_and_the_newest_first() {
    let app = TestApp::embedded().await;
    let browser = app.signed_in("a@example.com").await;
    let database = app.database().await;
    let grow =
        "WITH RECURSIVE rows (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM rows WHERE n < 1500)
        INSERT INTO security_events (user_id, kind, device, ip, at)
        SELECT users.id, 'linked', 'x', '', (SELECT max(at) FROM security_events) FROM rows, users";
    sqlx::query(grow).execute(&database).await.unwrap();
    let other = app.signed_in("a@example.com").await;
    let told = other.get("/api/v1/auth/events").await.expect(200).json();
    assert_eq!(told["events"][0]["event"], "signed_in");
    let sql = "SELECT count(*) FROM security_events";
    let kept: i64 = sqlx::query_scalar(sql).fetch_one(&database).await.unwrap();
    assert_eq!(kept, 1_000);
    browser.get("/api/v1/auth/sessions").await.expect(200);
}

#[tokio::test]
async fn where_nothing_ended_nothing_is_recorded() {
    let app = TestApp::embedded().await;
    let browser = app.signed_in("a@example.com").await;
    let events = async || {
        let told = browser.get("/api/v1/auth/events").await.expect(200).json();
        told["events"].as_array().unwrap().len()
    };
    let before = events().await;
    for _ in 0..3 {
        browser.delete("/api/v1/auth/sessions").await.expect(204);
    }
    assert_eq!(events().await, before);
    app.signed_in("a@example.com").await;
    let before = events().await;
    browser.delete("/api/v1/auth/sessions").await.expect(204);
    assert_eq!(events().await, before + 1);
}

#[tokio::test]
async fn a_deleted_account_leaves_nothing_in_the_files_of_the_database() {
    let app = TestApp::start().await;
    let browser = app.signed_in("vanishing@example.com").await;
    let holds_it = async || {
        let dump = app.dump().await;
        dump.windows(9).any(|bytes| bytes == b"vanishing")
    };
    assert!(holds_it().await);
    let token = browser.form_token("/account").await;
    let form = [("csrf_token", &*token), ("confirmation", "delete my account")];
    browser.submit("/account/delete", &form).await.expect(303);
    app.advance(Duration::from_hours(7 * 24));
    assert_eq!(delete_what_is_due(&app).await, 1);
    assert!(!holds_it().await);
}
