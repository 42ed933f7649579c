//! Tests that every configured service answers: `tracera check-config --connect`.
//!
//! 1. Everything is tried at once, each within ten seconds.
//! 2. Nothing is left behind: writes to the database are rolled back, no mail is sent, no price is
//!    read.
//! 3. Redis, the database and mail are needed to serve. Without feeds and discovery there are
//!    warnings.

use std::fmt;
use std::fs::File;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;
use tracera_session::Clock;

use crate::auth::google::Google;
use crate::auth::outgoing::Outgoing;
use crate::clock::utc;
use crate::config::{Config, GoogleSettings, PriceFeed};
use crate::mail::Mailer;
use crate::store::Database;
use crate::{error_chain, http_client, start};

/// For one attempt.
const LIMIT: Duration = Duration::from_secs(10);
/// Reads a key that the permissions of a session store allow, as a script.
const SCRIPT: &str = "return redis.call('HGET', KEYS[1], 'check')";

/// The result of each attempt.
#[derive(Debug)]
pub struct Connections(Vec<Attempt>);

#[derive(Debug)]
struct Attempt {
    what: &'static str,
    needed: bool,
    outcome: Result<(), String>,
    took: Duration,
}

/// Tries everything that is configured.
pub async fn try_all(config: &Config) -> Connections {
    let now = utc(Clock::system().now());
    let attempts = tokio::join!(
        attempt("Redis", true, config.store.redis.is_some(), redis(config)),
        attempt("database", true, true, database(config)),
        attempt("mail", true, config.mail.is_some(), mail(config)),
        attempt("price feed", false, true, price_feed(&config.prices.feed)),
        attempt("Google's discovery", false, config.auth.google.is_some(), async {
            match &config.auth.google {
                Some(google) => discovery(google, now).await,
                None => Ok(()),
            }
        }),
    );
    let (redis, database, mail, feed, google) = attempts;
    Connections([redis, database, mail, feed, google].into_iter().flatten().collect())
}

impl Connections {
    /// Whether all that the server needs has answered.
    pub fn would_serve(&self) -> bool {
        self.0.iter().all(|attempt| attempt.outcome.is_ok() || !attempt.needed)
    }
}

impl fmt::Display for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nConnections")?;
        for attempt in &self.0 {
            let took = format!("{} ms", attempt.took.as_millis());
            let verdict = match (&attempt.outcome, attempt.needed) {
                (Ok(()), _) => "ok".to_owned(),
                (Err(reason), true) => format!("FAILED: {reason}"),
                (Err(reason), false) => format!("warning: {reason}"),
            };
            writeln!(f, "  {:<20} {took:>8}  {verdict}", attempt.what)?;
        }
        Ok(())
    }
}

async fn attempt(
    what: &'static str,
    needed: bool,
    configured: bool,
    trial: impl Future<Output = Result<(), String>>,
) -> Option<Attempt> {
    if !configured {
        return None;
    }
    let begin = Instant::now();
    let outcome = tokio::time::timeout(LIMIT, trial)
        .await
        .unwrap_or_else(|_| Err("no answer in time".to_owned()));
    // A library's message may have lines of its own.
    let outcome = outcome.map_err(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
    Some(Attempt { what, needed, outcome, took: begin.elapsed() })
}

async fn redis(config: &Config) -> Result<(), String> {
    let Some(url) = &config.store.redis else { return Ok(()) };
    let connection = start::connect_redis(url, config).await.map_err(|error| error.to_string())?;
    let mut script = redis::cmd("EVAL");
    script.arg(SCRIPT).arg(1).arg(format!("{}session:{{check}}", config.store.redis_key_prefix));
    let answer = connection.ask(script).await;
    answer.map(drop).map_err(|error| format!("scripts do not run there: {error}"))
}

async fn database(config: &Config) -> Result<(), String> {
    Database::try_write(&config.store.database).await.map_err(|error| error.to_string())
}

async fn mail(config: &Config) -> Result<(), String> {
    match Mailer::new(&config.mail).map_err(|error| error.to_string())? {
        Some(mailer) => mailer.check().await.map_err(|error| error.to_string()),
        None => Ok(()),
    }
}

async fn price_feed(feed: &PriceFeed) -> Result<(), String> {
    let url = match feed {
        PriceFeed::File(path) => {
            return File::open(path)
                .map(drop)
                .map_err(|error| format!("{}: {error}", path.display()));
        }
        PriceFeed::Http(url) => url,
    };
    let client = http_client::builder(LIMIT).build().map_err(error_chain::of_request)?;
    // The body is left where it is.
    let answer = client.get(url.expose()).send().await.map_err(error_chain::of_request)?;
    let status = answer.status();
    if status.is_success() { Ok(()) } else { Err(format!("it answered {}", status.as_u16())) }
}

async fn discovery(settings: &GoogleSettings, now: OffsetDateTime) -> Result<(), String> {
    let google = Google::new(settings, String::new(), Outgoing::new());
    google
        .check(now)
        .await
        .map_err(|_| format!("{} has no usable discovery document", settings.issuer.as_str()))
}
