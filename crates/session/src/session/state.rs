//! A request's view of its session, and the changes still to be written.

use std::sync::Arc;

use crate::ended::Ended;
use crate::error::SessionError;
use crate::inner::Inner;
use crate::snapshot::Snapshot;
use crate::store::{FieldName, FieldOp, StoreError};
use crate::token::{CookieValue, NewToken, SessionId};

pub(crate) struct State {
    pub(super) current: Current,
    pub(super) changes: Vec<(FieldName, FieldOp)>,
    pub(super) cookie: Option<CookieChange>,
    /// The presented id, if it was rotated a moment ago. Used only to end its successor.
    rotated: Option<SessionId>,
    /// Whether the token came in a header, so that no cookie is sent.
    pub(super) from_header: bool,
    pub(super) response: ResponsePhase,
    /// Whether the answer offers to bind the session to a device.
    #[cfg(feature = "device-binding")]
    pub(super) offers_device: bool,
}

/// The progress of the response to a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ResponsePhase {
    /// The handler is running.
    Ahead,
    /// The changes are being written: later ones would be lost, though a cookie can still be sent.
    Writing,
    /// The response has begun.
    Begun,
}

pub(super) enum Current {
    Nothing,
    Live(Live),
    /// Alive, but bound to a device that the request did not prove.
    #[cfg(feature = "device-binding")]
    Unproved,
    /// Dead on arrival. The visitor's first stored value begins an anonymous session, unless its
    /// cookie would replace one that must stay.
    Ended(Ended),
    /// Died during this request, which therefore writes nothing more.
    Lost,
    Unavailable(Arc<StoreError>),
}

pub(super) enum CookieChange {
    Set,
    Clear,
}

/// The value of a data field, as far as the request knows it.
#[derive(Clone)]
pub(super) enum Known {
    /// The value; `None` if the field is absent.
    As(Option<Vec<u8>>),
    Not,
}

pub(crate) struct Live {
    pub(super) id: SessionId,
    pub(super) snapshot: Snapshot,
    /// Data fields learned, changed or made uncertain after the snapshot.
    values: Vec<(FieldName, Known)>,
    /// `None` where it never has to be sent.
    pub(super) cookie: Option<CookieValue>,
    pub(super) touch_is_due: bool,
}

impl Live {
    pub(crate) fn presented(
        id: SessionId,
        snapshot: Snapshot,
        cookie: impl FnOnce() -> Option<CookieValue>,
        inner: &Inner,
    ) -> Self {
        let idle = snapshot.persistence().idle_or(inner.config.idle);
        let touch_after = inner.config.touch_after(idle);
        let touch_is_due =
            touch_after.is_some_and(|after| inner.now().since(snapshot.last_seen()) >= after);
        let cookie = touch_is_due.then(cookie).flatten();
        Self { id, snapshot, values: Vec::new(), cookie, touch_is_due }
    }

    pub(super) fn minted(token: NewToken, snapshot: Snapshot) -> Self {
        Self {
            id: token.id,
            snapshot,
            values: Vec::new(),
            cookie: Some(token.cookie),
            touch_is_due: false,
        }
    }

    /// The value of a data field, as far as it is known.
    pub(super) fn value(&self, name: &FieldName, preload: &[FieldName]) -> Known {
        if let Some((_, value)) = self.values.iter().find(|(known, _)| known == name) {
            return value.clone();
        }
        let preloaded = preload.iter().position(|known| known == name);
        match preloaded.and_then(|at| self.snapshot.values().nth(at)) {
            Some(value) => Known::As(value.map(<[u8]>::to_vec)),
            None => Known::Not,
        }
    }

    /// Replaces everything known by the store's latest answer.
    pub(super) fn refresh(&mut self, snapshot: Snapshot) {
        self.snapshot = snapshot;
        self.values.clear();
    }

    pub(super) fn learn(&mut self, name: FieldName, value: Known) {
        self.values.retain(|(known, _)| *known != name);
        self.values.push((name, value));
    }
}

