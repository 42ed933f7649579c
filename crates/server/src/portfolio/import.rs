//! One import: takes a user's inventory page by page, all or nothing.
//!
//! 1. A page that leads back to where the import has been ends it with an error.
//! 2. If the last page leaves fewer items than Steam's total, one more page is requested. Only if
//!    that is empty are the missing items counted as hidden.

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

/// More pages than an inventory has at any page size Steam chooses.
const MAX_PAGES: u32 = 2_000;
/// How often one page is requested while Steam fails temporarily.
const ATTEMPTS: u32 = 2;
/// How often a lease is renewed, beside at every page.
const RENEWAL: Duration = Duration::from_secs(30);

/// What an import brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Different assets.
    pub assets: u64,
    /// How many of them have a price.
    pub matched: u64,
    /// Steam's total; those beyond `assets` are hidden from outsiders.
    pub reported: Option<u32>,
    /// Pages read.
    pub pages: u32,
    /// Whose inventory it is.
    pub owner: SteamId64,
}

impl Imported {
    /// How many items Steam hides from outsiders.
    pub fn hidden(&self) -> u64 {
        self.reported.map_or(0, |all| u64::from(all).saturating_sub(self.assets))
    }
}

/// Where an import gets its pages from.
#[derive(Debug)]
pub(super) enum Pages {
    /// Steam is asked for each.
    Steam,
    /// The owner has brought them all.
    Upload(Vec<Page>),
}

/// Why an import brought nothing. The earlier holdings are untouched.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The user has no Steam account linked.
    #[error("no Steam account is linked")]
    NotLinked,
    /// An import of the user is running.
    #[error("an import is running")]
    Running,
    /// The last import was too recently.
    #[error("the last import was too recently")]
    Cooldown(Duration),
    /// Steam did not give a page.
    #[error("page {page}: {error}")]
    Steam {
        /// Which one, counted from one.
        page: u32,
        /// Why.
        error: SteamError,
    },
    /// Steam wants fewer requests, for longer than an import waits.
    #[error("page {page}: Steam wants a pause of {pause:?}")]
    Paused {
        /// Which one, counted from one.
        page: u32,
        /// For how long.
        pause: Duration,
    },
    /// A page says that the next one is where the import has been already.
    #[error("page {page} leads back to an earlier one")]
    LeadsBack {
        /// Which one, counted from one.
        page: u32,
    },
    /// What was uploaded cannot be imported.
    #[error("no inventory was uploaded: {0}")]
    NotAnInventory(&'static str),
    /// More assets or pages than are imported.
    #[error("the inventory is too large")]
    TooLarge,
    /// It took longer than an import may.
    #[error("the import took too long")]
    TookTooLong,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
    /// The lease went to another import.
    #[error("the import's lease was lost")]
    LeaseLost,
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The progress of an import, for its watchers.
#[derive(Clone, Debug)]
pub enum State {
    /// Under way.
    Running(Progress),
    /// Done.
    Done(Imported),
    /// Failed.
    Failed(Arc<ImportError>),
}

/// One import under way.
pub(super) struct Import {
    pub(super) inner: Arc<Inner>,
    pub(super) user: Uuid,
    pub(super) steam: SteamId64,
    pub(super) pages: Pages,
    /// Also the lease.
    pub(super) id: Uuid,
    pub(super) state: watch::Sender<State>,
}

impl Import {
    /// Imports, within its time and while the lease lasts; tells the watchers and cleans up after a
    /// failure.
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
        let result =
            tokio::time::timeout(limit, read).await.unwrap_or(Err(ImportError::TookTooLong));
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

    /// Several pages have to be the whole; of one the rest may be hidden.
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

    /// Writes a page where nobody reads it yet.
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
        // The import succeeded; on an error only one point of its history is missing.
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

    /// One page, tried again in passing trouble, with fewer items when Steam refuses that many.
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
                    // The next turn knows whether the pause is worth waiting for.
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

    /// How many of a page's assets have a price.
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

    /// Renews the lease for as long as it can.
    async fn hold_lease(&self) -> ImportError {
        loop {
            tokio::time::sleep(RENEWAL).await;
            match self.renew().await {
                // A database that is briefly away does not end an import that waits for Steam.
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
