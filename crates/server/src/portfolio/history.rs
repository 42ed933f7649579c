//! What portfolios were worth: noted after each import and once a day.

use time::OffsetDateTime;
use uuid::Uuid;

use super::{Inner, holdings_cache, valuation};
use crate::store::StoreError;
use crate::store::portfolio::snapshots::{self, Snapshot};

/// Users looked at together.
const BATCH: u32 = 100;

/// Why a value is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// An import.
    Import,
    /// A day has begun.
    Day,
}

/// Values a user's portfolio and notes it; what is too old of the history goes. Does nothing before
/// the first import, and without prices: nothing is known of the value then.
pub(super) async fn take(
    inner: &Inner,
    user: Uuid,
    occasion: Occasion,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let Some(prices) = inner.prices.current() else { return Ok(()) };
    let Some(held) = holdings_cache::read(&inner.database, user).await? else { return Ok(()) };
    let valued = valuation::value(&held.holdings, Some(&prices.list));
    let totals = valuation::total(&valued);
    let snapshot = Snapshot {
        taken_at: now,
        day: (occasion == Occasion::Day).then(|| now.date().to_string()),
        total_cents: totals.value.cast_signed(),
        currency: inner.prices.currency().to_owned(),
        items: totals.items.cast_signed(),
        unpriced_items: totals.unpriced.cast_signed(),
        price_source: prices.source.clone(),
    };
    snapshots::add(&inner.database, user, &snapshot).await?;
    snapshots::thin(&inner.database, user, now).await.map(drop)
}

/// Notes the value of every portfolio that has none of the day of `now` yet. Any number of
/// instances may do it at once.
pub(super) async fn take_daily(inner: &Inner, now: OffsetDateTime) -> Result<u64, StoreError> {
    // Else it would be the turn of the same users again and again.
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
            // Of the day that was asked about, also when it ends meanwhile.
            take(inner, user, Occasion::Day, now).await?;
            taken += 1;
        }
    }
}