impl State {
    pub(super) fn new(current: Current, cookie: Option<CookieChange>) -> Self {
        Self {
            current,
            changes: Vec::new(),
            cookie,
            rotated: None,
            from_header: false,
            response: ResponsePhase::Ahead,
            #[cfg(feature = "device-binding")]
            offers_device: false,
        }
    }

    pub(crate) fn presented_in_header(mut self, from_header: bool) -> Self {
        self.from_header = from_header;
        self
    }

    /// Replaces the state, but keeps the facts about the request.
    pub(super) fn become_state(&mut self, current: Current, cookie: Option<CookieChange>) {
        let Self { from_header, response, .. } = *self;
        *self = Self { from_header, response, ..Self::new(current, cookie) };
    }

    /// Fails when it is too late for changes to be written.
    pub(super) fn may_set(&self) -> Result<(), SessionError> {
        (self.response == ResponsePhase::Ahead).then_some(()).ok_or(SessionError::ResponseBegan)
    }

    /// Fails when it is too late to send a cookie.
    pub(super) fn may_send_cookie(&self) -> Result<(), SessionError> {
        (self.response != ResponsePhase::Begun).then_some(()).ok_or(SessionError::ResponseBegan)
    }

    pub(crate) fn nothing() -> Self {
        Self::new(Current::Nothing, None)
    }

    pub(crate) fn live(live: Live) -> Self {
        Self::new(Current::Live(live), None)
    }

    /// A live session whose device the request did not prove. It is neither read nor written.
    #[cfg(feature = "device-binding")]
    pub(crate) fn unproved() -> Self {
        Self::new(Current::Unproved, None)
    }

    /// The same state with a change to be written with the response.
    #[cfg(feature = "device-binding")]
    pub(crate) fn with_change(mut self, name: FieldName, change: FieldOp) -> Self {
        self.changes.push((name, change));
        self
    }

    pub(crate) fn ended(why: Ended) -> Self {
        Self::new(Current::Ended(why), (!why.keeps_cookie()).then_some(CookieChange::Clear))
    }

    /// No secret of the ring signed what the request presents. Its cookie is left alone unless this
    /// request stores something: another application of the host, or an instance with another
    /// secret, may have set it.
    pub(crate) fn not_ours() -> Self {
        Self::new(Current::Ended(Ended::NotOurs), None)
    }

    /// [`State::ended`] for a session that was looked for under `id`.
    pub(crate) fn found_ended(id: SessionId, why: Ended) -> Self {
        Self { rotated: (why == Ended::Rotated).then_some(id), ..Self::ended(why) }
    }

    /// The session that a sign-out or another sign-in ends.
    pub(super) fn to_be_ended(&self) -> Option<SessionId> {
        self.as_live().ok().map(|live| live.id).or(self.rotated)
    }

    pub(crate) fn unavailable(error: Arc<StoreError>) -> Self {
        Self::new(Current::Unavailable(error), None)
    }

    pub(super) fn as_live(&self) -> Result<&Live, SessionError> {
        match &self.current {
            Current::Live(live) => Ok(live),
            Current::Unavailable(error) => Err(SessionError::Unavailable(error.clone())),
            #[cfg(feature = "device-binding")]
            Current::Unproved => Err(SessionError::DeviceProofMissing),
            Current::Nothing | Current::Ended(_) | Current::Lost => {
                Err(SessionError::Unauthenticated)
            }
        }
    }

    /// The session with that id was found dead during the request. A session that has replaced it
    /// lives on.
    pub(super) fn die(&mut self, id: &SessionId, why: Ended) {
        if let Current::Live(live) = &self.current
            && live.id == *id
        {
            let clear = live.snapshot.is_signed_in() && !why.keeps_cookie();
            self.become_state(Current::Lost, clear.then_some(CookieChange::Clear));
        }
    }
}
