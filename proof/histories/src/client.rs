//! Browsers: each holds one cookie and has two tabs that send requests at the same time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use axum::body::{Body, to_bytes};
use fastrand::Rng;
use http::{Request, StatusCode, header};
use prove_check::{Event, Name, Op, Outcome};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt;

use crate::journal::Journal;
use crate::server::{FIELDS, Server};

/// The time limit of a browser's request.
const PATIENCE: Duration = Duration::from_secs(5);
const USERS: usize = 4;

/// The session of a browser.
#[derive(Clone)]
struct Held {
    session: String,
    cookie: String,
    handle: String,
}

pub(crate) struct Browser {
    name: String,
    user: String,
    held: Mutex<Option<Held>>,
}

/// The users, browsers and journal of a history.
pub(crate) struct World {
    pub(crate) journal: Journal,
    pub(crate) servers: Vec<Server>,
    browsers: Vec<Browser>,
    numbers: AtomicU64,
    /// Whether a fault is under way.
    is_failing: AtomicBool,
}

struct Answer {
    outcome: Outcome,
    cookie: Option<String>,
    body: Value,
}

impl World {
    pub(crate) fn new(journal: Journal, servers: Vec<Server>, browsers: usize) -> Self {
        let browser = |number| Browser {
            name: format!("b{number}"),
            user: format!("u{}", number % USERS),
            held: Mutex::default(),
        };
        let browsers = (0..browsers).map(browser).collect();
        Self {
            journal,
            servers,
            browsers,
            numbers: AtomicU64::default(),
            is_failing: AtomicBool::default(),
        }
    }

    pub(crate) fn browsers(&self) -> usize {
        self.browsers.len()
    }

    /// Sends requests until the time is over. Only the first tab signs in.
    pub(crate) async fn browse(
        self: Arc<Self>,
        browser: usize,
        is_first: bool,
        mut random: Rng,
        until: Instant,
    ) -> Result<()> {
        let browser = &self.browsers[browser];
        while Instant::now() < until {
            let server = &self.servers[random.usize(..self.servers.len())];
            // Read before the cookie is taken, because the other tab may receive a newer one
            // meanwhile.
            let start = self.journal.now();
            let held = browser.held().clone();
            match held {
                None if is_first => self.sign_in(start, browser, server).await?,
                None => {}
                Some(held) => match random.u32(..200) {
                    0 if is_first => self.sign_in(start, browser, server).await?,
                    1..=4 => self.sign_out(start, browser, server, &held).await?,
                    5..=7 => self.revoke(start, browser, server, &held, &mut random).await?,
                    8 => self.revoke_all(start, browser, server, &held).await?,
                    9..=16 => self.rotate(start, browser, server, &held).await?,
                    17..=60 => self.commit(start, browser, server, &held, &mut random).await?,
                    _ => self.load(start, browser, server, &held, &mut random).await?,
                },
            }
            sleep(Duration::from_micros(random.u64(500..20_000))).await;
        }
        Ok(())
    }

    async fn sign_in(&self, start: u64, browser: &Browser, server: &Server) -> Result<()> {
        let session = format!("x{}", self.number());
        let held = browser.held().clone();
        let answer =
            self.ask(server, &format!("/sign_in?user={}", browser.user), held.as_ref()).await?;
        if let (Some(cookie), Some(handle)) = (answer.cookie, answer.body["handle"].as_str()) {
            let session = session.clone();
            *browser.held() = Some(Held { session, cookie, handle: handle.to_owned() });
        }
        self.write(start, browser, server, Op::SignIn, answer.outcome, Some(&session), None)
    }

    async fn load(
        &self,
        start: u64,
        browser: &Browser,
        server: &Server,
        held: &Held,
        random: &mut Rng,
    ) -> Result<()> {
        let field = FIELDS[random.usize(..FIELDS.len())];
        let answer = self.ask(server, &format!("/load?field={field}"), Some(held)).await?;
        if answer.outcome == Outcome::Refused {
            browser.gives_up(held);
        }
        let mut event = self.event(start, browser, server, Op::Load, answer.outcome);
        event.session = Some(Name::Text(held.session.clone()));
        if answer.outcome == Outcome::Ok {
            event.user = answer.body["user"].as_str().map(|user| Name::Text(user.to_owned()));
            event.field = Some(Name::Text(field.to_owned()));
            event.value = answer.body["value"].clone();
        }
        Ok(self.journal.write(event)?)
    }

    async fn commit(
        &self,
        start: u64,
        browser: &Browser,
        server: &Server,
        held: &Held,
        random: &mut Rng,
    ) -> Result<()> {
        let (field, value) = (FIELDS[random.usize(..FIELDS.len())], self.number());
        let answer =
            self.ask(server, &format!("/commit?field={field}&value={value}"), Some(held)).await?;
        let written = Some((field, json!(value)));
        self.write(start, browser, server, Op::Commit, answer.outcome, Some(&held.session), written)
    }

    async fn rotate(
        &self,
        start: u64,
        browser: &Browser,
        server: &Server,
        held: &Held,
    ) -> Result<()> {
        let answer = self.ask(server, "/rotate", Some(held)).await?;
        if let (Some(cookie), Some(handle)) = (answer.cookie, answer.body["handle"].as_str())
            && let Some(now) = &mut *browser.held()
            && now.session == held.session
        {
            (now.cookie, now.handle) = (cookie, handle.to_owned());
        }
        self.write(start, browser, server, Op::Rotate, answer.outcome, Some(&held.session), None)
    }

