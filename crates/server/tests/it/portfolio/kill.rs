//! The server is killed in the middle of an import.

use std::process::Stdio;
use std::sync::Arc;

use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tracera_testkit::free_port;

use super::*;
use crate::harness::{SECRET, eventually};
use crate::portfolio::upstream::Answer;
use crate::portfolio::upstream::steam::assets;

#[tokio::test]
async fn a_kill_in_the_middle_leaves_the_earlier_holdings_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/kill.db", directory.path().display());
    kill_in_the_middle(&url).await;
}

#[tokio::test]
async fn a_kill_in_the_middle_leaves_the_earlier_holdings_on_postgres() {
    let server = Postgres::start().await;
    kill_in_the_middle(&server.create_database().await).await;
}

async fn kill_in_the_middle(database: &str) {
    // This process shares the stores and the secret with the killed one. Its clock is years ahead.
    let world = World::build(vec![asset(1, "A")], &[("DATABASE_URL", database)]).await;
    let (mut victim, addr, directory) = start(&world, database).await;
    let at_victim = world.browser.at(addr);
    at_victim.call(Method::POST, "/api/v1/portfolio/import", None).await.expect(200);
    let before = quantities(&world.portfolio("").await);
    assert_eq!(before, [("A".to_owned(), 1)]);

    let gate = Arc::new(Semaphore::new(1));
    let (opened, all) = (Arc::clone(&gate), inventory(assets(30, 3)));
    world.steam.becomes(move |asked| Answer::Held(Arc::clone(&opened), Box::new(all(asked))));
    let client = at_victim.clone();
    let token = client.csrf().await;
    let importing = tokio::spawn(async move {
        client
            .try_send(Method::POST, "/api/v1/portfolio/import", &[("x-csrf-token", &token)], None)
            .await
    });
    eventually(|| async { (world.steam.asked().len() == 2).then_some(()) }).await;
    victim.kill().await.unwrap();
    assert!(importing.await.unwrap().is_err(), "the connection is gone");

    let log = std::fs::read_to_string(directory.path().join("log")).unwrap();
    let user = world.browser.me().await.unwrap();
    assert!(log.contains("import_done"), "it was logged at all");
    for personal in [STEAM_ID, &*user, "alice@example.com"] {
        assert!(!log.contains(personal), "{:?}", log.lines().find(|line| line.contains(personal)));
    }

    assert_eq!(quantities(&world.portfolio("").await), before);
    let export = world.browser.get("/api/v1/portfolio/export.json").await.expect(200).json();
    assert_eq!(export["items"].as_array().unwrap().len(), 1);
    // By this process's clock the lease has expired. The next import removes the dead one's rows.
    world.steam.becomes(inventory(assets(12, 2)));
    world.import().await.expect(200);
    assert_eq!(world.portfolio("").await["item_count"], 12);
}

/// Starts another process on the same stores; it dies with the test.
async fn start(world: &World, database: &str) -> (Child, std::net::SocketAddr, tempfile::TempDir) {
    let addr = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let directory = tempfile::tempdir().unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_tracera"))
        .arg("serve")
        .env_clear()
        .env("SESSION_SECRET", SECRET)
        .env("LISTEN_ADDR", addr.to_string())
        .env("BASE_URL", "http://localhost:8080")
        .env("REDIS_URL", world.app.redis().url())
        .env("DATABASE_URL", database)
        .env("DATA_DIR", directory.path())
        .env("STEAM_COMMUNITY_URL", &world.steam.url)
        .env("STEAM_SPACING_MILLISECONDS", "0")
        .env("STEAM_PAGE_SIZE", "10")
        .env("PRICE_FEED_URL", &world.feed.url)
        .env("PORTFOLIO_IMPORT_COOLDOWN_MINUTES", "0")
        .env("RUST_LOG", "trace")
        .env("LOG_FORMAT", "json")
        .stderr(std::fs::File::create(directory.path().join("log")).unwrap())
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    eventually(|| async { tokio::net::TcpStream::connect(addr).await.ok() }).await;
    (child, addr, directory)
}
