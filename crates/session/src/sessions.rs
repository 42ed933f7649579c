//! Everything that is done to sessions from outside a request: opening one from a cookie, listing,
//! revoking.

use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use serde::Serialize;

use crate::cache::write_through::WriteThrough;
use crate::cache::{Asking, CacheKey, CacheStats, Outcome};
use crate::clock::Timestamp;
use crate::config::SessionConfig;
use crate::cookie::{self, Presented};
use crate::error::SessionError;
use crate::keyring::KeyRing;
use crate::record::{Authentication, Epoch, Record, envelope};
use crate::session::{Ended, Live, Session, State};
use crate::snapshot::Snapshot;
use crate::store::{At, Found, ListedSession, SessionStore, StoreError, StoredSession};
use crate::token::{self, CookieValue, Handle, SessionId, Tag, UserId};
use crate::user_watch::UserWatch;
use crate::watch::Watches;

/// The sessions of an application: a store, the secrets and the configuration. Cheap to clone.
#[derive(Clone)]
pub struct Sessions(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) store: WriteThrough,
    pub(crate) keys: KeyRing,
    pub(crate) config: SessionConfig,
    pub(crate) watches: Watches,
}

/// A request's session, or what will be one.
pub(crate) enum Opening {
    /// Nothing had to be asked.
    Known(Session),
    /// The store is being asked.
    Asked(Pin<Box<dyn Future<Output = Session> + Send>>),
}

/// One of a user's sessions as shown to that user. As JSON an object of these fields, times in
/// milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SessionInfo {
    /// Its public name.
    pub handle: Handle,
    /// When the user signed in.
    pub created: Timestamp,
    /// When it ends at the latest.
    pub expires: Timestamp,
    /// When it was last written as used: at sign-in, and with an idle timeout at most a touch
    /// interval ago.
    pub last_seen: Timestamp,
    /// When and how the user last proved who they are.
    pub authentication: Option<Authentication>,
    /// The client as given at sign-in, perhaps shortened.
    pub client: Box<str>,
    /// The client's address at sign-in; of IPv6 the first 64 bits.
    pub address: Option<IpAddr>,
}

impl Sessions {
    /// Sessions in `store`, their cookies signed with `keys`.
    ///
    /// # Panics
    /// If the cookie is not secure and its name demands it, by `__Host-` or `__Secure-`: no browser
    /// would keep it.
    pub fn new(store: impl SessionStore, keys: KeyRing, config: SessionConfig) -> Self {
        let name = config.effective_cookie_name();
        assert!(
            config.secure || !cookie::demands_secure(name),
            "a cookie named {name} has to be secure"
        );
        let store = WriteThrough::new(Box::new(store), config.near_cache);
        Self(Arc::new(Inner { store, keys, config, watches: Watches::default() }))
    }

    /// The epoch of a user, to be handed to [`SignIn::epoch`](crate::SignIn::epoch): take it where
    /// the sign-in begins, and a sign-out everywhere between there and its end wins.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`].
    pub async fn epoch(&self, user: &UserId) -> Result<Epoch, SessionError> {
        Ok(self.0.store.epoch(&Tag::of_user(user)).await?)
    }

    /// A user's live sessions, the most recently seen first.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`].
    pub async fn list(&self, user: &UserId) -> Result<Vec<SessionInfo>, SessionError> {
        Ok(SessionInfo::list(self.alive(user).await?))
    }

    /// Something to wait with for changes among a user's live sessions.
    pub fn watch(&self, user: &UserId) -> UserWatch {
        let watch = self.0.watches.watch(&Tag::of_user(user), &self.0.store);
        UserWatch::new(self.clone(), watch)
    }

    /// Ends the user's session of that name. False when the user has no such live session.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`].
    pub async fn revoke(&self, user: &UserId, handle: Handle) -> Result<bool, SessionError> {
        let alive = self.alive(user).await?;
        let Some((id, _)) = alive.iter().find(|(id, _)| id.handle() == handle) else {
            return Ok(false);
        };
        Ok(self.0.store.destroy(id, self.at()).await? == Found::Alive)
    }

