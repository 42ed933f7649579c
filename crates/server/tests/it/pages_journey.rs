//! A trader's whole journey in a real browser. The other servers are a mail server, an OpenID
//! provider, a Steam, a price feed and an image host.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use http::StatusCode;
use tokio::sync::Semaphore;
use tracera::actions::deletion;
use tracera::clock::utc;
use tracera::domain::email::Email;
use tracera::http::App;
use tracera::store::portfolio::{self, holdings, snapshots};
use tracera::store::{events, identities, users};
use tracera_testkit::{OpenIdProvider, SmtpMode, SmtpServer};
use uuid::Uuid;

use crate::chromium;
use crate::harness::TestApp;
use crate::pages_showcase::{assets, prices};
use crate::portfolio::upstream::feed::Feed;
use crate::portfolio::upstream::images::Images;
use crate::portfolio::upstream::steam::{Steam, inventory};
use crate::portfolio::upstream::{Answer, serve};

const TRADER: &str = "nina@example.com";

/// The commands that the script can send, in addition to those for its browser.
#[derive(Clone)]
struct Backstage {
    mails: Arc<SmtpServer>,
    app: App,
    /// A permit for each page that Steam may send.
    pages: Arc<Semaphore>,
    trader: Arc<Mutex<Option<Uuid>>>,
}

impl Backstage {
    async fn open(self) -> String {
        let router = Router::new()
            .route("/mails/{to}", get(mails))
            .route("/steam/pages/{count}", post(release))
            .route("/trader", post(note_trader));
        serve(router.with_state(self)).await
    }
}

/// The text of each mail to the address, oldest first.
async fn mails(State(backstage): State<Backstage>, Path(to): Path<String>) -> String {
    let mails = backstage.mails.messages().into_iter().filter(|mail| mail.rcpt_tos.contains(&to));
    serde_json::to_string(&mails.map(|mail| mail.text).collect::<Vec<_>>()).unwrap()
}

async fn release(State(backstage): State<Backstage>, Path(count): Path<usize>) {
    backstage.pages.add_permits(count);
}

/// Stores the trader's user id. Requires that the account has a portfolio and a linked Steam
/// account.
async fn note_trader(State(backstage): State<Backstage>) -> StatusCode {
    let email = Email::parse(TRADER).unwrap();
    let user = users::find_by_email(&backstage.app.database, &email).await.unwrap().unwrap();
    assert!(kept(&backstage.app, user.id).await.iter().all(|count| *count > 0));
    *backstage.trader.lock().unwrap() = Some(user.id);
    StatusCode::NO_CONTENT
}

/// The amount of a user's data: identities, events, portfolios, past values.
async fn kept(app: &App, user: Uuid) -> [usize; 4] {
    let database = &app.database;
    let now = utc(app.clock.now());
    [
        identities::of_user(database, user).await.unwrap().len(),
        events::list(database, user, None, 100, now).await.unwrap().len(),
        holdings::summary(database, user).await.unwrap().iter().len(),
        snapshots::newest(database, user, 100).await.unwrap().len(),
    ]
}

#[tokio::test]
async fn a_new_trader_goes_the_way_to_a_portfolio_in_firefox() {
    let provider = OpenIdProvider::start().await;
    let steam = Steam::start(inventory(assets())).await;
    let feed = Feed::skinport(&prices()).await;
    let images = Images::start().await;
    let app = TestApp::for_real_browsers_now(&[
        ("STEAM_OPENID_URL", &*provider.endpoint()),
        ("STEAM_COMMUNITY_URL", &*steam.url),
        ("STEAM_IMAGE_URL", &*images.url),
        ("STEAM_SPACING_MILLISECONDS", "0"),
        ("PRICE_FEED_URL", &*feed.url),
        ("PRICE_FEED_NAME", "Skinport"),
    ])
    .await;
    app.instances[0].app.portfolio.prices().refresh().await.unwrap();
    let vars = [("TRACERA_STEAM_ID", "76561198000000007")];
    chromium::run_with("firefox", &app, &vars).await;
}

#[tokio::test]
async fn a_new_trader_goes_the_whole_way_and_leaves_nothing() {
    let mails = Arc::new(SmtpServer::start(SmtpMode::Plain).await);
    let provider = OpenIdProvider::start().await;
    let pages = Arc::new(Semaphore::new(0));
    let (gate, answers) = (Arc::clone(&pages), inventory(assets()));
    let steam =
        Steam::start(move |asked| Answer::Held(Arc::clone(&gate), Box::new(answers(asked)))).await;
    let feed = Feed::skinport(&prices()).await;
    let images = Images::start().await;
    let app = TestApp::like_production(&[
        ("SMTP_URL", &format!("smtp://127.0.0.1:{}", mails.port())),
        ("MAIL_FROM", "Tracera <no-reply@example.com>"),
        ("STEAM_OPENID_URL", &provider.endpoint()),
        ("STEAM_COMMUNITY_URL", &steam.url),
        ("STEAM_IMAGE_URL", &images.url),
        ("STEAM_SPACING_MILLISECONDS", "0"),
        ("STEAM_TIMEOUT_SECONDS", "60"),
        ("STEAM_PAGE_SIZE", "12"),
        ("PRICE_FEED_URL", &feed.url),
        ("PRICE_FEED_NAME", "Skinport"),
        ("REQUEST_TIMEOUT_SECONDS", "60"),
    ])
    .await;
    let service = app.instances[0].app.clone();
    service.portfolio.prices().refresh().await.unwrap();
    let trader = Arc::default();
    let backstage = Backstage { mails, app: service.clone(), pages, trader: Arc::clone(&trader) };
    let vars = [
        ("TRACERA_BACKSTAGE", backstage.open().await),
        ("TRACERA_OPENID", provider.endpoint()),
        ("TRACERA_IMAGES", images.url.clone()),
    ];
    let vars: Vec<_> = vars.iter().map(|(name, value)| (*name, &**value)).collect();
    chromium::run_with("journey", &app, &vars).await;

    let asked = images.asked();
    assert!(asked.iter().any(|(icon, _)| icon == "knife-e5484d"), "{asked:?}");
    for (icon, headers) in asked {
        for name in ["referer", "cookie", "origin"] {
            assert_eq!(headers.get(name), None, "{name} with {icon}");
        }
    }
    let user = trader.lock().unwrap().expect("the script noted the trader");
    let due = service.now() + time::Duration::days(7);
    let links = service.magic_links.as_ref();
    assert_eq!(deletion::carry_out(&service.accounts(), links, due).await.unwrap(), 1);
    assert_eq!(users::find_by_id(&service.database, user).await.unwrap(), None);
    assert_eq!(kept(&service, user).await, [0; 4]);
    assert_eq!(portfolio::next_import_at(&service.database, user).await.unwrap(), None);
    let keys = app.redis().cli(&["--raw", "KEYS", "session:*"]).await;
    for key in keys.split_whitespace() {
        let fields = app.redis().cli(&["--raw", "HKEYS", key]).await;
        let fields = fields.split_whitespace().collect::<BTreeSet<_>>();
        assert_eq!(fields, BTreeSet::from(["e", "u"]), "only that all sessions ended");
    }
}
