//! Measures the memory of a cached session. In a separate process, because the whole process is
//! measured.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use http::{HeaderMap, HeaderValue, Request, header};
use tower::ServiceExt;
use tracera_session::store::{
    At, Committed, Created, FieldName, FieldOp, Found, Invalidations, ListedSession, NewSession,
    Rotated, Rotation, SessionId, StoreError, StoreFuture, StoredField, StoredSession, Tag,
};
use tracera_session::{
    Budget, Epoch, KeyRing, NearCache, Session, SessionConfig, SessionLayer, SessionStore,
    Sessions, SignIn, UserId,
};

const SESSIONS: usize = 100_000;
const MOST_BYTES: usize = 250;
/// The size of the preloaded value.
const VALUE_BYTES: usize = 4000;

/// Returns one session for every id and one value for every field, and takes no memory that would
/// be measured.
#[derive(Clone, Default)]
struct OneForAll(Arc<Mutex<Option<StoredSession>>>);

impl SessionStore for OneForAll {
    fn load<'a>(
        &'a self,
        _: &'a SessionId,
        names: &'a [FieldName],
    ) -> StoreFuture<'a, Option<StoredSession>> {
        let stored = self.0.lock().unwrap().clone();
        let values = names.iter().map(|_| Some(vec![b'x'; VALUE_BYTES])).collect();
        Box::pin(async { Ok(stored.map(|stored| StoredSession { values, ..stored })) })
    }

    fn invalidations(&self) -> Option<Invalidations> {
        Some(Invalidations::complete())
    }

    fn epoch<'a>(&'a self, _: &'a Tag) -> StoreFuture<'a, Epoch> {
        Box::pin(async { Ok(Epoch::default()) })
    }

    fn create<'a>(&'a self, new: &'a NewSession<'a>, _: At) -> StoreFuture<'a, Created> {
        let stored = StoredSession {
            epoch: new.epoch,
            user: new.user.cloned(),
            record: new.record.clone(),
            values: Vec::new(),
        };
        *self.0.lock().unwrap() = Some(stored);
        Box::pin(async { Ok(Created::Created) })
    }

    fn commit<'a>(
        &'a self,
        _: &'a SessionId,
        _: &'a [(FieldName, FieldOp)],
        _: Option<Duration>,
        _: Budget,
        _: At,
    ) -> StoreFuture<'a, Committed> {
        refuse()
    }

    fn rotate<'a>(&'a self, _: &'a SessionId, _: &'a Rotation, _: At) -> StoreFuture<'a, Rotated> {
        refuse()
    }

    fn destroy<'a>(&'a self, _: &'a SessionId, _: At) -> StoreFuture<'a, Found> {
        refuse()
    }

    fn abandon<'a>(&'a self, _: &'a SessionId, _: At) -> StoreFuture<'a, Found> {
        refuse()
    }

    fn list<'a>(&'a self, _: &'a Tag) -> StoreFuture<'a, (Epoch, Vec<ListedSession>)> {
        refuse()
    }

    fn fields<'a>(&'a self, _: &'a Tag) -> StoreFuture<'a, Vec<StoredField>> {
        refuse()
    }

    fn revoke_all<'a>(
        &'a self,
        _: &'a Tag,
        _: Option<&'a [u8; 16]>,
        _: Duration,
        _: At,
    ) -> StoreFuture<'a, Found> {
        refuse()
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        refuse()
    }
}

fn refuse<'a, T: 'a>() -> StoreFuture<'a, T> {
    Box::pin(async { Err(StoreError::unavailable("not part of this test")) })
}

#[tokio::test]
async fn a_cached_session_takes_at_most_250_bytes_and_preloaded_data_the_room_of_more_sessions() {
    let store = OneForAll::default();
    let sessions = |near_cache, preload: &[&str]| {
        let config =
            SessionConfig::default().secure(false).near_cache(near_cache).preload(preload).unwrap();
        Sessions::new(store.clone(), KeyRing::new(&[7; 32]).unwrap(), config)
    };
    let users = Arc::new(AtomicU64::new(0));
    let app = Router::new()
        .route(
            "/",
            post(|session: Session| async move {
                let user = UserId::new(
                    [users.fetch_add(1, Ordering::Relaxed); 2].map(u64::to_be_bytes).concat(),
                )?;
                let sign_in = SignIn::new(user, "password").client("Firefox|Windows");
                session.sign_in(sign_in.address([203, 0, 113, 9].into())).await
            }),
        )
        .layer(SessionLayer::new(sessions(NearCache::Off, &[])));
    let mut cookies = Vec::with_capacity(SESSIONS);
    for _ in 0..SESSIONS {
        let answer =
            app.clone().oneshot(Request::post("/").body(Body::empty()).unwrap()).await.unwrap();
        let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap();
        cookies.push(cookie.split(';').next().unwrap().to_owned());
    }

    let fill = async |capacity, preload: &[&str]| {
        let before = resident_bytes();
        let cached =
            sessions(NearCache::On { capacity, max_age: Duration::from_secs(60) }, preload);
        for cookie in &cookies {
            let headers = [(header::COOKIE, HeaderValue::from_str(cookie).unwrap())];
            assert!(cached.open(&HeaderMap::from_iter(headers)).await.user().is_ok());
        }
        assert_eq!(cached.cache_stats().misses, SESSIONS as u64);
        (resident_bytes() - before, cached)
    };
    let (all, _cached) = fill(2 * SESSIONS, &[]).await;
    let each = all / SESSIONS;
    println!("{each} bytes per cached session");
    assert!(each <= MOST_BYTES, "{each}");

    let capacity = SESSIONS / 5;
    let (all, cached) = fill(capacity, &["field"]).await;
    println!(
        "{all} bytes for {} sessions where {capacity} have room",
        cached.cache_stats().entries
    );
    assert!(all <= 2 * capacity * MOST_BYTES, "{all}");
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
}
