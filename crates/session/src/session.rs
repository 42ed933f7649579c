//! The session of a request, for its handlers.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Extensions, HeaderValue};

use crate::ended::Ended;
use crate::error::SessionError;
use crate::info::SessionInfo;
use crate::inner::Inner;
use crate::record::envelope;
use crate::session_watch::SessionWatch;
#[cfg(feature = "device-binding")]
use crate::store::FieldReply;
use crate::store::{FieldName, FieldOp, SessionStore};
#[cfg(feature = "device-binding")]
use crate::token::Handle;
use crate::token::{SessionId, UserId};

mod data;
pub(crate) mod sign_in;
mod state;

use state::{CookieChange, Current, ResponsePhase};
pub(crate) use state::{Live, State};

/// The number of rotations within [`FORWARD`](crate::store::FORWARD) that a request in flight
/// follows.
const MAX_ROTATIONS: usize = 16;

/// The session of one request. An extractor; clones are the same session.
///
/// Changes by [`set`](Self::set) and [`remove`](Self::remove) are buffered until the response is
/// ready. Then these fields alone are written, in one atomic step. The other operations write when
/// called.
///
/// ```
/// use tracera_session::{Session, SessionError};
///
/// async fn visit(session: Session) -> Result<String, SessionError> {
///     let last: Option<String> = session.get("page").await?;
///     session.set("page", "home")?; // written with the response
///     let visits = session.increment("visits", 1).await?; // written now
///     Ok(format!("visit {visits}, before that {last:?}"))
/// }
/// ```
#[derive(Clone)]
pub struct Session {
    shared: Arc<Shared>,
}

struct Shared {
    inner: Arc<Inner>,
    state: Mutex<State>,
    /// Held while the session begins, changes its id or ends, because handlers may run such
    /// operations concurrently.
    identity: tokio::sync::Mutex<()>,
}

/// The result of [`Session::finish`].
///
/// ```
/// use http::{HeaderMap, Response, header};
/// use tracera_session::{SessionError, Sessions};
///
/// type Answer = Result<Response<()>, SessionError>;
///
/// async fn handle(sessions: &Sessions, headers: &HeaderMap) -> Answer {
///     let session = sessions.open(headers).await;
///     session.set("seen", &true)?;
///     let finished = session.finish().await;
///     finished.written?;
///     let mut response = Response::new(());
///     if let Some(cookie) = finished.set_cookie {
///         response.headers_mut().insert(header::SET_COOKIE, cookie);
///     }
///     Ok(response)
/// }
/// ```
#[derive(Debug)]
#[must_use = "the cookie goes into the response, and an error in its place"]
pub struct Finished {
    /// Whether the changes were written. An error is the answer to the request. Losing a race
    /// against a sign-out is no error.
    pub written: Result<(), SessionError>,
    /// The value of `Set-Cookie`, for the response or for the error in its place. A response that
    /// carries it must not be cached: send `Cache-Control: no-store`.
    pub set_cookie: Option<HeaderValue>,
}

/// Changes to be written with the response.
pub(crate) struct Unwritten {
    changes: Vec<(FieldName, FieldOp)>,
    touch: bool,
}

impl Session {
    pub(crate) fn new(inner: Arc<Inner>, state: State) -> Self {
        let identity = tokio::sync::Mutex::default();
        Self { shared: Arc::new(Shared { inner, state: Mutex::new(state), identity }) }
    }

    /// Whether it was opened by the [`Sessions`](crate::Sessions) with this `inner`.
    pub(crate) fn is_of(&self, inner: &Arc<Inner>) -> bool {
        Arc::ptr_eq(self.inner(), inner)
    }

