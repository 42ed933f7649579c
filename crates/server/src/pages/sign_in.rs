//! Signing in by mail: request a link, type the code, confirm the link. Each step is a page and a
//! form.

use std::time::Duration;

use askama::Template;
use axum::Json;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Form, Query, State};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use tracera_guard::CsrfBinding;
use tracera_session::Session;
use url::Url;

use crate::actions::magic_link::{RedeemRefusal, redeem};
use crate::actions::sign_in::SignedIn;
use crate::actions::{ActionError, user_id};
use crate::auth::client::ClientInfo;
use crate::auth::magic_link::{Credential, Requester, Secret};
use crate::auth::provider_error::ProviderError;
use crate::auth::token::pasted;
use crate::clock::utc;
use crate::domain::email::Email;
use crate::domain::provider::{Provider, ProviderNames};
use crate::http::error::{AppError, AppResult};
use crate::http::{App, cookies};
use crate::pages::confirm::confirming;
use crate::pages::messages::{self, Done, ERROR, Problem, after_problem};
use crate::pages::page::{Moment, Page, account_done};
use crate::pages::pending_address::{self, PendingAddress};
use crate::pages::return_target::ReturnTarget;
use crate::pages::{assets, passkey_offer};
use crate::store::magic_links::{MAX_WRONG_CODES, MailTrouble, PendingLink, Progress};
use crate::store::users;

/// The description for search engines and link previews.
pub const DESCRIPTION: &str = "Tracera shows what your Counter-Strike 2 inventory is worth: every \
                               skin priced, its value over time, the source of every price.";

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    page: &'a Page,
    email: bool,
    providers: Vec<Provider>,
    names: &'a ProviderNames,
    address: &'a str,
    next: Option<&'a str>,
    last_used: Option<&'a str>,
    notice: Option<&'static str>,
    problem: Option<String>,
    /// The page's own URL, for search engines and link previews.
    own_address: Url,
    /// The image for link previews.
    picture: Url,
}

impl LoginPage<'_> {
    /// The URL where a sign-in with the provider starts; it continues to the same page.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
    fn sign_in_address(&self, provider: &Provider) -> String {
        let next = self.next.and_then(ReturnTarget::parse).unwrap_or_default();
        next.by_way_of(provider.sign_in_path())
    }

    fn landing(&self) -> String {
        self.next.and_then(ReturnTarget::parse).unwrap_or_default().landing()
    }
}

/// The notices of the sign-in page, and the values of its form.
#[derive(Default)]
pub(super) struct Greeting<'a> {
    pub(super) address: &'a str,
    pub(super) next: Option<ReturnTarget>,
    pub(super) notice: Option<&'static str>,
    pub(super) problem: Option<String>,
}

/// The query of the sign-in page.
#[derive(Deserialize, Default)]
pub struct LoginQuery {
    error: Option<String>,
    done: Option<String>,
    /// The page to continue on after the sign-in.
    next: Option<String>,
}

/// `GET /login?error=<code>&next=<page>`
pub async fn login(
    State(app): State<App>,
    session: Session,
    page: Page,
    headers: HeaderMap,
    query: Result<Query<LoginQuery>, QueryRejection>,
) -> AppResult<Response> {
    let Query(query) = query.unwrap_or_default();
    let next = query.next.as_deref().and_then(ReturnTarget::parse);
    if session.user().is_ok() {
        let failed = match query.error.as_deref().and_then(Problem::parse) {
            Some(Problem::Provider(error)) => Some(error),
            _ => None,
        };
        let next = next.unwrap_or_default();
        let target =
            failed.map_or_else(|| next.landing(), |error| next.saying(ERROR, error.code()));
        return Ok(Redirect::to(&target).into_response());
    }
    let asked = PendingAddress::from_headers(&headers, app.is_https());
    let greeting = Greeting {
        address: asked.as_ref().map_or("", |asked| asked.email.as_str()),
        next,
        notice: query.done.as_deref().and_then(Done::parse).map(Done::sentence),
        problem: query.error.map(|code| match Problem::parse(&code) {
            Some(Problem::SessionOver) => session_over(&app),
            _ => messages::problem(&code).to_owned(),
        }),
    };
    login_page(&app, &page, &headers, StatusCode::OK, greeting)
}

