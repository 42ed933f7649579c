//! The address of an account: a form to wish for one, the page behind the mailed link.

use askama::Template;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Form, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use tracera_session::{CurrentUser, Session};

use crate::api::email::{self, Confirmation, Wish};
use crate::auth::events::ClientInfo;
use crate::http::App;
use crate::http::error::{AppError, AppResult};
use crate::http::extract::ApiJson;
use crate::pages::page::{Page, Person, after_refusal};
use crate::pages::sign_in::LinkQuery;

#[derive(Template)]
#[template(path = "email.html")]
struct EmailPage<'a> {
    page: &'a Page,
    name: String,
    token: String,
}

/// `GET /email?token=…`: asks; only the button's POST changes anything.
pub async fn page(
    State(app): State<App>,
    session: Session,
    person: Person,
    headers: HeaderMap,
    query: Result<Query<LinkQuery>, QueryRejection>,
) -> AppResult<Response> {
    let token = query.map(|Query(query)| query.token).unwrap_or_default();
    let page = Page::new(&app, &session, &headers);
    let template = EmailPage { page: &page, name: person.label(), token };
    let mut response = page.render(StatusCode::OK, &template)?;
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex"));
    Ok(response)
}

/// The form of that page.
#[derive(Deserialize)]
pub struct ConfirmForm {
    token: String,
}

/// `POST /email`: its button.
pub async fn confirm(
    app: State<App>,
    user: CurrentUser,
    visit: ClientInfo,
    form: Result<Form<ConfirmForm>, FormRejection>,
) -> AppResult<Response> {
    let Form(ConfirmForm { token }) = form.map_err(|_| AppError::malformed_form())?;
    match email::confirm(app, user, visit, ApiJson(Confirmation { token })).await {
        Ok(_) => Ok(Redirect::to("/account?done=email_changed").into_response()),
        Err(error) => after_refusal(error),
    }
}

/// The form of the account page for an address.
#[derive(Deserialize)]
pub struct WishForm {
    email: String,
}

/// `POST /account/email`: mails a link to the wanted address.
pub async fn request(
    app: State<App>,
    session: Session,
    user: CurrentUser,
    visit: ClientInfo,
    form: Result<Form<WishForm>, FormRejection>,
) -> AppResult<Response> {
    let Form(WishForm { email }) = form.map_err(|_| AppError::malformed_form())?;
    match email::request(app, session, user, visit, ApiJson(Wish { email })).await {
        Ok(_) => Ok(Redirect::to("/account?done=email_sent").into_response()),
        Err(error) => after_refusal(error),
    }
}
