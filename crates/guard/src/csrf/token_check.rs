//! The token check ready made: what tokens are bound to, where they are handed out, where they are
//! checked.

use std::fmt;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, SET_COOKIE};
use http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode};

use super::{CsrfKeys, VisitorCookie, VisitorId, is_safe_method, token_from_headers};

/// Hands out CSRF tokens ([`issue_csrf_token`]) and checks them ([`check_csrf_token`]). A token is
/// bound to the session or, signed out, to the [`VisitorCookie`]; after signing in or out a client
/// fetches a new one.
///
/// The session is whatever your session layer leaves in a request, of signed-in browsers alone: a
/// visitor's session begins with the first thing stored, and a token bound to it would no longer be
/// the one the page holds. [`CsrfKeys`] has the rules of the whole protection. With
/// `tracera-session`:
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
///
/// An HTML form cannot send a header. Its page takes a token from [`CsrfCheck::issue`] and its
/// handler, outside of [`check_csrf_token`] but below [`check_origin`](crate::check_origin), asks
/// [`CsrfCheck::verify`] before anything else:
///
/// ```
/// use std::collections::HashMap;
/// use axum::{Form, Router, extract::{Request, State}, response::{Html, IntoResponse}, routing::get};
/// use http::{Extensions, HeaderMap, header::SET_COOKIE};
/// use tracera_guard::{CsrfCheck, CsrfRejection};
///
/// async fn page(State(csrf): State<CsrfCheck>, request: Request) -> Result<impl IntoResponse, CsrfRejection> {
///     let (token, cookie) = csrf.issue(request.extensions(), request.headers())?;
///     let field = format!(r#"<input type="hidden" name="csrf_token" value="{token}">"#);
///     let page = format!(r#"<form method="post">{field}<button>Transfer</button></form>"#);
///     Ok((cookie.map(|cookie| [(SET_COOKIE, cookie)]), Html(page)))
/// }
///
/// async fn transfer(
///     State(csrf): State<CsrfCheck>,
///     request: Extensions,
///     headers: HeaderMap,
///     Form(fields): Form<HashMap<String, String>>,
/// ) -> Result<&'static str, CsrfRejection> {
///     let token = fields.get("csrf_token").map_or("", |token| token);
///     csrf.verify(&request, &headers, token)?;
///     Ok("done")
/// }
///
/// fn forms(csrf: CsrfCheck) -> Router {
///     Router::new().route("/transfer", get(page).post(transfer)).with_state(csrf)
/// }
/// ```
#[derive(Clone)]
pub struct CsrfCheck {
    keys: CsrfKeys,
    visitors: VisitorCookie,
    session: Arc<SessionOf>,
}

type SessionOf = dyn Fn(&Extensions) -> Result<Option<Vec<u8>>, Box<Response>> + Send + Sync;

/// A request did not show a token of its own session or visitor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CsrfRejection {
    /// The token is missing, or was issued to somebody else. As a response: 403, JSON
    /// `csrf_failed`.
    #[error("the request has no valid csrf token")]
    Token,
    /// Which session the request belongs to is not known. As a response: the error of the
    /// application's `session_of`.
    #[error("the session of the request is not known")]
    SessionUnknown(Box<Response>),
}

impl IntoResponse for CsrfRejection {
    fn into_response(self) -> Response {
        match self {
            Self::Token => crate::reply::error(
                StatusCode::FORBIDDEN,
                "csrf_failed",
                "fetch a new CSRF token and send it in X-CSRF-Token with the same cookies",
            ),
            Self::SessionUnknown(answer) => *answer,
        }
    }
}

impl CsrfCheck {
    /// `session_of` tells the bytes that belong to a request's signed-in session alone and change
    /// with its id; `None` for who is signed out, also with a session, and an error (the answer
    /// then) when that is not known.
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

    /// A fresh token for the session or visitor of a request, and the `Set-Cookie` that has to go
    /// with it to a signed-out browser.
    ///
    /// # Errors
    /// [`CsrfRejection::SessionUnknown`].
    ///
    /// # Panics
    /// If the operating system has no random bytes to give.
    pub fn issue(
        &self,
        request: &Extensions,
        headers: &HeaderMap,
    ) -> Result<(String, Option<HeaderValue>), CsrfRejection> {
        if let Some(session) = self.session(request)? {
            return Ok((self.keys.issue(&session), None));
        }
        let (visitor, cookie) = self.visitor(headers);
        Ok((self.keys.issue(&bound_to(b'v', visitor.as_bytes())), Some(cookie)))
    }

    /// Whether `token`, wherever it was found in a request, was issued for the request's session or
    /// visitor.
    ///
    /// # Errors
    /// [`CsrfRejection`] says why not.
    pub fn verify(
        &self,
        request: &Extensions,
        headers: &HeaderMap,
        token: &str,
    ) -> Result<(), CsrfRejection> {
        let visitor = || Some(bound_to(b'v', self.visitors.parse(headers)?.as_bytes()));
        let binding = self.session(request)?.or_else(visitor);
        let is_good = binding.is_some_and(|binding| self.keys.verify(&binding, token));
        is_good.then_some(()).ok_or(CsrfRejection::Token)
    }

