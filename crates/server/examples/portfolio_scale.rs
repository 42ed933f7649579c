//! Imports a 50,000-asset inventory from a Steam in another process, then answers `GET
//! /api/v1/portfolio` for it, and prints what that takes.
//!
//! `cargo run --release -p tracera --example portfolio_scale`
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement for people")]

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use axum::extract::{Query, State};
use http::HeaderMap;
use serde_json::json;
use tracera::api::portfolio::show;
use tracera::auth::api_tokens::VerifiedToken;
use tracera::clock::{Clock, Stopwatch, utc};
use tracera::config::{Config, Mode};
use tracera::domain::email::Email;
use tracera::domain::provider::{Identity, Provider};
use tracera::domain::scope::Scopes;
use tracera::http::App;
use tracera::http::bearer::Reader;
use tracera::portfolio::import::State as Import;
use tracera::portfolio::selection::Selection;
use tracera::start::{assemble, open_stores};
use tracera::store::{identities, users};

const ASSETS: u64 = 50_000;
const PRICES: u64 = 20_000;
const READS: u32 = 20;

#[tokio::main]
async fn main() {
    if let Some(names) = std::env::args().nth(1) {
        return serve_steam(names.parse().unwrap()).await;
    }
    for names in [5_000, ASSETS] {
        measure(names).await;
    }
}

