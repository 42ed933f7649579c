//! API tokens in `Authorization: Bearer` (RFC 6750): authenticates the caller on routes that accept
//! them.
//!
//! 1. Only a row of the URL table with a scope accepts tokens. On other routes the header is
//!    ignored.
//! 2. A request with a token has no session: its cookies are ignored. It needs no CSRF token,
//!    because browsers never send this header on their own.
//! 3. Any invalid token is 401 `invalid_token`; a token without the scope is 403
//!    `insufficient_scope`. Malformed text causes no query to any store.

use std::time::Duration;

use axum::extract::{FromRequestParts, OptionalFromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::time::sleep;
use tracera_guard::RateLimitRejection;
use tracera_session::{Session, UserId};
use uuid::Uuid;

use crate::actions::user_id;
use crate::auth::api_token::ApiToken;
use crate::auth::api_tokens::{self, VerifiedToken};
use crate::domain::scope::Scope;
use crate::http::App;
use crate::http::context::RequestContext;
use crate::http::error::{AppError, AppResult};

/// Whether a request presents a token on a route that accepts one.
pub fn presents_token(request: &Request) -> bool {
    scope(request).is_some()
        && request.headers().get_all(header::AUTHORIZATION).iter().any(is_bearer)
}

/// The scope that a token needs for this request; `None` on a route without tokens.
fn scope(request: &Request) -> Option<Scope> {
    RequestContext::of(request.extensions())?.answering()?.scope
}

fn is_bearer(value: &HeaderValue) -> bool {
    let scheme = value.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
    scheme.eq_ignore_ascii_case(b"bearer")
}

/// Whether the request was authenticated by a token.
pub fn is_by_token(request: &Request) -> bool {
    request.extensions().get::<VerifiedToken>().is_some()
}

/// Accepts requests with a valid token that has the row's scope, within the token's limit.
pub async fn authenticate(
    State(app): State<App>,
    mut request: Request,
    next: Next,
) -> AppResult<Response> {
    let scope =
        scope(&request).ok_or_else(|| AppError::internal("no scope on a route of tokens"))?;
    let Some(token) = presented(request.headers()) else { return Ok(invalid()) };
    let Some(verified) = app.api_tokens.verify(&token, app.now()).await? else {
        return Ok(invalid());
    };
    if !verified.scopes.contains(scope) {
        return Ok(insufficient(scope));
    }
    let decision = match app.api_tokens.count(verified.id).await {
        Ok(decision) if decision.allowed => decision,
        Ok(decision) => return Ok(RateLimitRejection::Limited(decision).into_response()),
        Err(error) => return Ok(RateLimitRejection::Unavailable(error).into_response()),
    };
    request.extensions_mut().insert(verified);
    let mut response = next.run(request).await;
    decision.apply_headers(response.headers_mut());
    Ok(response)
}

/// The token of a request with exactly one `Authorization` header.
fn presented(headers: &HeaderMap) -> Option<ApiToken> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (_scheme, token) = value.to_str().ok()?.split_once(' ')?;
    ApiToken::parse(token)
}

fn invalid() -> Response {
    let error = AppError::new(
        StatusCode::UNAUTHORIZED,
        "invalid_token",
        "this API token is wrong, expired or revoked; make a new one on your account page",
    );
    challenge(error, "Bearer realm=\"tracera\", error=\"invalid_token\"".to_owned())
}

fn insufficient(scope: Scope) -> Response {
    let scope = scope.as_str();
    let sentence = format!("this API token lacks the scope {scope}");
    let error = AppError::new(StatusCode::FORBIDDEN, "insufficient_scope", sentence);
    let value =
        format!("Bearer realm=\"tracera\", error=\"insufficient_scope\", scope=\"{scope}\"");
    challenge(error, value)
}

fn challenge(error: AppError, value: String) -> Response {
    let mut response = error.into_response();
    let value = HeaderValue::try_from(value).expect("names of scopes are visible ASCII");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
    response
}

/// The caller on a route that accepts tokens: the token's owner or the signed-in user.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The account's id in the database.
    pub user: Uuid,
    /// The account's id in the session store.
    pub id: UserId,
    by: By,
}

#[derive(Clone, Debug)]
enum By {
    Token(VerifiedToken),
    Session(Session),
}

/// Interval between checks of an open stream's token.
const LOOK: Duration = Duration::from_secs(1);

impl Reader {
    /// A caller with a token.
    ///
    /// # Errors
    /// 500 if the owner's id is not a valid user id for sessions.
    pub fn by_token(token: VerifiedToken) -> AppResult<Self> {
        let id = UserId::new(token.user.as_bytes()).map_err(AppError::internal)?;
        Ok(Self { user: token.user, id, by: By::Token(token) })
    }

    /// Resolves when the caller's session or token has ended.
    ///
    /// # Errors
    /// 401 when it has ended already.
    pub fn ended(&self, app: &App) -> AppResult<impl Future<Output = ()> + Send + use<>> {
        let (by, app) = (self.by.clone(), app.clone());
        let watch = match &by {
            By::Session(session) => Some(session.watch()?),
            By::Token(_) => None,
        };
        Ok(async move {
            match (watch, by) {
                (Some(watch), _) => drop(watch.ended().await),
                (None, By::Token(token)) => {
                    // An error of the database does not end the stream.
                    while api_tokens::lives(&app.database, token, app.now()).await.unwrap_or(true) {
                        sleep(LOOK).await;
                    }
                }
                (None, By::Session(_)) => {}
            }
        })
    }
}

impl FromRequestParts<App> for Reader {
    type Rejection = AppError;

    /// 401 if there is neither a token nor a session.
    async fn from_request_parts(parts: &mut Parts, app: &App) -> AppResult<Self> {
        if let Some(token) = parts.extensions.get::<VerifiedToken>() {
            return Self::by_token(*token);
        }
        let session = Session::from_request_parts(parts, app).await?;
        let id = session.user()?;
        Ok(Self { user: user_id(&id)?, id, by: By::Session(session) })
    }
}

impl OptionalFromRequestParts<App> for Reader {
    type Rejection = AppError;

    /// `None` if there is neither a token nor a session.
    async fn from_request_parts(parts: &mut Parts, app: &App) -> AppResult<Option<Self>> {
        match <Self as FromRequestParts<App>>::from_request_parts(parts, app).await {
            Err(error) if error.status() == StatusCode::UNAUTHORIZED => Ok(None),
            reader => reader.map(Some),
        }
    }
}
