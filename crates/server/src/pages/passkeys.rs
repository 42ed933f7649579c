//! Passkeys, recovery codes and "passkey only" on the account page, and signing in with a code.

use std::time::Duration;

use askama::Template;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use tracera_session::Session;
use uuid::Uuid;

use crate::actions::passkeys::{self as actions, OnlyRefusal, RemoveRefusal};
use crate::actions::recovery::{RecoveryRefusal, make, recover};
use crate::actions::{ActionError, Caller, REAUTH_WINDOW};
use crate::auth::authenticators;
use crate::auth::client::ClientInfo;
use crate::auth::provider_error::ProviderError;
use crate::auth::recovery_codes::RecoveryCode;
use crate::domain::email::Email;
use crate::http::error::{AppError, AppResult};
use crate::http::{App, cookies};
use crate::pages::confirm::confirming;
use crate::pages::messages::{Done, Problem, after_problem};
use crate::pages::page::{Moment, Page, Person, account_done, account_problem, to_confirm_first};
use crate::pages::return_target::ReturnTarget;
use crate::store::{passkeys, recovery_codes, users};

/// The data of the passkey section on the account page.
pub(super) struct PasskeysView {
    /// The passkeys, oldest first.
    pub(super) list: Vec<PasskeyView>,
    /// Whether the account accepts only passkeys and recovery codes.
    pub(super) only: bool,
    /// The number of recovery codes left.
    pub(super) codes_left: i64,
    /// How long changes are possible without another confirmation, in seconds.
    pub(super) recent_secs: u64,
    /// The RP id, for the script that updates the browser's list of passkeys.
    pub(super) rp_id: String,
    /// The user handle, for the same script.
    pub(super) user_handle: String,
    /// The ids of the account's passkeys as JSON, for the same script.
    pub(super) credentials: String,
}

/// A passkey in that section.
pub(super) struct PasskeyView {
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) authenticator: Option<&'static str>,
    pub(super) created: Moment,
    pub(super) used: Option<Moment>,
}

/// The data of the user's passkey section.
pub(super) async fn view(app: &App, session: &Session, user: Uuid) -> AppResult<PasskeysView> {
    let all = passkeys::of_user(&app.database, user).await?;
    let ids: Vec<_> =
        all.iter().map(|passkey| URL_SAFE_NO_PAD.encode(&passkey.credential_id)).collect();
    let proved = session.info().and_then(|info| info.authentication);
    let since = proved.map(|proof| app.clock.now().since(proof.at));
    let recent = since.and_then(|since| REAUTH_WINDOW.checked_sub(since)).unwrap_or_default();
    let list = all.into_iter().map(|passkey| PasskeyView {
        id: passkey.id,
        authenticator: authenticators::name(&passkey.aaguid).filter(|name| *name != passkey.name),
        name: passkey.name,
        created: Moment(passkey.created_at),
        used: passkey.last_used_at.map(Moment),
    });
    Ok(PasskeysView {
        list: list.collect(),
        only: passkeys::is_passkey_only(&app.database, user).await?,
        codes_left: recovery_codes::count(&app.database, user).await?,
        // Shortened, because the request itself takes time.
        recent_secs: recent.saturating_sub(Duration::from_secs(30)).as_secs(),
        rp_id: app.passkeys.rp_id().to_owned(),
        user_handle: URL_SAFE_NO_PAD.encode(user.as_bytes()),
        credentials: serde_json::to_string(&ids).map_err(AppError::internal)?,
    })
}

/// The form next to a passkey or a token.
#[derive(Deserialize)]
pub struct IdForm {
    pub(super) id: Uuid,
}

/// `POST /account/passkeys/remove`
pub async fn remove(
    State(app): State<App>,
    caller: Caller,
    form: Result<Form<IdForm>, FormRejection>,
) -> AppResult<Response> {
    let Form(form) = form.map_err(|_| AppError::malformed_form())?;
    match actions::remove(app.accounts(), app.sign_in_methods(), caller, form.id).await {
        Ok(()) => Ok(account_done(Done::PasskeyRemoved)),
        Err(ActionError::Refused(refusal)) => Ok(match refusal {
            RemoveRefusal::NotRecent => to_confirm_first(),
            RemoveRefusal::NotFound => account_problem(Problem::NotLinked),
            RemoveRefusal::LastWayIn => account_problem(Problem::LastWayIn),
            RemoveRefusal::Needed => account_problem(Problem::PasskeysMissing),
        }),
        Err(error) => Err(error.into()),
    }
}

/// The form that turns "passkey only" on or off.
#[derive(Deserialize)]
pub struct OnlyForm {
    enabled: bool,
}

