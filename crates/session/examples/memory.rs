//! Measures how much memory a signed-in session takes in Redis, and how long listing and revoking
//! take beside many sessions.
//!
//! `cargo run --release -p tracera-session --example memory -- 1000000`

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use http::HeaderMap;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracera_session::{
    KeyRing, NearCache, RedisStore, SessionConfig, SessionError, Sessions, SignIn, UserId,
};
use tracera_testkit::RedisServer;

/// The measurements with a given number of sessions in the store.
#[derive(Debug)]
pub struct Measured {
    /// The growth of Redis' `used_memory`, divided by the number of sessions.
    pub bytes_per_session: f64,
    /// Medians over users picked across the store.
    pub list: Duration,
    pub revoke: Duration,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count = std::env::args().nth(1).map_or(Ok(10_000), |count| count.parse())?;
    println!(
        "{:>10} {:>9} {:>6} {:>14} {:>10} {:>10}",
        "sessions", "per user", "epoch", "bytes/session", "list", "revoke"
    );
    for sessions in [1_000, count] {
        for (per_user, epoch) in [(1, false), (2, false), (1, true), (2, true)] {
            let Measured { bytes_per_session, list, revoke } =
                measure(sessions, per_user, epoch).await?;
            println!(
                "{sessions:>10} {per_user:>9} {:>6} {bytes_per_session:>14.1} {list:>10.1?} \
                 {revoke:>10.1?}",
                if epoch { "raised" } else { "never" }
            );
        }
    }
    Ok(())
}

/// Signs in `count` sessions. With `epoch`, each user has signed out everywhere before.
pub async fn measure(
    count: u32,
    per_user: u32,
    epoch: bool,
) -> Result<Measured, Box<dyn std::error::Error>> {
    let redis = RedisServer::start().await;
    let store = RedisStore::connect(&redis.url()).await?;
    let config = SessionConfig::default().near_cache(NearCache::Off);
    let sessions = Sessions::new(store, KeyRing::new(&[7; 32])?, config);
    sign_in(&sessions, 0, 1, epoch).await?;
    sessions.revoke_all(&user(0)?).await?;
    let before = used_memory(&redis).await?;

    let users = count / per_user;
    let mut running = JoinSet::new();
    for lane in 1..=64 {
        let sessions = sessions.clone();
        running.spawn(async move {
            for number in (lane..=users).step_by(64) {
                sign_in(&sessions, number, per_user, epoch).await?;
            }
            Ok::<_, SessionError>(())
        });
    }
    for done in running.join_all().await {
        done?;
    }
    let bytes = u32::try_from(used_memory(&redis).await? - before)?;
    let bytes_per_session = f64::from(bytes) / f64::from(users * per_user);

    let (mut list, mut revoke) = (Vec::new(), Vec::new());
    for number in (1..=users).step_by(users.div_ceil(200) as usize) {
        let user = user(number)?;
        let start = Instant::now();
        let listed = sessions.list(&user).await?;
        list.push(start.elapsed());
        let start = Instant::now();
        sessions.revoke(&user, listed.first().ok_or(SessionError::Unauthenticated)?.handle).await?;
        revoke.push(start.elapsed());
    }
    Ok(Measured { bytes_per_session, list: median(list), revoke: median(revoke) })
}

async fn sign_in(
    sessions: &Sessions,
    number: u32,
    times: u32,
    epoch: bool,
) -> Result<(), SessionError> {
    let user = user(number)?;
    if epoch {
        sessions.revoke_all(&user).await?;
    }
    for _ in 0..times {
        let sign_in = SignIn::new(user.clone(), "google")
            .client("Firefox|Windows")
            .address(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number)));
        sessions.open(&HeaderMap::new()).await.sign_in(sign_in).await?;
    }
    Ok(())
}

/// As long as the bytes of a UUID.
fn user(number: u32) -> Result<UserId, SessionError> {
    Ok(UserId::new(
        (u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)).to_be_bytes(),
    )?)
}

async fn used_memory(redis: &RedisServer) -> Result<u64, Box<dyn std::error::Error>> {
    let info = redis.cli(&["INFO", "memory"]).await;
    let used =
        info.lines().find_map(|line| line.strip_prefix("used_memory:")).ok_or("no used_memory")?;
    Ok(used.trim().parse()?)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
