//! `axum_session` with its Redis pool. By default it keeps sessions in the process's memory, and
//! does not learn of changes and ends made by other processes. The variant `no-memory` disables
//! that.

use anyhow::bail;
use axum::extract::Query;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use axum_session::{Session, SessionConfig, SessionLayer, SessionMode, SessionStore};
use axum_session_redispool::SessionRedisPool;
use contender::{App, Fields, Hold, LIFETIME, Login, Me, Settings, Write, barrier};
use redis_pool::SingleRedisPool;
use tower::Layer;

type Pool = SessionRedisPool;

fn main() -> anyhow::Result<()> {
    contender::serve(app)
}

async fn app(settings: Settings) -> anyhow::Result<impl App> {
    let pool = SingleRedisPool::from(redis::Client::open(settings.redis)?);
    let lifetime = LIFETIME.try_into()?;
    let mut config = SessionConfig::default()
        .with_secure(false)
        .with_lifetime(lifetime)
        .with_mode(SessionMode::OptIn);
    match settings.variant.as_str() {
        "memory" => {}
        "no-memory" => config = config.with_memory_lifetime(std::time::Duration::ZERO.try_into()?),
        other => bail!("no variant {other:?}"),
    }
    let store = SessionStore::<Pool>::new(Some(pool.into()), config).await?;
    let routes = Router::new()
        .route("/login", post(login))
        .route("/me", get(me))
        .route("/write", post(write))
        .route("/logout", post(logout))
        .route("/hold", post(hold))
        .route("/fields", get(fields));
    Ok(SessionLayer::new(store).layer(routes))
}

async fn login(session: Session<Pool>, Query(login): Query<Login>) -> Json<Me> {
    session.set_store(true);
    session.set("user", &login.user);
    Me::json(login.user)
}

async fn me(session: Session<Pool>) -> Result<Json<Me>, StatusCode> {
    session.get("user").map(Me::json).ok_or(StatusCode::UNAUTHORIZED)
}

async fn write(session: Session<Pool>, Query(write): Query<Write>) -> Result<Json<Me>, StatusCode> {
    session.set("value", write.value);
    me(session).await
}

async fn logout(session: Session<Pool>) {
    session.destroy();
}

async fn hold(session: Session<Pool>, Query(hold): Query<Hold>) -> Result<Json<Me>, StatusCode> {
    let me = me(session.clone()).await?;
    barrier(hold.port).await;
    if hold.write {
        session.set("other", 1);
    }
    Ok(me)
}

async fn fields(session: Session<Pool>) -> Result<Json<Fields>, StatusCode> {
    let Json(Me { user }) = me(session.clone()).await?;
    Ok(Json(Fields { user, value: session.get("value"), other: session.get("other") }))
}
