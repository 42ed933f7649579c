//! Importing an inventory and valuing it, against fakes of Steam and the price feeds.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tracera::clock::utc;
use tracera::domain::provider::{Identity, Provider};
use tracera::portfolio::Portfolio;
use tracera::store::identities;
use tracera::store::portfolio::holdings;
use tracera::store::portfolio::snapshots::{self, Snapshot};
use tracera_testkit::Postgres;

mod bytes;
mod export;
mod import;
mod kill;
mod money;
mod prices;
mod upload;
pub(crate) mod upstream;

use crate::browser::{Answer as Reply, Browser};
use crate::harness::TestApp;
use upstream::feed::{Feed, row};
use upstream::steam::{Asset, Look, Steam, asset, inventory};

const STEAM_ID: &str = "76561198000000001";

/// The service with a fake Steam and a price feed, and a browser whose Steam account is linked.
pub(crate) struct World {
    pub(crate) app: TestApp,
    steam: Steam,
    feed: Feed,
    pub(crate) browser: Browser,
}

impl World {
    /// With SQLite and this inventory.
    pub(crate) async fn with(assets: Vec<Asset>) -> Self {
        Self::build(assets, &[]).await
    }

    pub(crate) async fn build(assets: Vec<Asset>, vars: &[(&str, &str)]) -> Self {
        let world = Self::unpriced(assets, vars).await;
        world.portfolios().prices().refresh().await.unwrap();
        world
    }

    /// Prices have not been fetched yet.
    async fn unpriced(assets: Vec<Asset>, vars: &[(&str, &str)]) -> Self {
        let steam = Steam::start(inventory(assets)).await;
        let feed = Feed::skinport(&[row("A", None, 2.5), row("Item 1", None, 7364.79)]).await;
        let own = [
            ("STEAM_COMMUNITY_URL", &*steam.url),
            ("PRICE_FEED_URL", &*feed.url),
            ("STEAM_SPACING_MILLISECONDS", "0"),
            ("STEAM_TIMEOUT_SECONDS", "2"),
            ("STEAM_PAGE_MAX_MIB", "8"),
        ];
        let app = TestApp::start_with(&[&own, vars].concat()).await;
        let browser = linked(&app, "alice@example.com", STEAM_ID).await;
        Self { app, steam, feed, browser }
    }

    pub(crate) async fn import(&self) -> Reply {
        self.browser.call(Method::POST, "/api/v1/portfolio/import", None).await
    }

    fn portfolios(&self) -> &Portfolio {
        &self.app.instances[0].app.portfolio
    }

    async fn history(&self) -> Vec<Value> {
        let history = self.browser.get("/api/v1/portfolio/history").await.expect(200).json();
        history["history"].as_array().unwrap().clone()
    }

    /// Lets the cooldown pass.
    fn cool_down(&self) {
        self.app.advance(Duration::from_mins(10));
    }

    async fn portfolio(&self, query: &str) -> Value {
        self.browser.get(&format!("/api/v1/portfolio{query}")).await.expect(200).json()
    }
}

/// A signed-in browser whose user has that Steam account.
pub(crate) async fn linked(app: &TestApp, email: &str, steam_id: &str) -> Browser {
    let browser = app.signed_in(email).await;
    let user = browser.me().await.unwrap().parse().unwrap();
    let (issuer, subject) = ("https://steamcommunity.com".to_owned(), steam_id.to_owned());
    let identity = Identity { provider: Provider::Steam, issuer, subject };
    let now = utc(app.clock.now());
    identities::link(&app.instances[0].app.database, user, &identity, now).await.unwrap();
    browser
}

/// The holdings, as `name: quantity`.
fn quantities(portfolio: &Value) -> Vec<(String, u64)> {
    let holdings = portfolio["holdings"].as_array().unwrap().iter();
    let mut all: Vec<_> = holdings
        .map(|it| {
            (it["market_hash_name"].as_str().unwrap().to_owned(), it["quantity"].as_u64().unwrap())
        })
        .collect();
    all.sort();
    all
}

