//! `tracera dev --demo`: the whole product without external servers.

use reqwest::Method;
use serde_json::json;
use tracera::demo::{self, Demo};

use crate::browser::Browser;
use crate::harness::TestApp;

async fn demo() -> (TestApp, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let demo = Demo::start(directory.path()).await.unwrap();
    let vars = demo.variables(directory.path());
    let is_of_others = |name: &str| name.starts_with("STEAM_") || name.starts_with('P');
    let vars: Vec<_> = vars.iter().filter(|(name, _)| is_of_others(name)).collect();
    let vars: Vec<_> = vars.iter().map(|(name, value)| (*name, &**value)).collect();
    let app = TestApp::on_the_systems_clock(&vars).await;
    demo::fill(&demo, &app.instances[0].app).await.unwrap();
    (app, directory)
}

#[tokio::test]
async fn the_demos_person_signs_in_and_has_two_months_of_history() {
    let (app, _directory) = demo().await;
    let browser = app.browser();
    let to_steam = browser.get("/api/v1/auth/steam/login").await.expect(303);
    let page = reqwest::get(to_steam.header("location")).await.unwrap().text().await.unwrap();
    assert!(page.contains("This is not Steam"), "{page}");
    let back = page.split_once("href=\"").unwrap().1.split_once('"').unwrap().0;
    let back = back.replace("&amp;", "&");
    let (_, path) = back.split_once("localhost:8080").unwrap();
    browser.get(path).await.expect(303);
    browser.get(path).await.expect(303);
    assert_eq!(browser.json_of_me().await["email"], demo::EMAIL);

    let shown = browser.get("/api/v1/portfolio").await.expect(200).json();
    assert_eq!((&shown["holding_count"], &shown["unpriced_items"]), (&json!(40), &json!(1)));
    assert_eq!(shown["unsellable_items"], 1);
    for period in ["24h", "7d", "30d"] {
        assert!(shown["changes"][period]["prices"].is_i64(), "{period}: {}", shown["changes"]);
    }
    assert!(shown["changes"]["7d"]["added"].as_i64().unwrap() > 0);
    let history = browser.get("/api/v1/portfolio/history").await.expect(200).json();
    assert_eq!(history["history"].as_array().unwrap().len(), 63);
    let again = browser.call(Method::POST, "/api/v1/portfolio/import", None).await.expect(200);
    assert_eq!(again.json()["imported_assets"], shown["item_count"]);
    let after = browser.get("/api/v1/portfolio").await.expect(200).json();
    assert_eq!(after["total_value"], shown["total_value"]);
}

impl Browser {
    async fn json_of_me(&self) -> serde_json::Value {
        self.get("/api/v1/auth/me").await.expect(200).json()["user"].clone()
    }
}
