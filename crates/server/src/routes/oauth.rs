//! To a provider and back. Every callback spends its transaction and ends in a redirect to a page of ours, so that no
//! code or state stays in the address bar.

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tracera_session::Session;

use crate::app::App;
use crate::app::csrf::Binding;
use crate::auth::accounts::{self, Entry};
use crate::auth::callback::OauthCallback;
use crate::auth::cookie::handle_hash;
use crate::auth::events::{Kind, Notice, Visit};
use crate::auth::failure::Failure;
use crate::auth::magic_link::Asker;
use crate::auth::provider::{Person, Provider};
use crate::auth::sign_in::{FRESH, sign_in};
use crate::auth::transaction::{Ended, LIFETIME, Purpose};
use crate::clock::utc;
use crate::error::{AppError, AppResult};
use crate::routes::account::user_id;
use crate::store::users;

/// `GET /api/v1/auth/google`
pub async fn google(State(app): State<App>) -> AppResult<Response> {
    start(&app, Provider::Google).await
}

/// `GET /api/v1/auth/github`
pub async fn github(State(app): State<App>) -> AppResult<Response> {
    start(&app, Provider::Github).await
}

/// `GET /api/v1/auth/steam/login`
pub async fn steam_login(State(app): State<App>) -> AppResult<Response> {
    start(&app, Provider::Steam).await
}

async fn start(app: &App, provider: Provider) -> AppResult<Response> {
    match leave(app, provider, &Purpose::SignIn).await? {
        Ok((url, cookie)) => Ok((set_cookie(cookie), Redirect::to(&url)).into_response()),
        Err(failure) => Ok(Redirect::to(&page("/login", failure)).into_response()),
    }
}

/// `GET /api/v1/auth/steam`: links Steam to the account that is signed in.
///
/// A navigation and so without a CSRF token: other sites may not cause it, and it ends in a question by Steam.
pub async fn steam_link(State(app): State<App>, session: Session, headers: HeaderMap) -> AppResult<Response> {
    if !is_own_navigation(&headers) {
        return Err(AppError::csrf_failed("linking begins on a page of this site"));
    }
    let purpose = link_purpose(&session).await?;
    match leave(&app, Provider::Steam, &purpose).await? {
        Ok((url, cookie)) => Ok((set_cookie(cookie), Redirect::to(&url)).into_response()),
        Err(failure) => Ok(Redirect::to(&page("/account", failure)).into_response()),
    }
}

/// `POST /api/v1/auth/providers/{provider}/link`: where to send the browser to link the provider.
pub async fn link(
    State(app): State<App>,
    session: Session,
    Path(provider): Path<String>,
) -> AppResult<([(HeaderName, HeaderValue); 1], Json<Value>)> {
    let (url, cookie) = begin_link(&app, &session, &provider).await?;
    Ok((set_cookie(cookie), Json(json!({ "redirect_to": url }))))
}

/// Where to send the browser to link the provider, and the cookie it needs there and back.
///
/// # Errors
/// 404 for a provider there is not; 403 when one signed in too long ago; 502 when the provider cannot be used.
pub async fn begin_link(app: &App, session: &Session, provider: &str) -> AppResult<(String, HeaderValue)> {
    let provider = Provider::parse(provider).ok_or_else(AppError::not_found)?;
    let purpose = link_purpose(session).await?;
    leave(app, provider, &purpose).await?.map_err(|failure| {
        let sentence = Failure::sentence(failure.code()).expect("every failure has a sentence");
        AppError::new(StatusCode::BAD_GATEWAY, failure.code(), sentence)
    })
}

/// Begins a transaction; the address to go to and the cookie, or why the provider cannot be used.
async fn leave(
    app: &App,
    provider: Provider,
    purpose: &Purpose,
) -> AppResult<Result<(String, HeaderValue), Failure>> {
    if !app.providers.is_configured(provider) {
        return Err(AppError::new(
            StatusCode::NOT_FOUND,
            "method_not_configured",
            "this server does not use that provider; `tracera check-config` says which variables it needs",
        ));
    }
    let now = utc(app.clock.now());
    let begun = app.providers.transactions.begin(provider, purpose, now).await?;
    let url = app.providers.authorize_url(provider, purpose, &begun, now).await;
    Ok(url.map(|url| (url.into(), begun.cookie)))
}

