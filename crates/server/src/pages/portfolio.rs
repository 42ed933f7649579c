//! The portfolio: what it is worth, how that changed, what is in it, and the way there for somebody
//! new.

use std::collections::{BTreeMap, HashMap};

use askama::Template;
use axum::body::Bytes;
use axum::extract::{Query, RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{StatusCode, Uri, header};
use time::OffsetDateTime;
use tracera_session::CurrentUser;
use url::form_urlencoded;
use uuid::Uuid;

mod chart;
mod icons;
mod view;

use crate::api::imports;
use crate::api::portfolio::Selection;
use crate::clock::utc;
use crate::http::App;
use crate::http::error::{AppError, AppResult};
use crate::pages::messages;
use crate::pages::page::{Page, Person, ago};
use crate::portfolio;
use crate::portfolio::ranking;
use crate::portfolio::valuation::{self, Valued};
use crate::store::portfolio::{self as store, holdings, snapshots};
use chart::Chart;
use view::{Change, HoldingView, ItemView, Shown, changes, market_page, money, whole_money};

/// How many values the chart shows.
const CHART_POINTS: u32 = 400;
/// What the address may select by.
const SELECTORS: [&str; 9] =
    ["q", "rarity", "exterior", "only", "priced", "sort", "order", "page", "item_id"];

/// Where a selection shows, in the page.
const AT_ITEMS: &str = "#items-title";

/// What the form can sort by besides the total, and what that is called.
const SORTS: [(&str, &str); 4] =
    [("price", "Unit price"), ("quantity", "Quantity"), ("name", "Name"), ("rarity", "Rarity")];

/// What the form can show alone, what that is called, and what it is for the API.
const KINDS: [(&str, &str, (&str, &str)); 4] = [
    ("tradable", "Tradable", ("tradable", "true")),
    ("locked", "Locked", ("locked", "true")),
    ("stattrak", "StatTrak™", ("stattrak", "true")),
    ("souvenir", "Souvenir", ("quality", "souvenir")),
];

#[derive(Template)]
#[template(path = "portfolio.html")]
struct PortfolioPage<'a> {
    page: &'a Page,
    name: String,
    is_linked: bool,
    is_importing: bool,
    /// Seconds until the next import.
    wait_secs: i64,
    is_private: bool,
    problem: Option<&'static str>,
    held: Option<Held>,
}

/// A portfolio that has been imported.
struct Held {
    /// `None` while there are items and no prices.
    total: Option<String>,
    changes: Vec<Change>,
    items: u64,
    unpriced: u64,
    /// What an item without a price counts for.
    nothing: String,
    hidden: i64,
    imported_ago: String,
    prices: Option<(String, String)>,
    chart: Option<Chart>,
    rarities: Vec<String>,
    exteriors: Vec<String>,
    query: PageQuery,
    holdings: Vec<HoldingView>,
    selected: usize,
    selected_value: Option<String>,
    pages: usize,
    page: usize,
    single: Vec<ItemView>,
    /// Steam's market for the one that is looked at.
    market_page: Option<String>,
}

/// The address's query, without what is empty: forms send all their fields.
struct PageQuery(BTreeMap<String, String>);

