//! A store that counts its calls. It yields before and after each step, so that a request can be
//! dropped between any two.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::yield_now;

use crate::record::Epoch;
use crate::store::{
    At, Budget, Committed, Created, FieldName, FieldOp, Found, ListedSession, NewSession, Rotated,
    Rotation, SessionStore, StoreFuture, StoredField, StoredSession,
};
use crate::token::{SessionId, Tag};

/// Clones share their counts.
#[derive(Clone)]
pub(super) struct Probe {
    store: Arc<dyn SessionStore>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    reads: AtomicUsize,
    writes: AtomicUsize,
}

impl Probe {
    pub(super) fn new(store: Arc<dyn SessionStore>) -> Self {
        Self { store, counts: Arc::default() }
    }

    pub(super) fn reads(&self) -> usize {
        self.counts.reads.load(Ordering::SeqCst)
    }

    pub(super) fn writes(&self) -> usize {
        self.counts.writes.load(Ordering::SeqCst)
    }

    fn reading(&self) -> &dyn SessionStore {
        self.counts.reads.fetch_add(1, Ordering::SeqCst);
        &*self.store
    }

    fn writing(&self) -> &dyn SessionStore {
        self.counts.writes.fetch_add(1, Ordering::SeqCst);
        &*self.store
    }
}

impl SessionStore for Probe {
    fn load<'a>(
        &'a self,
        id: &'a SessionId,
        names: &'a [FieldName],
    ) -> StoreFuture<'a, Option<StoredSession>> {
        spaced(self.reading().load(id, names))
    }

    fn epoch<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, Epoch> {
        spaced(self.reading().epoch(tag))
    }

    fn create<'a>(&'a self, new: &'a NewSession<'a>, at: At) -> StoreFuture<'a, Created> {
        spaced(self.writing().create(new, at))
    }

    fn commit<'a>(
        &'a self,
        id: &'a SessionId,
        changes: &'a [(FieldName, FieldOp)],
        touch: Option<Duration>,
        budget: Budget,
        at: At,
    ) -> StoreFuture<'a, Committed> {
        spaced(self.writing().commit(id, changes, touch, budget, at))
    }

    fn rotate<'a>(
        &'a self,
        id: &'a SessionId,
        rotation: &'a Rotation,
        at: At,
    ) -> StoreFuture<'a, Rotated> {
        spaced(self.writing().rotate(id, rotation, at))
    }

    fn destroy<'a>(&'a self, id: &'a SessionId, at: At) -> StoreFuture<'a, Found> {
        spaced(self.writing().destroy(id, at))
    }

    fn abandon<'a>(&'a self, id: &'a SessionId, at: At) -> StoreFuture<'a, Found> {
        spaced(self.writing().abandon(id, at))
    }

    fn list<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, (Epoch, Vec<ListedSession>)> {
        spaced(self.reading().list(tag))
    }

    fn fields<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, Vec<StoredField>> {
        spaced(self.reading().fields(tag))
    }

    fn revoke_all<'a>(
        &'a self,
        tag: &'a Tag,
        keep: Option<&'a [u8; 16]>,
        remember: Duration,
        at: At,
    ) -> StoreFuture<'a, Found> {
        spaced(self.writing().revoke_all(tag, keep, remember, at))
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        spaced(self.reading().ping())
    }
}

fn spaced<'a, T: Send + 'a>(step: StoreFuture<'a, T>) -> StoreFuture<'a, T> {
    Box::pin(async move {
        yield_now().await;
        let outcome = step.await;
        yield_now().await;
        outcome
    })
}
