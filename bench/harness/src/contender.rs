//! The contenders, and how each is started.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::Context;

use crate::process::Process;
use crate::service;

/// Worker threads of each server. With two on two cores, the distribution of connections over them
/// doubles the CPU time of some rounds.
pub(crate) const WORKERS: &str = "1";

/// A server under test.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contender {
    /// The name in options and tables.
    pub(crate) name: &'static str,
    program: Program,
    variant: &'static str,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Program {
    /// A binary of this workspace.
    Binary(&'static str),
    /// A Node.js script under `bench/`.
    Node(&'static str),
    /// The whole service. The variant is its subcommand.
    Service,
}

/// The kind of a contender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Answers a constant; has no sessions.
    Constant,
    /// Reads the value of a key.
    Get,
    /// This repository's session layer.
    Ours,
    /// Another session library.
    Peer,
    /// This repository's whole service, with requests that only its session layer answers.
    Service,
    /// This repository's whole service, with requests for the portfolio of an empty account.
    Portfolio,
}

pub(crate) const FLOOR_A: &str = "floor A: constant";
pub(crate) const FLOOR_B: &str = "floor B: one GET";
pub(crate) const NEAR_CACHE: &str = "tracera, near-cache";
pub(crate) const NO_CACHE: &str = "tracera, no cache";
pub(crate) const TOWER_SESSIONS: &str = "tower-sessions";

/// The service in the mode for users. The other mode, which has a mailbox, signs its users in.
pub(crate) const SERVE: Contender =
    contender("tracera serve", Program::Service, "serve", Kind::Service);

pub(crate) const SERVICE: &str = "tracera dev, session only";
pub(crate) const PORTFOLIO: &str = "tracera dev, portfolio";

pub(crate) const ALL: [Contender; 11] = [
    contender(FLOOR_A, Program::Binary("floor-constant"), "", Kind::Constant),
    contender(FLOOR_B, Program::Binary("floor-get"), "", Kind::Get),
    contender(NEAR_CACHE, Program::Binary("contender-tracera"), "near-cache", Kind::Ours),
    contender(NO_CACHE, Program::Binary("contender-tracera"), "no-cache", Kind::Ours),
    contender(TOWER_SESSIONS, Program::Binary("contender-tower-sessions"), "", Kind::Peer),
    contender("actix-session", Program::Binary("contender-actix-session"), "", Kind::Peer),
    contender(
        "axum_session, own memory",
        Program::Binary("contender-axum-session"),
        "memory",
        Kind::Peer,
    ),
    contender(
        "axum_session, no memory",
        Program::Binary("contender-axum-session"),
        "no-memory",
        Kind::Peer,
    ),
    contender("express-session", Program::Node("express-session.js"), "", Kind::Peer),
    contender(SERVICE, Program::Service, "dev", Kind::Service),
    contender(PORTFOLIO, Program::Service, "dev", Kind::Portfolio),
];

/// With sessions in PostgreSQL.
pub(crate) const SQL: [Contender; 3] = [
    contender(
        "tower-sessions",
        Program::Binary("contender-tower-sessions"),
        "postgres",
        Kind::Peer,
    ),
    contender(NEAR_CACHE, Program::Binary("contender-tracera"), "postgres", Kind::Ours),
    contender(NO_CACHE, Program::Binary("contender-tracera"), "postgres-no-cache", Kind::Ours),
];

const fn contender(
    name: &'static str,
    program: Program,
    variant: &'static str,
    kind: Kind,
) -> Contender {
    Contender { name, program, variant, kind }
}

/// A contender that is running.
pub(crate) struct Running {
    pub(crate) contender: Contender,
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

/// The set-up of a contender for a scenario; see `contenders/common` for each setting.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Setup {
    pub(crate) sliding: bool,
    pub(crate) eager: bool,
    pub(crate) limited: bool,
}

impl Contender {
    /// Starts it and waits until it listens.
    pub(crate) fn start(self, redis: &str, setup: Setup) -> anyhow::Result<Running> {
        self.start_under(&[], redis, setup)
    }

    /// Starts it as an argument of another command.
    pub(crate) fn start_under(
        self,
        wrapper: &[&str],
        redis: &str,
        setup: Setup,
    ) -> anyhow::Result<Running> {
        let flag = |on| if on { "1" } else { "0" };
        let env = [
            ("BENCH_REDIS", redis),
            ("BENCH_SLIDING", flag(setup.sliding)),
            ("BENCH_EAGER", flag(setup.eager)),
            ("BENCH_LIMITED", flag(setup.limited)),
            ("BENCH_VARIANT", self.variant),
            ("BENCH_WORKERS", WORKERS),
            ("NODE_ENV", "production"),
        ];
        let (program, script) = match self.program {
            Program::Service => return service::start(self, wrapper, redis, setup.sliding),
            Program::Binary(name) => (sibling(name)?, None),
            Program::Node(name) => {
                (PathBuf::from("node"), Some(bench_dir().join("node").join(name)))
            }
        };
        let mut command = wrapper.to_vec();
        for path in [Some(&program), script.as_ref()].into_iter().flatten() {
            command.push(path.to_str().context("a path that is no text")?);
        }
        let mut process =
            Process::spawn(command[0], &command[1..], &env, Stdio::piped(), Stdio::inherit())?;
        let address = process.wait_until_listening().with_context(|| self.name)?;
        Ok(Running { contender: self, process, address })
    }
}

impl Contender {
    /// The contender that signs the users in: itself, or the service with a mailbox.
    pub(crate) fn for_signing_in(self) -> Self {
        if self.kind == Kind::Service { Self { variant: "dev", ..self } } else { self }
    }

    /// The configuration of the program.
    pub(crate) fn variant(&self) -> &'static str {
        self.variant
    }

    /// Whether this is the whole service rather than a session library.
    pub(crate) fn is_service(&self) -> bool {
        matches!(self.kind, Kind::Service | Kind::Portfolio)
    }
}

/// A binary beside this one.
pub(crate) fn sibling(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    anyhow::ensure!(path.exists(), "{} is missing, ./script/bench builds it", path.display());
    Ok(path)
}

/// The directory `bench` of the repository.
pub(crate) fn bench_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).with_file_name("")
}
