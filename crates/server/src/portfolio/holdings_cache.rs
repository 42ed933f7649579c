//! What users hold, as last read: reading the rows of a large inventory costs more than all else
//! that an answer takes.
//!
//! 1. The holdings of an import never change. A cached entry is valid only while its import is in
//!    force. The database is asked each time, so an import on another instance is seen at once. The
//!    portfolio put together from it is kept with it.
//! 2. It is kept under the user and given to nobody else. The user's next import takes its place;
//!    deleting the account removes it.
//! 3. It is bounded by its size in memory. It is emptied whenever prices are read, so that accounts
//!    deleted on another instance do not stay.

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

/// What everything that is kept may occupy: one of the largest inventories, or thousands of usual
/// ones.
const CAPACITY_BYTES: u64 = 64 << 20;
/// How many users that is, for sizing tables.
const EXPECTED_USERS: usize = 1_000;
/// Bytes for each stack of a valued portfolio.
const PUT_TOGETHER: usize = size_of::<Option<Price>>() + size_of::<u32>();

/// A portfolio with its holdings, and room for what is put together from them.
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
    let mut stacks = stacks_of(db, user, summary.import_id).await?;
    let held = |stacks: &[Stack]| stacks.iter().map(|it| it.holding.quantity).sum::<i64>();
    let read = |stacks: &[Stack]| stacks.iter().map(|it| it.pieces.quantity).sum::<u64>();
    if stacks.is_empty() || held(&stacks).unsigned_abs() != read(&stacks) {
        // There are no holdings, or another import took effect between the queries.
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
    // Both are in the order of the holdings' ids.
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
