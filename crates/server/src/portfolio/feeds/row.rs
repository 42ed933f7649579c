//! One row of a feed.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::money::Cents;
use super::super::price_list::{Basis, Price};
use super::super::text::clean;
use crate::domain::phase::Phase;

/// Names longer than this are no item's.
const MAX_NAME_CHARS: usize = 200;
/// CSFloat knows no other.
const CSFLOAT_CURRENCY: &str = "USD";
/// CSFloat lists absurd prices for what one or two people offer.
const MIN_OFFERS: u64 = 3;

/// What one row offers.
#[derive(Debug, PartialEq, Eq)]
pub struct Offer {
    /// The market name.
    pub name: String,
    /// Which of several prices of that name.
    pub variant: Variant,
    /// The price.
    pub price: Price,
}

/// Which of several prices of a name a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// The name's own price.
    Plain,
    /// That of a Doppler phase.
    Phase(Phase),
    /// Something more special than the name says.
    Other,
}

/// Why a row offers nothing.
#[derive(Debug, PartialEq, Eq)]
pub enum Skipped {
    /// It makes no sense, or has no price.
    Useless,
    /// It is in another currency.
    OtherCurrency,
}

#[derive(Deserialize)]
struct RawRow<'a> {
    #[serde(borrow)]
    market_hash_name: Cow<'a, str>,
    #[serde(borrow, default, alias = "phase_name")]
    version: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    currency: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    quantity: Option<&'a RawValue>,
    #[serde(borrow, default)]
    min_price: Option<&'a RawValue>,
    #[serde(borrow, default)]
    median_price: Option<&'a RawValue>,
    #[serde(borrow, default)]
    suggested_price: Option<&'a RawValue>,
    #[serde(borrow, default)]
    price: Option<&'a RawValue>,
}

impl RawRow<'_> {
    /// The currency it names, or that of the only feed whose rows look like this.
    fn currency(&self) -> Option<&str> {
        let is_csfloat = self.price.is_none() && self.min_price.is_some();
        self.currency.as_deref().or(is_csfloat.then_some(CSFLOAT_CURRENCY))
    }

    fn price(&self) -> Option<Price> {
        let of = |basis| move |cents| Price { basis, ..Price::exact(cents) };
        if self.currency.is_some() {
            let least = number(self.min_price, Cents::parse_units).map(of(Basis::LowestOffer));
            let median =
                || number(self.median_price, Cents::parse_units).map(of(Basis::MedianOffer));
            let suggested = || {
                let price = number(self.suggested_price, Cents::parse_units)?;
                Some(Price { estimated: true, ..of(Basis::Suggested)(price) })
            };
            return least.or_else(median).or_else(suggested);
        }
        if self.price.is_some() {
            return number(self.price, Cents::parse_units).map(of(Basis::LowestOffer));
        }
        let offers = match self.quantity {
            Some(quantity) => quantity.get().parse::<u64>().ok()?,
            None => MIN_OFFERS,
        };
        let least = number(self.min_price, Cents::parse_cents).filter(|_| offers >= MIN_OFFERS);
        least.map(of(Basis::LowestOffer))
    }
}

impl Offer {
    /// Reads a row of an array.
    pub(super) fn from_row(row: &RawValue, currency: &str) -> Result<Self, Skipped> {
        let row: RawRow<'_> = serde_json::from_str(row.get()).map_err(|_| Skipped::Useless)?;
        if row.currency().is_some_and(|it| !it.eq_ignore_ascii_case(currency)) {
            return Err(Skipped::OtherCurrency);
        }
        let variant = match row.version.as_deref() {
            None | Some("" | "default") => Variant::Plain,
            Some(text) => Phase::parse(text).map_or(Variant::Other, Variant::Phase),
        };
        let price = row.price().ok_or(Skipped::Useless)?;
        Self::new(&row.market_hash_name, variant, price)
    }

    /// Reads an entry of `{name: price}`.
    pub(super) fn from_entry(name: &str, price: &RawValue) -> Result<Self, Skipped> {
        let cents = number(Some(price), Cents::parse_units).ok_or(Skipped::Useless)?;
        Self::new(name, Variant::Plain, Price { basis: Basis::Listed, ..Price::exact(cents) })
    }

    fn new(name: &str, variant: Variant, price: Price) -> Result<Self, Skipped> {
        // The same cleaning as in inventories, so that equal names stay equal.
        let name = clean(name, MAX_NAME_CHARS);
        // Free is what feeds write when they do not know.
        if name.is_empty() || price.cents.get() == 0 {
            return Err(Skipped::Useless);
        }
        Ok(Self { name, variant, price })
    }
}

/// The text of a number, or of a string that holds one.
fn number(value: Option<&RawValue>, parse: fn(&str) -> Option<Cents>) -> Option<Cents> {
    let text = value?.get();
    parse(text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text))
}