    /// Ends all of the user's sessions, also those being created at this moment.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`].
    pub async fn revoke_all(&self, user: &UserId) -> Result<(), SessionError> {
        let tag = Tag::of_user(user);
        self.0.store.revoke_all(&tag, None, self.0.config.lifetime, self.at()).await?;
        Ok(())
    }

    /// Whether the store answers.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`].
    pub async fn ping(&self) -> Result<(), SessionError> {
        Ok(self.0.store.ping().await?)
    }

    /// What the near-cache did since the start; all zero when there is none.
    pub fn cache_stats(&self) -> CacheStats {
        self.0.store.cache.as_ref().map(|cache| cache.stats()).unwrap_or_default()
    }

    /// How far what the near-cache knows may lie behind the store: since when it is not certain
    /// that every change was told. Up to a heartbeat when all is well, beyond
    /// [`MAX_STALENESS`](crate::MAX_STALENESS) the near-cache is not used. `None` when there is
    /// none.
    pub fn cache_staleness(&self) -> Option<Duration> {
        self.0.store.cache.as_ref().map(|cache| cache.staleness())
    }

    /// The session a request presents. Never fails: what went wrong is kept in it and told to
    /// whoever asks for it. It is for reading where there is no
    /// [`SessionLayer`](crate::SessionLayer): what is set is written only by [`Session::commit`],
    /// and the cookie of a sign-in goes nowhere.
    pub async fn open(&self, headers: &HeaderMap) -> Session {
        match self.opening(headers) {
            Opening::Known(session) => session,
            Opening::Asked(session) => session.await,
        }
    }

    /// The same, without a future where the store need not be asked.
    pub(crate) fn opening(&self, headers: &HeaderMap) -> Opening {
        self.opening_by(headers, Asking::Together)
    }

    /// The same for a session asked for ahead, whose opening may be left unpolled for a while.
    pub(crate) fn opening_ahead(&self, headers: &HeaderMap) -> Opening {
        self.opening_by(headers, Asking::Alone)
    }

    fn opening_by(&self, headers: &HeaderMap, asking: Asking) -> Opening {
        let state = match cookie::find(headers, self.0.config.effective_cookie_name()) {
            Presented::Nothing => State::nothing(),
            Presented::Several => State::ended(Ended::NotOurs),
            Presented::One(value) => {
                let key = self.0.store.cache.as_ref().and_then(|_| CacheKey::of(value));
                if let Some((id, snapshot)) = key.and_then(|key| self.cached(&key)) {
                    State::live(Live::presented(id, snapshot, || CookieValue::read(value), self))
                } else if let Some(id) = token::open(&self.0.keys, value) {
                    let cookie = self.0.config.idle.and_then(|_| CookieValue::read(value));
                    return Opening::Asked(Box::pin(self.clone().load(id, key, cookie, asking)));
                } else if token::names_unknown_secret(&self.0.keys, value) {
                    State::of_unknown_secret()
                } else {
                    State::ended(Ended::NotOurs)
                }
            }
        };
        Opening::Known(Session::new(self.clone(), state))
    }

    async fn load(
        self,
        id: SessionId,
        key: Option<CacheKey>,
        cookie: Option<CookieValue>,
        asking: Asking,
    ) -> Session {
        let state = match self.fetch(&id, key, asking).await {
            Ok(Ok(snapshot)) => State::live(Live::presented(id, snapshot, || cookie, &self)),
            Ok(Err(ended)) => State::found_ended(id, ended),
            Err(error) => match &*error {
                StoreError::Corrupt(what) => {
                    tracing::warn!(session = %id.handle(), what = &**what, "undecodable session");
                    State::ended(Ended::Undecodable)
                }
                StoreError::Unavailable(_) => {
                    tracing::warn!(
                        error = &*error as &dyn std::error::Error,
                        "cannot load a session"
                    );
                    State::unavailable(error)
                }
            },
        };
        Session::new(self, state)
    }