async fn measure(names: u64) {
    println!("\n{ASSETS} assets of {names} different names, {PRICES} prices, SQLite");
    let directory = tempfile::tempdir().unwrap();
    let mut steam = Command::new(std::env::current_exe().unwrap())
        .arg(names.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(steam.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let app = app(directory.path(), url.trim()).await;

    let (watch, cpu) = (Stopwatch::start(), cpu());
    app.portfolio.prices().refresh().await.unwrap();
    println!("  prices read and swapped in {:?}, {:?} of CPU", watch.elapsed(), spent_since(cpu));

    let user = somebody(&app).await;
    reset_peak();
    let (before, watch, cpu) = (memory("VmRSS"), Stopwatch::start(), self::cpu());
    let mut state = app.portfolio.import(user).await.unwrap();
    let ended = state.wait_for(|state| !matches!(state, Import::Running(_))).await.unwrap().clone();
    let Import::Done(imported) = ended else { panic!("{ended:?}") };
    println!(
        "  imported {} assets in {:?}, {:?} of CPU; memory {} MiB before, {} MiB at its peak",
        imported.assets,
        watch.elapsed(),
        spent_since(cpu),
        before >> 10,
        memory("VmHWM") >> 10
    );
    for query in ["", "?per_page=100"] {
        read(&app, user, query).await;
    }
    steam.kill().unwrap();
    steam.wait().unwrap();
}

/// Answers the request a few times, the first of them not counted.
async fn read(app: &App, user: uuid::Uuid, query: &str) {
    let mut bytes = 0;
    let (mut watch, mut spent) = (Stopwatch::start(), cpu());
    for round in 0..=READS {
        if round == 1 {
            (watch, spent) = (Stopwatch::start(), cpu());
        }
        let uri = format!("/api/v1/portfolio{query}").parse().unwrap();
        let selection = Query::<Selection>::try_from_uri(&uri);
        let token = VerifiedToken { id: user, user, scopes: Scopes::default() };
        let reader = Reader::by_token(token).unwrap();
        let response = show(State(app.clone()), reader, HeaderMap::new(), selection).await.unwrap();
        bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap().len();
    }
    let (wall, cpu) = (watch.elapsed() / READS, spent_since(spent) / READS);
    println!("  GET /api/v1/portfolio{query}: {wall:?}, {cpu:?} of CPU, {} KiB", bytes >> 10);
}

async fn app(directory: &std::path::Path, steam: &str) -> App {
    let prices: BTreeMap<_, _> = (0..PRICES).map(|name| (item(name), 1.25)).collect();
    let feed = directory.join("feed.json");
    std::fs::write(&feed, serde_json::to_vec(&prices).unwrap()).unwrap();
    let feed = url::Url::from_file_path(&feed).unwrap();
    let vars = [
        ("SESSION_SECRET", "kS0vV3y1QmZbq2nD8rTfXh5LwJ7cEu9A"),
        ("DATA_DIR", directory.to_str().unwrap()),
        ("STEAM_COMMUNITY_URL", steam),
        ("STEAM_SPACING_MILLISECONDS", "0"),
        ("PRICE_FEED_URL", feed.as_str()),
    ];
    let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let config = Config::from_vars(&vars, Mode::Dev).unwrap();
    let clock = Clock::system();
    let stores = open_stores(&config, &clock).await.unwrap();
    assemble(&config, &stores, clock).unwrap().0
}

async fn somebody(app: &App) -> uuid::Uuid {
    let now = utc(app.clock.now());
    let email = Email::parse("alice@example.com").unwrap();
    let (user, _) =
        users::find_or_create_by_verified_email(&app.database, &email, now).await.unwrap();
    let (issuer, subject) =
        ("https://steamcommunity.com".to_owned(), "76561198000000001".to_owned());
    let identity = Identity { provider: Provider::Steam, issuer, subject };
    identities::link(&app.database, user.id, &identity, now).await.unwrap();
    user.id
}

fn item(name: u64) -> String {
    format!("StatTrak™ AK-47 | Somewhat Longer Name {name} (Field-Tested)")
}

/// A Steam that makes its pages as they are asked for.
async fn serve_steam(names: u64) {
    let page = move |Query(query): Query<HashMap<String, String>>| async move {
        let number = |name: &str| query.get(name).map_or(0, |text| text.parse::<u64>().unwrap());
        let (from, count) = (number("start_assetid"), number("count"));
        let ids = from + 1..=(from + count).min(ASSETS);
        let assets: Vec<_> = ids
            .clone()
            .map(|id| {
                json!({"appid":730,"contextid":"2","assetid":id.to_string(),
                "classid":(id % names).to_string(),"instanceid":"0","amount":"1"})
            })
            .collect();
        let described: std::collections::BTreeSet<_> = ids.clone().map(|id| id % names).collect();
        let descriptions: Vec<_> = described
            .into_iter()
            .map(|class| {
                json!({"appid":730,"classid":class.to_string(),"instanceid":"0",
                    "icon_url":"i0CoZ81Ui0m".repeat(20),
                "tradable":1,"marketable":1,"type":"StatTrak™ Rifle","market_hash_name":item(class),
                "descriptions":[{"type":"html","value":"x".repeat(600)}],
                "tags":[{"category":"Rarity","internal_name":"Rarity_Ancient_Weapon",
                    "localized_tag_name":"Covert","color":"eb4b4b"}]})
            })
            .collect();
        let properties: Vec<_> = ids
            .map(|id| {
                json!({"assetid":id.to_string(),"asset_properties":[{"propertyid":2,
                "float_value":"0.111641205847263336"},{"propertyid":1,"int_value":"116"}]})
            })
            .collect();
        let last = (from + count).min(ASSETS);
        axum::Json(
            json!({"assets":assets,"descriptions":descriptions,"asset_properties":properties,
            "more_items":u8::from(last < ASSETS),"last_assetid":last.to_string(),
                "total_inventory_count":ASSETS,"success":1}),
        )
    };
    let router = axum::Router::new().route("/inventory/{owner}/730/2", axum::routing::get(page));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("http://{}", listener.local_addr().unwrap());
    axum::serve(listener, router).await.unwrap();
}

/// A line of `/proc/self/status`, in KiB.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn reset_peak() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// CPU time since [`cpu`] was that.
fn spent_since(earlier: Duration) -> Duration {
    cpu().saturating_sub(earlier)
}

/// CPU time of this process, to ten milliseconds.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}
