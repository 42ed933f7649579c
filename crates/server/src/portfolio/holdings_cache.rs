//! What users hold, as last read: reading the rows of a large inventory costs more than all else
//! that an answer takes.
//!
//! 1. The holdings of an import never change. What is kept counts only while its import is the one
//!    in force, and that is asked of the database each time: an import on another instance is seen
//!    at once.
//! 2. It is kept under the user and given to nobody else. The user's next import takes its place;
//!    deleting the account removes it.
//! 3. It is bounded by what it occupies. It is emptied whenever prices are read, so that accounts
//!    deleted on another instance do not stay.

use std::fmt;
use std::sync::Arc;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use uuid::Uuid;

use crate::store::portfolio::holdings::{self, Holding, Summary};
use crate::store::{Database, StoreError};

/// What everything that is kept may occupy: one of the largest inventories, or thousands of usual
/// ones.
const CAPACITY_BYTES: u64 = 64 << 20;
/// How many users that is, for sizing tables.
const EXPECTED_USERS: usize = 1_000;

/// A portfolio with its holdings.
#[derive(Clone, Debug)]
pub struct Held {
    /// The import in force.
    pub summary: Summary,
    /// What it brought.
    pub holdings: Arc<[Holding]>,
}

/// Keeps what was read.
pub(super) struct HoldingsCache(Cache<Uuid, Kept, ByBytes>);

#[derive(Clone)]
struct Kept {
    import: Uuid,
    holdings: Arc<[Holding]>,
    bytes: u64,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Uuid, Kept> for ByBytes {
    fn weight(&self, _: &Uuid, kept: &Kept) -> u64 {
        kept.bytes
    }
}

impl HoldingsCache {
    pub(super) fn new() -> Self {
        Self::with_capacity(CAPACITY_BYTES)
    }

    fn with_capacity(bytes: u64) -> Self {
        let options = OptionsBuilder::new()
            .estimated_items_capacity(EXPECTED_USERS)
            .weight_capacity(bytes)
            // Else one large inventory would have to fit into a shard's part.
            .shards(1)
            .build()
            .expect("both capacities are given");
        let hashing = DefaultHashBuilder::default();
        Self(Cache::with_options(options, ByBytes, hashing, DefaultLifecycle::default()))
    }

    /// What the user holds; `None` before the first import.
    ///
    /// # Errors
    /// [`StoreError`] as for every store operation.
    pub(super) async fn get(&self, db: &Database, user: Uuid) -> Result<Option<Held>, StoreError> {
        let Some(summary) = holdings::summary(db, user).await? else { return Ok(None) };
        if let Some(kept) = self.0.get(&user).filter(|kept| kept.import == summary.import_id) {
            return Ok(Some(Held { summary, holdings: kept.holdings }));
        }
        let held = rows_of(db, user, summary).await?;
        if let Some(Held { summary, holdings }) = &held {
            let bytes = holdings.iter().map(bytes).sum::<usize>() + size_of::<Kept>();
            let kept = Kept {
                import: summary.import_id,
                holdings: Arc::clone(holdings),
                bytes: bytes as u64,
            };
            self.0.insert(user, kept);
        }
        Ok(held)
    }

    pub(super) fn remove(&self, user: Uuid) {
        self.0.remove(&user);
    }

    pub(super) fn clear(&self) {
        self.0.clear();
    }
}

impl fmt::Debug for HoldingsCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HoldingsCache").field("users", &self.0.len()).finish_non_exhaustive()
    }
}

/// What the user holds, without keeping it.
///
/// # Errors
/// [`StoreError`] as for every store operation.
pub(super) async fn read(db: &Database, user: Uuid) -> Result<Option<Held>, StoreError> {
    match holdings::summary(db, user).await? {
        Some(summary) => rows_of(db, user, summary).await,
        None => Ok(None),
    }
}

async fn rows_of(
    db: &Database,
    user: Uuid,
    mut summary: Summary,
) -> Result<Option<Held>, StoreError> {
    let mut rows = holdings::list(db, user, summary.import_id).await?;
    if rows.is_empty() {
        // Nothing is held, or another import came into force between the two queries.
        let Some(current) = holdings::summary(db, user).await? else { return Ok(None) };
        if current.import_id != summary.import_id {
            summary = current;
            rows = holdings::list(db, user, summary.import_id).await?;
        }
    }
    Ok(Some(Held { summary, holdings: rows.into() }))
}

/// What a holding occupies, without what the allocator adds.
fn bytes(holding: &Holding) -> usize {
    let Holding {
        item_id,
        market_hash_name,
        phase,
        kind,
        rarity,
        rarity_color,
        exterior,
        quality,
        icon,
        ..
    } = holding;
    let texts =
        [item_id, market_hash_name, phase, kind, rarity, rarity_color, exterior, quality, icon];
    size_of::<Holding>() + texts.map(String::capacity).iter().sum::<usize>()
}

#[cfg(test)]
mod tests;
