use super::*;
use crate::domain::phase::Phase;
use crate::portfolio::price_list::Price;

fn list(json: &str) -> (PriceList, usize) {
    read(json.as_bytes(), "USD").unwrap_or_else(|error| panic!("{error}: {json}"))
}

fn cents(list: &PriceList, name: &str, phase: Option<Phase>) -> Option<(u64, bool)> {
    list.find(name, phase).map(|Price { cents, estimated, .. }| (cents.get(), estimated))
}

#[test]
fn skinport_rows_give_the_least_the_median_or_an_estimate() {
    let (list, skipped) = list(
        r#"[
        {"market_hash_name":"A","version":null,"currency":"USD","suggested_price":9.9,
            "min_price":7364.79,"median_price":1},
        {"market_hash_name":"B","version":null,"currency":"USD","suggested_price":9.9,
            "min_price":null,"median_price":8.25},
        {"market_hash_name":"C","version":null,"currency":"USD","suggested_price":9.9,
            "min_price":null,"median_price":null},
        {"market_hash_name":"D","version":null,"currency":"USD","suggested_price":null,
            "min_price":null},
        {"market_hash_name":"E","version":null,"currency":"USD","min_price":1e308},
        {"market_hash_name":"F","version":null,"currency":"USD","min_price":-3},
        {"market_hash_name":7}, null, "x"
    ]"#,
    );
    assert_eq!(cents(&list, "A", None), Some((736_479, false)));
    assert_eq!(cents(&list, "B", None), Some((825, false)));
    assert_eq!(cents(&list, "C", None), Some((990, true)));
    assert_eq!((list.len(), skipped), (3, 6));
}

#[test]
fn phases_have_prices_of_their_own_and_the_plain_name_the_least() {
    let row = |version: &str, price: u32| {
        format!(
            r#"{{"market_hash_name":"★ Karambit | Doppler","version":{version},"currency":"USD",
                "min_price":{price}}}"#
        )
    };
    let phases =
        [row("\"Ruby\"", 9000), row("\"Phase 2\"", 1500), row("\"Phase 1\"", 1200)].join(",");
    let (variants, _) = list(&format!("[{phases}]"));
    let name = "★ Karambit | Doppler";
    assert_eq!(cents(&variants, name, Some(Phase::Ruby)), Some((900_000, false)));
    assert_eq!(
        cents(&variants, name, Some(Phase::Four)),
        Some((120_000, true)),
        "another phase's price is a guess"
    );
    assert_eq!(cents(&variants, name, None), Some((120_000, true)));
    let (plain, _) = list(&format!("[{phases},{}]", row("null", 2000)));
    assert_eq!(cents(&plain, name, None), Some((200_000, false)));
}

#[test]
fn csfloat_is_in_cents_and_lonely_offers_are_ignored() {
    let (list, skipped) = list(
        r#"[{"market_hash_name":"A","quantity":12,"min_price":1234},{"market_hash_name":"B",
            "quantity":2,"min_price":99999999}]"#,
    );
    assert_eq!(cents(&list, "A", None), Some((1234, false)));
    assert_eq!((list.len(), skipped), (1, 1));
}

#[test]
fn market_csgo_is_an_object_with_strings() {
    let (list, _) = list(
        r#"{"success":true,"time":1724318846,"currency":"USD","items":[{"market_hash_name":"K",
            "volume":"340","price":"0.128"}]}"#,
    );
    assert_eq!(cents(&list, "K", None), Some((13, false)));
}

#[test]
fn a_plain_feed_maps_names_to_prices() {
    let (list, skipped) = list(r#"{"StatTrak™ A":1.5,"B":"2.255","C":null,"D":{},"E":0}"#);
    assert_eq!(cents(&list, "StatTrak™ A", None), Some((150, false)));
    assert_eq!(cents(&list, "B", None), Some((226, false)));
    assert_eq!((list.len(), skipped), (2, 3));
}

#[test]
fn what_is_no_feed_says_why() {
    let refused = |json: &str| format!("{:?}", read(json.as_bytes(), "EUR").unwrap_err());
    assert_eq!(refused("[]"), "Empty");
    assert_eq!(refused("{}"), "Empty");
    assert_eq!(refused(r#"{"errors":[{"id":"x","message":"y"}]}"#), "Reported");
    assert_eq!(refused(r#"{"success":false}"#), "Reported");
    assert_eq!(refused(r#"{"success":true,"currency":"USD","items":[]}"#), "Currency");
    assert_eq!(refused(r#"[{"market_hash_name":"A","currency":"USD","min_price":1}]"#), "Currency");
    assert_eq!(refused(r#"[{"market_hash_name":"A","quantity":12,"min_price":1234}]"#), "Currency");
    assert_eq!(
        refused(r#"{"data":[{"market_hash_name":"A","phase_name":"Ruby","min_price":1}]}"#),
        "Currency"
    );
    assert!(refused("<html>").starts_with("Unreadable"));
    assert!(refused("7").starts_with("Unreadable"));
    assert!(refused(r#"{"A":1"#).starts_with("Unreadable"), "half a feed is no feed");
    assert!(refused(r#"{"A":1} x"#).starts_with("Unreadable"));
    let deep = "[".repeat(100_000);
    assert!(refused(&deep).starts_with("Unreadable"));
}
