//! Who is compared, and starting one of them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::Context;

use crate::process::Process;

/// Worker threads of each server. With two on two cores, how the runtime happens to spread connections over them doubles
/// the processor time of some rounds.
const WORKERS: &str = "1";

/// A server under test.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contender {
    /// Its name in options and tables.
    pub(crate) name: &'static str,
    program: Program,
    variant: &'static str,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Program {
    /// A binary of this workspace.
    Binary(&'static str),
    /// A script for node under `bench/`.
    Node(&'static str),
}

/// What a contender can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Answers a constant; has no sessions.
    Constant,
    /// Reads the value of a key.
    Get,
    /// This repository's.
    Ours,
    /// Somebody else's session library.
    Peer,
}

pub(crate) const FLOOR_A: &str = "floor A: constant";
pub(crate) const FLOOR_B: &str = "floor B: one GET";
pub(crate) const NEAR_CACHE: &str = "tracera, near-cache";
pub(crate) const NO_CACHE: &str = "tracera, no cache";
pub(crate) const TOWER_SESSIONS: &str = "tower-sessions";

pub(crate) const ALL: [Contender; 9] = [
    contender(FLOOR_A, Program::Binary("floor-constant"), "", Kind::Constant),
    contender(FLOOR_B, Program::Binary("floor-get"), "", Kind::Get),
    contender(NEAR_CACHE, Program::Binary("contender-tracera"), "near-cache", Kind::Ours),
    contender(NO_CACHE, Program::Binary("contender-tracera"), "no-cache", Kind::Ours),
    contender(TOWER_SESSIONS, Program::Binary("contender-tower-sessions"), "", Kind::Peer),
    contender("actix-session", Program::Binary("contender-actix-session"), "", Kind::Peer),
    contender("axum_session, own memory", Program::Binary("contender-axum-session"), "memory", Kind::Peer),
    contender("axum_session, no memory", Program::Binary("contender-axum-session"), "no-memory", Kind::Peer),
    contender("express-session", Program::Node("express-session.js"), "", Kind::Peer),
];

const fn contender(name: &'static str, program: Program, variant: &'static str, kind: Kind) -> Contender {
    Contender { name, program, variant, kind }
}

/// A contender that listens.
pub(crate) struct Running {
    pub(crate) contender: Contender,
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

impl Contender {
    /// Starts it with settings that `contenders/common` documents, and waits until it listens.
    pub(crate) fn start(self, redis: &str, sliding: bool) -> anyhow::Result<Running> {
        self.start_under(&[], redis, sliding)
    }

    /// Starts it as the argument of another command.
    pub(crate) fn start_under(self, wrapper: &[&str], redis: &str, sliding: bool) -> anyhow::Result<Running> {
        let env = [
            ("BENCH_REDIS", redis),
            ("BENCH_SLIDING", if sliding { "1" } else { "0" }),
            ("BENCH_VARIANT", self.variant),
            ("BENCH_WORKERS", WORKERS),
            ("NODE_ENV", "production"),
        ];
        let (program, script) = match self.program {
            Program::Binary(name) => (sibling(name)?, None),
            Program::Node(name) => (PathBuf::from("node"), Some(bench_dir().join("node").join(name))),
        };
        let mut command = wrapper.to_vec();
        for path in [Some(&program), script.as_ref()].into_iter().flatten() {
            command.push(path.to_str().context("a path that is no text")?);
        }
        let mut process = Process::spawn(command[0], &command[1..], &env, Stdio::piped())?;
        let address = process.wait_until_listening().with_context(|| self.name)?;
        Ok(Running { contender: self, process, address })
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
