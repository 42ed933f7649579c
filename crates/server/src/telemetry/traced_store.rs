//! A session store whose operations are spans.

use std::time::Duration;

use tracera_session::Epoch;
use tracera_session::store::{
    At, Budget, Committed, Created, FieldName, FieldOp, Found, Invalidations, ListedSession,
    NewSession, Rotated, Rotation, SessionId, SessionStore, StoreFuture, StoredField,
    StoredSession, Tag,
};

use super::trace::{Kind, Span};

/// The store inside, each operation of which is a span.
#[derive(Debug)]
pub struct Traced<S> {
    inner: S,
    system: &'static str,
}

impl<S> Traced<S> {
    /// `system` is what OpenTelemetry calls the kind of store, such as `redis`.
    pub fn new(inner: S, system: &'static str) -> Self {
        Self { inner, system }
    }

    fn span<'a, T: Send + 'a>(
        &self,
        name: &'static str,
        operation: StoreFuture<'a, T>,
    ) -> StoreFuture<'a, T> {
        let span = Span::child(name, Kind::Client);
        if span.is_none() {
            return operation;
        }
        span.set("db.system.name", self.system);
        Box::pin(async move {
            let done = span.clone().around(operation).await;
            if done.is_err() {
                span.failed("unavailable");
            }
            done
        })
    }
}

impl<S: SessionStore> SessionStore for Traced<S> {
    fn load<'a>(
        &'a self,
        id: &'a SessionId,
        names: &'a [FieldName],
    ) -> StoreFuture<'a, Option<StoredSession>> {
        self.span("session load", self.inner.load(id, names))
    }

    fn load_watched<'a>(
        &'a self,
        id: &'a SessionId,
        names: &'a [FieldName],
    ) -> StoreFuture<'a, Option<StoredSession>> {
        self.span("session load", self.inner.load_watched(id, names))
    }

    fn invalidations(&self) -> Option<Invalidations> {
        self.inner.invalidations()
    }

    fn epoch<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, Epoch> {
        self.span("session epoch", self.inner.epoch(tag))
    }

    fn create<'a>(&'a self, new: &'a NewSession<'a>, at: At) -> StoreFuture<'a, Created> {
        self.span("session create", self.inner.create(new, at))
    }

    fn commit<'a>(
        &'a self,
        id: &'a SessionId,
        changes: &'a [(FieldName, FieldOp)],
        touch: Option<Duration>,
        budget: Budget,
        at: At,
    ) -> StoreFuture<'a, Committed> {
        self.span("session commit", self.inner.commit(id, changes, touch, budget, at))
    }

    fn rotate<'a>(
        &'a self,
        id: &'a SessionId,
        rotation: &'a Rotation,
        at: At,
    ) -> StoreFuture<'a, Rotated> {
        self.span("session rotate", self.inner.rotate(id, rotation, at))
    }

    fn destroy<'a>(&'a self, id: &'a SessionId, at: At) -> StoreFuture<'a, Found> {
        self.span("session destroy", self.inner.destroy(id, at))
    }

    fn abandon<'a>(&'a self, id: &'a SessionId, at: At) -> StoreFuture<'a, Found> {
        self.span("session abandon", self.inner.abandon(id, at))
    }

    fn list<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, (Epoch, Vec<ListedSession>)> {
        self.span("session list", self.inner.list(tag))
    }

    fn list_watched<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, (Epoch, Vec<ListedSession>)> {
        self.span("session list", self.inner.list_watched(tag))
    }

    fn fields<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, Vec<StoredField>> {
        self.span("session fields", self.inner.fields(tag))
    }

    fn revoke_all<'a>(
        &'a self,
        tag: &'a Tag,
        keep: Option<&'a [u8; 16]>,
        remember: Duration,
        at: At,
    ) -> StoreFuture<'a, Found> {
        self.span("session revoke_all", self.inner.revoke_all(tag, keep, remember, at))
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        self.span("session ping", self.inner.ping())
    }

    fn time_limit(&self) -> Duration {
        self.inner.time_limit()
    }
}
