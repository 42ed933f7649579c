//! Beginning, rotating and ending a session.

use std::net::IpAddr;
use std::time::Duration;

use super::Session;
use super::state::{CookieChange, Current, Live};
use crate::error::SessionError;
use crate::record::{Authentication, Epoch, IdleTimeout, Persistence, Record};
use crate::snapshot::Snapshot;
use crate::store::{
    Committed, Created, FieldName, FieldOp, FieldReply, Found, NewSession, Rotated, Rotation,
    SessionStore,
};
use crate::token::{NewToken, SessionId, Tag, UserId};

/// A sign-in: the user, and the details shown in their list of sessions.
///
/// ```
/// use std::time::Duration;
/// use tracera_session::{Session, SessionError, SignIn, UserId};
///
/// async fn sign_in(session: Session, user: UserId) -> Result<(), SessionError> {
///     let remembered = SignIn::new(user, "password")
///         .client("Firefox on Linux")
///         .lifetime(Duration::from_secs(30 * 24 * 3600))
///         .carry(&["cart"]);
///     session.sign_in(remembered).await
/// }
/// ```
#[derive(Debug, Clone)]
pub struct SignIn {
    user: UserId,
    method: Box<str>,
    client: Box<str>,
    address: Option<IpAddr>,
    epoch: Option<Epoch>,
    lifetime: Option<Duration>,
    persistence: Persistence,
    carry: Vec<Box<str>>,
}

impl SignIn {
    /// `user` authenticated by `method`, a short word of the application such as `email`, cut to 16
    /// bytes.
    pub fn new(user: UserId, method: &str) -> Self {
        Self {
            user,
            method: method.into(),
            client: "".into(),
            address: None,
            epoch: None,
            lifetime: None,
            persistence: Persistence::default(),
            carry: Vec::new(),
        }
    }

    /// The client in a few words, such as `Firefox|Linux`. Shortened to fit a record of 64 bytes.
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

    /// The user's epoch at the start of the sign-in, from
    /// [`Sessions::epoch`](crate::Sessions::epoch). Default: read when signing in.
    #[must_use]
    pub fn epoch(mut self, epoch: Epoch) -> Self {
        self.epoch = Some(epoch);
        self
    }

    /// How long this session lives, whatever happens. Default:
    /// [`SessionConfig::lifetime`](crate::SessionConfig::lifetime). Whole seconds, at least one.
    ///
    /// "Remember me" is two lines:
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tracera_session::{Session, SessionError, SignIn, UserId};
    /// async fn sign_in(
    ///     session: Session,
    ///     user: UserId,
    ///     remember: bool,
    /// ) -> Result<(), SessionError> {
    ///     let sign_in = SignIn::new(user, "password");
    ///     session.sign_in(match remember {
    ///         true => sign_in.lifetime(Duration::from_secs(24 * 30 * 3600)),
    ///         false => sign_in
    ///             .idle_timeout(Some(Duration::from_secs(1800)))
    ///             .until_browser_closes(),
    ///     }).await
    /// }
    /// ```
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(whole_seconds(lifetime));
        self
    }

    /// How long this session lives without a request; `None` for no such limit. Default:
    /// [`SessionConfig::idle_timeout`](crate::SessionConfig::idle_timeout). Whole seconds, at least
    /// one.
    #[must_use]
    pub fn idle_timeout(mut self, idle: Option<Duration>) -> Self {
        self.persistence.idle = IdleTimeout::Own(idle.map(whole_seconds));
        self
    }

    /// The browser drops the cookie when it closes, though some restore it with their windows. The
    /// session's deadlines stay in force.
    #[must_use]
    pub fn until_browser_closes(mut self) -> Self {
        self.persistence.until_browser_closes = true;
        self
    }

    /// Moves these data fields of the browser's former session into the new one, such as the cart
    /// of a visitor. The new session begins with them, in the same atomic step. Without this the
    /// new session begins empty, because the former data may be somebody else's.
    #[must_use]
    pub fn carry(mut self, names: &[&str]) -> Self {
        self.carry = names.iter().map(|name| (*name).into()).collect();
        self
    }
}

