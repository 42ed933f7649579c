//! Price feeds' possible responses, and the prices used afterwards.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use serde_json::json;
use tracera::config::{Config, Mode, PriceFeed};
use tracera::domain::phase::Phase;
use tracera::portfolio::feeds::FeedError;
use tracera::portfolio::prices::Prices;
use tracera_session::{Clock, Timestamp};

use super::*;
use crate::harness::SECRET;
use crate::portfolio::upstream::Answer;

/// Prices from these feeds, stored in `directory`.
fn prices(feeds: &[&str], directory: &std::path::Path, more: &[(&str, &str)]) -> Prices {
    prices_at(Clock::system(), feeds, directory, more)
}

fn prices_at(
    clock: Clock,
    feeds: &[&str],
    directory: &std::path::Path,
    more: &[(&str, &str)],
) -> Prices {
    let fallbacks = feeds[1..].join(",");
    let own = [
        ("SESSION_SECRET", SECRET),
        ("PRICE_FEED_URL", feeds[0]),
        ("PRICE_FALLBACK_URLS", &fallbacks),
        ("PRICE_FEED_MAX_MIB", "4"),
    ];
    let vars = own
        .iter()
        .chain(more)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let settings = Config::from_vars(&vars, Mode::Serve).unwrap().prices;
    assert!(matches!(settings.feed, PriceFeed::Http(_) | PriceFeed::File(_)));
    Prices::new(&settings, directory, clock).unwrap()
}

fn rows(count: usize) -> Vec<Value> {
    (0..count).map(|at| row(&format!("Item {at}"), None, 1.5)).collect()
}

fn count(prices: &Prices) -> usize {
    prices.current().map_or(0, |prices| prices.list.len())
}

