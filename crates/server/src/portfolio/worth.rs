//! A valued portfolio: holdings, current prices, and changes.

use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::changes::Changes;
use super::order::{Sort, compare};
use super::price_list::Price;
use super::prices::Snapshot;
use super::stack::Held;
use super::stack::Stack;
use super::valuation::{Totals, Valued, total};
use crate::store::portfolio::holdings::Summary;

/// How long a valued portfolio stays valid: the value of a day ago changes with time.
const LASTS: Duration = Duration::minutes(1);

/// A user's holdings and their value.
#[derive(Debug)]
pub struct Worth {
    /// The published import; `None` before the first.
    pub summary: Option<Summary>,
    /// The prices used.
    pub prices: Option<Arc<Snapshot>>,
    /// The totals over all holdings.
    pub totals: Totals,
    /// The changes of the value.
    pub changes: Changes,
    stacks: Arc<[Stack]>,
    /// The price of each stack.
    found: Vec<Option<Price>>,
    /// The indices of the stacks, by descending value.
    order: Vec<u32>,
    /// A digest of the content above.
    version: [u8; 16],
    put_together_at: OffsetDateTime,
}

impl<'a> Valued<'a> {
    /// All units of a stack, with their price.
    pub fn of(stack: &'a Stack, prices: &super::price_list::PriceList) -> Self {
        let phase = crate::domain::phase::Phase::parse(&stack.holding.phase);
        let price = prices.find(&stack.holding.market_hash_name, phase);
        Self { stack, price, pieces: stack.pieces }
    }
}

impl Worth {
    pub(super) fn new(
        user: Uuid,
        held: Option<&Held>,
        prices: Option<Arc<Snapshot>>,
        changes: Changes,
        now: OffsetDateTime,
    ) -> Self {
        let summary = held.map(|held| held.summary);
        let stacks: Arc<[Stack]> = held.map_or_else(Arc::default, |held| Arc::clone(&held.stacks));
        let list = prices.as_deref().map(|prices| &prices.list);
        let valued: Vec<_> = stacks
            .iter()
            .map(|stack| match list {
                Some(list) => Valued::of(stack, list),
                None => Valued { stack, price: None, pieces: stack.pieces },
            })
            .collect();
        let totals = total(&valued);
        let mut order: Vec<_> = (0..u32::try_from(valued.len()).unwrap_or(u32::MAX)).collect();
        order
            .sort_by(|a, b| compare(Sort::Value, None, &valued[*a as usize], &valued[*b as usize]));
        let found = valued.iter().map(|valued| valued.price).collect();
        let version = digest(&[
            env!("CARGO_PKG_VERSION").as_bytes(),
            user.as_bytes(),
            summary.map(|it| it.import_id).unwrap_or_default().as_bytes(),
            &prices.as_ref().map_or(0, |it| it.fetched_at.as_millis()).to_be_bytes(),
            &json(&changes),
        ]);
        let put_together_at = now;
        Self { summary, prices, totals, changes, stacks, found, order, version, put_together_at }
    }

    /// Whether this is still valid with these prices at this time.
    pub(super) fn is_current(&self, prices: Option<&Arc<Snapshot>>, now: OffsetDateTime) -> bool {
        let same = match (&self.prices, prices) {
            (Some(own), Some(current)) => Arc::ptr_eq(own, current),
            (own, current) => own.is_none() && current.is_none(),
        };
        same && (self.put_together_at..self.put_together_at + LASTS).contains(&now)
    }

    /// The holdings, unordered.
    pub fn stacks(&self) -> &[Stack] {
        &self.stacks
    }

    /// The number of different items.
    pub fn len(&self) -> usize {
        self.stacks.len()
    }

    /// Whether there are no holdings.
    pub fn is_empty(&self) -> bool {
        self.stacks.is_empty()
    }

    /// All holdings with their prices, by descending value.
    pub fn by_value(&self) -> impl Iterator<Item = Valued<'_>> {
        self.order.iter().map(|at| {
            let stack = &self.stacks[*at as usize];
            Valued { stack, price: self.found[*at as usize], pieces: stack.pieces }
        })
    }

    /// A digest of the part selected by a query; it changes with the content.
    pub fn version(&self, query: &impl Serialize) -> [u8; 16] {
        digest(&[&self.version, &json(query)])
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("numbers and texts have a JSON form")
}

