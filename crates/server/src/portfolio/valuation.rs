//! What holdings are worth: whole cents, no clock, no store.
//!
//! 1. Every total is the sum of the values it is made of; a value is price times quantity.
//! 2. An item without a price has no value and is counted apart, never taken for worthless.
//! 3. Sums stay far inside 64 bits: prices, amounts and the number of assets are bounded where they
//!    are read.

use super::price_list::{Price, PriceList};
use crate::domain::phase::Phase;
use crate::store::portfolio::holdings::Holding;

/// A holding with its price.
#[derive(Clone, Copy, Debug)]
pub struct Valued<'a> {
    /// What is held.
    pub holding: &'a Holding,
    /// What one costs.
    pub price: Option<Price>,
}

impl Valued<'_> {
    /// Price times quantity, in cents.
    pub fn value(&self) -> Option<u64> {
        self.price.map(|price| price.cents.get() * self.quantity())
    }

    /// How many.
    pub fn quantity(&self) -> u64 {
        self.holding.quantity.max(0).cast_unsigned()
    }
}

/// Sums over holdings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// The priced items together, in cents.
    pub value: u64,
    /// How many items.
    pub items: u64,
    /// How many of them have no price.
    pub unpriced: u64,
    /// How many of them have only an estimated price.
    pub estimated: u64,
    /// How many of them cannot be traded or sold for now.
    pub locked: u64,
}

/// Puts prices on holdings.
pub fn value<'a>(holdings: &'a [Holding], prices: Option<&PriceList>) -> Vec<Valued<'a>> {
    let price =
        |holding: &Holding| prices?.find(&holding.market_hash_name, Phase::parse(&holding.phase));
    holdings.iter().map(|holding| Valued { price: price(holding), holding }).collect()
}

/// Adds holdings up.
pub fn total(holdings: &[Valued<'_>]) -> Totals {
    let mut totals = Totals::default();
    for valued in holdings {
        let quantity = valued.quantity();
        totals.items += quantity;
        totals.locked += valued.holding.locked.max(0).cast_unsigned();
        match valued.price {
            None => totals.unpriced += quantity,
            Some(price) => {
                totals.value += price.cents.get() * quantity;
                totals.estimated += if price.estimated { quantity } else { 0 };
            }
        }
    }
    totals
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::item::ItemId;
    use crate::portfolio::money::Cents;

    fn holding(name: &str, quantity: i64) -> Holding {
        Holding {
            item_id: ItemId::of(name, None).as_str().to_owned(),
            market_hash_name: name.to_owned(),
            phase: String::new(),
            kind: String::new(),
            rarity: String::new(),
            rarity_color: String::new(),
            exterior: String::new(),
            quality: "normal".to_owned(),
            icon: String::new(),
            quantity,
            locked: quantity / 2,
            tradable: quantity,
            marketable: quantity,
        }
    }

    #[test]
    fn what_has_no_price_is_counted_apart() {
        let mut list = PriceList::default();
        list.add("A".into(), None, Price { cents: Cents::new(250).unwrap(), estimated: false });
        list.add("C".into(), None, Price { cents: Cents::new(1).unwrap(), estimated: true });
        let held = [holding("A", 3), holding("B", 2), holding("C", 4)];
        let valued = value(&held, Some(&list));
        let expected = Totals { value: 754, items: 9, unpriced: 2, estimated: 4, locked: 4 };
        assert_eq!(total(&valued), expected);
        assert_eq!(valued[1].value(), None);
        let without = value(&held[..1], None);
        assert_eq!(
            total(&without),
            Totals { items: 3, unpriced: 3, locked: 1, ..Totals::default() }
        );
    }

    proptest! {
        #[test]
        fn totals_add_up(rows in prop::collection::vec((0_u64..1_000_000, 0_i64..10_000, any::<bool>()), 0..50)) {
            let mut list = PriceList::default();
            for (at, (cents, _, priced)) in rows.iter().enumerate() {
                if *priced {
                    list.add(at.to_string(), None, Price { cents: Cents::new(*cents).unwrap(), estimated: false });
                }
            }
            let holdings = rows.iter().enumerate().map(|(at, (_, quantity, _))| holding(&at.to_string(), *quantity));
            let holdings: Vec<_> = holdings.collect();
            let valued = value(&holdings, Some(&list));
            let totals = total(&valued);
            prop_assert_eq!(totals.value, valued.iter().filter_map(Valued::value).sum::<u64>());
            let priced: u64 = valued.iter().filter(|it| it.price.is_some()).map(Valued::quantity).sum();
            prop_assert_eq!(totals.items, priced + totals.unpriced);
        }
    }
}
