//! The token check ready made: what tokens are bound to, where they are handed out, where they are checked.

use std::fmt;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, SET_COOKIE};
use http::{Extensions, HeaderMap, HeaderValue, StatusCode};

use super::{CsrfKeys, VisitorCookie, VisitorId, is_safe_method, token_from_headers};

/// Hands out CSRF tokens ([`issue_csrf_token`]) and checks them ([`check_csrf_token`]). A token is bound to the session
/// or, signed out, to the [`VisitorCookie`]; after signing in or out a client fetches a new one.
///
/// The session is whatever your session layer leaves in a request, of signed-in browsers alone: a visitor's session begins
/// with the first thing stored, and a token bound to it would no longer be the one the page holds. [`CsrfKeys`] has the
/// rules of the whole protection. With `tracera-session`:
///
/// ```text
/// |request| Session::of(request).and_then(|session| match session.user() {
///     Ok(_) => Ok(session.binding()),
///     Err(SessionError::Unauthenticated) => Ok(None),
///     Err(error) => Err(error),
/// })
/// ```
///
/// With any other:
///
/// ```
/// use axum::{Router, middleware::from_fn_with_state, routing::{get, post}};
/// use http::{Extensions, StatusCode};
/// use tracera_guard::*;
///
/// /// What your session layer puts into a request; it must change at every sign-in.
/// #[derive(Clone)]
/// struct SessionId([u8; 16]);
///
/// let session_of = |request: &Extensions| {
///     Ok::<_, StatusCode>(request.get::<SessionId>().map(|session| session.0))
/// };
/// // Two random keys; with `tracera-session`, `KeyRing::derive` makes them.
/// let (keys, visitors) = (CsrfKeys::new([7; 32], []), VisitorCookie::new([8; 32], [], true));
/// let csrf = CsrfCheck::new(keys, visitors, session_of);
/// let app: Router = Router::new()
///     .route("/csrf", get(issue_csrf_token).with_state(csrf.clone()))
///     .route("/transfer", post(async || "done"))
///     .layer(from_fn_with_state(csrf, check_csrf_token))
///     .layer(from_fn_with_state(OriginPolicy::new("https://example.org").unwrap(), check_origin));
/// ```
#[derive(Clone)]
pub struct CsrfCheck {
    keys: CsrfKeys,
    visitors: VisitorCookie,
    session: Arc<SessionOf>,
}

type SessionOf = dyn Fn(&Extensions) -> Result<Option<Vec<u8>>, Box<Response>> + Send + Sync;

/// What a request's token is bound to, and the cookie that has to go with it.
struct Binding {
    bytes: Vec<u8>,
    cookie: Option<HeaderValue>,
}

impl CsrfCheck {
    /// `session_of` tells the bytes that belong to a request's signed-in session alone and change with its id; `None` for
    /// who is signed out, also with a session, and an error (the answer then) when that is not known.
    pub fn new<B: AsRef<[u8]>, E: IntoResponse>(
        keys: CsrfKeys,
        visitors: VisitorCookie,
        session_of: impl Fn(&Extensions) -> Result<Option<B>, E> + Send + Sync + 'static,
    ) -> Self {
        let session = move |request: &Extensions| match session_of(request) {
            Ok(session) => Ok(session.map(|id| bound_to(b's', id.as_ref()))),
            Err(error) => Err(Box::new(error.into_response())),
        };
        Self { keys, visitors, session: Arc::new(session) }
    }

    fn known(&self, request: &Request) -> Result<Option<Vec<u8>>, Box<Response>> {
        let session = (self.session)(request.extensions())?;
        Ok(session.or_else(|| Some(bound_to(b'v', self.visitors.parse(request.headers())?.as_bytes()))))
    }

    fn known_or_new(&self, request: &Request) -> Result<Binding, Box<Response>> {
        if let Some(bytes) = (self.session)(request.extensions())? {
            return Ok(Binding { bytes, cookie: None });
        }
        let (visitor, cookie) = self.visitor(request.headers());
        Ok(Binding { bytes: bound_to(b'v', visitor.as_bytes()), cookie: Some(cookie) })
    }

    fn visitor(&self, headers: &HeaderMap) -> (VisitorId, HeaderValue) {
        match self.visitors.parse(headers) {
            Some(visitor) => {
                let cookie = self.visitors.renew(&visitor);
                (visitor, cookie)
            }
            None => self.visitors.issue(),
        }
    }
}

/// The first byte keeps sessions and visitors apart.
fn bound_to(kind: u8, id: &[u8]) -> Vec<u8> {
    [&[kind], id].concat()
}

impl fmt::Debug for CsrfCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CsrfCheck").field("keys", &self.keys).finish_non_exhaustive()
    }
}

