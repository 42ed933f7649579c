//! Two instances of an application on one storage, and browsers that send requests to them.

use std::any::Any;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::response::IntoResponse;
use axum::routing::any;
use axum::{Json, Router};
use http::{HeaderMap, Request, StatusCode, header};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tower::ServiceExt;

use super::probe::Probe;
use super::{Fault, Instances, SetFault};
use crate::clock::{Clock, Timestamp};
use crate::config::{NearCache, SessionConfig};
use crate::error::SessionError;
use crate::keyring::KeyRing;
use crate::layer::SessionLayer;
use crate::session::Session;
use crate::session::sign_in::SignIn;
use crate::sessions::Sessions;
use crate::store::{At, SessionStore};
use crate::token::{Tag, UserId};

pub(super) const SECRET: &[u8] = b"the secret of the suite, 32 bytes or more";

pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// The storage, clock and configuration of a case.
pub(super) struct Stage {
    pub(super) clock: Clock,
    pub(super) config: SessionConfig,
    stores: [Probe; 2],
    raw: [Arc<dyn SessionStore>; 2],
    breaking: Option<Arc<SetFault>>,
    _kept: Box<dyn Any + Send + Sync>,
}

impl Stage {
    pub(super) fn new(instances: Instances) -> Self {
        let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
        // No near-cache: these cases expect to see another instance's changes at once.
        let config =
            SessionConfig::default().clock(clock.clone()).secure(false).near_cache(NearCache::Off);
        let Instances { stores: raw, breaking, kept } = instances;
        Self { clock, config, stores: raw.clone().map(Probe::new), raw, breaking, _kept: kept }
    }

    pub(super) fn configure(mut self, change: impl FnOnce(SessionConfig) -> SessionConfig) -> Self {
        self.config = change(self.config);
        self
    }

    /// The two instances of the application.
    pub(super) fn sites(&self) -> [Site; 2] {
        self.sites_with(&KeyRing::new(SECRET).expect("the secret is long enough"))
    }

    /// The two instances with other secrets.
    pub(super) fn sites_with(&self, keys: &KeyRing) -> [Site; 2] {
        let site =
            |store: &Probe| Site(Sessions::new(store.clone(), keys.clone(), self.config.clone()));
        [site(&self.stores[0]), site(&self.stores[1])]
    }

    /// The same storage and clock, with the initial configuration.
    pub(super) fn again(other: &Self) -> Self {
        Self {
            clock: other.clock.clone(),
            config: other.config.clone(),
            stores: other.stores.clone(),
            raw: other.raw.clone(),
            breaking: other.breaking.clone(),
            _kept: Box::new(()),
        }
    }

    /// The first handle, for sessions with another configuration.
    pub(super) fn probe(&self) -> Probe {
        self.stores[0].clone()
    }

    /// The two instances with a near-cache, over the handles themselves, whose invalidations it
    /// uses.
    pub(super) fn cached_sites(&self) -> [Site; 2] {
        let keys = KeyRing::new(SECRET).expect("the secret is long enough");
        self.raw.clone().map(|store| {
            let config = self.config.clone().near_cache(NearCache::default());
            Site(Sessions::over(store, keys.clone(), config))
        })
    }

    /// Whether the store sends invalidations.
    pub(super) fn tells_changes(&self) -> bool {
        self.raw.iter().all(|store| store.invalidations().is_some())
    }

    /// Breaks the storage; false if the suite was given no way to do so.
    pub(super) async fn set(&self, fault: Fault) -> bool {
        match &self.breaking {
            Some(set) => {
                set(fault).await;
                true
            }
            None => false,
        }
    }

    /// The two handles themselves.
    pub(super) fn stores(&self) -> [&dyn SessionStore; 2] {
        [&self.stores[0], &self.stores[1]]
    }

    pub(super) fn reads(&self) -> usize {
        self.stores.iter().map(Probe::reads).sum()
    }

    pub(super) fn writes(&self) -> usize {
        self.stores.iter().map(Probe::writes).sum()
    }

    pub(super) fn at(&self) -> At {
        At { now: self.clock.now(), idle: self.config.idle }
    }
}

/// A user with a random id.
pub(super) fn new_user() -> UserId {
    UserId::new(Tag::random().to_string()).expect("20 characters")
}

/// One instance of the application.
#[derive(Clone)]
pub(super) struct Site(pub(super) Sessions);

/// The effect of a response on the cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CookieEffect {
    Untouched,
    Set(String),
    Cleared,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) cookie: CookieEffect,
    pub(super) body: Value,
}

/// A browser: holds at most one cookie.
#[derive(Debug, Clone, Default)]
pub(super) struct Browser {
    pub(super) cookie: Option<String>,
}

impl Browser {
    /// A browser signed in as `user`.
    pub(super) async fn signed_in(site: &Site, user: &UserId) -> Self {
        let mut browser = Self::default();
        let answer = browser.sign_in(site, user).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        browser
    }

