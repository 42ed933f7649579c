//! Parses one row of a feed.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::money::Cents;
use super::super::price_list::{Basis, Price};
use super::super::text::clean;
use crate::domain::phase::Phase;

/// Maximum length of an item's name.
const MAX_NAME_CHARS: usize = 200;
/// CSFloat lists prices only in this currency.
const CSFLOAT_CURRENCY: &str = "USD";
/// CSFloat lists absurd prices for items that only one or two people offer.
const MIN_OFFERS: u64 = 3;

/// The price in one row.
#[derive(Debug, PartialEq, Eq)]
pub struct Offer {
    /// The market name.
    pub name: String,
    /// The variant of the item that the price is for.
    pub variant: Variant,
    /// The price.
    pub price: Price,
}

/// The variant of an item that a row describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// The item itself.
    Plain,
    /// A Doppler phase of it.
    Phase(Phase),
    /// A variant that is more specific than the name.
    Other,
}

/// Why a row is skipped.
#[derive(Debug, PartialEq, Eq)]
pub enum Skipped {
    /// The row is malformed or has no price.
    Useless,
    /// The row has another currency.
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
    /// The row's currency. Rows in CSFloat's format name none and are in US dollars.
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
    /// Parses a row of an array.
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

    /// Parses an entry of `{name: price}`.
    pub(super) fn from_entry(name: &str, price: &RawValue) -> Result<Self, Skipped> {
        let cents = number(Some(price), Cents::parse_units).ok_or(Skipped::Useless)?;
        Self::new(name, Variant::Plain, Price { basis: Basis::Listed, ..Price::exact(cents) })
    }

    fn new(name: &str, variant: Variant, price: Price) -> Result<Self, Skipped> {
        // Inventories clean names in the same way, so that equal names stay equal.
        let name = clean(name, MAX_NAME_CHARS);
        // Some feeds write zero for an unknown price.
        if name.is_empty() || price.cents.get() == 0 {
            return Err(Skipped::Useless);
        }
        Ok(Self { name, variant, price })
    }
}

/// Parses a number, or a string that contains one.
fn number(value: Option<&RawValue>, parse: fn(&str) -> Option<Cents>) -> Option<Cents> {
    let text = value?.get();
    parse(text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text))
}
