//! Operations on sessions from outside a request: open one from a cookie, list, watch, revoke.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use crate::cache::invalidating_store::InvalidatingStore;
use crate::cache::{CacheKey, CacheStats, Fetch};
use crate::config::SessionConfig;
use crate::cookie::{self, CookieWriter};
#[cfg(feature = "device-binding")]
use crate::device::{self, Standing};
use crate::ended::Ended;
use crate::error::SessionError;
use crate::info::SessionInfo;
use crate::inner::Inner;
use crate::keyring::KeyRing;
use crate::record::Epoch;
use crate::session::{Live, Session, State};
use crate::snapshot::Snapshot;
use crate::store::{Found, SessionStore, StoreError};
use crate::token::{self, COOKIE_CHARS, CookieValue, Handle, SessionId, UserId};
use crate::update_queue::UpdateQueue;
use crate::user_lease::UserLease;
use crate::user_watch::UserWatch;
use crate::watch::{Watches, in_a_task};

/// The sessions of an application: a store, the secrets and the configuration. Cheap to clone.
///
/// ```
/// use tracera_session::{Handle, SessionError, Sessions, UserId};
///
/// type Done = Result<(), SessionError>;
///
/// async fn end(sessions: &Sessions, user: &UserId, one: Option<Handle>) -> Done {
///     match one {
///         Some(handle) => sessions.revoke(user, handle).await.map(drop),
///         None => sessions.revoke_all(user).await,
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Sessions {
    pub(crate) inner: Arc<Inner>,
}

/// The session of a request, or the read that finds it.
pub(crate) enum Opening {
    /// Known without a read.
    Known(Session),
    /// The store is being read.
    Asked(Pin<Box<dyn Future<Output = Session> + Send>>),
}

impl Sessions {
    /// Sessions in `store`, their cookies signed with `keys`.
    ///
    /// # Panics
    /// If no browser would keep such a cookie; [`SessionConfig`] has the rules.
    pub fn new(store: impl SessionStore, keys: KeyRing, config: SessionConfig) -> Self {
        Self::over(Arc::new(store), keys, config)
    }

    pub(crate) fn over(
        store: Arc<dyn SessionStore>,
        keys: KeyRing,
        #[cfg_attr(not(feature = "device-binding"), expect(unused_mut))] mut config: SessionConfig,
    ) -> Self {
        #[cfg(feature = "device-binding")]
        if config.device.is_some() {
            // The last of the fields, so that it is found by position.
            config.preload.push(device::preloaded());
        }
        let cookie = CookieWriter::new(&config);
        let keys = keys.into_realm(config.effective_realm());
        let store = InvalidatingStore::new(store, config.near_cache);
        let (watches, updates) = (Watches::default(), UpdateQueue::default());
        Self { inner: Arc::new(Inner { store, keys, config, cookie, updates, watches }) }
    }

    /// The epoch of a user, for [`SignIn::epoch`](crate::SignIn::epoch). Read it at the start of a
    /// sign-in, so that a concurrent sign-out everywhere wins.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`].
    pub async fn epoch(&self, user: &UserId) -> Result<Epoch, SessionError> {
        Ok(self.inner.epoch(user).await?)
    }

    /// A user's live sessions, the most recently seen first.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`].
    pub async fn list(&self, user: &UserId) -> Result<Vec<SessionInfo>, SessionError> {
        Ok(SessionInfo::list(self.inner.alive(user).await?))
    }

    /// The handles of a user's live sessions that are bound to a device. Costs two round trips for
    /// any number of sessions.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`].
    #[cfg(feature = "device-binding")]
    pub async fn device_bound(&self, user: &UserId) -> Result<Vec<Handle>, SessionError> {
        if self.inner.config.device.is_none() {
            return Ok(Vec::new());
        }
        let (alive, name) = (self.inner.alive(user).await?, device::preloaded());
        let mut fields = self.inner.store.fields(&self.inner.tag(user)).await?;
        fields.retain(|field| field.name == name && device::Bound::parse(&field.value).is_some());
        let is_bound = |id: &SessionId| fields.iter().any(|field| field.session == id.field);
        Ok(alive.iter().filter(|(id, _)| is_bound(id)).map(|(id, _)| id.handle()).collect())
    }

    /// Waits for changes among a user's live sessions.
    pub fn watch(&self, user: &UserId) -> UserWatch {
        let watch = self.inner.watches.watch(&self.inner.tag(user), &self.inner.store);
        UserWatch::new(self.inner.clone(), watch)
    }