/// To link to whoever is signed in, if they have proved recently who they are.
async fn link_purpose(session: &Session) -> AppResult<Purpose> {
    session.require_fresh(FRESH).await?;
    let user = user_id(&session.user()?)?;
    let binding = session.binding().ok_or_else(AppError::unauthenticated)?;
    Ok(Purpose::Link { user, session_hash: handle_hash(binding) })
}

/// `GET /api/v1/auth/google/callback`
pub async fn google_callback(
    state: State<App>,
    session: Session,
    visit: Visit,
    headers: HeaderMap,
    query: RawQuery,
) -> Response {
    callback(state, session, visit, headers, query, Provider::Google, None).await
}

/// `GET /api/v1/auth/github/callback`
pub async fn github_callback(
    state: State<App>,
    session: Session,
    visit: Visit,
    headers: HeaderMap,
    query: RawQuery,
) -> Response {
    callback(state, session, visit, headers, query, Provider::Github, None).await
}

/// `GET /api/v1/auth/steam/login/callback`
pub async fn steam_login_callback(
    state: State<App>,
    session: Session,
    visit: Visit,
    headers: HeaderMap,
    query: RawQuery,
) -> Response {
    callback(state, session, visit, headers, query, Provider::Steam, Some(false)).await
}

/// `GET /api/v1/auth/steam/callback`
pub async fn steam_link_callback(
    state: State<App>,
    session: Session,
    visit: Visit,
    headers: HeaderMap,
    query: RawQuery,
) -> Response {
    callback(state, session, visit, headers, query, Provider::Steam, Some(true)).await
}

/// `linking` where the address tells the purpose.
async fn callback(
    State(app): State<App>,
    session: Session,
    visit: Visit,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    provider: Provider,
    linking: Option<bool>,
) -> Response {
    let clear = app.providers.transactions.clear_cookie();
    let arrival =
        Arrival { app, session, visit, headers, query: query.unwrap_or_default(), provider, linking };
    // A task of its own: a browser that hangs up leaves nothing half done.
    let arrived = tokio::spawn(async move { arrival.finish().await }).await;
    let (target, device) =
        arrived.unwrap_or_else(|panic| (page("/login", AppError::internal(panic).into()), None));
    let mut response = (set_cookie(clear), Redirect::to(&target)).into_response();
    if let Some(device) = device {
        response.headers_mut().append(header::SET_COOKIE, device);
    }
    response
}

/// Somebody has come back.
struct Arrival {
    app: App,
    session: Session,
    visit: Visit,
    headers: HeaderMap,
    query: String,
    provider: Provider,
    linking: Option<bool>,
}

impl Arrival {
    /// The page to go to, and a cookie for it.
    async fn finish(self) -> (String, Option<HeaderValue>) {
        let at_home = self.session.user().is_ok();
        let (transaction, callback) = match self.end_transaction().await {
            Ok(ended) => ended,
            Err(failure) => return (page(if at_home { "/account" } else { "/login" }, failure), None),
        };
        let now = utc(self.app.clock.now());
        let person =
            self.app.providers.identify(self.provider, &transaction, &callback, &self.query, now).await;
        match (transaction.purpose, person) {
            (Purpose::SignIn, person) => match self.enter(person).await {
                Ok(device) => ("/".to_owned(), Some(device)),
                Err(failure) => {
                    tracing::warn!(
                        event = "sign_in_failed",
                        method = self.provider.as_str(),
                        code = failure.code(),
                        "nobody was signed in"
                    );
                    (page(if at_home { "/account" } else { "/login" }, failure), None)
                }
            },
            (Purpose::Link { user, session_hash }, person) => {
                match self.link(person, user, session_hash).await {
                    Ok(()) => ("/".to_owned(), None),
                    Err(failure) => {
                        tracing::warn!(event = "link_failed", %user, method = self.provider.as_str(), code = failure.code(), "nothing was linked");
                        self.app
                            .events
                            .record(user, Kind::LinkFailed, Some(self.provider.as_str()), &self.visit, now)
                            .await;
                        (page(if at_home { "/account" } else { "/login" }, failure), None)
                    }
                }
            }
        }
    }

