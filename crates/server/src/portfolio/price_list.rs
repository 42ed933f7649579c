//! Prices by name and Doppler phase.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::money::Cents;
use crate::domain::phase::Phase;

/// The price of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// The amount, in the list's currency.
    pub cents: Cents,
    /// Whether nobody offers the item at this price: a suggestion, or the price of a similar item.
    pub estimated: bool,
    /// The kind of price.
    pub basis: Basis,
}

/// The figure of a market that a price comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The lowest offer.
    LowestOffer,
    /// The median of all offers.
    MedianOffer,
    /// The market's suggestion, used without offers.
    Suggested,
    /// A price from a plain price list.
    Listed,
}

impl Price {
    /// A price from the lowest offer.
    pub fn exact(cents: Cents) -> Self {
        Self { cents, estimated: false, basis: Basis::LowestOffer }
    }
}

/// Prices of all items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceList {
    entries: HashMap<Box<str>, Entry>,
    prices: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Entry {
    plain: Option<Price>,
    phases: Vec<(Phase, Price)>,
    /// The cheapest variant that is more specific than the name.
    cheapest: Option<Price>,
}

impl PriceList {
    /// The price of an item with that name and phase. The first that exists is used: its own price,
    /// the price of the name, the cheapest variant. The price of the name is an estimate for a
    /// phase; the cheapest variant always is one.
    pub fn find(&self, name: &str, phase: Option<Phase>) -> Option<Price> {
        let entry = self.entries.get(name)?;
        let of_phase = phase.and_then(|phase| entry.phases.iter().find(|(it, _)| *it == phase));
        let guess = |price: Price| Price { estimated: true, ..price };
        let of_name = entry.plain.map(|price| if phase.is_some() { guess(price) } else { price });
        of_phase.map(|(_, price)| *price).or(of_name).or_else(|| entry.cheapest.map(guess))
    }

    /// Adds a price; of two for the same item the lower one stays.
    pub fn add(&mut self, name: String, phase: Option<Phase>, price: Price) {
        let entry = self.entries.entry(name.into_boxed_str()).or_default();
        match phase {
            None => {
                self.prices += usize::from(entry.plain.is_none());
                entry.plain = Some(cheaper(entry.plain, price));
            }
            Some(phase) => {
                entry.cheapest = Some(cheaper(entry.cheapest, price));
                match entry.phases.iter_mut().find(|(it, _)| *it == phase) {
                    Some((_, known)) => *known = cheaper(Some(*known), price),
                    None => {
                        self.prices += 1;
                        entry.phases.push((phase, price));
                    }
                }
            }
        }
    }

    /// Adds the price of a variant that is more specific than the name.
    pub fn add_variant(&mut self, name: String, price: Price) {
        let entry = self.entries.entry(name.into_boxed_str()).or_default();
        self.prices += usize::from(entry.cheapest.is_none() && entry.phases.is_empty());
        entry.cheapest = Some(cheaper(entry.cheapest, price));
    }

    /// Adds all prices of another list.
    pub fn merge(&mut self, other: Self) {
        for (name, entry) in other.entries {
            if let Some(price) = entry.plain {
                self.add(name.to_string(), None, price);
            }
            for (phase, price) in entry.phases {
                self.add(name.to_string(), Some(phase), price);
            }
            if let Some(price) = entry.cheapest {
                self.add_variant(name.to_string(), price);
            }
        }
    }

    /// The number of prices.
    pub fn len(&self) -> usize {
        self.prices
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.prices == 0
    }

    /// All prices as rows, for storage.
    pub fn rows(&self) -> impl Iterator<Item = PriceRow<'_>> {
        self.entries.iter().flat_map(|(name, entry)| {
            let row = |phase: Option<&'static str>, price: Price| {
                PriceRow(
                    Cow::Borrowed(&**name),
                    phase.map(Into::into),
                    price.cents.get(),
                    price.estimated,
                    price.basis,
                )
            };
            let cheapest = entry.cheapest.filter(|_| entry.phases.is_empty());
            let phases =
                entry.phases.iter().map(move |(phase, price)| row(Some(phase.as_str()), *price));
            let plain = entry.plain.map(|price| row(None, price));
            plain.into_iter().chain(phases).chain(cheapest.map(|price| row(Some(OTHER), price)))
        })
    }

    /// Restores a list from rows; invalid rows are skipped.
    pub fn from_rows<'a>(rows: impl IntoIterator<Item = PriceRow<'a>>) -> Self {
        let mut list = Self::default();
        for PriceRow(name, phase, cents, estimated, basis) in rows {
            let Some(cents) = Cents::new(cents) else { continue };
            let price = Price { cents, estimated, basis };
            match phase.as_deref() {
                None => list.add(name.into_owned(), None, price),
                Some(text) => match Phase::parse(text) {
                    Some(phase) => list.add(name.into_owned(), Some(phase), price),
                    None => list.add_variant(name.into_owned(), price),
                },
            }
        }
        list
    }
}

/// Marks the row of an unknown variant, in the place of a phase.
const OTHER: &str = "other";

/// Name, phase, cents, whether it is an estimate, basis.
#[derive(Debug, Serialize, Deserialize)]
pub struct PriceRow<'a>(pub Cow<'a, str>, pub Option<Cow<'a, str>>, pub u64, pub bool, pub Basis);

fn cheaper(known: Option<Price>, price: Price) -> Price {
    known.filter(|known| known.cents <= price.cents).unwrap_or(price)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::item::ItemId;
    use crate::portfolio::text::clean;

    fn price(cents: u64) -> Price {
        Price::exact(Cents::new(cents).unwrap())
    }

    #[test]
    fn a_list_survives_its_rows() {
        let mut list = PriceList::default();
        list.add("A".into(), None, price(5));
        list.add("A".into(), None, price(3));
        list.add("A".into(), Some(Phase::Ruby), price(9));
        list.add("A".into(), Some(Phase::One), price(7));
        list.add_variant("B".into(), Price { estimated: true, ..price(4) });
        assert_eq!(list.len(), 4);
        assert_eq!(list.find("A", None), Some(price(3)));
        assert_eq!(list.find("A", Some(Phase::Ruby)), Some(price(9)));
        let guess = Price { estimated: true, ..price(3) };
        assert_eq!(list.find("A", Some(Phase::Two)), Some(guess), "a name's price is no phase's");
        assert_eq!(PriceList::from_rows(list.rows()), list);
    }
    #[test]
    fn a_name_is_exactly_what_steam_calls_it() {
        let (composed, decomposed) = ("Sticker | J\u{fc}r", "Sticker | Ju\u{308}r");
        let mut list = PriceList::default();
        list.add(composed.into(), None, price(5));
        assert_eq!(list.find(decomposed, None), None);
        list.add(decomposed.into(), None, price(7));
        assert_eq!(list.find(composed, None), Some(price(5)));
        assert_eq!(list.find(decomposed, None), Some(price(7)));
        assert_ne!(ItemId::of(composed, None), ItemId::of(decomposed, None));
        assert_eq!(clean(decomposed, 99), decomposed);
    }
}
