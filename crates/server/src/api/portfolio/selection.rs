//! Which holdings are shown, in which order: the query of `GET /api/v1/portfolio`.

use std::cmp::Ordering;

use serde::Deserialize;

use super::search::Search;
use crate::http::error::{AppError, AppResult};
use crate::portfolio::ranking;
use crate::portfolio::valuation::Valued;

const MAX_PER_PAGE: usize = 1000;
const DEFAULT_PER_PAGE: usize = 100;
/// Each word is looked for in each holding.
const MAX_SEARCH: usize = 100;

/// The query. Without `page` and `per_page` everything is shown.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    sort: Option<Sort>,
    order: Option<Order>,
    /// Words of the name, the phase, the type, the rarity or the exterior.
    q: Option<String>,
    rarity: Option<String>,
    exterior: Option<String>,
    quality: Option<String>,
    /// Whether they count kills: of the qualities `stattrak` and `unusual_stattrak`.
    stattrak: Option<bool>,
    priced: Option<bool>,
    locked: Option<bool>,
    tradable: Option<bool>,
    marketable: Option<bool>,
    /// One holding, with its single items.
    pub(super) item_id: Option<String>,
    page: Option<usize>,
    per_page: Option<usize>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sort {
    Value,
    Price,
    Quantity,
    Name,
    Rarity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    Asc,
    Desc,
}

impl Selection {
    /// Itself, if its page exists for some portfolio and its search is short.
    pub(crate) fn checked(self) -> AppResult<Self> {
        let fine = self.page.is_none_or(|page| (1..=1_000_000).contains(&page))
            && self.per_page.is_none_or(|per_page| (1..=MAX_PER_PAGE).contains(&per_page))
            && self.q.as_ref().is_none_or(|q| q.chars().count() <= MAX_SEARCH);
        let refusal =
            "page counts from 1, per_page is a number from 1 to 1000, q has 100 characters at most";
        if fine { Ok(self) } else { Err(AppError::bad_request("malformed_query", refusal)) }
    }

    /// Keeps what is selected and puts it in order: the most valuable first unless told otherwise.
    /// Names begin at A, all else with the most.
    pub(crate) fn apply(&self, holdings: &mut Vec<Valued<'_>>) {
        let mut search = self.q.as_deref().map(Search::new);
        holdings.retain(|valued| {
            self.matches(valued)
                && search.as_mut().is_none_or(|search| search.finds(valued.holding))
        });
        let sort = self.sort.unwrap_or(Sort::Value);
        let ascending = self.order.map_or(matches!(sort, Sort::Name), |order| order == Order::Asc);
        holdings.sort_by(|a, b| {
            let ordering = compare(sort, a, b);
            let ordering = if ascending { ordering } else { ordering.reverse() };
            // What has no price comes last either way, and equals in the order of their names.
            let unpriced =
                |it: &Valued<'_>| matches!(sort, Sort::Value | Sort::Price) && it.price.is_none();
            unpriced(a).cmp(&unpriced(b)).then(ordering).then_with(|| tie(a).cmp(&tie(b)))
        });
    }

    fn matches(&self, valued: &Valued<'_>) -> bool {
        let holding = &valued.holding;
        let is = |wanted: &Option<String>, value: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(value))
        };
        let some =
            |wanted: Option<bool>, count: i64| wanted.is_none_or(|wanted| wanted == (count > 0));
        is(&self.rarity, &holding.rarity)
            && is(&self.exterior, &holding.exterior)
            && is(&self.quality, &holding.quality)
            && is(&self.item_id, &holding.item_id)
            && self.stattrak.is_none_or(|stattrak| stattrak == holding.is_stattrak())
            && self.priced.is_none_or(|priced| priced == valued.price.is_some())
            && some(self.locked, holding.locked)
            && some(self.tradable, holding.tradable)
            && some(self.marketable, holding.marketable)
    }

    /// The page that is shown, counted from one.
    pub(crate) fn page(&self) -> usize {
        self.page.unwrap_or(1)
    }

    fn per_page(&self) -> Option<usize> {
        self.per_page.or(self.page.map(|_| DEFAULT_PER_PAGE))
    }

    /// How many pages `holdings` fill; an empty portfolio fills one.
    pub(crate) fn pages(&self, holdings: usize) -> usize {
        self.per_page().map_or(1, |per_page| holdings.div_ceil(per_page)).max(1)
    }

    /// The same with the last page there is, if its own is beyond that.
    pub(crate) fn within(self, holdings: usize) -> Self {
        let last = self.pages(holdings);
        Self { page: self.page.map(|page| page.min(last)), ..self }
    }

    /// What stands on the page.
    pub(crate) fn on_page<'a, 'h>(&self, holdings: &'a [Valued<'h>]) -> &'a [Valued<'h>] {
        match self.per_page() {
            None => holdings,
            Some(per_page) => holdings.chunks(per_page).nth(self.page() - 1).unwrap_or_default(),
        }
    }
}

fn compare(sort: Sort, a: &Valued<'_>, b: &Valued<'_>) -> Ordering {
    match sort {
        Sort::Value => a.value().cmp(&b.value()),
        Sort::Price => a.price.map(|it| it.cents).cmp(&b.price.map(|it| it.cents)),
        Sort::Quantity => a.quantity().cmp(&b.quantity()),
        Sort::Name => a.holding.market_hash_name.cmp(&b.holding.market_hash_name),
        Sort::Rarity => {
            let rank = |valued: &Valued<'_>| ranking::rarity(&valued.holding.rarity);
            rank(a).cmp(&rank(b)).then_with(|| a.value().cmp(&b.value()))
        }
    }
}

fn tie<'a>(valued: &Valued<'a>) -> (&'a str, &'a str) {
    (&valued.holding.market_hash_name, &valued.holding.item_id)
}
