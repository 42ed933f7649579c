//! Creates the demo user with an account, a growing inventory, and 60 days of values.

use std::time::Duration as Wait;

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{Demo, EMAIL, STEAM_ID, inventory};
use crate::clock::utc;
use crate::domain::email::Email;
use crate::domain::provider::{Identity, Provider};
use crate::http::App;
use crate::portfolio::inventory::{Reply, parse};
use crate::store::portfolio::snapshots::{self, Snapshot};
use crate::store::portfolio::{self as store, Claim, Source};
use crate::store::{Database, StoreError, identities, users};

/// The imports: days ago, and number of different items.
const IMPORTS: [(i64, usize); 3] = [(60, 30), (25, 36), (5, inventory::KINDS)];
const DAYS: i64 = 60;

/// Fills the stores of a new demo.
///
/// # Errors
/// [`StoreError`] as for every store operation.
pub async fn fill(demo: &Demo, app: &App) -> Result<(), StoreError> {
    if let Err(error) = app.portfolio.prices().refresh().await {
        tracing::warn!(%error, "the demo has no prices");
    }
    let (db, now) = (&app.database, utc(app.clock.now()));
    let Ok(email) = Email::parse(EMAIL) else { return Ok(()) };
    let begin = now - Duration::days(DAYS);
    let user = users::find_or_create_by_verified_email(db, &email, begin).await?.0.id;
    let steam = Identity {
        provider: Provider::Steam,
        issuer: demo.url().to_owned(),
        subject: STEAM_ID.to_owned(),
    };
    identities::link(db, user, &steam, begin).await?;
    let mut import = None;
    let mut kinds = 0;
    for day in 0..=DAYS {
        let at = begin + Duration::days(day);
        let newer = IMPORTS.iter().find(|(days_ago, _)| *days_ago == DAYS - day);
        if let Some((_, more)) = newer {
            kinds = *more;
            import = publish(db, user, kinds, at).await?;
            note(app, user, import, kinds, at, None).await?;
        }
        if day < DAYS {
            let later = at + Duration::minutes(30);
            note(app, user, import, kinds, later, Some(later.date().to_string())).await?;
        }
    }
    Ok(())
}

/// Publishes the first `kinds` items of the inventory.
async fn publish(
    db: &Database,
    user: Uuid,
    kinds: usize,
    at: OffsetDateTime,
) -> Result<Option<Uuid>, StoreError> {
    let Claim::Granted(import) = store::claim(db, user, at).await? else { return Ok(None) };
    let body = inventory::page(kinds).to_string();
    let Ok(Reply::Page(page)) = parse(body.as_bytes()) else { return Ok(None) };
    store::stage(db, user, import, &page).await?;
    store::publish(db, user, import, page.total, Source::Steam, at, Wait::ZERO).await?;
    Ok(Some(import))
}

/// Records the value of the first `kinds` items at that time.
async fn note(
    app: &App,
    user: Uuid,
    import_id: Option<Uuid>,
    kinds: usize,
    taken_at: OffsetDateTime,
    day: Option<String>,
) -> Result<(), StoreError> {
    let (today, items) = inventory::worth(kinds);
    let days_ago = (utc(app.clock.now()) - taken_at).whole_days().unsigned_abs();
    let snapshot = Snapshot {
        taken_at,
        day,
        total_cents: (today * permille(days_ago) / 1_000).cast_signed(),
        currency: app.portfolio.prices().currency().to_owned(),
        items: items.cast_signed(),
        unpriced_items: 1,
        price_source: app
            .portfolio
            .prices()
            .current()
            .map_or("demo".to_owned(), |it| it.source.clone()),
        import_id,
    };
    snapshots::add(&app.database, user, &snapshot).await
}

/// Past prices in thousandths of today's: lower, with waves.
fn permille(days_ago: u64) -> u64 {
    const WAVES: [u64; 9] = [0, 6, 11, 4, 14, 9, 17, 3, 12];
    if days_ago == 0 { 1_000 } else { 994 - days_ago * 2 + WAVES[(days_ago % 9) as usize] }
}
