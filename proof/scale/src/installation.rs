//! Simulates an installation, event by event: requests, writes, copies, invalidations, and faults.
//!
//! Sessions are independent, so a sample is enough. Each session of the sample is simulated alone,
//! and its cost is multiplied by the number of sessions that it represents.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use fastrand::Rng;

use crate::cost::{FAILOVER, H, M, MAX_AGE, R, TELL, W};

/// The number of simulated sessions.
const FOLLOWED: usize = 20_000;

/// The operator's servers, and the users' behaviour.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) active: f64,
    pub(crate) requests: f64,
    pub(crate) writes: f64,
    pub(crate) servers: usize,
    pub(crate) cores: f64,
    pub(crate) primaries: usize,
    pub(crate) capacity: f64,
    pub(crate) tracked: f64,
    pub(crate) sticky: bool,
    pub(crate) seed: u64,
}

/// The event at the end of a normal minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    Nothing,
    /// A primary dies and is replaced.
    Failover,
    /// One user in a hundred signs out everywhere within ten seconds.
    SignOut,
    /// All servers start again at once.
    Restart,
}

impl Trouble {
    pub(crate) const ALL: [Self; 4] = [Self::Nothing, Self::Failover, Self::SignOut, Self::Restart];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "in peace",
            Self::Failover => "a primary dies",
            Self::SignOut => "mass sign-out",
            Self::Restart => "all servers restart",
        }
    }
}

/// The totals of one second, then the worst of any second.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Second {
    pub(crate) requests: f64,
    pub(crate) hits: f64,
    pub(crate) reads: f64,
    pub(crate) writes: f64,
    pub(crate) told: f64,
    pub(crate) failed: f64,
}

/// The result of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    /// Shares from 0 to 1 of all seconds after the event; times in milliseconds.
    pub(crate) hit_ratio: f64,
    pub(crate) server_load: f64,
    pub(crate) redis_load: f64,
    pub(crate) redis_wait_ms: f64,
    pub(crate) told_per_second: f64,
    pub(crate) failed: f64,
    /// Keys in one primary's tracking table, readers of each key, copies on one server.
    pub(crate) keys: f64,
    pub(crate) readers: f64,
    pub(crate) copies: f64,
}

struct Followed {
    /// Each server with a copy, and the time until which it uses the copy.
    copies: Vec<(usize, f64)>,
    /// The servers that will be sent its next change.
    readers: Vec<usize>,
    home: usize,
    primary: usize,
}

struct Run<'a> {
    plan: &'a Plan,
    random: Rng,
    /// The number of sessions that each simulated session represents.
    each: f64,
    sessions: Vec<Followed>,
    /// The sessions with readers, for evictions from the full table.
    table: Vec<usize>,
    copies: usize,
    down: Option<(usize, f64)>,
    second: Second,
}

/// Runs a minute to fill caches and a minute that is measured, with the event between them.
pub(crate) fn run(plan: &Plan, trouble: Trouble) -> Outcome {
    let mut run = Run::new(plan);
    let mut requests: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let rate = plan.requests / plan.active;
    for session in 0..run.sessions.len() {
        let first = run.pause(rate);
        requests.push(Reverse((first, session)));
    }
    let (begin, end) = (2.0 * MAX_AGE, 3.0 * MAX_AGE);
    let (mut seconds, mut is_troubled) = (Vec::new(), false);
    let mut boundary = 1.0;
    while let Some(Reverse((at, session))) = requests.pop() {
        let now = seconds_of(at);
        while now >= boundary {
            let second = std::mem::take(&mut run.second);
            if boundary > begin {
                seconds.push(second);
            }
            if trouble == Trouble::SignOut && (begin..begin + 10.0).contains(&boundary) {
                run.sign_out(0.001);
            }
            boundary += 1.0;
        }
        if now >= end {
            break;
        }
        if now >= begin && !is_troubled {
            is_troubled = true;
            run.begin(trouble, now);
        }
        run.request(session, now);
        let next = at + run.pause(rate);
        requests.push(Reverse((next, session)));
    }
    run.outcome(&seconds)
}