    async fn end_transaction(&self) -> Result<(Ended, OauthCallback), Failure> {
        let callback = OauthCallback::parse(&self.query).ok_or(Failure::Expired)?;
        let state = callback.state.as_deref().ok_or(Failure::Expired)?;
        let now = utc(self.app.clock.now());
        let ended = self.app.providers.transactions.end(self.provider, state, &self.headers, now).await?;
        let is_link = matches!(ended.purpose, Purpose::Link { .. });
        if self.linking.is_some_and(|linking| linking != is_link) {
            return Err(Failure::Expired);
        }
        Ok((ended, callback))
    }

    async fn enter(&self, person: Result<Person, Failure>) -> Result<HeaderValue, Failure> {
        let (app, now) = (&self.app, utc(self.app.clock.now()));
        match accounts::enter(&app.database, &person?, now).await? {
            Entry::Open(user) => {
                Ok(sign_in(app, &self.session, &user, self.provider.as_str(), &self.visit).await?)
            }
            Entry::ProofNeeded(owner) => {
                app.events
                    .record(owner.id, Kind::SignInFailed, Some(self.provider.as_str()), &self.visit, now)
                    .await;
                let (Some(links), Some(email)) = (&app.magic_links, owner.email) else {
                    return Err(Failure::AccountExists);
                };
                if self.session.user().is_ok() {
                    return Err(Failure::AccountExists);
                }
                // The code in the mail is of no use to this browser, which may be anybody's: only the link is.
                let (visitor, _) = app.visitor.issue();
                let binding = Binding::of_visitor(&visitor);
                let asker = Asker { binding: &binding, client: self.visit.client.clone(), ip: self.visit.ip };
                links.request(email, &asker, now).await?;
                Err(Failure::ProofMailed)
            }
        }
    }

    async fn link(
        &self,
        person: Result<Person, Failure>,
        user: uuid::Uuid,
        session_hash: [u8; 32],
    ) -> Result<(), Failure> {
        let (app, now) = (&self.app, utc(self.app.clock.now()));
        let present = self.session.user().ok().and_then(|id| user_id(&id).ok());
        let binding = self.session.binding().map(handle_hash);
        if present != Some(user) || binding != Some(session_hash) {
            return Err(Failure::SessionChanged);
        }
        // Asks the store: a session that was ended a moment ago links nothing.
        self.session.require_fresh(FRESH + LIFETIME).await.map_err(|_| Failure::SessionChanged)?;
        if accounts::link(&app.database, user, &person?, now).await? {
            tracing::info!(event = "linked", %user, method = self.provider.as_str(), "linked");
            app.events.record(user, Kind::Linked, Some(self.provider.as_str()), &self.visit, now).await;
            let owner = users::find_by_id(&app.database, user).await.map_err(AppError::from)?;
            let email = owner.and_then(|owner| owner.email);
            app.events.mail(email.as_ref(), &Notice::Linked(self.provider), &self.visit, now);
        }
        Ok(())
    }
}

/// Whether a page of ours or the person themselves has caused this request, as far as the browser tells.
fn is_own_navigation(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all("sec-fetch-site").iter();
    match (sites.next(), sites.next()) {
        (None, _) => true,
        (Some(site), None) => site == "same-origin" || site == "none",
        (Some(_), Some(_)) => false,
    }
}

/// A page that will say why.
fn page(path: &str, failure: Failure) -> String {
    format!("{path}?error={}", failure.code())
}

fn set_cookie(cookie: HeaderValue) -> [(HeaderName, HeaderValue); 1] {
    [(header::SET_COOKIE, cookie)]
}