fn whole_seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs().clamp(1, u64::from(u32::MAX)))
}

/// The data that a new session takes over from the former one.
#[derive(Default)]
struct Origin {
    /// A session under the same tag, which the new one replaces.
    replaces: Option<[u8; 16]>,
    /// Fields of that session.
    carry: Vec<FieldName>,
    /// Fields of a session under another tag.
    data: Vec<(FieldName, Vec<u8>)>,
}

impl Session {
    /// Begins a session for a signed-out visitor, or returns the one that a concurrent call began.
    pub(super) async fn begin_anonymous(&self) -> Result<SessionId, SessionError> {
        let _alone = self.shared.identity.lock().await;
        if let Some(id) = self.present()? {
            return Ok(id);
        }
        self.state().may_send_cookie()?;
        let token = NewToken::mint(&self.inner().keys, Tag::random());
        let record = self.new_record(&token);
        self.create(token, None, record, Origin::default()).await
    }

    /// Signs the user in with a new id. The session presented before, if any, ends with its data,
    /// except what [`SignIn::carry`] names. Data set earlier in this request goes into the new one.
    ///
    /// # Errors
    /// [`SessionError::Superseded`] when the user signed out everywhere meanwhile,
    /// [`SessionError::Unavailable`], [`SessionError::ResponseBegan`].
    pub async fn sign_in(&self, sign_in: SignIn) -> Result<(), SessionError> {
        let _alone = self.shared.identity.lock().await;
        self.available()?;
        self.state().may_send_cookie()?;
        let inner = self.inner();
        let carry =
            sign_in.carry.iter().map(|name| FieldName::new(name)).collect::<Result<Vec<_>, _>>()?;
        let epoch = match sign_in.epoch {
            Some(epoch) => epoch,
            None => inner.epoch(&sign_in.user).await?,
        };
        let tag = inner.tag(&sign_in.user);
        let old = self.state().to_be_ended();
        let origin = match old {
            Some(id) if id.tag == tag => Origin { replaces: Some(id.field), carry, data: vec![] },
            Some(id) => Origin { data: self.give_up(&id, carry).await?, ..Origin::default() },
            None => Origin::default(),
        };
        let token = NewToken::mint(&inner.keys, tag);
        let record = self.new_record(&token);
        let record = Record {
            epoch,
            lifetime: sign_in.lifetime.unwrap_or(record.lifetime),
            authentication: Some(Authentication { at: inner.now(), method: sign_in.method }),
            client: sign_in.client,
            address: sign_in.address,
            persistence: sign_in.persistence,
            ..record
        };
        self.create(token, Some(sign_in.user), record, origin).await?;
        Ok(())
    }

    /// Ends a session under another tag than the new one's. Returns the fields to carry over. They
    /// are removed from it first, so that of two sign-ins only one gets them.
    async fn give_up(
        &self,
        id: &SessionId,
        carry: Vec<FieldName>,
    ) -> Result<Vec<(FieldName, Vec<u8>)>, SessionError> {
        let inner = self.inner();
        let mut data = Vec::new();
        if !carry.is_empty() {
            let take: Vec<_> = carry.into_iter().map(|name| (name, FieldOp::Take)).collect();
            let budget = inner.config.budget;
            if let Committed::Done { answers, .. } =
                inner.store.commit(id, &take, None, budget, inner.at()).await?
            {
                for ((name, _), answer) in take.into_iter().zip(answers) {
                    if let FieldReply::Taken(Some(value)) = answer {
                        data.push((name, value));
                    }
                }
            }
        }
        if inner.store.abandon(id, inner.at()).await? == Found::Alive {
            // Changes made by this request go into the new session. If the sign-in fails, they are
            // dropped.
            let mut state = self.state();
            (state.current, state.cookie) = (Current::Lost, Some(CookieChange::Clear));
        }
        Ok(data)
    }

