//! What the page shows of holdings and values, as text.

use std::collections::{BTreeSet, HashMap};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use time::{Duration, OffsetDateTime};

use super::icons;
use crate::portfolio::pictures::Pictures;
use crate::portfolio::valuation::Valued;
use crate::store::portfolio::holdings::HeldItem;
use crate::store::portfolio::snapshots::Snapshot;

/// The periods a change is shown over.
const PERIODS: [(&str, Duration); 3] =
    [("24 hours", Duration::DAY), ("7 days", Duration::days(7)), ("30 days", Duration::days(30))];

/// How much older than its period the value may be that a change is against: values are noted once
/// a day.
const TOLERANCE: Duration = Duration::hours(36);

/// How the value changed over a period.
pub(super) struct Change {
    pub(super) period: &'static str,
    /// With its sign; `None` when nothing is known of then.
    pub(super) amount: Option<String>,
    pub(super) percent: Option<String>,
    /// `up`, `down` or `same`.
    pub(super) direction: &'static str,
}

/// The changes up to now, from the last value noted before each period and not long before. `total`
/// is `None` without prices; `history` has the oldest first.
pub(super) fn changes(
    total: Option<u64>,
    history: &[Snapshot],
    now: OffsetDateTime,
    currency: &str,
) -> Vec<Change> {
    let change = |(period, length)| {
        let begin = now - length;
        let then = history.iter().rev().find(|snapshot| snapshot.taken_at <= begin);
        let then = then.filter(|snapshot| snapshot.taken_at >= begin - TOLERANCE);
        let (Some(total), Some(then)) = (total, then.map(|snapshot| snapshot.total_cents)) else {
            return Change { period, amount: None, percent: None, direction: "same" };
        };
        let difference = total.cast_signed() - then;
        let (sign, direction) = match difference {
            0 => ("±", "same"),
            1.. => ("+", "up"),
            _ => ("−", "down"),
        };
        let tenths = (then > 0).then(|| tenths(difference.unsigned_abs(), then.unsigned_abs()));
        Change {
            period,
            amount: Some(format!("{sign}{}", money(difference.unsigned_abs(), currency))),
            percent: tenths.map(|tenths| format!("{sign}{}", percent(tenths))),
            direction,
        }
    };
    PERIODS.into_iter().map(change).collect()
}

/// The tenths of a percent that a part is of the whole, rounded half up.
fn tenths(part: u64, whole: u64) -> u128 {
    let (part, whole) = (u128::from(part), u128::from(whole));
    (part * 1000 + whole / 2) / whole
}

fn percent(tenths: u128) -> String {
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// A part of the whole in percent; what is too small for that is not nothing.
fn share(part: u64, whole: u64) -> String {
    match tenths(part, whole) {
        0 if part > 0 => "< 0.1 %".to_owned(),
        tenths => percent(tenths),
    }
}

/// What all rows are shown with.
pub(super) struct Shown<'a> {
    /// The portfolio's value in cents.
    pub(super) total: u64,
    pub(super) currency: &'a str,
    pub(super) pictures: &'a Pictures,
    /// Float values by holding.
    pub(super) wears: &'a HashMap<String, Vec<String>>,
}

/// `0.1116` of one value, `0.0712 – 0.1116` of several.
fn wear_range(wears: &[String]) -> String {
    let values = wears.iter().filter_map(|wear| wear.parse::<f64>().ok());
    let (low, high) =
        values.fold((f64::MAX, f64::MIN), |(low, high), wear| (low.min(wear), high.max(wear)));
    match (format!("{low:.4}"), format!("{high:.4}")) {
        _ if low > high => String::new(),
        (low, high) if low == high => low,
        (low, high) => format!("{low} – {high}"),
    }
}

