//! The amounts: changes, sums over filters, items without a price.

use serde_json::json;

use super::*;
use crate::portfolio::upstream::steam::assets;

const DAY: Duration = Duration::from_hours(24);

async fn feed_becomes(world: &World, prices: &[(&str, f64)]) {
    let rows: Vec<_> = prices.iter().map(|(name, price)| row(name, None, *price)).collect();
    world.feed.becomes(Feed::brotli(&json!(rows)));
    world.portfolios().prices().refresh().await.unwrap();
}

#[tokio::test]
async fn what_is_imported_is_no_rise_of_prices() {
    let world = World::with(assets(50, 2)).await;
    world.import().await.expect(200);
    let before = world.portfolio("").await["total_value"].as_i64().unwrap();
    world.app.advance(DAY + Duration::from_hours(1));
    world.steam.becomes(inventory(assets(80, 2)));
    let world = World { browser: world.app.signed_in("alice@example.com").await, ..world };
    world.import().await.expect(200);
    let now = world.portfolio("").await;
    let total = now["total_value"].as_i64().unwrap();
    assert_eq!(
        now["changes"]["24h"],
        json!({ "prices": 0, "added": total - before, "removed": 0 })
    );
    assert_eq!((&now["changes"]["7d"], &now["changes"]["30d"]), (&json!(null), &json!(null)));
    let page = world.browser.get("/").await.expect(200).body;
    assert!(page.contains("±$0.00") && page.contains(" added</dd>"), "{page}");
}

#[tokio::test]
async fn the_three_parts_of_a_change_are_the_difference_of_the_totals() {
    let world = World::with(vec![asset(1, "A"), asset(2, "A"), asset(3, "Item 1")]).await;
    feed_becomes(&world, &[("A", 1.0), ("Item 1", 10.0), ("B", 5.0)]).await;
    world.import().await.expect(200);
    world.app.advance(DAY);
    feed_becomes(&world, &[("A", 1.5), ("Item 1", 9.0), ("B", 5.0)]).await;
    world.steam.becomes(inventory(vec![asset(1, "A"), asset(7, "B")]));
    let world = World { browser: world.app.signed_in("alice@example.com").await, ..world };
    let before = world.portfolio("").await;
    assert_eq!(before["changes"]["24h"], json!({ "prices": 0, "added": 0, "removed": 0 }));
    let tag = world.browser.get("/api/v1/portfolio").await.header("etag").to_owned();
    world.import().await.expect(200);
    let now = world.portfolio("").await;
    let expected = json!({ "prices": 2 * 50 - 100, "added": 500, "removed": -150 - 900 });
    assert_eq!(now["changes"]["24h"], expected);
    assert_eq!(now["total_value"], 1_200 - 550);
    assert_ne!(world.browser.get("/api/v1/portfolio").await.header("etag"), tag);
}

#[tokio::test]
async fn filters_count_pieces_and_not_stacks() {
    let locked = |id| Asset { locked: true, ..asset(id, "A") };
    let world = World::with(vec![asset(1, "A"), locked(2), locked(3), asset(4, "Item 1")]).await;
    world.import().await.expect(200);
    let selected = async |query: &str| {
        let shown = world.portfolio(query).await;
        let parts: u64 = shown["holdings"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|it| it["total_value"].as_u64())
            .sum();
        assert_eq!(shown["selected"]["value"], parts, "{query}");
        (shown["selected"]["items"].as_u64().unwrap(), parts)
    };
    assert_eq!(selected("?locked=true").await, (2, 500));
    assert_eq!(selected("?locked=false").await, (2, 250 + 736_479));
    assert_eq!(selected("?tradable=true").await, (2, 250 + 736_479));
    assert_eq!(selected("?tradable=false").await, (2, 500));
    assert_eq!(selected("?type=rifle").await, (4, 750 + 736_479));
    assert_eq!(selected("?type=knife").await, (0, 0));
    assert_eq!(selected("").await, (4, 750 + 736_479));
    let page = world.browser.get("/?only=locked").await.expect(200).body;
    assert!(page.contains("1 different item, 2 pieces, together $5.00"), "{page}");
}

