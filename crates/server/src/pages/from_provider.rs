//! Provider callbacks. Each ends in a redirect to a page of this site, so that no code or state
//! stays in the address bar. A callback without a transaction does not change the cookies.

use axum::extract::{FromRequestParts, RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::request::Parts;
use http::{HeaderMap, header};
use tracera_session::Session;

use crate::actions::provider::{Arrival, Arrived, Finished, finish};
use crate::auth::client::ClientInfo;
use crate::auth::provider_error::ProviderError;
use crate::domain::provider::Provider;
use crate::http::extract::Navigation;
use crate::http::{App, cookies};
use crate::pages::device::step_before_sign_in;
use crate::pages::messages::{DONE, Done, ERROR, Problem, after_problem};
use crate::pages::return_target::ReturnTarget;

/// `GET /api/v1/auth/google/callback`
pub async fn google(State(app): State<App>, returned: Returned) -> Response {
    land(app, returned, Provider::Google, None).await
}

/// `GET /api/v1/auth/github/callback`
pub async fn github(State(app): State<App>, returned: Returned) -> Response {
    land(app, returned, Provider::Github, None).await
}

/// `GET /api/v1/auth/oidc/callback`
pub async fn oidc(State(app): State<App>, returned: Returned) -> Response {
    land(app, returned, Provider::Oidc, None).await
}

/// `GET /api/v1/auth/steam/login/callback`
pub async fn steam_login(State(app): State<App>, returned: Returned) -> Response {
    land(app, returned, Provider::Steam, Some(false)).await
}

/// `GET /api/v1/auth/steam/callback`
pub async fn steam_link(State(app): State<App>, returned: Returned) -> Response {
    land(app, returned, Provider::Steam, Some(true)).await
}

/// The parts of a callback request.
pub struct Returned {
    session: Session,
    client: ClientInfo,
    headers: HeaderMap,
    query: String,
}

impl FromRequestParts<App> for Returned {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        Navigation::from_request_parts(parts, app).await?;
        if let Some(step) = step_before_sign_in(app, &parts.headers) {
            return Err(step);
        }
        let RawQuery(query) =
            RawQuery::from_request_parts(parts, app).await.unwrap_or_else(|never| match never {});
        Ok(Self {
            session: Session::from_request_parts(parts, app)
                .await
                .map_err(IntoResponse::into_response)?,
            client: ClientInfo::from_request_parts(parts, app)
                .await
                .map_err(IntoResponse::into_response)?,
            headers: parts.headers.clone(),
            query: query.unwrap_or_default(),
        })
    }
}

/// `linking` is set where the path tells the purpose.
async fn land(app: App, returned: Returned, provider: Provider, linking: Option<bool>) -> Response {
    let Returned { session, client, headers, query } = returned;
    let https = app.is_https();
    let transaction = cookies::transaction(https);
    let arrival = Arrival {
        session: session.clone(),
        client,
        browser: transaction.read(&headers).map(ToOwned::to_owned),
        query,
        provider,
        linking,
    };
    let (providers, links) = (app.providers.clone(), app.magic_links.clone());
    let finished = finish(app.accounts(), providers, links, arrival).await;
    let Finished { is_known, return_to, outcome } = finished;
    let next = return_to
        .as_deref()
        .and_then(ReturnTarget::parse)
        .or_else(|| ReturnTarget::remembered(&headers, https))
        .unwrap_or_default();
    let target = match &outcome {
        // The account page shows a notice; the start page shows the linked account itself.
        Ok(Arrived::Linked) if next.is_page("/account") => {
            next.saying(DONE, Done::Linked(provider).code())
        }
        Ok(_) => next.landing(),
        Err(error) => failed_at(&next, &session, linking, *error),
    };
    let used_up = ReturnTarget::forget(&headers, https).filter(|_| is_known);
    let entered = match outcome {
        Ok(Arrived::SignedIn(entered)) => [
            Some(cookies::device(https).set(&entered.device_token)),
            Some(cookies::last_method(https).set(provider.as_str())),
        ],
        _ => [None, None],
    };
    let mut response = Redirect::to(&target).into_response();
    for cookie in [used_up].into_iter().chain(entered).flatten() {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// The page that shows the error. If the user is signed in, the sign-in page redirects to the page
/// they came from.
fn failed_at(
    next: &ReturnTarget,
    session: &Session,
    linking: Option<bool>,
    error: ProviderError,
) -> String {
    match (linking, session.user()) {
        _ if next.is_page("/confirm") => next.saying(ERROR, error.code()),
        (Some(true), _) => next.saying(ERROR, error.code()),
        (_, Ok(_)) => next.by_way_of_failure(error.code()),
        (_, Err(_)) => after_problem("/login", Problem::Provider(error)),
    }
}
