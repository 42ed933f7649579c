//! Downloads: one row per asset, generated while they are sent.
//!
//! Text is always quoted, and never starts like a spreadsheet formula. Prices are plain decimal
//! numbers of units, beside columns with cents.

use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::try_unfold;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::Portfolio;
use super::price_list::Basis;
use super::prices::Snapshot;
use super::stack::attachments;
use crate::clock::utc;
use crate::domain::item::Attachment;
use crate::domain::phase::Phase;
use crate::store::StoreError;
use crate::store::portfolio::holdings::{self, HeldItem};

/// Number of assets read and sent in one batch.
const BATCH: u32 = 1_000;

/// The form of a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// RFC 4180, UTF-8.
    Csv,
    /// `{"items":[…]}`
    Json,
}

/// One asset in a download.
#[derive(Debug, Serialize)]
struct Row<'a> {
    asset_id: String,
    item_id: &'a str,
    market_hash_name: &'a str,
    phase: Option<&'a str>,
    quantity: i64,
    rarity: &'a str,
    exterior: &'a str,
    quality: &'a str,
    #[serde(rename = "float")]
    wear: Option<&'a str>,
    pattern: Option<i64>,
    paint_index: Option<i64>,
    name_tag: Option<&'a str>,
    tradable: bool,
    marketable: bool,
    locked: bool,
    #[serde(with = "time::serde::rfc3339::option")]
    locked_until: Option<time::OffsetDateTime>,
    stickers: Option<String>,
    charms: Option<String>,
    price: Option<String>,
    price_cents: Option<u64>,
    price_estimated: Option<bool>,
    price_kind: Option<Basis>,
    value: Option<String>,
    value_cents: Option<u64>,
    currency: &'a str,
    price_source: Option<&'a str>,
    #[serde(with = "time::serde::rfc3339::option")]
    priced_at: Option<time::OffsetDateTime>,
}

impl<'a> Row<'a> {
    fn new(item: &'a HeldItem, prices: Option<&'a Snapshot>, currency: &'a str) -> Self {
        let phase = Phase::parse(&item.phase);
        let price = prices.and_then(|prices| prices.list.find(&item.market_hash_name, phase));
        let quantity = item.amount.max(0).cast_unsigned();
        let value = price.map(|price| price.cents.get() * quantity);
        let attached = attachments(item.attachments.as_deref());
        Self {
            asset_id: item.asset_id.to_string(),
            item_id: &item.item_id,
            market_hash_name: &item.market_hash_name,
            phase: phase.map(Phase::as_str),
            quantity: item.amount,
            rarity: &item.rarity,
            exterior: &item.exterior,
            quality: &item.quality,
            wear: item.wear.as_deref(),
            pattern: item.pattern,
            paint_index: item.paint_index,
            name_tag: item.name_tag.as_deref(),
            tradable: item.tradable,
            marketable: item.marketable,
            locked: item.locked,
            locked_until: item.locked_until,
            stickers: names(&attached.stickers),
            charms: names(&attached.charms),
            price: price.map(|price| units(price.cents.get())),
            price_cents: price.map(|price| price.cents.get()),
            price_estimated: price.map(|price| price.estimated),
            price_kind: price.map(|price| price.basis),
            value: value.map(units),
            value_cents: value,
            currency,
            price_source: prices.filter(|_| price.is_some()).map(|prices| &*prices.source),
            priced_at: prices.filter(|_| price.is_some()).map(|prices| utc(prices.fetched_at)),
        }
    }
}

/// Cents as a decimal number, `1234.50`, which spreadsheets can parse.
fn units(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// The names of the attachments, joined; `None` without any.
fn names(attached: &[Attachment]) -> Option<String> {
    let names: Vec<_> = attached.iter().map(|it| &*it.name).collect();
    (!names.is_empty()).then(|| names.join("; "))
}

/// Streams every asset of one of the user's imports. If another import replaces it, the download
/// ends with an error, so that nobody mistakes a part for the whole.
pub fn rows(
    portfolio: Portfolio,
    user: Uuid,
    import: Uuid,
    format: Format,
) -> impl Stream<Item = Result<Bytes, ExportError>> {
    let prices = portfolio.prices().current();
    let next = Next { portfolio, user, import, format, prices, after: -1, done: false };
    try_unfold(next, |mut next| async move {
        if next.done {
            return Ok(None);
        }
        let text = next.batch().await?;
        Ok(Some((Bytes::from(text), next)))
    })
}

/// The download for a user without an import.
pub fn empty(format: Format) -> &'static str {
    match format {
        Format::Csv => HEADER_LINE,
        Format::Json => "{\"items\":[]}\n",
    }
}

/// Why a download ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another import replaced the holdings.
    #[error("the holdings were imported anew during the download")]
    Replaced,
    /// A row could not be serialised.
    #[error("a row could not be written")]
    Row(#[from] serde_json::Error),
}

