//! An inventory uploaded by its owner.

use serde_json::json;

use super::*;
use crate::portfolio::upstream::steam::{assets, page};

const UPLOAD: &str = "/api/v1/portfolio/import/upload";

#[tokio::test]
async fn an_inventory_is_brought_along_in_one_file_or_in_pages() {
    let world = World::with(vec![]).await;
    world.steam.becomes(|_| upstream::Answer::html(429, ""));
    let all = assets(30, 3);
    let done = world.browser.post(UPLOAD, &page(&all, 30, None)).await.expect(200).json();
    assert_eq!((&done["imported_assets"], &done["steam_id"]), (&json!(30), &json!(STEAM_ID)));
    assert!(world.steam.asked().is_empty(), "Steam is not asked");
    let shown = world.portfolio("").await;
    assert_eq!((&shown["item_count"], &shown["source"]), (&json!(30), &json!("upload")));
    assert!(world.browser.get("/").await.expect(200).body.contains("Brought along by you"));
    let again = world.browser.post(UPLOAD, &page(&all, 30, None)).await;
    again.expect_error(429, "import_cooldown");

    world.cool_down();
    let pages = json!([page(&all[..20], 30, Some(20)), page(&all[20..], 30, None)]);
    let done = world.browser.post(UPLOAD, &pages).await.expect(200).json();
    assert_eq!((&done["imported_assets"], &done["pages"]), (&json!(30), &json!(2)));
}

#[tokio::test]
async fn what_is_no_whole_inventory_changes_nothing() {
    let world = World::with(vec![asset(1, "A")]).await;
    world.import().await.expect(200);
    let before = world.portfolio("").await;
    world.cool_down();
    let all = assets(30, 3);
    for wrong in [
        json!({}),
        json!([]),
        json!("x"),
        json!({"success":1}),
        json!({"success":false,"Error":"This profile is private."}),
        page(&all[..20], 30, Some(20)),
        json!([page(&all[..20], 30, Some(20)), page(&all[25..], 30, None)]),
        json!([page(&all[..20], 30, Some(20)), null]),
    ] {
        world.browser.post(UPLOAD, &wrong).await.expect_error(400, "not_an_inventory");
        assert_eq!(world.portfolio("").await, before);
    }
    let bob = world.app.signed_in("bob@example.com").await;
    let body = page(&all, 30, None);
    bob.post(UPLOAD, &body).await.expect_error(400, "steam_not_linked");
}

#[tokio::test]
async fn an_upload_may_be_large_and_has_its_own_bound() {
    let world = World::with(vec![]).await;
    let all = assets(2_000, 1_000);
    let body = page(&all, 2_000, None);
    assert!(body.to_string().len() > 500_000);
    world.browser.post(UPLOAD, &body).await.expect(200);
    let large = json!({ "success": 1, "pad": "x".repeat(17 << 20) });
    world.browser.post(UPLOAD, &large).await.expect_error(413, "body_too_large");
}
