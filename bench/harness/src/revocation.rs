//! The delay until one server refuses a session that another has ended, with both under full load.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use hdrhistogram::Histogram;

use crate::client::{Connection, Cookies, PATIENCE};
use crate::compare::{SESSIONS, create_sessions};
use crate::contender::{ALL, NEAR_CACHE, Running, Setup};
use crate::goals::Goal;
use crate::load::Order;
use crate::redis::Redis;

/// A server that accepts an ended session after this time breaks its guarantee.
const BOUND: Duration = Duration::from_secs(2);
/// The length of one run of the load, which is repeated as long as there are trials.
const STRETCH_SECS: f64 = 20.0;
/// A server that has used this much CPU time is under load.
const BUSY: Duration = Duration::from_millis(500);
/// The 99th percentile that is demanded and the one that is aimed at, in milliseconds.
const WANTED: [f64; 2] = [50.0, 10.0];

/// A way of ending a session.
#[derive(Debug, Clone, Copy)]
enum End {
    /// Revoked by its handle, from another session of the user.
    Revoked,
    /// Signed out by itself.
    LoggedOut,
    /// Given a new id.
    Rotated,
    /// Replaced by another sign-in of the same browser.
    Replaced,
    /// Ended together with all other sessions of the user.
    Everywhere,
}

const ENDS: [End; 5] = [End::Revoked, End::LoggedOut, End::Rotated, End::Replaced, End::Everywhere];

/// The results.
pub(crate) struct Revocation {
    rows: Vec<Row>,
    /// Requests per second of the server that ended sessions, and of the one that had to refuse
    /// them.
    throughput: [f64; 2],
}

/// All trials of one way of ending, in microseconds.
struct Row {
    end: End,
    /// From the response of the ending request to the refusal at the other server.
    from_answer: Histogram<u64>,
    /// From the ending request to the refusal at the other server.
    from_asking: Histogram<u64>,
    wrong: Wrong,
}

/// Counts of forbidden outcomes.
#[derive(Default)]
struct Wrong {
    live_refused: u64,
    dead_accepted: u64,
}

impl End {
    fn title(self) -> &'static str {
        match self {
            Self::Revoked => "revocation of one session",
            Self::LoggedOut => "logout",
            Self::Rotated => "a new id",
            Self::Replaced => "a new sign-in in the same browser",
            Self::Everywhere => "sign-out everywhere",
        }
    }

    fn path(self, user: &str) -> String {
        match self {
            Self::Revoked => "/revoke".to_owned(),
            Self::LoggedOut => "/logout".to_owned(),
            Self::Rotated => "/rotate".to_owned(),
            Self::Replaced => format!("/login?user={user}"),
            Self::Everywhere => "/revoke-all".to_owned(),
        }
    }
}

/// Tries each way `trials` times: ended at one server, observed at the other.
pub(crate) fn run(trials: u64, redis: &mut Redis, scratch: &Path) -> anyhow::Result<Revocation> {
    redis.flush()?;
    let contender =
        ALL.into_iter().find(|contender| contender.name == NEAR_CACHE).expect("it is in the list");
    let url = redis.url(1);
    let servers =
        [contender.start(&url, Setup::default())?, contender.start(&url, Setup::default())?];
    let cookies = scratch.join("cookies-revocation");
    create_sessions(&servers[0], SESSIONS, &cookies)?;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let loads = servers.each_ref().map(|server| scope.spawn(|| load(server, &cookies, &over)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let rows = runtime.block_on(measure(trials, &servers, &over));
        over.store(true, Ordering::Relaxed);
        let mut throughput = [0.0; 2];
        for (load, throughput) in loads.into_iter().zip(&mut throughput) {
            *throughput = load.join().expect("the load does not panic")?;
        }
        Ok(Revocation { rows: rows?, throughput })
    })
}

