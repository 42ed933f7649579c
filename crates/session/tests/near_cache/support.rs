//! Instances of an application over one Redis, and helpers for their tests.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::routing::post;
use http::{HeaderMap, Request, header};
use tokio::time::Instant;
use tower::ServiceExt;
use tracera_session::{
    Clock, EmbeddedStore, KeyRing, NearCache, RedisStore, Session, SessionConfig, SessionError,
    SessionLayer, SessionStore, Sessions, SignIn, Timestamp, UserId,
};
use tracera_testkit::RedisCluster;

/// Upper bound of every wait in the tests.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// One instance.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) sessions: Sessions,
    app: Router,
}

impl Node {
    pub(crate) async fn connect(url: &str) -> Self {
        Self::over(RedisStore::connect(url).await.unwrap(), NearCache::default())
    }

    pub(crate) fn over(store: impl SessionStore, near_cache: NearCache) -> Self {
        Self::with(store, SessionConfig::default().near_cache(near_cache))
    }

    /// An instance with a manual clock.
    pub(crate) fn with_moved_clock() -> (Self, Clock) {
        let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
        let config = SessionConfig::default().clock(clock.clone());
        (Self::with(EmbeddedStore::in_memory().unwrap(), config), clock)
    }

    pub(crate) fn with_keys(store: impl SessionStore, keys: KeyRing) -> Self {
        Self::build(store, keys, SessionConfig::default())
    }

    fn with(store: impl SessionStore, config: SessionConfig) -> Self {
        Self::build(store, KeyRing::new(&[7; 32]).unwrap(), config)
    }

    fn build(store: impl SessionStore, keys: KeyRing, config: SessionConfig) -> Self {
        let sessions = Sessions::new(store, keys, config.secure(false));
        let app = Router::new()
            .route("/sign_in/{user}", post(sign_in))
            .route("/sign_out", post(|session: Session| async move { session.sign_out().await }))
            .route("/store", post(|session: Session| async move { session.set("n", &1) }))
            .route("/rotate", post(|session: Session| async move { session.rotate().await }))
            .layer(SessionLayer::new(sessions.clone()));
        Self { sessions, app }
    }

    /// Signs the user in and returns the headers of the browser.
    pub(crate) async fn sign_in(&self, user: &str) -> HeaderMap {
        self.post(&format!("/sign_in/{user}"), &HeaderMap::new()).await
    }

    /// Sends a request and returns the headers of the browser after it.
    pub(crate) async fn post(&self, path: &str, browser: &HeaderMap) -> HeaderMap {
        let mut request = Request::post(path).body(Body::empty()).unwrap();
        *request.headers_mut() = browser.clone();
        let response = self.app.clone().oneshot(request).await.unwrap();
        assert!(response.status().is_success(), "{path}: {}", response.status());
        let mut browser = browser.clone();
        if let Some(cookie) = response.headers().get(header::SET_COOKIE) {
            let cookie = cookie.to_str().unwrap().split(';').next().unwrap();
            browser.insert(header::COOKIE, cookie.parse().unwrap());
        }
        browser
    }

    /// Whether a request of this browser counts as signed in.
    pub(crate) async fn accepts(&self, browser: &HeaderMap) -> bool {
        self.sessions.open(browser).await.user().is_ok()
    }

    /// Waits until requests of this browser are answered from memory.
    pub(crate) async fn warm(&self, browser: &HeaderMap) {
        let until = Instant::now() + LIMIT;
        loop {
            let hits = self.sessions.cache_stats().hits;
            assert!(self.accepts(browser).await, "{:?}", self.sessions.open(browser).await.user());
            if self.sessions.cache_stats().hits > hits {
                return;
            }
            assert!(Instant::now() < until, "never cached: {:?}", self.sessions.cache_stats());
            tokio::task::yield_now().await;
        }
    }

    /// Asks until the browser is refused, and returns how long that took.
    pub(crate) async fn refuses_after(&self, browser: &HeaderMap) -> Duration {
        let start = Instant::now();
        while self.accepts(browser).await {
            assert!(start.elapsed() < LIMIT, "still accepted: {:?}", self.sessions.cache_stats());
            tokio::task::yield_now().await;
        }
        start.elapsed()
    }

    /// Waits until users can sign in again.
    pub(crate) async fn recovers_sign_in(&self, name: &str) {
        let start = Instant::now();
        while self.sessions.epoch(&user(name)).await.is_err() {
            assert!(start.elapsed() < LIMIT, "did not recover");
        }
    }

    /// Waits until requests of this browser are accepted again.
    pub(crate) async fn recovers(&self, browser: &HeaderMap) {
        let start = Instant::now();
        while !self.accepts(browser).await {
            assert!(start.elapsed() < LIMIT, "did not recover");
            tokio::task::yield_now().await;
        }
    }
}

async fn sign_in(Path(name): Path<String>, session: Session) -> Result<(), SessionError> {
    session.sign_in(SignIn::new(user(&name), "password").client("Firefox|Linux")).await
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub(crate) fn cluster_url(cluster: &RedisCluster) -> String {
    let hosts: Vec<_> =
        cluster.nodes().iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
    format!("redis+cluster://{}", hosts.join(","))
}

/// The percentile of a sorted list.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}
