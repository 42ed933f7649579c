//! Redirects to providers: starting a sign-in, and linking Steam.

use axum::extract::{FromRequestParts, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::request::Parts;
use http::{HeaderMap, header};
use serde::Deserialize;
use tracera_session::Session;

use crate::actions::provider::{BeginRefusal, Departure, begin, begin_confirming, begin_linking};
use crate::actions::{ActionError, Caller};
use crate::auth::transaction::Leaving;
use crate::domain::provider::Provider;
use crate::http::error::{AppError, AppResult};
use crate::http::extract::Navigation;
use crate::http::{App, cookies};
use crate::pages::confirm::confirming;
use crate::pages::messages::{Problem, after_problem};
use crate::pages::return_target::ReturnTarget;

/// A browser about to be sent to a provider.
pub struct Departing {
    headers: HeaderMap,
    /// The user who confirms that it is them.
    confirming: Option<Caller>,
    next: Option<ReturnTarget>,
}

impl Departing {
    fn leaving(&self, app: &App) -> Leaving {
        let browser = cookies::transaction(app.is_https()).read(&self.headers);
        Leaving {
            browser: browser.map(ToOwned::to_owned),
            return_to: self.next.as_ref().map(|next| next.as_str().to_owned()),
            is_own: is_of_own_page(&self.headers),
        }
    }
}

/// The query: the page to continue on afterwards.
#[derive(Deserialize, Default)]
struct NextQuery {
    next: Option<String>,
}

impl FromRequestParts<App> for Departing {
    type Rejection = Response;

    /// The page to continue on is the one in the query, else the one that the browser remembers.
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        Navigation::from_request_parts(parts, app).await?;
        let query = Query::<NextQuery>::try_from_uri(&parts.uri).unwrap_or_default().0;
        let named = query.next.as_deref().and_then(ReturnTarget::parse);
        let next = named.or_else(|| ReturnTarget::remembered(&parts.headers, app.is_https()));
        let session =
            Session::from_request_parts(parts, app).await.map_err(IntoResponse::into_response)?;
        let confirming = match confirming(app, &session, &parts.headers) {
            Some(_) => Caller::from_request_parts(parts, app).await.ok(),
            None => None,
        };
        Ok(Self { headers: parts.headers.clone(), confirming, next })
    }
}

/// `GET /api/v1/auth/google`
pub async fn google(State(app): State<App>, departing: Departing) -> AppResult<Response> {
    sign_in(&app, Provider::Google, &departing).await
}

/// `GET /api/v1/auth/github`
pub async fn github(State(app): State<App>, departing: Departing) -> AppResult<Response> {
    sign_in(&app, Provider::Github, &departing).await
}

/// `GET /api/v1/auth/oidc`
pub async fn oidc(State(app): State<App>, departing: Departing) -> AppResult<Response> {
    sign_in(&app, Provider::Oidc, &departing).await
}

/// `GET /api/v1/auth/steam/login`
pub async fn steam_login(State(app): State<App>, departing: Departing) -> AppResult<Response> {
    sign_in(&app, Provider::Steam, &departing).await
}

async fn sign_in(app: &App, provider: Provider, departing: &Departing) -> AppResult<Response> {
    let (accounts, leaving) = (app.accounts(), departing.leaving(app));
    match &departing.confirming {
        Some(caller) => {
            let begun = begin_confirming(&accounts, &app.providers, caller, provider, leaving);
            leave(app, begun.await, "/confirm")
        }
        None => leave(app, begin(&accounts, &app.providers, provider, leaving).await, "/login"),
    }
}

/// `GET /api/v1/auth/steam`: links Steam to the signed-in account.
///
/// As a navigation it has no CSRF token. Instead, other sites may not cause it, and Steam asks the
/// user before it continues.
pub async fn steam_link(
    State(app): State<App>,
    departing: Departing,
    caller: Caller,
) -> AppResult<Response> {
    if !is_own_navigation(&departing.headers) {
        return Err(AppError::csrf_failed("linking begins on a page of this site"));
    }
    let (accounts, leaving) = (app.accounts(), departing.leaving(&app));
    let begun = begin_linking(&accounts, &app.providers, &caller, Provider::Steam, leaving).await;
    leave(&app, begun, "/")
}

/// Redirects to the provider; if it is unavailable, to the page that shows the error.
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

/// Whether the browser attributes this request to a page of this server. A link in another program
/// does not count: its sender may have signed the browser in at the provider.
fn is_of_own_page(headers: &HeaderMap) -> bool {
    is_attributed_to(&["same-origin"], headers)
}

/// Whether the browser attributes the request to this site or to the user.
fn is_own_navigation(headers: &HeaderMap) -> bool {
    is_attributed_to(&["same-origin", "none"], headers)
}

/// True also for a browser that attributes requests to nobody.
fn is_attributed_to(sites: &[&str], headers: &HeaderMap) -> bool {
    let mut named = headers.get_all("sec-fetch-site").iter();
    match (named.next(), named.next()) {
        (None, _) => true,
        (Some(site), None) => sites.iter().any(|allowed| site == allowed),
        (Some(_), Some(_)) => false,
    }
}
