//! The pages a person sees, and their assets.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Deserialize;
use time::OffsetDateTime;
use tracera_session::{CurrentUser, Session};

use crate::app::App;
use crate::app::csrf::Binding;
use crate::auth::client::Client;
use crate::auth::failure::Failure;
use crate::clock::utc;
use crate::error::{AppError, AppResult};
use crate::routes::account::user_id;
use crate::store::users;
use crate::web;

/// What every page needs: a CSRF token, and the cookie it is bound to when nobody is signed in.
pub struct Page {
    pub(super) csrf_token: String,
    cookie: Option<HeaderValue>,
}

impl Page {
    /// For this request's session or visitor.
    pub fn new(app: &App, session: &Session, headers: &HeaderMap) -> Self {
        let (binding, cookie) = match Binding::of_session(session) {
            Some(binding) => (binding, None),
            None => {
                let (visitor, cookie) = app.visitor(headers);
                (Binding::of_visitor(&visitor), Some(cookie))
            }
        };
        Self { csrf_token: app.csrf.issue(binding.as_bytes()), cookie }
    }

    /// The token, and the cookie to set with it.
    pub fn into_token(self) -> (String, Option<[(HeaderName, HeaderValue); 1]>) {
        (self.csrf_token, self.cookie.map(|cookie| [(header::SET_COOKIE, cookie)]))
    }

    /// Renders a page's template with the page's cookie.
    pub fn render(&self, status: StatusCode, template: &impl Template) -> AppResult<Response> {
        let html = template.render().map_err(AppError::internal)?;
        let cookie = self.cookie.clone().map(|cookie| [(header::SET_COOKIE, cookie)]);
        Ok((status, cookie, Html(html)).into_response())
    }
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    page: &'a Page,
    email: bool,
    providers: Vec<(&'static str, &'static str)>,
    problem: Option<&'static str>,
}

/// What went wrong before, in the query of the page it ended on.
#[derive(Default, Deserialize)]
pub struct ProblemQuery {
    error: Option<String>,
}

impl ProblemQuery {
    /// A sentence of ours; nothing of the query itself gets onto the page.
    fn sentence(query: Result<Query<Self>, QueryRejection>) -> Option<&'static str> {
        query.ok().and_then(|Query(query)| Failure::sentence(&query.error?))
    }
}

/// `GET /login`
pub async fn login(
    State(app): State<App>,
    session: Session,
    headers: HeaderMap,
    query: Result<Query<ProblemQuery>, QueryRejection>,
) -> AppResult<Response> {
    if session.user().is_ok() {
        return Ok(Redirect::to("/").into_response());
    }
    let page = Page::new(&app, &session, &headers);
    let login = LoginPage {
        email: app.magic_links.is_some(),
        providers: app.providers.configured().map(|it| (it.label(), it.sign_in_path())).collect(),
        problem: ProblemQuery::sentence(query),
        page: &page,
    };
    page.render(StatusCode::OK, &login)
}

/// The query of a mailed link.
#[derive(Deserialize)]
pub struct LinkQuery {
    /// Its token; empty if there is none.
    #[serde(default)]
    pub token: String,
}

struct LinkView {
    token: String,
    email: String,
    device: String,
    ip: String,
    when: String,
}

#[derive(Template)]
#[template(path = "confirm.html")]
struct ConfirmPage<'a> {
    page: &'a Page,
    link: Option<LinkView>,
}

/// `GET /api/v1/auth/magic/verify?token=…`: asks; only the button's POST redeems the link.
pub async fn confirm(
    State(app): State<App>,
    session: Session,
    headers: HeaderMap,
    query: Result<Query<LinkQuery>, QueryRejection>,
) -> AppResult<Response> {
    let token = query.map(|Query(query)| query.token).unwrap_or_default();
    let pending = match &app.magic_links {
        Some(links) => links.peek(&token, utc(app.clock.now())).await?,
        None => None,
    };
    let link = pending.map(|pending| LinkView {
        token,
        email: pending.email.masked(),
        device: pending.device,
        ip: pending.ip,
        when: minute(pending.created_at),
    });
    let page = Page::new(&app, &session, &headers);
    let status = if link.is_some() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let mut response = page.render(status, &ConfirmPage { link, page: &page })?;
    let headers = response.headers_mut();
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex"));
    Ok(response)
}

struct SessionView {
    handle: String,
    client: String,
    detail: String,
    current: bool,
}

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage<'a> {
    page: &'a Page,
    problem: Option<&'static str>,
    name: String,
    sessions: Vec<SessionView>,
}

/// `GET /`
pub async fn home(
    State(app): State<App>,
    session: Session,
    user: Option<CurrentUser>,
    headers: HeaderMap,
    query: Result<Query<ProblemQuery>, QueryRejection>,
) -> AppResult<Response> {
    let Some(CurrentUser(user)) = user else { return Ok(Redirect::to("/login").into_response()) };
    let Some(account) = users::find_by_id(&app.database, user_id(&user)?).await? else {
        session.sign_out().await?;
        return Ok(Redirect::to("/login").into_response());
    };
    let current = session.info().map(|info| info.handle);
    let sessions = app.sessions.list(&user).await?.into_iter().map(|info| SessionView {
        handle: info.handle.to_string(),
        client: Client::from_label(&info.client).phrase(),
        detail: [
            Some(format!("signed in {}", minute(utc(info.created)))),
            info.authentication.map(|proof| format!("by {}", proof.method)),
            info.address.map(|address| format!("from {address}")),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" "),
        current: current == Some(info.handle),
    });
    let page = Page::new(&app, &session, &headers);
    let home = HomePage {
        problem: ProblemQuery::sentence(query),
        name: account.name.or(account.email.map(|email| email.to_string())).unwrap_or_default(),
        sessions: sessions.collect(),
        page: &page,
    };
    page.render(StatusCode::OK, &home)
}

/// A time as a person reads it: `2026-11-23 20:04 UTC`.
pub fn minute(at: OffsetDateTime) -> String {
    let (date, hour, minute) = (at.date(), at.hour(), at.minute());
    format!("{date} {hour:02}:{minute:02} UTC")
}

/// `GET /assets/{file}`
pub async fn asset(Path(file): Path<String>, headers: HeaderMap) -> AppResult<Response> {
    let asset = web::find(&file).ok_or_else(AppError::not_found)?;
    Ok(asset.respond(&headers))
}
