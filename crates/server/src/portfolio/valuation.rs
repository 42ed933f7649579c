//! What holdings are worth: whole cents, no clock, no store.
//!
//! 1. Every total is the sum of the values it is made of; a value is price times quantity.
//! 2. An item without a price has no value and is counted apart, never taken for worthless. An item
//!    that can never be sold is not counted as lacking a price.
//! 3. Sums stay far inside 64 bits: prices, amounts and the number of assets are bounded where they
//!    are read.

use super::price_list::Price;
use super::stack::{Pieces, Stack};

/// Pieces of one name with their price.
#[derive(Clone, Copy, Debug)]
pub struct Valued<'a> {
    /// What they are.
    pub stack: &'a Stack,
    /// What one costs.
    pub price: Option<Price>,
    /// Those that count here: all of the stack, or what a selection leaves of it.
    pub pieces: Pieces,
}

impl Valued<'_> {
    /// Price times quantity, in cents.
    pub fn value(&self) -> Option<u64> {
        self.price.map(|price| price.cents.get() * self.pieces.quantity)
    }
}

/// Sums over holdings. The value is that of all items but the unpriced and the unsellable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// The priced items together, in cents.
    pub value: u64,
    /// How many items.
    pub items: u64,
    /// How many of them could be sold and have no price.
    pub unpriced: u64,
    /// How many of them can never be sold and have no price.
    pub unsellable: u64,
    /// How many of them have only an estimated price.
    pub estimated: u64,
    /// How many of them cannot be traded or sold for now.
    pub locked: u64,
}

/// Adds holdings up.
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
