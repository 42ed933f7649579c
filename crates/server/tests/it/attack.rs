//! Attacks with many clients, and the response times that an honest user sees meanwhile. All on
//! loopback.
//!
//! The numbers are small here. `script/attack` sets `TRACERA_ATTACK` for large ones and shows the
//! printed results. Attacks without an honest user are elsewhere: `growing_tables`, `limits`,
//! `serving`, and signing out in `pages_over_http`.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracera_testkit::{SmtpMode, SmtpServer};

use crate::browser::Browser;
use crate::harness::TestApp;

/// Whether the numbers are large.
fn is_large() -> bool {
    std::env::var_os("TRACERA_ATTACK").is_some()
}

fn from(browser: &Browser, ip: &str) -> Browser {
    browser.with_header("x-forwarded-for", ip)
}

/// The 99th percentile of a signed-in user's response times.
async fn p99(browser: &Browser, requests: u32) -> Duration {
    let mut took = Vec::new();
    for _ in 0..requests {
        let begun = Instant::now();
        browser.get("/api/v1/portfolio").await.expect(200);
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    took[took.len() * 99 / 100 - 1]
}

/// At most doubled, or too short to be noticed even on a busy machine.
#[track_caller]
fn assert_bearable(before: Duration, during: Duration, attack: &str) {
    println!("{attack}: p99 of an honest request was {before:.1?}, and is {during:.1?} meanwhile");
    assert!(during <= (2 * before).max(Duration::from_millis(250)), "{during:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_keep_nobody_waiting() {
    let app = TestApp::start().await;
    let honest = app.signed_in("honest@example.com").await;
    let requests = if is_large() { 2_000 } else { 200 };
    let before = p99(&honest, requests).await;
    let mut readers = Vec::new();
    for _ in 0..if is_large() { 150 } else { 40 } {
        let mut reader = TcpStream::connect(app.instances[0].addr).await.unwrap();
        let asked = "GET /assets/app.css HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(500);
        // Errors are ignored: the server may not read everything.
        let writing = reader.write_all(asked.as_bytes());
        let _ = tokio::time::timeout(Duration::from_millis(50), writing).await;
        readers.push(reader);
    }
    let during = p99(&honest, requests).await;
    assert_bearable(before, during, &format!("{} readers that read nothing", readers.len()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_leaves_in_time_while_thirteen_networks_ask_for_very_many() {
    let each = Duration::from_millis(if is_large() { 1_000 } else { 50 });
    let smtp = SmtpServer::start(SmtpMode::Plain).await;
    smtp.accept_slowly(each);
    let url = format!("smtp://127.0.0.1:{}", smtp.port());
    let vars = [
        ("SMTP_URL", &*url),
        ("MAIL_FROM", "noreply@tracera.example"),
        ("TRUSTED_PROXIES", "127.0.0.1/32"),
    ];
    let app = TestApp::like_production(&vars).await;
    let mut strangers = JoinSet::new();
    for n in 0..if is_large() { 257 } else { 130 } {
        let stranger = from(&app.browser(), &format!("198.51.{}.7", n % 13));
        strangers.spawn(async move {
            stranger.request_link(&format!("victim-{n}@example.com")).await.status.as_u16()
        });
    }
    let answers = strangers.join_all().await;
    let taken = answers.iter().filter(|status| **status == 200).count();
    let honest = from(&app.browser(), "203.0.113.9");
    let begun = Instant::now();
    honest.request_link("honest@example.com").await.expect(200);
    smtp.wait_for_message(|mail| mail.rcpt_tos == ["honest@example.com"]).await;
    let waited = begun.elapsed();
    println!("{taken} mails of 13 networks wait, each takes {each:?}");
    println!("an honest one leaves in {waited:.1?}");
    assert!(waited < 9 * each + Duration::from_secs(2), "{waited:?}");
}

#[tokio::test]
async fn a_bombed_mailbox_gets_a_hundred_mails_and_its_owner_signs_in() {
    let app = TestApp::start_with(&[("TRUSTED_PROXIES", "127.0.0.1/32")]).await;
    let known = from(&app.browser(), "192.0.2.1");
    app.sign_in(&known, "victim@example.com").await;
    known.logout().await.expect(204);
    let networks = if is_large() { 256 } else { 20 };
    let mut asked = 0;
    for network in 0..networks {
        let stranger = from(&app.browser(), &format!("2001:db8:{network:x}::7"));
        for n in 0..7 {
            stranger.request_link(&format!("victim+{n}@example.com")).await.expect(200);
            asked += 1;
        }
    }
    // The test mailbox keeps only fifty mails, so sent mails are counted instead.
    let begun = Instant::now();
    let token = app.link_token(&known, "victim@example.com").await;
    known.redeem(&token).await.expect(200);
    println!(
        "{asked} mails asked for by {networks} networks: the owner is in after {:.1?}",
        begun.elapsed()
    );
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn guesses_over_many_accounts_end_with_the_budget() {
    let app = TestApp::start_with(&[("TRUSTED_PROXIES", "127.0.0.1/32")]).await;
    let networks = if is_large() { 40 } else { 2 };
    let (mut mailed, mut with_code) = (0, 0);
    for network in 0..networks {
        for account in 0..25 {
            let guesser = from(&app.browser(), &format!("198.18.{network}.7"));
            let email = format!("{network}-{account}@example.com");
            app.link_token(&guesser, &email).await;
            mailed += 1;
            let code = app.mail_to(&email).await.code;
            if code.is_empty() {
                continue;
            }
            with_code += 1;
            let wrong = if code == "000000" { "000001" } else { "000000" };
            for _ in 0..5 {
                let guess = json!({ "code": wrong });
                guesser.post("/api/v1/auth/magic/verify", &guess).await.expect(400);
            }
        }
    }
    println!(
        "{networks} networks asked for {mailed} mails to guess at: {with_code} had a code, so {} \
         guesses were taken in an hour",
        5 * with_code
    );
    assert_eq!(with_code, (20 * networks).min(600));
    let honest = from(&app.browser(), "203.0.113.9");
    let token = app.link_token(&honest, "honest@example.com").await;
    honest.redeem(&token).await.expect(200);
}
