//! How a session begins, changes its id and ends.

use std::net::IpAddr;

use super::Session;
use super::state::{CookieChange, Current, Live, State};
use crate::error::SessionError;
use crate::record::{Authentication, Epoch, Record};
use crate::snapshot::Snapshot;
use crate::store::{Created, Found, NewSession, Rotated, Rotation, SessionStore};
use crate::token::{NewToken, SessionId, Tag, UserId};

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
    /// `user` proved who they are by `method`, a short word of the application's such as `email`,
    /// kept to 16 bytes.
    pub fn new(user: UserId, method: &str) -> Self {
        Self { user, method: method.into(), client: "".into(), address: None, epoch: None }
    }

    /// The client in a few words, such as `Firefox|Linux`. Shortened to what fits a record of 64
    /// bytes.
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

    /// The user's epoch where the sign-in began, from [`Sessions::epoch`](crate::Sessions::epoch).
    /// Default: read when signing in.
    #[must_use]
    pub fn epoch(mut self, epoch: Epoch) -> Self {
        self.epoch = Some(epoch);
        self
    }
}

impl Session {
    /// A session for a signed-out visitor who stores something, or the one that was begun at the
    /// same moment.
    pub(super) async fn begin_anonymous(&self) -> Result<SessionId, SessionError> {
        let _alone = self.shared.identity.lock().await;
        if let Some(id) = self.present()? {
            return Ok(id);
        }
        let token = NewToken::mint(&self.inner().keys, Tag::random());
        let record = self.new_record(&token, Epoch::default(), None, "", None);
        self.create(token, None, record, None).await
    }

    /// Signs the user in: a new id, and the id presented before, if any, is dead. Data set earlier
    /// in this request goes into the new session; data of the old session does not.
    ///
    /// # Errors
    /// [`SessionError::Superseded`] when the user signed out everywhere meanwhile,
    /// [`SessionError::Unavailable`].
    pub async fn sign_in(&self, sign_in: SignIn) -> Result<(), SessionError> {
        let _alone = self.shared.identity.lock().await;
        self.available()?;
        let sessions = self.inner();
        let epoch = match sign_in.epoch {
            Some(epoch) => epoch,
            None => sessions.epoch(&sign_in.user).await?,
        };
        let tag = Tag::of_user(&sign_in.user);
        let old = self.state().to_be_ended();
        let replaces = match old {
            Some(id) if id.tag == tag => Some(id.field),
            Some(id) => {
                if sessions.store.abandon(&id, sessions.at()).await? == Found::Alive {
                    // Whatever becomes of the sign-in: what this request stores is for the new
                    // session or for none.
                    let mut state = self.state();
                    (state.current, state.cookie) = (Current::Lost, Some(CookieChange::Clear));
                }
                None
            }
            None => None,
        };
        let proof = Authentication { at: sessions.now(), method: sign_in.method };
        let token = NewToken::mint(&sessions.keys, tag);
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
        let now = self.inner().now();
        Record {
            created: now,
            lifetime: self.inner().lifetime(),
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
        let inner = self.inner();
        let new = NewSession {
            id: token.id,
            user: user.as_ref(),
            record: record.encode(),
            epoch: record.epoch,
            replaces,
            max_sessions: inner.config.max_sessions,
        };
        match inner.store.create(&new, self.inner().at()).await? {
            Created::Created => {}
            Created::Superseded => return Err(SessionError::Superseded),
            Created::Collision => return Err(SessionError::value("two users share a tag")),
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
        let _alone = self.shared.identity.lock().await;
        self.available()?;
        let id = self.state().to_be_ended();
        if let Some(id) = id {
            let sessions = self.inner();
            sessions.store.destroy(&id, sessions.at()).await?;
        }
        *self.state() = State::new(Current::Nothing, Some(CookieChange::Clear));
        Ok(())
    }

    /// Ends all other sessions of the signed-in user, also those being created at this moment.
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

    /// Gives the session a new id, as a change of rights demands. Deadline and data stay. Without
    /// effect when another request has just done so.
    ///
    /// # Errors
    /// As [`Session::user`].
    pub async fn rotate(&self) -> Result<(), SessionError> {
        self.rotate_with(None).await
    }

    /// The user proved again who they are: recorded with the session, which gets a new id.
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
