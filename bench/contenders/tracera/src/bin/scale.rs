//! `scale REDIS_URL SESSIONS`: fills Redis with that many sessions, three per user. Then it
//! measures single operations on users spread over all of them. Prints one line of JSON per
//! operation.

use std::time::Instant;

use anyhow::{Context, ensure};
use axum::Router;
use axum::body::Body;
use axum::extract::Query;
use axum::http::{HeaderMap, HeaderValue, Request, header};
use axum::routing::post;
use contender::{LIFETIME, Login};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tower::ServiceExt;
use tracera_session::{
    KeyRing, NearCache, RedisStore, Session, SessionConfig, SessionError, SessionLayer, Sessions,
    SignIn, UserId,
};

const PER_USER: u64 = 3;
/// The number of users on which each operation is measured.
const PROBES: u64 = 2000;
const WRITERS: u64 = 128;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let url = args.next().context("usage: scale REDIS_URL SESSIONS")?;
    let users = args.next().context("usage: scale REDIS_URL SESSIONS")?.parse::<u64>()? / PER_USER;
    ensure!(users >= PROBES * 2, "at least {} sessions are needed", PROBES * 2 * PER_USER);
    let config = SessionConfig::default().near_cache(NearCache::Off).lifetime(LIFETIME);
    let keys = KeyRing::new(b"a secret for measuring, not for use")?;
    let sessions = Sessions::new(RedisStore::connect(&url).await?, keys, config);
    let step = users / PROBES;
    let cookies = fill(&sessions, users, step).await?;
    let report = |operation: &str, times: &Histogram<u64>| {
        let (p50, p99) =
            (times.value_at_quantile(0.5) / 1000, times.value_at_quantile(0.99) / 1000);
        let total = users * PER_USER;
        println!(
            r#"{{"sessions":{total},"operation":"{operation}","p50_micros":{p50},
                "p99_micros":{p99}}}"#
        );
    };
    let probes = || (0..users).step_by(usize::try_from(step).unwrap_or(1)).take(2000);

    let mut times = histogram()?;
    for cookie in &cookies {
        let headers = HeaderMap::from_iter([(header::COOKIE, cookie.clone())]);
        let begin = Instant::now();
        let session = sessions.open(&headers).await;
        record(&mut times, begin);
        session.user()?;
    }
    report("load", &times);

    let mut times = histogram()?;
    let mut handles = Vec::new();
    for user in probes() {
        let begin = Instant::now();
        let listed = sessions.list(&user_id(user)?).await?;
        record(&mut times, begin);
        ensure!(listed.len() as u64 == PER_USER, "{} sessions listed", listed.len());
        handles.push(listed[0].handle);
    }
    report("list", &times);

    let mut times = histogram()?;
    for (user, handle) in probes().zip(handles) {
        let begin = Instant::now();
        let revoked = sessions.revoke(&user_id(user)?, handle).await?;
        record(&mut times, begin);
        ensure!(revoked, "the session was not there");
    }
    report("revoke one", &times);

    let mut times = histogram()?;
    for user in probes() {
        let begin = Instant::now();
        sessions.revoke_all(&user_id(user)?).await?;
        record(&mut times, begin);
    }
    report("revoke all of a user", &times);
    Ok(())
}

/// Signs every user in three times and returns one cookie of every `step`th.
async fn fill(sessions: &Sessions, users: u64, step: u64) -> anyhow::Result<Vec<HeaderValue>> {
    let app = Router::new().route("/login", post(login)).layer(SessionLayer::new(sessions.clone()));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let app = app.clone();
        writers.spawn(async move {
            let mut cookies = Vec::new();
            for user in (writer..users).step_by(usize::try_from(WRITERS)?) {
                for _ in 0..PER_USER {
                    let cookie = sign_in(&app, user).await?;
                    if user % step == 0 {
                        cookies.push(cookie);
                    }
                }
            }
            anyhow::Ok(cookies)
        });
    }
    let mut all = Vec::new();
    while let Some(cookies) = writers.join_next().await {
        all.extend(cookies??);
    }
    Ok(all)
}

async fn login(session: Session, Query(login): Query<Login>) -> Result<(), SessionError> {
    let user = UserId::new(login.user).map_err(|_| SessionError::Unauthenticated)?;
    session.sign_in(SignIn::new(user, "password")).await
}

/// The cookie of a new session.
async fn sign_in(app: &Router, user: u64) -> anyhow::Result<HeaderValue> {
    let request = Request::post(format!("/login?user=user-{user:07}")).body(Body::empty())?;
    let response = app.clone().oneshot(request).await?;
    ensure!(response.status().is_success(), "a sign-in was answered with {}", response.status());
    let cookie = response.headers().get(header::SET_COOKIE).context("no cookie")?.to_str()?;
    Ok(HeaderValue::from_str(cookie.split(';').next().unwrap_or(cookie))?)
}

fn user_id(number: u64) -> anyhow::Result<UserId> {
    Ok(UserId::new(format!("user-{number:07}"))?)
}

fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_max(20_000_000_000, 3)?)
}

fn record(times: &mut Histogram<u64>, begin: Instant) {
    times.saturating_record(u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX));
}
