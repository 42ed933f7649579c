//! Runs one import: reads a user's inventory page by page, all or nothing.
//!
//! 1. A cursor that leads back to an earlier page ends the import with an error.
//! 2. If the last page leaves fewer items than Steam's total, one more page is requested. Only if
//!    that page is empty are the missing items counted as hidden.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;

use super::progress::{Progress, Stage};
use super::queue::Paused;
use super::steam_client::{PageSize, SteamError};
use super::{Inner, history};
use crate::clock::utc;
use crate::domain::item::{Item, Page};
use crate::domain::steam_id::SteamId64;
use crate::store::StoreError;
use crate::store::portfolio::{self as store, Source};
use crate::telemetry::trace::{Kind, Span};

/// Limit on pages: more than an inventory has at any of Steam's page sizes.
const MAX_PAGES: u32 = 2_000;
/// Number of requests for one page while Steam fails temporarily.
const ATTEMPTS: u32 = 2;
/// Interval at which the lease is renewed, besides after every page.
const RENEWAL: Duration = Duration::from_secs(30);

/// The result of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The number of distinct assets.
    pub assets: u64,
    /// The number of assets with a price.
    pub matched: u64,
    /// Steam's total. Assets beyond `assets` are hidden from outsiders.
    pub reported: Option<u32>,
    /// The number of pages read.
    pub pages: u32,
    /// The owner of the inventory.
    pub owner: SteamId64,
}

impl Imported {
    /// The number of items that Steam hides from outsiders.
    pub fn hidden(&self) -> u64 {
        self.reported.map_or(0, |all| u64::from(all).saturating_sub(self.assets))
    }
}

/// The source of an import's pages.
#[derive(Debug)]
pub(super) enum Pages {
    /// Each page is requested from Steam.
    Steam,
    /// The owner uploaded all pages.
    Upload(Vec<Page>),
}