/// One row of the table.
pub(super) struct HoldingView {
    pub(super) item_id: String,
    /// The address of its picture.
    pub(super) picture: Option<String>,
    /// What stands there without one.
    pub(super) icon: &'static str,
    pub(super) name: String,
    /// The float value of a single item, the least and the greatest of several.
    pub(super) wear: String,
    pub(super) kind: String,
    pub(super) rarity: String,
    /// Six hexadecimal digits.
    pub(super) color: String,
    pub(super) exterior: String,
    pub(super) phase: String,
    pub(super) quantity: u64,
    pub(super) locked: i64,
    pub(super) price: Option<String>,
    pub(super) is_estimated: bool,
    pub(super) value: Option<String>,
    pub(super) share: Option<String>,
}

impl HoldingView {
    pub(super) fn new(valued: &Valued<'_>, shown: &Shown<'_>) -> Self {
        let Shown { total, currency, .. } = *shown;
        let holding = &valued.holding;
        let color = Some(&holding.rarity_color).filter(|color| is_hex(color));
        Self {
            picture: shown.pictures.address(&holding.icon),
            icon: icons::of(&holding.kind),
            wear: shown
                .wears
                .get(&*holding.item_id)
                .map_or_else(String::new, |wears| wear_range(wears)),
            item_id: holding.item_id.clone(),
            name: match &*holding.market_hash_name {
                "" => "An item Steam does not describe".to_owned(),
                name => name.to_owned(),
            },
            kind: holding.kind.clone(),
            rarity: holding.rarity.clone(),
            color: color.cloned().unwrap_or_else(|| "8a9691".to_owned()),
            exterior: holding.exterior.clone(),
            phase: holding.phase.clone(),
            quantity: valued.quantity(),
            locked: holding.locked,
            price: valued.price.map(|price| money(price.cents.get(), currency)),
            is_estimated: valued.price.is_some_and(|price| price.estimated),
            value: valued.value().map(|value| money(value, currency)),
            share: valued.value().filter(|_| total > 0).map(|value| share(value, total)),
        }
    }
}

fn is_hex(color: &str) -> bool {
    color.len() == 6 && color.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// The page of Steam's market for a name.
pub(super) fn market_page(market_hash_name: &str) -> Option<String> {
    let name = utf8_percent_encode(market_hash_name, NON_ALPHANUMERIC);
    (!market_hash_name.is_empty())
        .then(|| format!("https://steamcommunity.com/market/listings/730/{name}"))
}

/// A single asset of the holding that is looked at, or all that have nothing of their own.
pub(super) struct ItemView {
    /// Its float value and its name, its pattern if it has neither.
    pub(super) what: String,
    /// The pattern, unless that is what it is.
    pub(super) pattern: Option<String>,
    pub(super) is_locked: bool,
    /// How many, if that has to be said.
    pub(super) times: Option<i64>,
}

impl ItemView {
    /// The assets one by one; those without float, pattern and name in a line together, and so is
    /// what is left of the `quantity`, for very many are not read.
    pub(super) fn each(items: &[HeldItem], quantity: u64) -> Vec<Self> {
        let (plain, own): (Vec<_>, Vec<_>) = items.iter().partition(|item| is_plain(item));
        let plain = [false, true].map(|is_locked| {
            let amounts =
                plain.iter().filter(|item| item.locked == is_locked).map(|item| item.amount);
            Self::several(amounts.sum(), "without float", is_locked)
        });
        let read: i64 = items.iter().map(|item| item.amount).sum();
        let left = if items.is_empty() { 0 } else { quantity.cast_signed() - read };
        let more = Self::several(left, "more", false);
        own.into_iter().map(Self::new).chain(plain.into_iter().flatten()).chain(more).collect()
    }

    fn several(count: i64, what: &str, is_locked: bool) -> Option<Self> {
        let what = format!("{count} {what}");
        (count > 0).then_some(Self { what, pattern: None, is_locked, times: None })
    }

    fn new(item: &HeldItem) -> Self {
        let wear = item.wear.as_ref().map(|wear| format!("Float {wear}"));
        let name = item.name_tag.as_ref().map(|name| format!("“{name}”"));
        let what: Vec<_> = wear.into_iter().chain(name).collect();
        let pattern = item.pattern.map(|pattern| format!("Pattern {pattern}"));
        let (what, pattern) = match (what.is_empty(), pattern) {
            (true, pattern) => (pattern.unwrap_or_default(), None),
            (false, pattern) => (what.join(" · "), pattern),
        };
        let times = Some(item.amount).filter(|amount| *amount > 1);
        Self { what, pattern, is_locked: item.locked, times }
    }
}

fn is_plain(item: &HeldItem) -> bool {
    item.wear.is_none() && item.pattern.is_none() && item.name_tag.is_none()
}

/// The values there are, without the empty one, by their rank and then by name.
pub(super) fn distinct<'a>(
    values: impl Iterator<Item = &'a str>,
    rank: impl Fn(&str) -> usize,
) -> Vec<String> {
    let values = values.filter(|value| !value.is_empty()).map(|value| (rank(value), value));
    let values: BTreeSet<_> = values.collect();
    values.into_iter().map(|(_, value)| value.to_owned()).collect()
}

