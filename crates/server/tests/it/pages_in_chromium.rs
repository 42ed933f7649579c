//! The pages in a real browser, by the scripts in `tests/browser`.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::routing::post;
use serde_json::json;
use time::Duration;
use tracera::clock::utc;
use tracera::domain::email::Email;
use tracera::store::portfolio::snapshots::{self, Snapshot};
use tracera::store::users;
use tracera_testkit::OpenIdProvider;

use crate::chromium;
use crate::deletion::delete_what_is_due;
use crate::harness::TestApp;
use crate::pages_showcase::{assets, prices, wealth};
use crate::portfolio::linked;
use crate::portfolio::upstream::feed::Feed;
use crate::portfolio::upstream::images::Images;
use crate::portfolio::upstream::steam::{Steam, asset, inventory};
use crate::portfolio::upstream::{Answer, serve};

const ALL_PROVIDERS: [(&str, &str); 4] = [
    ("GOOGLE_CLIENT_ID", "tracera"),
    ("GOOGLE_CLIENT_SECRET", "a-secret-of-tests"),
    ("GITHUB_CLIENT_ID", "tracera"),
    ("GITHUB_CLIENT_SECRET", "a-secret-of-tests"),
];

#[tokio::test]
async fn a_person_signs_in_and_out_with_and_without_scripts() {
    let app = TestApp::for_real_browsers(&ALL_PROVIDERS).await;
    let clock = app.clock.clone();
    let later = post(async move || clock.advance(std::time::Duration::from_mins(16)));
    let backstage = serve(Router::new().route("/later", later)).await;
    chromium::run_with("sign_in", &app, &[("TRACERA_BACKSTAGE", &backstage)]).await;
}

#[tokio::test]
async fn what_people_do_twice_signs_them_in_once_with_and_without_scripts() {
    let provider = OpenIdProvider::start().await;
    let app = TestApp::for_real_browsers_now(&[("STEAM_OPENID_URL", &provider.endpoint())]).await;
    chromium::run_with("repeated", &app, &[("TRACERA_OPENID", &provider.endpoint())]).await;
}

#[tokio::test]
async fn forms_work_behind_a_proxy_that_hides_where_they_come_from() {
    let public = format!("http://localhost:{}", tracera_testkit::free_port());
    let app = TestApp::for_real_browsers(&[("BASE_URL", &public)]).await;
    let upstream = format!("http://{}", app.instances[0].addr);
    chromium::run_with("no_referrer", &app, &[("TRACERA_UPSTREAM", &upstream)]).await;
}

#[tokio::test]
async fn a_trader_who_comes_back_confirms_and_goes_on_with_and_without_scripts() {
    let app = TestApp::for_real_browsers(&ALL_PROVIDERS).await;
    let clock = app.clock.clone();
    let later = post(async move || clock.advance(std::time::Duration::from_mins(16)));
    let backstage = serve(Router::new().route("/later", later)).await;
    chromium::run_with("confirm", &app, &[("TRACERA_BACKSTAGE", &backstage)]).await;
}

#[tokio::test]
async fn passkeys_sign_in_confirm_and_end_as_browsers_have_them() {
    let app = TestApp::for_real_browsers(&[]).await;
    let clock = app.clock.clone();
    let later = post(async move || clock.advance(std::time::Duration::from_mins(16)));
    let backstage = serve(Router::new().route("/later", later)).await;
    chromium::run_with("passkeys", &app, &[("TRACERA_BACKSTAGE", &backstage)]).await;
}

#[tokio::test]
async fn sessions_end_everywhere_and_the_account_leaves_nothing() {
    let app = TestApp::for_real_browsers(&ALL_PROVIDERS).await;
    chromium::run("account", &app).await;
    app.advance(std::time::Duration::from_hours(7 * 24));
    delete_what_is_due(&app).await;
    let email = Email::parse("dana@example.com").unwrap();
    let user = users::find_by_email(&app.instances[0].app.database, &email).await.unwrap();
    assert_eq!(user, None);
    let keys = app.redis().cli(&["--raw", "KEYS", "*"]).await;
    // Rate limits expire after a day; the test's clock does not affect Redis.
    let left: Vec<_> =
        keys.split_whitespace().filter(|key| !key.starts_with("ratelimit:")).collect();
    // This record prevents a sign-in that began earlier from completing later. It holds the time
    // when all sessions ended, under a random user id that is no longer in use.
    let [ended] = left[..] else { panic!("{left:?}") };
    let fields = app.redis().cli(&["--raw", "HKEYS", ended]).await;
    assert_eq!(fields.split_whitespace().collect::<BTreeSet<_>>(), BTreeSet::from(["e", "u"]));
}

