//! API tokens on the account page.

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use uuid::Uuid;

use crate::actions::tokens::{self as actions, CreateRefusal, RevokeRefusal, Wanted};
use crate::actions::{ActionError, Caller};
use crate::domain::scope::Scope;
use crate::http::App;
use crate::http::error::{AppError, AppResult};
use crate::pages::messages::{Done, Problem};
use crate::pages::page::{Moment, Page, Person, account_done, account_problem, to_confirm_first};
use crate::pages::passkeys::{IdForm, ShownOncePage};
use crate::store::tokens;

/// A token on the account page.
pub(super) struct TokenView {
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) scopes: String,
    pub(super) expires: String,
    pub(super) used: Option<Moment>,
}

/// The account page's data about a user's tokens.
pub(super) async fn view(app: &App, user: Uuid) -> AppResult<Vec<TokenView>> {
    let all = tokens::of_user(&app.database, user, app.now()).await?;
    let views = all.into_iter().map(|token| TokenView {
        id: token.id,
        name: token.name,
        scopes: token.scopes.replace(' ', ", "),
        expires: token.expires_at.date().to_string(),
        used: token.last_used_at.map(Moment),
    });
    Ok(views.collect())
}

/// The form that creates a token. Browsers do not send unchecked boxes.
#[derive(Deserialize)]
pub struct TokenForm {
    name: String,
    #[serde(default)]
    portfolio_read: bool,
    #[serde(default)]
    portfolio_import: bool,
    #[serde(default)]
    account_read: bool,
    days: u16,
}

impl TokenForm {
    fn wanted(&self) -> Option<Wanted> {
        let ticked = [
            (self.portfolio_read, Scope::PortfolioRead),
            (self.portfolio_import, Scope::PortfolioImport),
            (self.account_read, Scope::AccountRead),
        ];
        let scopes = ticked.into_iter().filter(|(ticked, _)| *ticked).map(|(_, scope)| scope);
        Wanted::new(&self.name, scopes.collect(), Some(self.days)).ok()
    }
}

/// `POST /account/tokens`: responds with a page that shows the token.
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    person: Person,
    page: Page,
    form: Result<Form<TokenForm>, FormRejection>,
) -> AppResult<Response> {
    let Form(form) = form.map_err(|_| AppError::malformed_form())?;
    let Some(wanted) = form.wanted() else { return Ok(account_problem(Problem::NoSuchToken)) };
    match actions::create(app.accounts(), caller, wanted).await {
        Ok((_, token)) => {
            let shown = ShownOncePage {
                name: person.label(),
                title: "Your API token",
                advice: "Copy it to where your program finds it and nobody else does. It is not \
                         shown again.",
                secrets: vec![token.expose()],
                page: &page,
            };
            page.render(StatusCode::OK, &shown)
        }
        Err(ActionError::Refused(CreateRefusal::NotRecent)) => Ok(to_confirm_first()),
        Err(ActionError::Refused(CreateRefusal::TooMany)) => {
            Ok(account_problem(Problem::TooManyTokens))
        }
        Err(error) => Err(error.into()),
    }
}

/// `POST /account/tokens/revoke`
pub async fn revoke(
    State(app): State<App>,
    caller: Caller,
    form: Result<Form<IdForm>, FormRejection>,
) -> AppResult<Response> {
    let Form(form) = form.map_err(|_| AppError::malformed_form())?;
    match actions::revoke(app.accounts(), caller, form.id).await {
        // A token that is already gone counts as revoked.
        Ok(()) | Err(ActionError::Refused(RevokeRefusal::NotFound)) => {
            Ok(account_done(Done::TokenRevoked))
        }
        Err(ActionError::Refused(RevokeRefusal::NotRecent)) => Ok(to_confirm_first()),
        Err(error) => Err(error.into()),
    }
}
