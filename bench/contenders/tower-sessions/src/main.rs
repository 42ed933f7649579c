//! tower-sessions with its store in Redis or PostgreSQL, connected as in their READMEs.

use axum::extract::Query;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use contender::{
    App, Fields, Hold, LIFETIME, Login, Me, POSTGRES_CONNECTIONS, Settings, Write, barrier,
};
use sqlx::postgres::PgPoolOptions;
use time::OffsetDateTime;
use tower::Layer;
use tower_sessions::{Expiry, Session, SessionManagerLayer, SessionStore};
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred::prelude::{ClientLike, Config, Pool};
use tower_sessions_sqlx_store::PostgresStore;

/// The pool size in the store's README.
const POOL: usize = 6;

fn main() -> anyhow::Result<()> {
    let settings = Settings::from_env()?;
    if settings.variant == "postgres" {
        contender::serve_with(settings, in_postgres)
    } else {
        contender::serve_with(settings, in_redis)
    }
}

async fn in_redis(settings: Settings) -> anyhow::Result<impl App> {
    let pool = Pool::new(Config::from_url(&settings.redis)?, None, None, None, POOL)?;
    pool.connect();
    pool.wait_for_connect().await?;
    app(&settings, RedisStore::new(pool))
}

async fn in_postgres(settings: Settings) -> anyhow::Result<impl App> {
    let pool = PgPoolOptions::new().max_connections(POSTGRES_CONNECTIONS);
    let store = PostgresStore::new(pool.connect(&settings.postgres()?).await?);
    store.migrate().await?;
    app(&settings, store)
}

fn app<S: SessionStore + Clone>(
    settings: &Settings,
    store: S,
) -> anyhow::Result<impl App + use<S>> {
    let lifetime = LIFETIME.try_into()?;
    let expiry = if settings.sliding {
        Expiry::OnInactivity(lifetime)
    } else {
        Expiry::AtDateTime(OffsetDateTime::now_utc() + lifetime)
    };
    // Without `always_save` an inactivity timeout counts from the last change, not from the last
    // request.
    let layer = SessionManagerLayer::new(store)
        .with_secure(false)
        .with_expiry(expiry)
        .with_always_save(settings.sliding);
    let routes = Router::new()
        .route("/login", post(login))
        .route("/me", get(me))
        .route("/write", post(write))
        .route("/logout", post(logout))
        .route("/hold", post(hold))
        .route("/fields", get(fields));
    Ok(layer.layer(routes))
}

async fn login(session: Session, Query(login): Query<Login>) -> Result<Json<Me>, StatusCode> {
    session.insert("user", &login.user).await.map_err(failed)?;
    Ok(Me::json(login.user))
}

async fn me(session: Session) -> Result<Json<Me>, StatusCode> {
    let user: Option<String> = session.get("user").await.map_err(failed)?;
    user.map(Me::json).ok_or(StatusCode::UNAUTHORIZED)
}

async fn write(session: Session, Query(write): Query<Write>) -> Result<Json<Me>, StatusCode> {
    let me = me(session.clone()).await?;
    session.insert("value", write.value).await.map_err(failed)?;
    Ok(me)
}

async fn logout(session: Session) -> Result<(), StatusCode> {
    session.flush().await.map_err(failed)
}

async fn hold(session: Session, Query(hold): Query<Hold>) -> Result<Json<Me>, StatusCode> {
    let me = me(session.clone()).await?;
    barrier(hold.port).await;
    if hold.write {
        session.insert("other", 1).await.map_err(failed)?;
    }
    Ok(me)
}

async fn fields(session: Session) -> Result<Json<Fields>, StatusCode> {
    let Json(Me { user }) = me(session.clone()).await?;
    let value = session.get("value").await.map_err(failed)?;
    let other = session.get("other").await.map_err(failed)?;
    Ok(Json(Fields { user, value, other }))
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err passes it")]
fn failed(error: tower_sessions::session::Error) -> StatusCode {
    eprintln!("tower-sessions: {error}");
    StatusCode::INTERNAL_SERVER_ERROR
}
