//! A request's session, as its handlers use it.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cookie;
use crate::error::SessionError;
use crate::guard::SessionGuard;
use crate::record::{Authentication, Epoch, Record, successor};
use crate::sessions::{SessionInfo, Sessions, info};
use crate::snapshot::Snapshot;
use crate::store::{
    Change, Changed, Committed, Created, FieldName, Found, NewSession, Rotated, Rotation, SessionStore,
    StoreError,
};
use crate::token::{CookieValue, NewToken, SessionId, Tag, UserId};

/// How many rotations of one session within [`FORWARD`](crate::FORWARD) a request in flight keeps up with.
const MAX_ROTATIONS: usize = 16;

/// The session of one request. An extractor; clones are the same session.
///
/// [`set`](Self::set) and [`remove`](Self::remove) are kept until the response is ready and then written together, only
/// these fields, in one atomic step. The other operations are written when called.
#[derive(Clone)]
pub struct Session(Arc<Shared>);

struct Shared {
    sessions: Sessions,
    state: Mutex<State>,
}

/// What became of the session a request presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The cookie is forged, damaged, signed with a retired secret, or there are several. The store was not asked.
    NotOurs,
    /// The store knows no such session: signed out, revoked, or expired some time ago.
    Absent,
    /// The id was rotated; the browser that did so has the new one.
    Rotated,
    /// A deadline has passed.
    Expired,
    /// The user signed out everywhere.
    Revoked,
    /// The record cannot be read by this version. It is left as it is.
    Undecodable,
}

pub(crate) struct State {
    current: Current,
    changes: Vec<(FieldName, Change)>,
    cookie: Option<CookieChange>,
    /// The id presented, if it was one rotated a moment ago: good for nothing but ending its successor.
    rotated: Option<SessionId>,
}

enum Current {
    Nothing,
    Live(Live),
    /// Dead on arrival. What the visitor stores from here on begins a new, anonymous session.
    Ended(Ended),
    /// Died under this request, which therefore writes nothing more.
    Lost,
    Unavailable(Arc<StoreError>),
}

enum CookieChange {
    Set,
    Clear,
}

/// What a request knows of a data field.
#[derive(Clone)]
enum Known {
    /// Its value, or that it is absent.
    As(Option<Vec<u8>>),
    Not,
}

pub(crate) struct Live {
    id: SessionId,
    snapshot: Snapshot,
    /// Data fields learned, changed or made uncertain after the snapshot.
    values: Vec<(FieldName, Known)>,
    /// Only where it may have to be sent.
    cookie: Option<CookieValue>,
    touch_is_due: bool,
}

impl Live {
    pub(crate) fn presented(id: SessionId, snapshot: Snapshot, cookie: &str, sessions: &Sessions) -> Self {
        let touch_after = sessions.0.config.touch_after();
        let touch_is_due =
            touch_after.is_some_and(|after| sessions.now().since(snapshot.last_seen()) >= after);
        let cookie = touch_is_due.then(|| CookieValue(cookie.into()));
        Self { id, snapshot, values: Vec::new(), cookie, touch_is_due }
    }

    fn minted(token: NewToken, snapshot: Snapshot) -> Self {
        Self { id: token.id, snapshot, values: Vec::new(), cookie: Some(token.cookie), touch_is_due: false }
    }

    /// What is known of a data field.
    fn value(&self, name: &FieldName, preload: &[FieldName]) -> Known {
        if let Some((_, value)) = self.values.iter().find(|(known, _)| known == name) {
            return value.clone();
        }
        let preloaded = preload.iter().position(|known| known == name);
        match preloaded.and_then(|at| self.snapshot.values().nth(at)) {
            Some(value) => Known::As(value.map(<[u8]>::to_vec)),
            None => Known::Not,
        }
    }

    fn learn(&mut self, name: FieldName, value: Known) {
        self.values.retain(|(known, _)| *known != name);
        self.values.push((name, value));
    }
}

/// A sign-in: who, and what the user's list of sessions will show of it.
#[derive(Debug, Clone)]
pub struct SignIn {
    user: UserId,
    method: Box<str>,
    client: Box<str>,
    address: Option<IpAddr>,
    epoch: Option<Epoch>,
}

