//! Invalidations from Redis: `CLIENT TRACKING` over RESP3, opt-in, on the connections that read.
//!
//! 1. With opt-in the server tracks only a read right behind `CLIENT CACHING YES`, for one change.
//!    Other commands on the shared connection cost nothing. `CLIENT CACHING` also proves that this
//!    connection tracks: otherwise the server refuses it, and the answer is not kept.
//! 2. Pushes are handled where they are read from the socket, before any later reply reaches its
//!    caller. A reply to a heartbeat therefore proves that all earlier changes have been announced.
//!    In a cluster, pushes pass through a queue of the client library. Each turn of its task
//!    empties the queue after handling that turn's replies. A heartbeat there is therefore several
//!    commands, each sent after the reply to the one before. Thus the last reply comes in a later
//!    turn than the first. A copy needs no such proof: its invalidation removes it, or keeps it out
//!    if it arrives first.
//! 3. When a connection ends, everything read over it is invalidated.
//! 4. A server that refuses is asked again only on a new connection.

use std::sync::{Arc, PoisonError};

use redis::aio::{ConnectionLike, SendError};
use redis::{Cmd, ErrorKind, PushInfo, PushKind, RedisError, ServerErrorKind, Value};
use tokio::sync::Notify;

use crate::invalidations::{Heartbeat, Invalidations};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::token::Tag;

/// The keys tracked over one [`RedisConnection`](super::connection::RedisConnection), through all
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

/// The changes of keys that consist of prefix, tag and `}`.
struct Feed {
    prefix: Box<[u8]>,
    changes: Invalidations,
}

/// The state of tracking on the connection in use.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Untried,
    On,
    Refused,
}

impl Tracking {
    /// Nothing is tracked until a feed is requested. `attention` wakes the supervisor of the
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

    /// The feed of changes of keys that consist of `prefix`, a tag and a brace.
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

    /// The receiver of a connection's pushes and of its end. Give it to every new connection.
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
            // A push without a key means that the database was flushed. The connection itself stays
            // usable.
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

    /// Invalidations may have been missed. Requests a heartbeat at once.
    pub(super) fn missed(&self) {
        for feed in self.feeds().iter() {
            feed.changes.lost();
        }
        self.0.attention.notify_one();
    }

    /// The connection is being replaced. From here on reads are not tracked, and nothing read so
    /// far is kept.
    pub(super) fn disconnected(&self) {
        *self.state() = State::Untried;
        for feed in self.feeds().iter() {
            feed.changes.lost();
        }
    }

    /// Enables tracking, if a feed was requested and this connection has not tried yet.
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

    /// The server refused to track a read. Either this connection does not track after all, or the
    /// user lacks the permission.
    pub(super) fn not_armed(&self, error: &RedisError) {
        if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) {
            self.disconnected();
            self.refused(error);
        } else {
            self.missed();
        }
    }

    /// Call it right before a command on the connection; empty while nothing is tracked.
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

/// `CLIENT TRACKING ON`, which leaves tracking as it is when it is on already.
pub(super) fn tracking_on() -> Cmd {
    let mut command = redis::cmd("CLIENT");
    command.arg("TRACKING").arg("ON").arg("OPTIN");
    command
}

/// `CLIENT CACHING YES`, which makes the server track the next read.
pub(super) fn caching() -> Cmd {
    let mut command = redis::cmd("CLIENT");
    command.arg("CACHING").arg("YES");
    command
}
