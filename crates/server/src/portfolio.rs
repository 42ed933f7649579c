//! A user's portfolio: the public Counter-Strike 2 inventory of their Steam account, and what it is
//! worth.
//!
//! 1. Only the linked Steam account is read, through one polite queue per process ([`queue`]).
//! 2. An import is all or nothing, one at a time for each user over all instances ([`import`]).
//! 3. Prices come from a feed in the background ([`prices`]); valuing is whole-cent arithmetic
//!    ([`valuation`]).

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracera_session::Clock;
use uuid::Uuid;

pub mod export;
pub mod feeds;
mod history;
pub mod holdings_cache;
pub mod import;
pub mod inventory;
pub mod money;
pub mod pictures;
pub mod price_list;
pub mod prices;
pub mod progress;
pub mod queue;
pub mod ranking;
pub mod steam_client;
pub mod text;
pub mod valuation;

use crate::backoff;
use crate::clock::utc;
use crate::config::{PortfolioSettings, PriceSettings, SteamSettings};
use crate::store::portfolio::{self as store, Claim};
use crate::store::{Database, StoreError};
use holdings_cache::{Held, HoldingsCache};
use import::{Import, ImportError, State};
use pictures::Pictures;
use prices::Prices;
use progress::Progress;
use queue::SteamQueue;
use steam_client::SteamClient;

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
    /// Of these settings, with the prices that are kept in `data_dir`. Nothing is contacted.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(
        database: Database,
        clock: Clock,
        steam: &SteamSettings,
        prices: &PriceSettings,
        limits: PortfolioSettings,
        data_dir: &Path,
    ) -> Result<Self, reqwest::Error> {
        let SteamSettings { community_url, image_url, limits: steam_limits, .. } = steam;
        Ok(Self(Arc::new(Inner {
            database,
            steam: SteamClient::new(community_url.clone(), *steam_limits)?,
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

    /// The prices.
    pub fn prices(&self) -> &Prices {
        &self.0.prices
    }

    /// What the user holds; `None` before the first import.
    ///
    /// # Errors
    /// [`StoreError`] as for every store operation.
    pub async fn held(&self, user: Uuid) -> Result<Option<Held>, StoreError> {
        self.0.held.get(&self.0.database, user).await
    }

    /// Keeps nothing of a user whose account goes.
    pub fn forget(&self, user: Uuid) {
        self.0.held.remove(user);
    }

    /// Whether Steam wants fewer requests just now.
    pub fn is_limited_by_steam(&self) -> bool {
        self.0.queue.is_limited()
    }

    /// The pictures of items.
    pub fn pictures(&self) -> &Pictures {
        &self.0.pictures
    }

    /// Begins an import of the inventory of the user's Steam account. It goes on whoever listens.
    ///
    /// # Errors
    /// [`ImportError`] when it may not begin.
    pub async fn import(&self, user: Uuid) -> Result<watch::Receiver<State>, ImportError> {
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
        inner.tasks.spawn(Import { inner: Arc::clone(inner), user, steam, id, state }.run());
        Ok(watcher)
    }

    /// The user's import, if this process runs it.
    pub fn running(&self, user: Uuid) -> Option<watch::Receiver<State>> {
        self.0.running().get(&user).cloned()
    }

    /// Notes today's value of every portfolio that has none yet; returns how many.
    ///
    /// # Errors
    /// [`StoreError`] as for every store operation.
    pub async fn take_daily_snapshots(&self) -> Result<u64, StoreError> {
        history::take_daily(&self.0, utc(self.0.clock.now())).await
    }

    /// Begins to read prices and to note each day's values, until [`Portfolio::shutdown`].
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

    /// Ends imports and everything in the background, within `limit`.
    pub async fn shutdown(&self, limit: Duration) {
        self.0.stop.cancel();
        self.0.tasks.close();
        if tokio::time::timeout(limit, self.0.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.0.tasks.len(), "imports were still ending at shutdown");
        }
    }
}