fn digest(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    let mut short = [0; 16];
    short.copy_from_slice(&hash.finalize()[..16]);
    short
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::price_list::PriceList;
    use super::super::selection::Selection;
    use super::super::valuation::total;
    use super::*;
    use crate::portfolio::money::Cents;
    use crate::store::portfolio::Source;
    use crate::store::portfolio::holdings::{Asset, Holding};
    use time::macros::datetime;
    use tracera_session::Timestamp;

    const NOW: OffsetDateTime = datetime!(2026-05-01 12:00 UTC);

    fn stack(name: &str, flags: &[u8]) -> Stack {
        let holding = Holding {
            item_id: name.to_owned(),
            market_hash_name: name.to_owned(),
            ..Holding::default()
        };
        let assets = flags.iter().zip(1..).map(|(flags, asset_id)| Asset {
            asset_id,
            amount: i64::from(flags >> 4) + 1,
            tradable: flags & 1 > 0,
            marketable: flags & 2 > 0,
            locked: flags & 4 > 0,
            ..Asset::default()
        });
        Stack::new(holding, assets.collect())
    }

    fn worth(stacks: Vec<Stack>, prices: &[(&str, u64, bool)]) -> Worth {
        let mut list = PriceList::default();
        for (name, cents, estimated) in prices {
            let price = Price::exact(Cents::new(*cents).unwrap());
            list.add((*name).to_owned(), None, Price { estimated: *estimated, ..price });
        }
        let held = Held {
            summary: Summary {
                import_id: Uuid::nil(),
                imported_at: NOW,
                reported_items: None,
                source: Source::Steam,
            },
            stacks: stacks.into(),
        };
        let prices = Snapshot {
            source: "x".into(),
            currency: "USD".into(),
            fetched_at: Timestamp::from_millis(1),
            list,
        };
        Worth::new(Uuid::nil(), Some(&held), Some(Arc::new(prices)), Changes::default(), NOW)
    }

    #[test]
    fn what_has_no_price_or_can_never_be_sold_is_counted_apart() {
        let held = vec![stack("A", &[1, 1, 4]), stack("B", &[0, 1]), stack("C", &[3])];
        let worth = worth(held, &[("A", 250, false), ("C", 1, true)]);
        let expected =
            Totals { value: 751, items: 6, unpriced: 1, unsellable: 1, estimated: 1, locked: 1 };
        assert_eq!(worth.totals, expected);
        let names: Vec<_> = worth.by_value().map(|it| &*it.stack.holding.item_id).collect();
        assert_eq!(names, ["A", "C", "B"]);
    }

    #[test]
    fn a_filter_counts_the_pieces_that_fit() {
        let held = vec![stack("A", &[1, 3, 4, 4]), stack("B", &[1])];
        let worth = worth(held, &[("A", 100, false), ("B", 7, false)]);
        let locked = Selection { locked: Some(true), ..Selection::default() };
        let chosen = locked.choose(&worth);
        assert_eq!((chosen.len(), total(&chosen).value, total(&chosen).items), (1, 200, 2));
        let free = Selection { locked: Some(false), ..Selection::default() };
        assert_eq!(total(&free.choose(&worth)).value, 207);
    }

    proptest! {
        #[test]
        fn the_parts_of_every_filter_are_the_whole(
            rows in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..6),
                0_u64..1_000_000, any::<bool>()), 0..20)
        ) {
            let names: Vec<_> = (0..rows.len()).map(|at| at.to_string()).collect();
            let stacks = names.iter().zip(&rows).map(|(name, row)| stack(name, &row.0)).collect();
            let prices = names.iter().zip(&rows).filter(|(_, row)| row.1 > 0);
            let prices: Vec<_> = prices.map(|(name, row)| (&**name, row.1, row.2)).collect();
            let worth = worth(stacks, &prices);
            let all = worth.totals;
            prop_assert_eq!(all.items, all.unpriced + all.unsellable
                + worth.by_value().filter(|it| it.price.is_some()).map(|it| it.pieces.quantity)
                    .sum::<u64>());
            let filter = |set: fn(&mut Selection, bool), value: bool| {
                let mut selection = Selection::default();
                set(&mut selection, value);
                let chosen = selection.choose(&worth);
                assert_eq!(total(&chosen).value,
                    chosen.iter().filter_map(Valued::value).sum::<u64>());
                total(&chosen)
            };
            let filters: [fn(&mut Selection, bool); 4] = [
                |it, value| it.locked = Some(value),
                |it, value| it.tradable = Some(value),
                |it, value| it.marketable = Some(value),
                |it, value| it.sellable = Some(value),
            ];
            for set in filters {
                let (yes, no) = (filter(set, true), filter(set, false));
                prop_assert_eq!((yes.value + no.value, yes.items + no.items), (all.value,
                    all.items));
            }
            prop_assert_eq!(filter(|it, value| it.priced = Some(value), false).items, all.unpriced);
            prop_assert_eq!(filter(|it, value| it.priced = Some(value), true).value, all.value);
        }
    }
}
