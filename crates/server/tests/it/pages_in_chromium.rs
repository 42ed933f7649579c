//! The pages in a real browser; the steps are the scripts in `tests/browser`.

use std::collections::BTreeSet;

use serde_json::json;
use time::Duration;
use tracera::auth::email::Email;
use tracera::clock::utc;
use tracera::store::portfolio::snapshots::{self, Snapshot};
use tracera::store::users;

use crate::chromium;
use crate::harness::TestApp;
use crate::portfolio::linked;
use crate::portfolio::upstream::Answer;
use crate::portfolio::upstream::feed::{Feed, row};
use crate::portfolio::upstream::steam::{Asset, Steam, asset, inventory};

#[tokio::test]
async fn a_person_signs_in_and_out_with_and_without_scripts() {
    let app = TestApp::for_real_browsers(&[]).await;
    chromium::run("sign_in", &app).await;
}

#[tokio::test]
async fn sessions_end_everywhere_and_the_account_leaves_nothing() {
    let app = TestApp::for_real_browsers(&[]).await;
    chromium::run("account", &app).await;
    let email = Email::parse("dana@example.com").unwrap();
    let user = users::find_by_email(&app.instances[0].app.database, &email).await.unwrap();
    assert_eq!(user, None);
    let keys = app.redis().cli(&["--raw", "KEYS", "*"]).await;
    let left: Vec<_> = keys.split_whitespace().filter(|key| !key.starts_with("ratelimit:auth:")).collect();
    // So that a sign-in which began before cannot end after: when all sessions ended, under a random id nobody has now.
    let [ended] = left[..] else { panic!("{left:?}") };
    let fields = app.redis().cli(&["--raw", "HKEYS", ended]).await;
    assert_eq!(fields.split_whitespace().collect::<BTreeSet<_>>(), BTreeSet::from(["e", "u"]));
}

#[tokio::test]
async fn an_inventory_is_imported_and_read() {
    let karambit = "★ Karambit | Doppler (Factory New)";
    let ruby = Asset { paint_index: Some(415), ..asset(4, karambit) };
    let tagged = Asset { name_tag: Some("mine".into()), locked: true, ..asset(3, "A") };
    let open = inventory(vec![asset(1, "A"), asset(2, "B"), tagged, ruby]);
    let (public, private) = ("76561198000000001", "76561198000000002");
    let steam =
        Steam::start(
            move |asked| if asked.owner == private { Answer::json(403, &json!(null)) } else { open(asked) },
        );
    let steam = steam.await;
    let feed = Feed::skinport(&[row("A", None, 2.5), row(karambit, Some("Ruby"), 12_300.05)]).await;
    let app = TestApp::for_real_browsers(&[
        ("STEAM_COMMUNITY_URL", &steam.url),
        ("PRICE_FEED_URL", &feed.url),
        ("STEAM_SPACING_MILLISECONDS", "0"),
    ])
    .await;
    let service = &app.instances[0].app;
    service.portfolio.prices().refresh().await.unwrap();
    linked(&app, "petra@example.com", private).await;
    let alice = linked(&app, "alice@example.com", public).await.me().await.unwrap().parse().unwrap();
    for day in 1..=25 {
        let snapshot = Snapshot {
            taken_at: utc(app.clock.now()) - Duration::days(26 - day),
            day: None,
            total_cents: 900_000 + (day - 1) * 9_000 + if day % 3 == 0 { 40_000 } else { 0 },
            currency: "USD".to_owned(),
            items: 4,
            unpriced_items: 1,
            price_source: "127.0.0.1".to_owned(),
        };
        snapshots::add(&service.database, alice, &snapshot).await.unwrap();
    }
    chromium::run("portfolio", &app).await;
}
