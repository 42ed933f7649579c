use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn page(body: &Value) -> Page {
    match parse(body.to_string().as_bytes()) {
        Ok(Reply::Page(page)) => page,
        other => panic!("{other:?}"),
    }
}

fn captured() -> Value {
    json!({
        "assets": [
            {"appid":730,"contextid":"2","assetid":"46153215277","classid":"6918207757",
                "instanceid":"302028390","amount":"1"},
            {"appid":730,"contextid":"2","assetid":"46153215278","classid":"310777185",
                "amount":"3"},
            {"appid":730,"contextid":"2","assetid":"46153215279","classid":"1","instanceid":"2",
                "amount":"1"},
            {"appid":753,"contextid":"6","assetid":"1","classid":"1","instanceid":"2","amount":"1"}
        ],
        "descriptions": [
            {"appid":730,"classid":"6918207757","instanceid":"302028390",
                "icon_url":"i0CoZ81Ui0m-9Kwl","tradable":0,"marketable":1,
             "market_tradable_restriction":7,"market_marketable_restriction":7,"type":"Consumer \
                 Grade SMG",
             "market_hash_name":"StatTrak™ MP7 | Short Ochre (Minimal Wear)",
             "tags":[
                {"category":"Quality","internal_name":"strange",
                    "localized_category_name":"Category","localized_tag_name":"StatTrak™"},
                {"category":"Rarity","internal_name":"Rarity_Common_Weapon",
                    "localized_category_name":"Quality","localized_tag_name":"Consumer Grade",
                    "color":"b0c3d9"},
                {"category":"Exterior","internal_name":"WearCategory1",
                    "localized_category_name":"Exterior","localized_tag_name":"Minimal Wear"}]},
            {"appid":730,"classid":"310777185","market_hash_name":"★ Karambit | Doppler (Factory \
                New)","tradable":1,"marketable":1,
             "icon_url":"../evil","tags":null}
        ],
        "asset_properties": [
            {"appid":730,"contextid":"2","assetid":"46153215277","asset_properties":[
                {"propertyid":2,"float_value":"0.111641205847263336","name":"Wear Rating"},
                {"propertyid":1,"int_value":"116","name":"Pattern Template"},
                {"propertyid":5,"string_value":"=1+1\u{202e}","name":"Name Tag"}]},
            {"assetid":"46153215278","asset_properties":[{"propertyid":7,"int_value":415}]},
            {"assetid":"46153215279","asset_properties":null}
        ],
        "more_items":1,"last_assetid":"46153215276","total_inventory_count":325,"success":1,
            "rwgrsn":-2
    })
}

#[test]
fn assets_are_joined_with_what_describes_them() {
    let page = page(&captured());
    assert_eq!(
        (page.items.len(), page.total, page.next.as_deref()),
        (3, Some(325), Some("46153215276"))
    );
    let [mp7, karambit, unknown] = &page.items[..] else { panic!() };
    let kind = &page.kinds[&mp7.item_id];
    assert_eq!(kind.market_hash_name, "StatTrak™ MP7 | Short Ochre (Minimal Wear)");
    assert_eq!(
        (&*kind.rarity, &*kind.rarity_color, &*kind.exterior),
        ("Consumer Grade", "b0c3d9", "Minimal Wear")
    );
    assert_eq!((kind.quality, &*kind.icon), (Quality::StatTrak, "i0CoZ81Ui0m-9Kwl"));
    assert_eq!(mp7.wear.as_deref(), Some("0.111641205847263336"));
    assert_eq!((mp7.pattern, mp7.name_tag.as_deref()), (Some(116), Some("=1+1")));
    assert!(!mp7.tradable && mp7.marketable && mp7.locked);

    let kind = &page.kinds[&karambit.item_id];
    assert_eq!((kind.phase, &*kind.icon), (Some(Phase::Ruby), ""), "an icon is a part of a path");
    assert_eq!((karambit.amount, karambit.paint_index, karambit.locked), (3, Some(415), false));

    assert_eq!(page.kinds[&unknown.item_id].market_hash_name, "");
    assert!(!unknown.tradable && !unknown.locked);
}

