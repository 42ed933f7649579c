//! Parses the document around the rows, as a stream.

use std::borrow::Cow;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::FeedError;
use super::row::{Offer, Skipped, Variant};
use crate::portfolio::price_list::PriceList;

/// Limit on rows: several times the number of items.
const MAX_ROWS: usize = 500_000;

/// The result so far.
pub(super) struct Found<'c> {
    currency: &'c str,
    pub(super) list: PriceList,
    pub(super) skipped: usize,
    pub(super) failure: Option<FeedError>,
    rows: usize,
}

impl<'c> Found<'c> {
    pub(super) fn new(currency: &'c str) -> Self {
        Self { currency, list: PriceList::default(), skipped: 0, failure: None, rows: 0 }
    }

    fn take<E: Error>(&mut self, offer: Result<Offer, Skipped>) -> Result<(), E> {
        self.rows += 1;
        match offer {
            _ if self.rows > MAX_ROWS => {
                return Err(self.fail(FeedError::Io("too many rows".into())));
            }
            Err(Skipped::OtherCurrency) => return Err(self.fail(FeedError::Currency)),
            Err(Skipped::Useless) => self.skipped += 1,
            Ok(Offer { name, variant, price }) => match variant {
                Variant::Plain => self.list.add(name, None, price),
                Variant::Phase(phase) => self.list.add(name, Some(phase), price),
                Variant::Other => self.list.add_variant(name, price),
            },
        }
        Ok(())
    }

    /// Stores the failure; the returned error only stops the parser.
    fn fail<E: Error>(&mut self, failure: FeedError) -> E {
        self.failure = Some(failure);
        E::custom("stopped")
    }
}

/// Visits a whole feed.
pub(super) struct Feed<'f, 'c>(pub(super) &'f mut Found<'c>);

impl<'de> Visitor<'de> for Feed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a price feed")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while let Some(row) = rows.next_element::<Box<RawValue>>()? {
            self.0.take(Offer::from_row(&row, self.0.currency))?;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let Self(found) = self;
        while let Some(key) = entries.next_key::<Cow<'_, str>>()? {
            match &*key {
                "items" | "data" => entries.next_value_seed(Rows(found))?,
                "errors" => return Err(found.fail(FeedError::Reported)),
                "currency" => {
                    let currency = entries.next_value::<Box<RawValue>>()?;
                    if !currency.get().trim_matches('"').eq_ignore_ascii_case(found.currency) {
                        return Err(found.fail(FeedError::Currency));
                    }
                }
                "success" => {
                    if entries.next_value::<Box<RawValue>>()?.get() != "true" {
                        return Err(found.fail(FeedError::Reported));
                    }
                }
                "time" => drop(entries.next_value::<Box<RawValue>>()?),
                name => {
                    let price = entries.next_value::<Box<RawValue>>()?;
                    found.take(Offer::from_entry(name, &price))?;
                }
            }
        }
        Ok(())
    }
}

/// Visits the array of rows inside an object.
struct Rows<'f, 'c>(&'f mut Found<'c>);

impl<'de> DeserializeSeed<'de> for Rows<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(Feed(self.0))
    }
}
