//! Steam's possible responses, and their effect on an import.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::Semaphore;

use super::*;
use crate::harness::eventually;
use crate::portfolio::upstream::Answer;
use crate::portfolio::upstream::steam::{assets, page};

const AWAY: &str = r#"{"error":"EYldRefreshAppIfNecessary failed with EResult 20"}"#;

#[tokio::test]
async fn every_trouble_of_steam_has_its_outcome_and_the_earlier_holdings_stay() {
    let world = World::with(vec![asset(1, "A"), asset(2, "B")]).await;
    world.import().await.expect(200);
    let before = world.portfolio("").await;
    let json = Answer::text;
    let html = Answer::html;
    for (answer, status, code, word, requests) in [
        (json(403, "null"), 409, "inventory_private", "Public", 1),
        (json(401, ""), 409, "inventory_private", "Public", 1),
        (
            json(200, r#"{"success":false,"Error":"This profile is private."}"#),
            409,
            "inventory_private",
            "Public",
            1,
        ),
        (html(403, "<HTML><H1>Access Denied</H1></HTML>"), 502, "steam_unavailable", "refuses", 1),
        (
            html(404, "<html>The specified profile could not be found.</html>"),
            409,
            "steam_profile_missing",
            "Unlink",
            1,
        ),
        (
            Answer::With(302, "location", "http://169.254.169.254/", vec![]),
            502,
            "steam_unavailable",
            "asks us to sign in",
            1,
        ),
        (json(400, "null"), 502, "steam_unavailable", "refused", 3),
        (json(500, AWAY), 502, "steam_unavailable", "EResult 20", 2),
        (
            json(500, r#"{"error":"failed with EResult 55 (55)"}"#),
            502,
            "steam_unavailable",
            "EResult 55",
            2,
        ),
        (json(500, r#"{"success":false}"#), 502, "steam_unavailable", "no Counter-Strike", 1),
        (html(502, "<h1>Sorry!</h1>"), 502, "steam_unavailable", "not available", 2),
        (html(503, "<h1>Sorry!</h1>"), 502, "steam_unavailable", "not available", 2),
        (html(200, "<h1>Sorry!</h1>"), 502, "steam_unavailable", "not available", 2),
        (json(200, "null"), 502, "steam_unavailable", "not available", 2),
        (json(200, r#"{"success":0}"#), 502, "steam_unavailable", "not available", 2),
        (json(200, "{\"assets\":[{\"asse"), 502, "steam_unavailable", "not an inventory", 2),
        (Answer::Hang, 502, "steam_unavailable", "in time", 2),
        (Answer::gzip_bomb(), 502, "steam_unavailable", "larger", 1),
        (Answer::Endless, 502, "steam_unavailable", "larger", 1),
    ] {
        world.cool_down();
        world.steam.becomes(move |_| answer.clone());
        let refused = world.import().await.expect_error(status, code);
        assert!(refused.body.contains(word), "{word}: {}", refused.body);
        assert!(
            !refused.body.contains(STEAM_ID) && !refused.body.contains("127.0.0.1"),
            "{}",
            refused.body
        );
        assert_eq!(world.steam.asked().len(), requests, "{}", refused.body);
        assert_eq!(world.portfolio("").await, before);
    }
    // A failure starts no cooldown.
    world.steam.becomes(inventory(vec![asset(1, "A")]));
    world.import().await.expect(200);
}

#[tokio::test]
async fn a_long_pause_ends_the_import_and_holds_for_everybody() {
    let world = World::with(vec![asset(1, "A")]).await;
    world.steam.becomes(|_| Answer::html(429, "<html>"));
    let refused = world.import().await.expect_error(502, "steam_unavailable");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((59..=75).contains(&wait), "{wait}");
    let page = world.browser.get("/?error=steam_unavailable").await.expect(200).body;
    assert!(page.contains("Steam is limiting requests; try again in a few minutes."), "{page}");
    world.steam.becomes(inventory(vec![asset(1, "A")]));
    let bob = linked(&world.app, "bob@example.com", "76561198000000002").await;
    let refused = bob.call(Method::POST, "/api/v1/portfolio/import", None).await;
    refused.expect_error(502, "steam_unavailable");
    assert!(world.steam.asked().is_empty(), "Steam is left alone");
}

#[tokio::test]
async fn a_short_pause_is_waited_for() {
    let world = World::with(vec![]).await;
    let busy = Answer::With(429, "retry-after", "1", b"null".to_vec());
    let then = inventory(vec![asset(1, "A")]);
    world.steam.becomes(move |asked| if asked.number == 1 { busy.clone() } else { then(asked) });
    assert_eq!(world.import().await.expect(200).json()["imported_assets"], 1);
    assert_eq!(world.steam.asked().len(), 2);
}

#[tokio::test]
async fn fewer_items_are_asked_for_when_steam_refuses_that_many() {
    let world = World::with(vec![]).await;
    for (most, pages) in [(Some(1000), 2_usize), (None, 16)] {
        let all = inventory(assets(1200, 10));
        world.steam.becomes(move |asked| {
            let refused = asked.count.is_some_and(|count| most.is_none_or(|most| count > most));
            if refused { Answer::text(400, "null") } else { all(asked) }
        });
        world.cool_down();
        let done = world.import().await.expect(200).json();
        assert_eq!((&done["imported_assets"], &done["pages"]), (&json!(1200), &json!(pages)));
        let counts: Vec<_> = world.steam.asked().iter().map(|asked| asked.count).collect();
        assert_eq!(
            counts[..2],
            [Some(2000), Some(1000)],
            "what was refused is not asked for again: {counts:?}"
        );
        assert_eq!(counts.len(), pages + if most.is_some() { 1 } else { 2 });
    }
}

#[tokio::test]
async fn empty_and_hidden_inventories_are_no_errors() {
    let world = World::with(vec![asset(1, "A")]).await;
    world.import().await.expect(200);
    for (body, hidden) in [
        (json!({"total_inventory_count":12,"success":1}), 12),
        (json!({"total_inventory_count":0,"success":1}), 0),
    ] {
        world.cool_down();
        world.steam.becomes(move |_| Answer::json(200, &body));
        let done = world.import().await.expect(200).json();
        assert_eq!((&done["imported_assets"], &done["hidden_assets"]), (&json!(0), &json!(hidden)));
        assert_eq!(world.portfolio("").await["holdings"], json!([]), "removed items go");
    }
    world.cool_down();
    world.steam.becomes(inventory(Vec::new()));
    let done = world.import().await.expect(200).json();
    assert!(done["message"].as_str().unwrap().contains("trade-protected"), "{done}");
    let page = world.browser.get("/").await.expect(200).body;
    assert!(page.contains("Steam shows no Counter-Strike 2 items of yours now"), "{page}");
}

#[tokio::test]
async fn what_drifts_between_pages_counts_once() {
    let world = World::with(vec![]).await;
    world.steam.becomes(|asked| {
        let (from, next) = if asked.start.is_none() { (1, Some(3)) } else { (2, None) };
        let here: Vec<_> = (from..from + 3).map(|id| asset(id, "A")).collect();
        Answer::json(200, &page(&here, 4, next))
    });
    assert_eq!(world.import().await.expect(200).json()["imported_assets"], 4);
    assert_eq!(quantities(&world.portfolio("").await), [("A".to_owned(), 4)]);
}

#[tokio::test]
async fn a_page_that_leads_back_is_an_error_and_what_was_held_stays() {
    let world = World::with(vec![asset(1, "A")]).await;
    world.import().await.expect(200);
    let before = world.portfolio("").await;
    for total in [4, 10] {
        world.cool_down();
        world.steam.becomes(move |asked| {
            let first = if asked.start.is_none() { 1 } else { 3 };
            let here = [asset(first, "A"), asset(first + 1, "A")];
            Answer::json(200, &page(&here, total, Some(2)))
        });
        let refused = world.import().await.expect_error(502, "steam_unavailable");
        assert!(refused.body.contains("leads back"), "{}", refused.body);
        assert_eq!(world.steam.asked().len(), 2);
        assert_eq!(world.portfolio("").await, before);
    }
}

#[tokio::test]
async fn a_last_page_that_comes_too_early_is_not_believed() {
    let world = World::with(vec![]).await;
    // There is a second page, but the first does not mention it.
    world.steam.becomes(|asked| {
        let (from, to) = if asked.start == Some(3) { (4, 6) } else { (1, 3) };
        let here: Vec<_> = (from..=to).map(|id| asset(id, "A")).collect();
        Answer::json(200, &page(&here, 6, None))
    });
    let done = world.import().await.expect(200).json();
    assert_eq!((&done["imported_assets"], &done["hidden_assets"]), (&json!(6), &json!(0)));
    // There is no second page: the rest is hidden.
    world.cool_down();
    world.steam.becomes(|asked| {
        let here: Vec<_> = (1..=3).map(|id| asset(id, "A")).collect();
        let here = if asked.start.is_some() { &[][..] } else { &here };
        Answer::json(200, &page(here, 9, None))
    });
    let done = world.import().await.expect(200).json();
    assert_eq!((&done["imported_assets"], &done["hidden_assets"]), (&json!(3), &json!(6)));
    assert_eq!(world.steam.asked().len(), 2, "one more question");
}

#[tokio::test]
async fn a_page_that_does_not_say_where_the_next_begins_changes_nothing() {
    let world = World::with(vec![asset(1, "A"), asset(2, "A"), asset(3, "B")]).await;
    world.import().await.expect(200);
    let before = world.portfolio("").await;
    world.cool_down();
    world.steam.becomes(|_| {
        let mut body = page(&[asset(1, "A")], 3, None);
        body["more_items"] = json!(1);
        Answer::json(200, &body)
    });
    world.import().await.expect_error(502, "steam_unavailable");
    assert_eq!(world.portfolio("").await, before);
}

#[tokio::test]
async fn an_asset_nobody_describes_counts_without_a_name() {
    let world = World::with(vec![]).await;
    world.steam.becomes(|_| {
        let mut body = page(&[asset(1, "A"), asset(2, "B")], 2, None);
        body["descriptions"] = json!([]);
        Answer::json(200, &body)
    });
    world.import().await.expect(200);
    let shown = world.portfolio("").await;
    assert_eq!(quantities(&shown), [(String::new(), 2)]);
    assert_eq!(shown["unpriced_items"], 2);
}

#[tokio::test]
async fn a_failure_at_page_seven_changes_nothing_and_says_where() {
    let world = World::build(vec![asset(1, "A")], &[("STEAM_PAGE_SIZE", "10")]).await;
    world.import().await.expect(200);
    let before = world.portfolio("").await;
    let all = inventory(assets(100, 5));
    world
        .steam
        .becomes(move |asked| if asked.number >= 7 { Answer::text(500, AWAY) } else { all(asked) });
    world.cool_down();
    world.import().await.expect_error(502, "steam_unavailable");
    assert_eq!(world.portfolio("").await, before);
    let export = world.browser.get("/api/v1/portfolio/export.json").await.expect(200).json();
    assert_eq!(export["items"].as_array().unwrap().len(), 1, "what was read is gone");
}

#[tokio::test]
async fn a_repeated_import_changes_nothing() {
    let world = World::build(assets(45, 7), &[("STEAM_PAGE_SIZE", "10")]).await;
    world.import().await.expect(200);
    let first = world.portfolio("?sort=name").await;
    world.import().await.expect_error(429, "import_cooldown");
    world.cool_down();
    world.import().await.expect(200);
    let second = world.portfolio("?sort=name").await;
    let parts = |portfolio: &Value| {
        (
            quantities(portfolio),
            portfolio["total_value"].clone(),
            portfolio["holdings"][0]["item_id"].clone(),
        )
    };
    assert_eq!(parts(&first), parts(&second));
}

#[tokio::test]
async fn inventories_are_read_through_the_proxy_that_is_configured() {
    // A proxy receives the full URL; the stand-in looks at the path only.
    let proxy = Steam::start(inventory(vec![asset(1, "A")])).await;
    let world = World::build(
        vec![],
        &[("STEAM_COMMUNITY_URL", "http://127.0.0.1:9"), ("STEAM_PROXY_URL", &proxy.url)],
    )
    .await;
    assert_eq!(world.import().await.expect(200).json()["imported_assets"], 1);
    assert_eq!((proxy.asked().len(), world.steam.asked().len()), (1, 0));
}

#[tokio::test]
async fn an_inventory_beyond_the_limit_is_refused() {
    let world =
        World::build(assets(30, 3), &[("PORTFOLIO_MAX_ITEMS", "20"), ("STEAM_PAGE_SIZE", "10")])
            .await;
    world.import().await.expect_error(422, "inventory_too_large");
    assert_eq!(world.steam.asked().len(), 3);
}

/// A Steam that responds once per permit.
fn held(world: &World, items: Vec<Asset>) -> Arc<Semaphore> {
    let gate = Arc::new(Semaphore::new(0));
    let (opened, all) = (Arc::clone(&gate), inventory(items));
    world.steam.becomes(move |asked| Answer::Held(Arc::clone(&opened), Box::new(all(asked))));
    gate
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_imports_at_once_over_two_instances_are_one() {
    let mut world = World::with(vec![]).await;
    let other = world.app.add_instance().await;
    let gate = held(&world, assets(50, 5));
    let attempts: Vec<_> = (0..20)
        .map(|at| {
            let browser = if at % 2 == 0 { world.browser.clone() } else { world.browser.at(other) };
            tokio::spawn(async move {
                browser.call(Method::POST, "/api/v1/portfolio/import", None).await
            })
        })
        .collect();
    eventually(|| async { (!world.steam.asked().is_empty()).then_some(()) }).await;
    // All but one are refused before that one continues.
    let refused = || attempts.iter().filter(|attempt| attempt.is_finished()).count();
    eventually(|| async { (refused() == 19).then_some(()) }).await;
    gate.add_permits(1);
    let mut codes = Vec::new();
    for attempt in attempts {
        let answer = attempt.await.unwrap();
        codes.push((answer.status.as_u16(), answer.code()));
    }
    codes.sort_unstable();
    assert_eq!(codes[0].0, 200);
    assert!(
        codes[1..].iter().all(|(status, code)| (*status, &**code) == (409, "import_running")),
        "{codes:?}"
    );
    assert_eq!(world.steam.asked().len(), 1);
    assert_eq!(world.portfolio("").await["item_count"], 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_page_offers_no_import_that_would_be_refused() {
    let world = World::with(vec![]).await;
    let button = async || {
        let page = world.browser.get("/").await.expect(200).body;
        let (_, button) = page.split_once("<button class=\"primary\"").unwrap();
        let (attributes, text) = button.split_once("</button>").unwrap().0.split_once('>').unwrap();
        (attributes.contains(" disabled"), text.to_owned())
    };
    assert_eq!(button().await, (false, "Import my inventory".to_owned()));
    let gate = held(&world, assets(5, 5));
    let browser = world.browser.clone();
    let caller =
        tokio::spawn(
            async move { browser.call(Method::POST, "/api/v1/portfolio/import", None).await },
        );
    eventually(|| async { (world.steam.asked().len() == 1).then_some(()) }).await;
    assert_eq!(button().await, (true, "Importing…".to_owned()));
    gate.add_permits(1);
    caller.await.unwrap().expect(200);
    assert_eq!(button().await, (true, "Import again in 10 min".to_owned()));
    world.app.advance(Duration::from_secs(61));
    assert_eq!(button().await, (true, "Import again in 9 min".to_owned()));
    world.cool_down();
    assert_eq!(button().await, (false, "Import again".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_client_that_goes_away_does_not_stop_the_import_and_others_follow_it() {
    let mut world = World::build(vec![], &[("STEAM_PAGE_SIZE", "10")]).await;
    let other = world.app.add_instance().await;
    let gate = held(&world, assets(30, 3));
    let browser = world.browser.clone();
    let caller =
        tokio::spawn(
            async move { browser.call(Method::POST, "/api/v1/portfolio/import", None).await },
        );
    eventually(|| async { (world.steam.asked().len() == 1).then_some(()) }).await;
    gate.add_permits(1);
    eventually(|| async { (world.steam.asked().len() == 2).then_some(()) }).await;
    caller.abort();
    let (here, elsewhere) = (world.browser.clone(), world.browser.at(other));
    let here = tokio::spawn(async move { here.get("/api/v1/portfolio/import/events").await });
    let elsewhere =
        tokio::spawn(async move { elsewhere.get("/api/v1/portfolio/import/events").await });
    // Both streams are open before the import continues.
    eventually(|| async { (!here.is_finished() && !elsewhere.is_finished()).then_some(()) }).await;
    gate.add_permits(10);
    let here = here.await.unwrap().expect(200);
    assert_eq!(here.header("content-type"), "text/event-stream");
    assert_eq!(here.header("x-accel-buffering"), "no");
    assert_eq!(here.header("cache-control"), "no-store");
    assert!(
        here.body.contains("event: progress") && here.body.contains("\"items_total\":30"),
        "{}",
        here.body
    );
    assert!(
        here.body.contains("event: done") && here.body.contains("\"imported_assets\":30"),
        "{}",
        here.body
    );
    let elsewhere = elsewhere.await.unwrap().expect(200);
    assert!(
        elsewhere.body.contains("event: ended") || elsewhere.body.contains("event: idle"),
        "{}",
        elsewhere.body
    );
    assert_eq!(world.portfolio("").await["item_count"], 30);
    let idle = world.browser.get("/api/v1/portfolio/import/events").await.expect(200);
    assert!(idle.body.contains("event: idle"), "{}", idle.body);
}

#[tokio::test]
async fn a_client_that_goes_away_while_the_import_is_claimed_does_not_stop_it() {
    let world = World::with(assets(5, 5)).await;
    let browser = world.browser.clone();
    let token = browser.csrf().await;
    let lock = world.app.lock_database().await;
    let import = browser
        .begin(Method::POST, "/api/v1/portfolio/import", &[("x-csrf-token", &token)], None)
        .await;
    world.app.writers_wait(1).await;
    import.hang_up().await;
    lock.rollback().await.unwrap();
    eventually(|| async { (world.steam.asked().len() == 1).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_signs_out_hears_no_more_of_the_import() {
    let world = World::with(vec![]).await;
    let gate = held(&world, assets(5, 5));
    let browser = world.browser.clone();
    let caller =
        tokio::spawn(
            async move { browser.call(Method::POST, "/api/v1/portfolio/import", None).await },
        );
    eventually(|| async { (world.steam.asked().len() == 1).then_some(()) }).await;
    let follower = world.browser.fork();
    let following =
        tokio::spawn(async move { follower.get("/api/v1/portfolio/import/events").await });
    world.browser.logout().await.expect(204);
    // The stream ends, whether the sign-out comes before or after its start.
    let heard = following.await.unwrap();
    assert!(!heard.body.contains("event: done"), "{}", heard.body);
    gate.add_permits(1);
    caller.await.unwrap().expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_import_longer_than_a_request_is_202_and_goes_on() {
    let world =
        World::build(vec![], &[("REQUEST_TIMEOUT_SECONDS", "1"), ("STEAM_TIMEOUT_SECONDS", "30")])
            .await;
    let gate = held(&world, assets(5, 5));
    let answer = world.import().await.expect(202).json();
    assert_eq!(answer["progress"]["stage"], "reading");
    gate.add_permits(1);
    eventually(|| async { (world.portfolio("").await["item_count"] == 5).then_some(()) }).await;
}
