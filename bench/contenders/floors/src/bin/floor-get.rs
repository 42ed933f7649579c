//! Floor B: the minimum cost of a server-side session that reads Redis on each request. It is one
//! raw `GET` by the cookie's value over one multiplexed connection, without checks.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use contender::{LIFETIME, Login, Me, Write};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

/// The size of a stored value in bytes: the user's id with padding, about as large as the values of
/// session libraries.
const VALUE_BYTES: usize = 100;

fn main() -> anyhow::Result<()> {
    contender::serve(async |settings| {
        let redis = redis::Client::open(settings.redis)?.get_multiplexed_async_connection().await?;
        Ok(Router::new()
            .route("/login", post(login))
            .route("/me", get(me))
            .route("/write", post(write))
            .with_state(redis))
    })
}

type Answer<T> = Result<T, StatusCode>;

async fn login(
    State(mut redis): State<MultiplexedConnection>,
    Query(login): Query<Login>,
) -> Answer<impl IntoResponse> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // As long as the session cookies that it is compared with.
    let token = format!("{:0112}", NEXT.fetch_add(1, Ordering::Relaxed));
    let value = format!("{:VALUE_BYTES$}", login.user);
    let _: () = redis.set_ex(&token, value, LIFETIME.as_secs()).await.map_err(unavailable)?;
    Ok(([(header::SET_COOKIE, format!("session={token}; HttpOnly; Path=/"))], Me::json(login.user)))
}

async fn me(
    State(mut redis): State<MultiplexedConnection>,
    headers: HeaderMap,
) -> Answer<Json<Me>> {
    let token = token(&headers).ok_or(StatusCode::UNAUTHORIZED)?;
    user(&mut redis, token).await
}

async fn write(
    State(mut redis): State<MultiplexedConnection>,
    Query(write): Query<Write>,
    headers: HeaderMap,
) -> Answer<Json<Me>> {
    let token = token(&headers).ok_or(StatusCode::UNAUTHORIZED)?;
    let me = user(&mut redis, token).await?;
    let value = format!("{:80}{:20}", me.user, write.value);
    let _: () = redis.set_ex(token, value, LIFETIME.as_secs()).await.map_err(unavailable)?;
    Ok(me)
}

async fn user(redis: &mut MultiplexedConnection, token: &str) -> Answer<Json<Me>> {
    let value: Option<String> = redis.get(token).await.map_err(unavailable)?;
    let value = value.ok_or(StatusCode::UNAUTHORIZED)?;
    let user = value.split_once(' ').map_or(&*value, |(user, _)| user);
    Ok(Me::json(user.to_owned()))
}

fn token(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::COOKIE)?.to_str().ok()?.strip_prefix("session=")
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err passes it")]
fn unavailable(error: redis::RedisError) -> StatusCode {
    eprintln!("redis: {error}");
    StatusCode::SERVICE_UNAVAILABLE
}
