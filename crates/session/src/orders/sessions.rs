//! Whole requests over a supervised connection that breaks. No request is accepted after the
//! session's end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use shuttle::future::{JoinHandle, block_on, spawn, yield_now};

use super::{Seen, first_connection, in_many_orders};
use crate::record::Record;
use crate::store::redis::memory_server::Server;
use crate::sync::sleep;
use crate::token::{NewToken, Tag};
use crate::{KeyRing, RedisStore, SessionConfig, SessionError, Sessions, UserId};

const SECRET: [u8; 32] = [7; 32];

/// Processes with near-caches, and a server with the session of a browser.
struct Scene {
    server: Arc<Server>,
    sessions: Sessions,
    cookie: HeaderMap,
    /// Whether the end of the session was answered.
    has_ended: AtomicBool,
}

/// Counts of events over all orders.
#[derive(Clone, Debug, Default)]
struct Happened {
    let_in: Seen,
    refused: Seen,
    unavailable: Seen,
    hits: Seen,
    reconnects: Seen,
}

impl Scene {
    async fn new() -> Arc<Self> {
        let config = SessionConfig::default().secure(false);
        let keys = KeyRing::new(&SECRET).unwrap();
        let user = UserId::new("alice").unwrap();
        let tag = Tag::of_user_in(config.effective_realm(), &user);
        let minted = NewToken::mint(&keys.clone().into_realm(config.effective_realm()), tag);
        let now = config.clock.now();
        let record = Record::bare(now, Duration::from_secs(3600), minted.key);
        let server = Server::start(user.as_bytes(), record.encode());
        let name = config.effective_cookie_name();
        let cookie = HeaderValue::from_str(&format!("{name}={}", minted.cookie.0)).unwrap();
        let connection = first_connection(&server).await;
        Arc::new(Self {
            server,
            sessions: Sessions::new(RedisStore::new(connection), keys, config),
            cookie: HeaderMap::from_iter([(header::COOKIE, cookie)]),
            has_ended: AtomicBool::new(false),
        })
    }

    /// Sends a request. Returns whether it was accepted.
    async fn ask(&self, happened: &Happened) -> bool {
        let had_ended = self.has_ended.load(SeqCst);
        let asked = self.sessions.open(&self.cookie).await.user();
        match &asked {
            Ok(_) => happened.let_in.count(1),
            Err(SessionError::Unauthenticated) => happened.refused.count(1),
            Err(_) => happened.unavailable.count(1),
        }
        assert!(!(asked.is_ok() && had_ended), "let in after the end");
        asked.is_ok()
    }

    fn browse(self: &Arc<Self>, happened: &Happened) -> Vec<JoinHandle<()>> {
        let browse = |_| {
            let (scene, happened) = (self.clone(), happened.clone());
            spawn(async move {
                for _ in 0..3 {
                    scene.ask(&happened).await;
                    yield_now().await;
                }
            })
        };
        (0..3).map(browse).collect()
    }

    fn break_connections(self: &Arc<Self>) -> JoinHandle<()> {
        let scene = self.clone();
        spawn(async move {
            sleep(Duration::ZERO).await;
            scene.server.go_down();
            yield_now().await;
            scene.server.come_up();
        })
    }

    /// Waits until all announcements have arrived.
    async fn settle(&self) {
        while self.sessions.ping().await.is_err() {
            yield_now().await;
        }
    }

    async fn finish(&self, tasks: Vec<JoinHandle<()>>, happened: &Happened) {
        for task in tasks {
            task.await.unwrap();
        }
        happened.hits.count(self.sessions.cache_stats().hits);
        happened.reconnects.count(self.server.accepted());
    }
}

impl Happened {
    fn is_all(&self) -> bool {
        let Self { let_in, refused, unavailable, hits, reconnects } = self;
        [let_in, refused, unavailable, hits, reconnects].into_iter().all(Seen::is_some)
    }
}

#[test]
fn who_signed_out_here_is_let_in_nowhere_here() {
    let happened = Happened::default();
    let seen = happened.clone();
    in_many_orders(move || {
        block_on(async {
            let scene = Scene::new().await;
            let mut tasks = scene.browse(&seen);
            tasks.push(scene.break_connections());
            let session = scene.sessions.open(&scene.cookie).await;
            if session.user().is_ok() && session.sign_out().await.is_ok() {
                scene.has_ended.store(true, SeqCst);
            }
            scene.ask(&seen).await;
            scene.finish(tasks, &seen).await;
        });
    });
    assert!(happened.is_all(), "{happened:?}");
}

#[test]
fn who_was_signed_out_elsewhere_is_let_in_until_it_is_told_and_no_longer() {
    let happened = Happened::default();
    let seen = happened.clone();
    in_many_orders(move || {
        block_on(async {
            let scene = Scene::new().await;
            let mut tasks = scene.browse(&seen);
            tasks.push(scene.break_connections());
            // Leaves time for a copy, and for giving up a connection that works.
            for _ in 0..5 {
                scene.ask(&seen).await;
                sleep(Duration::ZERO).await;
            }
            scene.server.end();
            // Waits for a later reply over the same connection, or for another connection.
            scene.settle().await;
            scene.has_ended.store(true, SeqCst);
            scene.ask(&seen).await;
            scene.finish(tasks, &seen).await;
            assert!(!scene.ask(&seen).await, "a copy was kept");
        });
    });
    assert!(happened.is_all(), "{happened:?}");
}