/// Why an import failed. The earlier holdings are unchanged.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The user has no Steam account linked.
    #[error("no Steam account is linked")]
    NotLinked,
    /// Another import for the user is running.
    #[error("an import is running")]
    Running,
    /// The last import was too recent; the time to wait.
    #[error("the last import was too recently")]
    Cooldown(Duration),
    /// Steam refused a page or did not send it.
    #[error("page {page}: {error}")]
    Steam {
        /// The page's number, starting at one.
        page: u32,
        /// The reason.
        error: SteamError,
    },
    /// Steam limits requests for longer than an import waits.
    #[error("page {page}: Steam wants a pause of {pause:?}")]
    Paused {
        /// The page's number, starting at one.
        page: u32,
        /// The remaining pause.
        pause: Duration,
    },
    /// A page's cursor leads back to an earlier page.
    #[error("page {page} leads back to an earlier one")]
    LeadsBack {
        /// The page's number, starting at one.
        page: u32,
    },
    /// The uploaded data is not an inventory.
    #[error("no inventory was uploaded: {0}")]
    NotAnInventory(&'static str),
    /// The inventory exceeds the limit on assets or pages.
    #[error("the inventory is too large")]
    TooLarge,
    /// The import exceeded its time limit.
    #[error("the import took too long")]
    TookTooLong,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
    /// Another import has taken the lease.
    #[error("the import's lease was lost")]
    LeaseLost,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The progress of an import, for its watchers.
#[derive(Clone, Debug)]
pub enum State {
    /// The import is running.
    Running(Progress),
    /// The import succeeded.
    Done(Imported),
    /// The import failed.
    Failed(Arc<ImportError>),
}

/// A running import.
pub(super) struct Import {
    pub(super) inner: Arc<Inner>,
    pub(super) user: Uuid,
    pub(super) steam: SteamId64,
    pub(super) pages: Pages,
    /// The id of the import and of its lease.
    pub(super) id: Uuid,
    pub(super) state: watch::Sender<State>,
}

impl Import {
    /// Runs the import within its time limit and while the lease lasts. Informs the watchers, and
    /// cleans up after a failure.
    pub(super) async fn run(mut self) {
        let pages = std::mem::replace(&mut self.pages, Pages::Steam);
        let inner = &self.inner;
        let read = async {
            tokio::select! {
                read = self.take_all(pages) => read,
                lost = self.hold_lease() => Err(lost),
                () = inner.stop.cancelled() => Err(ImportError::Stopping),
            }
        };
        let limit = inner.limits.import_duration;
        let span = Span::child("import", Kind::Internal);
        let result = span
            .clone()
            .around(tokio::time::timeout(limit, read))
            .await
            .unwrap_or(Err(ImportError::TookTooLong));
        match &result {
            Ok(imported) => span.set("tracera.import.pages", i64::from(imported.pages)),
            Err(_) => span.failed("import"),
        }
        let outcome = match &result {
            Ok(imported) => {
                tracing::info!(
                    event = "import_done",
                    assets = imported.assets,
                    pages = imported.pages,
                    "an inventory was imported"
                );
                "done"
            }
            Err(error) => {
                tracing::warn!(event = "import_failed", %error,
                    "an import failed; the earlier holdings stay");
                if let Err(error) = store::abandon(&inner.database, self.user, self.id).await {
                    tracing::warn!(%error, "a failed import was not cleaned up; its lease will \
                        run out");
                }
                "failed"
            }
        };
        metrics::counter!("tracera_imports_total", "outcome" => outcome).increment(1);
        inner.forget(self.user);
        self.state.send_replace(match result {
            Ok(imported) => State::Done(imported),
            Err(error) => State::Failed(Arc::new(error)),
        });
    }

    async fn take_all(&self, pages: Pages) -> Result<Imported, ImportError> {
        let mut progress = Progress::default();
        let source = match pages {
            Pages::Steam => {
                self.read_all(&mut progress).await?;
                Source::Steam
            }
            Pages::Upload(pages) => {
                self.take_uploaded(pages, &mut progress).await?;
                Source::Upload
            }
        };
        progress.stage = Stage::Saving;
        self.tell(progress);
        self.publish(progress, source).await
    }

    async fn read_all(&self, progress: &mut Progress) -> Result<(), ImportError> {
        let mut size = self.inner.steam.page_size();
        let mut starts: HashSet<String> = HashSet::new();
        let mut start: Option<String> = None;
        loop {
            let page = self.page(&mut size, start.as_deref(), progress).await?;
            let before = progress.items_found;
            let (next, last) = (page.next.clone(), page.last.clone());
            self.stage(page, progress).await?;
            let is_new = progress.items_found > before;
            start = match (next, last) {
                (Some(next), _) if starts.insert(next.clone()) => Some(next),
                (Some(_), _) => return Err(ImportError::LeadsBack { page: progress.pages }),
                (None, Some(last)) if is_new && progress.is_short() => {
                    starts.insert(last.clone());
                    Some(last)
                }
                (None, _) => return Ok(()),
            };
        }
    }

    /// Several pages must be the complete inventory. A single page may be part of one whose rest is
    /// hidden.
    async fn take_uploaded(
        &self,
        pages: Vec<Page>,
        progress: &mut Progress,
    ) -> Result<(), ImportError> {
        let (count, continued) = (pages.len(), pages.iter().filter(|it| it.next.is_some()).count());
        for page in pages {
            self.stage(page, progress).await?;
        }
        if continued + 1 > count || (count > 1 && progress.is_short()) {
            return Err(ImportError::NotAnInventory("pages are missing"));
        }
        Ok(())
    }

    /// Writes a page that stays invisible until the import is published.
    async fn stage(&self, mut page: Page, progress: &mut Progress) -> Result<(), ImportError> {
        let inner = &self.inner;
        for link in page.items.iter_mut().filter_map(|item| item.inspect_link.as_mut()) {
            *link = link.replace("%owner_steamid%", &self.steam.digits());
        }
        progress.pages += 1;
        progress.items_total = page.total.or(progress.items_total);
        progress.items_found = store::stage(&inner.database, self.user, self.id, &page).await?;
        progress.items_matched += self.matched(&page);
        if progress.items_found > u64::from(inner.limits.max_items) || progress.pages >= MAX_PAGES {
            return Err(ImportError::TooLarge);
        }
        self.tell(*progress);
        self.renew().await
    }

    async fn publish(&self, progress: Progress, source: Source) -> Result<Imported, ImportError> {
        let inner = &self.inner;
        let now = utc(inner.clock.now());
        let (cooldown, total) = (inner.limits.import_cooldown, progress.items_total);
        if !store::publish(&inner.database, self.user, self.id, total, source, now, cooldown)
            .await?
        {
            return Err(ImportError::LeaseLost);
        }
        // The import succeeded. If this fails, only one point of the history is missing.
        if let Err(error) = history::take(inner, self.user, history::Occasion::Import, now).await {
            tracing::warn!(%error, "the value after an import was not noted");
        }
        Ok(Imported {
            assets: progress.items_found,
            matched: progress.items_matched.min(progress.items_found),
            reported: total,
            pages: progress.pages,
            owner: self.steam,
        })
    }

    /// Fetches one page. Retries temporary failures, and uses a smaller page size if Steam refuses
    /// the current one.
    async fn page(
        &self,
        size: &mut PageSize,
        start: Option<&str>,
        progress: &mut Progress,
    ) -> Result<Page, ImportError> {
        let inner = &self.inner;
        let number = progress.pages + 1;
        let mut attempt = 1;
        loop {
            progress.stage = Stage::Waiting;
            let so_far = *progress;
            self.tell(so_far);
            let waiting = |wait: Duration| {
                self.tell(Progress {
                    wait_seconds: wait.as_secs() + u64::from(wait.subsec_nanos() > 0),
                    ..so_far
                });
            };
            let turn = inner.queue.turn(waiting).await;
            let turn = turn.map_err(|Paused(pause)| ImportError::Paused { page: number, pause })?;
            progress.stage = Stage::Reading;
            self.tell(*progress);
            let error = match inner.steam.page(self.steam, *size, start).await {
                Ok(page) => {
                    turn.answered();
                    return Ok(page);
                }
                Err(error) => error,
            };
            match error {
                SteamError::Throttled(retry_after) => {
                    // The next turn decides whether the pause is short enough to wait for.
                    let pause = turn.refused(retry_after);
                    tracing::warn!(?pause, "Steam wants fewer requests");
                    metrics::counter!("tracera_steam_refusals_total").increment(1);
                }
                SteamError::CountRefused if size.smaller().is_some() => {
                    turn.answered();
                    *size = size.smaller().unwrap_or(*size);
                }
                error if error.may_pass() && attempt < ATTEMPTS => {
                    tracing::info!(page = number, %error, "asking Steam again");
                    attempt += 1;
                }
                error => return Err(ImportError::Steam { page: number, error }),
            }
        }
    }

    /// The number of assets on a page that have a price.
    fn matched(&self, page: &Page) -> u64 {
        let Some(snapshot) = self.inner.prices.current() else { return 0 };
        let priced = |item: &&Item| {
            let kind = page.kinds.get(&item.item_id);
            kind.is_some_and(|kind| {
                snapshot.list.find(&kind.market_hash_name, kind.phase).is_some()
            })
        };
        page.items.iter().filter(priced).count() as u64
    }

    fn tell(&self, progress: Progress) {
        self.state.send_replace(State::Running(progress));
    }

    /// Renews the lease until it is lost.
    async fn hold_lease(&self) -> ImportError {
        loop {
            tokio::time::sleep(RENEWAL).await;
            match self.renew().await {
                // A short outage of the database does not end an import that waits for Steam.
                Ok(()) | Err(ImportError::Store(_)) => {}
                Err(error) => return error,
            }
        }
    }

    async fn renew(&self) -> Result<(), ImportError> {
        let progress = match &*self.state.borrow() {
            State::Running(progress) => serde_json::to_string(progress).unwrap_or_default(),
            State::Done(_) | State::Failed(_) => String::new(),
        };
        let now = utc(self.inner.clock.now());
        let held = store::renew(&self.inner.database, self.user, self.id, &progress, now).await?;
        if held { Ok(()) } else { Err(ImportError::LeaseLost) }
    }
}
