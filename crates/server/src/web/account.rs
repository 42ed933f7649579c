//! Account security: where one is signed in, ending sessions, one's data.

use askama::Template;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Form, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use time::OffsetDateTime;
use tracera_session::{CurrentUser, Handle, Session, SessionInfo};

use crate::app::App;
use crate::auth::client::Client;
use crate::clock::utc;
use crate::error::{AppError, AppResult};
use crate::routes::sessions;
use crate::web::page::{Page, Person, ago, minute};
use crate::web::{delete, live};

struct SessionView {
    handle: String,
    client: String,
    is_phone: bool,
    address: String,
    method: String,
    created: String,
    /// As said and as read from a clock; `None` when all that is known is when it began.
    last_seen: Option<(String, String)>,
    current: bool,
}

impl SessionView {
    fn new(info: SessionInfo, current: Option<Handle>, now: OffsetDateTime) -> Self {
        let client = Client::from_label(&info.client);
        let device = client.device.as_deref().unwrap_or_default();
        let last_seen = utc(info.last_seen);
        Self {
            is_phone: ["iPhone", "iPad", "Android"].contains(&device),
            client: client.phrase(),
            address: info.address.map(sessions::shown_address).unwrap_or_else(|| "unknown".to_owned()),
            method: info.authentication.map_or_else(|| "unknown".to_owned(), |proof| way(&proof.method)),
            created: minute(utc(info.created)),
            last_seen: (info.last_seen > info.created).then(|| (ago(last_seen, now), minute(last_seen))),
            current: current == Some(info.handle),
            handle: info.handle.to_string(),
        }
    }
}

/// A method of signing in as people write it.
fn way(method: &str) -> String {
    match method {
        "email" => "E-mail link",
        "google" => "Google",
        "github" => "GitHub",
        "steam" => "Steam",
        other => other,
    }
    .to_owned()
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage<'a> {
    page: &'a Page,
    name: String,
    email: Option<String>,
    member_since: String,
    sessions: Vec<SessionView>,
    names: String,
    others: usize,
    phrase: &'static str,
    notice: Option<&'static str>,
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
    headers: HeaderMap,
    query: Result<Query<AccountQuery>, QueryRejection>,
) -> AppResult<Response> {
    let Query(query) = query.unwrap_or_default();
    let now = utc(app.clock.now());
    let current = session.info().map(|info| info.handle);
    let sessions = app.sessions.list(&person.id).await?;
    let names = live::names(&sessions);
    let mut sessions: Vec<_> =
        sessions.into_iter().map(|info| SessionView::new(info, current, now)).collect();
    sessions.sort_by_key(|session| !session.current);
    let page = Page::new(&app, &session, &headers);
    let account = AccountPage {
        name: person.label(),
        email: person.account.email.as_ref().map(ToString::to_string),
        member_since: person.account.created_at.date().to_string(),
        others: sessions.iter().filter(|session| !session.current).count(),
        sessions,
        names,
        phrase: delete::PHRASE,
        notice: query.done.and_then(|code| done(&code)),
        problem: query.error.and_then(|code| problem(&code)),
        page: &page,
    };
    page.render(StatusCode::OK, &account)
}

fn done(code: &str) -> Option<&'static str> {
    match code {
        "session_ended" => Some("The session is over. Whoever used it is signed out."),
        "others_ended" => Some("You are signed out everywhere else."),
        _ => None,
    }
}

fn problem(code: &str) -> Option<&'static str> {
    match code {
        "session_gone" => Some("That session had ended already."),
        "wrong_phrase" => Some("Nothing was deleted: the confirmation was not typed as shown."),
        _ => None,
    }
}

/// The form beside a session.
#[derive(Deserialize)]
pub struct RevokeForm {
    handle: String,
}

/// `POST /account/sessions/revoke`
pub async fn revoke(
    State(app): State<App>,
    person: Person,
    form: Result<Form<RevokeForm>, FormRejection>,
) -> AppResult<Response> {
    let Form(form) = form.map_err(|_| AppError::malformed_form())?;
    let handle = Handle::parse(&form.handle).ok_or_else(AppError::malformed_form)?;
    let ended = app.sessions.revoke(&person.id, handle).await?;
    if ended {
        tracing::info!(event = "session_revoked", %handle, "a session was ended by its user");
    }
    let target = if ended { "/account?done=session_ended" } else { "/account?error=session_gone" };
    Ok(Redirect::to(target).into_response())
}

/// `POST /account/sessions/revoke-others`
pub async fn revoke_others(
    app: State<App>,
    session: Session,
    person: Person,
) -> AppResult<Response> {
    sessions::revoke_others(app, session, CurrentUser(person.id)).await?;
    Ok(Redirect::to("/account?done=others_ended").into_response())
}
