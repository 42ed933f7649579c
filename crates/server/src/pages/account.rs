//! The account page: sessions, sign-in methods, security events.

use askama::Template;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Form, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use serde::Deserialize;
use time::{Duration, OffsetDateTime};
use tracera_session::{Handle, Session, SessionInfo};
use uuid::Uuid;

use crate::actions::sessions::{self, EndedSession};
use crate::actions::{ActionError, Caller, sign_out};
use crate::auth::client::{Client, shown_address};
use crate::clock::utc;
use crate::domain::provider::{Provider, ProviderNames};
use crate::http::App;
use crate::http::error::{AppError, AppResult};
use crate::http::signing_out::clear_site_data;
use crate::pages::messages::{self, Done, Problem};
use crate::pages::page::{Moment, Page, Person, account_done, account_problem, ago};
use crate::pages::passkeys::{self, PasskeysView};
use crate::pages::tokens::{self, TokenView};
use crate::pages::{delete, live};
use crate::store::events::{self, Event};
use crate::store::{email_changes, identities};

struct SessionView {
    handle: String,
    client: String,
    is_phone: bool,
    address: String,
    method: String,
    created: Moment,
    /// The last use, as a phrase and as a time.
    last_seen: (String, Moment),
    current: bool,
    /// Whether the session works only on the device that signed in.
    is_bound: bool,
}

impl SessionView {
    fn new(
        info: SessionInfo,
        current: Option<Handle>,
        bound: &[Handle],
        names: &ProviderNames,
        now: OffsetDateTime,
    ) -> Self {
        let client = Client::from_label(&info.client);
        let device = client.device.as_deref().unwrap_or_default();
        let last_seen = utc(info.last_seen);
        Self {
            is_phone: ["iPhone", "iPad", "Android"].contains(&device),
            client: client.phrase(),
            address: info.address.map_or_else(|| "unknown".to_owned(), shown_address),
            method: info
                .authentication
                .map_or_else(|| "unknown".to_owned(), |proof| way(&proof.method, names)),
            created: Moment(utc(info.created)),
            last_seen: (ago(last_seen, now), Moment(last_seen)),
            current: current == Some(info.handle),
            is_bound: bound.contains(&info.handle),
            handle: info.handle.to_string(),
        }
    }
}

/// The display name of a sign-in method.
fn way(method: &str, names: &ProviderNames) -> String {
    match method {
        "email" => "E-mail link",
        "passkey" => "Passkey",
        "recovery" => "Recovery code",
        other => Provider::parse(other).map_or(other, |provider| names.of(provider)),
    }
    .to_owned()
}

struct ProviderView {
    name: &'static str,
    label: String,
    /// When it was linked; `None` when it is not.
    linked: Option<Moment>,
    detail: Option<String>,
    configured: bool,
}

struct EventView {
    what: String,
    device: String,
    ip: String,
    at: Moment,
    said: String,
}

/// Number of security events on the page.
const EVENTS: u32 = 20;

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage<'a> {
    page: &'a Page,
    name: String,
    email: Option<String>,
    member_since: String,
    sessions: Vec<SessionView>,
    /// Whether one of them is bound to its device.
    any_bound: bool,
    names: String,
    providers: Vec<ProviderView>,
    passkeys: PasskeysView,
    tokens: Vec<TokenView>,
    events: Vec<EventView>,
    can_mail: bool,
    others: usize,
    phrase: &'static str,
    /// When the account will be deleted.
    leaving: Option<Moment>,
    is_wrong_phrase: bool,
    notice: Option<String>,
    problem: Option<&'static str>,
}

/// The query of the account page.
#[derive(Deserialize, Default)]
pub struct AccountQuery {
    done: Option<String>,
    error: Option<String>,
}

/// `GET /account`
pub async fn account(
    State(app): State<App>,
    session: Session,
    person: Person,
    page: Page,
    query: Result<Query<AccountQuery>, QueryRejection>,
) -> AppResult<Response> {
    let Query(query) = query.unwrap_or_default();
    let now = utc(app.clock.now());
    let current = session.info().map(|info| info.handle);
    let sessions = app.sessions.list(&person.id).await?;
    let names = live::names(&sessions);
    let bound = app.sessions.device_bound(&person.id).await?;
    let view = |info| SessionView::new(info, current, &bound, app.providers.names(), now);
    let mut sessions: Vec<_> = sessions.into_iter().map(view).collect();
    sessions.sort_by_key(|session| !session.current);
    let notice = match query.done.as_deref().and_then(Done::parse) {
        Some(Done::EmailSent) => Some(email_sent(&app, person.account.id, now).await?),
        done => done.map(|done| done.sentence().to_owned()),
    };
    let is_wrong_phrase =
        query.error.as_deref().and_then(Problem::parse) == Some(Problem::WrongPhrase);
    let account = AccountPage {
        name: person.label(),
        email: person.account.email.as_ref().map(ToString::to_string),
        member_since: person.account.created_at.date().to_string(),
        any_bound: !bound.is_empty(),
        others: sessions.iter().filter(|session| !session.current).count(),
        sessions,
        names,
        providers: providers(&app, person.account.id).await?,
        passkeys: passkeys::view(&app, &session, person.account.id).await?,
        tokens: tokens::view(&app, person.account.id).await?,
        events: recent_events(&app, person.account.id, now).await?,
        can_mail: app.magic_links.is_some(),
        phrase: delete::PHRASE,
        leaving: person.leaving(),
        notice,
        is_wrong_phrase,
        problem: query.error.filter(|_| !is_wrong_phrase).map(|code| messages::problem(&code)),
        page: &page,
    };
    page.render(StatusCode::OK, &account)
}

