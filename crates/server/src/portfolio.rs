//! A user's portfolio: the public Counter-Strike 2 inventory of their Steam account, and its value.
//!
//! 1. Only the linked Steam account is read, through one rate-limited queue per process
//!    ([`queue`]).
//! 2. An import is all or nothing. Each user has at most one at a time, across all instances
//!    ([`import`]).
//! 3. Prices are fetched from a feed in the background ([`prices`]). Values are computed in whole
//!    cents ([`valuation`]).

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracera_session::Clock;
use uuid::Uuid;

pub mod changes;
pub mod export;
pub mod feeds;
mod history;
pub mod holdings_cache;
pub mod import;
pub mod inventory;
pub mod money;
pub mod order;
pub mod pictures;
pub mod price_list;
pub mod prices;
pub mod progress;
pub mod queue;
pub mod ranking;
pub mod refusal;
mod search;
pub mod selection;
pub mod stack;
pub mod steam_client;
pub mod text;
mod upload;
pub mod valuation;
mod words;
pub mod worth;

use crate::backoff;
use crate::clock::utc;
use crate::config::{PortfolioSettings, PriceSettings, SteamSettings};
use crate::domain::steam_id::SteamId64;
use crate::store::portfolio::holdings::{self, Summary};
use crate::store::portfolio::snapshots::{self, Snapshot};
use crate::store::portfolio::{self as store, Claim};
use crate::store::{Database, StoreError};
use crate::telemetry::trace::Span;
use changes::Changes;
use holdings_cache::HoldingsCache;
use import::{Import, ImportError, Pages, State};
use pictures::Pictures;
use prices::Prices;
use progress::Progress;
use queue::SteamQueue;
use stack::Held;
use steam_client::SteamClient;
use worth::Worth;

/// Imports and prices. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Portfolio(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    database: Database,
    clock: Clock,
    steam: SteamClient,
    queue: SteamQueue,
    prices: Prices,
    held: HoldingsCache,
    pictures: Pictures,
    limits: PortfolioSettings,
    refresh: Duration,
    running: Mutex<HashMap<Uuid, watch::Receiver<State>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Inner {
    fn running(&self) -> MutexGuard<'_, HashMap<Uuid, watch::Receiver<State>>> {
        self.running.lock().expect("nothing panics while it holds the lock")
    }

    fn forget(&self, user: Uuid) {
        self.running().remove(&user);
    }
}

impl Portfolio {
    /// Uses these settings, and the prices stored in `data_dir`. Sends no request.
    ///
    /// # Errors
    /// When TLS cannot be initialised.
    pub fn new(
        database: Database,
        clock: Clock,
        steam: &SteamSettings,
        prices: &PriceSettings,
        limits: PortfolioSettings,
        data_dir: &Path,
    ) -> Result<Self, reqwest::Error> {
        let SteamSettings { community_url, image_url, proxy, limits: steam_limits, .. } = steam;
        Ok(Self(Arc::new(Inner {
            database,
            steam: SteamClient::new(community_url.clone(), proxy.as_ref(), *steam_limits)?,
            queue: SteamQueue::new(
                steam_limits.spacing,
                steam_limits.first_pause,
                steam_limits.patience,
            ),
            prices: Prices::new(prices, data_dir, clock.clone())?,
            held: HoldingsCache::new(),
            pictures: Pictures::new(image_url.clone()),
            limits,
            refresh: prices.refresh,
            running: Mutex::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            clock,
        })))
    }

    /// The current prices.
    pub fn prices(&self) -> &Prices {
        &self.0.prices
    }

    /// The user's holdings; `None` before the first import.
    ///
    /// # Errors
    /// [`StoreError`] as for every store operation.
    pub async fn held(&self, user: Uuid) -> Result<Option<Held>, StoreError> {
        Ok(self.0.held.get(&self.0.database, user).await?.map(|entry| entry.held))
    }

    /// The published import; `None` before the first.
    ///
    /// # Errors
    /// [`StoreError`] as for every store operation.
    pub async fn summary(&self, user: Uuid) -> Result<Option<Summary>, StoreError> {
        holdings::summary(&self.0.database, user).await
    }

    /// The user's portfolio at current prices.
    ///
    /// # Errors
    /// [`StoreError`] as for every store operation.
    pub async fn worth(&self, user: Uuid) -> Result<Arc<Worth>, StoreError> {
        let inner = &self.0;
        let entry = inner.held.get(&inner.database, user).await?;
        let (prices, now) = (inner.prices.current(), utc(inner.clock.now()));
        if let Some(entry) = &entry {
            let kept = entry.worth.load_full();
            if let Some(kept) = kept.filter(|kept| kept.is_current(prices.as_ref(), now)) {
                return Ok(kept);
            }
        }
        let held = entry.as_ref().map(|entry| &entry.held);
        let changes = match (held, &prices) {
            (Some(held), Some(prices)) => {
                history::changes(&inner.database, user, held, prices, now).await?
            }
            _ => Changes::default(),
        };
        let worth = Arc::new(Worth::new(user, held, prices, changes, now));
        if let Some(entry) = entry {
            entry.worth.store(Some(Arc::clone(&worth)));
        }
        Ok(worth)
    }

    /// Past values of the portfolio: the newest `limit`, in ascending order of time.
    ///
    /// # Errors
    /// [`StoreError`] as for every store operation.
    pub async fn history(&self, user: Uuid, limit: u32) -> Result<Vec<Snapshot>, StoreError> {
        let mut values = snapshots::newest(&self.0.database, user, limit).await?;
        values.reverse();
        Ok(values)
    }

