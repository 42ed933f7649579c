//! The providers linked to an account: linking and unlinking them.

use askama::Template;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::response::{Html, IntoResponse, Response};
use http::{HeaderMap, header};
use serde::Deserialize;

use crate::actions::linking::{self, UnlinkRefusal};
use crate::actions::provider::{BeginRefusal, begin_linking};
use crate::actions::{ActionError, Caller};
use crate::auth::transaction::Leaving;
use crate::domain::provider::Provider;
use crate::http::error::{AppError, AppResult};
use crate::http::{App, cookies};
use crate::pages::messages::{Done, Problem};
use crate::pages::page::{account_done, account_problem, to_confirm_first};
use crate::pages::return_target::ReturnTarget;

/// The form next to a provider.
#[derive(Deserialize)]
pub struct ProviderForm {
    provider: String,
    /// The page to return to; by default the start page.
    #[serde(default)]
    next: String,
}

fn parse(form: Result<Form<ProviderForm>, FormRejection>) -> AppResult<(Provider, ReturnTarget)> {
    let Form(form) = form.map_err(|_| AppError::malformed_form())?;
    let provider = Provider::parse(&form.provider).ok_or_else(AppError::malformed_form)?;
    Ok((provider, ReturnTarget::parse(&form.next).unwrap_or_default()))
}

#[derive(Template)]
#[template(path = "leaving.html")]
struct LeavingPage<'a> {
    provider: &'a str,
    url: String,
}

/// `POST /account/providers/link`: responds with a page that navigates to the provider. A redirect
/// would fail, because `form-action` also restricts the redirects of a form.
pub async fn link(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    form: Result<Form<ProviderForm>, FormRejection>,
) -> AppResult<Response> {
    let (provider, next) = parse(form)?;
    let transaction = cookies::transaction(app.is_https());
    let leaving = Leaving {
        browser: transaction.read(&headers).map(ToOwned::to_owned),
        return_to: Some(next.as_str().to_owned()),
        is_own: true,
    };
    match begin_linking(&app.accounts(), &app.providers, &caller, provider, leaving).await {
        Ok(departure) => {
            let provider = app.providers.names().of(provider);
            let page = LeavingPage { provider, url: departure.url };
            let html = page.render().map_err(AppError::internal)?;
            let cookie = [(header::SET_COOKIE, transaction.set(&departure.browser))];
            Ok((cookie, Html(html)).into_response())
        }
        Err(ActionError::Refused(refusal)) => Ok(match refusal {
            BeginRefusal::NotRecent => to_confirm_first(),
            BeginRefusal::NotConfigured => account_problem(Problem::NotConfigured),
            BeginRefusal::Provider(error) => account_problem(Problem::Provider(error)),
        }),
        Err(error) => Err(error.into()),
    }
}

/// `POST /account/providers/unlink`
pub async fn unlink(
    State(app): State<App>,
    caller: Caller,
    form: Result<Form<ProviderForm>, FormRejection>,
) -> AppResult<Response> {
    let (provider, _) = parse(form)?;
    match linking::unlink(app.accounts(), app.sign_in_methods(), caller, provider).await {
        Ok(()) => Ok(account_done(Done::Unlinked)),
        Err(ActionError::Refused(refusal)) => Ok(match refusal {
            UnlinkRefusal::NotRecent => to_confirm_first(),
            UnlinkRefusal::NotLinked => account_problem(Problem::NotLinked),
            UnlinkRefusal::LastWayIn => account_problem(Problem::LastWayIn),
        }),
        Err(error) => Err(error.into()),
    }
}
