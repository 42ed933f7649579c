//! Runs the service in this process, with dependencies started for one test.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{Sqlite, SqlitePool, Transaction};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracera::clock::Timestamp;
use tracera::config::{Config, Mode};
use tracera::http::App;
use tracera::http::serve::{HttpService, Serving, serve};
use tracera::mail::dev::DevMail;
use tracera::router;
use tracera::start::{assemble, open_stores};
use tracera_guard::SecurityHeaders;
use tracera_session::Clock;
use tracera_testkit::RedisServer;

use crate::browser::Browser;

pub(crate) const SECRET: &str = "kS0vV3y1QmZbq2nD8rTfXh5LwJ7cEu9A";

/// One or more instances of the service over the same Redis and database.
pub(crate) struct TestApp {
    pub(crate) redis: Option<RedisServer>,
    pub(crate) clock: Clock,
    pub(crate) instances: Vec<Instance>,
    directory: TempDir,
    vars: BTreeMap<String, String>,
    mode: Mode,
}

pub(crate) struct Instance {
    pub(crate) addr: SocketAddr,
    pub(crate) app: App,
    _stop: DropGuard,
}

impl TestApp {
    /// With Redis and SQLite, and a clock stopped at a fixed time.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Like [`TestApp::start`], with further variables.
    pub(crate) async fn start_with(vars: &[(&str, &str)]) -> Self {
        Self::on(RedisServer::start().await, vars).await
    }

    /// With this Redis.
    pub(crate) async fn on(redis: RedisServer, vars: &[(&str, &str)]) -> Self {
        let url = redis.url();
        Self::build(Some(redis), &[&[("REDIS_URL", &*url)], vars].concat()).await
    }

    /// With embedded stores.
    pub(crate) async fn embedded() -> Self {
        Self::embedded_with(&[]).await
    }

    /// Like [`TestApp::embedded`], with further variables.
    pub(crate) async fn embedded_with(vars: &[(&str, &str)]) -> Self {
        Self::build(None, vars).await
    }

    /// With embedded stores, and the system's clock, which external servers use too.
    pub(crate) async fn on_the_systems_clock(vars: &[(&str, &str)]) -> Self {
        Self::build_on(Clock::system(), None, vars).await
    }

    /// With Redis and SQLite, listening at its `BASE_URL`, so that a real browser can use it.
    pub(crate) async fn for_real_browsers(vars: &[(&str, &str)]) -> Self {
        Self::at_its_address(frozen(), Mode::Dev, vars).await
    }

    /// The same on the system's clock, which other servers use as well.
    pub(crate) async fn for_real_browsers_now(vars: &[(&str, &str)]) -> Self {
        Self::at_its_address(Clock::system(), Mode::Dev, vars).await
    }

    /// Like [`TestApp::for_real_browsers`], in production mode: with the system's clock and real
    /// mail.
    pub(crate) async fn like_production(vars: &[(&str, &str)]) -> Self {
        Self::at_its_address(Clock::system(), Mode::Serve, vars).await
    }

    async fn at_its_address(clock: Clock, mode: Mode, vars: &[(&str, &str)]) -> Self {
        let listener = free_listener().await;
        let base_url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        let redis = RedisServer::start().await;
        let url = redis.url();
        let own = [("REDIS_URL", &*url), ("BASE_URL", &*base_url)];
        let mut app = Self { mode, ..Self::unserved(clock, Some(redis), &[&own, vars].concat()) };
        app.serve_on(listener).await;
        app
    }

    async fn build(redis: Option<RedisServer>, vars: &[(&str, &str)]) -> Self {
        Self::build_on(frozen(), redis, vars).await
    }

    async fn build_on(clock: Clock, redis: Option<RedisServer>, vars: &[(&str, &str)]) -> Self {
        let mut app = Self::unserved(clock, redis, vars);
        app.add_instance().await;
        app
    }

    fn unserved(clock: Clock, redis: Option<RedisServer>, vars: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let defaults = [
            ("SESSION_SECRET", SECRET),
            ("DATA_DIR", directory.path().to_str().unwrap()),
            ("AUTH_RATE_LIMIT_PER_MINUTE", "10000"),
            ("BASE_URL", "http://localhost:8080"),
        ];
        let vars = defaults
            .iter()
            .chain(vars)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let vars = vars.collect();
        Self { redis, clock, instances: Vec::new(), directory, vars, mode: Mode::Dev }
    }