    /// The values recorded since `begin` in the current price currency, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] as for every store operation.
    pub async fn values_since(
        &self,
        user: Uuid,
        begin: OffsetDateTime,
    ) -> Result<Vec<Snapshot>, StoreError> {
        let mut values = snapshots::since(&self.0.database, user, begin).await?;
        values.retain(|value| value.is_worth_in(self.0.prices.currency()));
        Ok(values)
    }

    /// The Steam account linked to the user.
    ///
    /// # Errors
    /// [`StoreError`] as for every store operation.
    pub async fn steam_id(&self, user: Uuid) -> Result<Option<SteamId64>, StoreError> {
        store::linked_steam_id(&self.0.database, user).await
    }

    /// When the user may import again; `None` before the first import.
    ///
    /// # Errors
    /// [`StoreError`] as for every store operation.
    pub async fn next_import_at(&self, user: Uuid) -> Result<Option<OffsetDateTime>, StoreError> {
        store::next_import_at(&self.0.database, user).await
    }

    /// The progress of the user's import on any instance, as JSON. `None` when none is running;
    /// empty when it has just begun.
    ///
    /// # Errors
    /// [`StoreError`] as for every store operation.
    pub async fn progress(&self, user: Uuid) -> Result<Option<String>, StoreError> {
        store::progress(&self.0.database, user, utc(self.0.clock.now())).await
    }

    /// Drops all cached data of a user whose account is deleted.
    pub fn forget(&self, user: Uuid) {
        self.0.held.remove(user);
    }

    /// Whether Steam currently limits the requests of this server.
    pub fn is_limited_by_steam(&self) -> bool {
        self.0.queue.is_limited()
    }

    /// The URLs of item images.
    pub fn pictures(&self) -> &Pictures {
        &self.0.pictures
    }

    /// Starts an import of the user's Steam inventory. It continues if the receiver is dropped.
    ///
    /// # Errors
    /// [`ImportError`] when the import cannot start.
    pub async fn import(&self, user: Uuid) -> Result<watch::Receiver<State>, ImportError> {
        self.begin(user, Pages::Steam).await
    }

    /// Starts an import of uploaded data: one or more responses that Steam sent to the owner's
    /// browser.
    ///
    /// # Errors
    /// [`ImportError`] when the import cannot start.
    pub async fn upload(
        &self,
        user: Uuid,
        body: Bytes,
    ) -> Result<watch::Receiver<State>, ImportError> {
        // Parsing megabytes of JSON would block other tasks.
        let parsed = tokio::task::spawn_blocking(move || upload::pages(&body)).await;
        let pages =
            parsed.unwrap_or(Err("it cannot be read")).map_err(ImportError::NotAnInventory)?;
        self.begin(user, Pages::Upload(pages)).await
    }

    async fn begin(&self, user: Uuid, pages: Pages) -> Result<watch::Receiver<State>, ImportError> {
        let inner = &self.0;
        if inner.stop.is_cancelled() {
            return Err(ImportError::Stopping);
        }
        let steam =
            store::linked_steam_id(&inner.database, user).await?.ok_or(ImportError::NotLinked)?;
        let now = utc(inner.clock.now());
        let id = match store::claim(&inner.database, user, now).await? {
            Claim::Granted(id) => id,
            Claim::Running => return Err(ImportError::Running),
            Claim::CoolingDown(until) => {
                return Err(ImportError::Cooldown((until - now).try_into().unwrap_or_default()));
            }
        };
        let (state, watcher) = watch::channel(State::Running(Progress::default()));
        inner.running().insert(user, watcher.clone());
        let import = Import { inner: Arc::clone(inner), user, steam, pages, id, state };
        inner.tasks.spawn(Span::current().around(import.run()));
        Ok(watcher)
    }

    /// The user's running import, if this process runs it.
    pub fn running(&self, user: Uuid) -> Option<watch::Receiver<State>> {
        self.0.running().get(&user).cloned()
    }

    /// Records today's value of every portfolio that has none yet; returns the number recorded.
    ///
    /// # Errors
    /// [`StoreError`] as for every store operation.
    pub async fn take_daily_snapshots(&self) -> Result<u64, StoreError> {
        history::take_daily(&self.0, utc(self.0.clock.now())).await
    }

    /// Starts fetching prices and recording daily values, until [`Portfolio::shutdown`].
    pub fn start(&self) {
        let this = self.clone();
        let stop = self.0.stop.clone();
        self.0.tasks.spawn(async move { stop.run_until_cancelled(this.keep_up()).await });
    }

    async fn keep_up(&self) {
        loop {
            self.0.held.clear();
            let pause = match self.0.prices.refresh().await {
                Ok(()) => self.0.refresh,
                Err(error) => {
                    self.0.refresh.min(prices::RETRY).max(error.retry_after().unwrap_or_default())
                }
            };
            if let Err(error) = self.take_daily_snapshots().await {
                tracing::warn!(%error, "today's values were not noted; they will be later");
            }
            tokio::time::sleep(backoff::jittered(pause)).await;
        }
    }

    /// Stops imports and background tasks, within `limit`.
    pub async fn shutdown(&self, limit: Duration) {
        self.0.stop.cancel();
        self.0.tasks.close();
        if tokio::time::timeout(limit, self.0.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.0.tasks.len(), "imports were still ending at shutdown");
        }
    }
}
