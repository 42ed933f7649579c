//! The current prices: fetched in the background, replaced as a whole, stored for the next start.
//!
//! 1. Readers never wait: they keep the snapshot that they took.
//! 2. A feed that fails, is empty, or has less than half of the current number of prices changes
//!    nothing; the next feed is tried. A feed that stays so small for a day is accepted. If the
//!    current snapshot's feed is no longer configured, sizes are not compared.
//! 3. The current prices are also stored in a file, for the next start.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use serde::{Deserialize, Serialize};
use tracera_session::{Clock, Timestamp};

mod fetch;

use super::feeds::FeedError;
use super::price_list::{PriceList, PriceRow};
use crate::clock::utc;
use crate::config::{PriceFeed, PriceSettings};
use crate::private_dir;
use fetch::Fetcher;

/// How long a feed must stay far smaller than before to be accepted.
const BELIEVED_AFTER: time::Duration = time::Duration::DAY;
/// The file that stores the prices.
const FILE: &str = "prices.json";

/// All prices of one feed at one time.
#[derive(Debug)]
pub struct Snapshot {
    /// The feed: a well-known name, or a host.
    pub source: String,
    /// The currency.
    pub currency: String,
    /// When the prices were fetched.
    pub fetched_at: Timestamp,
    /// The prices.
    pub list: PriceList,
}

/// The current prices.
#[derive(Debug)]
pub struct Prices {
    current: ArcSwapOption<Snapshot>,
    sources: Vec<Source>,
    fetcher: Fetcher,
    currency: String,
    file: PathBuf,
    clock: Clock,
    /// Since when each feed has been too small, by its name.
    shrunk: Mutex<HashMap<String, Timestamp>>,
}

/// A feed and its name.
#[derive(Clone, Debug)]
struct Source {
    name: String,
    feed: PriceFeed,
}

impl Prices {
    /// Loads the stored prices from `data_dir`, if there are any. Fetches no feed yet.
    ///
    /// # Errors
    /// When TLS cannot be initialised.
    pub fn new(
        settings: &PriceSettings,
        data_dir: &Path,
        clock: Clock,
    ) -> Result<Self, reqwest::Error> {
        let source = |feed: &PriceFeed| Source { name: name_of(feed), feed: feed.clone() };
        let mut first = source(&settings.feed);
        first.name = settings.feed_name.clone().unwrap_or(first.name);
        let sources = std::iter::once(first).chain(settings.fallbacks.iter().map(source)).collect();
        let prices = Self {
            current: ArcSwapOption::empty(),
            sources,
            fetcher: Fetcher::new(settings)?,
            currency: settings.currency.clone(),
            file: data_dir.join(FILE),
            clock,
            shrunk: Mutex::default(),
        };
        match load(&prices.file, settings.max_feed_bytes) {
            Ok(kept) if kept.currency == prices.currency => prices.swap(kept),
            Ok(_) => tracing::warn!("kept prices are in another currency and not used"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, "kept prices cannot be read"),
        }
        Ok(prices)
    }

    /// The current prices; `None` before the first.
    pub fn current(&self) -> Option<Arc<Snapshot>> {
        self.current.load_full()
    }

    /// The currency of all prices.
    pub fn currency(&self) -> &str {
        &self.currency
    }

    /// Fetches the first usable feed.
    ///
    /// # Errors
    /// The last feed's error when none is usable; the current prices stay.
    pub async fn refresh(&self) -> Result<(), FeedError> {
        let mut last = FeedError::Empty;
        for source in &self.sources {
            match self.read(source).await {
                Ok(snapshot) => {
                    let prices = snapshot.list.len();
                    tracing::info!(source = source.name, prices, "prices read");
                    metrics::counter!("tracera_price_refreshes_total", "outcome" => "ok")
                        .increment(1);
                    self.keep(&snapshot).await;
                    self.swap(snapshot);
                    return Ok(());
                }
                Err(error) => {
                    tracing::warn!(source = source.name, %error, "a price feed was not used");
                    metrics::counter!("tracera_price_refreshes_total", "outcome" => "failed")
                        .increment(1);
                    last = error;
                }
            }
        }
        Err(last)
    }

