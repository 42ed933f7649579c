//! Takes what several requests ask at the same moment to Redis together.
//!
//! A write to a socket costs more than most commands do, here and in Redis, which is woken by each. So whoever asks hands the
//! command over, and the courier goes when all that are ready to run have run: one write and one read for all their
//! commands, one timer and one slot in the client library's queue. With little to do it goes at once, with one.
//!
//! What travels together is neither a transaction nor kept in any order, and each command gets its own answer. Only a
//! connection that breaks fails them all.

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, Pipeline, RedisResult, Value};
use tokio::sync::{mpsc, oneshot};

use super::connection::not_connected;

/// How many commands travel together at most: the first is answered when the last is.
const CAPACITY: usize = 64;

/// A connection, and who takes commands to it.
pub(super) struct Courier {
    connection: MultiplexedConnection,
    errands: mpsc::UnboundedSender<Errand>,
}

struct Errand {
    command: Cmd,
    reply: oneshot::Sender<RedisResult<Value>>,
}

impl Courier {
    /// Goes until nobody holds what this returns.
    pub(super) fn new(connection: MultiplexedConnection) -> Self {
        let (errands, queue) = mpsc::unbounded_channel();
        tokio::spawn(go(connection.clone(), queue));
        Self { connection, errands }
    }

    /// The connection itself, for what must travel alone.
    pub(super) fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }

    /// Asks, and waits no longer than the connection waits for a reply. A caller who goes away before the command was sent
    /// takes it back.
    pub(super) async fn ask(&self, command: Cmd) -> RedisResult<Value> {
        let (reply, replied) = oneshot::channel();
        self.errands.send(Errand { command, reply }).map_err(|_| not_connected())?;
        replied.await.unwrap_or_else(|_| Err(not_connected()))
    }
}

async fn go(connection: MultiplexedConnection, mut queue: mpsc::UnboundedReceiver<Errand>) {
    let mut errands = Vec::new();
    while queue.recv_many(&mut errands, CAPACITY).await > 0 {
        // Until the others who are ready have run, and perhaps come with more.
        tokio::task::yield_now().await;
        while errands.len() < CAPACITY
            && let Ok(errand) = queue.try_recv()
        {
            errands.push(errand);
        }
        errands.retain(|errand| !errand.reply.is_closed());
        if !errands.is_empty() {
            tokio::spawn(deliver(connection.clone(), std::mem::take(&mut errands)));
        }
    }
}

async fn deliver(mut connection: MultiplexedConnection, errands: Vec<Errand>) {
    let (mut commands, mut replies) =
        (Pipeline::with_capacity(errands.len()), Vec::with_capacity(errands.len()));
    for Errand { command, reply } in errands {
        commands.add_command(command);
        replies.push(reply);
    }
    let answers = match connection.send_packed_commands(&commands, 0, replies.len()).await {
        Ok(answers) if answers.len() == replies.len() => answers.into_iter().map(own_error).collect(),
        Ok(_) => {
            vec![Err((ErrorKind::UnexpectedReturnType, "not one reply per command").into()); replies.len()]
        }
        Err(error) => vec![Err(error); replies.len()],
    };
    for (reply, answer) in replies.into_iter().zip(answers) {
        // Nobody may be waiting any more.
        let _ = reply.send(answer);
    }
}

/// Only a whole answer is looked at for an error: what is asked here has none further inside.
fn own_error(answer: Value) -> RedisResult<Value> {
    match answer {
        Value::ServerError(error) => Err(error.into()),
        answer => Ok(answer),
    }
}
