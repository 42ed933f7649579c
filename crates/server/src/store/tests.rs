//! Each property is tested by the same code on both databases: a `SQLite` file and a real
//! `PostgreSQL` server. Tests that overlap share the server.

use std::sync::{Arc, Weak};

use tempfile::TempDir;
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::sync::Mutex;
use tracera_testkit::Postgres;

use super::Database;
use crate::domain::email::Email;

mod identities;
mod magic_codes;
mod magic_links;
mod opening;
mod outage;
mod passkeys;
mod portfolio;
mod transactions;
mod users;

/// Runs each property on both databases.
macro_rules! on_both_databases {
    ($($property:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $property() {
                let test = crate::store::tests::on_sqlite().await;
                super::$property(test.db.clone()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $property() {
                let test = crate::store::tests::on_postgres().await;
                super::$property(test.db.clone()).await;
            })*
        }
    };
}
use on_both_databases;

/// A fresh database, and the resource that must outlive it.
struct TestDatabase<Keep> {
    db: Database,
    _keep: Keep,
}

async fn on_sqlite() -> TestDatabase<TempDir> {
    let dir = tempfile::tempdir().unwrap();
    let db = Database::sqlite(&dir.path().join("test.db")).await.unwrap();
    TestDatabase { db, _keep: dir }
}

async fn on_postgres() -> TestDatabase<Arc<Postgres>> {
    let server = shared_postgres().await;
    let db = Database::postgres(&server.create_database().await).await.unwrap();
    TestDatabase { db, _keep: server }
}

async fn shared_postgres() -> Arc<Postgres> {
    static SHARED: Mutex<Weak<Postgres>> = Mutex::const_new(Weak::new());
    let mut shared = SHARED.lock().await;
    if let Some(server) = shared.upgrade() {
        return server;
    }
    let server = Arc::new(Postgres::start().await);
    *shared = Arc::downgrade(&server);
    server
}

const NOW: OffsetDateTime = datetime!(2026-05-01 12:00:00 UTC);

fn email(text: &str) -> Email {
    Email::parse(text).unwrap()
}

/// Runs `count` futures concurrently and returns their outputs.
async fn at_once<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    count: usize,
    mut make: impl FnMut(usize) -> F,
) -> Vec<T> {
    let start = Arc::new(tokio::sync::Barrier::new(count));
    let tasks: Vec<_> = (0..count)
        .map(|at| {
            let (start, future) = (Arc::clone(&start), make(at));
            tokio::spawn(async move {
                start.wait().await;
                future.await
            })
        })
        .collect();
    let mut results = Vec::with_capacity(count);
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}