#[tokio::test]
async fn an_inventory_is_imported_and_valued() {
    let karambit = "★ Karambit | Doppler (Factory New)";
    let ruby = Asset { paint_index: Some(415), ..asset(4, karambit) };
    let tagged = Asset { name_tag: Some("mine".into()), locked: true, ..asset(3, "A") };
    let world = World::with(vec![asset(1, "A"), asset(2, "B"), tagged, ruby]).await;
    world.feed.becomes(Feed::brotli(&json!([
        row("A", None, 2.505),
        row(karambit, Some("Phase 1"), 1200.0),
        row(karambit, Some("Ruby"), 9000.1)
    ])));
    world.app.instances[0].app.portfolio.prices().refresh().await.unwrap();

    let before = world.portfolio("").await;
    assert_eq!((&before["item_count"], &before["last_imported_at"]), (&json!(0), &Value::Null));

    let done = world.import().await.expect(200).json();
    assert_eq!(done["imported_assets"], 4);
    assert_eq!((&done["matched_assets"], &done["hidden_assets"]), (&json!(3), &json!(0)));
    assert!(done["message"].as_str().unwrap().contains('4'));
    let asked = world.steam.asked();
    assert_eq!((asked.len(), &*asked[0].owner, asked[0].count), (1, STEAM_ID, Some(2000)));
    assert!(asked[0].referer.ends_with(&format!("/profiles/{STEAM_ID}/inventory")));

    let portfolio = world.portfolio("").await;
    assert_eq!(portfolio["total_value"], 2 * 251 + 900_010);
    assert_eq!(portfolio["currency"], "USD");
    assert_eq!((&portfolio["item_count"], &portfolio["unpriced_items"]), (&json!(4), &json!(1)));
    assert_eq!((&portfolio["locked_items"], &portfolio["holding_count"]), (&json!(1), &json!(3)));
    let holdings = portfolio["holdings"].as_array().unwrap();
    assert_eq!(holdings[0]["phase"], "Ruby");
    assert_eq!(
        (&holdings[1]["market_hash_name"], &holdings[1]["quantity"]),
        (&json!("A"), &json!(2))
    );
    assert_eq!(
        (&holdings[1]["current_price"], &holdings[1]["total_value"]),
        (&json!(251), &json!(502))
    );
    assert_eq!(
        (&holdings[1]["locked_quantity"], &holdings[1]["rarity"]),
        (&json!(1), &json!("Covert"))
    );
    assert_eq!(
        (&holdings[1]["price_source"], &holdings[1]["priced_at"]),
        (&json!("127.0.0.1"), &json!("2030-03-17T17:46:40Z"))
    );
    assert_eq!(
        (&holdings[2]["current_price"], &holdings[2]["total_value"]),
        (&Value::Null, &Value::Null)
    );
    let sum: u64 = holdings.iter().filter_map(|it| it["total_value"].as_u64()).sum();
    assert_eq!(portfolio["total_value"], sum, "totals add up");

    let id = holdings[1]["item_id"].as_str().unwrap();
    let one = world.portfolio(&format!("?item_id={id}")).await;
    let items = one["holdings"][0]["items"].as_array().unwrap();
    assert_eq!(
        (items.len(), &items[1]["name_tag"], &items[1]["locked"]),
        (2, &json!("mine"), &json!(true))
    );
    assert_eq!(
        (&items[0]["float"], &items[0]["pattern"]),
        (&json!("0.111641205847263336"), &json!(116))
    );

    let history = world.browser.get("/api/v1/portfolio/history").await.expect(200).json();
    assert_eq!(history["history"][0]["total_value"], portfolio["total_value"]);
}

#[tokio::test]
async fn nothing_is_noted_of_a_value_while_there_are_no_prices() {
    let world = World::unpriced(vec![asset(1, "A")], &[]).await;
    world.import().await.expect(200);
    assert_eq!(world.portfolios().take_daily_snapshots().await.unwrap(), 0);
    assert_eq!(world.history().await, Vec::<Value>::new());
    world.portfolios().prices().refresh().await.unwrap();
    assert_eq!(world.portfolios().take_daily_snapshots().await.unwrap(), 1);
    let history = world.history().await;
    assert_eq!((history.len(), &history[0]["total_value"]), (1, &json!(250)));
}

