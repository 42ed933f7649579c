//! Filters, sorts and pages holdings.
//!
//! A selection applies to single units: it keeps the matching ones of each holding, and all sums
//! are over those.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::order::{Order, Sort, compare};
use super::search::{Found, Left, Search};
use super::stack::{Pieces, Stack};
use super::valuation::Valued;
use super::worth::Worth;
use crate::store::portfolio::holdings::Asset;

const MAX_PER_PAGE: usize = 1000;
const DEFAULT_PER_PAGE: usize = 100;
/// Limits the cost: each search word is looked up in each holding.
const MAX_SEARCH: usize = 100;

/// The filters and the order. Without any field set, it is everything on one page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// The sort key. Default: the total value.
    pub sort: Option<Sort>,
    /// The direction. Default: names ascend, all else descends.
    pub order: Option<Order>,
    /// Search words.
    pub q: Option<String>,
    /// A rarity, by Steam's name.
    pub rarity: Option<String>,
    /// An exterior, by Steam's name.
    pub exterior: Option<String>,
    /// A [`Quality`](crate::domain::item::Quality).
    pub quality: Option<String>,
    /// An [`ItemType`](crate::domain::item_type::ItemType).
    #[serde(rename = "type")]
    pub item_type: Option<String>,
    /// Whether items count kills: the qualities `stattrak` and `unusual_stattrak`.
    pub stattrak: Option<bool>,
    /// Whether items have a price. Items that cannot be sold do not match `false`.
    pub priced: Option<bool>,
    /// Whether items can be sold, now or later.
    pub sellable: Option<bool>,
    /// Whether items cannot be traded or sold for now.
    pub locked: Option<bool>,
    /// Whether items can be traded now.
    pub tradable: Option<bool>,
    /// Whether items can be sold on Steam's market now.
    pub marketable: Option<bool>,
    /// One holding, with its assets.
    pub item_id: Option<String>,
    /// The page, starting at one; a number beyond the last page means the last.
    pub page: Option<usize>,
    /// The number of holdings per page.
    pub per_page: Option<usize>,
}

/// The page number, the page size or the search is out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("page counts from 1, per_page is a number from 1 to 1000, q has 100 characters at most")]
pub struct OutOfBounds;

impl Selection {
    /// Returns the selection if its page, page size and search are within bounds.
    ///
    /// # Errors
    /// [`OutOfBounds`].
    pub fn checked(self) -> Result<Self, OutOfBounds> {
        let fine = self.page.is_none_or(|page| (1..=1_000_000).contains(&page))
            && self.per_page.is_none_or(|per_page| (1..=MAX_PER_PAGE).contains(&per_page))
            && self.q.as_ref().is_none_or(|q| q.chars().count() <= MAX_SEARCH);
        if fine { Ok(self) } else { Err(OutOfBounds) }
    }

    /// The selected holdings, in order.
    pub fn choose<'a>(&self, worth: &'a Worth) -> Vec<Valued<'a>> {
        let search = self.q.as_deref().map(Search::new);
        let chosen = worth.by_value().filter_map(|valued| {
            if !self.fits_stack(&valued) {
                return None;
            }
            match &search {
                None => Some((Found::AtBeginnings, self.pieces(valued, None)?)),
                Some(search) => {
                    let (found, left) = search.find(valued.stack)?;
                    Some((found, self.pieces(valued, Some(&left))?))
                }
            }
        });
        let mut chosen: Vec<_> = chosen.collect();
        let is_sorted = self.sort.is_none() && self.order.is_none() && !self.is_of_pieces();
        if !is_sorted || search.is_some() {
            chosen.sort_by(|(a_found, a), (b_found, b)| {
                let found =
                    if self.sort.is_none() { a_found.cmp(b_found) } else { Ordering::Equal };
                found.then_with(|| compare(self.sort.unwrap_or(Sort::Value), self.order, a, b))
            });
        }
        chosen.into_iter().map(|(_, valued)| valued).collect()
    }

    /// Whether the holding matches the filters on its name and description.
    fn fits_stack(&self, valued: &Valued<'_>) -> bool {
        let Stack { holding, item_type, .. } = valued.stack;
        let is = |wanted: &Option<String>, value: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(value))
        };
        is(&self.rarity, &holding.rarity)
            && is(&self.exterior, &holding.exterior)
            && is(&self.quality, &holding.quality)
            && is(&self.item_type, item_type.as_str())
            && is(&self.item_id, &holding.item_id)
            && self.stattrak.is_none_or(|stattrak| stattrak == valued.stack.is_stattrak())
            && self.priced.is_none_or(|priced| priced == valued.price.is_some())
    }

    /// Whether the selection can match only some units of a holding.
    fn is_of_pieces(&self) -> bool {
        let Self { locked, tradable, marketable, .. } = self;
        let any = [locked, tradable, marketable, &self.sellable];
        any.into_iter().any(Option::is_some) || self.priced == Some(false)
    }

    /// The selected units of a holding; `None` if there are none.
    fn pieces<'a>(&self, valued: Valued<'a>, left: Option<&Left<'_>>) -> Option<Valued<'a>> {
        if !self.is_of_pieces() && left.is_none_or(Left::is_none) {
            return Some(valued);
        }
        let Stack { holding, assets, .. } = valued.stack;
        let fitting = assets.iter().filter(|asset| {
            self.fits_asset(valued.stack, asset) && left.is_none_or(|left| left.is_in(asset))
        });
        let pieces = Pieces::of(holding, fitting);
        (pieces.quantity > 0).then_some(Valued { pieces, ..valued })
    }

    /// Whether an asset of a matching stack matches too, apart from the search.
    pub fn fits_asset(&self, stack: &Stack, asset: &Asset) -> bool {
        let is = |wanted: Option<bool>, value: bool| wanted.is_none_or(|wanted| wanted == value);
        let is_sellable = stack.is_sellable(asset);
        is(self.locked, asset.locked)
            && is(self.tradable, asset.tradable)
            && is(self.marketable, asset.marketable)
            && is(self.sellable, is_sellable)
            && (self.priced != Some(false) || is_sellable)
    }

    /// The requested page, starting at one.
    pub fn page(&self) -> usize {
        self.page.unwrap_or(1)
    }

    fn per_page(&self) -> Option<usize> {
        self.per_page.or(self.page.map(|_| DEFAULT_PER_PAGE))
    }

    /// The number of pages that `holdings` fill; an empty portfolio fills one.
    pub fn pages(&self, holdings: usize) -> usize {
        self.per_page().map_or(1, |per_page| holdings.div_ceil(per_page)).max(1)
    }

    /// The holdings on that page.
    pub fn on_page<'a, 'h>(&self, page: usize, chosen: &'a [Valued<'h>]) -> &'a [Valued<'h>] {
        match self.per_page() {
            None => chosen,
            Some(per_page) => chosen.chunks(per_page).nth(page - 1).unwrap_or_default(),
        }
    }
}
