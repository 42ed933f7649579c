//! A store whose writes invalidate the near-cache of the same process.

use std::sync::Arc;
use std::time::Duration;

use super::SessionCache;
use crate::config::NearCache;
use crate::invalidations::Invalidations;
use crate::record::Epoch;
use crate::store::{
    At, Budget, Committed, Created, FieldName, FieldOp, Found, ListedSession, NewSession, Rotated,
    Rotation, SessionStore, StoreFuture, StoredField, StoredSession,
};
use crate::token::{SessionId, Tag};

/// Forwards everything. Reads are the store's own, never the cache's.
pub(crate) struct InvalidatingStore {
    store: Arc<dyn SessionStore>,
    pub(crate) cache: Option<Arc<SessionCache>>,
}

/// A write under way. It invalidates when dropped, so that nothing read before its end is kept.
struct Writing<'a>(Option<(&'a SessionCache, Tag)>);

impl InvalidatingStore {
    /// The store with its near-cache, if one is configured and the store sends invalidations.
    pub(crate) fn new(store: Arc<dyn SessionStore>, near_cache: NearCache) -> Self {
        let cache = match near_cache {
            NearCache::On { capacity, max_age } => {
                store.invalidations().map(|changes| SessionCache::new(capacity, max_age, changes))
            }
            NearCache::Off => None,
        };
        Self { store, cache }
    }

    fn writing(&self, tag: &Tag) -> Writing<'_> {
        Writing::invalidate(self.cache.as_ref().map(|cache| (&**cache, *tag)))
    }
}

impl<'a> Writing<'a> {
    fn invalidate(cache: Option<(&'a SessionCache, Tag)>) -> Self {
        if let Some((cache, tag)) = &cache {
            cache.invalidate(tag);
        }
        Self(cache)
    }
}

impl Writing<'_> {
    /// Leaves the cache as it is, because the write changed nothing.
    fn changed_nothing(&mut self) {
        self.0 = None;
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if let Some((cache, tag)) = &self.0 {
            cache.invalidate(tag);
        }
    }
}

impl SessionStore for InvalidatingStore {
    fn load<'a>(
        &'a self,
        id: &'a SessionId,
        names: &'a [FieldName],
    ) -> StoreFuture<'a, Option<StoredSession>> {
        self.store.load(id, names)
    }

    fn load_watched<'a>(
        &'a self,
        id: &'a SessionId,
        names: &'a [FieldName],
    ) -> StoreFuture<'a, Option<StoredSession>> {
        self.store.load_watched(id, names)
    }

    fn invalidations(&self) -> Option<Invalidations> {
        self.store.invalidations()
    }

    fn epoch<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, Epoch> {
        self.store.epoch(tag)
    }

    fn create<'a>(&'a self, new: &'a NewSession<'a>, at: At) -> StoreFuture<'a, Created> {
        let writing = self.writing(&new.id.tag);
        Box::pin(async move {
            let _writing = writing;
            self.store.create(new, at).await
        })
    }

    fn commit<'a>(
        &'a self,
        id: &'a SessionId,
        changes: &'a [(FieldName, FieldOp)],
        touch: Option<Duration>,
        budget: Budget,
        at: At,
    ) -> StoreFuture<'a, Committed> {
        // Invalidated only afterwards, so that a commit that changes nothing leaves the cache as it
        // is.
        let mut writing = Writing(self.cache.as_ref().map(|cache| (&**cache, id.tag)));
        Box::pin(async move {
            let committed = self.store.commit(id, changes, touch, budget, at).await;
            if let Ok(
                Committed::Done { changed: false, .. }
                | Committed::OverBudget
                | Committed::NotANumber,
            ) = &committed
            {
                writing.changed_nothing();
            }
            committed
        })
    }

    fn rotate<'a>(
        &'a self,
        id: &'a SessionId,
        rotation: &'a Rotation,
        at: At,
    ) -> StoreFuture<'a, Rotated> {
        let writing = self.writing(&id.tag);
        Box::pin(async move {
            let _writing = writing;
            self.store.rotate(id, rotation, at).await
        })
    }

    fn destroy<'a>(&'a self, id: &'a SessionId, at: At) -> StoreFuture<'a, Found> {
        let writing = self.writing(&id.tag);
        Box::pin(async move {
            let _writing = writing;
            self.store.destroy(id, at).await
        })
    }

    fn abandon<'a>(&'a self, id: &'a SessionId, at: At) -> StoreFuture<'a, Found> {
        let writing = self.writing(&id.tag);
        Box::pin(async move {
            let _writing = writing;
            self.store.abandon(id, at).await
        })
    }

    fn list<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, (Epoch, Vec<ListedSession>)> {
        self.store.list(tag)
    }

    fn list_watched<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, (Epoch, Vec<ListedSession>)> {
        self.store.list_watched(tag)
    }

    fn fields<'a>(&'a self, tag: &'a Tag) -> StoreFuture<'a, Vec<StoredField>> {
        self.store.fields(tag)
    }

    fn revoke_all<'a>(
        &'a self,
        tag: &'a Tag,
        keep: Option<&'a [u8; 16]>,
        remember: Duration,
        at: At,
    ) -> StoreFuture<'a, Found> {
        let writing = self.writing(tag);
        Box::pin(async move {
            let _writing = writing;
            self.store.revoke_all(tag, keep, remember, at).await
        })
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        self.store.ping()
    }

    fn time_limit(&self) -> Duration {
        self.store.time_limit()
    }
}
