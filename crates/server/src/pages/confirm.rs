//! "Confirm that it is you": for actions that need a recent sign-in. The page names the account and
//! offers only the account's sign-in methods.
//!
//! 1. A cookie records that this browser confirms, and for which account. While it is valid,
//!    credentials of another account are refused, and no account is created.
//! 2. Every method returns to this page. Once the sign-in is recent, it redirects to the page with
//!    the pending [form](super::kept_form), else to `next`.

use std::time::Duration;

use askama::Template;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Form, Query, State};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use tracera_guard::{CsrfBinding, HostCookie};
use tracera_session::Session;
use uuid::Uuid;

use crate::actions::{Caller, REAUTH_WINDOW, user_id};
use crate::auth::magic_link::Requester;
use crate::domain::provider::{Provider, ProviderNames};
use crate::http::App;
use crate::http::error::{AppError, AppResult};
use crate::pages::kept_form::{self, owner_mark};
use crate::pages::messages;
use crate::pages::page::{Page, Person};
use crate::pages::pending_address::PendingAddress;
use crate::pages::return_target::ReturnTarget;
use crate::store::{identities, passkeys, recovery_codes};

const COOKIE: HostCookie = HostCookie::new("confirming", Duration::from_mins(10));

#[derive(Template)]
#[template(path = "confirm_person.html")]
struct ConfirmPage<'a> {
    page: &'a Page,
    name: String,
    /// The address a link can be mailed to.
    email: Option<String>,
    providers: Vec<Provider>,
    names: &'a ProviderNames,
    has_passkeys: bool,
    has_codes: bool,
    /// Whether the account accepts only passkeys and recovery codes.
    only_passkeys: bool,
    next: ReturnTarget,
    wanted: Option<String>,
    problem: Option<&'static str>,
}

impl ConfirmPage<'_> {
    /// The URL of this page, with its `next`.
    fn here(&self) -> String {
        self.next.by_way_of_confirming()
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
    fn address(&self, provider: &Provider) -> String {
        let here = ReturnTarget::parse(&self.here()).unwrap_or_default();
        here.by_way_of(provider.sign_in_path())
    }
}

/// The query of the page.
#[derive(Deserialize, Default)]
pub struct ConfirmQuery {
    next: Option<String>,
    error: Option<String>,
}

/// `GET /confirm?next=<page>`
pub async fn page(
    State(app): State<App>,
    session: Session,
    person: Person,
    page: Page,
    headers: HeaderMap,
    query: Result<Query<ConfirmQuery>, QueryRejection>,
) -> AppResult<Response> {
    let Query(query) = query.unwrap_or_default();
    let next = query.next.as_deref().and_then(ReturnTarget::parse).unwrap_or_default();
    if is_recent(&app, &session) {
        let done = confirming(&app, &session, &headers);
        let done = done.map(|_| COOKIE.secure(app.is_https()).clear());
        let cookies = done.into_iter().chain(ReturnTarget::forget(&headers, app.is_https()));
        let cookies: Vec<_> = cookies.map(|cookie| (header::SET_COOKIE, cookie)).collect();
        return Ok((AppendHeaders(cookies), Redirect::to(&next.landing())).into_response());
    }
    let user = person.account.id;
    let wanted = kept_form::read(&headers, app.is_https(), Some(user)).map(|form| form.label());
    let linked = identities::of_user(&app.database, user).await?;
    let opens = |provider: &Provider| linked.iter().any(|found| found.provider == *provider);
    let only_passkeys = passkeys::is_passkey_only(&app.database, user).await?;
    let template = ConfirmPage {
        name: person.label(),
        email: person
            .account
            .email
            .filter(|_| app.magic_links.is_some() && !only_passkeys)
            .map(|email| email.to_string()),
        providers: app
            .providers
            .configured()
            .filter(|provider| !only_passkeys && opens(provider))
            .collect(),
        names: app.providers.names(),
        has_passkeys: !passkeys::of_user(&app.database, user).await?.is_empty(),
        has_codes: recovery_codes::count(&app.database, user).await? > 0,
        only_passkeys,
        wanted: wanted.or_else(|| next.is_download().then(|| "Download".to_owned())),
        problem: query.error.as_deref().map(messages::problem),
        next,
        page: &page,
    };
    let mut response = page.render(StatusCode::OK, &template)?;
    let here = ReturnTarget::parse(&template.here()).unwrap_or_default();
    for cookie in [begin(&app, user), here.remember(app.is_https())] {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// The form of the page.
#[derive(Deserialize)]
pub struct MailForm {
    next: Option<String>,
}

/// `POST /confirm`: mails a link to the account's own address.
pub async fn mail(
    State(app): State<App>,
    caller: Caller,
    person: Person,
    binding: CsrfBinding,
    headers: HeaderMap,
    form: Result<Form<MailForm>, FormRejection>,
) -> AppResult<Response> {
    let Form(form) = form.map_err(|_| AppError::malformed_form())?;
    let Some(email) = person.account.email else { return Err(AppError::malformed_form()) };
    let https = app.is_https();
    let earlier = PendingAddress::from_headers(&headers, https);
    let asked = PendingAddress::new(email.clone(), earlier, app.now());
    let requester =
        Requester { browser: Some(binding.as_bytes()), client: &caller.client, waiting: None };
    let decision = app.mailed_links()?.request(email, &requester, app.now()).await?;
    let asked = asked.decided(decision, app.now());
    let next = form.next.as_deref().and_then(ReturnTarget::parse).unwrap_or_default();
    let here = ReturnTarget::parse(&next.by_way_of_confirming()).unwrap_or_default();
    let cookies = [asked.cookie(https), begin(&app, person.account.id), here.remember(https)];
    let cookies = cookies.map(|cookie| (header::SET_COOKIE, cookie));
    Ok((AppendHeaders(cookies), Redirect::to("/login/code")).into_response())
}

fn begin(app: &App, user: Uuid) -> HeaderValue {
    COOKIE.secure(app.is_https()).set(&owner_mark(user))
}

/// The account whose owner confirms in this browser.
pub fn confirming(app: &App, session: &Session, headers: &HeaderMap) -> Option<Uuid> {
    let user = user_id(&session.user().ok()?).ok()?;
    let own = |mark: &str| (mark == owner_mark(user)).then_some(user);
    COOKIE.secure(app.is_https()).read_as(headers, own)
}

/// Redirects a user who must confirm before they continue to that page.
pub fn to_confirm(next: &ReturnTarget) -> Response {
    Redirect::to(&next.by_way_of_confirming()).into_response()
}

/// Whether the caller's authentication is within [`REAUTH_WINDOW`] and stays so for some seconds.
fn is_recent(app: &App, session: &Session) -> bool {
    const TO_GO_ON: Duration = Duration::from_secs(30);
    let proved = session.info().and_then(|info| info.authentication);
    let since = proved.map(|proof| app.clock.now().since(proof.at));
    since.is_some_and(|since| since + TO_GO_ON < REAUTH_WINDOW)
}