impl PageQuery {
    fn parse(query: &str) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes()).into_owned();
        Self(pairs.filter(|(_, value)| !value.trim().is_empty()).collect())
    }

    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.get(name) == value
    }

    /// The address with one selector changed, at the items; from the first page unless it is the
    /// page that changes.
    fn with(&self, name: &str, value: &str) -> String {
        let kept = self.0.iter().filter(|(key, _)| {
            SELECTORS.contains(&key.as_str()) && *key != name && *key != "page" && *key != "item_id"
        });
        let mut query = form_urlencoded::Serializer::for_suffix("/?".to_owned(), 2);
        query.extend_pairs(kept);
        if !value.is_empty() {
            query.append_pair(name, value);
        }
        query.finish() + AT_ITEMS
    }

    /// The address that sorts by a column: the other way round if it does so already. What comes
    /// `first` without being asked for is not asked for, so that another choice of order is not
    /// turned round by it.
    fn sorted(&self, column: &str, first: &str) -> String {
        let other = if first == "asc" { "desc" } else { "asc" };
        let order =
            if self.is_sorted_by(column) && self.order(first) == first { other } else { "" };
        let mut sorted = Self(self.0.clone());
        sorted.0.insert("sort".to_owned(), column.to_owned());
        sorted.with("order", order)
    }

    /// For `aria-sort`.
    fn sort_state(&self, column: &str, first: &str) -> &'static str {
        match (self.is_sorted_by(column), self.order(first)) {
            (false, _) => "none",
            (true, "asc") => "ascending",
            (true, _) => "descending",
        }
    }

    fn is_sorted_by(&self, column: &str) -> bool {
        self.is("sort", column) || (column == "value" && self.get("sort").is_empty())
    }

    fn order<'a>(&'a self, first: &'a str) -> &'a str {
        if self.get("order").is_empty() { first } else { self.get("order") }
    }

    /// The same for the API's own type. What it does not know selects nothing.
    fn selection(&self) -> Selection {
        let known = self.0.iter().filter(|(name, _)| SELECTORS.contains(&name.as_str()));
        let known = known.filter(|(name, _)| *name != "only");
        let only = KINDS.iter().find(|(kind, ..)| self.is("only", kind)).map(|(.., pair)| pair);
        let mut query = form_urlencoded::Serializer::new(String::new());
        let query = query.extend_pairs(known).extend_pairs(only).finish();
        let page = if self.get("page").is_empty() { "&page=1" } else { "" };
        let selection = format!("/?{query}{page}").parse::<Uri>().ok().and_then(|uri| {
            let Query(selection) = Query::<Selection>::try_from_uri(&uri).ok()?;
            selection.checked().ok()
        });
        selection.unwrap_or_default()
    }
}

