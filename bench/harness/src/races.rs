//! The fate of a session when two requests overlap: S is held between load and commit, W runs
//! meanwhile, then S continues.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::client::{Answer, Cookies, PATIENCE, send};
use crate::compare::forgive;
use crate::contender::{Contender, Kind, Setup};
use crate::redis::Redis;

mod outcome;
pub(crate) mod table;

use outcome::{Outcome, Seen};

/// A result that is wrong after this time counts as wrong for good. Caches of other processes may
/// need a moment.
const SETTLING: Duration = Duration::from_secs(1);

/// One column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Race {
    /// Whether S writes a field before its response.
    writes: bool,
    meanwhile: Meanwhile,
}

/// The request W.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    /// Writes the field `a`.
    Write,
    Logout,
}

const RACES: [Race; 4] = [
    Race { writes: true, meanwhile: Meanwhile::Write },
    Race { writes: false, meanwhile: Meanwhile::Write },
    Race { writes: true, meanwhile: Meanwhile::Logout },
    Race { writes: false, meanwhile: Meanwhile::Logout },
];

/// The circumstances of a race.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Circumstances {
    /// Whether requests prolong the session.
    sliding: bool,
    /// Whether W is sent to another process than S.
    two_processes: bool,
}

/// A contender's outcomes of each race, under all circumstances.
pub(crate) struct Row {
    contender: Contender,
    outcomes: [Vec<(Circumstances, Outcome)>; 4],
}

/// Runs every race with each contender that has sessions. Also returns the peers that failed, each
/// with the reason.
pub(crate) fn run(
    contenders: &[Contender],
    redis: &mut Redis,
) -> anyhow::Result<(Vec<Row>, Vec<String>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    for (number, contender) in contenders.iter().enumerate() {
        if !matches!(contender.kind, Kind::Ours | Kind::Peer) {
            continue;
        }
        eprintln!("  {} · races", contender.name);
        redis.flush()?;
        match runtime.block_on(row(*contender, &redis.url(number + 1))) {
            Ok(row) => rows.push(row),
            Err(error) => failures.push(forgive(contender, error)?),
        }
    }
    Ok((rows, failures))
}

async fn row(contender: Contender, redis: &str) -> anyhow::Result<Row> {
    let mut row = Row { contender, outcomes: Default::default() };
    for sliding in [false, true] {
        let setup = Setup { sliding, eager: true, ..Setup::default() };
        let processes = [contender.start(redis, setup)?, contender.start(redis, setup)?];
        let [here, there] = [processes[0].address, processes[1].address];
        for two_processes in [false, true] {
            let circumstances = Circumstances { sliding, two_processes };
            let w = if two_processes { there } else { here };
            for (race, outcomes) in RACES.into_iter().zip(&mut row.outcomes) {
                let outcome = race
                    .run(here, w)
                    .await
                    .with_context(|| format!("{race:?}, {circumstances:?}"))?;
                outcomes.push((circumstances, outcome));
            }
        }
    }
    Ok(row)
}

impl Race {
    /// Sends S to one process, and W and the sign-in to the other, which may be the same.
    async fn run(self, s: SocketAddr, w: SocketAddr) -> anyhow::Result<Outcome> {
        let mut before = Cookies::default();
        before.receive(&send(w, "POST", "/login?user=somebody", &before).await?);
        // Both processes know the session before the race begins.
        for address in [s, w] {
            let answer = send(address, "GET", "/me", &before).await?;
            anyhow::ensure!(answer.status == 200, "a session that is not known: {}", answer.status);
            before.receive(&answer);
        }
        let held = Held::at_barrier(s, self.writes, before.clone()).await?;
        let path = match self.meanwhile {
            Meanwhile::Write => "/write?value=1",
            Meanwhile::Logout => "/logout",
        };
        let meanwhile = send(w, "POST", path, &before).await?;
        let slow = held.release().await?;
        if meanwhile.status != 200 {
            return Ok(Outcome::refused(&meanwhile, &slow));
        }

        // In the order in which the responses reach the browser.
        let mut after = before.clone();
        after.receive(&meanwhile);
        after.receive(&slow);
        let deadline = Instant::now() + SETTLING;
        loop {
            let seen = Seen::of(self, [s, w], &before, &after).await?;
            if seen.is_right(self) || Instant::now() >= deadline {
                return Ok(Outcome::new(self, &seen, &slow));
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A request that is held after it has loaded its session.
struct Held {
    barrier: TcpStream,
    answer: JoinHandle<anyhow::Result<Answer>>,
}

impl Held {
    async fn at_barrier(
        address: SocketAddr,
        writes: bool,
        cookies: Cookies,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let path = format!("/hold?port={}&write={writes}", listener.local_addr()?.port());
        let mut answer = tokio::spawn(async move { send(address, "POST", &path, &cookies).await });
        let reached = timeout(PATIENCE, async {
            tokio::select! {
                reached = listener.accept() => Ok(reached?.0),
                early = &mut answer => bail!("{} before the barrier", early??.status),
            }
        });
        Ok(Self {
            barrier: reached.await.context("the request never got to the barrier")??,
            answer,
        })
    }

    async fn release(self) -> anyhow::Result<Answer> {
        drop(self.barrier);
        self.answer.await?
    }
}