impl SignIn {
    /// `user` proved who they are by `method`, a short word of the application's such as `email`.
    pub fn new(user: UserId, method: &str) -> Self {
        Self { user, method: method.into(), client: "".into(), address: None, epoch: None }
    }

    /// The client in a few words, such as `Firefox|Linux`. Shortened to what fits a record of 64 bytes.
    #[must_use]
    pub fn client(mut self, client: &str) -> Self {
        self.client = client.into();
        self
    }

    /// The client's address. Of IPv6 the first 64 bits are kept.
    #[must_use]
    pub fn address(mut self, address: IpAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// The user's epoch where the sign-in began, from [`Sessions::epoch`]. Default: read when signing in.
    #[must_use]
    pub fn epoch(mut self, epoch: Epoch) -> Self {
        self.epoch = Some(epoch);
        self
    }
}

impl State {
    fn new(current: Current, cookie: Option<CookieChange>) -> Self {
        Self { current, changes: Vec::new(), cookie, rotated: None }
    }

    pub(crate) fn nothing() -> Self {
        Self::new(Current::Nothing, None)
    }

    pub(crate) fn live(live: Live) -> Self {
        Self::new(Current::Live(live), None)
    }

    /// The cookie is cleared, unless another request's newer cookie or another version's session could be hit.
    pub(crate) fn ended(why: Ended) -> Self {
        let keep = matches!(why, Ended::Rotated | Ended::Undecodable);
        Self::new(Current::Ended(why), (!keep).then_some(CookieChange::Clear))
    }

    /// [`State::ended`] for a session that was looked for under `id`.
    pub(crate) fn found_ended(id: SessionId, why: Ended) -> Self {
        Self { rotated: (why == Ended::Rotated).then_some(id), ..Self::ended(why) }
    }

    /// The session that a sign-out or another sign-in ends.
    fn to_be_ended(&self) -> Option<SessionId> {
        self.as_live().ok().map(|live| live.id).or(self.rotated)
    }

    pub(crate) fn unavailable(error: Arc<StoreError>) -> Self {
        Self::new(Current::Unavailable(error), None)
    }

    fn as_live(&self) -> Result<&Live, SessionError> {
        match &self.current {
            Current::Live(live) => Ok(live),
            Current::Unavailable(error) => Err(SessionError::Unavailable(error.clone())),
            Current::Nothing | Current::Ended(_) | Current::Lost => Err(SessionError::Unauthenticated),
        }
    }