    /// A lease on copies of a user's data.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`].
    pub async fn lease(&self, user: &UserId) -> Result<UserLease, SessionError> {
        let watch = self.inner.watches.watch(&self.inner.tag(user), &self.inner.store);
        let (subject, inner) = (watch.subject().clone(), self.inner.clone());
        let asking = async move { subject.ask(inner.store.list_watched(subject.tag())).await };
        let (answer, asked) = in_a_task(asking).await;
        answer?;
        Ok(UserLease::new(watch, asked))
    }

    /// Ends the user's session with that handle. False when the user has no such live session.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`].
    pub async fn revoke(&self, user: &UserId, handle: Handle) -> Result<bool, SessionError> {
        let alive = self.inner.alive(user).await?;
        let Some((id, _)) = alive.iter().find(|(id, _)| id.handle() == handle) else {
            return Ok(false);
        };
        Ok(self.inner.store.destroy(id, self.inner.at()).await? == Found::Alive)
    }

    /// Ends all of the user's sessions, also those being created concurrently.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`].
    pub async fn revoke_all(&self, user: &UserId) -> Result<(), SessionError> {
        let (tag, remember) = (self.inner.tag(user), self.inner.lifetime());
        self.inner.store.revoke_all(&tag, None, remember, self.inner.at()).await?;
        Ok(())
    }

    /// Whether the store answers.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`].
    pub async fn ping(&self) -> Result<(), SessionError> {
        Ok(self.inner.store.ping().await?)
    }

    /// Counters of the near-cache since the start; all zero without a near-cache.
    pub fn cache_stats(&self) -> CacheStats {
        self.inner.store.cache.as_ref().map(|cache| cache.stats()).unwrap_or_default()
    }

    /// How far the near-cache may lag behind the store: the time since its feed was last known to
    /// be complete. At most a heartbeat when all is well. Beyond
    /// [`MAX_STALENESS`](crate::MAX_STALENESS) the near-cache is not used. `None` without a
    /// near-cache.
    pub fn cache_staleness(&self) -> Option<Duration> {
        self.inner.store.cache.as_ref().map(|cache| cache.staleness())
    }

    /// The session a request presents. Never fails: an error of the store is kept in the session
    /// and returned by its methods. Use it where there is no [`SessionLayer`](crate::SessionLayer);
    /// [`Session::finish`] then writes the changes:
    ///
    /// ```
    /// # use tracera_session::*;
    /// # async fn handle(session: &Session) -> Result<(), SessionError> { session.set("n", &1) }
    /// async fn serve(sessions: &Sessions, request: http::Request<()>) -> http::Response<String> {
    ///     let session = sessions.open(request.headers()).await;
    ///     let handled = handle(&session).await;
    ///     let finished = session.finish().await;
    ///     let mut response = match handled.and(finished.written) {
    ///         Ok(()) => http::Response::new("done".to_owned()),
    ///         Err(error) => {
    ///             let mut response = http::Response::new(error.to_string());
    ///             *response.status_mut() = error.status_and_code().0;
    ///             response
    ///         }
    ///     };
    ///     if let Some(cookie) = finished.set_cookie {
    ///         response.headers_mut().append("set-cookie", cookie);
    ///         response.headers_mut().insert("cache-control", "no-store".parse().unwrap());
    ///     }
    ///     response
    /// }
    /// ```
    pub async fn open(&self, headers: &HeaderMap) -> Session {
        match self.opening(headers) {
            Opening::Known(session) => session,
            Opening::Asked(session) => session.await,
        }
    }

    /// [`Sessions::open`], without a future when no read is needed.
    pub(crate) fn opening(&self, headers: &HeaderMap) -> Opening {
        self.opening_by(headers, Fetch::Shared)
    }

    /// The same for a read ahead, whose opening may stay unpolled for a while.
    pub(crate) fn opening_ahead(&self, headers: &HeaderMap) -> Opening {
        self.opening_by(headers, Fetch::Own)
    }

