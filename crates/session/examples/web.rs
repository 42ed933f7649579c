//! A complete application on `tracera-session` and `tracera-guard`. Users sign in and out, list
//! their sessions, and end one or all others. It has CSRF tokens, a rate limit and security
//! headers. Copy it and put your users where `password_of` is.
//!
//! ```text
//! cargo run -p tracera-session --example web
//!
//! B=http://localhost:3000
//! csrf() { curl -s -b jar -c jar $B/csrf | sed 's/.*:"\(.*\)".*/\1/'; }
//! curl -b jar -c jar -H "X-CSRF-Token: $(csrf)" \
//!     --json '{"name":"ada","password":"correct horse"}' $B/auth/sign-in
//! curl -b jar $B/sessions
//! curl -b jar -c jar -H "X-CSRF-Token: $(csrf)" -X POST $B/auth/sign-out
//! ```

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header::USER_AGENT};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tower::ServiceBuilder;
use tracera_guard::{self as guard, ClientAddr};
use tracera_session::{
    CurrentUser, Handle, Session, SessionError, SessionInfo, Sessions, SignIn, UserId,
};

const SIGN_INS: guard::RateLimit = guard::RateLimit::new("auth", 20, Duration::from_secs(60));

/// The application, whose public address is `base_url`. Serve it with
/// `into_make_service_with_connect_info::<SocketAddr>()`.
pub(crate) fn app(base_url: &str, secret: &[u8]) -> Result<Router, Box<dyn Error>> {
    let https = base_url.starts_with("https://");
    let keys = tracera_session::KeyRing::new(secret)?;
    // For any number of processes: let redis = RedisConnection::open("redis://127.0.0.1").await?;
    // then RedisStore::new(redis.clone()) here, and below
    // RateLimiter::redis_with(SIGN_INS, move |command| redis.ask(command)).
    let store = tracera_session::EmbeddedStore::in_memory()?;
    let config = tracera_session::SessionConfig::default().secure(https);
    let sessions = Sessions::new(store, keys.clone(), config);
    let csrf = guard::CsrfGuard::new(keys.derive("csrf"), Session::csrf_binding).secure(https);

    // RequireAuth comes first, so that signed-out requests get 401, whatever the token.
    let private = Router::new()
        .route("/me", get(me))
        .route("/sessions", get(list).delete(end_others))
        .route("/sessions/{handle}", delete(end))
        .route("/auth/sign-out", post(sign_out))
        .route_layer(
            ServiceBuilder::new().layer(tracera_session::RequireAuth::new()).layer(csrf.clone()),
        );
    let public = Router::new()
        .route("/csrf", get(guard::issue_csrf_token))
        .route("/auth/sign-in", post(sign_in))
        .route("/theme", put(theme))
        .route_layer(csrf);

    // In the order in which a request passes them.
    let layers = ServiceBuilder::new()
        .layer(guard::SecurityHeaders::new().https(https))
        .layer(guard::TrustedProxies::default())
        .layer(guard::ResourceIsolation::new())
        .layer(
            guard::ClientLimit::new(guard::RateLimiter::in_memory(SIGN_INS))
                .only(|request| guard::path_is_under(request.uri().path(), "/auth")),
        )
        .layer(guard::OriginPolicy::new(base_url)?)
        .layer(tracera_session::SessionLayer::new(sessions.clone()));
    Ok(private.merge(public).layer(layers).with_state(sessions))
}

#[derive(Deserialize)]
struct Credentials {
    name: String,
    password: String,
}

/// One of the user's sessions, and whether the request came from it.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    session: SessionInfo,
    current: bool,
}

async fn sign_in(
    session: Session,
    client: ClientAddr,
    headers: HeaderMap,
    Json(given): Json<Credentials>,
) -> Result<Response, SessionError> {
    if password_of(&given.name) != Some(&*given.password) {
        return Ok((StatusCode::FORBIDDEN, "wrong name or password").into_response());
    }
    let user = UserId::new(&given.name)?;
    session
        .sign_in(SignIn::new(user, "password").address(client.ip()).client(browser(&headers)))
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Stores the theme, for visitors too.
async fn theme(session: Session, Json(theme): Json<String>) -> Result<StatusCode, SessionError> {
    session.set("theme", &theme)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn sign_out(session: Session) -> Result<StatusCode, SessionError> {
    session.sign_out().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn me(CurrentUser(user): CurrentUser) -> String {
    user.as_str().unwrap_or_default().to_owned()
}

async fn list(
    State(sessions): State<Sessions>,
    session: Session,
    CurrentUser(user): CurrentUser,
) -> Result<Json<Vec<Listed>>, SessionError> {
    let own = session.info().map(|info| info.handle);
    let all = sessions.list(&user).await?.into_iter();
    Ok(Json(all.map(|session| Listed { current: Some(session.handle) == own, session }).collect()))
}

async fn end(
    State(sessions): State<Sessions>,
    CurrentUser(user): CurrentUser,
    Path(handle): Path<Handle>,
) -> Result<StatusCode, SessionError> {
    let ended = sessions.revoke(&user, handle).await?;
    Ok(if ended { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND })
}

async fn end_others(session: Session) -> Result<StatusCode, SessionError> {
    session.sign_out_others().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A stand-in for your users. Store hashes of passwords, made with Argon2.
fn password_of(name: &str) -> Option<&'static str> {
    matches!(name, "ada" | "eve").then_some("correct horse")
}

/// The client in the list of sessions: a few words, not the whole header.
fn browser(headers: &HeaderMap) -> &'static str {
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    ["Firefox", "Edg", "Chrome", "Safari", "curl"]
        .into_iter()
        .find(|name| agent.contains(name))
        .unwrap_or("another browser")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Comes from your secret store. It signs the cookies and the CSRF tokens.
    let secret = std::env::var("SESSION_SECRET")
        .unwrap_or_else(|_| "for trying out only, never for other people".to_owned());
    let app = app("http://localhost:3000", secret.as_bytes())?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}