#[tokio::test]
async fn the_page_draws_only_what_was_priced_in_its_currency() {
    let world = World::unpriced(vec![asset(1, "A")], &[]).await;
    world.import().await.expect(200);
    let user = world.browser.me().await.unwrap().parse().unwrap();
    let database = &world.app.instances[0].app.database;
    let import_id = holdings::summary(database, user).await.unwrap().map(|it| it.import_id);
    let note = async |days_ago: i64, total_cents: i64, currency: &str, price_source: &str| {
        let snapshot = Snapshot {
            taken_at: utc(world.app.clock.now()) - time::Duration::days(days_ago),
            day: None,
            total_cents,
            currency: currency.to_owned(),
            items: 1,
            unpriced_items: 0,
            price_source: price_source.to_owned(),
            import_id,
        };
        snapshots::add(database, user, &snapshot).await.unwrap();
    };
    for (days_ago, total_cents, currency, price_source) in [
        (40, 777, "EUR", "Skinport"),
        (8, 200, "USD", "Skinport"),
        (3, 888, "EUR", "Skinport"),
        (2, 0, "USD", ""),
    ] {
        note(days_ago, total_cents, currency, price_source).await;
    }
    let page = async || world.browser.get("/").await.expect(200).body;
    let without_prices = page().await;
    assert_eq!(without_prices.matches("not known yet").count(), 3, "{without_prices}");
    world.portfolios().prices().refresh().await.unwrap();
    let priced = page().await;
    // The week is compared with the value of eight days ago. There is no value for the day and the
    // month.
    assert_eq!(priced.matches("+$0.50 <span class=\"percent\">+25.0 %").count(), 1, "{priced}");
    assert_eq!(priced.matches("not known yet").count(), 2, "{priced}");
    let points = priced.split_once("data-points=\"").unwrap().1.split_once('"').unwrap().0;
    assert_eq!(points.matches("|$").count(), 2, "{points}");
    assert!(points.trim().ends_with("|$2.50"), "it ends at the value above: {points}");
}

#[tokio::test]
async fn whoever_has_unlinked_steam_is_offered_to_link_it_and_no_import() {
    let world = World::with(vec![asset(1, "A")]).await;
    world.import().await.expect(200);
    let offers = async || {
        let page = world.browser.get("/").await.expect(200).body;
        assert!(page.contains("What your inventory is worth"), "{page}");
        (page.contains("Import again"), page.contains("Link Steam"))
    };
    assert_eq!(offers().await, (true, false));
    world.browser.delete("/api/v1/auth/providers/steam").await.expect(204);
    assert_eq!(offers().await, (false, true));
}