async fn providers(app: &App, user: Uuid) -> AppResult<Vec<ProviderView>> {
    let linked = identities::of_user(&app.database, user).await?;
    let view = |provider: Provider| {
        let identity = linked.iter().find(|identity| identity.provider == provider);
        ProviderView {
            name: provider.as_str(),
            label: app.providers.names().of(provider).to_owned(),
            linked: identity.map(|identity| Moment(identity.linked_at)),
            detail: identity
                .filter(|_| provider == Provider::Steam)
                .map(|identity| format!("SteamID {}", identity.subject)),
            configured: app.providers.is_configured(provider),
        }
    };
    let views = Provider::ALL.into_iter().map(view);
    Ok(views.filter(|view| view.configured || view.linked.is_some()).collect())
}

async fn recent_events(app: &App, user: Uuid, now: OffsetDateTime) -> AppResult<Vec<EventView>> {
    let mut events = events::list(&app.database, user, None, 2 * EVENTS, now).await?;
    events.dedup_by(|older, newer| {
        let is_one = is_one_sign_in(newer, older);
        if is_one {
            std::mem::swap(older, newer);
        }
        is_one
    });
    Ok(events
        .into_iter()
        .take(EVENTS as usize)
        .map(|event| EventView {
            what: happening(&event, app.providers.names()),
            device: event.device,
            ip: event.ip,
            at: Moment(event.at),
            said: if now - event.at < Duration::DAY {
                ago(event.at, now)
            } else {
                Moment(event.at).to_string()
            },
        })
        .collect())
}

/// Whether two events, the newer one first, belong to one sign-in with a new browser, which is
/// recorded as both.
fn is_one_sign_in(newer: &Event, older: &Event) -> bool {
    let what =
        |event: &Event| (event.at, event.method.clone(), event.device.clone(), event.ip.clone());
    newer.kind == "signed_in" && older.kind == "new_device" && what(newer) == what(older)
}

/// Describes a security event.
fn happening(event: &Event, names: &ProviderNames) -> String {
    let what = match &*event.kind {
        "signed_in" => "Signed in",
        "new_device" => "Signed in with a browser not seen before",
        "sign_in_failed" => "Sign-in refused",
        "signed_out" => "Signed out",
        "linked" => "Sign-in method linked",
        "link_failed" => "Linking a sign-in method failed",
        "unlinked" => "Sign-in method unlinked",
        "session_revoked" => "Session ended",
        "other_device" => "A copied session was tried on another device, and ended",
        "other_sessions_revoked" => "Signed out everywhere else",
        "revoked_by_operator" => "Sessions ended by the operator of this server",
        "email_changed" => "E-mail address changed",
        "confirmed" => "Confirmed that it is you",
        "passkey_added" => "Passkey added",
        "passkey_removed" => "Passkey removed",
        "passkey_only_on" => "Passkey only turned on",
        "passkey_only_off" => "Passkey only turned off",
        "recovery_codes_made" => "Recovery codes made",
        "recovery_code_used" => "Recovery code used",
        "token_created" => "API token made",
        "token_revoked" => "API token revoked",
        "ways_in_reset" => "Passkeys removed by the operator of this server",
        "deletion_asked" => "Deletion of the account asked for",
        "deletion_called_off" => "Deletion of the account called off",
        "undone" => "What somebody else had changed was undone",
        "reclaimed" => "Account reclaimed by the owner of its mailbox",
        other => other,
    };
    let is_by_mail = ["email_changed", "reclaimed", "undone"].contains(&&*event.kind);
    let method = event.method.as_deref().filter(|_| !is_by_mail);
    match event.about.clone().or_else(|| Some(way(method?, names))) {
        Some(which) => format!("{what}: {which}"),
        None => what.to_owned(),
    }
}

/// The notice after a change of address was requested. Names the address while the request is
/// pending.
async fn email_sent(app: &App, user: Uuid, now: OffsetDateTime) -> AppResult<String> {
    let wanted = email_changes::wanted(&app.database, user, now).await?;
    let to = wanted.map_or_else(String::new, |email| format!(" to {email}"));
    Ok(format!("A mail with a link is on its way{to}. Nothing changes before you open it."))
}

/// The form next to a session.
#[derive(Deserialize)]
pub struct RevokeForm {
    handle: String,
}

/// `POST /account/sessions/revoke`: for the caller's own session, the response is that of signing
/// out.
pub async fn revoke(
    State(app): State<App>,
    caller: Caller,
    form: Result<Form<RevokeForm>, FormRejection>,
) -> AppResult<Response> {
    let Form(form) = form.map_err(|_| AppError::malformed_form())?;
    let handle = Handle::parse(&form.handle).ok_or_else(AppError::malformed_form)?;
    match sessions::end(app.accounts(), caller, handle).await {
        Ok(EndedSession::Own) => Ok(signed_out()),
        Ok(EndedSession::Other) => Ok(account_done(Done::SessionEnded)),
        Err(ActionError::Refused(_)) => Ok(account_problem(Problem::SessionGone)),
        Err(error) => Err(error.into()),
    }
}

/// `POST /account/sessions/revoke-others`
pub async fn revoke_others(State(app): State<App>, caller: Caller) -> AppResult<Response> {
    sessions::end_others(app.accounts(), caller).await?;
    Ok(account_done(Done::OthersEnded))
}

/// `POST /logout`
pub async fn logout(State(app): State<App>, caller: Caller) -> AppResult<Response> {
    sign_out::sign_out(app.accounts(), caller).await?;
    Ok(signed_out())
}

/// Redirects to the sign-in page with a notice, and clears the browser's data.
fn signed_out() -> Response {
    let target = messages::after("/login", Done::SignedOut);
    (clear_site_data(), Redirect::to(&target)).into_response()
}
