//! Downloads, and malicious item names.

use serde_json::json;

use super::*;
use crate::portfolio::upstream::steam::assets;

#[tokio::test]
async fn a_person_takes_along_everything_that_is_kept() {
    let world = World::with(vec![asset(1, "A"), asset(2, "B")]).await;
    let data = async || world.browser.get("/account/data.json").await.expect(200);
    let before = data().await;
    assert_eq!(before.header("content-type"), "application/json");
    assert_eq!(before.json()["portfolio"], json!({ "items": [] }));
    world.import().await.expect(200);
    let kept = data().await.json();
    let fields: Vec<_> = kept.as_object().unwrap().keys().map(String::as_str).collect();
    let all = [
        "events",
        "linked",
        "passkeys",
        "portfolio",
        "portfolio_values",
        "sessions",
        "tokens",
        "user",
    ];
    assert_eq!(fields, all);
    assert_eq!(kept["user"]["email"], "alice@example.com");
    assert_eq!(kept["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(kept["events"][0]["event"], "signed_in");
    assert_eq!(kept["portfolio_values"]["history"][0]["total_value"], 250);
    assert_eq!(kept["portfolio"]["items"][1]["market_hash_name"], "B");
    assert_eq!(
        (&kept["linked"][0]["provider"], &kept["linked"][0]["subject"]),
        (&json!("steam"), &json!(STEAM_ID))
    );
}

#[tokio::test]
async fn hostile_names_do_no_harm_anywhere() {
    let names = [
        "<script>alert(1)</script>",
        "=cmd|' /C calc'!A0",
        "safe\u{202e}gpj.exe",
        "★ StatTrak™ \"龍王\", x\r\nInjected: 1",
    ];
    let mut items: Vec<_> = (1_u64..).zip(names).map(|(id, name)| asset(id, name)).collect();
    items[0].name_tag = Some("@SUM(A1)\u{2066}\u{1b}[2J".to_owned());
    let world = World::with(items).await;
    world.import().await.expect(200);

    let csv = world.browser.get("/api/v1/portfolio/export.csv").await.expect(200);
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    let file = "attachment; filename=\"portfolio-2030-03-17.csv\"";
    assert_eq!(csv.header("content-disposition"), file);
    assert!(csv.body.starts_with("\u{feff}asset_id,"), "spreadsheets take it for UTF-8");
    assert_eq!(csv.body.matches("\r\n").count(), 5, "a line each: {}", csv.body);
    assert!(
        csv.body.contains("\"'=cmd|' /C calc'!A0\"") && csv.body.contains("\"'@SUM(A1)[2J\""),
        "{}",
        csv.body
    );
    assert!(csv.body.contains("\"★ StatTrak™ \"\"龍王\"\", xInjected: 1\""), "{}", csv.body);

    let shown = world.browser.get("/api/v1/portfolio").await.expect(200);
    assert!(shown.header("content-type").starts_with("application/json"));
    for text in [&csv.body, &shown.body] {
        assert!(!text.contains(['\u{202e}', '\u{2066}', '\u{1b}']), "{text}");
    }
    assert_eq!(
        quantities(&shown.json())[0].0,
        "<script>alert(1)</script>",
        "shown as it is, by whoever escapes it"
    );
}

#[tokio::test]
async fn a_large_download_has_every_item_once_and_the_same_total() {
    let world = World::with(assets(2_500, 40)).await;
    world.import().await.expect(200);
    let json = world.browser.get("/api/v1/portfolio/export.json").await.expect(200).json();
    let items = json["items"].as_array().unwrap();
    let mut ids: Vec<u64> =
        items.iter().map(|it| it["asset_id"].as_str().unwrap().parse().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=2_500).collect::<Vec<_>>());
    let sum: u64 = items.iter().filter_map(|it| it["value_cents"].as_u64()).sum();
    let shown = world.portfolio("?per_page=1").await;
    assert_eq!(json!(sum), shown["total_value"]);
    let csv = world.browser.get("/api/v1/portfolio/export.csv").await.expect(200);
    assert_eq!(csv.body.lines().count(), 2_501);
}
