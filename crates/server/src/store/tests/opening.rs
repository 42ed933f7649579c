use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{NOW, at_once, email, on_both_databases, on_postgres, on_sqlite};
use crate::config::{Config, Mode};
use crate::store::connect::{open_sqlite, sqlite_options};
use crate::store::users::{find_by_email, find_or_create_by_verified_email};
use crate::store::{ConnectError, Database, Pool, on_pool};

on_both_databases!(a_ping_is_answered_until_the_database_is_closed);

async fn a_ping_is_answered_until_the_database_is_closed(db: Database) {
    db.ping().await.unwrap();
    db.close().await;
    assert!(db.ping().await.unwrap_err().is_unavailable());
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_missing_file_is_made_for_the_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("deep/er/tracera?.db");
    let db = Database::sqlite(&file).await.unwrap();
    find_or_create_by_verified_email(&db, &email("a@example.com"), NOW).await.unwrap();

    assert_eq!(mode(file.parent().unwrap()), 0o700);
    let files: Vec<_> = std::fs::read_dir(file.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(files.contains(&file) && files.len() > 1, "the file and its log: {files:?}");
    assert!(files.iter().all(|file| mode(file) == 0o600));
}

#[tokio::test]
async fn a_file_opened_again_has_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("test.db");
    let first = Database::sqlite(&file).await.unwrap();
    let (user, _) =
        find_or_create_by_verified_email(&first, &email("a@example.com"), NOW).await.unwrap();
    first.close().await;
    let second = Database::sqlite(&file).await.unwrap();
    assert_eq!(find_by_email(&second, &email("a@example.com")).await.unwrap(), Some(user));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_that_start_at_once_share_one_migration() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("test.db");
    let opened = at_once(8, |_| {
        let file = file.clone();
        async move { Database::sqlite(&file).await.map(drop) }
    });
    let opened = opened.await;
    assert!(opened.iter().all(Result::is_ok), "{opened:?}");

    let server = super::shared_postgres().await;
    let url = server.create_database().await;
    let opened = at_once(8, |_| {
        let url = url.clone();
        async move { Database::postgres(&url).await.map(drop) }
    });
    assert!(opened.await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn postgres_is_reached_by_a_local_socket_as_well() {
    let server = super::shared_postgres().await;
    let url = server.socket_url();
    let vars = [("SESSION_SECRET", "kS0vV3y1QmZbq2nD8rTfXh5LwJ7cEu9A"), ("DATABASE_URL", &*url)];
    let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let config = Config::from_vars(&vars, Mode::Serve).unwrap();
    Database::connect(&config.store.database, 4).await.unwrap().ping().await.unwrap();
}

#[tokio::test]
async fn tables_of_a_newer_program_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("test.db");
    let db = Database::sqlite(&file).await.unwrap();
    let sql = "INSERT INTO _sqlx_migrations (version, description, success, checksum, \
               execution_time)
        VALUES (999, 'newer', TRUE, X'00', 0)";
    on_pool!(&db, pool => sqlx::query(sql).execute(pool).await.map(drop)).await.unwrap();
    let error = Database::sqlite(&file).await.unwrap_err();
    assert!(matches!(error, ConnectError::Newer(999)), "{error:?}");
}

#[tokio::test]
async fn what_cannot_be_opened_is_said_without_the_password() {
    let dir = tempfile::tempdir().unwrap();
    let blocked = dir.path().join("file/test.db");
    std::fs::write(dir.path().join("file"), "").unwrap();
    assert!(matches!(Database::sqlite(&blocked).await, Err(ConnectError::Create { .. })));
    for unusable in [dir.path().to_owned(), dir.path().join("no.db")] {
        std::fs::write(
            dir.path().join("no.db"),
            "this is no database, and long enough to say so".repeat(9),
        )
        .unwrap();
        let error = Database::sqlite(&unusable).await.unwrap_err();
        assert!(
            matches!(&error, ConnectError::File { path, .. } if *path == unusable),
            "{error:?}"
        );
    }

    let port = tracera_testkit::free_port();
    for (url, malformed) in [
        (format!("postgres://u:canary@127.0.0.1:{port}/db"), false),
        ("postgres://u:canary@127.0.0.1:port/db".to_owned(), true),
    ] {
        let error = Database::postgres(&url).await.unwrap_err();
        assert_eq!(matches!(error, ConnectError::Url(_)), malformed, "{error:?}");
        assert_eq!(matches!(error, ConnectError::Unreachable(_)), !malformed, "{error:?}");
        assert!(!format!("{error:?} {error}").contains("canary"));
    }
}

#[tokio::test]
async fn a_file_that_may_only_be_read_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("test.db");
    Database::sqlite(&file).await.unwrap().close().await;
    let error = open_sqlite(sqlite_options(&file).read_only(true)).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::File { .. }) && error.to_string().contains("readonly"),
        "{error}"
    );
}

/// Every column as `table.column null|not null`, and every index, of our own tables.
async fn schema(db: &Database) -> BTreeSet<String> {
    let sql = match &db.pool {
        Pool::Sqlite(_) => {
            "SELECT m.name || '.' || c.name || CASE c.\"notnull\" WHEN 1 THEN ' not null' ELSE ' \
             null' END
             FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name \
             NOT LIKE '\\_%' ESCAPE '\\'
             UNION SELECT 'index ' || tbl_name || '.' || name FROM sqlite_master
             WHERE type = 'index' AND name NOT LIKE 'sqlite_%'"
        }
        Pool::Postgres(_) => {
            "SELECT table_name || '.' || column_name || CASE is_nullable WHEN 'NO' THEN ' not \
             null' ELSE ' null' END
             FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE \
             '\\_%'
             UNION SELECT 'index ' || tablename || '.' || indexname FROM pg_indexes
             WHERE schemaname = 'public' AND indexname !~ '_(pkey|key)$'"
        }
    };
    let rows: Vec<String> =
        on_pool!(db, pool => sqlx::query_scalar(sql).fetch_all(pool).await).await.unwrap();
    rows.into_iter().collect()
}

#[tokio::test]
async fn both_databases_have_the_same_tables() {
    let sqlite = schema(&on_sqlite().await.db).await;
    assert!(
        sqlite.contains("users.email null") && sqlite.contains("magic_links.token_hash not null"),
        "{sqlite:?}"
    );
    assert!(sqlite.contains("index magic_links.magic_links_of_mailbox"), "{sqlite:?}");
    assert_eq!(sqlite, schema(&on_postgres().await.db).await);
}