/// Keeps a server busy until `over`. Returns the requests per second. A wrong response ends the
/// run.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52 requests")]
fn load(server: &Running, cookies: &Path, over: &AtomicBool) -> anyhow::Result<f64> {
    let (mut requests, mut seconds) = (0, 0.0);
    while !over.load(Ordering::Relaxed) {
        let order = Order {
            address: server.address,
            mode: "mixed",
            cookies: Some(cookies),
            seconds: STRETCH_SECS,
            requests: None,
            first_user: 0,
        };
        let load = order.run().inspect_err(|_| over.store(true, Ordering::Relaxed))?;
        requests += load.requests;
        seconds += load.seconds;
    }
    Ok(requests as f64 / seconds)
}

async fn wait_until_busy(servers: &[Running; 2], over: &AtomicBool) -> anyhow::Result<()> {
    let begun = Instant::now();
    for server in servers {
        let before = server.process.cpu()?;
        while server.process.cpu()?.saturating_sub(before) < BUSY {
            ensure!(!over.load(Ordering::Relaxed), "the load has failed");
            ensure!(begun.elapsed() < PATIENCE, "the load does not begin");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    Ok(())
}

async fn measure(
    trials: u64,
    servers: &[Running; 2],
    over: &AtomicBool,
) -> anyhow::Result<Vec<Row>> {
    wait_until_busy(servers, over).await?;
    let mut here = Connection::open(servers[0].address).await?;
    let mut there = Connection::open(servers[1].address).await?;
    let mut rows = Vec::new();
    for end in ENDS {
        eprintln!("  revocation · {}", end.title());
        let mut row = Row {
            end,
            from_answer: Histogram::new_with_max(60_000_000, 3)?,
            from_asking: Histogram::new_with_max(60_000_000, 3)?,
            wrong: Wrong::default(),
        };
        for trial in 0..trials {
            ensure!(!over.load(Ordering::Relaxed), "the load has failed");
            row.run(&format!("{end:?}-{trial}"), &mut here, &mut there).await?;
        }
        rows.push(row);
    }
    Ok(rows)
}

impl Row {
    /// Runs one trial, with a new user who is signed in twice.
    async fn run(
        &mut self,
        user: &str,
        here: &mut Connection,
        there: &mut Connection,
    ) -> anyhow::Result<()> {
        let (mut ending, mut other) = (Cookies::default(), Cookies::default());
        for browser in [&mut ending, &mut other] {
            sign_in(here, user, browser).await?;
            // The first request asks Redis, the second is answered from memory.
            for _ in 0..2 {
                self.expect_live(there, browser).await?;
            }
        }
        let dead = if matches!(self.end, End::Everywhere) {
            vec![ending.clone(), other.clone()]
        } else {
            vec![ending.clone()]
        };
        let browser = if matches!(self.end, End::Revoked) { &mut other } else { &mut ending };
        let asked = Instant::now();
        let answer = here.send("POST", &self.end.path(user), browser).await?;
        let answered = Instant::now();
        ensure!(answer.status == 200, "{} was answered with {}", self.end.title(), answer.status);
        browser.receive(&answer);
        if refused_in_time(there, &dead, answered).await? {
            record(&mut self.from_answer, answered);
            record(&mut self.from_asking, asked);
            // They must stay refused.
            for cookies in &dead {
                self.wrong.dead_accepted += u64::from(is_accepted(there, cookies).await?);
            }
        } else {
            self.wrong.dead_accepted += 1;
        }
        match self.end {
            End::Revoked | End::LoggedOut => {}
            End::Rotated | End::Replaced => self.expect_live(there, &ending).await?,
            End::Everywhere => sign_in(here, user, &mut other).await?,
        }
        self.expect_live(there, &other).await
    }

    async fn expect_live(
        &mut self,
        there: &mut Connection,
        cookies: &Cookies,
    ) -> anyhow::Result<()> {
        self.wrong.live_refused += u64::from(!is_accepted(there, cookies).await?);
        Ok(())
    }
}

/// Asks until all of these are refused, within the bound.
async fn refused_in_time(
    there: &mut Connection,
    dead: &[Cookies],
    answered: Instant,
) -> anyhow::Result<bool> {
    for cookies in dead {
        while is_accepted(there, cookies).await? {
            if answered.elapsed() > BOUND {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

async fn sign_in(server: &mut Connection, user: &str, browser: &mut Cookies) -> anyhow::Result<()> {
    let answer = server.send("POST", &format!("/login?user={user}"), &Cookies::default()).await?;
    ensure!(answer.status == 200, "a sign-in was answered with {}", answer.status);
    browser.receive(&answer);
    Ok(())
}

async fn is_accepted(server: &mut Connection, cookies: &Cookies) -> anyhow::Result<bool> {
    match server.send("GET", "/me", cookies).await?.status {
        200 => Ok(true),
        401 => Ok(false),
        other => bail!("a request was answered with {other}"),
    }
}

fn record(times: &mut Histogram<u64>, since: Instant) {
    times.saturating_record(u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX));
}

impl Revocation {
    /// An error if any outcome was wrong.
    pub(crate) fn verdict(&self) -> anyhow::Result<()> {
        let (refused, accepted) = self.wrong();
        ensure!(
            refused + accepted == 0,
            "{refused} times a live session was refused, {accepted} times an ended one accepted"
        );
        Ok(())
    }

    fn wrong(&self) -> (u64, u64) {
        let sum = |count: fn(&Wrong) -> u64| self.rows.iter().map(|row| count(&row.wrong)).sum();
        (sum(|wrong| wrong.live_refused), sum(|wrong| wrong.dead_accepted))
    }
}

/// The quantile in milliseconds.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52 microseconds")]
fn millis(times: &Histogram<u64>, quantile: f64) -> f64 {
    times.value_at_quantile(quantile) as f64 / 1000.0
}

/// What stands above the numbers.
const EXPLANATION: &str = "A session that is hot at the second is ended at the first, and the second is asked until it \
     refuses. Times are milliseconds, from the first one's answer and from the request to it. A \
     secret retires only with a restart, so that is left to a test \
     (`a_retired_secret_opens_nothing…`).";

/// The table of the results.
pub(crate) fn table(revocation: &Revocation) -> String {
    let [here, there] = revocation.throughput;
    let (refused, accepted) = revocation.wrong();
    let mut text = format!(
        "## Sessions that end on another server\n\nTwo servers, {NEAR_CACHE}, over one Redis, \
         both under the mixed load of {SESSIONS} sessions: {here:.0} and {there:.0} requests per \
         second. {EXPLANATION}\n\n| ended by | trials | from the answer: p50 | p99 \
         | longest | from asking: p50 | p99 | longest |\n|---|--:|--:|--:|--:|--:|--:|--:|\n"
    );
    for Row { end, from_answer, from_asking, .. } in &revocation.rows {
        write!(text, "| {} | {}", end.title(), from_answer.len())
            .expect("writing to memory does not fail");
        for times in [from_answer, from_asking] {
            for quantile in [0.5, 0.99, 1.0] {
                write!(text, " | {:.2}", millis(times, quantile))
                    .expect("writing to memory does not fail");
            }
        }
        text.push_str(" |\n");
    }
    writeln!(
        text,
        "\nWrong outcomes: a live session refused {refused} times, an ended one accepted \
         {accepted} times after being refused or {} seconds after its end.",
        BOUND.as_secs()
    )
    .expect("writing to memory does not fail");
    text
}

/// The goals for the delay at the other server.
pub(crate) fn goals(revocation: &Revocation) -> Vec<Goal> {
    let rows = revocation.rows.iter();
    rows.flat_map(|row| {
        WANTED.map(|most| {
            let got = millis(&row.from_answer, 0.99);
            let wanted = format!(
                "{}: p99 until the other server refuses in ms, under {most:.0}",
                row.end.title()
            );
            Goal { wanted, got, reached: got < most }
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_are_explained_as_here() {
        let results = include_str!("../../RESULTS.md").split_whitespace().collect::<Vec<_>>();
        assert!(results.join(" ").contains(EXPLANATION));
    }
}
