//! The state shared by [`Sessions`](crate::Sessions), the sessions of requests and the watches: the
//! store, the keys and the configuration. Only this module decides whether a session is alive.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::invalidating_store::InvalidatingStore;
use crate::cache::{CacheKey, Fetch, Outcome};
use crate::clock::Timestamp;
use crate::config::SessionConfig;
use crate::cookie::CookieWriter;
use crate::ended::Ended;
use crate::keyring::KeyRing;
use crate::record::{Epoch, Record, envelope};
use crate::snapshot::Snapshot;
use crate::store::{At, ListedSession, SessionStore, StoreError, StoredSession};
use crate::token::{SessionId, Tag, UserId};
use crate::update_queue::UpdateQueue;
use crate::watch::Watches;

pub(crate) struct Inner {
    pub(crate) store: InvalidatingStore,
    /// The keys of the realm.
    pub(crate) keys: KeyRing,
    pub(crate) config: SessionConfig,
    pub(crate) cookie: CookieWriter,
    pub(crate) updates: UpdateQueue,
    pub(crate) watches: Watches,
}

impl Inner {
    pub(crate) fn now(&self) -> Timestamp {
        self.config.clock.now()
    }

    pub(crate) fn at(&self) -> At {
        At { now: self.now(), idle: self.config.idle }
    }

    /// The tag of a user in this realm.
    pub(crate) fn tag(&self, user: &UserId) -> Tag {
        Tag::of_user_in(self.config.effective_realm(), user)
    }

    /// The session of this cookie, if the near-cache has it.
    pub(crate) fn cached(&self, key: &CacheKey) -> Option<(SessionId, Snapshot)> {
        self.store.cache.as_ref()?.get(key, self.now())
    }

    /// Reads the store and caches the answer. With [`Fetch::Shared`], requests that want this
    /// session at the same time share one read.
    pub(crate) async fn fetch(
        &self,
        id: &SessionId,
        key: Option<CacheKey>,
        fetch: Fetch,
    ) -> Outcome {
        let cache = self.store.cache.as_ref();
        let Some(miss) = cache.zip(key).and_then(|(cache, key)| cache.miss(key, *id, fetch)) else {
            return self.read(id).await.map_err(Arc::new);
        };
        let ask = async { self.read_watched(id).await.map_err(Arc::new) };
        // Boxed to keep the future of requests without a near-cache small.
        Box::pin(miss.outcome(self.now(), self.config.idle, ask)).await
    }

    /// Reads the store, past the near-cache, in one round trip.
    async fn read(&self, id: &SessionId) -> Result<Result<Snapshot, Ended>, StoreError> {
        let stored = self.store.load(id, &self.config.preload).await?;
        Ok(self.judge(id, stored))
    }

    /// [`Inner::read`], after which the store announces the next change if it sends invalidations.
    pub(crate) async fn read_watched(
        &self,
        id: &SessionId,
    ) -> Result<Result<Snapshot, Ended>, StoreError> {
        let stored = self.store.load_watched(id, &self.config.preload).await?;
        Ok(self.judge(id, stored))
    }

    /// Decides whether the session is alive.
    pub(crate) fn judge(
        &self,
        id: &SessionId,
        stored: Option<StoredSession>,
    ) -> Result<Snapshot, Ended> {
        let stored = stored.ok_or(Ended::Absent)?;
        if let Some(forward) = envelope::forward(&stored.record) {
            return Err(if self.now() < forward.until { Ended::Rotated } else { Ended::Absent });
        }
        let Ok(snapshot) = Snapshot::read(stored.user.as_ref(), &stored.record, &stored.values)
        else {
            tracing::warn!(session = %id.handle(), "a session record of an unknown version");
            return Err(Ended::Undecodable);
        };
        if snapshot.epoch() != stored.epoch {
            return Err(Ended::Revoked);
        }
        if self.now() >= snapshot.deadline(self.config.idle) {
            return Err(Ended::Expired);
        }
        Ok(snapshot)
    }

    pub(crate) async fn epoch(&self, user: &UserId) -> Result<Epoch, StoreError> {
        self.store.epoch(&self.tag(user)).await
    }

    /// A user's live sessions.
    pub(crate) async fn alive(
        &self,
        user: &UserId,
    ) -> Result<Vec<(SessionId, Record)>, StoreError> {
        Ok(self.living(self.store.list(&self.tag(user)).await?))
    }

    /// The live sessions under a tag. The store then announces the next change if it sends
    /// invalidations.
    pub(crate) async fn alive_watched(
        &self,
        tag: &Tag,
    ) -> Result<Vec<(SessionId, Record)>, StoreError> {
        Ok(self.living(self.store.list_watched(tag).await?))
    }

    fn living(&self, (epoch, all): (Epoch, Vec<ListedSession>)) -> Vec<(SessionId, Record)> {
        let now = self.now();
        all.into_iter()
            .filter_map(|listed| Some((listed.id, Record::decode(&listed.record).ok()?)))
            .filter(|(_, record)| {
                record.epoch == epoch
                    && now < record.deadline(self.config.idle)
                    && self.keys.find(record.key).is_some()
            })
            .collect()
    }

    pub(crate) fn lifetime(&self) -> Duration {
        self.config.lifetime
    }
}
