//! No `Cookie` header causes a panic. No forged one causes a session or a call to the store. The
//! examples kept in `corpus/cookies.txt` run first; a line is one header, `\x..` one byte.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, HeaderValue, Request, header};
use proptest::prelude::*;
use tower::ServiceExt;
use tracera_session::store::{
    At, Committed, Created, FieldName, FieldOp, Found, ListedSession, NewSession, Rotated,
    Rotation, SessionId, StoreFuture, StoredField, StoredSession, Tag,
};
use tracera_session::{
    Budget, EmbeddedStore, Epoch, KeyRing, Session, SessionConfig, SessionLayer, SessionStore,
    Sessions, SignIn, UserId,
};

const CORPUS: &str = include_str!("corpus/cookies.txt");

/// Records whether it was asked for a session.
#[derive(Clone)]
struct Watched(EmbeddedStore, Arc<AtomicBool>);

/// Sessions, a flag that their store was asked, and one genuine cookie.
fn stage() -> (Sessions, Arc<AtomicBool>, String) {
    let asked = Arc::new(AtomicBool::new(false));
    let store = Watched(EmbeddedStore::in_memory().unwrap(), asked.clone());
    let config = SessionConfig::default().secure(false);
    let sessions = Sessions::new(store, KeyRing::new(&[7; 32]).unwrap(), config);
    let route = axum::routing::any(|session: Session| async move {
        session.sign_in(SignIn::new(UserId::new("user")?, "test")).await
    });
    let app: Router = Router::new().route("/", route).layer(SessionLayer::new(sessions.clone()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let response = runtime.block_on(app.oneshot(Request::new(Body::empty()))).unwrap();
    let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap();
    let genuine = cookie.split_once(';').unwrap().0.to_owned();
    (sessions, asked, genuine)
}

/// Whether a header opens a session. Checks that the store was asked only if it does.
fn opens((sessions, asked, _): &(Sessions, Arc<AtomicBool>, String), line: &[u8]) -> bool {
    let Ok(value) = HeaderValue::from_bytes(line) else { return false };
    let headers: HeaderMap = [(header::COOKIE, value)].into_iter().collect();
    asked.store(false, Ordering::SeqCst);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let opened = runtime.block_on(sessions.open(&headers)).user().is_ok();
    assert_eq!(asked.load(Ordering::SeqCst), opened, "{}", line.escape_ascii());
    opened
}

fn unescape(line: &str) -> Vec<u8> {
    let mut parts = line.split("\\x");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend(&part.as_bytes()[2..]);
    }
    bytes
}

#[test]
fn the_kept_examples_open_nothing() {
    let stage = stage();
    assert!(opens(&stage, stage.2.as_bytes()), "the genuine one does");
    assert!(CORPUS.lines().count() > 10);
    for line in CORPUS.lines() {
        assert!(!opens(&stage, &unescape(line)), "{line}");
    }
}

#[test]
fn foreign_values_beside_the_genuine_one_change_nothing() {
    let stage = stage();
    let genuine = stage.2.as_str();
    let (_, value) = genuine.split_once('=').unwrap();
    for line in CORPUS.lines() {
        let (before, behind) = (unescape(line), unescape(&format!("; {line}")));
        assert!(opens(&stage, &[&before, b"; ".as_slice(), genuine.as_bytes()].concat()), "{line}");
        assert!(opens(&stage, &[genuine.as_bytes(), &behind].concat()), "{line}");
    }
    let quoted = format!("$Version=\"1\"; session=\"{value}\";$Path=\"/\"");
    assert!(opens(&stage, quoted.as_bytes()), "as Java's HttpClient sends it");
    let other = self::stage().2;
    for both in [format!("{genuine}; {genuine}"), format!("{genuine}; {other}")] {
        assert!(!opens(&stage, both.as_bytes()), "{both}");
    }
}

#[test]
fn a_cookie_of_another_application_is_left_alone() {
    let (sessions, _, genuine) = stage();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let set_cookie = |line: &[u8]| {
        let value = HeaderValue::from_bytes(line).unwrap();
        let headers: HeaderMap = [(header::COOKIE, value)].into_iter().collect();
        runtime.block_on(async { sessions.open(&headers).await.finish().await.set_cookie })
    };
    for line in CORPUS.lines() {
        assert_eq!(set_cookie(&unescape(line)), None, "{line}");
    }
    let both = set_cookie(format!("{genuine}; {genuine}").as_bytes());
    assert!(both.unwrap().to_str().unwrap().starts_with("session=; "));
}

#[test]
fn noise_opens_nothing() {
    let stage = stage();
    proptest!(|(line in prop::collection::vec(any::<u8>(), 0..200), named in any::<bool>())| {
        let line = if named { [b"session=".as_slice(), &line].concat() } else { line };
        prop_assert!(!opens(&stage, &line));
    });
}

#[test]
fn a_genuine_cookie_with_anything_changed_opens_nothing() {
    let stage = stage();
    let genuine = stage.2.clone().into_bytes();
    proptest!(|(
        at in 8..genuine.len(),
        remove in 0..4_usize,
        insert in prop::collection::vec(any::<u8>(), 0..4),
    )| {
        let end = (at + remove).min(genuine.len());
        let changed = [&genuine[..at], &insert, &genuine[end..]].concat();
        prop_assume!(changed != genuine);
        // Spaces around the value and further cookies behind it do not change it.
        let value = changed.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        prop_assume!(value != genuine);
        prop_assert!(!opens(&stage, &changed));
    });
}

impl SessionStore for Watched {
    fn load<'a>(
        &'a self,
        id: &'a SessionId,
        names: &'a [FieldName],
    ) -> StoreFuture<'a, Option<StoredSession>> {
        self.1.store(true, Ordering::SeqCst);
        self.0.load(id, names)
    }

    fn epoch<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, Epoch> {
        self.0.epoch(tag)
    }

    fn create<'a>(&'a self, new: &'a NewSession<'a>, at: At) -> StoreFuture<'a, Created> {
        self.0.create(new, at)
    }

    fn commit<'a>(
        &'a self,
        id: &'a SessionId,
        changes: &'a [(FieldName, FieldOp)],
        touch: Option<Duration>,
        budget: Budget,
        at: At,
    ) -> StoreFuture<'a, Committed> {
        self.0.commit(id, changes, touch, budget, at)
    }

    fn rotate<'a>(
        &'a self,
        id: &'a SessionId,
        rotation: &'a Rotation,
        at: At,
    ) -> StoreFuture<'a, Rotated> {
        self.0.rotate(id, rotation, at)
    }

    fn destroy<'a>(&'a self, id: &'a SessionId, at: At) -> StoreFuture<'a, Found> {
        self.0.destroy(id, at)
    }

    fn abandon<'a>(&'a self, id: &'a SessionId, at: At) -> StoreFuture<'a, Found> {
        self.0.abandon(id, at)
    }

    fn list<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, (Epoch, Vec<ListedSession>)> {
        self.0.list(tag)
    }

    fn fields<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, Vec<StoredField>> {
        self.0.fields(tag)
    }

    fn revoke_all<'a>(
        &'a self,
        tag: &'a Tag,
        keep: Option<&'a [u8; 16]>,
        remember: Duration,
        at: At,
    ) -> StoreFuture<'a, Found> {
        self.0.revoke_all(tag, keep, remember, at)
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        self.0.ping()
    }
}