    fn cached(&self, key: &CacheKey) -> Option<(SessionId, Snapshot)> {
        self.0.store.cache.as_ref()?.get(key, self.now())
    }

    /// Asks the store, perhaps together with whoever else wants the same session now, and keeps the
    /// answer.
    async fn fetch(&self, id: &SessionId, key: Option<CacheKey>, asking: Asking) -> Outcome {
        let cache = self.0.store.cache.as_ref();
        let Some(miss) = cache.zip(key).and_then(|(cache, key)| cache.miss(key, *id, asking))
        else {
            return self.read(id).await.map_err(Arc::new);
        };
        let ask = async { self.read_watched(id).await.map_err(Arc::new) };
        // Boxed, so that the future of a request has no room for it where there is no near-cache.
        Box::pin(miss.outcome(self.now(), self.0.config.idle, ask)).await
    }

    /// Asks the store itself, in one round trip.
    pub(crate) async fn read(&self, id: &SessionId) -> Result<Result<Snapshot, Ended>, StoreError> {
        let stored = self.0.store.load(id, &self.0.config.preload).await?;
        Ok(self.judge(id, stored))
    }

    /// The same; the next change will be told, if the store can.
    pub(crate) async fn read_watched(
        &self,
        id: &SessionId,
    ) -> Result<Result<Snapshot, Ended>, StoreError> {
        let stored = self.0.store.load_watched(id, &self.0.config.preload).await?;
        Ok(self.judge(id, stored))
    }

    /// The decision: alive, or why not.
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
        if self.now() >= snapshot.deadline(self.0.config.idle) {
            return Err(Ended::Expired);
        }
        Ok(snapshot)
    }

    async fn alive(&self, user: &UserId) -> Result<Vec<(SessionId, Record)>, SessionError> {
        Ok(self.living(self.0.store.list(&Tag::of_user(user)).await?))
    }

    /// The live sessions under a tag; the next change will be told, if the store can.
    pub(crate) async fn alive_watched(
        &self,
        tag: &Tag,
    ) -> Result<Vec<(SessionId, Record)>, StoreError> {
        Ok(self.living(self.0.store.list_watched(tag).await?))
    }

    fn living(&self, (epoch, all): (Epoch, Vec<ListedSession>)) -> Vec<(SessionId, Record)> {
        let now = self.now();
        all.into_iter()
            .filter_map(|listed| Some((listed.id, Record::decode(&listed.record).ok()?)))
            .filter(|(_, record)| {
                record.epoch == epoch
                    && now < record.deadline(self.0.config.idle)
                    && self.0.keys.find(record.key).is_some()
            })
            .collect()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.0.config.clock.now()
    }

    pub(crate) fn at(&self) -> At {
        At { now: self.now(), idle: self.0.config.idle }
    }

    pub(crate) fn lifetime(&self) -> Duration {
        self.0.config.lifetime
    }
}

impl SessionInfo {
    /// The most recently seen first.
    pub(crate) fn list(alive: Vec<(SessionId, Record)>) -> Vec<Self> {
        let mut all: Vec<_> = alive.into_iter().map(|(id, record)| info(&id, record)).collect();
        all.sort_by_key(|session| std::cmp::Reverse((session.last_seen, session.created)));
        all
    }
}

pub(crate) fn info(id: &SessionId, record: Record) -> SessionInfo {
    SessionInfo {
        handle: id.handle(),
        created: record.created,
        expires: record.deadline(None),
        last_seen: record.last_seen,
        authentication: record.authentication,
        client: record.client,
        address: record.address,
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("keys", &self.0.keys)
            .field("config", &self.0.config)
            .finish_non_exhaustive()
    }
}
