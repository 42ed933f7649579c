//! Batches the commands that several requests send to Redis at the same time.
//!
//! A write to a socket costs more than most commands, in this process and in Redis. So a request
//! hands its command to a task, which sends a batch when all ready tasks have run. A batch is one
//! write, one read, one timer and one slot in the queue of the client library.
//!
//! 1. A command that comes alone is sent at once.
//! 2. A batch is no transaction and keeps no order. Every command must have exactly one reply.
//! 3. An error in one reply is the error of its command alone. A broken connection or a late reply
//!    fails the whole batch.
//! 4. If a request is dropped before its command is sent, the command is not sent.

use std::io;

use futures_util::FutureExt;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, Pipeline, RedisResult, Value};
use tokio::sync::{mpsc, oneshot, watch};

use super::error::not_connected;
use crate::sync::spawn;

/// The maximum number of commands in a batch. It bounds latency, because all are answered together.
const CAPACITY: usize = 64;

/// A connection with the task that sends batches over it.
pub(super) struct Batcher {
    connection: MultiplexedConnection,
    requests: mpsc::UnboundedSender<Request>,
    is_broken: watch::Sender<bool>,
}

struct Request {
    /// A command sent right before the other. Boxed, because few requests have one.
    before: Option<Box<Cmd>>,
    command: Cmd,
    reply: Reply,
}

type Reply = oneshot::Sender<RedisResult<Answers>>;
type Replied = oneshot::Receiver<RedisResult<Answers>>;

struct Answers {
    before: Option<Box<Value>>,
    command: Value,
}

impl Batcher {
    /// The task ends when the last clone of the result is dropped.
    pub(super) fn new(connection: MultiplexedConnection) -> Self {
        let (requests, queue) = mpsc::unbounded_channel();
        let (is_broken, broken) = watch::channel(false);
        spawn(run(connection.clone(), queue, broken));
        Self { connection, requests, is_broken }
    }

    /// Fails all waiting and later requests with a broken connection. Without this, the client
    /// library would hold a command handed over at that moment until the reply's time limit.
    pub(super) fn give_up(&self) {
        self.is_broken.send_replace(true);
    }

    /// The connection itself, for commands that must not be batched.
    pub(super) fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }

    /// Queues the command at once, before the future is polled. The connection's time limit for a
    /// reply bounds the wait.
    pub(super) fn ask(&self, command: Cmd) -> impl Future<Output = RedisResult<Value>> + use<> {
        self.send(None, command).map(|replied| own_error(answers(replied)?.command))
    }

    /// Like `ask`, with another command sent right before. The reply to that command comes first;
    /// its error is a value.
    pub(super) async fn ask_behind(
        &self,
        before: Cmd,
        command: Cmd,
    ) -> RedisResult<(Value, Value)> {
        let answers = answers(self.send(Some(Box::new(before)), command).await)?;
        Ok((answers.before.map_or(Value::Nil, |before| *before), own_error(answers.command)?))
    }

    fn send(&self, before: Option<Box<Cmd>>, command: Cmd) -> Replied {
        let (reply, replied) = oneshot::channel();
        // If the task has ended, the request is dropped, and the reply channel with it.
        let _ = self.requests.send(Request { before, command, reply });
        replied
    }
}

fn answers(
    replied: Result<RedisResult<Answers>, oneshot::error::RecvError>,
) -> RedisResult<Answers> {
    replied.unwrap_or_else(|_| Err(not_connected()))
}

async fn run(
    connection: MultiplexedConnection,
    mut queue: mpsc::UnboundedReceiver<Request>,
    broken: watch::Receiver<bool>,
) {
    let mut requests = Vec::new();
    while queue.recv_many(&mut requests, CAPACITY).await > 0 {
        // Lets tasks that are ready add their commands.
        tokio::task::yield_now().await;
        while requests.len() < CAPACITY
            && let Ok(request) = queue.try_recv()
        {
            requests.push(request);
        }
        requests.retain(|request| !request.reply.is_closed());
        if requests.is_empty() {
            continue;
        }
        let mut commands = Pipeline::with_capacity(requests.len());
        let mut waiting = Vec::with_capacity(requests.len());
        for Request { before, command, reply } in requests.drain(..) {
            waiting.push((before.is_some(), reply));
            if let Some(before) = before {
                commands.add_command(*before);
            }
            commands.add_command(command);
        }
        spawn(deliver(connection.clone(), commands, waiting, broken.clone()));
    }
}

/// `waiting` says for each reply whether another answer comes before its own.
async fn deliver(
    mut connection: MultiplexedConnection,
    commands: Pipeline,
    waiting: Vec<(bool, Reply)>,
    mut broken: watch::Receiver<bool>,
) {
    let answers = tokio::select! {
        biased;
        answers = connection.send_packed_commands(&commands, 0, commands.len()) => answers,
        _ = broken.wait_for(|is_broken| *is_broken) => {
            Err(io::Error::from(io::ErrorKind::ConnectionReset).into())
        }
    };
    let mut answers = answers.map(Vec::into_iter);
    for (has_before, reply) in waiting {
        let own = answers.as_mut().map_err(|error| error.clone()).and_then(|answers| {
            let before = has_before.then(|| answers.next()).flatten().map(Box::new);
            let command = answers
                .next()
                .ok_or((ErrorKind::UnexpectedReturnType, "not one reply per command"))?;
            Ok(Answers { before, command })
        });
        // The requester may have been dropped.
        let _ = reply.send(own);
    }
}

/// Only the top level can be an error: no command of this crate nests one.
fn own_error(answer: Value) -> RedisResult<Value> {
    match answer {
        Value::ServerError(error) => Err(error.into()),
        answer => Ok(answer),
    }
}
