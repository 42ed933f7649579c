//! actix-session with its Redis store, on actix-web. Its responses are those of the axum
//! contenders.

use actix_session::config::{PersistentSession, TtlExtensionPolicy};
use actix_session::storage::RedisSessionStore;
use actix_session::{Session, SessionMiddleware};
use actix_web::cookie::{Key, time};
use actix_web::error::ErrorUnauthorized;
use actix_web::web::{self, Json, Query};
use actix_web::{App, HttpServer};
use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// The lifetime of sessions, equal to that of the other contenders.
const LIFETIME: time::Duration = time::Duration::hours(24);

#[derive(Deserialize)]
struct Login {
    user: String,
}

#[derive(Deserialize)]
struct Write {
    value: u64,
}

#[derive(Deserialize)]
struct Hold {
    port: u16,
    write: bool,
}

#[derive(Serialize)]
struct Fields {
    user: String,
    value: Option<u64>,
    other: Option<u64>,
}

#[derive(Serialize)]
struct Me {
    user: String,
}

fn main() -> anyhow::Result<()> {
    let redis = std::env::var("BENCH_REDIS").context("BENCH_REDIS is not set")?;
    let workers = std::env::var("BENCH_WORKERS").context("BENCH_WORKERS is not set")?.parse()?;
    let policy = if std::env::var("BENCH_SLIDING").is_ok_and(|sliding| sliding == "1") {
        TtlExtensionPolicy::OnEveryRequest
    } else {
        TtlExtensionPolicy::OnStateChanges
    };
    actix_web::rt::System::new().block_on(async move {
        let store = RedisSessionStore::new(redis).await?;
        let server = HttpServer::new(move || {
            let lifecycle = PersistentSession::default()
                .session_ttl(LIFETIME)
                .session_ttl_extension_policy(policy.clone());
            let sessions = SessionMiddleware::builder(store.clone(), Key::from(&[7; 64]))
                .cookie_secure(false)
                .session_lifecycle(lifecycle)
                .build();
            App::new()
                .wrap(sessions)
                .route("/login", web::post().to(login))
                .route("/me", web::get().to(me))
                .route("/write", web::post().to(write))
                .route("/logout", web::post().to(logout))
                .route("/hold", web::post().to(hold))
                .route("/fields", web::get().to(fields))
        })
        .workers(workers)
        .bind("127.0.0.1:0")?;
        println!("listening on {}", server.addrs().first().context("no address")?);
        Ok(server.run().await?)
    })
}

async fn login(session: Session, login: Query<Login>) -> actix_web::Result<Json<Me>> {
    session.insert("user", &login.user)?;
    Ok(Json(Me { user: login.into_inner().user }))
}

async fn me(session: Session) -> actix_web::Result<Json<Me>> {
    let user = session.get("user")?.ok_or_else(|| ErrorUnauthorized("nobody is signed in"))?;
    Ok(Json(Me { user }))
}

async fn write(session: Session, write: Query<Write>) -> actix_web::Result<Json<Me>> {
    session.insert("value", write.value)?;
    me(session).await
}

async fn logout(session: Session) -> &'static str {
    session.purge();
    ""
}

async fn hold(session: Session, hold: Query<Hold>) -> actix_web::Result<Json<Me>> {
    let me = me(session.clone()).await?;
    // The harness sends nothing. The request waits until the harness closes the connection.
    let _: usize = TcpStream::connect(("127.0.0.1", hold.port)).await?.read(&mut [0]).await?;
    if hold.write {
        session.insert("other", 1)?;
    }
    Ok(me)
}

async fn fields(session: Session) -> actix_web::Result<Json<Fields>> {
    let Json(Me { user }) = me(session.clone()).await?;
    Ok(Json(Fields { user, value: session.get("value")?, other: session.get("other")? }))
}