#[test]
fn an_item_keeps_its_id_and_phases_have_their_own() {
    let id = ItemId::of("A", None);
    assert_eq!(id, ItemId::of("A", None));
    assert_eq!(id.as_str().len(), 24);
    assert_ne!(id, ItemId::of("A", Some(Phase::Ruby)));
}

#[test]
fn empty_and_hidden_inventories_are_pages_without_items() {
    for body in [
        json!({"total_inventory_count":0,"success":1,"rwgrsn":-2}),
        json!({"total_inventory_count":12,"success":true}),
        json!({"assets":null,"descriptions":null,"total_inventory_count":12,"success":1}),
    ] {
        let page = page(&body);
        assert!(page.items.is_empty() && page.next.is_none());
    }
}

#[test]
fn the_last_page_leads_nowhere() {
    for value in [json!(0), json!(false), Value::Null] {
        let mut body = captured();
        body["more_items"] = value;
        assert_eq!(page(&body).next, None);
    }
}

#[test]
fn a_page_before_others_says_where_they_begin() {
    for value in [Value::Null, json!("")] {
        let mut body = captured();
        body["last_assetid"] = value;
        assert!(parse(body.to_string().as_bytes()).is_err());
    }
}

#[test]
fn refusals_with_status_200_are_understood() {
    let reply = |body: &str| format!("{:?}", parse(body.as_bytes()).unwrap());
    assert_eq!(reply("null"), "Nothing");
    assert_eq!(reply(r#"{"success":false}"#), "Nothing");
    assert_eq!(reply(r#"{"success":false,"Error":"This profile is private."}"#), "Private");
    assert_eq!(reply(r#"{"success":0,"error":"This profile is private."}"#), "Private");
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    for (name, value) in [
        ("assetid", "x"),
        ("assetid", "-1"),
        ("assetid", "18446744073709551616"),
        ("amount", "-1"),
        ("amount", "0"),
        ("amount", "99999999999"),
        ("amount", "1e3"),
    ] {
        let mut body = captured();
        body["assets"][0][name] = json!(value);
        assert!(parse(body.to_string().as_bytes()).is_err(), "{name} {value}");
    }
    for body in ["", "<html>", "7", "{\"assets\":7,\"success\":1}", "{\"success\":1"] {
        assert!(parse(body.as_bytes()).is_err(), "{body}");
    }
    assert!(parse("[".repeat(100_000).as_bytes()).is_err());
}

#[test]
fn an_error_does_not_repeat_the_body() {
    let error = parse(br#"{"assets":"canary","success":1}"#).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("canary"));
}

#[test]
fn noise_and_changed_pages_are_read_within_bounds_or_not_at_all() {
    let genuine = captured().to_string();
    proptest!(|(
        at in 0..genuine.len(),
        remove in 0..9_usize,
        insert in "[\\[\\]{}\":,0-9a-z.+-]{0,6}|\\PC{0,3}",
        noise in prop::collection::vec(any::<u8>(), 0..60),
    )| {
        let changed = [&genuine.as_bytes()[..at], insert.as_bytes(),
            genuine.as_bytes().get(at + remove..).unwrap_or_default()];
        for body in [changed.concat(), noise] {
            let Ok(Reply::Page(page)) = parse(&body) else { continue };
            for item in &page.items {
                prop_assert!(item.asset_id >= 0 && (1..=MAX_AMOUNT).contains(&item.amount));
                let kind = page.kinds.get(&item.item_id).expect("each item is described");
                prop_assert!(kind.market_hash_name.chars().count() <= MAX_NAME_CHARS);
                prop_assert!(!kind.market_hash_name.contains(char::is_control));
                prop_assert!(kind.icon.is_empty() || is_icon(&kind.icon));
            }
        }
    });
}

/// The expected result for a response with one odd value.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// All three items are returned.
    Whole,
    /// The page is rejected.
    Unreadable,
}

#[test]
#[rustfmt::skip]
fn one_odd_thing_beside_an_item_costs_nothing_and_one_odd_id_the_page() {
    use Outcome::{Unreadable, Whole};
    let odd = [
        ("/descriptions/0/type", json!(null), Whole),
        ("/descriptions/0/type", json!(7), Whole),
        ("/descriptions/0/type", json!({"a": 1}), Whole),
        ("/descriptions/0/icon_url", json!(null), Whole),
        ("/descriptions/0/icon_url", json!(false), Whole),
        ("/descriptions/0/tradable", json!("1"), Whole),
        ("/descriptions/0/tradable", json!("yes"), Whole),
        ("/descriptions/0/tradable", json!(null), Whole),
        ("/descriptions/0/marketable", json!([1]), Whole),
        ("/descriptions/0/market_tradable_restriction", json!("7"), Whole),
        ("/descriptions/0/market_tradable_restriction", json!("a week"), Whole),
        ("/descriptions/0/tags", json!(null), Whole),
        ("/descriptions/0/tags", json!("none"), Whole),
        ("/descriptions/0/tags", json!([null, 7, {"category": null}]), Whole),
        ("/descriptions/0/tags/1/color", json!(null), Whole),
        ("/descriptions/0/tags/1/color", json!(16_711_680), Whole),
        ("/descriptions/0/tags/0/internal_name", json!({}), Whole),
        ("/descriptions/0/descriptions", json!(""), Whole),
        ("/descriptions/0/descriptions", json!([{"value": null}, null]), Whole),
        ("/descriptions/0/owner_descriptions", json!({"0": {}}), Whole),
        ("/descriptions/0/actions", json!([{"link": 7}]), Whole),
        ("/descriptions/0/cache_expiration", json!("soon"), Whole),
        ("/descriptions/1", json!(null), Whole),
        ("/descriptions/0/classid", json!(6_918_207_757_i64), Whole),
        ("/descriptions/0/market_hash_name", json!(1337), Whole),
        ("/descriptions/0/market_hash_name", json!({"name": 1}), Unreadable),
        ("/descriptions/0/classid", json!(null), Unreadable),
        ("/asset_properties", json!("none"), Whole),
        ("/asset_properties/0", json!(null), Whole),
        ("/asset_properties/0/asset_properties/0/propertyid", json!("2"), Whole),
        ("/asset_properties/0/asset_properties/0/int_value", json!(3), Whole),
        ("/asset_properties/0/asset_properties/0/float_value", json!([]), Whole),
        ("/asset_properties/0/asset_properties", json!({"2": "0.1"}), Whole),
        ("/total_inventory_count", json!(-1), Whole),
        ("/total_inventory_count", json!("325"), Whole),
        ("/total_inventory_count", json!("many"), Whole),
        ("/assets/0/assetid", json!(46_153_215_277_i64), Whole),
        ("/assets/0/amount", json!(1), Whole),
        ("/assets/0/appid", json!("730"), Whole),
        ("/assets/0/assetid", json!(null), Unreadable),
        ("/assets/0/amount", json!(true), Unreadable),
        ("/assets/0/amount", json!(1.5), Unreadable),
        ("/assets/0/classid", json!([]), Unreadable),
        ("/assets/0", json!(null), Unreadable),
        ("/last_assetid", json!(46_153_215_276_i64), Whole),
        ("/last_assetid", json!({}), Unreadable),
    ];
    assert!(odd.len() >= 40);
    for (at, value, expected) in odd {
        let mut body = captured();
        match body.pointer_mut(at) {
            Some(place) => *place = value.clone(),
            None => {
                let (place, name) = at.rsplit_once('/').unwrap();
                body.pointer_mut(place).unwrap()[name] = value.clone();
            }
        }
        let outcome = match parse(body.to_string().as_bytes()) {
            Ok(Reply::Page(page)) => {
                assert_eq!(page.items.len(), 3, "{at}: {value}");
                Whole
            }
            _ => Unreadable,
        };
        assert_eq!(outcome, expected, "{at}: {value}");
    }
}

#[test]
fn a_property_with_two_values_has_the_one_that_fits_it_best() {
    let mut body = captured();
    body["asset_properties"][0]["asset_properties"][0]["int_value"] = json!("3");
    let page = page(&body);
    assert_eq!(page.items[0].wear.as_deref(), Some("0.111641205847263336"));
}

#[test]
fn an_answer_without_items_and_without_their_number_is_none() {
    for body in [json!({"success":1}), json!({"success":1,"total_inventory_count":-1})] {
        assert!(parse(body.to_string().as_bytes()).is_err(), "{body}");
    }
}