#[tokio::test]
async fn holdings_are_sorted_filtered_and_paged() {
    let world = World::with(vec![
        asset(1, "A"),
        asset(2, "A"),
        asset(3, "Item 1"),
        asset(4, "b"),
        asset(5, "b"),
    ])
    .await;
    world.import().await.expect(200);
    let names = async |query: &str| {
        let shown = world.portfolio(query).await;
        let names: Vec<_> = shown["holdings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["market_hash_name"].as_str().unwrap().to_owned())
            .collect();
        names.join(",")
    };
    assert_eq!(names("").await, "Item 1,A,b");
    assert_eq!(names("?order=asc").await, "A,Item 1,b", "what has no price is last");
    assert_eq!(names("?sort=name").await, "A,Item 1,b");
    assert_eq!(names("?sort=quantity&order=desc").await, "A,b,Item 1");
    assert_eq!(names("?q=ITEM").await, "Item 1");
    assert_eq!(names("?q=item1").await, "Item 1");
    assert_eq!(names("?priced=false").await, "b");
    assert_eq!(names("?rarity=covert&locked=false&page=2&per_page=2").await, "b");
    assert_eq!(names("?page=9").await, "Item 1,A,b", "beyond the last page is the last");
    let page = world.portfolio("?per_page=2").await;
    assert_eq!(
        (&page["pages"], &page["selected"]["items"], &page["item_count"]),
        (&json!(2), &json!(5), &json!(5))
    );
    let search = |letters| format!("?q={}", "%C3%A9".repeat(letters));
    assert_eq!(names(&search(100)).await, "");
    let too_long = search(101);
    for query in [
        "?sort=x",
        "?page=0",
        "?per_page=1001",
        "?user_id=1",
        "?priced=maybe",
        "?page=-1",
        &too_long,
    ] {
        let answer = world.browser.get(&format!("/api/v1/portfolio{query}")).await;
        answer.expect_error(400, "malformed_query");
    }
    for (query, named) in [
        (
            "/portfolio?sorting=name",
            "unknown field `sorting`, expected one of `sort`, `order`, `q`,",
        ),
        ("/portfolio?q=a&q=b", "duplicate field `q`"),
        ("/portfolio/history?days=7", "unknown field `days`, expected `limit`"),
    ] {
        let answer = world.browser.get(&format!("/api/v1{query}")).await;
        assert!(answer.expect_error(400, "malformed_query").body.contains(named), "{query}");
    }
}

#[tokio::test]
async fn rarities_are_sorted_as_the_game_ranks_them() {
    let of = |id, name, rarity| {
        let it = asset(id, name);
        Asset { look: Look { rarity, ..it.look }, ..it }
    };
    let world = World::with(vec![
        of(1, "A", "Restricted"),
        of(2, "B", "Covert"),
        of(3, "C", "Base Grade"),
        of(4, "D", "Classified"),
    ])
    .await;
    world.import().await.expect(200);
    for (query, names) in
        [("?sort=rarity", ["B", "D", "A", "C"]), ("?sort=rarity&order=asc", ["C", "A", "D", "B"])]
    {
        let shown = world.portfolio(query).await;
        let shown: Vec<_> = shown["holdings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| &it["market_hash_name"])
            .collect();
        assert_eq!(shown, names, "{query}");
    }
}

#[tokio::test]
async fn the_form_shows_one_kind_alone() {
    let world = World::with(vec![
        asset(1, "A"),
        asset(2, "StatTrak™ B"),
        asset(3, "★ StatTrak™ C"),
        asset(4, "Souvenir D"),
        Asset { locked: true, ..asset(5, "E") },
    ])
    .await;
    world.import().await.expect(200);
    for (only, names) in [
        ("stattrak", &["StatTrak™ B", "★ StatTrak™ C"][..]),
        ("souvenir", &["Souvenir D"]),
        ("locked", &["E"]),
        ("tradable", &["A", "Souvenir D", "StatTrak™ B", "★ StatTrak™ C"]),
        ("unsellable", &[]),
        ("nonsense", &["A", "E", "Souvenir D", "StatTrak™ B", "★ StatTrak™ C"]),
    ] {
        let page = world.browser.get(&format!("/?only={only}&sort=name")).await.expect(200).body;
        let rows = page.split("<span class=\"what\">").skip(1);
        let shown: Vec<_> = rows
            .map(|row| row.split_once("\">").unwrap().1.split_once("</a>").unwrap().0)
            .collect();
        assert_eq!(shown, names, "{only}");
        let is_chosen = page.contains(&format!("<option value=\"{only}\" selected>"));
        assert_eq!(is_chosen, only != "nonsense");
    }
    let found = world.portfolio("?stattrak=true").await;
    assert_eq!(found["selected"]["holdings"], 2);
}

#[tokio::test]
async fn the_page_beyond_the_last_is_the_last() {
    let world = World::with((1..=201).map(|id| asset(id, &format!("Item {id}"))).collect()).await;
    world.import().await.expect(200);
    for page in ["/?page=3", "/?page=99"] {
        let page = world.browser.get(page).await.expect(200).body;
        assert!(page.contains("Page 3 of 3"), "{page}");
        assert_eq!(page.matches("<th scope=\"row\">").count(), 1);
        assert!(page.contains("page=2#items-title"), "{page}");
    }
    assert!(
        world.browser.get("/?q=none&page=9").await.expect(200).body.contains("Nothing matches.")
    );
}

#[tokio::test]
async fn what_is_not_known_without_prices_is_not_shown_as_nothing() {
    let world = World::unpriced(vec![asset(1, "A"), asset(2, "B")], &[]).await;
    world.import().await.expect(200);
    let page = world.browser.get("/").await.expect(200).body;
    assert!(
        page.contains("Not known yet") && page.contains("There are no prices at the moment"),
        "{page}"
    );
    for wrong in ["$0", "together", "no price</a>"] {
        assert!(!page.contains(wrong), "{wrong}: {page}");
    }
    world.portfolios().prices().refresh().await.unwrap();
    let page = world.browser.get("/").await.expect(200).body;
    assert!(
        page.contains("<p class=\"total\">$2.50</p>") && page.contains("together $2.50"),
        "{page}"
    );
    for sentence in
        ["1 item has no price</a> there and counts as $0.", "low floats and rare patterns are not"]
    {
        assert!(page.contains(sentence), "{sentence}: {page}");
    }
    world.steam.becomes(inventory(Vec::new()));
    world.cool_down();
    world.import().await.expect(200);
    let page = world.browser.get("/").await.expect(200).body;
    assert!(page.contains("<p class=\"total\">$0.00</p>"), "nothing is held: {page}");
}

#[tokio::test]
async fn an_unchanged_portfolio_is_304_until_prices_or_holdings_change() {
    let world = World::with(vec![asset(1, "A")]).await;
    world.import().await.expect(200);
    let get = async |etag: &str| {
        world.browser.send(Method::GET, "/api/v1/portfolio", &[("if-none-match", etag)], None).await
    };
    let tag = get("\"x\"").await.expect(200).header("etag").to_owned();
    assert!(get(&tag).await.expect(304).body.is_empty());
    world.app.advance(Duration::from_secs(1));
    world.app.instances[0].app.portfolio.prices().refresh().await.unwrap();
    let priced = get(&tag).await.expect(200).header("etag").to_owned();
    let strong = priced.trim_start_matches("W/");
    for known in [strong.to_owned(), format!("\"x\", {priced}"), format!("\"a,b\",{strong}")] {
        get(&known).await.expect(304);
    }
    get(&format!("{},x", strong.trim_matches('"'))).await.expect(200);
    world.cool_down();
    world.import().await.expect(200);
    get(&priced).await.expect(200);
}

#[tokio::test]
async fn an_import_on_another_instance_is_seen_at_once() {
    let mut world = World::with(vec![asset(1, "A")]).await;
    world.app.add_instance().await;
    let held = async |at: usize, user| {
        let held = world.app.instances[at].app.portfolio.held(user).await.unwrap();
        held.map_or(0, |held| held.stacks.len())
    };
    let user = world.browser.me().await.unwrap().parse().unwrap();
    assert_eq!((held(0, user).await, held(1, user).await), (0, 0));
    world.import().await.expect(200);
    assert_eq!((held(0, user).await, held(1, user).await), (1, 1));
    world.steam.becomes(inventory(vec![asset(1, "A"), asset(2, "B")]));
    world.cool_down();
    world.import().await.expect(200);
    assert_eq!((held(0, user).await, held(1, user).await), (2, 2));
    assert_eq!(world.portfolio("").await["holding_count"], 2);
}

#[tokio::test]
async fn nobody_sees_or_imports_for_another() {
    let world = World::with(vec![asset(1, "A")]).await;
    world.import().await.expect(200);
    let bob = world.app.signed_in("bob@example.com").await;
    let shown = bob.get("/api/v1/portfolio").await.expect(200).json();
    assert_eq!(shown["item_count"], 0);
    let alices = world.portfolio("").await["holdings"][0]["item_id"].as_str().unwrap().to_owned();
    let answer = bob.get(&format!("/api/v1/portfolio?item_id={alices}")).await.expect(200);
    assert_eq!(answer.json()["holdings"], json!([]));
    assert_eq!(
        bob.get("/api/v1/portfolio/export.json").await.expect(200).json()["items"],
        json!([])
    );
    assert_eq!(bob.get("/api/v1/portfolio/history").await.expect(200).json()["history"], json!([]));

    world.steam.becomes(inventory(vec![asset(1, "A")]));
    bob.call(Method::POST, "/api/v1/portfolio/import", None)
        .await
        .expect_error(400, "steam_not_linked");
    let forged = json!({ "steam_id": STEAM_ID });
    world.cool_down();
    world
        .browser
        .post("/api/v1/portfolio/import", &forged)
        .await
        .expect_error(400, "malformed_body");
    assert!(world.steam.asked().is_empty());
    world.browser.post("/api/v1/portfolio/import", &json!({})).await.expect(200);
}

#[tokio::test]
async fn a_day_is_noted_once_whatever_the_instances_do() {
    let mut world = World::with(vec![asset(1, "A")]).await;
    world.import().await.expect(200);
    world.app.add_instance().await;
    let [first, second] = &world.app.instances[..] else { panic!() };
    second.app.portfolio.prices().refresh().await.unwrap();
    let (a, b) = tokio::join!(
        first.app.portfolio.take_daily_snapshots(),
        second.app.portfolio.take_daily_snapshots()
    );
    assert!(a.unwrap() + b.unwrap() >= 1);
    assert_eq!(first.app.portfolio.take_daily_snapshots().await.unwrap(), 0);
    world.app.advance(Duration::from_hours(24));
    assert_eq!(second.app.portfolio.take_daily_snapshots().await.unwrap(), 1);
    let history = world.browser.get("/api/v1/portfolio/history").await.expect(200).json();
    let days: Vec<_> =
        history["history"].as_array().unwrap().iter().map(|it| it["day"].clone()).collect();
    assert_eq!(days.iter().filter(|day| day.is_null()).count(), 1);
    assert!(
        days.contains(&json!("2030-03-17"))
            && days.contains(&json!("2030-03-18"))
            && days.len() == 3,
        "{days:?}"
    );
}

#[tokio::test]
async fn a_day_that_ends_while_it_is_noted_is_noted_to_its_end() {
    let world = World::with(vec![asset(1, "A")]).await;
    world.import().await.expect(200);
    let bob = linked(&world.app, "bob@example.com", "76561197960287931").await;
    bob.call(Method::POST, "/api/v1/portfolio/import", None).await.expect(200);
    let lock = world.app.lock_database().await;
    let midnight = async {
        world.app.writers_wait(1).await;
        world.app.advance(Duration::from_hours(24));
        lock.rollback().await.unwrap();
    };
    let noting = world.app.instances[0].app.portfolio.take_daily_snapshots();
    let (noted, ()) = tokio::join!(tokio::time::timeout(Duration::from_secs(10), noting), midnight);
    assert_eq!(noted.unwrap().unwrap(), 2);
    for email in ["alice@example.com", "bob@example.com"] {
        let browser = world.app.signed_in(email).await;
        let history = browser.get("/api/v1/portfolio/history").await.expect(200).json();
        let days: Vec<_> =
            history["history"].as_array().unwrap().iter().map(|it| &it["day"]).collect();
        assert!(days.contains(&&json!("2030-03-17")) && days.len() == 2, "{days:?}");
    }
}

#[tokio::test]
async fn after_ninety_days_only_the_value_of_each_day_is_left() {
    let world = World::with(vec![asset(1, "A")]).await;
    world.import().await.expect(200);
    let portfolio = &world.app.instances[0].app.portfolio;
    assert_eq!(portfolio.take_daily_snapshots().await.unwrap(), 1);
    world.app.advance(Duration::from_hours(24 * 90));
    assert_eq!(portfolio.take_daily_snapshots().await.unwrap(), 1);
    let browser = world.app.signed_in("alice@example.com").await;
    let history = browser.get("/api/v1/portfolio/history").await.expect(200).json();
    let days: Vec<_> =
        history["history"].as_array().unwrap().iter().map(|it| it["day"].clone()).collect();
    assert_eq!(days, [json!("2030-03-17"), json!("2030-06-15")]);
}

#[tokio::test]
async fn without_redis_nothing_is_imported_and_nobody_is_signed_out() {
    let world = World::with(vec![asset(1, "A")]).await;
    let token = world.browser.csrf().await;
    world.app.redis().kill();
    let answer = world
        .browser
        .send(Method::POST, "/api/v1/portfolio/import", &[("x-csrf-token", &token)], None)
        .await;
    assert!(!answer.header("retry-after").is_empty());
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(world.steam.asked().is_empty());
}

#[tokio::test]
async fn health_is_about_the_stores_and_not_about_prices() {
    let world = World::with(vec![]).await;
    let health = world.browser.get("/api/v1/health").await.expect(200).json();
    assert_eq!(health, json!({ "status": "ok", "database": "up", "redis": "up" }));
}

#[tokio::test]
async fn the_same_holds_on_postgres() {
    let server = Postgres::start().await;
    let url = server.create_database().await;
    let world = World::build(
        vec![asset(1, "A"), asset(2, "A"), asset(3, "Item 1")],
        &[("DATABASE_URL", &url)],
    )
    .await;
    world.import().await.expect(200);
    assert_eq!(world.portfolio("").await["total_value"], 500 + 736_479);
    let page = world.browser.get("/").await.expect(200).body;
    assert!(page.contains("0.1116"), "float values are on the page: {page}");
    assert_eq!(world.portfolio("?item_id=%00").await["holdings"], json!([]));
    world.browser.get("/?item_id=%00").await.expect(200);
    world.import().await.expect_error(429, "import_cooldown");
    world.cool_down();
    world.steam.becomes(inventory(vec![asset(2, "A"), asset(9, "B")]));
    world.import().await.expect(200);
    let shown = world.portfolio("").await;
    assert_eq!(quantities(&shown), [("A".to_owned(), 1), ("B".to_owned(), 1)]);
    let export = world.browser.get("/api/v1/portfolio/export.json").await.expect(200).json();
    assert_eq!(export["items"].as_array().unwrap().len(), 2);
    assert_eq!(world.app.instances[0].app.portfolio.take_daily_snapshots().await.unwrap(), 1);
    let history = world.browser.get("/api/v1/portfolio/history").await.expect(200).json();
    assert_eq!(history["history"].as_array().unwrap().len(), 3);
    world.browser.get("/api/v1/portfolio/import/events").await.expect(200);
}
