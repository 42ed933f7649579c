//! The portfolio page: its value, changes, items, and the first steps of a new user.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, StatusCode, Uri, header};
use time::OffsetDateTime;
use tracera_session::CurrentUser;

mod chart;
mod icons;
mod money;
mod query;
mod view;

use crate::actions::{portfolio as actions, user_id};
use crate::clock::utc;
use crate::domain::steam_id::SteamId64;
use crate::http::App;
use crate::http::compress::{compressed, is_of_stranger};
use crate::http::error::{AppError, AppResult};
use crate::pages::messages;
use crate::pages::page::{Moment, Page, Person, ago};
use crate::portfolio::ranking;
use crate::portfolio::refusal::Refusal;
use crate::store::portfolio::Source;
use chart::Chart;
use money::{money, whole_money};
use query::{AT_ITEMS, KINDS, PageQuery, RANGES, SORTS};
use view::{Change, HoldingView, ItemView, Shown, changes, market_page};

#[derive(Template)]
#[template(path = "portfolio.html")]
struct PortfolioPage<'a> {
    page: &'a Page,
    name: String,
    /// When the account will be deleted.
    leaving: Option<Moment>,
    steam_id: Option<String>,
    is_importing: bool,
    /// Seconds until the next import.
    wait_secs: i64,
    is_private: bool,
    problem: Option<&'static str>,
    held: Option<Held>,
}

/// An imported portfolio.
struct Held {
    /// `None` if there are items but no prices.
    total: Option<String>,
    changes: Vec<Change>,
    items: u64,
    unpriced: u64,
    unsellable: u64,
    estimated: u64,
    /// The value shown for an item without a price.
    nothing: String,
    hidden: i64,
    imported_ago: String,
    is_uploaded: bool,
    prices: Option<Prices>,
    chart: Option<Chart>,
    range: &'static str,
    /// The types present: name and label.
    types: Vec<(&'static str, &'static str)>,
    rarities: Vec<String>,
    exteriors: Vec<String>,
    query: PageQuery,
    holdings: Vec<HoldingView>,
    /// The number of selected items, followed by that of their units.
    selected: usize,
    selected_items: u64,
    selected_value: Option<String>,
    pages: usize,
    page: usize,
    single: Vec<ItemView>,
    /// The URL of the shown item on Steam's market.
    market_page: Option<String>,
}

impl Held {
    fn is_range(&self, range: &str) -> bool {
        self.range == range
    }
}

/// The source and age of the prices.
struct Prices {
    source: String,
    basis: Option<&'static str>,
    age: String,
}

