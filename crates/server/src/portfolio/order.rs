//! Sort orders of holdings.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::ranking;
use super::valuation::Valued;

/// A sort key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// Price times quantity.
    Value,
    /// The price of one unit.
    Price,
    /// The number of units.
    Quantity,
    /// The market name.
    Name,
    /// The game's ranking of rarities.
    Rarity,
}

impl Sort {
    /// Parses the name used in queries.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "value" => Self::Value,
            "price" => Self::Price,
            "quantity" => Self::Quantity,
            "name" => Self::Name,
            "rarity" => Self::Rarity,
            _ => return None,
        })
    }
}

/// The direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The lowest first.
    Asc,
    /// The highest first.
    Desc,
}

impl Order {
    /// Parses the name used in queries.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "asc" => Self::Asc,
            "desc" => Self::Desc,
            _ => return None,
        })
    }
}

/// Compares two holdings; equal ones are ordered by name.
pub(super) fn compare(
    sort: Sort,
    order: Option<Order>,
    a: &Valued<'_>,
    b: &Valued<'_>,
) -> Ordering {
    let ordering = match sort {
        Sort::Value => a.value().cmp(&b.value()),
        Sort::Price => a.price.map(|it| it.cents).cmp(&b.price.map(|it| it.cents)),
        Sort::Quantity => a.pieces.quantity.cmp(&b.pieces.quantity),
        Sort::Name => a.stack.holding.market_hash_name.cmp(&b.stack.holding.market_hash_name),
        Sort::Rarity => {
            let rank = |valued: &Valued<'_>| ranking::rarity(&valued.stack.holding.rarity);
            rank(a).cmp(&rank(b)).then_with(|| a.value().cmp(&b.value()))
        }
    };
    let ascending = order.map_or(sort == Sort::Name, |order| order == Order::Asc);
    let ordering = if ascending { ordering } else { ordering.reverse() };
    // Items without a price come last in both directions.
    let unpriced =
        |it: &Valued<'_>| matches!(sort, Sort::Value | Sort::Price) && it.price.is_none();
    unpriced(a).cmp(&unpriced(b)).then(ordering).then_with(|| tie(a).cmp(&tie(b)))
}

fn tie<'a>(valued: &Valued<'a>) -> (&'a str, &'a str) {
    (&valued.stack.holding.market_hash_name, &valued.stack.holding.item_id)
}