/// `GET /`
pub async fn portfolio(
    State(app): State<App>,
    person: Person,
    page: Page,
    RawQuery(query): RawQuery,
) -> AppResult<Response> {
    let (user, now) = (person.account.id, utc(app.clock.now()));
    let query = PageQuery::parse(query.as_deref().unwrap_or_default());
    let error = query.get("error").to_owned();
    let is_private = error == "inventory_private";
    let next = store::next_import_at(&app.database, user).await?;
    let template = PortfolioPage {
        name: person.label(),
        is_linked: store::linked_steam_id(&app.database, user).await?.is_some(),
        is_importing: store::progress(&app.database, user, now).await?.is_some(),
        wait_secs: next.map_or(0, |next| (next - now).whole_seconds().max(0)),
        is_private,
        problem: (!is_private && !error.is_empty())
            .then(|| sentence(&error, app.portfolio.is_limited_by_steam())),
        held: held(&app, user, query, now).await?,
        page: &page,
    };
    let mut response = page.render(StatusCode::OK, &template)?;
    if template.held.is_some() {
        // The one page that shows pictures of elsewhere.
        let policy = app.portfolio.pictures().page_policy();
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    Ok(response)
}

async fn held(
    app: &App,
    user: Uuid,
    query: PageQuery,
    now: OffsetDateTime,
) -> AppResult<Option<Held>> {
    let Some(portfolio::holdings_cache::Held { summary, holdings: rows }) =
        app.portfolio.held(user).await?
    else {
        return Ok(None);
    };
    let prices = app.portfolio.prices().current();
    let currency = app.portfolio.prices().currency();
    let mut valued = valuation::value(&rows, prices.as_deref().map(|prices| &prices.list));
    let totals = valuation::total(&valued);
    let rarities = view::distinct(valued.iter().map(|it| &*it.holding.rarity), ranking::rarity);
    let exteriors = view::distinct(valued.iter().map(|it| &*it.holding.exterior), ranking::wear);
    let history = snapshots::newest(&app.database, user, CHART_POINTS).await?;
    let history = history.into_iter().rev().filter(|snapshot| snapshot.is_worth_in(currency));
    let history: Vec<_> = history.collect();
    let selection = query.selection();
    selection.apply(&mut valued);
    let selection = selection.within(valued.len());
    let selected = valuation::total(&valued);
    let single = match query.get("item_id") {
        "" => Vec::new(),
        item => holdings::items_of(&app.database, user, summary.import_id, item).await?,
    };
    let on_page = selection.on_page(&valued);
    let shown = Shown {
        total: totals.value,
        currency,
        pictures: app.portfolio.pictures(),
        wears: &wears(app, user, summary.import_id, on_page).await?,
    };
    let items = i64::try_from(totals.items).unwrap_or(i64::MAX);
    let is_known = prices.is_some() || totals.items == 0;
    let worth = |cents| is_known.then(|| money(cents, currency));
    Ok(Some(Held {
        total: worth(totals.value),
        changes: changes(prices.is_some().then_some(totals.value), &history, now, currency),
        items: totals.items,
        unpriced: if is_known { totals.unpriced } else { 0 },
        nothing: whole_money(0, currency),
        hidden: summary.reported_items.map_or(0, |all| (all - items).max(0)),
        imported_ago: ago(summary.imported_at, now),
        prices: prices.as_ref().map(|it| (it.source.clone(), ago(utc(it.fetched_at), now))),
        chart: Chart::of(&history, currency),
        rarities,
        exteriors,
        holdings: on_page.iter().map(|it| HoldingView::new(it, &shown)).collect(),
        selected: valued.len(),
        selected_value: worth(selected.value),
        pages: selection.pages(valued.len()),
        page: selection.page(),
        market_page: single.first().and_then(|item| market_page(&item.market_hash_name)),
        single: ItemView::each(&single, selected.items),
        query,
    }))
}

/// The float values of what is on the page, by holding.
async fn wears(
    app: &App,
    user: Uuid,
    import: Uuid,
    holdings: &[Valued<'_>],
) -> AppResult<HashMap<String, Vec<String>>> {
    let ids: Vec<_> = holdings.iter().map(|it| &*it.holding.item_id).collect();
    let mut wears: HashMap<_, Vec<_>> = HashMap::new();
    for (id, wear) in holdings::wears(&app.database, user, import, &ids).await? {
        wears.entry(id).or_default().push(wear);
    }
    Ok(wears)
}

/// `POST /import`: the same as the API's, for browsers without scripts; they wait for its end.
pub async fn import(app: State<App>, user: CurrentUser) -> AppResult<Response> {
    match imports::import(app, user, Bytes::new()).await {
        Ok(_) => Ok(Redirect::to("/").into_response()),
        Err(error) => after_refusal(error),
    }
}

fn after_refusal(error: AppError) -> AppResult<Response> {
    if error.status().is_server_error() && error.status() != StatusCode::BAD_GATEWAY {
        return Err(error);
    }
    Ok(Redirect::to(&format!("/?error={}", error.code())).into_response())
}

/// What the page says of an import that brought nothing, or of another failure that ended here.
fn sentence(code: &str, is_limited: bool) -> &'static str {
    match code {
        "steam_not_linked" => "Link your Steam account first, then import.",
        "steam_profile_missing" => {
            "Steam knows no profile for the linked account. Unlink it on the account page and link it anew."
        }
        "import_running" => "An import of yours is running already.",
        "import_cooldown" => {
            "You imported a moment ago. Please wait a little before the next import."
        }
        "inventory_too_large" => {
            "Your inventory is larger than this server imports. What you had before is unchanged."
        }
        "steam_unavailable" if is_limited => {
            "Steam is limiting requests; try again in a few minutes."
        }
        "steam_unavailable" => {
            "Steam does not give us what we ask for just now. Nothing here has changed; please try again later."
        }
        code => messages::problem(code),
    }
}

#[cfg(test)]
mod tests {
    use super::PageQuery;

    #[test]
    fn addresses_keep_what_is_selected_and_drop_what_is_empty() {
        let query = PageQuery::parse("q=ak+47&rarity=&sort=price&order=desc&page=3&error=x&page=3");
        assert_eq!(
            query.with("priced", "false"),
            "/?order=desc&q=ak+47&sort=price&priced=false#items-title"
        );
        assert_eq!(query.with("q", ""), "/?order=desc&sort=price#items-title");
        assert_eq!(query.with("page", "2"), "/?order=desc&q=ak+47&sort=price&page=2#items-title");
        assert_eq!(query.sorted("price", "desc"), "/?q=ak+47&sort=price&order=asc#items-title");
        assert_eq!(query.sorted("name", "asc"), "/?q=ak+47&sort=name#items-title");
        assert_eq!(query.sort_state("price", "desc"), "descending");
        assert_eq!(query.sort_state("name", "asc"), "none");
        assert_eq!(PageQuery::parse("").sort_state("value", "desc"), "descending");
        assert_eq!(
            PageQuery::parse("").sorted("value", "desc"),
            "/?sort=value&order=asc#items-title"
        );
        assert_eq!(PageQuery::parse("").with("q", "<&>"), "/?q=%3C%26%3E#items-title");
    }
}
