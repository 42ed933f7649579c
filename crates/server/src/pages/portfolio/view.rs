//! Formats holdings and values for the page.

use std::collections::BTreeSet;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use time::{Month, OffsetDateTime};

use super::icons;
use super::money::{money, percent, share, signed, tenths};
use crate::domain::item::Attachment;
use crate::portfolio::changes::{Changes, Period};
use crate::portfolio::pictures::Pictures;
use crate::portfolio::price_list::{Basis, PriceList};
use crate::portfolio::selection::Selection;
use crate::portfolio::stack::attachments;
use crate::portfolio::valuation::Valued;
use crate::portfolio::worth::Worth;
use crate::store::portfolio::holdings::Asset;

/// The change of the value over a period.
pub(super) struct Change {
    pub(super) period: &'static str,
    /// The part caused by prices, with its sign; `None` without an earlier value.
    pub(super) amount: Option<String>,
    pub(super) percent: Option<String>,
    /// `up`, `down` or `same`.
    pub(super) direction: &'static str,
    /// The value of added units, if there are any.
    pub(super) added: Option<String>,
    /// The value of removed units, if there are any.
    pub(super) removed: Option<String>,
}

/// The changes up to now.
pub(super) fn changes(changes: &Changes, currency: &str) -> Vec<Change> {
    let change = |period: Period| {
        let name = match period {
            Period::Day => "24 hours",
            Period::Week => "7 days",
            Period::Month => "30 days",
        };
        let Some(change) = changes.over(period) else {
            return Change {
                period: name,
                amount: None,
                percent: None,
                direction: "same",
                added: None,
                removed: None,
            };
        };
        let (sign, direction) = match change.prices {
            0 => ("±", "same"),
            1.. => ("+", "up"),
            _ => ("−", "down"),
        };
        let part = change.prices.unsigned_abs();
        let tenths = (change.then > 0).then(|| tenths(part, change.then.unsigned_abs()));
        let some = |cents: i64| (cents != 0).then(|| signed(cents, currency));
        Change {
            period: name,
            amount: Some(signed(change.prices, currency)),
            percent: tenths.map(|tenths| format!("{sign}{}", percent(tenths))),
            direction,
            added: some(change.added),
            removed: some(change.removed),
        }
    };
    Period::ALL.into_iter().map(change).collect()
}

/// Describes the kind of prices in the portfolio.
pub(super) fn basis(worth: &Worth) -> Option<&'static str> {
    let bases: Vec<_> = worth.by_value().filter_map(|it| it.price).map(|it| it.basis).collect();
    let has = |basis| bases.contains(&basis);
    Some(match (has(Basis::LowestOffer), has(Basis::MedianOffer) || has(Basis::Suggested)) {
        _ if has(Basis::Listed) => "as listed",
        (true, false) => "lowest offer",
        (true, true) => "lowest offer, else the median or the suggested price",
        (false, true) => "median or suggested price",
        (false, false) => return None,
    })
}

/// The data that all rows need.
pub(super) struct Shown<'a> {
    /// The portfolio's value in cents.
    pub(super) total: u64,
    pub(super) currency: &'a str,
    pub(super) pictures: &'a Pictures,
    pub(super) prices: Option<&'a PriceList>,
    pub(super) selection: &'a Selection,
}

/// `0.1116` for one value, `0.0712 – 0.1116` for several.
fn wear_range<'a>(wears: impl Iterator<Item = &'a str>) -> String {
    let values = wears.filter_map(|wear| wear.parse::<f64>().ok());
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
    /// The URL of the item's image.
    pub(super) picture: Option<String>,
    /// The icon shown without an image.
    pub(super) icon: &'static str,
    pub(super) name: String,
    /// The float value of a single item, or the range of several.
    pub(super) wear: String,
    pub(super) kind: String,
    pub(super) rarity: String,
    /// Six hexadecimal digits.
    pub(super) color: String,
    pub(super) exterior: String,
    pub(super) phase: String,
    pub(super) quantity: u64,
    pub(super) locked: u64,
    /// A summary of the attachments: `2 stickers, 1 charm`.
    pub(super) attached: String,
    pub(super) price: Option<String>,
    pub(super) is_estimated: bool,
    /// The text shown instead of a price.
    pub(super) unpriced: &'static str,
    pub(super) value: Option<String>,
    pub(super) share: Option<String>,
}

