//! "This was not me": the page behind the link in a mail about a change.

use askama::Template;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Form, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;

use crate::actions::{ActionError, undo};
use crate::auth::client::ClientInfo;
use crate::auth::token::pasted;
use crate::http::App;
use crate::http::error::{AppError, AppResult};
use crate::pages::messages::{self, Done};
use crate::pages::page::{Moment, Page};
use crate::pages::sign_in::LinkQuery;

struct LinkView {
    token: String,
    email: String,
    since: Moment,
}

#[derive(Template)]
#[template(path = "undo.html")]
struct UndoPage<'a> {
    page: &'a Page,
    link: Option<LinkView>,
}

/// `GET /undo?token=…`: asks for confirmation; only the button's POST changes anything.
pub async fn page(
    State(app): State<App>,
    page: Page,
    query: Result<Query<LinkQuery>, QueryRejection>,
) -> AppResult<Response> {
    let token = query.map(|Query(query)| query.token).unwrap_or_default();
    undo_page(&app, &page, &token).await
}

async fn undo_page(app: &App, page: &Page, token: &str) -> AppResult<Response> {
    let link = undo::peek(&app.accounts(), token).await?.map(|link| LinkView {
        token: pasted(token).to_owned(),
        email: link.email.masked(),
        since: Moment(link.since),
    });
    let status = if link.is_some() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let mut response = page.render(status, &UndoPage { page, link })?;
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex"));
    Ok(response)
}

/// The form of that page.
#[derive(Deserialize)]
pub struct UndoForm {
    token: String,
}

/// `POST /undo`: undoes the change.
pub async fn undo(
    State(app): State<App>,
    client: ClientInfo,
    page: Page,
    form: Result<Form<UndoForm>, FormRejection>,
) -> AppResult<Response> {
    let Form(UndoForm { token }) = form.map_err(|_| AppError::malformed_form())?;
    match undo::undo(app.accounts(), token.clone(), client).await {
        Ok(()) => Ok(Redirect::to(&messages::after("/login", Done::Undone)).into_response()),
        Err(ActionError::Refused(_)) => undo_page(&app, &page, &token).await,
        Err(error) => Err(error.into()),
    }
}
