//! A server of the application, with its own connection, near-cache and clock.

use std::time::Duration;

use anyhow::{Context, Result};
use axum::extract::Query;
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tracera_session::{
    Clock, Handle, KeyRing, RedisConnection, RedisStore, Session, SessionConfig, SessionError,
    SessionLayer, Sessions, SignIn, Timestamp, UserId,
};

const SECRET: &[u8] = b"the secret of all servers of a history";
/// Data fields of a session. They are preloaded, so that copies hold them too.
pub(crate) const FIELDS: [&str; 2] = ["n", "m"];
/// The pause between two moves of the clocks.
const TICK: Duration = Duration::from_millis(20);

pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) app: Router,
    pub(crate) clock: Clock,
    _ticking: Ticking,
}

/// Stops the clock when its server is dropped.
struct Ticking(JoinHandle<()>);

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Deserialize)]
struct Asked {
    user: Option<String>,
    field: Option<String>,
    value: Option<u64>,
    handle: Option<Handle>,
}

impl Server {
    /// With `replicas`, operations that end a session wait for this many replicas.
    pub(crate) async fn start(number: usize, url: &str, replicas: usize) -> Result<Self> {
        let connection = RedisConnection::open(url).await.context("connecting")?;
        let mut store = RedisStore::new(connection);
        if replicas > 0 {
            let own = RedisConnection::open(url).await.context("connecting")?;
            store = store.with_replica_ack(own, replicas, Duration::from_millis(400));
        }
        let clock = Clock::manual(Timestamp::from_millis(1_900_000_000_000));
        let config = SessionConfig::default()
            .clock(clock.clone())
            .secure(false)
            .max_sessions_per_user(1000)
            .preload(&FIELDS)?;
        let sessions = Sessions::new(store, KeyRing::new(SECRET)?, config);
        let ticking = Ticking(tokio::spawn(tick(clock.clone())));
        Ok(Self { name: format!("s{number}"), app: app(&sessions), clock, _ticking: ticking })
    }
}

async fn tick(clock: Clock) {
    let mut last = tokio::time::Instant::now();
    loop {
        tokio::time::sleep(TICK).await;
        let now = tokio::time::Instant::now();
        clock.advance(now - last);
        last = now;
    }
}

fn app(sessions: &Sessions) -> Router {
    let (one, all) = (sessions.clone(), sessions.clone());
    let revoke = async move |session: Session, Query(asked): Query<Asked>| {
        let user = session.user()?;
        let handle = asked.handle.ok_or(SessionError::Unauthenticated)?;
        let found = one.revoke(&user, handle).await?;
        found.then_some(Json(Value::Null)).ok_or(SessionError::Unauthenticated)
    };
    let revoke_all = async move |session: Session| {
        all.revoke_all(&session.user()?).await?;
        Ok::<_, SessionError>(Json(Value::Null))
    };
    Router::new()
        .route("/sign_in", post(sign_in))
        .route("/load", post(load))
        .route("/commit", post(commit))
        .route("/rotate", post(rotate))
        .route("/sign_out", post(sign_out))
        .route("/revoke", post(revoke))
        .route("/revoke_all", post(revoke_all))
        .layer(SessionLayer::new(sessions.clone()))
}

type Answer = Result<Json<Value>, SessionError>;

async fn sign_in(session: Session, Query(asked): Query<Asked>) -> Answer {
    let user = UserId::new(asked.user.unwrap_or_default())?;
    session.sign_in(SignIn::new(user, "history")).await?;
    Ok(handle(&session))
}

async fn load(session: Session, Query(asked): Query<Asked>) -> Answer {
    let user = session.user()?;
    let value: Option<u64> = session.get(&asked.field.unwrap_or_default()).await?;
    Ok(Json(json!({ "user": user.as_bytes().iter().copied().map(char::from).collect::<String>(),
            "value": value })))
}

async fn commit(session: Session, Query(asked): Query<Asked>) -> Answer {
    session.user()?;
    session.set(&asked.field.unwrap_or_default(), &asked.value)?;
    session.commit().await?;
    Ok(Json(Value::Null))
}

async fn rotate(session: Session) -> Answer {
    session.user()?;
    session.rotate().await?;
    Ok(handle(&session))
}

async fn sign_out(session: Session) -> Answer {
    session.user()?;
    session.sign_out().await?;
    Ok(Json(Value::Null))
}

fn handle(session: &Session) -> Json<Value> {
    Json(json!({ "handle": session.info().map(|info| info.handle) }))
}
