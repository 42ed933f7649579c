//! To a provider: where signing in with it begins, and linking Steam.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, header};

use crate::actions::provider::{BeginRefusal, Departure, begin};
use crate::actions::{ActionError, Caller, linking};
use crate::domain::provider::Provider;
use crate::http::error::{AppError, AppResult};
use crate::http::{App, cookies};
use crate::pages::messages::{Problem, after_problem};

/// `GET /api/v1/auth/google`
pub async fn google(State(app): State<App>) -> AppResult<Response> {
    sign_in(&app, Provider::Google).await
}

/// `GET /api/v1/auth/github`
pub async fn github(State(app): State<App>) -> AppResult<Response> {
    sign_in(&app, Provider::Github).await
}

/// `GET /api/v1/auth/steam/login`
pub async fn steam_login(State(app): State<App>) -> AppResult<Response> {
    sign_in(&app, Provider::Steam).await
}

async fn sign_in(app: &App, provider: Provider) -> AppResult<Response> {
    leave(app, begin(&app.accounts(), &app.providers, provider).await, "/login")
}

/// `GET /api/v1/auth/steam`: links Steam to the account that is signed in.
///
/// A navigation and so without a CSRF token: other sites may not cause it, and it ends in a
/// question by Steam.
pub async fn steam_link(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
) -> AppResult<Response> {
    if !is_own_navigation(&headers) {
        return Err(AppError::csrf_failed("linking begins on a page of this site"));
    }
    let begun = linking::begin(&app.accounts(), &app.providers, &caller, Provider::Steam).await;
    leave(&app, begun, "/")
}

/// Sends the browser off; if the provider cannot be used, to the page that says so.
fn leave(
    app: &App,
    begun: Result<Departure, ActionError<BeginRefusal>>,
    page: &str,
) -> AppResult<Response> {
    match begun {
        Ok(Departure { url, browser }) => {
            let cookie = cookies::transaction(app.is_https()).set(&browser);
            Ok(([(header::SET_COOKIE, cookie)], Redirect::to(&url)).into_response())
        }
        Err(ActionError::Refused(BeginRefusal::Provider(error))) => {
            Ok(Redirect::to(&after_problem(page, Problem::Provider(error))).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether a page of ours or the person themselves has caused this request, as far as the browser
/// tells.
fn is_own_navigation(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all("sec-fetch-site").iter();
    match (sites.next(), sites.next()) {
        (None, _) => true,
        (Some(site), None) => site == "same-origin" || site == "none",
        (Some(_), Some(_)) => false,
    }
}
