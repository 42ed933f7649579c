//! A TCP proxy that misbehaves on demand, in front of any server.
//!
//! [`Fault`]s affect whole connections and work for every protocol. Rules ([`FaultProxy::inject`],
//! [`FaultProxy::hold_next`]) affect single Redis commands.

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

/// The treatment of all connections, old and new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Everything passes.
    None,
    /// Existing connections are reset and the port is closed.
    Refuse,
    /// Connections are accepted and stay open. All data from clients is discarded and nothing is
    /// answered. Connections are reset when another fault is set.
    BlackHole,
    /// Data from the server arrives this much later.
    Delay(Duration),
    /// At most this many bytes of the next reply pass, then its connection is reset. Everything
    /// after that passes.
    CutReply(usize),
}

/// The proxy. Its port is closed when it is dropped.
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

/// The treatment of requests with a certain command.
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

    /// The port for clients.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `redis://127.0.0.1:{port}`
    pub fn redis_url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Sets another fault. It affects everything sent after this returns.
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

    /// Answers every further Redis request for `command` with `reply`, raw RESP such as `"-LOADING
    /// wait\r\n"`. The server does not see these requests; the order of replies is kept.
    pub fn inject(&self, command: &str, reply: &str) {
        self.answer(command, reply, false);
    }

    /// Like [`FaultProxy::inject`], for one request only.
    pub fn inject_once(&self, command: &str, reply: &str) {
        self.answer(command, reply, true);
    }

    /// Holds back the next Redis request for `command`, and the requests behind it on the same
    /// connection, until the returned [`Hold`] is released.
    pub fn hold_next(&self, command: &str) -> Hold {
        let (arrived, seen) = watch::channel(0);
        let (at_release, release) = oneshot::channel();
        self.add(command, Action::Hold { arrived, release });
        Hold { arrived: seen, release: at_release }
    }

    /// Removes all injected replies, and the holds that were not reached yet.
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

/// A request held back by [`FaultProxy::hold_next`]. It continues when this is released or dropped.
#[derive(Debug)]
pub struct Hold {
    /// The number of requests that have arrived: the held one, then those behind it.
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

    /// Sends the request to the server.
    pub fn release(self) {
        // If the connection is gone by now, there is nothing to release.
        let _ = self.release.send(());
    }
}

impl Shared {
    fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.rules.lock().expect("nothing panics while it holds the lock")
    }

    /// The action for a request: that of the first rule for its command. A rule for one request is
    /// used up.
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
