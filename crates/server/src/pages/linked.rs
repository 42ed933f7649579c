//! The providers linked to an account: linking and unlinking them.

use askama::Template;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::response::{AppendHeaders, Html, IntoResponse, Redirect, Response};
use http::header;
use serde::Deserialize;
use tracera_session::{CurrentUser, Session};

use crate::api::{oauth, providers};
use crate::auth::events::ClientInfo;
use crate::domain::provider::Provider;
use crate::http::App;
use crate::http::error::{AppError, AppResult};
use crate::http::extract::ApiPath;
use crate::pages::page::after_refusal;
use crate::pages::return_target::ReturnTarget;

/// The form beside a provider.
#[derive(Deserialize)]
pub struct ProviderForm {
    provider: String,
    /// The page to come back to; the start page if it says none.
    #[serde(default)]
    next: String,
}

#[derive(Template)]
#[template(path = "leaving.html")]
struct LeavingPage {
    provider: &'static str,
    url: String,
}

/// `POST /account/providers/link`: on to the provider, by way of a page that goes there by itself.
/// A redirect would not do: `form-action` governs where a form may end up.
pub async fn link(
    State(app): State<App>,
    session: Session,
    form: Result<Form<ProviderForm>, FormRejection>,
) -> AppResult<Response> {
    let Form(form) = form.map_err(|_| AppError::malformed_form())?;
    let provider = Provider::parse(&form.provider).ok_or_else(AppError::malformed_form)?;
    match oauth::begin_link(&app, &session, provider.as_str()).await {
        Ok((url, cookie)) => {
            let page = LeavingPage { provider: provider.label(), url };
            let html = page.render().map_err(AppError::internal)?;
            let back = ReturnTarget::parse(&form.next).unwrap_or_default().remember(app.is_https());
            let cookies = [cookie, back].map(|cookie| (header::SET_COOKIE, cookie));
            Ok((AppendHeaders(cookies), Html(html)).into_response())
        }
        Err(error) => after_refusal(error),
    }
}

/// `POST /account/providers/unlink`
pub async fn unlink(
    app: State<App>,
    session: Session,
    user: CurrentUser,
    visit: ClientInfo,
    form: Result<Form<ProviderForm>, FormRejection>,
) -> AppResult<Response> {
    let Form(form) = form.map_err(|_| AppError::malformed_form())?;
    match providers::unlink(app, session, user, visit, ApiPath(form.provider)).await {
        Ok(_) => Ok(Redirect::to("/account?done=unlinked").into_response()),
        Err(error) => after_refusal(error),
    }
}
