//! Leaving for good. It asks that one signed in recently.

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::actions::{ActionError, Caller, account};
use crate::http::App;
use crate::http::error::{AppError, AppResult};
use crate::http::signing_out::clear_site_data;
use crate::pages::messages::{self, Done, Problem};
use crate::pages::page::{Person, to_confirm_first};

/// What has to be typed to delete an account, whatever the case.
pub const PHRASE: &str = "delete my account";

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
    let links = app.magic_links.clone();
    match account::delete(app.accounts(), links, caller, person.account).await {
        Ok(()) => {
            let target = messages::after("/login", Done::Deleted);
            Ok((clear_site_data(), Redirect::to(&target)).into_response())
        }
        Err(ActionError::Refused(_)) => Ok(to_confirm_first()),
        Err(error) => Err(error.into()),
    }
}