/// Microseconds, which are integers and so can be sorted.
fn seconds_of(micros: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 µs")]
    let micros = micros as f64;
    micros / 1e6
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan) -> Self {
        let mut random = Rng::with_seed(plan.seed);
        let sessions = (0..FOLLOWED).map(|_| Followed {
            copies: Vec::new(),
            readers: Vec::new(),
            home: random.usize(..plan.servers),
            primary: random.usize(..plan.primaries),
        });
        let sessions = sessions.collect();
        Self {
            plan,
            random,
            each: plan.active / count(FOLLOWED),
            sessions,
            table: Vec::new(),
            copies: 0,
            down: None,
            second: Second::default(),
        }
    }

    /// The time until a session's next request, in µs.
    fn pause(&mut self, rate: f64) -> u64 {
        let seconds = -(1.0 - self.random.f64()).ln() / rate;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
        let micros = (seconds * 1e6) as u64;
        micros
    }

    fn begin(&mut self, trouble: Trouble, now: f64) {
        match trouble {
            Trouble::Nothing | Trouble::SignOut => {}
            Trouble::Failover => {
                self.down = Some((0, now + FAILOVER));
                self.forget();
            }
            Trouble::Restart => self.forget(),
        }
    }

    /// Drops all copies and all connections.
    fn forget(&mut self) {
        for session in &mut self.sessions {
            session.copies.clear();
            session.readers.clear();
        }
        self.table.clear();
        self.copies = 0;
    }

    fn request(&mut self, session: usize, now: f64) {
        let server = if self.plan.sticky {
            self.sessions[session].home
        } else {
            self.random.usize(..self.plan.servers)
        };
        self.second.requests += self.each;
        let is_write = self.random.f64() < self.plan.writes;
        // While a primary is away no feed is complete, and no copy is kept.
        let (is_gone, keeps) = match self.down {
            Some((primary, until)) if now < until => {
                (self.sessions[session].primary == primary, false)
            }
            _ => (false, true),
        };
        if is_gone {
            self.second.failed += self.each;
            return;
        }
        let copies = &mut self.sessions[session].copies;
        let before = copies.len();
        copies.retain(|(_, until)| now < *until);
        self.copies -= before - copies.len();
        if copies.iter().any(|(at, _)| *at == server) {
            self.second.hits += self.each;
        } else {
            self.second.reads += self.each;
            if keeps {
                self.keep(session, server, now);
            }
        }
        if is_write {
            self.second.writes += self.each;
            self.tell(session);
        }
    }

    fn keep(&mut self, session: usize, server: usize, now: f64) {
        let followed = &mut self.sessions[session];
        if followed.readers.is_empty() {
            self.table.push(session);
        }
        if !followed.readers.contains(&server) {
            followed.readers.push(server);
        }
        followed.copies.push((server, now + MAX_AGE));
        self.copies += 1;
        let most_keys = self.plan.tracked * count(self.plan.primaries) / self.each;
        if count(self.table.len()) > most_keys {
            let at = self.random.usize(..self.table.len());
            let evicted = self.table[at];
            self.tell(evicted);
        }
        let most_copies = self.plan.capacity * count(self.plan.servers) / self.each;
        while count(self.copies) > most_copies {
            let other = self.random.usize(..self.sessions.len());
            if self.sessions[other].copies.pop().is_some() {
                self.copies -= 1;
            }
        }
    }

    /// Sends one invalidation to every reader, which drops its copy.
    fn tell(&mut self, session: usize) {
        let followed = &mut self.sessions[session];
        if followed.readers.is_empty() {
            return;
        }
        self.second.told += self.each * count(followed.readers.len());
        followed.readers.clear();
        self.copies -= followed.copies.len();
        followed.copies.clear();
        self.table.retain(|other| *other != session);
    }

    fn sign_out(&mut self, share: f64) {
        for session in 0..self.sessions.len() {
            if self.random.f64() < share {
                self.second.writes += self.each;
                self.tell(session);
            }
        }
    }

    fn outcome(&self, seconds: &[Second]) -> Outcome {
        let sum = |of: fn(&Second) -> f64| seconds.iter().map(of).sum::<f64>();
        let worst = |of: &dyn Fn(&Second) -> f64| seconds.iter().map(of).fold(0.0, f64::max);
        let cores = count(self.plan.servers) * self.plan.cores;
        let primaries = count(self.plan.primaries);
        let redis = |second: &Second| {
            (second.reads * R + second.writes * W + second.told * TELL) / 1e6 / primaries
        };
        // Work that one second leaves undone waits for the next.
        let (mut behind, mut wait) = (0.0_f64, 0.0_f64);
        for second in seconds {
            let load = redis(second);
            behind = (behind + load - 1.0).max(0.0);
            let queue = if load < 1.0 { R / 1e6 * load / (2.0 * (1.0 - load)) } else { 0.0 };
            wait = wait.max(behind + queue);
        }
        let readers: usize = self.sessions.iter().map(|session| session.readers.len()).sum();
        Outcome {
            hit_ratio: sum(|second| second.hits) / sum(|second| second.hits + second.reads),
            server_load: worst(&|second| (second.hits * H + second.reads * M) / 1e6 / cores),
            redis_load: worst(&redis),
            redis_wait_ms: wait * 1e3,
            told_per_second: worst(&|second| second.told),
            failed: sum(|second| second.failed) / sum(|second| second.requests),
            keys: count(self.table.len()) * self.each / primaries,
            readers: count(readers) / count(self.table.len().max(1)),
            copies: count(self.copies) * self.each / count(self.plan.servers),
        }
    }
}
