//! The extractors for handlers.

use std::fmt;
use std::sync::Arc;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;

use super::{AnyUsers, STAMP_FIELD, Users};
use crate::error::SessionError;
use crate::session::Session;
use crate::session::sign_in::SignIn;

/// The user who is signed in, from the [`Users`] of the [`LoginLayer`](super::LoginLayer).
///
/// As an extractor it rejects with 401 when nobody is signed in, the user is gone or the stamp has
/// changed. It rejects with 503 when that is not known. As `Option<LoggedIn<T>>` it rejects only
/// with 503, and with 401 while the device of the session is not proved.
///
/// ```
/// use tracera_session::login::LoggedIn;
///
/// # #[derive(Clone)]
/// # struct User { name: String }
/// async fn account(LoggedIn(user): LoggedIn<User>) -> String {
///     user.name
/// }
///
/// async fn home(user: Option<LoggedIn<User>>) -> String {
///     user.map_or("please sign in".into(), |LoggedIn(user)| user.name)
/// }
/// ```
#[derive(Debug, Clone)]
pub struct LoggedIn<T>(pub T);

impl<T: Clone + Send + Sync + 'static, S: Sync> FromRequestParts<S> for LoggedIn<T> {
    type Rejection = SessionError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionError> {
        if let Some(known) = parts.extensions.get::<Self>() {
            return Ok(known.clone());
        }
        let session = Session::of(&parts.extensions)?;
        let id = session.user()?;
        let users = parts.extensions.get::<AnyUsers<T>>().cloned();
        let users = users.ok_or(SessionError::NoLoginLayer)?;
        let Some((user, stamp)) = users.0.find(&id).await? else {
            session.sign_out().await?;
            return Err(SessionError::Unauthenticated);
        };
        if stamp.is_some() && session.get::<String>(STAMP_FIELD).await? != stamp {
            session.sign_out().await?;
            return Err(SessionError::Unauthenticated);
        }
        let user = Self(user);
        parts.extensions.insert(user.clone());
        Ok(user)
    }
}

impl<T: Clone + Send + Sync + 'static, S: Sync> OptionalFromRequestParts<S> for LoggedIn<T> {
    type Rejection = SessionError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &S,
    ) -> Result<Option<Self>, SessionError> {
        match <Self as FromRequestParts<S>>::from_request_parts(parts, state).await {
            Ok(user) => Ok(Some(user)),
            Err(SessionError::Unauthenticated) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The login of a request: who is signed in, where users come from, and the session. For handlers
/// that sign in and out.
///
/// It rejects with 503 when it is not known who is signed in.
///
/// ```
/// use tracera_session::login::{Login, Users};
/// use tracera_session::{SessionError, SignIn, UserId};
///
/// // Once the password was right.
/// async fn welcome<U: Users>(
///     mut login: Login<U>,
///     id: UserId,
///     user: U::User,
/// ) -> Result<(), SessionError> {
///     login.sign_in(&user, SignIn::new(id, "password")).await
/// }
///
/// async fn goodbye<U: Users>(mut login: Login<U>) -> Result<(), SessionError> {
///     login.sign_out().await
/// }
/// ```
pub struct Login<U: Users> {
    /// The user who is signed in.
    pub user: Option<U::User>,
    /// The users of the [`LoginLayer`](super::LoginLayer).
    pub users: Arc<U>,
    /// The session.
    pub session: Session,
}

impl<U: Users> Login<U> {
    /// Signs the user in and records the stamp, as [`sign_in`](super::sign_in) does.
    ///
    /// # Errors
    /// As [`Session::sign_in`].
    pub async fn sign_in(&mut self, user: &U::User, sign_in: SignIn) -> Result<(), SessionError> {
        super::sign_in(&self.session, &*self.users, user, sign_in).await?;
        self.user = Some(user.clone());
        Ok(())
    }

    /// Signs the user out.
    ///
    /// # Errors
    /// As [`Session::sign_out`].
    pub async fn sign_out(&mut self) -> Result<(), SessionError> {
        self.session.sign_out().await?;
        self.user = None;
        Ok(())
    }
}

impl<U: Users> Clone for Login<U> {
    fn clone(&self) -> Self {
        let (user, users) = (self.user.clone(), self.users.clone());
        Self { user, users, session: self.session.clone() }
    }
}

impl<U: Users> fmt::Debug for Login<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("session", &self.session).finish_non_exhaustive()
    }
}

impl<U: Users, S: Sync> FromRequestParts<S> for Login<U> {
    type Rejection = SessionError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, SessionError> {
        let session = Session::of(&parts.extensions)?;
        let users = parts.extensions.get::<AnyUsers<U::User>>().cloned();
        let users = users.and_then(|users| users.0.into_any().downcast().ok());
        let users = users.ok_or(SessionError::NoLoginLayer)?;
        let user =
            <LoggedIn<U::User> as OptionalFromRequestParts<S>>::from_request_parts(parts, state);
        Ok(Self { user: user.await?.map(|LoggedIn(user)| user), users, session })
    }
}