/// Cents as money is written: `$1,234.50`; `1,234.50 CHF` where there is no common sign.
pub(super) fn money(cents: u64, currency: &str) -> String {
    with_currency(&format!("{}.{:02}", grouped(cents / 100), cents % 100), currency)
}

/// The same of whole units: `$0`.
pub(super) fn whole_money(units: u64, currency: &str) -> String {
    with_currency(&grouped(units), currency)
}

/// `1,234`
fn grouped(units: u64) -> String {
    let digits = units.to_string();
    let mut units = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            units.push(',');
        }
        units.push(digit);
    }
    units
}

fn with_currency(amount: &str, currency: &str) -> String {
    match currency {
        "USD" => format!("${amount}"),
        "EUR" => format!("€{amount}"),
        "GBP" => format!("£{amount}"),
        other => format!("{amount} {other}"),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::portfolio::ranking;

    #[test]
    fn money_reads_as_it_is_written() {
        for (cents, currency, text) in [
            (0, "USD", "$0.00"),
            (5, "EUR", "€0.05"),
            (123_450, "USD", "$1,234.50"),
            (100_000_000, "GBP", "£1,000,000.00"),
            (99_999, "CHF", "999.99 CHF"),
        ] {
            assert_eq!(money(cents, currency), text);
        }
        assert_eq!(
            (whole_money(0, "USD"), whole_money(1_000, "CHF")),
            ("$0".into(), "1,000 CHF".into())
        );
    }

    #[test]
    fn float_values_are_short_and_several_are_a_range() {
        let range =
            |wears: &[&str]| wear_range(&wears.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(range(&["0.111641205847263336"]), "0.1116");
        assert_eq!(range(&["0.5", "0.07123", "5e-05"]), "0.0001 – 0.5000");
        assert_eq!(range(&["0.5", "0.50001"]), "0.5000");
        assert_eq!((range(&[]), range(&["1-2"])), (String::new(), String::new()));
    }

    #[test]
    fn the_market_is_asked_for_the_exact_name() {
        for (name, page) in [
            ("AK-47 | Redline (Field-Tested)", "AK%2D47%20%7C%20Redline%20%28Field%2DTested%29"),
            ("★ Karambit", "%E2%98%85%20Karambit"),
            ("Sticker | 50% / 100?#", "Sticker%20%7C%2050%25%20%2F%20100%3F%23"),
        ] {
            let page = format!("https://steamcommunity.com/market/listings/730/{page}");
            assert_eq!(market_page(name), Some(page));
        }
        assert_eq!(market_page(""), None);
    }

    #[test]
    fn what_has_nothing_of_its_own_is_one_line() {
        let item =
            |wear: Option<&str>, pattern, name_tag: Option<&str>, amount, locked: bool| HeldItem {
                asset_id: 1,
                item_id: String::new(),
                market_hash_name: String::new(),
                phase: String::new(),
                rarity: String::new(),
                exterior: String::new(),
                quality: String::new(),
                amount,
                wear: wear.map(ToOwned::to_owned),
                pattern,
                paint_index: None,
                name_tag: name_tag.map(ToOwned::to_owned),
                tradable: !locked,
                marketable: !locked,
                locked,
            };
        let items = [
            item(None, None, None, 1, false),
            item(Some("0.25"), Some(661), Some("blue"), 1, false),
            item(None, None, None, 1, true),
            item(None, Some(7), None, 1, false),
            item(None, None, None, 22, false),
            item(Some("0.5"), None, None, 2, true),
        ];
        let each = ItemView::each(&items, 30);
        let lines: Vec<_> = each
            .iter()
            .map(|it| (&*it.what, it.pattern.as_deref(), it.is_locked, it.times))
            .collect();
        assert_eq!(
            lines,
            [
                ("Float 0.25 · “blue”", Some("Pattern 661"), false, None),
                ("Pattern 7", None, false, None),
                ("Float 0.5", None, true, Some(2)),
                ("23 without float", None, false, None),
                ("1 without float", None, true, None),
                ("2 more", None, false, None),
            ]
        );
        assert!(ItemView::each(&[], 30).is_empty(), "none is looked at");
    }

    #[test]
    fn choices_stand_in_the_order_of_the_game() {
        let exteriors =
            ["Well-Worn", "", "Battle-Scarred", "Factory New", "Well-Worn", "Field-Tested"];
        assert_eq!(
            distinct(exteriors.into_iter(), ranking::wear),
            ["Factory New", "Field-Tested", "Well-Worn", "Battle-Scarred"]
        );
        let rarities =
            ["Covert", "Restricted", "Base Grade", "Contraband", "Exotic", "Classified", "New"];
        assert_eq!(
            distinct(rarities.into_iter(), ranking::rarity),
            ["New", "Base Grade", "Restricted", "Classified", "Exotic", "Covert", "Contraband"]
        );
    }

    #[test]
    fn percentages_are_rounded() {
        for (part, whole, text) in [
            (1, 3, "33.3 %"),
            (2, 3, "66.7 %"),
            (125, 100_000, "0.1 %"),
            (15, 10_000, "0.2 %"),
            (9_999, 10_000, "100.0 %"),
            (5, 10_000, "0.1 %"),
            (4, 10_000, "< 0.1 %"),
            (0, 10_000, "0.0 %"),
            (u64::MAX, u64::MAX, "100.0 %"),
        ] {
            assert_eq!(share(part, whole), text, "{part} of {whole}");
        }
    }

    #[test]
    fn a_change_is_against_the_last_value_before_its_period() {
        let now = datetime!(2026-11-23 12:00 UTC);
        let snapshot = |taken_at, total_cents| Snapshot {
            taken_at,
            day: None,
            total_cents,
            currency: "USD".into(),
            items: 1,
            unpriced_items: 0,
            price_source: String::new(),
        };
        let history = [
            snapshot(datetime!(2026-11-15 00:00 UTC), 20_000),
            snapshot(datetime!(2026-11-22 11:00 UTC), 8_000),
            snapshot(datetime!(2026-11-23 11:00 UTC), 1),
        ];
        let [day, week, month] = &changes(Some(10_000), &history, now, "USD")[..] else { panic!() };
        assert_eq!(
            (day.amount.as_deref(), day.percent.as_deref(), day.direction),
            (Some("+$20.00"), Some("+25.0 %"), "up")
        );
        assert_eq!(
            (week.amount.as_deref(), week.percent.as_deref()),
            (Some("−$100.00"), Some("−50.0 %"))
        );
        assert_eq!((month.amount.as_deref(), month.percent.as_deref()), (None, None));
        let later = changes(Some(10_000), &history, now + Duration::minutes(1), "USD");
        assert_eq!(later[1].amount, None, "that was longer ago than a week and a half day");
        let later = changes(Some(10_000), &history, now + Duration::days(40), "USD");
        assert!(later.iter().all(|change| change.amount.is_none()), "a visit after a long time");
        let rounded = changes(Some(8_013), &history, now, "USD");
        assert_eq!(rounded[0].percent.as_deref(), Some("+0.2 %"));
        let unknown = changes(None, &history, now, "USD");
        assert!(unknown.iter().all(|change| change.amount.is_none() && change.direction == "same"));
    }
}