#[tokio::test]
async fn what_goes_wrong_has_a_page() {
    let app = Arc::new(TestApp::for_real_browsers(&[("AUTH_RATE_LIMIT_PER_MINUTE", "12")]).await);
    let redis = Arc::clone(&app);
    let away = post(async move || redis.redis().kill());
    let backstage = serve(Router::new().route("/redis/away", away)).await;
    chromium::run_with("errors", &app, &[("TRACERA_BACKSTAGE", &backstage)]).await;
}

#[tokio::test]
async fn a_portfolio_is_read_searched_and_drawn() {
    in_a_market("portfolio").await;
}

#[tokio::test]
async fn large_values_and_long_names_fit_on_small_screens() {
    in_a_market("portfolio_narrow").await;
}

#[tokio::test]
async fn every_state_of_a_portfolio_has_a_page() {
    in_a_market("portfolio_states").await;
}

/// Runs a script against a fake Steam with various inventories, prices and images.
async fn in_a_market(script: &str) {
    let [public, private, bare, huge, gone, rich] =
        [1, 2, 3, 4, 5, 6].map(|last| format!("7656119800000000{last}"));
    let full = inventory(assets());
    // Recently traded items are counted but not listed.
    let hidden = json!({ "total_inventory_count": 7, "success": 1, "rwgrsn": -2 });
    let many = inventory(
        (1..=130).map(|id| asset(id, &format!("AK-47 | Number {id:03} (Well-Worn)"))).collect(),
    );
    let wealth = inventory(wealth());
    let steam = {
        let (private, bare, huge, gone, rich) =
            (private.clone(), bare.clone(), huge.clone(), gone.clone(), rich.clone());
        Steam::start(move |asked| match &asked.owner {
            owner if *owner == private => Answer::json(403, &json!(null)),
            owner if *owner == gone => Answer::html(503, "<h1>Sorry!</h1>"),
            owner if *owner == bare => Answer::json(200, &hidden),
            owner if *owner == huge => many(asked),
            owner if *owner == rich => wealth(asked),
            _ => full(asked),
        })
        .await
    };
    let feed = Feed::skinport(&prices()).await;
    let images = Images::start().await;
    let app = TestApp::for_real_browsers(&[
        ("STEAM_COMMUNITY_URL", &steam.url),
        ("STEAM_IMAGE_URL", &images.url),
        ("PRICE_FEED_URL", &feed.url),
        ("PRICE_FEED_NAME", "Skinport"),
        ("STEAM_SPACING_MILLISECONDS", "0"),
    ])
    .await;
    let service = &app.instances[0].app;
    service.portfolio.prices().refresh().await.unwrap();
    for (email, steam_id) in [
        ("petra@example.com", &private),
        ("bea@example.com", &bare),
        ("hugo@example.com", &huge),
        ("gwen@example.com", &gone),
        ("rita@example.com", &rich),
    ] {
        linked(&app, email, steam_id).await;
    }
    let alice =
        linked(&app, "alice@example.com", &public).await.me().await.unwrap().parse().unwrap();
    let rita = app.signed_in("rita@example.com").await.me().await.unwrap().parse().unwrap();
    for days in [1, 7, 30] {
        let snapshot = Snapshot {
            taken_at: utc(app.clock.now()) - Duration::days(days),
            day: None,
            total_cents: 120_000_000 / (days + 1),
            currency: "USD".to_owned(),
            items: 300,
            unpriced_items: 0,
            price_source: "Skinport".to_owned(),
            import_id: None,
        };
        snapshots::add(&service.database, rita, &snapshot).await.unwrap();
    }
    for (day, swing) in (1..=34).zip([0, 31, 12, -18, 40, 22, -9].into_iter().cycle()) {
        let snapshot = Snapshot {
            taken_at: utc(app.clock.now()) - Duration::days(35 - day),
            day: None,
            total_cents: 361_000 + day * 1_700 + swing * 450,
            currency: "USD".to_owned(),
            items: 33,
            unpriced_items: 1,
            price_source: "Skinport".to_owned(),
            import_id: None,
        };
        snapshots::add(&service.database, alice, &snapshot).await.unwrap();
    }
    chromium::run_with(script, &app, &[("TRACERA_IMAGES", &images.url)]).await;
}
