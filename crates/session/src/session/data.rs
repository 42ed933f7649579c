//! The application's data in a session: a set of named fields.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::state::{CookieChange, Current, Known};
use super::{MAX_ROTATIONS, Session};
use crate::error::SessionError;
use crate::record::envelope;
use crate::store::{
    Committed, FieldName, FieldOp, FieldReply, SessionStore, StoreError, StoredSession,
};
use crate::token::SessionId;

impl Session {
    /// Reads a data field: what this request set, what was preloaded, or else from the store in one
    /// round trip.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`]; [`SessionError::Unauthenticated`] when the session died
    /// meanwhile; [`SessionError::Value`] when the stored value is no `T`.
    pub async fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, SessionError> {
        let name = FieldName::new(name)?;
        let bytes = match self.known(&name)? {
            Known::As(value) => value,
            Known::Not => self.fetch(&name).await?,
        };
        bytes.map(|bytes| serde_json::from_slice(&bytes)).transpose().map_err(SessionError::value)
    }

    /// What is known of a field without asking the store.
    fn known(&self, name: &FieldName) -> Result<Known, SessionError> {
        let state = self.state();
        for (changed, change) in state.changes.iter().rev() {
            if changed == name {
                return Ok(Known::As(match change {
                    FieldOp::Set(value) => Some(value.clone()),
                    _ => None,
                }));
            }
        }
        match &state.current {
            Current::Unavailable(error) => Err(SessionError::Unavailable(error.clone())),
            Current::Nothing | Current::Ended(_) | Current::Lost => Ok(Known::As(None)),
            Current::Live(live) => Ok(live.value(name, &self.inner().config.preload)),
        }
    }

    async fn fetch(&self, name: &FieldName) -> Result<Option<Vec<u8>>, SessionError> {
        let id = self.state().as_live()?.id;
        let (_, stored) = self.read_current(id, std::slice::from_ref(name)).await?;
        let stored = stored.ok_or(SessionError::Unauthenticated)?;
        let value = stored.values.into_iter().next().flatten();
        if let Current::Live(live) = &mut self.state().current {
            live.learn(name.clone(), Known::As(value.clone()));
        }
        Ok(value)
    }

    /// Reads the session from the store under the id it has by now: this request was let in before
    /// its id was rotated, so it may go on reading, as long as it may go on writing.
    pub(super) async fn read_current(
        &self,
        mut id: SessionId,
        names: &[FieldName],
    ) -> Result<(SessionId, Option<StoredSession>), StoreError> {
        for _ in 0..=MAX_ROTATIONS {
            let stored = self.inner().store.load(&id, names).await?;
            let Some(forward) =
                stored.as_ref().and_then(|stored| envelope::forward(&stored.record))
            else {
                return Ok((id, stored));
            };
            id.field = forward.to;
            if self.inner().now() >= forward.until {
                break;
            }
        }
        Ok((id, None))
    }

    /// Sets a data field when the response is ready. Without a session one is begun for the
    /// visitor. A task that goes on after the response calls [`commit`](Self::commit); without a
    /// session that is of no use, since no cookie goes out any more.
    ///
    /// # Errors
    /// [`SessionError::Value`] when `value` cannot be written as JSON, [`SessionError::FieldName`].
    pub fn set<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<(), SessionError> {
        let value = serde_json::to_vec(value).map_err(SessionError::value)?;
        self.buffer(name, FieldOp::Set(value))
    }

    /// Removes a data field when the response is ready.
    ///
    /// # Errors
    /// [`SessionError::FieldName`].
    pub fn remove(&self, name: &str) -> Result<(), SessionError> {
        self.buffer(name, FieldOp::Remove)
    }

    fn buffer(&self, name: &str, change: FieldOp) -> Result<(), SessionError> {
        let name = FieldName::new(name)?;
        let mut state = self.state();
        state.changes.retain(|(changed, _)| *changed != name);
        state.changes.push((name, change));
        Ok(())
    }