/// A handler that answers a fresh token, `{"csrf_token": "…"}`, and gives a signed-out browser its visitor cookie:
/// `get(issue_csrf_token).with_state(csrf)`, inside the session layer.
pub async fn issue_csrf_token(State(csrf): State<CsrfCheck>, request: Request) -> Response {
    let binding = match csrf.known_or_new(&request) {
        Ok(binding) => binding,
        Err(answer) => return *answer,
    };
    let mut response =
        Response::new(Body::from(format!(r#"{{"csrf_token":"{}"}}"#, csrf.keys.issue(&binding.bytes))));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(cookie) = binding.cookie {
        headers.append(SET_COOKIE, cookie);
    }
    response
}

/// Middleware that refuses unsafe requests without a token of their own session or visitor in
/// [`CSRF_HEADER`](crate::CSRF_HEADER): 403, JSON `csrf_failed`. Use it with [`axum::middleware::from_fn_with_state`],
/// inside the session layer, and below [`check_origin`](crate::check_origin). Where a dead session is to be 401 whatever
/// the token, put RequireAuth outside of it.
pub async fn check_csrf_token(State(csrf): State<CsrfCheck>, request: Request, next: Next) -> Response {
    if is_safe_method(request.method()) {
        return next.run(request).await;
    }
    let known = match csrf.known(&request) {
        Ok(known) => known,
        Err(answer) => return *answer,
    };
    let claim = known.zip(token_from_headers(request.headers()));
    if claim.is_some_and(|(binding, token)| csrf.keys.verify(&binding, token)) {
        return next.run(request).await;
    }
    tracing::warn!(event = "csrf_failed", "an unsafe request had no valid CSRF token");
    crate::reply::error(
        StatusCode::FORBIDDEN,
        "csrf_failed",
        "fetch a new CSRF token and send it in X-CSRF-Token with the same cookies",
    )
}

#[cfg(test)]
mod tests {
    use axum::middleware::from_fn_with_state;
    use axum::routing::{get, post};
    use axum::{Extension, Router};
    use http::header::COOKIE;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    type Session = Result<Option<&'static str>, StatusCode>;

    fn app(session: Session) -> Router {
        let session_of = |request: &Extensions| *request.get::<Session>().unwrap();
        let csrf =
            CsrfCheck::new(CsrfKeys::new([7; 32], []), VisitorCookie::new([8; 32], [], true), session_of);
        Router::new()
            .route("/csrf", get(issue_csrf_token).with_state(csrf.clone()))
            .route("/act", post(async || "done").get(async || "seen"))
            .layer(from_fn_with_state(csrf, check_csrf_token))
            .layer(Extension(session))
    }

    async fn send(app: &Router, method: &str, path: &str, token: &str, cookie: &str) -> Response {
        let request =
            Request::builder().method(method).uri(path).header("x-csrf-token", token).header(COOKIE, cookie);
        app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    async fn token(app: &Router) -> (String, String) {
        let response = send(app, "GET", "/csrf", "", "").await;
        let cookie = response.headers().get(SET_COOKIE).map_or("", |line| line.to_str().unwrap());
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (String::from_utf8(body.to_vec()).unwrap().split('"').nth(3).unwrap().to_owned(), cookie)
    }

    #[tokio::test]
    async fn a_token_is_good_for_the_session_or_visitor_it_was_handed_to() {
        let (ada, eve, nobody) = (app(Ok(Some("ada"))), app(Ok(Some("eve"))), app(Ok(None)));
        let (of_ada, no_cookie) = token(&ada).await;
        let (of_visitor, visitor) = token(&nobody).await;
        assert_eq!(no_cookie, "", "a session needs no visitor cookie");
        for (app, token, cookie, status) in [
            (&ada, &*of_ada, "", 200),
            (&eve, &*of_ada, "", 403),
            (&nobody, &*of_ada, &*visitor, 403),
            (&ada, &*of_visitor, &*visitor, 403),
            (&nobody, &*of_visitor, &*visitor, 200),
            (&nobody, &*of_visitor, "", 403),
            (&ada, "", "", 403),
        ] {
            assert_eq!(send(app, "POST", "/act", token, cookie).await.status(), status);
        }
        assert_eq!(send(&ada, "GET", "/act", "", "").await.status(), 200);
    }

    #[tokio::test]
    async fn a_session_that_is_not_known_is_neither_signed_in_nor_a_visitor() {
        let (of_visitor, visitor) = token(&app(Ok(None))).await;
        let unknown = app(Err(StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(send(&unknown, "POST", "/act", &of_visitor, &visitor).await.status(), 503);
        assert_eq!(send(&unknown, "GET", "/csrf", "", &visitor).await.status(), 503);
    }
}
