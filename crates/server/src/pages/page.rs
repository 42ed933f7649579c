//! The common parts of pages.

use std::fmt;

use askama::Template;
use axum::extract::FromRequestParts;
use axum::response::{Html, IntoResponse, Redirect, Response};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Uri, header};
use time::OffsetDateTime;
use tracera_guard::{CsrfBinding, CsrfRejection};
use tracera_session::{Session, UserId};

use crate::actions::user_id;
use crate::clock::rfc3339;
use crate::http::App;
use crate::http::error::{AppError, AppResult};
use crate::pages::kept_form::{self, KeptForm, NotYet};
use crate::pages::messages::{self, Done, Problem};
use crate::pages::passkey_offer;
use crate::pages::return_target::ReturnTarget;
use crate::store::users::{self, User};

/// The data of every page. It includes a CSRF token for forms, and the visitor's cookie that the
/// token is bound to when nobody is signed in.
pub struct Page {
    /// The CSRF token.
    pub csrf_token: String,
    /// Whether a passkey is suggested.
    pub offers_passkey: bool,
    /// Whether the URL has a notice about the last step. A script then removes it from the address
    /// bar.
    pub speaks: bool,
    /// A kept form to offer.
    pub kept: Option<KeptForm>,
    /// The file whose download the page starts.
    pub download: Option<&'static str>,
    cookie: Option<HeaderValue>,
}

impl Page {
    /// The data for this session or visitor.
    pub fn new(binding: &CsrfBinding) -> Self {
        let (csrf_token, cookie) = (binding.token(), binding.set_cookie());
        Self {
            csrf_token,
            offers_passkey: false,
            speaks: false,
            kept: None,
            download: None,
            cookie,
        }
    }

    /// Renders a template with the page's cookie.
    ///
    /// # Errors
    /// 500 when the template cannot be rendered.
    pub fn render(&self, status: StatusCode, template: &impl Template) -> AppResult<Response> {
        let html = template.render().map_err(AppError::internal)?;
        let cookie = self.cookie.clone().map(|cookie| [(header::SET_COOKIE, cookie)]);
        Ok((status, cookie, Html(html)).into_response())
    }
}

impl FromRequestParts<App> for Page {
    type Rejection = CsrfRejection;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, CsrfRejection> {
        let binding = CsrfBinding::from_request_parts(parts, app).await?;
        let offers_passkey = passkey_offer::is_open(app, &parts.headers);
        let session = Session::from_request_parts(parts, app).await;
        let user = session.ok().and_then(|session| user_id(&session.user().ok()?).ok());
        let kept = user.and_then(|_| kept_form::read(&parts.headers, app.is_https(), user));
        let download = ReturnTarget::to_download(&parts.uri);
        let speaks = messages::is_said_by(&parts.uri);
        Ok(Self { offers_passkey, speaks, kept, download, ..Self::new(&binding) })
    }
}

/// The signed-in user, for private pages. Others are redirected to the sign-in page.
pub struct Person {
    /// The account.
    pub account: User,
    /// The account's id in the session store.
    pub id: UserId,
}

impl Person {
    /// The display name: the name, else the address.
    pub fn label(&self) -> String {
        let email = self.account.email.as_ref().map(ToString::to_string);
        self.account.name.clone().or(email).unwrap_or_else(|| "Your account".to_owned())
    }

    /// When the account will be deleted, if that was requested.
    pub fn leaving(&self) -> Option<Moment> {
        self.account.delete_at.map(Moment)
    }
}

impl FromRequestParts<App> for Person {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let session =
            Session::from_request_parts(parts, app).await.map_err(IntoResponse::into_response)?;
        let found = find(app, &session).await.map_err(IntoResponse::into_response)?;
        found.ok_or_else(|| to_sign_in(&parts.method, &parts.uri))
    }
}

async fn find(app: &App, session: &Session) -> AppResult<Option<Person>> {
    session.available()?;
    let Ok(id) = session.user() else { return Ok(None) };
    match users::find_by_id(&app.database, user_id(&id)?).await? {
        Some(account) => Ok(Some(Person { account, id })),
        None => {
            // The account was deleted while this session was being created.
            session.sign_out().await?;
            Ok(None)
        }
    }
}

/// Redirects a visitor who must sign in first.
pub fn to_sign_in(method: &Method, uri: &Uri) -> Response {
    let next = ReturnTarget::asked_for(method, uri).unwrap_or_default();
    not_yet(NotYet::SignedOut, &next.by_way_of_sign_in())
}

/// The response to a form whose sender must confirm first.
pub fn to_confirm_first() -> Response {
    not_yet(NotYet::NotRecent, &ReturnTarget::account().by_way_of_confirming())
}

fn not_yet(why: NotYet, page: &str) -> Response {
    let mut response = Redirect::to(page).into_response();
    response.extensions_mut().insert(why);
    response
}

/// Redirects to the account page with the result.
pub fn account_done(done: Done) -> Response {
    Redirect::to(&messages::after("/account", done)).into_response()
}

/// Redirects to the account page with the problem.
pub fn account_problem(problem: Problem) -> Response {
    Redirect::to(&messages::after_problem("/account", problem)).into_response()
}

/// A time on a page: `2026-11-23 20:04 UTC`. A script replaces it with the reader's local time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(pub OffsetDateTime);

impl Moment {
    /// For the attribute `datetime`: RFC 3339.
    pub fn machine(&self) -> String {
        rfc3339(self.0)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&minute(self.0))
    }
}

/// Formats a time: `2026-11-23 20:04 UTC`.
pub fn minute(at: OffsetDateTime) -> String {
    let (date, hour, minute) = (at.date(), at.hour(), at.minute());
    format!("{date} {hour:02}:{minute:02} UTC")
}

/// Formats the time passed: `just now`, `5 minutes ago`, `3 days ago`.
pub fn ago(at: OffsetDateTime, now: OffsetDateTime) -> String {
    let secs = (now - at).whole_seconds();
    let (count, unit) = match secs {
        ..60 => return "just now".to_owned(),
        60..3600 => (secs / 60, "minute"),
        3600..86_400 => (secs / 3600, "hour"),
        _ => (secs / 86_400, "day"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn times_read_as_people_say_them() {
        let now = datetime!(2026-11-23 20:04:59 UTC);
        assert_eq!(Moment(now).to_string(), "2026-11-23 20:04 UTC");
        assert_eq!(Moment(now).machine(), "2026-11-23T20:04:59Z");
        for (at, text) in [
            (datetime!(2026-11-23 20:05:30 UTC), "just now"),
            (datetime!(2026-11-23 20:04:00 UTC), "just now"),
            (datetime!(2026-11-23 20:03:59 UTC), "1 minute ago"),
            (datetime!(2026-11-23 18:04:59 UTC), "2 hours ago"),
            (datetime!(2026-11-20 20:04:59 UTC), "3 days ago"),
        ] {
            assert_eq!(ago(at, now), text);
        }
    }
}