    /// The record of a visitor's session.
    fn new_record(&self, token: &NewToken) -> Record {
        let now = self.inner().now();
        Record {
            created: now,
            lifetime: self.inner().lifetime(),
            last_seen: now,
            epoch: Epoch::default(),
            data_fields: 0,
            data_bytes: 0,
            key: token.key,
            authentication: None,
            client: "".into(),
            address: None,
            persistence: Persistence::default(),
            unknown: [].into(),
        }
    }

    async fn create(
        &self,
        token: NewToken,
        user: Option<UserId>,
        record: Record,
        origin: Origin,
    ) -> Result<SessionId, SessionError> {
        let inner = self.inner();
        let new = NewSession {
            id: token.id,
            user: user.as_ref(),
            record: record.encode(),
            epoch: record.epoch,
            replaces: origin.replaces,
            max_sessions: inner.config.max_sessions,
            carry: &origin.carry,
            data: &origin.data,
        };
        match inner.store.create(&new, inner.at()).await? {
            Created::Created => {}
            Created::Superseded => return Err(SessionError::Superseded),
            Created::Collision => return Err(SessionError::value("two users share a tag")),
        }
        let id = token.id;
        let live = Live::minted(token, Snapshot::of(user.as_ref(), &record));
        let mut state = self.state();
        #[cfg(feature = "device-binding")]
        {
            state.offers_device = user.is_some();
        }
        state.current = Current::Live(live);
        state.cookie = Some(CookieChange::Set);
        Ok(id)
    }

    /// Ends the session and clears the cookie. Without a live session only the cookie is cleared.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`]; the session may then still live.
    pub async fn sign_out(&self) -> Result<(), SessionError> {
        let _alone = self.shared.identity.lock().await;
        self.available()?;
        let id = self.state().to_be_ended();
        if let Some(id) = id {
            let sessions = self.inner();
            sessions.store.destroy(&id, sessions.at()).await?;
        }
        self.state().become_state(Current::Nothing, Some(CookieChange::Clear));
        Ok(())
    }

    /// Ends all other sessions of the signed-in user, also those being created concurrently.
    ///
    /// # Errors
    /// As [`Session::user`]; [`SessionError::Unauthenticated`] also when this session died
    /// meanwhile, and then no other was ended.
    pub async fn sign_out_others(&self) -> Result<(), SessionError> {
        self.user()?;
        let id = self.state().as_live()?.id;
        let sessions = self.inner();
        let done = sessions
            .store
            .revoke_all(&id.tag, Some(&id.field), sessions.lifetime(), sessions.at())
            .await?;
        if done == Found::Gone {
            self.die(&id).await;
            return Err(SessionError::Unauthenticated);
        }
        Ok(())
    }

    /// Gives the session a new id, as a change of rights requires. Deadline and data stay. Without
    /// effect when another request has just rotated it.
    ///
    /// # Errors
    /// As [`Session::user`].
    pub async fn rotate(&self) -> Result<(), SessionError> {
        self.rotate_with(None).await
    }

    /// Records that the user authenticated again, and gives the session a new id.
    ///
    /// # Errors
    /// As [`Session::user`]; [`SessionError::Superseded`] when another request has given the
    /// session a new id meanwhile.
    pub async fn confirm(&self, method: &str) -> Result<(), SessionError> {
        let at = self.inner().now();
        self.rotate_with(Some(Authentication { at, method: method.into() })).await
    }

    async fn rotate_with(&self, proof: Option<Authentication>) -> Result<(), SessionError> {
        let _alone = self.shared.identity.lock().await;
        self.state().may_send_cookie()?;
        let sessions = self.inner();
        let (old, mut record) = {
            let state = self.state();
            let live = state.as_live()?;
            (live.id, live.snapshot.record())
        };
        let token = NewToken::mint(&sessions.keys, old.tag);
        record.key = token.key;
        let is_proof = proof.is_some();
        record.authentication = proof.or(record.authentication);
        let rotation = Rotation { to: token.id.field, record: record.encode() };
        match sessions.store.rotate(&old, &rotation, sessions.at()).await? {
            Rotated::Rotated => {}
            Rotated::Before if is_proof => return Err(SessionError::Superseded),
            Rotated::Before => return Ok(()),
            Rotated::Gone => {
                self.die(&old).await;
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
}
