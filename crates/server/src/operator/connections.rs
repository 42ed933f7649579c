//! Checks that every configured service responds: `tracera check-config --connect`.
//!
//! 1. All checks run concurrently, each within ten seconds.
//! 2. The checks leave no trace: database writes are rolled back, and neither mails nor price lists
//!    are transferred.
//! 3. Redis, the database and mail are required. Failures of feeds and of discovery are warnings.

use std::fmt;
use std::fs::File;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;
use tracera_session::{Clock, SessionStore};

use crate::auth::oidc::OidcClient;
use crate::auth::outgoing::Outgoing;
use crate::clock::utc;
use crate::config::{Config, OidcSettings, PriceFeed};
use crate::domain::provider::Provider;
use crate::mail::Mailer;
use crate::store::Database;
use crate::{error_chain, http_client, start};

/// Timeout of one check.
const LIMIT: Duration = Duration::from_secs(10);

/// The results of the checks.
#[derive(Debug)]
pub struct Connections(Vec<Attempt>);

#[derive(Debug)]
struct Attempt {
    what: &'static str,
    needed: bool,
    outcome: Result<(), String>,
    took: Duration,
}

/// Checks all configured services.
pub async fn try_all(config: &Config) -> Connections {
    let now = utc(Clock::system().now());
    let attempts = tokio::join!(
        attempt("Redis", true, config.store.redis.is_some(), redis(config)),
        attempt("database", true, true, database(config)),
        attempt("mail", true, config.mail.is_some(), mail(config)),
        attempt("price feed", false, true, price_feed(&config.prices.feed)),
        discovery("Google's discovery", Provider::Google, config.auth.google.as_ref(), now),
        discovery("OIDC discovery", Provider::Oidc, config.auth.oidc.as_ref(), now),
    );
    let (redis, database, mail, feed, google, oidc) = attempts;
    Connections([redis, database, mail, feed, google, oidc].into_iter().flatten().collect())
}

impl Connections {
    /// Whether all required services responded.
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
    // A library's message may contain line breaks.
    let outcome = outcome.map_err(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
    Some(Attempt { what, needed, outcome, took: begin.elapsed() })
}

async fn redis(config: &Config) -> Result<(), String> {
    let Some(url) = &config.store.redis else { return Ok(()) };
    let connection = start::connect_redis(url, config).await.map_err(|error| error.to_string())?;
    let store = start::session_store(connection, config);
    start::check_redis(&store, config).await.map_err(|error| error.to_string())?;
    store.ping().await.map_err(|error| error_chain::chain(&error))
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
    // The body is not read.
    let answer = client.get(url.expose()).send().await.map_err(error_chain::of_request)?;
    let status = answer.status();
    if status.is_success() { Ok(()) } else { Err(format!("it answered {}", status.as_u16())) }
}

async fn discovery(
    what: &'static str,
    provider: Provider,
    settings: Option<&OidcSettings>,
    now: OffsetDateTime,
) -> Option<Attempt> {
    let settings = settings?;
    let client = OidcClient::new(provider, settings, String::new(), Outgoing::new());
    let trial = async {
        let found = client.check(now).await;
        found.map_err(|_| format!("{} has no usable discovery document", settings.issuer.as_str()))
    };
    attempt(what, false, true, trial).await
}