struct Next {
    portfolio: Portfolio,
    user: Uuid,
    import: Uuid,
    format: Format,
    prices: Option<Arc<Snapshot>>,
    after: i64,
    done: bool,
}

impl Next {
    async fn batch(&mut self) -> Result<String, ExportError> {
        let database = &self.portfolio.0.database;
        let items = holdings::items(database, self.user, self.import, self.after, BATCH).await?;
        let summary = holdings::summary(database, self.user).await?;
        if summary.is_none_or(|summary| summary.import_id != self.import) {
            return Err(ExportError::Replaced);
        }
        let first = self.after < 0;
        let mut text = String::new();
        if first {
            text.push_str(if self.format == Format::Csv { HEADER_LINE } else { "{\"items\":[" });
        }
        let currency = self.portfolio.prices().currency();
        for (at, item) in items.iter().enumerate() {
            let row = Row::new(item, self.prices.as_deref(), currency);
            match self.format {
                Format::Csv => csv_row(&mut text, &row)?,
                Format::Json => {
                    text.push_str(if first && at == 0 { "\n" } else { ",\n" });
                    text.push_str(&serde_json::to_string(&row)?);
                }
            }
        }
        self.after = items.last().map_or(i64::MAX, |item| item.asset_id);
        self.done = items.len() < BATCH as usize;
        if self.done && self.format == Format::Json {
            text.push_str("\n]}\n");
        }
        Ok(text)
    }
}

/// A byte order mark, by which spreadsheets detect UTF-8, and the field names of [`Row`] in order.
const HEADER_LINE: &str = "\
     \u{feff}asset_id,item_id,market_hash_name,phase,quantity,rarity,exterior,quality,\
     float,pattern,paint_index,name_tag,tradable,marketable,locked,locked_until,stickers,\
     charms,price,price_cents,price_estimated,price_kind,value,value_cents,currency,\
     price_source,priced_at\r\n";

/// The columns that hold decimal numbers.
const AMOUNTS: [&str; 2] = ["price", "value"];

fn csv_row(into: &mut String, row: &Row<'_>) -> Result<(), serde_json::Error> {
    let fields = serde_json::to_value(row)?;
    let names = HEADER_LINE.trim_start_matches('\u{feff}').trim_end().split(',');
    for (at, name) in names.enumerate() {
        if at > 0 {
            into.push(',');
        }
        match &fields[name] {
            Value::String(amount) if AMOUNTS.contains(&name) => into.push_str(amount),
            Value::String(text) => cell(into, text),
            Value::Null => {}
            // Writing to a string cannot fail.
            other => drop(write!(into, "{other}")),
        }
    }
    into.push_str("\r\n");
    Ok(())
}

/// Writes a quoted cell that no spreadsheet interprets as a formula.
fn cell(into: &mut String, text: &str) {
    into.push('"');
    if text.trim_start().starts_with(['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠']) {
        into.push('\'');
    }
    into.push_str(&text.replace('"', "\"\""));
    into.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str, name_tag: Option<&str>) -> HeldItem {
        HeldItem {
            asset_id: 46_153_215_277,
            item_id: "abc".to_owned(),
            market_hash_name: name.to_owned(),
            phase: String::new(),
            rarity: "Covert".to_owned(),
            exterior: String::new(),
            quality: "normal".to_owned(),
            amount: 2,
            wear: Some("0.111641205847263336".to_owned()),
            pattern: Some(116),
            paint_index: None,
            name_tag: name_tag.map(str::to_owned),
            tradable: true,
            marketable: false,
            locked: true,
            ..HeldItem::default()
        }
    }

    #[test]
    fn a_row_has_a_cell_for_each_name_in_the_header() {
        let item = item("★ Karambit | Doppler", None);
        let row = Row::new(&item, None, "USD");
        let fields = serde_json::to_value(&row).unwrap();
        let mut header: Vec<_> = HEADER_LINE[3..].trim_end().split(',').collect();
        header.sort_unstable();
        let mut names: Vec<_> = fields.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(header, names);
        let mut text = String::new();
        csv_row(&mut text, &row).unwrap();
        assert_eq!(
            text,
            "\"46153215277\",\"abc\",\"★ Karambit | \
             Doppler\",,2,\"Covert\",\"\",\"normal\",\"0.111641205847263336\",116,,,true,false,\
             true,,,,,,,,,,\"USD\",,\r\n"
        );
    }

    #[test]
    fn no_cell_is_a_formula_or_ends_early() {
        for (text, expected) in [
            ("=cmd|' /C calc'!A0", "\"'=cmd|' /C calc'!A0\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            (" +1", "\"' +1\""),
            ("-1", "\"'-1\""),
            ("＝1", "\"'＝1\""),
            ("a \"b\", c", "\"a \"\"b\"\", c\""),
            ("StatTrak™ ★", "\"StatTrak™ ★\""),
        ] {
            let mut written = String::new();
            cell(&mut written, text);
            assert_eq!(written, expected);
        }
    }
}