    async fn sign_out(
        &self,
        start: u64,
        browser: &Browser,
        server: &Server,
        held: &Held,
    ) -> Result<()> {
        let answer = self.ask(server, "/sign_out", Some(held)).await?;
        self.write(start, browser, server, Op::SignOut, answer.outcome, Some(&held.session), None)
    }

    /// Ends the session of another browser of the same user.
    async fn revoke(
        &self,
        start: u64,
        browser: &Browser,
        server: &Server,
        held: &Held,
        random: &mut Rng,
    ) -> Result<()> {
        let others: Vec<&Browser> =
            self.browsers.iter().filter(|other| other.user == browser.user).collect();
        let Some(other) = others[random.usize(..others.len())].held().clone() else {
            return Ok(());
        };
        let path = format!("/revoke?handle={}", other.handle);
        let answer = self.ask(server, &path, Some(held)).await?;
        // The requester's own session may have been refused.
        let refused = answer.outcome == Outcome::Refused;
        let outcome = if refused { Outcome::Unknown } else { answer.outcome };
        self.write(start, browser, server, Op::Revoke, outcome, Some(&other.session), None)
    }

    async fn revoke_all(
        &self,
        start: u64,
        browser: &Browser,
        server: &Server,
        held: &Held,
    ) -> Result<()> {
        let answer = self.ask(server, "/revoke_all", Some(held)).await?;
        self.write(start, browser, server, Op::RevokeAll, answer.outcome, None, None)
    }

    async fn ask(&self, server: &Server, path: &str, held: Option<&Held>) -> Result<Answer> {
        let mut request = Request::post(path);
        if let Some(held) = held {
            request = request.header(header::COOKIE, &held.cookie);
        }
        let request = request.body(Body::empty())?;
        let unknown = Answer { outcome: Outcome::Unknown, cookie: None, body: Value::Null };
        let Ok(response) = timeout(PATIENCE, server.app.clone().oneshot(request)).await else {
            return Ok(unknown);
        };
        let response = response.unwrap_or_else(|never| match never {});
        let outcome = match response.status() {
            StatusCode::OK => Outcome::Ok,
            StatusCode::UNAUTHORIZED | StatusCode::CONFLICT => Outcome::Refused,
            StatusCode::SERVICE_UNAVAILABLE => Outcome::Unavailable,
            status => anyhow::bail!("{path} was answered {status}"),
        };
        let cookie = response.headers().get(header::SET_COOKIE).and_then(|cookie| {
            let (pair, _) = cookie.to_str().ok()?.split_once(';')?;
            (!pair.ends_with('=')).then(|| pair.to_owned())
        });
        let body = to_bytes(response.into_body(), 4096).await?;
        let body = serde_json::from_slice(&body).unwrap_or_default();
        Ok(Answer { outcome, cookie, body })
    }

    #[expect(clippy::too_many_arguments, reason = "they are the columns of a line")]
    fn write(
        &self,
        start: u64,
        browser: &Browser,
        server: &Server,
        op: Op,
        outcome: Outcome,
        session: Option<&str>,
        written: Option<(&str, Value)>,
    ) -> Result<()> {
        let mut event = self.event(start, browser, server, op, outcome);
        event.user = Some(Name::Text(browser.user.clone()));
        event.session = session.map(|session| Name::Text(session.to_owned()));
        if let Some((field, value)) = written {
            (event.field, event.value) = (Some(Name::Text(field.to_owned())), value);
        }
        Ok(self.journal.write(event)?)
    }

    fn event(
        &self,
        start: u64,
        browser: &Browser,
        server: &Server,
        op: Op,
        outcome: Outcome,
    ) -> Event {
        Event {
            start,
            end: self.journal.now(),
            client: Some(Name::Text(browser.name.clone())),
            server: Some(Name::Text(server.name.clone())),
            op,
            kind: None,
            user: None,
            session: None,
            field: None,
            value: Value::Null,
            outcome: Some(outcome),
        }
    }

    /// A fault begins. Returns when.
    pub(crate) fn begin_fault(&self) -> u64 {
        self.is_failing.store(true, Ordering::SeqCst);
        self.journal.now()
    }

    /// Whether a fault has begun, and not everything is in order again.
    pub(crate) fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::SeqCst)
    }

    /// The fault that began then is over.
    pub(crate) fn fault(&self, start: u64, kind: &str) -> Result<()> {
        self.all_in_order();
        self.record_fault(start, kind)
    }

    /// What a fault has moved is in its place again.
    pub(crate) fn all_in_order(&self) {
        self.is_failing.store(false, Ordering::SeqCst);
    }

    /// Records a fault that began then and is over now.
    pub(crate) fn record_fault(&self, start: u64, kind: &str) -> Result<()> {
        let event = Event {
            start,
            end: self.journal.now(),
            client: None,
            server: None,
            op: Op::Fault,
            kind: Some(kind.to_owned()),
            user: None,
            session: None,
            field: None,
            value: Value::Null,
            outcome: None,
        };
        Ok(self.journal.write(event)?)
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }
}

impl Browser {
    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the session, unless the browser has a newer cookie by now.
    fn gives_up(&self, refused: &Held) {
        self.held().take_if(|held| held.cookie == refused.cookie);
    }
}