    async fn read(&self, source: &Source) -> Result<Snapshot, FeedError> {
        let (list, skipped) = self.fetcher.read(&source.feed, &self.currency).await?;
        tracing::debug!(source = source.name, skipped, "rows without a usable price");
        if let Some(current) = self.comparable() {
            let (had, has) = (current.list.len(), list.len());
            if self.is_doubtful(source, has < had.div_ceil(2), current.fetched_at) {
                return Err(FeedError::Shrunk { had, has });
            }
        }
        let (source, currency) = (source.name.clone(), self.currency.clone());
        Ok(Snapshot { source, currency, fetched_at: self.clock.now(), list })
    }

    /// Whether to reject a small feed for now: it became small recently, and the current prices are
    /// recent too.
    fn is_doubtful(&self, source: &Source, is_small: bool, in_force_since: Timestamp) -> bool {
        let mut shrunk = self.shrunk.lock().expect("nothing panics while it holds the lock");
        if !is_small {
            shrunk.remove(&source.name);
            return false;
        }
        let now = self.clock.now();
        let since = *shrunk.entry(source.name.clone()).or_insert(now);
        let is_old = |at: Timestamp| utc(now) - utc(at) >= BELIEVED_AFTER;
        !(is_old(since) || is_old(in_force_since))
    }

    /// The current prices, if their feed is still configured.
    fn comparable(&self) -> Option<Arc<Snapshot>> {
        self.current()
            .filter(|current| self.sources.iter().any(|source| source.name == current.source))
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
    fn swap(&self, snapshot: Snapshot) {
        metrics::gauge!("tracera_prices").set(snapshot.list.len() as f64);
        metrics::gauge!("tracera_prices_read_timestamp_seconds")
            .set((snapshot.fetched_at.as_millis() / 1000) as f64);
        self.current.store(Some(Arc::new(snapshot)));
    }

    /// Stores prices for the next start. If this fails, they are fetched again then.
    async fn keep(&self, snapshot: &Snapshot) {
        let kept = Kept {
            source: snapshot.source.as_str().into(),
            currency: snapshot.currency.as_str().into(),
            fetched_at_millis: snapshot.fetched_at.as_millis(),
            rows: snapshot.list.rows().collect(),
        };
        let json = serde_json::to_vec(&kept).map_err(io::Error::from);
        let file = self.file.clone();
        let written = tokio::task::spawn_blocking(move || save(&file, &json?));
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "prices cannot be kept"),
            Err(error) => tracing::warn!(%error, "keeping prices ended early"),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Kept<'a> {
    source: std::borrow::Cow<'a, str>,
    currency: std::borrow::Cow<'a, str>,
    fetched_at_millis: u64,
    rows: Vec<PriceRow<'a>>,
}

/// Writes a temporary file and renames it, so that the file is always complete.
fn save(file: &Path, json: &[u8]) -> io::Result<()> {
    if let Some(directory) = file.parent() {
        // With Redis and PostgreSQL nothing else uses this directory, so it may not exist yet.
        private_dir::create(directory)?;
    }
    let new = file.with_extension(format!("{}.new", uuid::Uuid::new_v4().simple()));
    let written = std::fs::write(&new, json).and_then(|()| std::fs::rename(&new, file));
    if written.is_err() {
        // The temporary file may not exist.
        let _ = std::fs::remove_file(&new);
    }
    written
}

fn load(file: &Path, max_bytes: u64) -> io::Result<Snapshot> {
    let mut json = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(std::fs::File::open(file)?, max_bytes), &mut json)?;
    let kept: Kept<'_> = serde_json::from_slice(&json)?;
    Ok(Snapshot {
        source: kept.source.into_owned(),
        currency: kept.currency.into_owned(),
        fetched_at: Timestamp::from_millis(kept.fetched_at_millis),
        list: PriceList::from_rows(kept.rows),
    })
}

/// The name of a feed for people. It excludes URL parameters, which may contain a key.
fn name_of(feed: &PriceFeed) -> String {
    let host = match feed {
        PriceFeed::File(_) => return "file".to_owned(),
        PriceFeed::Http(url) => {
            url::Url::parse(url.expose()).ok().and_then(|url| url.host_str().map(str::to_owned))
        }
    };
    match host.as_deref() {
        Some("api.skinport.com") => "Skinport".to_owned(),
        Some("csfloat.com") => "CSFloat".to_owned(),
        other => other.unwrap_or("feed").to_owned(),
    }
}

/// Interval between attempts after a failed fetch.
pub const RETRY: Duration = Duration::from_mins(5);