/// The notice after an expired form: the session has ended.
fn session_over(app: &App) -> String {
    let lasts = in_words(app.session_lifetime);
    let unused = app
        .session_idle
        .map_or_else(String::new, |idle| format!(", or {} without use", in_words(idle)));
    format!(
        "You were signed out: a sign-in lasts {lasts}{unused}. What you typed is kept. Sign in to \
         go on."
    )
}

/// Formats a duration in whole hours or minutes.
fn in_words(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    let (count, unit) =
        if minutes.is_multiple_of(60) { (minutes / 60, "hour") } else { (minutes, "minute") };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

pub(super) fn login_page(
    app: &App,
    page: &Page,
    headers: &HeaderMap,
    status: StatusCode,
    greeting: Greeting<'_>,
) -> AppResult<Response> {
    let Greeting { address, next, notice, problem } = greeting;
    let login = LoginPage {
        email: app.magic_links.is_some(),
        providers: app.providers.configured().collect(),
        names: app.providers.names(),
        address,
        next: next.as_ref().map(ReturnTarget::as_str),
        last_used: cookies::last_method(app.is_https()).read(headers),
        notice,
        problem,
        page,
        own_address: app.page("/login"),
        picture: app.page(assets::url("preview.png")),
    };
    let mut response = page.render(status, &login)?;
    if let Some(next) = &next {
        response.headers_mut().append(header::SET_COOKIE, next.remember(app.is_https()));
    }
    Ok(response)
}

/// The form of the sign-in page.
#[derive(Deserialize)]
pub struct AskForm {
    email: String,
    next: Option<String>,
}

/// `POST /login`: mails a link.
pub async fn ask(
    State(app): State<App>,
    client: ClientInfo,
    binding: CsrfBinding,
    headers: HeaderMap,
    form: Result<Form<AskForm>, FormRejection>,
) -> AppResult<Response> {
    let Form(form) = form.map_err(|_| AppError::malformed_form())?;
    let email = match Email::parse(&form.email) {
        Ok(email) => email,
        Err(error) => {
            let greeting = Greeting {
                address: &form.email,
                next: form.next.as_deref().and_then(ReturnTarget::parse),
                problem: Some(capitalised(&error.to_string())),
                ..Greeting::default()
            };
            let page = Page::new(&binding);
            return login_page(&app, &page, &headers, StatusCode::BAD_REQUEST, greeting);
        }
    };
    let earlier = PendingAddress::from_headers(&headers, app.is_https());
    let asked = PendingAddress::new(email.clone(), earlier, app.now());
    let requester = Requester { browser: Some(binding.as_bytes()), client: &client, waiting: None };
    let decision = app.mailed_links()?.request(email, &requester, app.now()).await?;
    let asked = asked.decided(decision, app.now());
    let mut response = Redirect::to("/login/code").into_response();
    response.headers_mut().append(header::SET_COOKIE, asked.cookie(app.is_https()));
    if let Some(cookie) = binding.set_cookie() {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

#[derive(Template)]
#[template(path = "code.html")]
struct CodePage<'a> {
    page: &'a Page,
    email: &'a Email,
    wait_secs: i64,
    /// Minutes until another mail is possible; `None` while one is on its way.
    minutes_without_mail: Option<i64>,
    /// The number of requests from this browser, if that is why no mail follows.
    times: Option<usize>,
    /// Why the mail has not been delivered.
    trouble: Option<MailTrouble>,
    /// The page to continue on once the link was opened in another tab.
    next: ReturnTarget,
    /// The URL to request another link at.
    ask_again: String,
    /// Whether a signed-in user confirms that it is them.
    confirms: bool,
    mailbox: bool,
    problem: Option<&'static str>,
}

/// `GET /login/code`: shows the address the link went to, and a field for the code.
pub async fn code(
    State(app): State<App>,
    session: Session,
    page: Page,
    binding: CsrfBinding,
    headers: HeaderMap,
) -> AppResult<Response> {
    let progress = progress(&app, &binding).await?;
    let trouble = progress.mail_trouble;
    code_page(&app, &session, &page, &headers, StatusCode::OK, (None, trouble))
}

async fn progress(app: &App, binding: &CsrfBinding) -> AppResult<Progress> {
    match &app.magic_links {
        Some(links) => Ok(Box::pin(links.progress(binding.as_bytes(), app.now())).await?),
        None => Ok(Progress::default()),
    }
}

pub(super) fn code_page(
    app: &App,
    session: &Session,
    page: &Page,
    headers: &HeaderMap,
    status: StatusCode,
    (problem, trouble): (Option<&'static str>, Option<MailTrouble>),
) -> AppResult<Response> {
    let Some(asked) = PendingAddress::from_headers(headers, app.is_https()) else {
        return Ok(Redirect::to("/login").into_response());
    };
    let next = ReturnTarget::remembered(headers, app.is_https()).unwrap_or_default();
    let code = CodePage {
        email: &asked.email,
        wait_secs: asked.wait_secs(app.now()),
        minutes_without_mail: asked.minutes_without_mail(app.now()),
        times: asked.times_asked(app.now()),
        trouble,
        ask_again: match session.user() {
            Ok(_) => next.landing(),
            Err(_) => next.by_way_of_sign_in(),
        },
        confirms: confirming(app, session, headers).is_some(),
        next,
        mailbox: app.mailbox.is_some(),
        problem,
        page,
    };
    page.render(status, &code)
}

const WRONG_CODE: &str = "That code is not right or no longer works. After five wrong ones only \
                          the link in the mail helps.";
const NO_MORE_CODES: &str = "Those were five wrong codes, so no code works any more. Open the \
                             link in the mail, or have another mail sent.";

/// The form of the code page.
#[derive(Deserialize)]
pub struct CodeForm {
    code: String,
    next: Option<String>,
}

/// `POST /login/code`: signs in.
pub async fn redeem_code(
    State(app): State<App>,
    session: Session,
    client: ClientInfo,
    binding: CsrfBinding,
    headers: HeaderMap,
    form: Result<Form<CodeForm>, FormRejection>,
) -> AppResult<Response> {
    let Form(form) = form.map_err(|_| AppError::malformed_form())?;
    let credential = Credential {
        secret: Secret::Code(form.code),
        browser: binding.as_bytes().to_vec(),
        transaction: None,
    };
    let links = app.mailed_links()?.clone();
    let only = confirming(&app, &session, &headers);
    match redeem(app.accounts(), links, session.clone(), client, credential, only).await {
        Ok(entered) => {
            let next = form.next.as_deref().and_then(ReturnTarget::parse);
            Ok(signed_in(&app, &headers, &entered, next).await)
        }
        Err(ActionError::Refused(RedeemRefusal::PasskeyOnly)) => {
            Ok(came_to_nothing(&app, &session, &headers, PASSKEY_ONLY))
        }
        Err(ActionError::Refused(RedeemRefusal::OtherAccount)) => {
            Ok(came_to_nothing(&app, &session, &headers, OTHER_ACCOUNT))
        }
        Err(ActionError::Refused(RedeemRefusal::Invalid)) => {
            let https = app.is_https();
            let asked = PendingAddress::from_headers(&headers, https)
                .map(PendingAddress::after_a_wrong_code);
            let problem = match &asked {
                Some(asked) if asked.wrong_codes >= MAX_WRONG_CODES => NO_MORE_CODES,
                _ => WRONG_CODE,
            };
            let page = Page::new(&binding);
            let status = StatusCode::BAD_REQUEST;
            let mut response =
                code_page(&app, &session, &page, &headers, status, (Some(problem), None))?;
            if let Some(asked) = asked {
                response.headers_mut().append(header::SET_COOKIE, asked.cookie(https));
            }
            Ok(response)
        }
        Err(error) => Err(error.into()),
    }
}

/// The form of the confirm page.
#[derive(Deserialize)]
pub struct ConfirmForm {
    token: String,
    /// `no` to sign in without linking the identity that waits.
    link: Option<String>,
}

/// `POST /login/confirm`: signs in.
pub async fn redeem_link(
    State(app): State<App>,
    session: Session,
    client: ClientInfo,
    binding: CsrfBinding,
    headers: HeaderMap,
    form: Result<Form<ConfirmForm>, FormRejection>,
) -> AppResult<Response> {
    let Form(ConfirmForm { token, link }) = form.map_err(|_| AppError::malformed_form())?;
    let links = app.mailed_links()?.clone();
    let transaction = cookies::transaction(app.is_https());
    let transaction = transaction.read(&headers).filter(|_| link.as_deref() != Some("no"));
    let credential = Credential {
        secret: Secret::Token(token.clone()),
        browser: binding.as_bytes().to_vec(),
        transaction: transaction.map(ToOwned::to_owned),
    };
    let only = confirming(&app, &session, &headers);
    match redeem(app.accounts(), links, session.clone(), client, credential, only).await {
        Ok(entered) => Ok(signed_in(&app, &headers, &entered, None).await),
        Err(ActionError::Refused(RedeemRefusal::PasskeyOnly)) => {
            Ok(came_to_nothing(&app, &session, &headers, PASSKEY_ONLY))
        }
        Err(ActionError::Refused(RedeemRefusal::OtherAccount)) => {
            Ok(came_to_nothing(&app, &session, &headers, OTHER_ACCOUNT))
        }
        Err(ActionError::Refused(RedeemRefusal::Invalid)) => {
            if is_own_link(&app, &session, &token).await? {
                return Ok(led_on(&app, &headers));
            }
            Ok(came_to_nothing(&app, &session, &headers, Problem::LinkInvalid))
        }
        Err(error) => Err(error.into()),
    }
}

const PASSKEY_ONLY: Problem = Problem::Provider(ProviderError::PasskeyOnly);
const OTHER_ACCOUNT: Problem = Problem::Provider(ProviderError::OtherAccount);

/// The page that shows the error: the confirmation page during a confirmation, else the account
/// page when signed in, else the sign-in page.
fn came_to_nothing(
    app: &App,
    session: &Session,
    headers: &HeaderMap,
    problem: Problem,
) -> Response {
    if confirming(app, session, headers).is_some() {
        let here = ReturnTarget::remembered(headers, app.is_https());
        let here = here.filter(|here| here.is_page("/confirm"));
        let here = here.or_else(|| ReturnTarget::parse("/confirm")).unwrap_or_default();
        return Redirect::to(&here.saying(ERROR, problem.code())).into_response();
    }
    let page = if session.user().is_ok() { "/account" } else { "/login" };
    Redirect::to(&after_problem(page, problem)).into_response()
}

/// Redirects to `next`, else to the page that this browser remembers.
async fn signed_in(
    app: &App,
    headers: &HeaderMap,
    entered: &SignedIn,
    next: Option<ReturnTarget>,
) -> Response {
    let https = app.is_https();
    let device = cookies::device(https).set(&entered.device_token);
    let own = [device, pending_address::forget(https), cookies::last_method(https).set("email")];
    let offer = passkey_offer::begin(app, entered.user.id).await;
    let cookies = own.into_iter().chain(ReturnTarget::forget(headers, https)).chain(offer);
    let cookies: Vec<_> = cookies.map(|cookie| (header::SET_COOKIE, cookie)).collect();
    let next = next.or_else(|| ReturnTarget::remembered(headers, https)).unwrap_or_default();
    (AppendHeaders(cookies), Redirect::to(&next.landing())).into_response()
}

/// `GET /login/status`: whether the link this browser requested was confirmed in another browser,
/// or why its mail has not been delivered. It signs nobody in.
pub async fn status(
    State(app): State<App>,
    session: Session,
    binding: CsrfBinding,
    headers: HeaderMap,
) -> AppResult<Json<Status>> {
    if is_signed_in(&session, PendingAddress::from_headers(&headers, app.is_https()).as_ref()) {
        return Ok(Json(Status { status: "signed_in" }));
    }
    let progress = progress(&app, &binding).await?;
    let status = match (progress.is_used, progress.mail_trouble) {
        (true, _) => "confirmed_elsewhere",
        (false, None) => "waiting",
        (false, Some(MailTrouble::Delayed)) => "mail_delayed",
        (false, Some(MailTrouble::GivenUp)) => "mail_given_up",
    };
    Ok(Json(Status { status }))
}

/// Whether a user is signed in and has requested no link since.
fn is_signed_in(session: &Session, asked: Option<&PendingAddress>) -> bool {
    let Some(asked) = asked else { return session.user().is_ok() };
    let proof = session.info().and_then(|info| info.authentication);
    proof.is_some_and(|proof| asked.is_not_after(utc(proof.at)))
}

/// The state of a sign-in.
#[derive(Serialize)]
pub struct Status {
    /// `waiting`, `mail_delayed`, `mail_given_up`, `confirmed_elsewhere` or `signed_in`.
    status: &'static str,
}

/// The query of a mailed link.
#[derive(Deserialize, Default)]
pub struct LinkQuery {
    /// The token; empty if missing.
    #[serde(default)]
    pub token: String,
}

struct LinkView {
    token: String,
    email: String,
    device: String,
    ip: String,
    when: Moment,
    is_own: bool,
    /// The provider that it links as well.
    links: Option<String>,
}

#[derive(Template)]
#[template(path = "confirm.html")]
struct ConfirmPage<'a> {
    page: &'a Page,
    link: Option<LinkView>,
    problem: Option<&'static str>,
}

/// `GET /api/v1/auth/magic/verify?token=…`: asks for confirmation; only the button's POST redeems
/// the link.
pub async fn confirm(
    State(app): State<App>,
    session: Session,
    page: Page,
    binding: CsrfBinding,
    headers: HeaderMap,
    query: Result<Query<LinkQuery>, QueryRejection>,
) -> AppResult<Response> {
    let token = pasted(&query.unwrap_or_default().0.token).to_owned();
    let pending = peek(&app, &token, binding.as_bytes(), &headers).await?;
    if pending.is_none() && is_own_link(&app, &session, &token).await? {
        return Ok(led_on(&app, &headers));
    }
    confirm_page(&app, &page, pending.map(|pending| (token, pending)), None)
}

/// Whether the link was mailed to the signed-in account, and so has already been used.
async fn is_own_link(app: &App, session: &Session, token: &str) -> AppResult<bool> {
    let (Some(links), Ok(id)) = (&app.magic_links, session.user()) else { return Ok(false) };
    let Some(email) = links.recipient(token).await? else { return Ok(false) };
    let account = users::find_by_id(&app.database, user_id(&id)?).await?;
    Ok(account.and_then(|account| account.email) == Some(email))
}

/// Redirects to the remembered page, else to the account page with the notice that the user is
/// signed in.
fn led_on(app: &App, headers: &HeaderMap) -> Response {
    match ReturnTarget::remembered(headers, app.is_https()) {
        Some(next) => Redirect::to(&next.landing()).into_response(),
        None => account_done(Done::AlreadyIn),
    }
}

/// The details of a valid link, as shown in this browser.
pub(super) async fn peek(
    app: &App,
    token: &str,
    browser: &[u8],
    headers: &HeaderMap,
) -> AppResult<Option<PendingLink>> {
    let Some(links) = &app.magic_links else { return Ok(None) };
    let transaction = cookies::transaction(app.is_https());
    Ok(links.peek(token, browser, transaction.read(headers), app.now()).await?)
}

/// The page of a valid or an invalid link. `problem` is set if its form was refused.
pub(super) fn confirm_page(
    app: &App,
    page: &Page,
    link: Option<(String, PendingLink)>,
    problem: Option<&'static str>,
) -> AppResult<Response> {
    let link = link.map(|(token, pending)| LinkView {
        token,
        email: pending.email.masked(),
        device: pending.device,
        ip: pending.ip,
        when: Moment(pending.created_at),
        is_own: pending.is_own,
        links: pending.links.map(|provider| app.providers.names().of(provider).to_owned()),
    });
    let status = match (&link, problem) {
        (None, _) => StatusCode::BAD_REQUEST,
        (Some(_), None) => StatusCode::OK,
        (Some(_), Some(_)) => StatusCode::FORBIDDEN,
    };
    let mut response = page.render(status, &ConfirmPage { page, link, problem })?;
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex"));
    Ok(response)
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(letters).chain(['.']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_read_as_people_say_them() {
        for (minutes, words) in
            [(60, "1 hour"), (72 * 60, "72 hours"), (30, "30 minutes"), (1, "1 minute")]
        {
            assert_eq!(in_words(Duration::from_mins(minutes)), words);
        }
    }

    #[test]
    fn a_message_becomes_a_sentence() {
        assert_eq!(capitalised("the e-mail address is empty"), "The e-mail address is empty.");
        assert_eq!(capitalised(""), ".");
    }
}