    fn session(&self, request: &Extensions) -> Result<Option<Vec<u8>>, CsrfRejection> {
        (self.session)(request).map_err(CsrfRejection::SessionUnknown)
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

/// A handler that answers a fresh token, `{"csrf_token": "…"}`, and gives a signed-out browser its
/// visitor cookie: `get(issue_csrf_token).with_state(csrf)`, inside the session layer.
///
/// # Errors
/// [`CsrfRejection::SessionUnknown`].
pub async fn issue_csrf_token(
    State(csrf): State<CsrfCheck>,
    request: Request,
) -> Result<Response, CsrfRejection> {
    let (token, cookie) = csrf.issue(request.extensions(), request.headers())?;
    let mut response = Response::new(Body::from(format!(r#"{{"csrf_token":"{token}"}}"#)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(cookie) = cookie {
        headers.append(SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Middleware that refuses unsafe requests without a token of their own session or visitor in
/// [`CSRF_HEADER`](crate::CSRF_HEADER). Use it with [`axum::middleware::from_fn_with_state`],
/// inside the session layer, and below [`check_origin`](crate::check_origin). Where a dead session
/// is to be 401 whatever the token, put RequireAuth outside of it.
///
/// Only [`check_origin`](crate::check_origin) guards a WebSocket: a page opens it with GET or, over
/// HTTP/2, with CONNECT, and can add a header to neither. So CONNECT passes here like the safe
/// methods.
///
/// # Errors
/// [`CsrfRejection`], answered with 403 or as the application's `session_of` says. To answer
/// otherwise, call [`CsrfCheck::verify`] in a middleware of your own.
pub async fn check_csrf_token(
    State(csrf): State<CsrfCheck>,
    request: Request,
    next: Next,
) -> Result<Response, CsrfRejection> {
    let needs_none = is_safe_method(request.method()) || *request.method() == Method::CONNECT;
    if !needs_none {
        // No token is empty.
        let token = token_from_headers(request.headers()).unwrap_or_default();
        csrf.verify(request.extensions(), request.headers(), token).inspect_err(|rejection| {
            if matches!(rejection, CsrfRejection::Token) {
                tracing::warn!(event = "csrf_failed", "an unsafe request had no valid CSRF token");
            }
        })?;
    }
    Ok(next.run(request).await)
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
        let csrf = CsrfCheck::new(
            CsrfKeys::new([7; 32], []),
            VisitorCookie::new([8; 32], [], true),
            session_of,
        );
        Router::new()
            .route("/csrf", get(issue_csrf_token).with_state(csrf.clone()))
            .route("/act", post(async || "done").get(async || "seen").connect(async || "open"))
            .layer(from_fn_with_state(csrf, check_csrf_token))
            .layer(Extension(session))
    }

    async fn send(app: &Router, method: &str, path: &str, token: &str, cookie: &str) -> Response {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("x-csrf-token", token)
            .header(COOKIE, cookie);
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
        assert_eq!(
            send(&ada, "CONNECT", "/act", "", "").await.status(),
            200,
            "a web socket over HTTP/2"
        );
    }

    #[test]
    fn a_token_in_a_form_is_checked_like_one_in_the_header() {
        let session_of = |request: &Extensions| *request.get::<Session>().unwrap();
        let csrf = CsrfCheck::new(
            CsrfKeys::new([7; 32], []),
            VisitorCookie::new([8; 32], [], true),
            session_of,
        );
        let request = |session: Session| {
            let mut extensions = Extensions::new();
            extensions.insert(session);
            extensions
        };
        let (ada, eve, nobody) =
            (request(Ok(Some("ada"))), request(Ok(Some("eve"))), request(Ok(None)));
        let no_cookie = HeaderMap::new();

        let (token, cookie) = csrf.issue(&ada, &no_cookie).unwrap();
        assert_eq!(cookie, None);
        assert!(csrf.verify(&ada, &no_cookie, &token).is_ok());
        for (request, token) in [(&eve, &*token), (&nobody, &*token), (&ada, "")] {
            let refused = csrf.verify(request, &no_cookie, token).unwrap_err();
            assert!(matches!(refused, CsrfRejection::Token), "{refused}");
        }

        let visitor = || {
            let (token, cookie) = csrf.issue(&nobody, &no_cookie).unwrap();
            let cookie = cookie.unwrap();
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            (token, HeaderMap::from_iter([(COOKIE, pair.parse().unwrap())]))
        };
        let ((token, cookie), (_, of_another)) = (visitor(), visitor());
        assert!(csrf.verify(&nobody, &cookie, &token).is_ok());
        for headers in [&no_cookie, &of_another] {
            assert!(csrf.verify(&nobody, headers, &token).is_err());
        }

        let unknown = request(Err(StatusCode::SERVICE_UNAVAILABLE));
        let refused = csrf.verify(&unknown, &cookie, &token).unwrap_err();
        assert!(matches!(refused, CsrfRejection::SessionUnknown(_)));
        assert_eq!(refused.into_response().status(), 503);
    }

    #[tokio::test]
    async fn a_session_that_is_not_known_is_neither_signed_in_nor_a_visitor() {
        let (of_visitor, visitor) = token(&app(Ok(None))).await;
        let unknown = app(Err(StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(send(&unknown, "POST", "/act", &of_visitor, &visitor).await.status(), 503);
        assert_eq!(send(&unknown, "GET", "/csrf", "", &visitor).await.status(), 503);
    }
}
