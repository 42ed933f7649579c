//! The application's data in a session: a set of named fields.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};

use super::state::{CookieChange, Current, Known};
use super::{MAX_ROTATIONS, Session};
use crate::error::SessionError;
use crate::record::envelope;
use crate::store::{
    Committed, FieldName, FieldOp, FieldReply, SessionStore, StoreError, StoredSession,
};
use crate::token::SessionId;

/// The longest wait of an update in the queue, in multiples of the store's time limit.
const QUEUE_LIMITS: u32 = 2;

impl Session {
    /// Reads a data field: the value this request set, the preloaded one, or else the store's, in
    /// one round trip.
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
        decode(&name, bytes.as_deref())
    }

    /// Whether a data field is set. Asks the store as [`Session::get`] does.
    ///
    /// # Errors
    /// As [`Session::get`].
    pub async fn contains(&self, name: &str) -> Result<bool, SessionError> {
        let name = FieldName::new(name)?;
        Ok(match self.known(&name)? {
            Known::As(value) => value.is_some(),
            Known::Not => self.fetch(&name).await?.is_some(),
        })
    }

    /// The names of the data fields that are set, in order. Costs two round trips. Meant for
    /// debugging and for [`Session::clear`].
    ///
    /// # Errors
    /// As [`Session::get`].
    pub async fn keys(&self) -> Result<Vec<String>, SessionError> {
        let mut names = match self.present() {
            Ok(Some(id)) => self.stored_names(id).await?,
            Ok(None) | Err(SessionError::Unauthenticated) => BTreeSet::new(),
            Err(error) => return Err(error),
        };
        for (name, change) in &self.state().changes {
            match change {
                FieldOp::Set(_) => names.insert(name.clone()),
                _ => names.remove(name),
            };
        }
        let own = names.into_iter().filter(|name| !name.is_reserved());
        Ok(own.map(|name| name.as_str().to_owned()).collect())
    }

    async fn stored_names(&self, id: SessionId) -> Result<BTreeSet<FieldName>, SessionError> {
        let (id, stored) = self.read_current(id, &[]).await?;
        stored.ok_or(SessionError::Unauthenticated)?;
        let fields = self.inner().store.fields(&id.tag).await?;
        let own = fields.into_iter().filter(|field| field.session == id.field);
        Ok(own.map(|field| field.name).collect())
    }

    /// Removes all data fields that are set now, when the response is ready. The user stays signed
    /// in, and fields that other requests set meanwhile stay too.
    ///
    /// # Errors
    /// As [`Session::keys`] and [`Session::remove`].
    pub async fn clear(&self) -> Result<(), SessionError> {
        for name in self.keys().await? {
            self.remove(&name)?;
        }
        Ok(())
    }

    /// The value of a field, as far as it is known without asking the store.
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
            #[cfg(feature = "device-binding")]
            Current::Unproved => Ok(Known::As(None)),
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

    /// Reads the session from the store under its current id. A request admitted before a rotation
    /// may read for as long as it may write.
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
    /// visitor.
    ///
    /// A stream or task that outlives the start of the response uses [`update`](Self::update) or
    /// [`increment`](Self::increment) instead. They write at once, and only to a session that
    /// existed before.
    ///
    /// Give each field that a struct gains a `#[serde(default)]`; otherwise the struct no longer
    /// reads the values of live sessions.
    ///
    /// # Errors
    /// [`SessionError::Value`] when `value` cannot be written as JSON, [`SessionError::FieldName`],
    /// [`SessionError::ResponseBegan`].
    pub fn set<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<(), SessionError> {
        let value = serde_json::to_vec(value).map_err(SessionError::value)?;
        self.buffer(name, FieldOp::Set(value))
    }

    /// Removes a data field when the response is ready.
    ///
    /// # Errors
    /// [`SessionError::FieldName`], [`SessionError::ResponseBegan`].
    pub fn remove(&self, name: &str) -> Result<(), SessionError> {
        self.buffer(name, FieldOp::Remove)
    }

    fn buffer(&self, name: &str, change: FieldOp) -> Result<(), SessionError> {
        let name = FieldName::new(name)?;
        let mut state = self.state();
        state.may_set()?;
        state.changes.retain(|(changed, _)| *changed != name);
        state.changes.push((name, change));
        Ok(())
    }

    /// Adds to a whole number and returns the sum. An absent field counts as 0. Atomic over all
    /// requests.
    ///
    /// # Errors
    /// [`SessionError::Value`] when the field holds no whole number or the sum is beyond ±(2^53 -
    /// 1), else as [`Session::commit`].
    pub async fn increment(&self, name: &str, by: i64) -> Result<i64, SessionError> {
        match self.apply(&FieldName::new(name)?, FieldOp::Increment(by)).await? {
            FieldReply::Number(sum) => Ok(sum),
            other => Err(unexpected(&other)),
        }
    }

    /// Sets a data field if it is absent; true if it was. Atomic over all requests.
    ///
    /// # Errors
    /// As [`Session::set`] and [`Session::commit`].
    pub async fn set_if_absent<T: Serialize + ?Sized>(
        &self,
        name: &str,
        value: &T,
    ) -> Result<bool, SessionError> {
        let value = serde_json::to_vec(value).map_err(SessionError::value)?;
        let answer = self.apply(&FieldName::new(name)?, FieldOp::SetIfAbsent(value)).await?;
        Ok(answer == FieldReply::WasAbsent(true))
    }

    /// Reads and removes a data field. Of several concurrent requests only one gets it.
    ///
    /// A field known to be absent costs nothing: without a session, or when it is
    /// [preloaded](crate::SessionConfig::preload). Otherwise an absent field costs one round trip,
    /// which writes nothing and leaves the near-cache as it is.
    ///
    /// # Errors
    /// As [`Session::get`] and [`Session::commit`].
    pub async fn take<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, SessionError> {
        let name = FieldName::new(name)?;
        let is_lost = matches!(self.state().current, Current::Lost);
        if !is_lost && matches!(self.known(&name)?, Known::As(None)) {
            return Ok(None);
        }
        match self.apply(&name, FieldOp::Take).await? {
            FieldReply::Taken(bytes) => decode(&name, bytes.as_deref()),
            other => Err(unexpected(&other)),
        }
    }

    /// Changes a data field so that no other change is lost. Reads the field, calls `change` for
    /// the new value, and writes it only if the field is still the same. Returns the value written.
    ///
    /// `None` is an absent field, in both directions. `change` must have no side effects: it is
    /// called again with the newer value when another request was faster. Updates of one session in
    /// one process take turns.
    ///
    /// ```
    /// # use tracera_session::{Session, SessionError};
    /// async fn add_to_cart(session: Session, item: u32) -> Result<(), SessionError> {
    ///     session.update("cart", |cart: Option<Vec<u32>>| {
    ///         let mut cart = cart.unwrap_or_default();
    ///         cart.push(item);
    ///         Some(cart)
    ///     }).await?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`Session::get`] and [`Session::commit`]. [`SessionError::Unavailable`] also when other
    /// writers won for as long as the store's time limit; the field is then unchanged.
    pub async fn update<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        mut change: impl FnMut(Option<T>) -> Option<T>,
    ) -> Result<Option<T>, SessionError> {
        let name = FieldName::new(name)?;
        let inner = self.inner();
        let limit = inner.store.time_limit();
        let _turn = match self.present()? {
            Some(id) => {
                let entering = timeout(QUEUE_LIMITS * limit, inner.updates.enter(id.field)).await;
                Some(entering.map_err(|_| outrun())?)
            }
            None => None,
        };
        let deadline = Instant::now() + limit;
        let mut seen = match self.known(&name)? {
            Known::As(value) => value,
            Known::Not => self.fetch(&name).await?,
        };
        while Instant::now() < deadline {
            let value = change(decode(&name, seen.as_deref())?);
            let new = value.as_ref().map(serde_json::to_vec).transpose();
            let new = new.map_err(SessionError::value)?;
            let op = FieldOp::CompareAndSet { expected: seen, new };
            match self.apply(&name, op).await? {
                FieldReply::Compared(Ok(())) => return Ok(value),
                FieldReply::Compared(Err(current)) => seen = current,
                other => return Err(unexpected(&other)),
            }
        }
        Err(outrun())
    }

    /// Writes the buffered changes and one atomic change, in one step. The buffer is kept until it
    /// is written, because a handler may drop this future.
    async fn apply(&self, name: &FieldName, change: FieldOp) -> Result<FieldReply, SessionError> {
        if let Current::Live(live) = &mut self.state().current {
            live.learn(name.clone(), Known::Not);
        }
        let mut changes = self.state().changes.clone();
        changes.push((name.clone(), change));
        let mut answers = self.write(changes, false).await?;
        answers.pop().ok_or(SessionError::Unauthenticated)
    }

    /// Writes the changes buffered by [`set`](Self::set) and [`remove`](Self::remove) now rather
    /// than with the response.
    ///
    /// # Errors
    /// [`SessionError::Unauthenticated`] when the session died meanwhile,
    /// [`SessionError::OverBudget`] when it would hold too much; then no change was made.
    /// [`SessionError::Unavailable`] when it is not known whether all changes were made or none.
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
            #[cfg(feature = "device-binding")]
            Current::Unproved => Err(SessionError::DeviceProofMissing),
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
        let touch_after = touch.then(|| self.touch_after()).flatten();
        match sessions
            .store
            .commit(&id, &changes, touch_after, sessions.config.budget, sessions.at())
            .await?
        {
            Committed::Done { answers, forwarded, .. } => {
                self.remember(changes, &answers, touch && !forwarded);
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

    /// The minimum age of "last seen" before it is written again.
    fn touch_after(&self) -> Option<Duration> {
        let config = &self.inner().config;
        let persistence = self.state().as_live().ok()?.snapshot.persistence();
        config.touch_after(persistence.idle_or(config.idle))
    }

    /// Stores the result of a write, so that later reads of this request see it.
    fn remember(
        &self,
        changes: Vec<(FieldName, FieldOp)>,
        answers: &[FieldReply],
        renew_cookie: bool,
    ) {
        let now = self.inner().now();
        let mut state = self.state();
        state.changes.retain(|change| !changes.contains(change));
        if let Current::Live(live) = &mut state.current {
            for ((name, change), answer) in changes.into_iter().zip(answers) {
                let known = match change {
                    FieldOp::CompareAndSet { new, .. } => match answer {
                        FieldReply::Compared(Err(current)) => Known::As(current.clone()),
                        _ => Known::As(new),
                    },
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

fn decode<T: DeserializeOwned>(
    name: &FieldName,
    bytes: Option<&[u8]>,
) -> Result<Option<T>, SessionError> {
    let value = bytes.map(serde_json::from_slice).transpose();
    value.map_err(|cause| SessionError::field::<T>(name, &cause))
}

fn unexpected(answer: &FieldReply) -> SessionError {
    SessionError::value(format!("unexpected answer {answer:?}"))
}

fn outrun() -> SessionError {
    StoreError::unavailable("other updates of the session were faster all the time").into()
}