    fn inner(&self) -> &Arc<Inner> {
        &self.shared.inner
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session that [`SessionLayer`](crate::SessionLayer) has put into a request, for code
    /// without extractors.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`] when the store could not be asked for it,
    /// [`SessionError::NoLayer`].
    pub fn of(request: &Extensions) -> Result<Self, SessionError> {
        let session = request.get::<Self>().ok_or(SessionError::NoLayer)?;
        session.available()?;
        Ok(session.clone())
    }

    /// The user who is signed in.
    ///
    /// # Errors
    /// [`SessionError::Unauthenticated`] when nobody is, [`SessionError::Unavailable`] when that is
    /// not known.
    pub fn user(&self) -> Result<UserId, SessionError> {
        self.state().as_live()?.snapshot.user().ok_or(SessionError::Unauthenticated)
    }

    /// Fails as [`Session::user`] does, without copying the user.
    pub(crate) fn require_user(&self) -> Result<(), SessionError> {
        let state = self.state();
        state.as_live()?.snapshot.is_signed_in().then_some(()).ok_or(SessionError::Unauthenticated)
    }

    /// Fails when the store could not be asked for the session.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`].
    pub fn available(&self) -> Result<(), SessionError> {
        match &self.state().current {
            Current::Unavailable(error) => Err(SessionError::Unavailable(error.clone())),
            _ => Ok(()),
        }
    }

    /// Why the presented session is not alive. `None` when it is, when none was presented, or when
    /// that is not known.
    pub fn ended(&self) -> Option<Ended> {
        match self.state().current {
            Current::Ended(why) => Some(why),
            Current::Lost => Some(Ended::Absent),
            _ => None,
        }
    }

    /// The live session as its user sees it; `None` when there is none.
    pub fn info(&self) -> Option<SessionInfo> {
        self.state().as_live().ok().map(|live| SessionInfo::new(&live.id, live.snapshot.record()))
    }

    /// Bytes unique to this session. They change with every new id. `None` without a live session.
    /// For CSRF tokens see [`Session::csrf_binding`].
    pub fn binding(&self) -> Option<[u8; 16]> {
        self.state().as_live().ok().map(|live| live.id.field)
    }

    /// The token of a session that this request began or gave a new id, for a client without
    /// cookies: see [`SessionConfig::token_header`](crate::SessionConfig::token_header). A secret;
    /// `None` for every other session.
    pub fn bearer_token(&self) -> Option<String> {
        let state = self.state();
        match (&state.cookie, &state.current) {
            (Some(CookieChange::Set), Current::Live(Live { cookie: Some(cookie), .. })) => {
                Some(cookie.0.to_string())
            }
            _ => None,
        }
    }

    /// Whether the request presented its token in a header, which no browser does by itself.
    pub fn is_from_header(&self) -> bool {
        self.state().from_header
    }

    /// The value that the CSRF tokens of a request are bound to: the signed-in user's session, else
    /// nothing. Bind a visitor's tokens to a separate cookie. A visitor's session begins with the
    /// first stored value, when the open page already holds a token.
    ///
    /// `tracera_guard::CsrfGuard` takes this function:
    ///
    /// ```
    /// use tracera_guard::CsrfGuard;
    /// use tracera_session::{KeyRing, Session};
    ///
    /// # fn main() -> Result<(), tracera_session::KeyError> {
    /// let keys = KeyRing::new(b"at least 32 bytes from a secret store")?;
    /// let csrf = CsrfGuard::new(keys.derive("csrf"), Session::csrf_binding);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SessionError::Unavailable`] when the store could not be asked for the session,
    /// [`SessionError::NoLayer`].
    pub fn csrf_binding(request: &Extensions) -> Result<Option<[u8; 16]>, SessionError> {
        let session = request.get::<Self>().ok_or(SessionError::NoLayer)?;
        match session.state().as_live() {
            Ok(live) => Ok(live.snapshot.is_signed_in().then_some(live.id.field)),
            Err(SessionError::Unauthenticated | SessionError::DeviceProofMissing) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks the store, past the near-cache, whether the session is still alive. Call it before an
    /// action that cannot be undone: a request admitted by the near-cache may be up to
    /// [`MAX_STALENESS`](crate::MAX_STALENESS) behind a sign-out elsewhere. Operations that write
    /// to the session need no such call, since they act only on a live session. A session that was
    /// rotated meanwhile is alive.
    ///
    /// # Errors
    /// [`SessionError::Unauthenticated`] when it is not, [`SessionError::Unavailable`].
    pub async fn verify(&self) -> Result<(), SessionError> {
        let id = self.state().as_live()?.id;
        let sessions = self.inner();
        let (current, stored) = self.read_current(id, &sessions.config.preload).await?;
        let outcome = sessions.judge(&current, stored);
        let mut state = self.state();
        match (&mut state.current, outcome) {
            // Another part of this request changed the id meanwhile. The store allows that only for
            // a live session.
            (Current::Live(live), _) if live.id != id => Ok(()),
            (Current::Live(live), Ok(snapshot)) => {
                // Values that belong to another request's new id, such as a fresh authentication,
                // do not apply to this request.
                if current == id {
                    live.refresh(snapshot);
                }
                Ok(())
            }
            (_, outcome) => {
                let why = outcome.err().filter(|_| current == id).unwrap_or(Ended::Rotated);
                state.die(&id, why);
                Err(SessionError::Unauthenticated)
            }
        }
    }

    /// Records that the store found the session dead during the request. The cookie is cleared only
    /// if the browser certainly has no newer one.
    async fn die(&self, id: &SessionId) {
        let sessions = self.inner();
        let why = match sessions.store.load(id, &[]).await {
            Ok(Some(stored)) if envelope::forward(&stored.record).is_some() => Ended::Rotated,
            Ok(stored) => sessions.judge(id, stored).err().unwrap_or(Ended::Rotated),
            Err(_) => Ended::Rotated,
        };
        self.state().die(id, why);
    }

    /// A watch that resolves when this session ends, also after the response has begun.
    ///
    /// # Errors
    /// [`SessionError::Unauthenticated`] when there is no live session,
    /// [`SessionError::Unavailable`] when that is not known.
    pub fn watch(&self) -> Result<SessionWatch, SessionError> {
        let id = self.state().as_live()?.id;
        Ok(SessionWatch::new(self.inner().clone(), id))
    }

    /// Requires that the user authenticated at most `within` ago, according to the store.
    ///
    /// # Errors
    /// [`SessionError::NotFresh`] when it was longer ago, else as [`Session::user`] and
    /// [`Session::verify`].
    pub async fn require_fresh(&self, within: Duration) -> Result<(), SessionError> {
        self.user()?;
        self.verify().await?;
        let proved = self.state().as_live()?.snapshot.record().authentication.map(|proof| proof.at);
        match proved {
            Some(at) if self.inner().now().since(at) <= within => Ok(()),
            _ => Err(SessionError::NotFresh),
        }
    }

    /// Takes the changes to be written with the response; `None` for most requests.
    pub(crate) fn unwritten(&self) -> Option<Unwritten> {
        let mut state = self.state();
        let live = state.as_live().ok();
        let (touch, has_session) = (live.is_some_and(|live| live.touch_is_due), live.is_some());
        let stores_something =
            || state.changes.iter().any(|(_, change)| *change != FieldOp::Remove);
        let needed = touch || stores_something() || (has_session && !state.changes.is_empty());
        state.response = if needed { ResponsePhase::Writing } else { ResponsePhase::Begun };
        needed.then(|| Unwritten { changes: std::mem::take(&mut state.changes), touch })
    }

    /// Writes the changes. Losing a race is no error.
    pub(crate) async fn write_back(self, unwritten: Unwritten) -> Result<(), SessionError> {
        let written = self.write(unwritten.changes, unwritten.touch).await;
        self.state().response = ResponsePhase::Begun;
        match written {
            Ok(_) | Err(SessionError::Unauthenticated) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes the changes and returns the cookie to send. It completes
    /// [`Sessions::open`](crate::Sessions::open), for frameworks without a
    /// [`SessionLayer`](crate::SessionLayer).
    pub async fn finish(&self) -> Finished {
        let written = match self.unwritten() {
            Some(unwritten) => self.clone().write_back(unwritten).await,
            None => Ok(()),
        };
        Finished { written, set_cookie: self.cookie_header() }
    }

    /// The header in the answer to a sign-in that offers to bind the session to a device.
    #[cfg(feature = "device-binding")]
    pub(crate) fn device_offer(&self) -> Option<HeaderValue> {
        let inner = self.inner();
        inner.config.device.as_ref()?;
        let state = self.state();
        let live = state.as_live().ok().filter(|_| state.offers_device && !state.from_header)?;
        Some(crate::device::offer(&inner.keys, live.id.handle(), inner.now()))
    }

    /// Writes two reserved fields in one step; true when the first was absent.
    #[cfg(feature = "device-binding")]
    pub(crate) async fn set_together(
        &self,
        first: (FieldName, FieldOp),
        second: (FieldName, FieldOp),
    ) -> Result<bool, SessionError> {
        let answers = self.write(vec![first, second], false).await?;
        Ok(answers.first() == Some(&FieldReply::WasAbsent(true)))
    }

    /// The public name of a live session.
    #[cfg(feature = "device-binding")]
    pub(crate) fn handle(&self) -> Result<Handle, SessionError> {
        Ok(self.state().as_live()?.id.handle())
    }

    /// Whether a browser whose session cookie is cleared forgets the device cookie, too.
    #[cfg(feature = "device-binding")]
    pub(crate) fn forgets_device(&self) -> bool {
        self.inner().config.device.is_some() && !matches!(self.state().current, Current::Live(_))
    }

    /// The `Set-Cookie` header of the response, if the cookie changes.
    pub(crate) fn cookie_header(&self) -> Option<HeaderValue> {
        let (config, writer) = (&self.inner().config, &self.inner().cookie);
        let state = self.state();
        if state.from_header {
            return None;
        }
        match (&state.cookie, &state.current) {
            (None, _) => None,
            (
                Some(CookieChange::Set),
                Current::Live(Live { snapshot, cookie: Some(cookie), .. }),
            ) => {
                let until = snapshot.deadline(config.idle);
                let lasts = !snapshot.persistence().until_browser_closes;
                Some(writer.set(cookie, self.inner().now(), lasts.then_some(until)))
            }
            (Some(_), _) => Some(writer.clear()),
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state().current {
            Current::Nothing => f.write_str("Session(none)"),
            Current::Live(live) => {
                write!(f, "Session({}, {:?})", live.id.handle(), live.snapshot.user())
            }
            Current::Ended(why) => write!(f, "Session({why:?})"),
            Current::Lost => f.write_str("Session(lost)"),
            #[cfg(feature = "device-binding")]
            Current::Unproved => f.write_str("Session(unproved)"),
            Current::Unavailable(_) => f.write_str("Session(unavailable)"),
        }
    }
}
