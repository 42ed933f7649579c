//! A Redis in memory with one session. It executes one command at a time, and sends the replies and
//! invalidations of a connection in the order of the commands.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::sync::{Mutex, MutexGuard, spawn};

thread_local! {
    /// All tasks of one order run on one thread.
    static SERVER: RefCell<Option<Arc<Server>>> = const { RefCell::new(None) };
}

/// Replaces a connection of the client library by one to the server of this order.
pub(crate) async fn connect(
    client: &Client,
    config: &AsyncConnectionConfig,
) -> RedisResult<MultiplexedConnection> {
    let server = SERVER.with_borrow(Clone::clone).expect("a server was started");
    let (ours, theirs) = duplex(1 << 16);
    if !server.accept(theirs) {
        return Err(io::Error::from(io::ErrorKind::ConnectionRefused).into());
    }
    let settings = client.get_connection_info().redis_settings();
    let (connection, driver) =
        MultiplexedConnection::new_with_config(settings, ours, config.clone()).await?;
    spawn(driver);
    Ok(connection)
}

#[derive(Default)]
pub(crate) struct Server(Mutex<State>);

#[derive(Default)]
struct State {
    is_down: bool,
    user: Vec<u8>,
    /// `None` once the session has ended.
    record: Option<Vec<u8>>,
    peers: Vec<Peer>,
    numbers: usize,
    accepted: usize,
    /// The arguments of `ECHO` so far.
    echoed: Vec<Vec<u8>>,
}

struct Peer {
    number: usize,
    out: UnboundedSender<Vec<u8>>,
    is_tracking: bool,
    /// Whether `CLIENT CACHING YES` was the last command.
    is_caching: bool,
    /// The key whose next change is announced to the connection.
    watched: Option<Vec<u8>>,
}

impl Server {
    /// Starts the server of this order.
    pub(crate) fn start(user: &[u8], record: Vec<u8>) -> Arc<Self> {
        let server = Arc::new(Self::default());
        (server.state().user, server.state().record) = (user.to_vec(), Some(record));
        SERVER.set(Some(server.clone()));
        server
    }

    /// Counts the connections from here on.
    pub(crate) fn forget_connections(&self) {
        self.state().accepted = 0;
    }

    /// Ends the session, as another process would.
    pub(crate) fn end(&self) {
        self.state().end();
    }

    /// Breaks all connections, and accepts new ones only after `come_up`.
    pub(crate) fn go_down(&self) {
        let mut state = self.state();
        state.is_down = true;
        state.peers.clear();
    }

    pub(crate) fn come_up(&self) {
        self.state().is_down = false;
    }

    /// The number of connections since [`Server::forget_connections`].
    pub(crate) fn accepted(&self) -> usize {
        self.state().accepted
    }

    pub(crate) fn echoed(&self) -> Vec<Vec<u8>> {
        self.state().echoed.clone()
    }

    fn accept(self: &Arc<Self>, stream: DuplexStream) -> bool {
        let mut state = self.state();
        if state.is_down {
            return false;
        }
        let (out, replies) = unbounded_channel();
        let number = state.numbers;
        state.numbers += 1;
        state.accepted += 1;
        state.peers.push(Peer {
            number,
            out,
            is_tracking: false,
            is_caching: false,
            watched: None,
        });
        spawn(serve(self.clone(), number, stream, replies));
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    fn end(&mut self) -> bool {
        let was_there = self.record.take().is_some();
        for peer in &mut self.peers {
            if let Some(key) = peer.watched.take_if(|_| was_there) {
                let invalidation = [b">2\r\n", &*bulk(b"invalidate"), b"*1\r\n", &bulk(&key)];
                let _ = peer.out.send(invalidation.concat());
            }
        }
        was_there
    }

    fn execute(&mut self, number: usize, command: &[Vec<u8>]) {
        let word = |at: usize| command.get(at).map_or(&b""[..], |word| word);
        let Some(at) = self.peers.iter().position(|peer| peer.number == number) else { return };
        let is_caching = std::mem::take(&mut self.peers[at].is_caching);
        let reply = match (word(0), word(1)) {
            (b"HELLO", _) => [b"%1\r\n", &*bulk(b"proto"), b":3\r\n"].concat(),
            (b"ROLE", _) => [b"*3\r\n", &*bulk(b"master"), b":0\r\n*0\r\n"].concat(),
            (b"CLIENT", b"TRACKING") => {
                self.peers[at].is_tracking = true;
                b"+OK\r\n".to_vec()
            }
            (b"CLIENT", b"CACHING") if !self.peers[at].is_tracking => {
                b"-ERR CLIENT CACHING can be called only when tracking\r\n".to_vec()
            }
            (b"CLIENT", b"CACHING") => {
                self.peers[at].is_caching = true;
                b"+OK\r\n".to_vec()
            }
            (b"ECHO", text) => {
                self.echoed.push(text.to_vec());
                bulk(text)
            }
            // The reply has the epoch, the user and the record.
            (b"HMGET", key) => {
                if is_caching {
                    self.peers[at].watched = Some(key.to_vec());
                }
                let record = self.record.as_ref().map_or(b"_\r\n".to_vec(), |record| bulk(record));
                [b"*3\r\n_\r\n", &*bulk(&self.user), &record].concat()
            }
            // Only the script that ends the session is called.
            (b"EVALSHA", _) => format!(":{}\r\n", u8::from(self.end())).into_bytes(),
            _ => b"+OK\r\n".to_vec(),
        };
        let _ = self.peers[at].out.send(reply);
    }
}

async fn serve(
    server: Arc<Server>,
    number: usize,
    mut stream: DuplexStream,
    mut replies: UnboundedReceiver<Vec<u8>>,
) {
    let mut received = Vec::new();
    loop {
        tokio::select! {
            biased;
            reply = replies.recv() => match reply {
                Some(reply) if stream.write_all(&reply).await.is_ok() => {}
                _ => return,
            },
            read = stream.read_buf(&mut received) => {
                if !read.is_ok_and(|read| read > 0) {
                    return;
                }
                while let Some((command, len)) = command(&received) {
                    received.drain(..len);
                    server.state().execute(number, &command);
                }
            }
        }
    }
}

/// The first command and its length, if the command is complete.
fn command(received: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
    let (words, mut at) = number(received, 0)?;
    let mut command = Vec::new();
    for _ in 0..words {
        let (len, begin) = number(received, at)?;
        command.push(received.get(begin..begin + len)?.to_vec());
        at = begin + len + 2;
    }
    (at <= received.len()).then_some((command, at))
}

/// The number after the marker at `at`, and the end of its line.
fn number(received: &[u8], at: usize) -> Option<(usize, usize)> {
    let rest = received.get(at + 1..)?;
    let len = rest.windows(2).position(|pair| pair == b"\r\n")?;
    Some((std::str::from_utf8(&rest[..len]).unwrap().parse().unwrap(), at + len + 3))
}

fn bulk(bytes: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}
