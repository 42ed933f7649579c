//! Caches users' holdings. Reading the rows of a large inventory costs more than the rest of a
//! response.
//!
//! 1. The holdings of an import never change. An entry is valid only while its import is the
//!    published one. The database is asked each time, so an import on another instance is seen at
//!    once. The portfolio computed from the holdings is cached with them.
//! 2. The key is the user, and no one else gets the entry. The user's next import replaces it;
//!    deleting the account removes it.
//! 3. The cache is bounded by its size in memory. It is cleared whenever prices are refreshed, so
//!    that entries of accounts deleted on another instance do not stay.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use uuid::Uuid;

use super::price_list::Price;
use super::stack::{Held, Stack};
use super::worth::Worth;
use crate::store::portfolio::holdings::{self, Asset, Summary};
use crate::store::{Database, StoreError};

/// Memory limit: one of the largest inventories, or thousands of usual ones.
const CAPACITY_BYTES: u64 = 64 << 20;
/// The expected number of users, to size tables.
const EXPECTED_USERS: usize = 1_000;
/// Bytes that a valued portfolio needs per stack.
const PUT_TOGETHER: usize = size_of::<Option<Price>>() + size_of::<u32>();

/// A portfolio's holdings, and the slot for the value computed from them.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) held: Held,
    pub(super) worth: Arc<ArcSwapOption<Worth>>,
}

/// A cache of holdings by user.
pub(super) struct HoldingsCache(Cache<Uuid, Kept, ByBytes>);

#[derive(Clone)]
struct Kept {
    entry: Entry,
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
            // With several shards, one large inventory would have to fit into a shard's share.
            .shards(1)
            .build()
            .expect("both capacities are given");
        let hashing = DefaultHashBuilder::default();
        Self(Cache::with_options(options, ByBytes, hashing, DefaultLifecycle::default()))
    }

    /// The user's holdings; `None` before the first import.
    ///
    /// # Errors
    /// [`StoreError`] as for every store operation.
    pub(super) async fn get(&self, db: &Database, user: Uuid) -> Result<Option<Entry>, StoreError> {
        let Some(summary) = holdings::summary(db, user).await? else { return Ok(None) };
        let is_in_force = |kept: &Kept| kept.entry.held.summary.import_id == summary.import_id;
        if let Some(kept) = self.0.get(&user).filter(is_in_force) {
            return Ok(Some(kept.entry));
        }
        let Some(held) = rows_of(db, user, summary).await? else { return Ok(None) };
        let stacks: usize = held.stacks.iter().map(|stack| stack.bytes() + PUT_TOGETHER).sum();
        let entry = Entry { held, worth: Arc::default() };
        let bytes = (stacks + size_of::<Kept>()) as u64;
        self.0.insert(user, Kept { entry: entry.clone(), bytes });
        Ok(Some(entry))
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

/// Reads the user's holdings without caching them.
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
    let mut stacks = stacks_of(db, user, summary.import_id).await?;
    let held = |stacks: &[Stack]| stacks.iter().map(|it| it.holding.quantity).sum::<i64>();
    let read = |stacks: &[Stack]| stacks.iter().map(|it| it.pieces.quantity).sum::<u64>();
    if stacks.is_empty() || held(&stacks).unsigned_abs() != read(&stacks) {
        // Either there are no holdings, or another import was published between the queries.
        let Some(current) = holdings::summary(db, user).await? else { return Ok(None) };
        if current.import_id != summary.import_id {
            summary = current;
            stacks = stacks_of(db, user, summary.import_id).await?;
        }
    }
    Ok(Some(Held { summary, stacks: stacks.into() }))
}

async fn stacks_of(db: &Database, user: Uuid, import: Uuid) -> Result<Vec<Stack>, StoreError> {
    let rows = holdings::list(db, user, import).await?;
    // Both are sorted by the holdings' ids.
    let mut assets = holdings::assets(db, user, import).await?.into_iter().peekable();
    let stack = |holding: holdings::Holding| {
        let mut own: Vec<Asset> = Vec::new();
        while let Some(asset) = assets.next_if(|asset| asset.item_id <= holding.item_id) {
            own.push(asset);
        }
        Stack::new(holding, own)
    };
    Ok(rows.into_iter().map(stack).collect())
}

#[cfg(test)]
mod tests;