/// `GET /`
pub async fn portfolio(
    State(app): State<App>,
    person: Person,
    page: Page,
    headers: HeaderMap,
    uri: Uri,
) -> AppResult<Response> {
    let (user, now) = (person.account.id, utc(app.clock.now()));
    let query = PageQuery::parse(uri.query().unwrap_or_default());
    let error = query.get("error").to_owned();
    let is_private = Refusal::parse(&error) == Some(Refusal::Private);
    let next = app.portfolio.next_import_at(user).await?;
    let template = PortfolioPage {
        name: person.label(),
        leaving: person.leaving(),
        steam_id: app.portfolio.steam_id(user).await?.map(SteamId64::digits),
        is_importing: app.portfolio.progress(user).await?.is_some(),
        wait_secs: next.map_or(0, |next| (next - now).whole_seconds().max(0)),
        is_private,
        problem: (!is_private && !error.is_empty())
            .then(|| sentence(&error, app.portfolio.is_limited_by_steam())),
        held: held(&app, user, query, now).await?,
        page: &page,
    };
    let mut response = page.render(StatusCode::OK, &template)?;
    if template.held.is_some() {
        // This is the only page with images from another origin.
        let policy = app.portfolio.pictures().page_policy();
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    if is_of_stranger(&uri, &headers) {
        return Ok(response);
    }
    Ok(compressed(&headers, response).await)
}

async fn held(
    app: &App,
    user: uuid::Uuid,
    query: PageQuery,
    now: OffsetDateTime,
) -> AppResult<Option<Held>> {
    let reading = actions::read(&app.portfolio, user, query.selection()).await?;
    let worth = &reading.worth;
    let Some(summary) = worth.summary else { return Ok(None) };
    let (range, length) = query.range();
    let history = app.portfolio.values_since(user, now - length).await?;
    let currency = app.portfolio.prices().currency();
    let (prices, totals) = (worth.prices.as_deref(), worth.totals);
    let is_known = prices.is_some() || totals.items == 0;
    let worth_of = |cents| is_known.then(|| money(cents, currency));
    let stacks = || worth.stacks().iter();
    let types: BTreeSet<_> = stacks().map(|stack| stack.item_type).collect();
    let selected = reading.selected();
    let shown = Shown {
        total: totals.value,
        currency,
        pictures: app.portfolio.pictures(),
        prices: prices.map(|prices| &prices.list),
        selection: reading.selection(),
    };
    let single = selected.on_page.first().filter(|_| !query.get("item_id").is_empty());
    let items = i64::try_from(totals.items).unwrap_or(i64::MAX);
    Ok(Some(Held {
        total: worth_of(totals.value),
        changes: changes(&worth.changes, currency),
        items: totals.items,
        unpriced: if is_known { totals.unpriced } else { 0 },
        unsellable: if is_known { totals.unsellable } else { 0 },
        estimated: totals.estimated,
        nothing: whole_money(0, currency),
        hidden: summary.reported_items.map_or(0, |all| (all - items).max(0)),
        imported_ago: ago(summary.imported_at, now),
        is_uploaded: summary.source == Source::Upload,
        prices: prices.map(|prices| Prices {
            source: prices.source.clone(),
            basis: view::basis(worth),
            age: ago(utc(prices.fetched_at), now),
        }),
        chart: Chart::of(&history, prices.map(|_| (now, totals.value)), currency),
        range,
        types: types.into_iter().map(|it| (it.as_str(), it.plural())).collect(),
        rarities: view::distinct(stacks().map(|it| &*it.holding.rarity), ranking::rarity),
        exteriors: view::distinct(stacks().map(|it| &*it.holding.exterior), ranking::wear),
        holdings: selected.on_page.iter().map(|it| HoldingView::new(it, &shown)).collect(),
        selected: selected.holdings,
        selected_items: selected.totals.items,
        selected_value: worth_of(selected.totals.value),
        pages: selected.pages,
        page: selected.page,
        market_page: single.and_then(|it| market_page(&it.stack.holding.market_hash_name)),
        single: single.map_or_else(Vec::new, |it| ItemView::each(&it.stack.assets, &shown)),
        query,
    }))
}

/// `POST /import`: an import for browsers without scripts. They wait for the result.
pub async fn import(State(app): State<App>, CurrentUser(user): CurrentUser) -> AppResult<Response> {
    let patience = app.request_timeout.mul_f32(5.0 / 6.0);
    let from = actions::From::Steam;
    match actions::import(&app.portfolio, user_id(&user)?, from, patience).await {
        Ok(_) => Ok(Redirect::to("/").into_response()),
        Err(error) => match error.refusal() {
            Some(refusal) => {
                Ok(Redirect::to(&format!("/?error={}", refusal.code())).into_response())
            }
            None => Err(AppError::from(&*error)),
        },
    }
}

/// The notice of a failed import, or of another failure reported on this page.
fn sentence(code: &str, is_limited: bool) -> &'static str {
    match Refusal::parse(code) {
        Some(Refusal::SteamUnavailable) if is_limited => {
            "Steam is limiting requests; try again in a few minutes. Or bring your inventory \
             along, as described below."
        }
        Some(refusal) => refusal.sentence(),
        None => messages::problem(code),
    }
}
