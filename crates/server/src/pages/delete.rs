//! Deleting an account: the explanation, the request, and its cancellation. The request needs a
//! recent sign-in.

use askama::Template;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use serde::Deserialize;

use crate::actions::deletion::{self, WAIT};
use crate::actions::{ActionError, Caller};
use crate::http::App;
use crate::http::error::{AppError, AppResult};
use crate::http::signing_out::clear_site_data;
use crate::pages::messages::{self, Done, Problem};
use crate::pages::page::{Moment, Page, Person, account_done, to_confirm_first};

/// The phrase to type for a deletion; case is ignored.
pub const PHRASE: &str = "delete my account";

#[derive(Template)]
#[template(path = "delete.html")]
struct DeletePage<'a> {
    page: &'a Page,
    name: String,
    /// When the account will be deleted, or would be if it was requested now.
    at: Moment,
    leaving: Option<Moment>,
    has_email: bool,
    phrase: &'static str,
    is_wrong_phrase: bool,
}

/// `GET /account/delete`
pub async fn page(State(app): State<App>, person: Person, page: Page) -> AppResult<Response> {
    let leaving = person.leaving();
    let template = DeletePage {
        name: person.label(),
        at: leaving.unwrap_or_else(|| Moment(app.now() + WAIT)),
        leaving,
        has_email: person.account.email.is_some(),
        phrase: PHRASE,
        is_wrong_phrase: false,
        page: &page,
    };
    page.render(StatusCode::OK, &template)
}

/// The form that deletes the account.
#[derive(Deserialize)]
pub struct DeleteForm {
    confirmation: String,
}

/// `POST /account/delete`
pub async fn delete(
    State(app): State<App>,
    caller: Caller,
    person: Person,
    form: Result<Form<DeleteForm>, FormRejection>,
) -> AppResult<Response> {
    let Form(form) = form.map_err(|_| AppError::malformed_form())?;
    if !form.confirmation.trim().eq_ignore_ascii_case(PHRASE) {
        let target = messages::after_problem("/account", Problem::WrongPhrase) + "#delete";
        return Ok(Redirect::to(&target).into_response());
    }
    match deletion::ask(app.accounts(), caller, person.account).await {
        Ok(()) => {
            let target = messages::after("/login", Done::DeletionAsked);
            Ok((clear_site_data(), Redirect::to(&target)).into_response())
        }
        Err(ActionError::Refused(_)) => Ok(to_confirm_first()),
        Err(error) => Err(error.into()),
    }
}

/// `POST /account/keep`
pub async fn keep(State(app): State<App>, caller: Caller, person: Person) -> AppResult<Response> {
    deletion::call_off(app.accounts(), caller, person.account).await?;
    Ok(account_done(Done::Kept))
}