    pub(super) async fn sign_in(&mut self, site: &Site, user: &UserId) -> Answer {
        let sign_in = SignIn::new(user.clone(), "test");
        self.send(site, |s| async move { s.sign_in(sign_in).await }).await
    }

    /// Sends a request whose handler is `handler` and takes the cookie from the answer.
    pub(super) async fn send<F, R, T>(&mut self, site: &Site, handler: F) -> Answer
    where
        F: FnOnce(Session) -> R + Send + 'static,
        R: Future<Output = Result<T, SessionError>> + Send + 'static,
        T: Serialize,
    {
        let answer = site.request(self.cookie.as_deref(), handler).await;
        self.receive(&answer);
        answer
    }

    /// Takes the cookie from an answer.
    pub(super) fn receive(&mut self, answer: &Answer) {
        match &answer.cookie {
            CookieEffect::Untouched => {}
            CookieEffect::Set(cookie) => self.cookie = Some(cookie.clone()),
            CookieEffect::Cleared => self.cookie = None,
        }
    }

    /// Sends a request and holds it in its handler, with its session loaded.
    pub(super) async fn hold<F, R, T>(&self, site: &Site, handler: F) -> Held
    where
        F: FnOnce(Session) -> R + Send + 'static,
        R: Future<Output = Result<T, SessionError>> + Send + 'static,
        T: Serialize + 'static,
    {
        let gate = Arc::new(Gate::default());
        let (site, cookie, passing) = (site.clone(), self.cookie.clone(), gate.clone());
        let held = |session| async move {
            passing.reached.notify_one();
            passing.released.notified().await;
            handler(session).await
        };
        let answer = tokio::spawn(async move { site.request(cookie.as_deref(), held).await });
        gate.reached.notified().await;
        Held { gate, answer }
    }

    /// Whether the browser is signed in, according to one instance.
    pub(super) async fn is_signed_in(&self, site: &Site) -> bool {
        let answer =
            site.request(self.cookie.as_deref(), |s| async move { s.user().map(drop) }).await;
        match answer.status {
            StatusCode::OK => true,
            StatusCode::UNAUTHORIZED => false,
            other => panic!("{other}"),
        }
    }

    /// A data field of the browser's session.
    pub(super) async fn field(&self, site: &Site, name: &'static str) -> Value {
        let read = move |s: Session| async move { s.get::<Value>(name).await };
        site.request(self.cookie.as_deref(), read).await.body
    }
}

impl Site {
    /// One request through the layer and a router.
    pub(super) async fn request<F, R, T>(&self, cookie: Option<&str>, handler: F) -> Answer
    where
        F: FnOnce(Session) -> R + Send + 'static,
        R: Future<Output = Result<T, SessionError>> + Send + 'static,
        T: Serialize,
    {
        let handler = Arc::new(Mutex::new(Some(handler)));
        let route = any(move |session: Session| {
            let handler = handler.lock().expect("not poisoned").take().expect("one request only");
            let answer = handler(session);
            async move { answer.await.map(|body| Json(serde_json::json!(body))).into_response() }
        });
        let app = Router::new().route("/", route).layer(SessionLayer::new(self.0.clone()));
        let mut request = Request::new(Body::empty());
        if let Some(cookie) = cookie {
            let cookie =
                format!("session={cookie}").try_into().expect("a cookie this suite was given");
            request.headers_mut().insert(header::COOKIE, cookie);
        }
        let response = app.oneshot(request).await.expect("infallible");
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.expect("a body in memory");
        let body = serde_json::from_slice(&body).expect("all answers are JSON");
        Answer { status: parts.status, cookie: CookieEffect::of(&parts.headers), body }
    }

    /// How many sessions of a user are listed.
    pub(super) async fn listed(&self, user: &UserId) -> usize {
        self.0.list(user).await.expect("the store answers").len()
    }
}

impl CookieEffect {
    fn of(headers: &HeaderMap) -> Self {
        let lines: Vec<_> = headers.get_all(header::SET_COOKIE).iter().collect();
        match lines.as_slice() {
            [] => Self::Untouched,
            [line] => {
                let line = line.to_str().expect("ASCII");
                let (pair, attributes) = line.split_once("; ").expect("attributes");
                match pair.split_once('=') {
                    Some(("session", "")) => {
                        assert!(
                            attributes.contains("Max-Age=0; Expires=Thu, 01 Jan 1970"),
                            "{line}"
                        );
                        Self::Cleared
                    }
                    Some(("session", value)) => Self::Set(value.to_owned()),
                    _ => panic!("{line}"),
                }
            }
            _ => panic!("two cookies: {lines:?}"),
        }
    }
}

#[derive(Default)]
struct Gate {
    reached: Notify,
    released: Notify,
}

/// A request between load and commit.
pub(super) struct Held {
    gate: Arc<Gate>,
    answer: JoinHandle<Answer>,
}

impl Held {
    pub(super) async fn release(self) -> Answer {
        self.gate.released.notify_one();
        self.answer.await.expect("the handler does not panic")
    }
}