    fn opening_by(&self, headers: &HeaderMap, fetch: Fetch) -> Opening {
        let inner = &self.inner;
        let in_cookies = cookie::values(headers, inner.cookie.name()).map(|value| (value, false));
        let header = inner.config.token_header.as_ref();
        let in_headers = header.into_iter().flat_map(|name| cookie::header_values(headers, name));
        let (mut has_cookie, mut has_header) = (false, false);
        let mut genuine = in_cookies
            .chain(in_headers.map(|value| (value, true)))
            .inspect(|(_, from_header)| {
                has_cookie |= !from_header;
                has_header |= from_header;
            })
            .filter_map(|(value, from_header)| Some((Genuine::of(inner, value)?, from_header)));
        let (state, from_header) = match (genuine.next(), genuine.next()) {
            (None, _) if has_cookie || has_header => (State::not_ours(), !has_cookie),
            (None, _) => (State::nothing(), false),
            // A sibling host may have planted the cookie.
            (Some(_), Some(_)) => (State::ended(Ended::NotOurs), false),
            (Some((Genuine { value, id, key, cached }, from_header)), None) => match cached {
                Some(snapshot) => {
                    let cookie = || CookieValue::read(value);
                    let device = shown_device(inner, headers);
                    (admit(inner, id, snapshot, cookie, device), from_header)
                }
                None => {
                    let cookie = *value.first_chunk().expect("a genuine cookie has its length");
                    let device = shown_device(inner, headers).map(<[u8]>::to_vec);
                    let loading = Loading { id, key, cookie, device, from_header, fetch };
                    return Opening::Asked(Box::pin(load(inner.clone(), loading)));
                }
            },
        };
        Opening::Known(Session::new(inner.clone(), state.presented_in_header(from_header)))
    }
}

/// A token that a secret of the ring signed.
struct Genuine<'a> {
    value: &'a [u8],
    id: SessionId,
    key: Option<CacheKey>,
    /// The session, where the near-cache has it.
    cached: Option<Snapshot>,
}

impl<'a> Genuine<'a> {
    fn of(inner: &Inner, value: &'a [u8]) -> Option<Self> {
        let key = inner.store.cache.as_ref().and_then(|_| CacheKey::of(value));
        let (id, cached) = match key.and_then(|key| inner.cached(&key)) {
            Some((id, snapshot)) => (id, Some(snapshot)),
            None => (token::open(&inner.keys, value)?, None),
        };
        Some(Self { value, id, key, cached })
    }
}

/// Admits a live session if the request proves its device.
fn admit(
    inner: &Arc<Inner>,
    id: SessionId,
    snapshot: Snapshot,
    cookie: impl FnOnce() -> Option<CookieValue>,
    device: Option<&[u8]>,
) -> State {
    #[cfg(feature = "device-binding")]
    let standing = device::standing(inner, &snapshot, device);
    #[cfg(not(feature = "device-binding"))]
    let _ = device;
    let live = State::live(Live::presented(id, snapshot, cookie, inner));
    #[cfg(feature = "device-binding")]
    let live = match standing {
        Standing::Unbound | Standing::Proved => live,
        Standing::Shown(bound) => {
            let (name, change) = bound.written();
            live.with_change(name, change)
        }
        Standing::Missing => State::unproved(),
    };
    live
}

#[cfg(feature = "device-binding")]
fn shown_device<'a>(inner: &Inner, headers: &'a HeaderMap) -> Option<&'a [u8]> {
    inner.config.device.as_ref().and_then(|_| device::shown(headers))
}

#[cfg(not(feature = "device-binding"))]
fn shown_device<'a>(_: &Inner, _: &'a HeaderMap) -> Option<&'a [u8]> {
    None
}

/// The contents of a genuine token, before the store is asked.
struct Loading {
    id: SessionId,
    key: Option<CacheKey>,
    cookie: [u8; COOKIE_CHARS],
    device: Option<Vec<u8>>,
    from_header: bool,
    fetch: Fetch,
}

async fn load(inner: Arc<Inner>, loading: Loading) -> Session {
    let Loading { id, key, cookie, device, from_header, fetch } = loading;
    let state = match inner.fetch(&id, key, fetch).await {
        Ok(Ok(snapshot)) => {
            admit(&inner, id, snapshot, || CookieValue::read(&cookie), device.as_deref())
        }
        Ok(Err(ended)) => State::found_ended(id, ended),
        Err(error) => match &*error {
            StoreError::Corrupt(what) => {
                tracing::warn!(session = %id.handle(), what = &**what, "undecodable session");
                State::ended(Ended::Undecodable)
            }
            StoreError::Unavailable(_) => {
                let error_chain = &*error as &dyn std::error::Error;
                tracing::warn!(error = error_chain, "cannot load a session");
                State::unavailable(error)
            }
        },
    };
    Session::new(inner, state.presented_in_header(from_header))
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("keys", &self.inner.keys)
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}