/// `POST /account/passkey-only`
pub async fn passkey_only(
    State(app): State<App>,
    caller: Caller,
    form: Result<Form<OnlyForm>, FormRejection>,
) -> AppResult<Response> {
    let Form(form) = form.map_err(|_| AppError::malformed_form())?;
    match actions::set_passkey_only(app.accounts(), caller, form.enabled).await {
        Ok(()) if form.enabled => Ok(account_done(Done::PasskeyOnlyOn)),
        Ok(()) => Ok(account_done(Done::PasskeyOnlyOff)),
        Err(ActionError::Refused(OnlyRefusal::NotRecent)) => Ok(to_confirm_first()),
        Err(ActionError::Refused(OnlyRefusal::Lacking)) => {
            Ok(account_problem(Problem::PasskeysMissing))
        }
        Err(error) => Err(error.into()),
    }
}

/// A page for secrets that are shown only once.
#[derive(Template)]
#[template(path = "shown_once.html")]
pub(super) struct ShownOncePage<'a> {
    pub(super) page: &'a Page,
    pub(super) name: String,
    pub(super) title: &'static str,
    pub(super) advice: &'static str,
    pub(super) secrets: Vec<&'a str>,
}

/// `POST /account/recovery-codes`: responds with a page that shows the codes.
pub async fn make_codes(
    State(app): State<App>,
    caller: Caller,
    person: Person,
    page: Page,
) -> AppResult<Response> {
    match make(app.accounts(), app.recovery_codes.clone(), caller).await {
        Ok(codes) => {
            let shown = ShownOncePage {
                name: person.label(),
                title: "Your recovery codes",
                advice: "Keep them where you find them without this device. Each opens your \
                         account once. They are not shown again.",
                secrets: codes.iter().map(RecoveryCode::expose).collect(),
                page: &page,
            };
            page.render(StatusCode::OK, &shown)
        }
        Err(ActionError::Refused(_)) => Ok(to_confirm_first()),
        Err(error) => Err(error.into()),
    }
}

/// The address of the user who confirms in this browser.
async fn own_address(
    app: &App,
    session: &Session,
    headers: &HeaderMap,
) -> AppResult<Option<Email>> {
    let Some(user) = confirming(app, session, headers) else { return Ok(None) };
    Ok(users::find_by_id(&app.database, user).await?.and_then(|user| user.email))
}

#[derive(Template)]
#[template(path = "recovery.html")]
struct RecoveryPage<'a> {
    page: &'a Page,
    address: &'a str,
    problem: Option<&'static str>,
}

/// `GET /login/recovery`
pub async fn recovery(
    State(app): State<App>,
    session: Session,
    page: Page,
    headers: HeaderMap,
) -> AppResult<Response> {
    let own = own_address(&app, &session, &headers).await?;
    let address = own.as_ref().map_or("", Email::as_str);
    page.render(StatusCode::OK, &RecoveryPage { page: &page, address, problem: None })
}

/// The form of the recovery page.
#[derive(Deserialize)]
pub struct RecoveryForm {
    email: String,
    code: String,
}

/// `POST /login/recovery`: signs in, and redirects to the account page, so that the user can set up
/// new methods.
pub async fn redeem(
    State(app): State<App>,
    session: Session,
    client: ClientInfo,
    page: Page,
    headers: HeaderMap,
    form: Result<Form<RecoveryForm>, FormRejection>,
) -> AppResult<Response> {
    let Form(form) = form.map_err(|_| AppError::malformed_form())?;
    let confirms = confirming(&app, &session, &headers).is_some();
    let own = own_address(&app, &session, &headers).await?;
    let refusal = match Email::parse(&form.email) {
        Err(_) => RecoveryRefusal::Invalid,
        // Codes of another account do not confirm the user, and are not used up.
        Ok(email) if confirms && own.as_ref() != Some(&email) => {
            let problem = Problem::Provider(ProviderError::OtherAccount);
            return Ok(Redirect::to(&after_problem("/confirm", problem)).into_response());
        }
        Ok(email) => {
            let codes = app.recovery_codes.clone();
            match recover(app.accounts(), codes, session, client, email, form.code).await {
                Ok(entered) => {
                    let device = cookies::device(app.is_https()).set(&entered.device_token);
                    let cookie = AppendHeaders([(header::SET_COOKIE, device)]);
                    let here = ReturnTarget::remembered(&headers, app.is_https());
                    let here = here.filter(|_| confirms);
                    let next =
                        here.map_or_else(|| "/account#passkeys".to_owned(), |here| here.landing());
                    return Ok((cookie, Redirect::to(&next)).into_response());
                }
                Err(ActionError::Refused(refusal)) => refusal,
                Err(error) => return Err(error.into()),
            }
        }
    };
    let (status, problem) = match refusal {
        RecoveryRefusal::Invalid => {
            (StatusCode::BAD_REQUEST, "No account has that address and that recovery code.")
        }
        RecoveryRefusal::TooOften(_) => (
            StatusCode::TOO_MANY_REQUESTS,
            "Too many codes were tried for this address. Passkeys still work; codes do again in \
             an hour.",
        ),
    };
    let recovery = RecoveryPage { page: &page, address: &form.email, problem: Some(problem) };
    page.render(status, &recovery)
}
