//! Records portfolio values after each import and once a day, and compares them with today's.

use time::OffsetDateTime;
use uuid::Uuid;

use super::changes::{Change, Changes, Period};
use super::prices::Snapshot as Prices;
use super::stack::Held;
use super::valuation::{Valued, total};
use super::{Inner, holdings_cache};
use crate::store::portfolio::former::{self, Amount};
use crate::store::portfolio::snapshots::{self, Snapshot};
use crate::store::{Database, StoreError};

/// Number of users per query.
const BATCH: u32 = 100;

/// The reason to record a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// An import.
    Import,
    /// A day has begun.
    Day,
}

/// Records the value of a user's portfolio, and removes old history. Without an import or without
/// prices the value is unknown, and nothing is recorded.
pub(super) async fn take(
    inner: &Inner,
    user: Uuid,
    occasion: Occasion,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let Some(prices) = inner.prices.current() else { return Ok(()) };
    let Some(held) = holdings_cache::read(&inner.database, user).await? else { return Ok(()) };
    let valued: Vec<_> = held.stacks.iter().map(|it| Valued::of(it, &prices.list)).collect();
    let totals = total(&valued);
    let snapshot = Snapshot {
        taken_at: now,
        day: (occasion == Occasion::Day).then(|| now.date().to_string()),
        total_cents: totals.value.cast_signed(),
        currency: inner.prices.currency().to_owned(),
        items: totals.items.cast_signed(),
        unpriced_items: totals.unpriced.cast_signed(),
        price_source: prices.source.clone(),
        import_id: Some(held.summary.import_id),
    };
    snapshots::add(&inner.database, user, &snapshot).await?;
    snapshots::thin(&inner.database, user, now).await?;
    former::thin(&inner.database, user, now).await
}

/// Records the value of every portfolio that has none for the day of `now`. Several instances may
/// run it concurrently.
pub(super) async fn take_daily(inner: &Inner, now: OffsetDateTime) -> Result<u64, StoreError> {
    // Without prices nothing would be recorded, and the loop would read the same users forever.
    if inner.prices.current().is_none() {
        return Ok(0);
    }
    let mut taken = 0;
    loop {
        let users = snapshots::users_without(&inner.database, now.date(), BATCH).await?;
        if users.is_empty() {
            return Ok(taken);
        }
        for user in users {
            // Uses the given day even if it ends meanwhile.
            take(inner, user, Occasion::Day, now).await?;
            taken += 1;
        }
    }
}

/// The changes in the value of the holdings, up to now.
pub(super) async fn changes(
    db: &Database,
    user: Uuid,
    held: &Held,
    prices: &Prices,
    now: OffsetDateTime,
) -> Result<Changes, StoreError> {
    let mut changes = Changes::default();
    for period in Period::ALL {
        let latest = now - period.length();
        let range = (latest - Period::TOLERANCE, latest);
        let then = snapshots::comparable(db, user, &prices.currency, range).await?;
        let Some(then) = then else { continue };
        let Some(amounts) = amounts(db, user, held, then.import_id).await? else { continue };
        let change = Change::since(then.total_cents, &amounts, &held.stacks, &prices.list);
        changes.set(period, Some(change));
    }
    Ok(changes)
}

/// The amounts of an import; `None` if they are no longer stored.
async fn amounts(
    db: &Database,
    user: Uuid,
    held: &Held,
    import: Option<Uuid>,
) -> Result<Option<Vec<Amount>>, StoreError> {
    match import {
        Some(import) if import == held.summary.import_id => Ok(Some(
            held.stacks
                .iter()
                .map(|stack| Amount {
                    market_hash_name: stack.holding.market_hash_name.clone(),
                    phase: stack.holding.phase.clone(),
                    quantity: stack.holding.quantity,
                })
                .collect(),
        )),
        Some(import) => former::amounts(db, user, import).await,
        None => Ok(None),
    }
}
