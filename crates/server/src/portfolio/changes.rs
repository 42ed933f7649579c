//! Changes in the value of a portfolio: by prices, by additions, by removals.
//!
//! 1. `prices` is the earlier holdings at today's prices, minus their value then.
//! 2. `added` and `removed` are the added and removed units of each item, at today's prices;
//!    `removed` is never positive.
//! 3. The sum of the three is the difference of the two totals.
//! 4. An item without a price counts as zero, both then and today.

use std::collections::HashMap;

use serde::Serialize;
use time::Duration;

use super::price_list::PriceList;
use super::stack::Stack;
use crate::domain::phase::Phase;
use crate::store::portfolio::former::Amount;

/// A period over which changes are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// 24 hours.
    Day,
    /// Seven days.
    Week,
    /// Thirty days.
    Month,
}

impl Period {
    /// All periods, the shortest first.
    pub const ALL: [Self; 3] = [Self::Day, Self::Week, Self::Month];
    /// Maximum age of the earlier value, beyond the period. Values are recorded once a day.
    pub const TOLERANCE: Duration = Duration::hours(36);

    /// The length of the period.
    pub fn length(self) -> Duration {
        match self {
            Self::Day => Duration::DAY,
            Self::Week => Duration::days(7),
            Self::Month => Duration::days(30),
        }
    }
}

/// The change over one period, in cents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The part caused by prices.
    pub prices: i64,
    /// The part caused by added units.
    pub added: i64,
    /// The part caused by removed units; never positive.
    pub removed: i64,
    /// The earlier value.
    #[serde(skip)]
    pub then: i64,
}

/// The changes up to now; `None` where no value is old enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// Over 24 hours.
    #[serde(rename = "24h")]
    pub day: Option<Change>,
    /// Over seven days.
    #[serde(rename = "7d")]
    pub week: Option<Change>,
    /// Over thirty days.
    #[serde(rename = "30d")]
    pub month: Option<Change>,
}

impl Changes {
    /// The change over that period.
    pub fn over(&self, period: Period) -> Option<Change> {
        match period {
            Period::Day => self.day,
            Period::Week => self.week,
            Period::Month => self.month,
        }
    }

    /// Sets the change over a period.
    pub(super) fn set(&mut self, period: Period, change: Option<Change>) {
        match period {
            Period::Day => self.day = change,
            Period::Week => self.week = change,
            Period::Month => self.month = change,
        }
    }
}

impl Change {
    /// The change since these amounts were worth `then`.
    pub fn since(then: i64, held: &[Amount], now: &[Stack], prices: &PriceList) -> Self {
        let mut before: HashMap<(&str, &str), i64> = HashMap::with_capacity(held.len());
        for Amount { market_hash_name, phase, quantity } in held {
            *before.entry((market_hash_name, phase)).or_default() += quantity;
        }
        let cents = |name: &str, phase: &str| {
            let price = prices.find(name, Phase::parse(phase));
            price.map_or(0, |price| price.cents.get().cast_signed())
        };
        let mut change = Self { prices: -then, added: 0, removed: 0, then };
        for stack in now {
            let (name, phase) = (&*stack.holding.market_hash_name, &*stack.holding.phase);
            let before = before.remove(&(name, phase)).unwrap_or_default();
            let price = cents(name, phase);
            let came = stack.pieces.quantity.cast_signed() - before;
            change.prices += before * price;
            change.added += came.max(0) * price;
            change.removed += came.min(0) * price;
        }
        for ((name, phase), gone) in before {
            let value = gone * cents(name, phase);
            change.prices += value;
            change.removed -= value;
        }
        change
    }

    /// The sum of the three parts.
    pub fn total(&self) -> i64 {
        self.prices + self.added + self.removed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::portfolio::money::Cents;
    use crate::portfolio::price_list::Price;
    use crate::portfolio::valuation::{Valued, total};
    use crate::store::portfolio::holdings::{Asset, Holding};

    fn stack(name: &str, quantity: i64) -> Stack {
        let holding = Holding { market_hash_name: name.to_owned(), ..Holding::default() };
        Stack::new(holding, vec![Asset { amount: quantity, tradable: true, ..Asset::default() }])
    }

    fn amount(name: &str, quantity: i64) -> Amount {
        Amount { market_hash_name: name.to_owned(), phase: String::new(), quantity }
    }

    fn list(prices: &[(&str, u64)]) -> PriceList {
        let mut list = PriceList::default();
        for (name, cents) in prices {
            list.add((*name).to_owned(), None, Price::exact(Cents::new(*cents).unwrap()));
        }
        list
    }

    #[test]
    fn what_is_added_is_no_rise_of_prices() {
        let prices = list(&[("A", 100), ("B", 50), ("C", 7)]);
        let held = [amount("A", 10), amount("C", 2)];
        let now = [stack("A", 12), stack("B", 3)];
        let change = Change::since(1_014, &held, &now, &prices);
        assert_eq!(change, Change { prices: 0, added: 350, removed: -14, then: 1_014 });
        let dearer = Change::since(900, &held, &now, &prices);
        assert_eq!(dearer.prices, 114);
    }

    proptest! {
        #[test]
        fn the_three_parts_are_the_difference_of_the_totals(
            rows in prop::collection::vec((0_u64..100_000, 0_u64..100_000, 0_i64..100, 0_i64..100),
                0..30)
        ) {
            let names: Vec<_> = (0..rows.len()).map(|at| at.to_string()).collect();
            let cents = |which: fn(&(u64, u64, i64, i64)) -> u64| {
                let rows = names.iter().zip(&rows).filter(|(_, row)| which(row) > 0);
                list(&rows.map(|(name, row)| (&**name, which(row))).collect::<Vec<_>>())
            };
            let (before, today) = (cents(|row| row.0), cents(|row| row.1));
            let held: Vec<_> = names.iter().zip(&rows).map(|(name, row)| amount(name,
                row.2)).collect();
            let now = names.iter().zip(&rows).filter(|(_, row)| row.3 > 0);
            let now: Vec<_> = now.map(|(name, row)| stack(name, row.3)).collect();
            let worth = |stacks: &[Stack], prices: &PriceList| {
                let valued = |stack| Valued::of(stack, prices);
                total(&stacks.iter().map(valued).collect::<Vec<_>>()).value.cast_signed()
            };
            let then: Vec<_> = held.iter().map(|it| stack(&it.market_hash_name,
                it.quantity)).collect();
            let then = worth(&then, &before);
            let change = Change::since(then, &held, &now, &today);
            prop_assert_eq!(change.total(), worth(&now, &today) - then);
            prop_assert!(change.added >= 0 && change.removed <= 0);
        }
    }
}