impl HoldingView {
    pub(super) fn new(valued: &Valued<'_>, shown: &Shown<'_>) -> Self {
        let Shown { total, currency, .. } = *shown;
        let holding = &valued.stack.holding;
        let color = Some(&holding.rarity_color).filter(|color| is_hex(color));
        let fitting = |asset: &&Asset| shown.selection.fits_asset(valued.stack, asset);
        let assets = || valued.stack.assets.iter().filter(fitting);
        Self {
            picture: shown.pictures.address(&holding.icon),
            icon: icons::of(&holding.kind),
            wear: wear_range(assets().filter_map(|asset| asset.wear.as_deref())),
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
            quantity: valued.pieces.quantity,
            locked: valued.pieces.locked,
            attached: attached(assets()),
            price: valued.price.map(|price| money(price.cents.get(), currency)),
            is_estimated: valued.price.is_some_and(|price| price.estimated),
            unpriced: if valued.pieces.sellable > 0 { "no price" } else { "never sellable" },
            value: valued.value().map(|value| money(value, currency)),
            share: valued.value().filter(|_| total > 0).map(|value| share(value, total)),
        }
    }
}

fn attached<'a>(assets: impl Iterator<Item = &'a Asset>) -> String {
    let (mut stickers, mut charms) = (0, 0);
    for json in assets.filter_map(|asset| asset.attachments.as_deref()) {
        let all = attachments(Some(json));
        stickers += all.stickers.len();
        charms += all.charms.len();
    }
    let some = |count: usize, what: &str| {
        (count > 0).then(|| format!("{count} {what}{}", if count == 1 { "" } else { "s" }))
    };
    let parts = [some(stickers, "sticker"), some(charms, "charm")];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn is_hex(color: &str) -> bool {
    color.len() == 6 && color.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// The URL of a market name's page on Steam's market.
pub(super) fn market_page(market_hash_name: &str) -> Option<String> {
    let name = utf8_percent_encode(market_hash_name, NON_ALPHANUMERIC);
    (!market_hash_name.is_empty())
        .then(|| format!("https://steamcommunity.com/market/listings/730/{name}"))
}

/// An asset of the shown holding, or all assets without properties of their own.
#[derive(Default)]
pub(super) struct ItemView {
    /// The float value and the name tag; the pattern if it has neither.
    pub(super) what: String,
    /// The pattern, unless `what` is the pattern.
    pub(super) pattern: Option<String>,
    pub(super) is_locked: bool,
    /// The day that a lock ends, if Steam says so.
    pub(super) locked_until: Option<String>,
    /// The number of units, if it is not one.
    pub(super) times: Option<i64>,
    /// The attachments.
    pub(super) attached: Vec<AttachedView>,
    pub(super) inspect_link: Option<String>,
}

/// A sticker, patch or charm.
pub(super) struct AttachedView {
    pub(super) name: String,
    /// The URL of the image, if it is on the host that this page allows.
    pub(super) picture: Option<String>,
    pub(super) price: Option<String>,
}

impl AttachedView {
    fn new(attachment: Attachment, shown: &Shown<'_>) -> Self {
        let price = shown.prices.and_then(|prices| prices.find(&attachment.name, None));
        Self {
            price: price.map(|price| money(price.cents.get(), shown.currency)),
            picture: attachment.image.filter(|image| shown.pictures.has(image)),
            name: attachment.name,
        }
    }
}

impl ItemView {
    /// The assets one by one, with those without properties of their own in one line.
    pub(super) fn each<'a>(
        assets: impl IntoIterator<Item = &'a Asset>,
        shown: &Shown<'_>,
    ) -> Vec<Self> {
        let (plain, own): (Vec<_>, Vec<_>) = assets.into_iter().partition(|asset| is_plain(asset));
        let plain = [false, true].map(|is_locked| {
            let amounts = plain.iter().filter(|asset| asset.locked == is_locked);
            let count: i64 = amounts.map(|asset| asset.amount).sum();
            let what = format!("{count} without float");
            (count > 0).then(|| Self { what, is_locked, ..Self::default() })
        });
        let own = own.into_iter().map(|asset| Self::new(asset, shown));
        own.chain(plain.into_iter().flatten()).collect()
    }

    fn new(asset: &Asset, shown: &Shown<'_>) -> Self {
        let wear = asset.wear.as_ref().map(|wear| format!("Float {wear}"));
        let name = asset.name_tag.as_ref().map(|name| format!("“{name}”"));
        let what: Vec<_> = wear.into_iter().chain(name).collect();
        let pattern = asset.pattern.map(|pattern| format!("Pattern {pattern}"));
        let (what, pattern) = match (what.is_empty(), pattern) {
            (true, pattern) => (pattern.unwrap_or_else(|| "Without float".to_owned()), None),
            (false, pattern) => (what.join(" · "), pattern),
        };
        let all = attachments(asset.attachments.as_deref());
        let attached = all.stickers.into_iter().chain(all.charms);
        Self {
            what,
            pattern,
            is_locked: asset.locked,
            locked_until: asset.locked_until.map(day),
            times: Some(asset.amount).filter(|amount| *amount > 1),
            attached: attached.map(|attachment| AttachedView::new(attachment, shown)).collect(),
            inspect_link: asset.inspect_link.clone(),
        }
    }
}

fn is_plain(asset: &Asset) -> bool {
    let Asset { wear, pattern, name_tag, attachments, locked_until, .. } = asset;
    wear.is_none()
        && pattern.is_none()
        && name_tag.is_none()
        && attachments.is_none()
        && locked_until.is_none()
}

/// Formats a day: `3 December`.
fn day(at: OffsetDateTime) -> String {
    let month = match at.month() {
        Month::January => "January",
        Month::February => "February",
        Month::March => "March",
        Month::April => "April",
        Month::May => "May",
        Month::June => "June",
        Month::July => "July",
        Month::August => "August",
        Month::September => "September",
        Month::October => "October",
        Month::November => "November",
        Month::December => "December",
    };
    format!("{} {month}", at.day())
}

/// The distinct non-empty values, ordered by rank and then by name.
pub(super) fn distinct<'a>(
    values: impl Iterator<Item = &'a str>,
    rank: impl Fn(&str) -> usize,
) -> Vec<String> {
    let values = values.filter(|value| !value.is_empty()).map(|value| (rank(value), value));
    let values: BTreeSet<_> = values.collect();
    values.into_iter().map(|(_, value)| value.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::config::ServiceUrl;
    use crate::portfolio::changes;
    use crate::portfolio::ranking;

    fn shown(pictures: &Pictures) -> Shown<'_> {
        static ALL: std::sync::LazyLock<Selection> = std::sync::LazyLock::new(Selection::default);
        Shown { total: 0, currency: "USD", pictures, prices: None, selection: &ALL }
    }

    #[test]
    fn a_change_is_said_by_prices_with_what_came_and_went_apart() {
        let change = changes::Change { prices: 2_000, added: 350, removed: -14, then: 8_000 };
        let all = Changes { day: Some(change), ..Changes::default() };
        let [day, week, _] = &super::changes(&all, "USD")[..] else { panic!() };
        let texts = [&day.amount, &day.percent, &day.added, &day.removed];
        assert_eq!(
            texts.map(Option::as_deref),
            [Some("+$20.00"), Some("+25.0 %"), Some("+$3.50"), Some("−$0.14")]
        );
        assert_eq!((day.direction, week.direction, &week.amount), ("up", "same", &None));
        let same = changes::Change { prices: 0, added: 9_466_617, removed: 0, then: 1 };
        let same = &super::changes(&Changes { week: Some(same), ..all }, "USD")[1];
        assert_eq!((same.amount.as_deref(), same.direction), (Some("±$0.00"), "same"));
    }

    #[test]
    fn a_day_is_said_without_its_year() {
        assert_eq!(day(datetime!(2026-12-03 08:00 UTC)), "3 December");
    }

    #[test]
    fn float_values_are_short_and_several_are_a_range() {
        let range = |wears: &[&str]| wear_range(wears.iter().copied());
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
            |wear: Option<&str>, pattern, name_tag: Option<&str>, amount, locked: bool| Asset {
                amount,
                wear: wear.map(ToOwned::to_owned),
                pattern,
                name_tag: name_tag.map(ToOwned::to_owned),
                tradable: !locked,
                marketable: !locked,
                locked,
                ..Asset::default()
            };
        let pictures = Pictures::new(ServiceUrl::loopback("http://localhost:9"));
        let items = [
            item(None, None, None, 1, false),
            item(Some("0.25"), Some(661), Some("blue"), 1, false),
            item(None, None, None, 1, true),
            item(None, Some(7), None, 1, false),
            item(None, None, None, 22, false),
            item(Some("0.5"), None, None, 2, true),
        ];
        let each = ItemView::each(&items, &shown(&pictures));
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
            ]
        );
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
}