    /// Sets variables for instances added later.
    pub(crate) fn set(&mut self, vars: &[(&str, &str)]) {
        self.vars
            .extend(vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    }

    /// One more instance over the same stores.
    pub(crate) async fn add_instance(&mut self) -> SocketAddr {
        self.serve_on(free_listener().await).await
    }

    async fn serve_on(&mut self, listener: TcpListener) -> SocketAddr {
        let config = Config::from_vars(&self.vars, self.mode).unwrap();
        let stores = open_stores(&config, &self.clock).await.unwrap();
        let (app, _) = assemble(&config, &stores, self.clock.clone()).unwrap();
        let headers = SecurityHeaders::new().https(app.is_https());
        let (addr, stop) = listen_on(listener, router::build(&app), headers, app.stopping.clone());
        self.instances.push(Instance { addr, app, _stop: stop });
        addr
    }

    pub(crate) fn redis(&self) -> &RedisServer {
        self.redis.as_ref().unwrap()
    }

    /// The database, for a test that bypasses the service.
    pub(crate) async fn database(&self) -> SqlitePool {
        let file = self.directory.path().join("tracera.db");
        SqlitePool::connect_with(SqliteConnectOptions::new().filename(file)).await.unwrap()
    }

    /// Blocks writes to the database until the transaction ends.
    pub(crate) async fn lock_database(&self) -> Transaction<'static, Sqlite> {
        let options =
            SqliteConnectOptions::new().filename(self.directory.path().join("tracera.db"));
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
        pool.begin_with("BEGIN IMMEDIATE").await.unwrap()
    }

    /// Waits until this many writers wait for [`TestApp::lock_database`].
    pub(crate) async fn writers_wait(&self, writers: usize) {
        // A reader also uses a connection, but not during this many checks in a row.
        let mut looks = 0;
        eventually(|| {
            let (open, idle) = self.instances[0].app.database.connections();
            looks = if open as usize - idle >= writers { looks + 1 } else { 0 };
            std::future::ready((looks == 5).then_some(()))
        })
        .await;
    }

    /// All stored data: the database's files and everything in Redis.
    pub(crate) async fn dump(&self) -> Vec<u8> {
        let mut dump = self.redis().dump_all().await;
        for file in std::fs::read_dir(self.directory.path()).unwrap() {
            let path = file.unwrap().path();
            if path.is_file() {
                dump.extend(std::fs::read(path).unwrap());
            }
        }
        dump
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser::new(self.instances[0].addr)
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// The newest sign-in mail to the address; waits for one.
    pub(crate) async fn mail_to(&self, email: &str) -> DevMail {
        let newer = |a: DevMail, b: DevMail| if b.requested_at > a.requested_at { b } else { a };
        eventually(|| async { self.sign_in_mails(email).reduce(newer) }).await
    }

    /// The path of the first instance's mailbox page, with its key.
    pub(crate) fn mailbox_path(&self) -> Option<String> {
        let mailbox = self.instances[0].app.mailbox.as_ref()?;
        Some(format!("/dev/mailbox?key={}", mailbox.key()))
    }

    pub(crate) fn mails_to(&self, email: &str) -> usize {
        self.sign_in_mails(email).count()
    }

    /// The first mail to the address whose subject contains `subject`; waits for one.
    pub(crate) async fn notice_to(&self, email: &str, subject: &str) -> DevMail {
        eventually(|| async { self.all_mails(email).find(|mail| mail.subject.contains(subject)) })
            .await
    }

    pub(crate) fn all_mails(&self, email: &str) -> impl Iterator<Item = DevMail> {
        let mailboxes =
            self.instances.iter().map(|instance| instance.app.mailbox.as_ref().unwrap());
        // Each instance lists its newest mail first; the order among equal times is kept.
        let mails = mailboxes.flat_map(tracera::mail::dev::Mailbox::messages);
        mails.filter(move |mail| mail.to.as_str() == email)
    }

    /// Only sign-in mails have such a link.
    fn sign_in_mails(&self, email: &str) -> impl Iterator<Item = DevMail> {
        self.all_mails(email).filter(|mail| mail.link.contains("/magic/verify"))
    }

    /// A browser signed in by a mailed link.
    pub(crate) async fn signed_in(&self, email: &str) -> Browser {
        let browser = self.browser();
        self.sign_in(&browser, email).await;
        browser
    }

    pub(crate) async fn sign_in(&self, browser: &Browser, email: &str) {
        let token = self.link_token(browser, email).await;
        browser.redeem(&token).await.expect(200);
    }

    /// Requests a link, and takes its token from the mail.
    pub(crate) async fn link_token(&self, browser: &Browser, email: &str) -> String {
        let before = self.mails_to(email);
        browser.request_link(email).await.expect(200);
        eventually(|| async { (self.mails_to(email) > before).then_some(()) }).await;
        token_of(&self.mail_to(email).await.link)
    }
}

/// Serves these routes on a free port until the guard is dropped.
pub(crate) async fn listen(routes: impl HttpService) -> (SocketAddr, DropGuard) {
    listen_on(free_listener().await, routes, SecurityHeaders::new(), CancellationToken::new())
}

fn listen_on(
    listener: TcpListener,
    routes: impl HttpService,
    headers: SecurityHeaders,
    stop: CancellationToken,
) -> (SocketAddr, DropGuard) {
    let addr = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, routes, Serving::new(headers, stop.clone())));
    (addr, stop.drop_guard())
}

/// A stopped clock that the test can advance.
fn frozen() -> Clock {
    Clock::manual(Timestamp::from_millis(1_900_000_000_000))
}

async fn free_listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
}

/// The token in a mailed link.
pub(crate) fn token_of(link: &str) -> String {
    link.split_once("token=").unwrap().1.to_owned()
}

/// Calls `ask` until it returns a value, for at most ten seconds.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(mut ask: impl FnMut() -> F) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), asking)
        .await
        .expect("no answer within ten seconds")
}
