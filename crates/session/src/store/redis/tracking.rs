//! Invalidations as Redis tells them: `CLIENT TRACKING` over RESP3, opt-in, on the connections that
//! read.
//!
//! 1. Opt-in means that only a read right behind `CLIENT CACHING YES` is remembered by the server,
//!    once; what others do on the shared connection costs nothing. It is also the proof that this
//!    very connection tracks: on one that does not, the server refuses the command, and the answer
//!    is not kept.
//! 2. Pushes are handled where they are read from the socket, before any later reply reaches its
//!    caller. A reply to a heartbeat therefore proves that all changes of before have been told. In
//!    a cluster they pass through a queue of the client library, which is emptied in each turn of
//!    its task after that turn's replies. So a heartbeat there is several questions, each asked
//!    when the one before was answered: the last answer comes in a later turn than the first. A
//!    copy needs no such proof: whenever its change is told it goes, and if that is before it is
//!    kept it is not kept.
//! 3. With a connection goes everything that was read over it.
//! 4. A server that refuses is asked again only on a new connection.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::aio::{ConnectionLike, SendError};
use redis::{Cmd, ErrorKind, PushInfo, PushKind, RedisError, ServerErrorKind, Value};
use tokio::sync::Notify;

use crate::invalidations::{Heartbeat, Invalidations};
use crate::token::Tag;

/// What is tracked over one [`RedisConnection`](super::connection::RedisConnection), through all
/// its reconnections.
#[derive(Clone)]
pub(super) struct Tracking(Arc<Shared>);

struct Shared {
    resp3: bool,
    feeds: Mutex<Vec<Feed>>,
    state: Mutex<State>,
    warned: AtomicBool,
    attention: Arc<Notify>,
}

/// The changes of keys of the form prefix, tag, `}`.
struct Feed {
    prefix: Box<[u8]>,
    changes: Invalidations,
}

/// Of the connection in use.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Untried,
    On,
    Refused,
}

impl Tracking {
    /// Nothing is tracked until somebody asks for a feed. `attention` calls whoever looks after the
    /// connection.
    pub(super) fn new(resp3: bool, attention: Arc<Notify>) -> Self {
        Self(Arc::new(Shared {
            resp3,
            feeds: Mutex::default(),
            state: Mutex::new(State::Untried),
            warned: AtomicBool::new(false),
            attention,
        }))
    }

    /// The feed of changes of keys that begin with `prefix` and go on with a tag and a brace.
    pub(super) fn feed(&self, prefix: &[u8]) -> Invalidations {
        let mut feeds = self.feeds();
        if let Some(feed) = feeds.iter().find(|feed| *feed.prefix == *prefix) {
            return feed.changes.clone();
        }
        let changes = Invalidations::with_heartbeat();
        feeds.push(Feed { prefix: prefix.into(), changes: changes.clone() });
        self.0.attention.notify_one();
        changes
    }

    pub(super) fn is_wanted(&self) -> bool {
        !self.feeds().is_empty()
    }

    pub(super) fn is_on(&self) -> bool {
        *self.state() == State::On
    }

    /// Takes what a connection pushes, and its end. To be given to every connection when it is
    /// made.
    pub(super) fn receiver(
        &self,
    ) -> impl Fn(PushInfo) -> Result<(), SendError> + Send + Sync + 'static {
        let tracking = self.clone();
        move |push| {
            tracking.pushed(&push);
            Ok(())
        }
    }

    fn pushed(&self, push: &PushInfo) {
        match (&push.kind, push.data.as_slice()) {
            (PushKind::Invalidate, [Value::Array(keys)]) => {
                for key in keys {
                    if let Value::BulkString(key) = key {
                        self.changed(key);
                    }
                }
            }
            // Of no key in particular: the database was emptied. The connection itself is as good
            // as before.
            (PushKind::Invalidate | PushKind::Disconnection, _) => self.missed(),
            _ => {}
        }
    }

    /// The key changed, or what was read from it must not be kept.
    pub(super) fn changed(&self, key: &[u8]) {
        for feed in self.feeds().iter() {
            let tag = key.strip_prefix(&*feed.prefix).and_then(|rest| rest.strip_suffix(b"}"));
            if let Some(tag) = tag.and_then(Tag::parse) {
                feed.changes.changed(&tag);
            }
        }
    }

    /// Invalidations may have been missed; a heartbeat is wanted at once.
    pub(super) fn missed(&self) {
        for feed in self.feeds().iter() {
            feed.changes.lost();
        }
        self.0.attention.notify_one();
    }

    /// The connection is being replaced. Reads are not armed from here on, and nothing read so far
    /// is kept.
    pub(super) fn disconnected(&self) {
        *self.state() = State::Untried;
        for feed in self.feeds().iter() {
            feed.changes.lost();
        }
    }

    /// Has the server track, if that is wanted and was not tried on this connection.
    pub(super) async fn enable(&self, connection: &mut impl ConnectionLike) {
        if !self.is_wanted() || *self.state() != State::Untried {
            return;
        }
        let answer = if self.0.resp3 {
            connection.req_packed_command(&tracking_on()).await
        } else {
            Err((ErrorKind::RESP3NotSupported, "the server does not speak RESP3").into())
        };
        match answer.and_then(Value::extract_error) {
            Ok(_) => self.turned_on(),
            Err(error) if error.is_io_error() || error.is_unrecoverable_error() => {}
            Err(error) => self.refused(&error),
        }
    }

    pub(super) fn turned_on(&self) {
        *self.state() = State::On;
    }

    pub(super) fn refused(&self, error: &RedisError) {
        *self.state() = State::Refused;
        if !self.0.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "redis does not tell what changes, so every request asks it");
        }
    }

    /// The server would not remember a read: this connection does not track after all, or the user
    /// may not ask for it.
    pub(super) fn not_armed(&self, error: &RedisError) {
        if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) {
            self.disconnected();
            self.refused(error);
        } else {
            self.missed();
        }
    }

    /// To be called right before a question on the connection; empty while nothing is tracked.
    pub(super) fn heartbeat(&self) -> Vec<Heartbeat> {
        if !self.is_on() {
            return Vec::new();
        }
        self.feeds().iter().map(|feed| feed.changes.heartbeat()).collect()
    }

    fn feeds(&self) -> MutexGuard<'_, Vec<Feed>> {
        self.0.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks for tracking, keeping it as it is when it is on already.
pub(super) fn tracking_on() -> Cmd {
    let mut command = redis::cmd("CLIENT");
    command.arg("TRACKING").arg("ON").arg("OPTIN");
    command
}

/// Has the server remember the read that follows.
pub(super) fn caching() -> Cmd {
    let mut command = redis::cmd("CLIENT");
    command.arg("CACHING").arg("YES");
    command
}
