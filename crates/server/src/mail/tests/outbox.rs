use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use http::StatusCode;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tracera_session::{Clock, Timestamp};

use super::{CODE, LONG, NOW, Parts, TOKEN, quick, resend_at};
use crate::mail::outbox::Outbox;
use crate::mail::{Mailer, NoticeMail, Origin};
use crate::store::Database;

const ORIGIN: Origin<'static> = Origin { network: "192.0.2.0/24", is_known: false };
const KEYS: ([u8; 32], Vec<[u8; 32]>) = ([7; 32], Vec::new());

/// Mailers that share a database and a clock.
struct World {
    database: Database,
    clock: Clock,
    directory: TempDir,
}

impl World {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::sqlite(&directory.path().join("test.db")).await.unwrap();
        let millis = u64::try_from(NOW.unix_timestamp()).unwrap() * 1_000;
        Self { database, clock: Clock::manual(Timestamp::from_millis(millis)), directory }
    }

    fn mailer(&self, url: &str, keys: &([u8; 32], Vec<[u8; 32]>)) -> Mailer {
        let outbox = Outbox::new(self.database.clone(), keys, self.clock.clone());
        Mailer::with(resend_at(url), quick(), Some(outbox))
    }
}

/// A mail service that always returns this status, and the number of mails it received.
async fn service(status: StatusCode) -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let app = Router::new().route(
        "/emails",
        post(move || async move {
            counted.fetch_add(1, Ordering::SeqCst);
            status
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, asked)
}

async fn take_in(mailer: &Mailer) {
    let parts = Parts::of("alice@example.com");
    mailer.reserve(&parts.to, &ORIGIN).unwrap().send(&parts.mail()).await.unwrap();
}

#[tokio::test]
async fn mails_that_a_process_leaves_are_sent_by_the_next() {
    let world = World::new().await;
    let (away, _) = service(StatusCode::SERVICE_UNAVAILABLE).await;
    let (back, sent) = service(StatusCode::OK).await;

    let killed = world.mailer(&away, &KEYS);
    take_in(&killed).await;
    let parts = Parts::of("bob@example.com");
    let notice = NoticeMail {
        to: &parts.to,
        subject: "Something happened",
        text: "It did.",
        button: "See",
        link: &parts.link,
        at: NOW,
        device: "Firefox on Linux",
        ip: [192, 0, 2, 7].into(),
        advice: "None.",
    };
    killed.notify(&notice).await.unwrap();

    let next = world.mailer(&back, &KEYS);
    next.make_round().await;
    assert_eq!(next.waiting(), 0, "the first process still has its lease");
    world.clock.advance(Duration::from_secs(31));
    next.make_round().await;
    assert_eq!(next.shutdown(LONG).await, 0);
    assert_eq!(sent.load(Ordering::SeqCst), 2);

    let third = world.mailer(&back, &KEYS);
    world.clock.advance(Duration::from_secs(31));
    third.make_round().await;
    assert_eq!(third.waiting(), 0, "what is sent is gone");
    assert_eq!(killed.shutdown(Duration::ZERO).await, 2);
}

#[tokio::test]
async fn a_shutdown_leaves_what_is_not_sent_to_the_next_process_at_once() {
    let world = World::new().await;
    let (away, _) = service(StatusCode::SERVICE_UNAVAILABLE).await;
    let (back, sent) = service(StatusCode::OK).await;
    let first = world.mailer(&away, &KEYS);
    take_in(&first).await;
    assert_eq!(first.shutdown(Duration::from_millis(20)).await, 1);
    // The next process has a new secret. The first process's secret is now an earlier one.
    let next = world.mailer(&back, &([8; 32], vec![KEYS.0]));
    next.make_round().await;
    assert_eq!(next.shutdown(LONG).await, 0);
    assert_eq!(sent.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_is_not_to_be_sent_and_what_has_expired_is_not() {
    let world = World::new().await;
    let (url, asked) = service(StatusCode::OK).await;
    let mailer = world.mailer(&url, &KEYS);
    let parts = Parts::of("alice@example.com");
    mailer.reserve(&parts.to, &ORIGIN).unwrap().discard(&parts.mail()).await.unwrap();
    let (away, _) = service(StatusCode::SERVICE_UNAVAILABLE).await;
    let slow = world.mailer(&away, &KEYS);
    take_in(&slow).await;
    slow.shutdown(Duration::ZERO).await;
    world.clock.advance(Duration::from_mins(11));
    mailer.make_round().await;
    assert_eq!((mailer.waiting(), asked.load(Ordering::SeqCst)), (0, 0));
}

#[tokio::test]
async fn a_copy_of_the_database_holds_no_link_and_no_code() {
    let world = World::new().await;
    let (away, _) = service(StatusCode::SERVICE_UNAVAILABLE).await;
    let mailer = world.mailer(&away, &KEYS);
    take_in(&mailer).await;
    let mut copy = Vec::new();
    for file in std::fs::read_dir(world.directory.path()).unwrap() {
        copy.extend(std::fs::read(file.unwrap().path()).unwrap());
    }
    for secret in [TOKEN, CODE, "alice@example.com"] {
        let found = copy.windows(secret.len()).any(|bytes| bytes == secret.as_bytes());
        assert!(!found, "{secret}");
    }
    assert!(copy.windows(6).any(|bytes| bytes == b"outbox"));
}
