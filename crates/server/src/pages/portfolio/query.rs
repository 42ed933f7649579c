//! The URL's query: the selection that the page shows, and links to other selections.

use std::collections::BTreeMap;

use time::Duration;
use url::form_urlencoded;

use crate::portfolio::order::{Order, Sort};
use crate::portfolio::selection::Selection;
use crate::store::portfolio::snapshots::DAYS_KEPT;

/// The known parameters.
const SELECTORS: [&str; 11] = [
    "q", "type", "rarity", "exterior", "only", "priced", "sort", "order", "page", "item_id",
    "range",
];

/// The part of the page that shows the selection.
pub(super) const AT_ITEMS: &str = "#items-title";

/// The sort keys in the form besides the total, with their labels.
pub(super) const SORTS: [(&str, &str); 4] =
    [("price", "Unit price"), ("quantity", "Quantity"), ("name", "Name"), ("rarity", "Rarity")];

/// The kinds that the form can filter by, with their labels.
pub(super) const KINDS: [(&str, &str); 5] = [
    ("tradable", "Tradable"),
    ("locked", "Locked"),
    ("stattrak", "StatTrak™"),
    ("souvenir", "Souvenir"),
    ("unsellable", "Never sellable"),
];

/// The ranges of the chart: name, label, length.
pub(super) const RANGES: [(&str, &str, Duration); 4] = [
    ("7", "7 days", Duration::days(7)),
    ("30", "30 days", Duration::days(30)),
    ("90", "90 days", Duration::days(90)),
    ("all", "All", DAYS_KEPT),
];

/// The query without empty parameters: forms send all their fields.
pub(super) struct PageQuery(BTreeMap<String, String>);

impl PageQuery {
    pub(super) fn parse(query: &str) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes()).into_owned();
        Self(pairs.filter(|(_, value)| !value.trim().is_empty()).collect())
    }

    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    pub(super) fn is(&self, name: &str, value: &str) -> bool {
        self.get(name) == value
    }

    /// Whether a filter of the form is set, apart from the search words.
    pub(super) fn is_filtered(&self) -> bool {
        ["type", "rarity", "exterior", "only", "priced", "sort"]
            .into_iter()
            .any(|name| !self.get(name).is_empty())
    }

    /// The URL with one parameter changed, scrolled to the items. It starts at the first page
    /// unless `page` is the parameter.
    pub(super) fn with(&self, name: &str, value: &str) -> String {
        let kept = self.0.iter().filter(|(key, _)| {
            SELECTORS.contains(&key.as_str()) && *key != name && *key != "page" && *key != "item_id"
        });
        address(kept, name, value) + AT_ITEMS
    }

    /// The URL with another range of the chart, and everything else unchanged.
    pub(super) fn ranged(&self, range: &str) -> String {
        let kept =
            self.0.iter().filter(|(key, _)| SELECTORS.contains(&key.as_str()) && *key != "range");
        address(kept, "range", range) + "#history-title"
    }

    /// The range of the chart; by default thirty days.
    pub(super) fn range(&self) -> (&'static str, Duration) {
        let wanted = RANGES.iter().find(|(name, ..)| self.is("range", name));
        let (name, _, length) = wanted.unwrap_or(&RANGES[1]);
        (name, *length)
    }

    /// The URL that sorts by a column, reversed if it is the current one. The default order `first`
    /// is omitted, so that it does not affect a later choice.
    pub(super) fn sorted(&self, column: &str, first: &str) -> String {
        let other = if first == "asc" { "desc" } else { "asc" };
        let order =
            if self.is_sorted_by(column) && self.order(first) == first { other } else { "" };
        let mut sorted = Self(self.0.clone());
        sorted.0.insert("sort".to_owned(), column.to_owned());
        sorted.with("order", order)
    }

    /// The value of `aria-sort`.
    pub(super) fn sort_state(&self, column: &str, first: &str) -> &'static str {
        match (self.is_sorted_by(column), self.order(first)) {
            (false, _) => "none",
            (true, "asc") => "ascending",
            (true, _) => "descending",
        }
    }

    fn is_sorted_by(&self, column: &str) -> bool {
        self.is("sort", column) || (column == "value" && self.get("sort").is_empty())
    }

    fn order<'a>(&'a self, first: &'a str) -> &'a str {
        if self.get("order").is_empty() { first } else { self.get("order") }
    }

    /// The selection; unknown values are ignored.
    pub(super) fn selection(&self) -> Selection {
        let text = |name: &str| Some(self.get(name).to_owned()).filter(|text| !text.is_empty());
        let only = |kind: &str| self.is("only", kind).then_some(true);
        let selection = Selection {
            sort: Sort::parse(self.get("sort")),
            order: Order::parse(self.get("order")),
            q: text("q"),
            rarity: text("rarity"),
            exterior: text("exterior"),
            quality: only("souvenir").map(|_| "souvenir".to_owned()),
            item_type: text("type"),
            stattrak: only("stattrak"),
            priced: self.get("priced").parse().ok(),
            sellable: only("unsellable").map(|_| false),
            locked: only("locked"),
            tradable: only("tradable"),
            marketable: None,
            item_id: text("item_id"),
            page: Some(self.get("page").parse().unwrap_or(1)),
            per_page: None,
        };
        let first = Selection { page: Some(1), ..Selection::default() };
        selection.checked().unwrap_or(first)
    }
}

fn address<'a>(
    kept: impl Iterator<Item = (&'a String, &'a String)>,
    name: &str,
    value: &str,
) -> String {
    let mut query = form_urlencoded::Serializer::for_suffix("/?".to_owned(), 2);
    query.extend_pairs(kept);
    if !value.is_empty() {
        query.append_pair(name, value);
    }
    query.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_what_is_selected_and_drop_what_is_empty() {
        let query = PageQuery::parse("q=ak+47&rarity=&sort=price&order=desc&page=3&error=x&page=3");
        assert_eq!(
            query.with("priced", "false"),
            "/?order=desc&q=ak+47&sort=price&priced=false#items-title"
        );
        assert_eq!(query.with("q", ""), "/?order=desc&sort=price#items-title");
        assert_eq!(query.with("page", "2"), "/?order=desc&q=ak+47&sort=price&page=2#items-title");
        assert_eq!(query.sorted("price", "desc"), "/?q=ak+47&sort=price&order=asc#items-title");
        assert_eq!(query.sorted("name", "asc"), "/?q=ak+47&sort=name#items-title");
        assert_eq!(query.sort_state("price", "desc"), "descending");
        assert_eq!(query.sort_state("name", "asc"), "none");
        assert_eq!(
            query.ranged("7"),
            "/?order=desc&page=3&q=ak+47&sort=price&range=7#history-title"
        );
        assert_eq!(PageQuery::parse("").sort_state("value", "desc"), "descending");
        assert_eq!(
            PageQuery::parse("").sorted("value", "desc"),
            "/?sort=value&order=asc#items-title"
        );
        assert_eq!(PageQuery::parse("").with("q", "<&>"), "/?q=%3C%26%3E#items-title");
    }

    #[test]
    fn what_is_not_known_selects_nothing() {
        let selection = |query: &str| PageQuery::parse(query).selection();
        let everything = selection("");
        assert_eq!(selection("sort=x&order=up&only=nonsense&priced=maybe&page=x"), everything);
        assert_eq!(selection("page=0&q=a"), everything);
        assert_eq!(selection("only=locked").locked, Some(true));
        assert_eq!(selection("only=unsellable").sellable, Some(false));
        assert_eq!(PageQuery::parse("range=x").range().0, "30");
    }
}
