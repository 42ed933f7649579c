//! This repository's session layer. In addition to the routes of every contender it has:
//!
//! * `POST /rotate`: gives the session a new id,
//! * `POST /revoke`: ends the user's other sessions, one after the other,
//! * `POST /revoke-all`: ends all of the user's sessions in one step.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::bail;
use axum::extract::{Query, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use contender::{
    App, Fields, Hold, LIFETIME, Login, Me, POSTGRES_CONNECTIONS, Settings, Write, barrier,
};
use tower::{Layer, ServiceBuilder};
use tracera_guard::{ClientAddr, ClientLimit, RateLimit, RateLimiter};
use tracera_session::store::SessionStore;
use tracera_session::{
    CurrentUser, KeyRing, NearCache, PrefetchLayer, RedisConnection, RedisStore, Session,
    SessionConfig, SessionError, SessionLayer, Sessions, SignIn, UserId,
};
use tracera_session_sqlx::PostgresStore;
use tracera_session_sqlx::sqlx::postgres::PgPoolOptions;

/// Per client. No client reaches the limit, because the cost of the check is measured.
const LIMIT: RateLimit = RateLimit::new("bench", 100, Duration::from_secs(1));

fn main() -> anyhow::Result<()> {
    let settings = Settings::from_env()?;
    if settings.limited {
        contender::serve_with(settings, limited)
    } else if settings.variant.starts_with("postgres") {
        contender::serve_with(settings, in_postgres)
    } else {
        contender::serve_with(settings, app)
    }
}

async fn app(settings: Settings) -> anyhow::Result<impl App> {
    let redis = RedisConnection::open(&settings.redis).await?;
    let sessions = sessions(&settings, RedisStore::new(redis))?;
    Ok(SessionLayer::new(sessions.clone()).layer(routes(sessions)))
}

async fn in_postgres(settings: Settings) -> anyhow::Result<impl App> {
    let pool = PgPoolOptions::new().max_connections(POSTGRES_CONNECTIONS);
    let store = PostgresStore::open(pool.connect(&settings.postgres()?).await?).await?;
    let sessions = sessions(&settings, store)?;
    Ok(SessionLayer::new(sessions.clone()).layer(routes(sessions)))
}

async fn limited(settings: Settings) -> anyhow::Result<impl App> {
    let redis = RedisConnection::open(&settings.redis).await?;
    let sessions = sessions(&settings, RedisStore::new(redis.clone()))?;
    let limiter = RateLimiter::redis_with(LIMIT, move |command| redis.ask(command));
    Ok(ServiceBuilder::new()
        .map_request(with_client)
        .layer(PrefetchLayer::new(sessions.clone(), is_limited))
        .layer(ClientLimit::new(limiter).only(is_limited))
        .layer(SessionLayer::new(sessions.clone()))
        .service(routes(sessions)))
}

fn sessions(settings: &Settings, store: impl SessionStore) -> anyhow::Result<Sessions> {
    let near_cache = match settings.variant.as_str() {
        "near-cache" | "postgres" => NearCache::default(),
        "no-cache" | "postgres-no-cache" => NearCache::Off,
        other => bail!("no variant {other:?}"),
    };
    let config = SessionConfig::default()
        .near_cache(near_cache)
        .secure(false)
        .lifetime(LIFETIME)
        .idle_timeout(settings.sliding.then_some(LIFETIME / 2))
        .max_sessions_per_user(10);
    let config = if settings.eager { config.touch_interval(Duration::ZERO) } else { config };
    let keys = KeyRing::new(b"a secret for measuring, not for use")?;
    Ok(Sessions::new(store, keys, config))
}

fn routes(sessions: Sessions) -> Router {
    Router::new()
        .route("/login", post(login))
        .route("/me", get(me))
        .route("/write", post(write))
        .route("/logout", post(logout))
        .route("/hold", post(hold))
        .route("/fields", get(fields))
        .route("/rotate", post(rotate))
        .route("/revoke", post(revoke))
        .route("/revoke-all", post(revoke_all))
        .with_state(sessions)
}

async fn login(session: Session, Query(login): Query<Login>) -> Result<Json<Me>, SessionError> {
    let user = UserId::new(&login.user).map_err(|_| SessionError::Unauthenticated)?;
    session.sign_in(SignIn::new(user, "password")).await?;
    Ok(Me::json(login.user))
}

async fn me(CurrentUser(user): CurrentUser) -> Result<Response, SessionError> {
    let user = user.as_str().ok_or(SessionError::Unauthenticated)?;
    Ok(Me::json(user).into_response())
}

async fn write(
    session: Session,
    CurrentUser(user): CurrentUser,
    Query(write): Query<Write>,
) -> Result<Response, SessionError> {
    session.set("value", &write.value)?;
    me(CurrentUser(user)).await
}

async fn logout(session: Session) -> Result<(), SessionError> {
    session.sign_out().await
}

async fn rotate(session: Session) -> Result<(), SessionError> {
    session.rotate().await
}

async fn revoke(
    State(sessions): State<Sessions>,
    session: Session,
    CurrentUser(user): CurrentUser,
) -> Result<(), SessionError> {
    let own = session.info().map(|info| info.handle);
    for other in sessions.list(&user).await? {
        if own != Some(other.handle) {
            sessions.revoke(&user, other.handle).await?;
        }
    }
    Ok(())
}

async fn revoke_all(
    State(sessions): State<Sessions>,
    CurrentUser(user): CurrentUser,
) -> Result<(), SessionError> {
    sessions.revoke_all(&user).await
}

async fn hold(
    session: Session,
    CurrentUser(user): CurrentUser,
    Query(hold): Query<Hold>,
) -> Result<Response, SessionError> {
    barrier(hold.port).await;
    if hold.write {
        session.set("other", &1)?;
    }
    me(CurrentUser(user)).await
}

async fn fields(
    session: Session,
    CurrentUser(user): CurrentUser,
) -> Result<Json<Fields>, SessionError> {
    let user = user.as_str().ok_or(SessionError::Unauthenticated)?.to_owned();
    Ok(Json(Fields {
        user,
        value: session.get("value").await?,
        other: session.get("other").await?,
    }))
}

/// Sign-ins are not limited, because the harness sends them as fast as it can.
fn is_limited(request: &Request) -> bool {
    request.uri().path() == "/me"
}

/// All requests come from one address, so each session gets a client address made from the end of
/// its cookie.
fn with_client(mut request: Request) -> Request {
    let cookie = request.headers().get(header::COOKIE).map_or(&[][..], |cookie| cookie.as_bytes());
    let end = cookie.last_chunk::<8>().copied().unwrap_or_default();
    let [.., a, b, c] = end.map(|byte| byte & 0x3f);
    request.extensions_mut().insert(ClientAddr::from(IpAddr::from([10, a, b, c])));
    request
}