    /// The session was found dead in the middle of the request.
    fn die(&mut self) {
        let clear = self.as_live().is_ok_and(|live| live.snapshot.is_signed_in());
        *self = Self::new(Current::Lost, clear.then_some(CookieChange::Clear));
    }
}

impl Session {
    pub(crate) fn new(sessions: Sessions, state: State) -> Self {
        Self(Arc::new(Shared { sessions, state: Mutex::new(state) }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The user who is signed in.
    ///
    /// # Errors
    /// [`SessionError::Unauthenticated`] when nobody is, [`SessionError::Unavailable`] when that is not known.
    pub fn user(&self) -> Result<UserId, SessionError> {
        self.state().as_live()?.snapshot.user().ok_or(SessionError::Unauthenticated)
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

    /// Why the presented session is none; `None` when it lives, none was presented, or it is not known.
    pub fn ended(&self) -> Option<Ended> {
        match self.state().current {
            Current::Ended(why) => Some(why),
            Current::Lost => Some(Ended::Absent),
            _ => None,
        }
    }

    /// The live session as its user sees it; `None` when there is none.
    pub fn info(&self) -> Option<SessionInfo> {
        self.state().as_live().ok().map(|live| info(&live.id, live.snapshot.record()))
    }

    /// Bytes that belong to this session alone, to bind CSRF tokens to. They change with every new id.
    pub fn binding(&self) -> Option<[u8; 16]> {
        self.state().as_live().ok().map(|live| live.id.field)
    }

    /// Asks the store itself, past the near-cache, whether the session still lives. For what cannot be undone: a request
    /// let in by the near-cache may be up to [`MAX_STALENESS`](crate::MAX_STALENESS) behind a sign-out elsewhere. The
    /// operations that write to the session need no call before them, since they act only on one that lives.
    ///
    /// # Errors
    /// [`SessionError::Unauthenticated`] when it does not, [`SessionError::Unavailable`].
    pub async fn verify(&self) -> Result<(), SessionError> {
        let id = self.state().as_live()?.id;
        let outcome = self.0.sessions.read(&id).await?;
        let mut state = self.state();
        match (&mut state.current, outcome) {
            (Current::Live(live), Ok(snapshot)) if live.id == id => {
                live.snapshot = snapshot;
                live.values.clear();
                Ok(())
            }
            // Another part of the same request changed the id meanwhile, which it did with the store's consent.
            (Current::Live(live), _) if live.id != id => Ok(()),
            _ => {
                state.die();
                Err(SessionError::Unauthenticated)
            }
        }
    }

    /// Something to wait with for the end of this session, also after the response has begun.
    ///
    /// # Errors
    /// [`SessionError::Unauthenticated`] when there is no live session, [`SessionError::Unavailable`] when that is not
    /// known.
    pub fn guard(&self) -> Result<SessionGuard, SessionError> {
        let id = self.state().as_live()?.id;
        Ok(SessionGuard::new(self.0.sessions.clone(), id))
    }

    /// Demands that the user proved who they are at most `within` ago, as the store itself has it.
    ///
    /// # Errors
    /// [`SessionError::NotFresh`] when it was longer ago, else as [`Session::user`] and [`Session::verify`].
    pub async fn require_fresh(&self, within: Duration) -> Result<(), SessionError> {
        self.user()?;
        self.verify().await?;
        let proved = self.state().as_live()?.snapshot.record().authentication.map(|proof| proof.at);
        match proved {
            Some(at) if self.0.sessions.now().since(at) <= within => Ok(()),
            _ => Err(SessionError::NotFresh),
        }
    }

    /// Reads a data field: what this request set, what was preloaded, or else from the store in one round trip.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`]; [`SessionError::Unauthenticated`] when the session died meanwhile;
    /// [`SessionError::Value`] when the stored value is no `T`.
    pub async fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, SessionError> {
        let name = FieldName::new(name)?;
        let bytes = match self.known(&name)? {
            Known::As(value) => value,
            Known::Not => self.fetch(&name).await?,
        };
        bytes.map(|bytes| serde_json::from_slice(&bytes)).transpose().map_err(value_error)
    }

    /// What is known of a field without asking the store.
    fn known(&self, name: &FieldName) -> Result<Known, SessionError> {
        let state = self.state();
        for (changed, change) in state.changes.iter().rev() {
            if changed == name {
                return Ok(Known::As(match change {
                    Change::Set(value) => Some(value.clone()),
                    _ => None,
                }));
            }
        }
        match &state.current {
            Current::Unavailable(error) => Err(SessionError::Unavailable(error.clone())),
            Current::Nothing | Current::Ended(_) | Current::Lost => Ok(Known::As(None)),
            Current::Live(live) => Ok(live.value(name, &self.0.sessions.0.config.preload)),
        }
    }

    async fn fetch(&self, name: &FieldName) -> Result<Option<Vec<u8>>, SessionError> {
        let mut id = self.state().as_live()?.id;
        let store = &self.0.sessions.0.store;
        // This request was let in before its id was rotated, so it may go on reading.
        let mut hops = 0..=MAX_ROTATIONS;
        let value = loop {
            let stored = store.load(&id, std::slice::from_ref(name)).await?;
            let stored = stored.ok_or(SessionError::Unauthenticated)?;
            match successor(&stored.record) {
                Some(field) if hops.next().is_some() => id.field = field,
                Some(_) => return Err(SessionError::Unauthenticated),
                None => break stored.values.into_iter().next().flatten(),
            }
        };
        if let Current::Live(live) = &mut self.state().current {
            live.learn(name.clone(), Known::As(value.clone()));
        }
        Ok(value)
    }

    /// Sets a data field when the response is ready. Without a session one is begun for the visitor.
    ///
    /// # Errors
    /// [`SessionError::Value`] when `value` cannot be written as JSON, [`SessionError::FieldName`].
    pub fn set<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<(), SessionError> {
        let value = serde_json::to_vec(value).map_err(value_error)?;
        self.buffer(name, Change::Set(value))
    }

    /// Removes a data field when the response is ready.
    ///
    /// # Errors
    /// [`SessionError::FieldName`].
    pub fn remove(&self, name: &str) -> Result<(), SessionError> {
        self.buffer(name, Change::Remove)
    }

    fn buffer(&self, name: &str, change: Change) -> Result<(), SessionError> {
        let name = FieldName::new(name)?;
        let mut state = self.state();
        state.changes.retain(|(changed, _)| *changed != name);
        state.changes.push((name, change));
        Ok(())
    }

    /// Adds to a whole number, absent counting as 0, and returns the sum. Atomic over all requests.
    ///
    /// # Errors
    /// [`SessionError::Value`] when the field holds no whole number or the sum is beyond ±(2^53 - 1), else as [`Session::commit`].
    pub async fn increment(&self, name: &str, by: i64) -> Result<i64, SessionError> {
        match self.apply(name, Change::Increment(by)).await? {
            Changed::Number(sum) => Ok(sum),
            other => Err(value_error(format!("unexpected answer {other:?}"))),
        }
    }

    /// Sets a data field if it is absent; true when it was. Atomic over all requests.
    ///
    /// # Errors
    /// As [`Session::set`] and [`Session::commit`].
    pub async fn set_if_absent<T: Serialize + ?Sized>(
        &self,
        name: &str,
        value: &T,
    ) -> Result<bool, SessionError> {
        let value = serde_json::to_vec(value).map_err(value_error)?;
        Ok(self.apply(name, Change::SetIfAbsent(value)).await? == Changed::WasAbsent(true))
    }

    /// Reads and removes a data field: of many requests only one gets it.
    ///
    /// # Errors
    /// As [`Session::get`] and [`Session::commit`].
    pub async fn take<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, SessionError> {
        match self.apply(name, Change::Take).await? {
            Changed::Taken(bytes) => {
                bytes.map(|bytes| serde_json::from_slice(&bytes)).transpose().map_err(value_error)
            }
            other => Err(value_error(format!("unexpected answer {other:?}"))),
        }
    }

    /// Writes what is buffered and then one atomic change, in one step. What is buffered stays so until it is written:
    /// a handler may give up on the change, or its client may go.
    async fn apply(&self, name: &str, change: Change) -> Result<Changed, SessionError> {
        let name = FieldName::new(name)?;
        if let Current::Live(live) = &mut self.state().current {
            live.learn(name.clone(), Known::Not);
        }
        let mut changes = self.state().changes.clone();
        changes.push((name, change));
        let mut answers = self.write(changes, false).await?;
        answers.pop().ok_or(SessionError::Unauthenticated)
    }

    /// Writes what [`set`](Self::set) and [`remove`](Self::remove) have kept, now rather than with the response.
    ///
    /// # Errors
    /// [`SessionError::Unauthenticated`] when the session died meanwhile, [`SessionError::OverBudget`] when it would
    /// hold too much, [`SessionError::Unavailable`]. In each case none of the changes was made.
    pub async fn commit(&self) -> Result<(), SessionError> {
        let changes = self.state().changes.clone();
        if !changes.is_empty() {
            let outcome = self.write(changes.clone(), false).await;
            self.state().changes.retain(|change| !changes.contains(change));
            outcome?;
        }
        Ok(())
    }

    async fn write(
        &self,
        changes: Vec<(FieldName, Change)>,
        touch: bool,
    ) -> Result<Vec<Changed>, SessionError> {
        let sessions = &self.0.sessions;
        let inner = &sessions.0;
        let present = match &self.state().current {
            Current::Live(live) => Some(live.id),
            Current::Unavailable(error) => return Err(SessionError::Unavailable(error.clone())),
            Current::Lost => return Err(SessionError::Unauthenticated),
            Current::Ended(_) | Current::Nothing => None,
        };
        let id = match present {
            Some(id) => id,
            None => self.begin_visit().await?,
        };
        let touch_after = inner.config.touch_after().filter(|_| touch);
        match inner.store.commit(&id, &changes, touch_after, inner.config.budget, sessions.at()).await? {
            Committed::Done { answers, forwarded } => {
                self.remember(changes, touch && !forwarded);
                Ok(answers)
            }
            Committed::Gone => {
                self.state().die();
                Err(SessionError::Unauthenticated)
            }
            Committed::OverBudget => Err(SessionError::OverBudget),
            Committed::NotANumber => Err(value_error("not a whole number within ±(2^53 - 1)")),
        }
    }

    /// Own writes are seen by later reads of the same request.
    fn remember(&self, changes: Vec<(FieldName, Change)>, renew_cookie: bool) {
        let now = self.0.sessions.now();
        let mut state = self.state();
        state.changes.retain(|change| !changes.contains(change));
        if let Current::Live(live) = &mut state.current {
            for (name, change) in changes {
                let known = match change {
                    Change::Set(value) => Known::As(Some(value)),
                    Change::Remove | Change::Take => Known::As(None),
                    Change::Increment(_) | Change::SetIfAbsent(_) => Known::Not,
                };
                live.learn(name, known);
            }
            if renew_cookie {
                live.snapshot = live.snapshot.seen(now);
                state.cookie = Some(CookieChange::Set);
            }
        }
    }

    /// A session for a signed-out visitor who stores something.
    async fn begin_visit(&self) -> Result<SessionId, SessionError> {
        let token = NewToken::mint(&self.0.sessions.0.keys, Tag::random());
        let record = self.new_record(&token, Epoch::default(), None, "", None);
        self.create(token, None, record, None).await
    }

    /// Signs the user in: a new id, and the id presented before, if any, is dead. Data set earlier in this request goes
    /// into the new session; data of the old session does not.
    ///
    /// # Errors
    /// [`SessionError::Superseded`] when the user signed out everywhere meanwhile, [`SessionError::Unavailable`].
    pub async fn sign_in(&self, sign_in: SignIn) -> Result<(), SessionError> {
        self.available()?;
        let sessions = &self.0.sessions;
        let epoch = match sign_in.epoch {
            Some(epoch) => epoch,
            None => sessions.epoch(&sign_in.user).await?,
        };
        let tag = Tag::of_user(&sign_in.user);
        let old = self.state().to_be_ended();
        let replaces = match old {
            Some(id) if id.tag == tag => Some(id.field),
            Some(id) => {
                sessions.0.store.destroy(&id, sessions.at()).await?;
                None
            }
            None => None,
        };
        let proof = Authentication { at: sessions.now(), method: sign_in.method };
        let token = NewToken::mint(&sessions.0.keys, tag);
        let record = self.new_record(&token, epoch, Some(proof), &sign_in.client, sign_in.address);
        self.create(token, Some(sign_in.user), record, replaces).await?;
        Ok(())
    }

    fn new_record(
        &self,
        token: &NewToken,
        epoch: Epoch,
        authentication: Option<Authentication>,
        client: &str,
        address: Option<IpAddr>,
    ) -> Record {
        let now = self.0.sessions.now();
        Record {
            created: now,
            lifetime: self.0.sessions.lifetime(),
            last_seen: now,
            epoch,
            data_fields: 0,
            data_bytes: 0,
            key: token.key,
            authentication,
            client: client.into(),
            address,
        }
    }

    async fn create(
        &self,
        token: NewToken,
        user: Option<UserId>,
        record: Record,
        replaces: Option<[u8; 16]>,
    ) -> Result<SessionId, SessionError> {
        let inner = &self.0.sessions.0;
        let new = NewSession {
            id: token.id,
            user: user.as_ref(),
            record: record.encode(),
            epoch: record.epoch,
            replaces,
            max_sessions: inner.config.max_sessions,
        };
        match inner.store.create(&new, self.0.sessions.at()).await? {
            Created::Created => {}
            Created::Superseded => return Err(SessionError::Superseded),
            Created::Collision => return Err(value_error("two users share a tag")),
        }
        let id = token.id;
        let live = Live::minted(token, Snapshot::of(user.as_ref(), &record));
        let mut state = self.state();
        state.current = Current::Live(live);
        state.cookie = Some(CookieChange::Set);
        Ok(id)
    }

    /// Ends the session and clears the cookie. Without a live session only the cookie is cleared.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`]; the session may then still live.
    pub async fn sign_out(&self) -> Result<(), SessionError> {
        self.available()?;
        let id = self.state().to_be_ended();
        if let Some(id) = id {
            let sessions = &self.0.sessions;
            sessions.0.store.destroy(&id, sessions.at()).await?;
        }
        *self.state() = State::new(Current::Nothing, Some(CookieChange::Clear));
        Ok(())
    }

    /// Ends all other sessions of the signed-in user, also those being created at this moment.
    ///
    /// # Errors
    /// As [`Session::user`]; [`SessionError::Unauthenticated`] also when this session died meanwhile, and then no other
    /// was ended.
    pub async fn sign_out_others(&self) -> Result<(), SessionError> {
        self.user()?;
        let id = self.state().as_live()?.id;
        let sessions = &self.0.sessions;
        let done =
            sessions.0.store.revoke_all(&id.tag, Some(&id.field), sessions.lifetime(), sessions.at()).await?;
        if done == Found::Gone {
            self.state().die();
            return Err(SessionError::Unauthenticated);
        }
        Ok(())
    }

    /// Gives the session a new id, as a change of rights demands. Deadline and data stay. Without effect when another
    /// request has just done so.
    ///
    /// # Errors
    /// As [`Session::user`].
    pub async fn rotate(&self) -> Result<(), SessionError> {
        self.rotate_with(None).await
    }

    /// The user proved again who they are: recorded with the session, which gets a new id.
    ///
    /// # Errors
    /// As [`Session::user`]; [`SessionError::Superseded`] when another request has given the session a new id meanwhile.
    pub async fn confirm(&self, method: &str) -> Result<(), SessionError> {
        let at = self.0.sessions.now();
        self.rotate_with(Some(Authentication { at, method: method.into() })).await
    }

    async fn rotate_with(&self, proof: Option<Authentication>) -> Result<(), SessionError> {
        let sessions = &self.0.sessions;
        let (old, mut record) = {
            let state = self.state();
            let live = state.as_live()?;
            (live.id, live.snapshot.record())
        };
        let token = NewToken::mint(&sessions.0.keys, old.tag);
        record.key = token.key;
        let is_proof = proof.is_some();
        record.authentication = proof.or(record.authentication);
        let rotation = Rotation { to: token.id.field, record: record.encode() };
        match sessions.0.store.rotate(&old, &rotation, sessions.at()).await? {
            Rotated::Rotated => {}
            Rotated::Before if is_proof => return Err(SessionError::Superseded),
            Rotated::Before => return Ok(()),
            Rotated::Gone => {
                self.state().die();
                return Err(SessionError::Unauthenticated);
            }
        }
        let mut state = self.state();
        if let Current::Live(live) = &mut state.current {
            live.snapshot = live.snapshot.with_record(&record);
            (live.id, live.cookie) = (token.id, Some(token.cookie));
        }
        state.cookie = Some(CookieChange::Set);
        Ok(())
    }

    /// Writes what is still to be written and says how the cookie changes. Losing a race is no error.
    pub(crate) async fn finish(&self) -> Result<Option<HeaderValue>, SessionError> {
        let (changes, touch, has_session) = {
            let mut state = self.state();
            let live = state.as_live().ok();
            let (touch, has_session) = (live.is_some_and(|live| live.touch_is_due), live.is_some());
            (std::mem::take(&mut state.changes), touch, has_session)
        };
        let stores_something = changes.iter().any(|(_, change)| *change != Change::Remove);
        if touch || stores_something || (has_session && !changes.is_empty()) {
            // Boxed, so that the requests that write nothing do not carry the room for it.
            match Box::pin(self.write(changes, touch)).await {
                Ok(_) | Err(SessionError::Unauthenticated) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.cookie_header())
    }

    fn cookie_header(&self) -> Option<HeaderValue> {
        let config = &self.0.sessions.0.config;
        let name = config.effective_cookie_name();
        let state = self.state();
        match (&state.cookie, &state.current) {
            (None, _) => None,
            (Some(CookieChange::Set), Current::Live(Live { snapshot, cookie: Some(cookie), .. })) => {
                let left = snapshot.deadline(config.idle).since(self.0.sessions.now());
                Some(cookie::set(name, cookie, left, config.secure))
            }
            (Some(_), _) => Some(cookie::clear(name, config.secure)),
        }
    }
}

fn value_error(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> SessionError {
    SessionError::Value(cause.into())
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state().current {
            Current::Nothing => f.write_str("Session(none)"),
            Current::Live(live) => write!(f, "Session({}, {:?})", live.id.handle(), live.snapshot.user()),
            Current::Ended(why) => write!(f, "Session({why:?})"),
            Current::Lost => f.write_str("Session(lost)"),
            Current::Unavailable(_) => f.write_str("Session(unavailable)"),
        }
    }
}