#[tokio::test]
async fn what_can_never_be_sold_is_not_missing_a_price() {
    let world = World::with(vec![]).await;
    world.steam.becomes(|_| {
        let mut body = upstream::steam::page(&[asset(1, "Medal"), asset(2, "Skin")], 2, None);
        let medal = body["descriptions"].as_array_mut().unwrap();
        let medal = medal.iter_mut().find(|it| it["market_hash_name"] == "Medal").unwrap();
        for name in ["tradable", "marketable", "market_tradable_restriction"] {
            medal[name] = json!(0);
        }
        medal["market_marketable_restriction"] = json!(0);
        upstream::Answer::json(200, &body)
    });
    world.import().await.expect(200);
    let shown = world.portfolio("").await;
    assert_eq!((&shown["unpriced_items"], &shown["unsellable_items"]), (&json!(1), &json!(1)));
    let names = |shown: &Value| quantities(shown).into_iter().map(|it| it.0).collect::<Vec<_>>();
    assert_eq!(names(&world.portfolio("?priced=false").await), ["Skin"]);
    assert_eq!(names(&world.portfolio("?sellable=false").await), ["Medal"]);
    let page = world.browser.get("/").await.expect(200).body;
    assert!(
        page.contains("1 item has no price</a>") && page.contains("can never be sold"),
        "{page}"
    );
}

#[tokio::test]
async fn stickers_charms_and_locks_are_shown_and_never_added() {
    let world = World::with(vec![]).await;
    world.feed.becomes(Feed::brotli(&json!([
        row("A", None, 2.5),
        row("Sticker | Crown (Foil)", None, 700.0)
    ])));
    world.portfolios().prices().refresh().await.unwrap();
    world.steam.becomes(|_| {
        let mut body = upstream::steam::page(&[Asset { locked: true, ..asset(1, "A") }], 1, None);
        let described = &mut body["descriptions"][0];
        described["descriptions"] = json!([
            {"type":"html","name":"sticker_info","value":"<center><img \
                src=\"https://cdn.example/a.png\" title=\"Sticker: Crown (Foil)\"></center>"},
            {"type":"html","value":"<center><img src=\"https://cdn.example/c.png\" title=\"Charm: \
                Hot Sauce\"></center>"}]);
        described["owner_descriptions"] =
            json!([{"value":"Tradable/Marketable After Dec 03, 2030 (8:00:00) GMT"}]);
        described["actions"] =
            json!([{"link":"steam://rungame/730/1/+preview%20S%owner_steamid%A%assetid%D9"}]);
        upstream::Answer::json(200, &body)
    });
    world.import().await.expect(200);
    let shown = world.portfolio("").await;
    assert_eq!(shown["total_value"], 250);
    let holding = &shown["holdings"][0];
    assert_eq!(holding["locked_until"], "2030-12-03T08:00:00Z");
    let sticker = json!({"name":"Sticker | Crown \
        (Foil)","image_url":"https://cdn.example/a.png","price":70_000});
    assert_eq!(holding["stickers"], json!([sticker]));
    assert_eq!(holding["charms"][0]["price"], json!(null));
    let id = holding["item_id"].as_str().unwrap();
    let one = world.portfolio(&format!("?item_id={id}")).await;
    let item = &one["holdings"][0]["items"][0];
    let link = format!("steam://rungame/730/1/+preview%20S{STEAM_ID}A1D9");
    assert_eq!((&item["stickers"], &item["inspect_link"]), (&json!([sticker]), &json!(link)));
    let page = world.browser.get(&format!("/?item_id={id}")).await.expect(200).body;
    for text in [
        "locked, tradable on 3 December",
        "Sticker | Crown (Foil) · $700.00 by itself",
        "1 sticker, 1 charm",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(!page.contains("cdn.example"), "no pictures of other hosts: {page}");
}
