//! A TCP proxy that misbehaves on demand, in front of any server.
//!
//! [`Fault`]s concern whole connections and work for every protocol. Rules ([`FaultProxy::inject`],
//! [`FaultProxy::hold_next`]) concern single Redis commands.

mod connection;
mod resp;

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::free_port;
use crate::process::START_LIMIT;

/// What the proxy does to connections, old and new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: everything passes.
    None,
    /// Existing connections are reset and the port is closed.
    Refuse,
    /// Connections are accepted and stay open; all they send is swallowed and nothing is answered.
    /// They are reset when another fault is set.
    BlackHole,
    /// Whatever the server sends arrives this much later.
    Delay(Duration),
    /// Of the next reply at most so many bytes pass, then its connection is reset; everything after
    /// that passes.
    CutReply(usize),
}

/// The proxy; its port is closed when it is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    port: u16,
    upstream: u16,
    shared: Arc<Shared>,
    /// The task that owns listener and connections; empty while the port is closed.
    acceptor: tokio::sync::Mutex<JoinSet<()>>,
}

#[derive(Debug)]
struct Shared {
    fault: watch::Sender<Fault>,
    rules: Mutex<Vec<Rule>>,
}

/// What is to happen to requests with a certain command.
#[derive(Debug)]
struct Rule {
    command: String,
    action: Action,
}

#[derive(Debug)]
enum Action {
    Answer { reply: Vec<u8>, once: bool },
    Hold { arrived: watch::Sender<usize>, release: oneshot::Receiver<()> },
}

impl FaultProxy {
    /// Opens a port in front of `upstream`, a port of 127.0.0.1, with [`Fault::None`].
    pub async fn start(upstream: u16) -> Self {
        let shared = Shared { fault: watch::Sender::new(Fault::None), rules: Mutex::default() };
        let shared = Arc::new(shared);
        let (port, listener) = loop {
            let port = free_port();
            if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
                break (port, listener);
            }
        };
        let mut acceptor = JoinSet::new();
        acceptor.spawn(accept(listener, upstream, Arc::clone(&shared)));
        Self { port, upstream, shared, acceptor: tokio::sync::Mutex::new(acceptor) }
    }

    /// The port clients connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `redis://127.0.0.1:{port}`
    pub fn redis_url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Switches to another fault; it holds for everything sent after this returns.
    pub async fn set(&self, fault: Fault) {
        let mut acceptor = self.acceptor.lock().await;
        self.shared.fault.send_replace(fault);
        if fault == Fault::Refuse {
            while acceptor.join_next().await.is_some() {}
        } else if acceptor.is_empty() {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await;
            let listener = listener.expect("nobody else takes a port of our range");
            acceptor.spawn(accept(listener, self.upstream, Arc::clone(&self.shared)));
        }
    }

    /// Answers every further Redis request with `command` with `reply`, raw RESP such as `"-LOADING
    /// wait\r\n"`. The server does not see these requests; the order of replies is kept.
    pub fn inject(&self, command: &str, reply: &str) {
        self.answer(command, reply, false);
    }

    /// [`FaultProxy::inject`] for one request only.
    pub fn inject_once(&self, command: &str, reply: &str) {
        self.answer(command, reply, true);
    }

    /// Holds back the next Redis request with `command`, and what follows it on the same
    /// connection, until the returned [`Hold`] releases it.
    pub fn hold_next(&self, command: &str) -> Hold {
        let (arrived, seen) = watch::channel(0);
        let (at_release, release) = oneshot::channel();
        self.add(command, Action::Hold { arrived, release });
        Hold { arrived: seen, release: at_release }
    }

    /// Forgets all injected answers, and the holds that were not reached yet.
    pub fn clear_rules(&self) {
        self.shared.rules().clear();
    }

    fn answer(&self, command: &str, reply: &str, once: bool) {
        assert!(reply.ends_with("\r\n"), "{reply:?} is no complete RESP reply");
        self.add(command, Action::Answer { reply: reply.into(), once });
    }

    fn add(&self, command: &str, action: Action) {
        self.shared.rules().push(Rule { command: command.to_ascii_uppercase(), action });
    }
}

/// A request held back by [`FaultProxy::hold_next`]; goes on when this is released or dropped.
#[derive(Debug)]
pub struct Hold {
    /// How many requests have arrived: the held one, then those behind it.
    arrived: watch::Receiver<usize>,
    release: oneshot::Sender<()>,
}

impl Hold {
    /// Waits until the request has arrived at the proxy.
    pub async fn reached(&mut self) {
        self.arrived(1).await;
    }

    /// Waits until another request has arrived behind it, on the same connection.
    pub async fn followed(&mut self) {
        self.arrived(2).await;
    }

    async fn arrived(&mut self, requests: usize) {
        let arrived = self.arrived.wait_for(|arrived| *arrived >= requests);
        let arrived = tokio::time::timeout(START_LIMIT, arrived).await;
        arrived.expect("the request comes in time").expect("the hold was not cleared");
    }

    /// Lets the request go on to the server.
    pub fn release(self) {
        // The connection may be gone by now; then there is nothing to release.
        let _ = self.release.send(());
    }
}

impl Shared {
    fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.rules.lock().expect("nothing panics while it holds the lock")
    }

    /// What to do with a request: the first rule for its command, used up if it is meant for one
    /// request.
    fn action_for(&self, command: &str) -> Option<Action> {
        let mut rules = self.rules();
        let index = rules.iter().position(|rule| rule.command == command)?;
        match &rules[index].action {
            Action::Answer { reply, once: false } => {
                Some(Action::Answer { reply: reply.clone(), once: false })
            }
            _ => Some(rules.remove(index).action),
        }
    }
}

async fn accept(listener: TcpListener, upstream: u16, shared: Arc<Shared>) {
    let mut fault = shared.fault.subscribe();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = fault.wait_for(|fault| *fault == Fault::Refuse) => break,
            Ok((client, _)) = listener.accept() => {
                connections.spawn(connection::serve(client, upstream, Arc::clone(&shared)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}