    /// Adds to a whole number, absent counting as 0, and returns the sum. Atomic over all requests.
    ///
    /// # Errors
    /// [`SessionError::Value`] when the field holds no whole number or the sum is beyond ±(2^53 -
    /// 1), else as [`Session::commit`].
    pub async fn increment(&self, name: &str, by: i64) -> Result<i64, SessionError> {
        match self.apply(name, FieldOp::Increment(by)).await? {
            FieldReply::Number(sum) => Ok(sum),
            other => Err(SessionError::value(format!("unexpected answer {other:?}"))),
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
        let value = serde_json::to_vec(value).map_err(SessionError::value)?;
        Ok(self.apply(name, FieldOp::SetIfAbsent(value)).await? == FieldReply::WasAbsent(true))
    }

    /// Reads and removes a data field: of many requests only one gets it. Visitors without a
    /// session have none to take from.
    ///
    /// # Errors
    /// As [`Session::get`] and [`Session::commit`].
    pub async fn take<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, SessionError> {
        if self.has_nothing(&FieldName::new(name)?) {
            return Ok(None);
        }
        match self.apply(name, FieldOp::Take).await? {
            FieldReply::Taken(bytes) => bytes
                .map(|bytes| serde_json::from_slice(&bytes))
                .transpose()
                .map_err(SessionError::value),
            other => Err(SessionError::value(format!("unexpected answer {other:?}"))),
        }
    }

    /// Whether there is no session, and nothing under that name is kept for one to be begun.
    fn has_nothing(&self, name: &FieldName) -> bool {
        let state = self.state();
        matches!(state.current, Current::Nothing | Current::Ended(_))
            && state.changes.iter().all(|(changed, _)| changed != name)
    }

    /// Writes what is buffered and then one atomic change, in one step. What is buffered stays so
    /// until it is written: a handler may give up on the change, or its client may go.
    async fn apply(&self, name: &str, change: FieldOp) -> Result<FieldReply, SessionError> {
        let name = FieldName::new(name)?;
        if let Current::Live(live) = &mut self.state().current {
            live.learn(name.clone(), Known::Not);
        }
        let mut changes = self.state().changes.clone();
        changes.push((name, change));
        let mut answers = self.write(changes, false).await?;
        answers.pop().ok_or(SessionError::Unauthenticated)
    }

    /// Writes what [`set`](Self::set) and [`remove`](Self::remove) have kept, now rather than with
    /// the response.
    ///
    /// # Errors
    /// [`SessionError::Unauthenticated`] when the session died meanwhile,
    /// [`SessionError::OverBudget`] when it would hold too much: none of the changes was made.
    /// [`SessionError::Unavailable`]: all of them were made or none, and it is not known which.
    pub async fn commit(&self) -> Result<(), SessionError> {
        let changes = self.state().changes.clone();
        if !changes.is_empty() {
            let outcome = self.write(changes.clone(), false).await;
            self.state().changes.retain(|change| !changes.contains(change));
            outcome?;
        }
        Ok(())
    }

    /// The id to write to; `None` when there is none yet.
    pub(super) fn present(&self) -> Result<Option<SessionId>, SessionError> {
        match &self.state().current {
            Current::Live(live) => Ok(Some(live.id)),
            Current::Unavailable(error) => Err(SessionError::Unavailable(error.clone())),
            Current::Lost => Err(SessionError::Unauthenticated),
            Current::Ended(why) if why.keeps_cookie() => Err(SessionError::Unauthenticated),
            Current::Ended(_) | Current::Nothing => Ok(None),
        }
    }

    pub(super) async fn write(
        &self,
        changes: Vec<(FieldName, FieldOp)>,
        touch: bool,
    ) -> Result<Vec<FieldReply>, SessionError> {
        let sessions = self.inner();
        let id = match self.present()? {
            Some(id) => id,
            None => self.begin_anonymous().await?,
        };
        let touch_after = sessions.config.touch_after().filter(|_| touch);
        match sessions
            .store
            .commit(&id, &changes, touch_after, sessions.config.budget, sessions.at())
            .await?
        {
            Committed::Done { answers, forwarded } => {
                self.remember(changes, touch && !forwarded);
                Ok(answers)
            }
            Committed::Gone => {
                self.die(&id).await;
                Err(SessionError::Unauthenticated)
            }
            Committed::OverBudget => Err(SessionError::OverBudget),
            Committed::NotANumber => {
                Err(SessionError::value("not a whole number within ±(2^53 - 1)"))
            }
        }
    }

    /// Own writes are seen by later reads of the same request.
    fn remember(&self, changes: Vec<(FieldName, FieldOp)>, renew_cookie: bool) {
        let now = self.inner().now();
        let mut state = self.state();
        state.changes.retain(|change| !changes.contains(change));
        if let Current::Live(live) = &mut state.current {
            for (name, change) in changes {
                let known = match change {
                    FieldOp::Set(value) => Known::As(Some(value)),
                    FieldOp::Remove | FieldOp::Take => Known::As(None),
                    FieldOp::Increment(_) | FieldOp::SetIfAbsent(_) => Known::Not,
                };
                live.learn(name, known);
            }
            if renew_cookie {
                live.snapshot = live.snapshot.seen(now);
                state.cookie = Some(CookieChange::Set);
            }
        }
    }
}