#[tokio::test]
async fn troubles_of_a_feed_leave_the_prices_in_force() {
    let directory = tempfile::tempdir().unwrap();
    let feed = Feed::skinport(&rows(20)).await;
    let prices = prices(&[&feed.url], directory.path(), &[]);
    prices.refresh().await.unwrap();
    let good = prices.current().unwrap();
    let retry = Answer::With(429, "retry-after", "7", b"{}".to_vec());
    for (answer, expected) in [
        (Answer::html(406, "Not Acceptable"), "Status(406)"),
        (Answer::html(403, "<html>Cloudflare"), "Status(403)"),
        (Answer::With(302, "location", "http://169.254.169.254/", vec![]), "Status(302)"),
        (Answer::With(302, "location", "/v1/items", vec![]), "Status(302)"),
        (retry, "Throttled(Some(7s))"),
        (Answer::text(200, "[]"), "Empty"),
        (Answer::text(200, r#"{"errors":[{"id":"x","message":"y"}]}"#), "Reported"),
        (Answer::html(200, "<html>"), "Unreadable"),
        (Answer::text(200, r#"[{"market_hash_name":"A","#), "Unreadable"),
        (Feed::brotli(&json!(rows(9))), "Shrunk { had: 20, has: 9 }"),
        (Answer::gzip_bomb(), "Io"),
        (Answer::Endless, "Io"),
    ] {
        feed.becomes(answer);
        let error = prices.refresh().await.unwrap_err();
        assert!(format!("{error:?}").starts_with(expected), "{expected}: {error:?}");
        assert!(Arc::ptr_eq(&prices.current().unwrap(), &good), "{expected}");
        assert!(!format!("{error:?} {error}").contains("/v1/items"), "{error:?}");
    }
    feed.becomes(Feed::brotli(&json!(rows(10))));
    prices.refresh().await.unwrap();
    assert_eq!(count(&prices), 10);
}

#[tokio::test]
async fn fallbacks_help_out_in_their_order() {
    let directory = tempfile::tempdir().unwrap();
    let blocked = Feed::answering(Answer::html(403, "<html>")).await;
    let list = Answer::text(200, r#"[{"market_hash_name":"A","quantity":9,"min_price":123}]"#);
    let phases = r#"{"data":[{"market_hash_name":"K","phase_name":"Ruby","min_price":900010}]}"#;
    let csfloat = Feed::csfloat(list, Answer::text(200, phases)).await;
    let csgo = r#"{"success":true,"time":1,"currency":"USD","items":[{"market_hash_name":"A",
        "volume":"3","price":"4.567"}]}"#;
    let csgo = Feed::answering(Answer::text(200, csgo)).await;
    let prices = prices(&[&blocked.url, &csfloat.url, &csgo.url], directory.path(), &[]);
    let price = || prices.current().unwrap().list.find("A", None).unwrap().cents.get();
    prices.refresh().await.unwrap();
    assert_eq!(price(), 123);
    let ruby = prices.current().unwrap().list.find("K", Some(Phase::Ruby)).unwrap();
    assert_eq!((ruby.cents.get(), ruby.estimated), (900_010, false));
    csfloat.becomes(Answer::html(503, ""));
    prices.refresh().await.unwrap();
    assert_eq!(price(), 457);
    csgo.becomes(Answer::text(200, r#"{"success":false}"#));
    assert!(matches!(prices.refresh().await, Err(FeedError::Reported)));
    assert_eq!(price(), 457);
}

#[tokio::test]
async fn prices_survive_a_restart_but_not_a_change_of_currency() {
    let directory = tempfile::tempdir().unwrap();
    let feed = Feed::skinport(&[row("★ K", Some("Ruby"), 9000.1), row("A", None, 2.5)]).await;
    let first = prices(&[&feed.url], directory.path(), &[]);
    first.refresh().await.unwrap();
    let before = first.current().unwrap();
    let second = prices(&[&feed.url], directory.path(), &[]);
    let after = second.current().unwrap();
    assert_eq!(
        (&after.list, &after.source, after.fetched_at),
        (&before.list, &before.source, before.fetched_at)
    );
    assert_eq!(count(&prices(&[&feed.url], directory.path(), &[("PRICE_CURRENCY", "EUR")])), 0);
    std::fs::write(directory.path().join("prices.json"), "{\"source\":").unwrap();
    assert_eq!(
        count(&prices(&[&feed.url], directory.path(), &[])),
        0,
        "a broken file is as good as none"
    );
}

#[tokio::test]
async fn prices_are_kept_where_nothing_else_has_made_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().join("data");
    let feed = Feed::skinport(&[row("A", None, 2.5)]).await;
    prices(&[&feed.url], &data_dir, &[]).refresh().await.unwrap();
    assert_eq!(count(&prices(&[&feed.url], &data_dir, &[])), 1);
    let mode = std::fs::metadata(&data_dir).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[tokio::test]
async fn a_file_is_a_feed_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("own prices.json");
    let url = url::Url::from_file_path(&file).unwrap();
    let prices = prices(&[url.as_str()], directory.path(), &[]);
    assert!(matches!(prices.refresh().await, Err(FeedError::Io(_))));
    std::fs::write(&file, r#"{"A": 1.25, "B": "0.005", "C": 1e308}"#).unwrap();
    prices.refresh().await.unwrap();
    let current = prices.current().unwrap();
    assert_eq!((&*current.source, current.list.len()), ("file", 2));
}

#[tokio::test]
async fn readers_keep_what_they_hold_while_prices_are_swapped() {
    let directory = tempfile::tempdir().unwrap();
    let feed = Feed::skinport(&[row("A", None, 1.0)]).await;
    let prices = prices(&[&feed.url], directory.path(), &[]);
    prices.refresh().await.unwrap();
    let held = prices.current().unwrap();
    feed.becomes(Feed::brotli(&json!([row("A", None, 2.0)])));
    prices.refresh().await.unwrap();
    let cents = |snapshot: &tracera::portfolio::prices::Snapshot| {
        snapshot.list.find("A", None).unwrap().cents.get()
    };
    assert_eq!((cents(&held), cents(&prices.current().unwrap())), (100, 200));
}

#[tokio::test]
async fn a_feed_that_has_shrunk_for_good_is_believed_after_a_day() {
    let directory = tempfile::tempdir().unwrap();
    let feed = Feed::skinport(&rows(20)).await;
    let clock = Clock::manual(Timestamp::from_millis(1_900_000_000_000));
    let prices = prices_at(clock.clone(), &[&feed.url], directory.path(), &[]);
    prices.refresh().await.unwrap();
    feed.becomes(Feed::brotli(&json!(rows(5))));
    let shrunk = async || matches!(prices.refresh().await, Err(FeedError::Shrunk { .. }));
    assert!(shrunk().await);
    clock.advance(Duration::from_hours(23));
    assert!(shrunk().await);
    clock.advance(Duration::from_hours(1));
    assert!(!shrunk().await);
    assert_eq!(count(&prices), 5);
}

#[tokio::test]
async fn marks_of_text_and_packed_files_and_near_redirects_are_understood() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("prices.json.gz");
    let url = url::Url::from_file_path(&file).unwrap();
    let prices_of_file = prices(&[url.as_str()], directory.path(), &[]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, "\u{feff}{\"A\": 1.25}".as_bytes()).unwrap();
    std::fs::write(&file, gzip.finish().unwrap()).unwrap();
    prices_of_file.refresh().await.unwrap();
    assert_eq!(count(&prices_of_file), 1);
    std::fs::write(&file, [0x1f, 0x8b, 8, 0]).unwrap();
    assert!(prices_of_file.refresh().await.is_err());

    let csfloat = Feed::csfloat(
        Answer::With(302, "location", "/api/v1/listings/price-list/doppler", vec![]),
        Answer::text(200, "\u{feff}[{\"market_hash_name\":\"A\",\"quantity\":9,\"min_price\":5}]"),
    )
    .await;
    let moved = prices(&[&csfloat.url], directory.path(), &[]);
    moved.refresh().await.unwrap();
    assert_eq!(count(&moved), 1);
}
