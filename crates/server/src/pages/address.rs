//! The e-mail address of an account: a form to change it, and the page behind the mailed link.

use askama::Template;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Form, Query, State};
use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;

use crate::actions::address::{self, ConfirmRefusal};
use crate::actions::{ActionError, Caller};
use crate::auth::token::pasted;
use crate::domain::email::Email;
use crate::http::App;
use crate::http::error::{AppError, AppResult};
use crate::pages::messages::{Done, Problem};
use crate::pages::page::{Page, Person, account_done, account_problem, to_confirm_first};
use crate::pages::sign_in::LinkQuery;

#[derive(Template)]
#[template(path = "email.html")]
struct AddressPage<'a> {
    page: &'a Page,
    name: String,
    token: String,
}

/// `GET /email?token=…`: asks for confirmation; only the button's POST changes anything.
pub async fn page(
    page: Page,
    person: Person,
    query: Result<Query<LinkQuery>, QueryRejection>,
) -> AppResult<Response> {
    let token = query.map(|Query(query)| query.token).unwrap_or_default();
    let token = pasted(&token).to_owned();
    let template = AddressPage { page: &page, name: person.label(), token };
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

/// `POST /email`: verifies the address.
pub async fn confirm(
    State(app): State<App>,
    caller: Caller,
    form: Result<Form<ConfirmForm>, FormRejection>,
) -> AppResult<Response> {
    let Form(ConfirmForm { token }) = form.map_err(|_| AppError::malformed_form())?;
    Ok(match address::confirm(app.accounts(), caller, token).await {
        Ok(_) => account_done(Done::EmailChanged),
        Err(ActionError::Refused(ConfirmRefusal::LinkInvalid)) => {
            account_problem(Problem::LinkInvalid)
        }
        Err(ActionError::Refused(ConfirmRefusal::Taken)) => account_problem(Problem::EmailTaken),
        Err(error) => return Err(error.into()),
    })
}

/// The account page's form for an address.
#[derive(Deserialize)]
pub struct AddressForm {
    email: String,
}

/// `POST /account/email`: mails a link to the new address.
pub async fn request(
    State(app): State<App>,
    caller: Caller,
    form: Result<Form<AddressForm>, FormRejection>,
) -> AppResult<Response> {
    let Form(AddressForm { email }) = form.map_err(|_| AppError::malformed_form())?;
    let links = app.mailed_links()?;
    let Ok(email) = Email::parse(&email) else {
        return Ok(account_problem(Problem::InvalidEmail));
    };
    let (accounts, page) = (app.accounts(), app.page("/email"));
    match address::request(&accounts, links, &caller, &email, &page).await {
        Ok(()) => Ok(account_done(Done::EmailSent)),
        Err(ActionError::Refused(_)) => Ok(to_confirm_first()),
        Err(error) => Err(error.into()),
    }
}
