//! Computes the value of holdings in whole cents, without a clock or a store.
//!
//! 1. A value is price times quantity. Every total is the exact sum of its values.
//! 2. An item without a price has no value and is counted separately, never as zero. An item that
//!    can never be sold is not counted as missing a price.
//! 3. Sums stay far below 64 bits: prices, amounts and the number of assets are limited when
//!    parsed.

use super::price_list::Price;
use super::stack::{Pieces, Stack};

/// Units of one item, with their price.
#[derive(Clone, Copy, Debug)]
pub struct Valued<'a> {
    /// The item and its assets.
    pub stack: &'a Stack,
    /// The price of one unit.
    pub price: Option<Price>,
    /// The counted units: all of the stack, or the selected ones.
    pub pieces: Pieces,
}

impl Valued<'_> {
    /// Price times quantity, in cents.
    pub fn value(&self) -> Option<u64> {
        self.price.map(|price| price.cents.get() * self.pieces.quantity)
    }
}

/// Sums over holdings. The value excludes unpriced and unsellable items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// The total value, in cents.
    pub value: u64,
    /// The number of units.
    pub items: u64,
    /// The number of units that could be sold but have no price.
    pub unpriced: u64,
    /// The number of units without a price that can never be sold.
    pub unsellable: u64,
    /// The number of units with an estimated price.
    pub estimated: u64,
    /// The number of units that cannot be traded or sold for now.
    pub locked: u64,
}

/// Sums up holdings.
pub fn total<'a, 'h: 'a>(holdings: impl IntoIterator<Item = &'a Valued<'h>>) -> Totals {
    let mut totals = Totals::default();
    for valued in holdings {
        let Pieces { quantity, locked, sellable, .. } = valued.pieces;
        totals.items += quantity;
        totals.locked += locked;
        match valued.price {
            None => {
                totals.unpriced += sellable;
                totals.unsellable += quantity - sellable;
            }
            Some(price) => {
                totals.value += price.cents.get() * quantity;
                totals.estimated += if price.estimated { quantity } else { 0 };
            }
        }
    }
    totals
}
