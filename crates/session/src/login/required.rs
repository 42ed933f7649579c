//! Routes for signed-in users, and redirects to the sign-in page and back.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::Route;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Uri, header};
use tower::{Layer, Service};

use super::{Login, Users};
use crate::error::SessionError;
use crate::layer::require_auth::RequireAuth;

/// Lets only signed-in users through, and redirects others to the sign-in page.
///
/// 1. A page request (`GET` that accepts HTML) is redirected to `page?next=…`, with the requested
///    address. Read it with [`return_target`].
/// 2. A request of htmx is answered with 401 and `HX-Redirect` to the same address.
/// 3. Everything else is answered as [`RequireAuth`] does: 401 or 503, in JSON.
///
/// ```
/// use axum::{Router, routing::get};
/// use tracera_session::login::login_required;
///
/// let app: Router = Router::new()
///     .route("/account", get(async || "yours"))
///     .route_layer(login_required("/login")) // for the routes above
///     .route("/login", get(async || "the form"));
/// ```
///
/// # Panics
/// If `page` is not a path such as `/login`.
pub fn login_required(page: &str) -> RequireAuth {
    let page = path_of_this_site(page);
    RequireAuth::new().on_rejection(move |error, head| match error {
        SessionError::Unauthenticated => to_sign_in(&page, head),
        error => error.into_response(),
    })
}

/// Lets only users with a permission through, as [`Users::permits`] decides. Other users are
/// answered with 403. Signed-out visitors are handled as by [`login_required`].
///
/// ```
/// use axum::{Router, routing::get};
/// use tracera_session::login::{Users, permission_required};
///
/// fn admin<U: Users>() -> Router {
///     Router::new()
///         .route("/reports", get(async || "numbers"))
///         .route_layer(permission_required::<U>("/login", "reports.read"))
/// }
/// ```
///
/// # Panics
/// If `page` is not a path such as `/login`.
pub fn permission_required<U: Users>(
    page: &str,
    permission: &'static str,
) -> impl Layer<
    Route,
    Service = impl Service<Request, Response = Response, Error = Infallible, Future: Send>
              + Clone
              + Send
              + Sync
              + 'static,
> + Clone
+ Send
+ Sync
+ 'static {
    let page = path_of_this_site(page);
    from_fn(move |login: Login<U>, request: Request, next: Next| {
        let page = page.clone();
        async move { permit(&login, &page, permission, request, next).await }
    })
}

fn path_of_this_site(page: &str) -> Arc<str> {
    assert!(return_target(page).is_some(), "{page:?} is no path of this site");
    page.into()
}

async fn permit<U: Users>(
    login: &Login<U>,
    page: &str,
    permission: &str,
    request: Request<Body>,
    next: Next,
) -> Response {
    let Some(user) = &login.user else {
        return to_sign_in(page, &request.into_parts().0);
    };
    match login.users.permits(user, permission).await {
        Ok(true) => next.run(request).await,
        Ok(false) => SessionError::Forbidden.into_response(),
        Err(error) => SessionError::Users(error.into()).into_response(),
    }
}

fn to_sign_in(page: &str, head: &Parts) -> Response {
    let wanted = if head.method == Method::GET { wanted(&head.uri) } else { String::new() };
    let address = format!("{page}{wanted}");
    if head.headers.contains_key("hx-request") {
        let mut response = SessionError::Unauthenticated.into_response();
        if let Ok(address) = HeaderValue::try_from(address) {
            response.headers_mut().insert("hx-redirect", address);
        }
        response
    } else if head.method == Method::GET && accepts_html(&head.headers) {
        Redirect::to(&address).into_response()
    } else {
        SessionError::Unauthenticated.into_response()
    }
}

fn wanted(uri: &Uri) -> String {
    let wanted = uri.path_and_query().map_or("/", |wanted| wanted.as_str());
    let mut query = "?next=".to_owned();
    for byte in wanted.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                query.push(char::from(byte));
            }
            _ => query.extend(['%', hex(byte >> 4), hex(byte & 15)]),
        }
    }
    query
}

fn hex(digit: u8) -> char {
    char::from_digit(digit.into(), 16).map_or('0', |digit| digit.to_ascii_uppercase())
}

fn accepts_html(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT).iter().any(|accept| {
        accept.as_bytes().windows(9).any(|part| part.eq_ignore_ascii_case(b"text/html"))
    })
}

/// The address to go to after a sign-in, from the decoded parameter `next`: a path of this site.
/// `None` for an address of another site, such as `//evil.example`, and for invalid addresses.
///
/// ```
/// use tracera_session::login::return_target;
///
/// assert_eq!(return_target("/account?tab=1"), Some("/account?tab=1"));
/// assert_eq!(return_target("//evil.example"), None);
/// ```
pub fn return_target(next: &str) -> Option<&str> {
    let rest = next.strip_prefix('/')?;
    // Browsers treat a backslash as a slash, and skip tabs and line ends.
    let stays = !rest.starts_with(['/', '\\']) && next.bytes().all(|byte| byte.is_ascii_graphic());
    stays.then_some(next)
}
