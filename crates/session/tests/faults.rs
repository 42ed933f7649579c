//! Every kind of failure of Redis during every operation. The answer is the documented one within
//! its time limit, nothing else is written, and everything recovers by itself.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower::ServiceExt;
use tracera_session::{
    Clock, KeyRing, NearCache, RedisConnection, RedisLimits, RedisStore, Session, SessionConfig,
    SessionError, SessionLayer, Sessions, SignIn, Timestamp, UserId,
};
use tracera_testkit::{Fault, FaultProxy, RedisServer};

/// Upper bound of every request, whatever fails.
const LIMIT: Duration = Duration::from_secs(2);

/// Upper bound of the time until everything works again.
const RECOVERY: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Load,
    Commit,
    Touch,
    Rotate,
    Destroy,
    RevokeAll,
    Create,
}

use Operation::{Commit, Create, Destroy, Load, RevokeAll, Rotate, Touch};

const ALL: [Operation; 7] = [Load, Commit, Touch, Rotate, Destroy, RevokeAll, Create];

/// A fault of the connection to Redis or of its answers while an operation runs.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    Connection(Fault),
    /// Redis answers commands with an error.
    Answer(&'static str),
}

struct Stage {
    redis: RedisServer,
    proxy: Arc<FaultProxy>,
    sessions: Sessions,
    clock: Clock,
}

struct Answer {
    status: StatusCode,
    cookie: Option<HeaderValue>,
    took: Duration,
}

impl Stage {
    async fn new() -> Self {
        Self::new_with(RedisLimits::default()).await
    }

    async fn new_with(limits: RedisLimits) -> Self {
        let redis = RedisServer::start().await;
        let proxy = Arc::new(FaultProxy::start(redis.port()).await);
        let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
        let config = SessionConfig::default()
            .clock(clock.clone())
            .near_cache(NearCache::Off)
            .idle_timeout(Some(Duration::from_secs(3600)));
        let connection = RedisConnection::open_with(&proxy.redis_url(), limits).await.unwrap();
        let store = RedisStore::new(connection);
        let sessions = Sessions::new(store, KeyRing::new(&[7; 32]).unwrap(), config);
        Self { redis, proxy, sessions, clock }
    }

    async fn request<F, R>(&self, cookie: &HeaderValue, handler: F) -> Answer
    where
        F: FnOnce(Session) -> R + Send + 'static,
        R: Future<Output = Result<(), SessionError>> + Send + 'static,
    {
        let handler = Mutex::new(Some(handler));
        let handler = Arc::new(handler);
        let route = any(move |session: Session| {
            let handler = handler.lock().unwrap().take().unwrap();
            handler(session)
        });
        let app: Router =
            Router::new().route("/", route).layer(SessionLayer::new(self.sessions.clone()));
        let mut request = Request::new(Body::empty());
        request.headers_mut().insert(header::COOKIE, cookie.clone());
        let before = Instant::now();
        let response = app.oneshot(request).await.unwrap();
        Answer {
            status: response.status(),
            cookie: response.headers().get(header::SET_COOKIE).cloned(),
            took: before.elapsed(),
        }
    }

    async fn sign_in(&self, user: &UserId) -> HeaderValue {
        let sign_in = SignIn::new(user.clone(), "test");
        let answer =
            self.request(&HeaderValue::from_static("none=1"), |s| async move {
                s.sign_in(sign_in).await
            })
            .await;
        assert_eq!(answer.status, StatusCode::OK);
        let cookie = answer.cookie.unwrap();
        let (pair, _) = cookie.to_str().unwrap().split_once(';').unwrap();
        pair.parse().unwrap()
    }

    /// Runs an operation. The trouble begins right before it, after the session has been loaded if
    /// the operation needs one.
    async fn operate(
        &self,
        operation: Operation,
        trouble: Trouble,
        cookie: &HeaderValue,
    ) -> Answer {
        if operation == Load {
            trouble.begin(&self.proxy, "HMGET").await;
            return self.request(cookie, |s| async move { s.user().map(drop) }).await;
        }
        if operation == Touch {
            self.clock.advance(Duration::from_secs(600));
        }
        let proxy = self.proxy.clone();
        let user = UserId::new("somebody-else").unwrap();
        let epoch = self.sessions.epoch(&user).await.unwrap();
        self.request(cookie, move |s| async move {
            trouble.begin(&proxy, "EVALSHA").await;
            match operation {
                Commit => s.set("field", &1),
                Load | Touch => Ok(()),
                Rotate => s.rotate().await,
                Destroy => s.sign_out().await,
                RevokeAll => s.sign_out_others().await,
                Create => s.sign_in(SignIn::new(user, "test").epoch(epoch)).await,
            }
        })
        .await
    }

    async fn works_again(&self, cookie: &HeaderValue) {
        let deadline = Instant::now() + RECOVERY;
        loop {
            let answer =
                self.request(cookie, |s| async move { s.increment("n", 1).await.map(drop) }).await;
            assert!(answer.took < LIMIT);
            if answer.status != StatusCode::SERVICE_UNAVAILABLE {
                assert_eq!(answer.status, StatusCode::OK);
                return;
            }
            assert!(Instant::now() < deadline, "still unavailable");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Trouble {
    async fn begin(self, proxy: &FaultProxy, command: &str) {
        match self {
            Self::Connection(fault) => proxy.set(fault).await,
            Self::Answer(reply) => proxy.inject(command, &format!("{reply}\r\n")),
        }
    }
}

/// Every write under one kind of trouble: 503 in time, with the cookie and the session unchanged. A
/// load answers `load`. `reaches` means that Redis may have executed the command before the answer
/// was lost.
async fn each_operation(trouble: Trouble, load: StatusCode, reaches: bool) {
    for operation in ALL {
        let stage = Stage::new().await;
        let user = UserId::new("user").unwrap();
        let (cookie, other) = (stage.sign_in(&user).await, stage.sign_in(&user).await);
        let before = stage.redis.dump_all().await;

        let answer = stage.operate(operation, trouble, &cookie).await;
        let expected = if operation == Load { load } else { StatusCode::SERVICE_UNAVAILABLE };
        assert_eq!(answer.status, expected, "{operation:?}");
        assert!(answer.took < LIMIT, "{operation:?} took {:?}", answer.took);
        assert_eq!(answer.cookie, None, "{operation:?}");
        if !reaches {
            assert_eq!(stage.redis.dump_all().await, before, "{operation:?}");
        }

        stage.proxy.clear_rules();
        stage.proxy.set(Fault::None).await;
        let survivor = match operation {
            Rotate | Destroy | Create if reaches => &other,
            RevokeAll if reaches => &cookie,
            _ => {
                stage.works_again(&other).await;
                &cookie
            }
        };
        stage.works_again(survivor).await;
    }
}

macro_rules! troubles {
    () => { false };
    (reaches) => { true };
    ($($name:ident: $trouble:expr => $load:ident $(, $reaches:ident)?;)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                each_operation($trouble, StatusCode::$load, troubles!($($reaches)?)).await;
            }
        )*
    };
}

use Trouble::{Answer as Says, Connection};

// A load whose connection breaks is repeated at once. Bytes that are not session data are
// "undecodable".
troubles! {
    refused: Connection(Fault::Refuse) => SERVICE_UNAVAILABLE;
    hanging: Connection(Fault::BlackHole) => SERVICE_UNAVAILABLE;
    reset_in_the_middle_of_a_reply: Connection(Fault::CutReply(2)) => OK, reaches;
    slower_than_the_limit: Connection(Fault::Delay(Duration::from_secs(3)))
        => SERVICE_UNAVAILABLE, reaches;
    loading: Says("-LOADING Redis is loading the dataset in memory") => SERVICE_UNAVAILABLE;
    out_of_memory: Says("-OOM command not allowed when used memory > 'maxmemory'.")
        => SERVICE_UNAVAILABLE;
    read_only: Says("-READONLY You can't write against a read only replica.")
        => SERVICE_UNAVAILABLE;
    no_permission: Says("-NOPERM this user has no permissions to run this command")
        => SERVICE_UNAVAILABLE;
    wrong_type: Says("-WRONGTYPE Operation against a key holding the wrong kind of value")
        => UNAUTHORIZED;
    moved: Says("-MOVED 3999 127.0.0.1:1") => SERVICE_UNAVAILABLE;
    ask: Says("-ASK 3999 127.0.0.1:1") => SERVICE_UNAVAILABLE;
    cluster_down: Says("-CLUSTERDOWN The cluster is down") => SERVICE_UNAVAILABLE;
    busy: Says("-BUSY Redis is busy running a script.") => SERVICE_UNAVAILABLE;
    nonsense: Says(":42") => UNAUTHORIZED;
}

#[tokio::test]
async fn a_new_cookie_goes_out_though_the_changes_cannot_be_written() {
    let stage = Stage::new().await;
    let (proxy, sign_in) = (stage.proxy.clone(), SignIn::new(UserId::new("user").unwrap(), "test"));
    let answer = stage
        .request(&HeaderValue::from_static("none=1"), |s| async move {
            s.sign_in(sign_in).await?;
            proxy.inject_once(
                "EVALSHA",
                "-OOM command not allowed when used memory > 'maxmemory'.\r\n",
            );
            s.set("field", &1)
        })
        .await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let cookie = answer.cookie.expect("the sign-in went well");
    let (pair, _) = cookie.to_str().unwrap().split_once(';').unwrap();
    stage.works_again(&pair.parse().unwrap()).await;
}

#[tokio::test]
async fn a_slow_redis_is_only_slow() {
    let stage = Stage::new().await;
    let cookie = stage.sign_in(&UserId::new("user").unwrap()).await;
    for operation in [Load, Commit, Touch, RevokeAll] {
        let slow = Trouble::Connection(Fault::Delay(Duration::from_millis(100)));
        assert_eq!(
            stage.operate(operation, slow, &cookie).await.status,
            StatusCode::OK,
            "{operation:?}"
        );
    }
}

/// On several threads, so that the repeats begin before any task has checked the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_whose_connection_is_reset_are_all_answered_over_the_next() {
    // On a busy machine the next connection may take longer than the default grace.
    let limits = RedisLimits::default();
    let patient = RedisLimits { grace: 10 * limits.grace, total: 10 * limits.total, ..limits };
    let stage = Stage::new_with(patient).await;
    let cookie = stage.sign_in(&UserId::new("user").unwrap()).await;
    let headers: HeaderMap = [(header::COOKIE, cookie)].into_iter().collect();
    for round in 0..20 {
        let mut first = stage.proxy.hold_next("HMGET");
        let mut reading = JoinSet::new();
        for _ in 0..100 {
            let (sessions, headers) = (stage.sessions.clone(), headers.clone());
            reading.spawn(async move { sessions.open(&headers).await.user() });
        }
        first.reached().await;
        stage.proxy.set(Fault::CutReply(1)).await;
        first.release();
        for user in reading.join_all().await {
            assert!(user.is_ok(), "round {round}: {user:?}");
        }
    }
}

#[tokio::test]
async fn a_redis_that_forgot_the_scripts_is_sent_them_again() {
    let stage = Stage::new().await;
    let user = UserId::new("user").unwrap();
    for operation in ALL {
        let cookie = stage.sign_in(&user).await;
        stage.redis.cli(&["SCRIPT", "FLUSH"]).await;
        let nothing = Trouble::Connection(Fault::None);
        assert_eq!(
            stage.operate(operation, nothing, &cookie).await.status,
            StatusCode::OK,
            "{operation:?}"
        );
    }
}

/// Rewrites every session's record by a Lua expression over `value`, and returns a dump of the
/// database.
async fn rewrite_records(stage: &Stage, expression: &str) -> Vec<u8> {
    let script = format!(
        "for _, key in ipairs(redis.call('KEYS', '*')) do
           for _, field in ipairs(redis.call('HKEYS', key)) do
             local value = redis.call('HGET', key, field)
             if #field == 16 then redis.call('HSET', key, field, {expression}) end
           end
         end"
    );
    stage.redis.cli(&["EVAL", &script, "0"]).await;
    stage.redis.dump_all().await
}

#[tokio::test]
async fn a_record_that_cannot_be_decoded_is_no_session_and_stays_as_it_is() {
    for expression in [
        "string.sub(value, 1, 10)",
        "string.sub(value, 1, 30)",
        "''",
        "string.rep('x', 200)",
        "'\\200' .. string.sub(value, 2)",
        "string.sub(value, 1, 32) .. '\\255'",
    ] {
        let stage = Stage::new().await;
        let cookie = stage.sign_in(&UserId::new("user").unwrap()).await;
        let before = rewrite_records(&stage, expression).await;
        for operation in [Load, Touch, Rotate, RevokeAll] {
            let nothing = Trouble::Connection(Fault::None);
            let answer = stage.operate(operation, nothing, &cookie).await;
            let expected =
                if operation == Touch { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
            assert_eq!(
                (answer.status, answer.cookie),
                (expected, None),
                "{operation:?} {expression}"
            );
            assert_eq!(stage.redis.dump_all().await, before, "{operation:?} {expression}");
        }
    }
}

#[tokio::test]
async fn a_foreign_key_in_the_place_of_the_hash_is_not_overwritten() {
    let stage = Stage::new().await;
    let user = UserId::new("user").unwrap();
    let cookie = stage.sign_in(&user).await;
    let key = stage.redis.cli(&["KEYS", "*"]).await;
    stage.redis.cli(&["SET", &key, "somebody's"]).await;
    let before = stage.redis.dump_all().await;
    let answer = stage.request(&cookie, |s| async move { s.user().map(drop) }).await;
    assert_eq!((answer.status, answer.cookie), (StatusCode::UNAUTHORIZED, None));
    let sign_in = SignIn::new(user.clone(), "test");
    let answer = stage.request(&cookie, |s| async move { s.sign_in(sign_in).await }).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(stage.sessions.revoke_all(&user).await.is_err());
    assert!(stage.sessions.list(&user).await.is_err());
    assert_eq!(stage.redis.dump_all().await, before);
}

#[tokio::test]
async fn nobody_is_anonymous_while_redis_is_frozen_and_it_recovers_when_thawed() {
    let stage = Stage::new().await;
    let cookie = stage.sign_in(&UserId::new("user").unwrap()).await;
    stage.redis.freeze().await;
    for _ in 0..5 {
        let answer = stage.request(&cookie, |s| async move { s.user().map(drop) }).await;
        assert_eq!((answer.status, answer.cookie), (StatusCode::SERVICE_UNAVAILABLE, None));
        assert!(answer.took < LIMIT);
    }
    stage.redis.thaw();
    stage.works_again(&cookie).await;
}

#[tokio::test]
async fn a_redis_that_was_killed_is_found_again_when_it_is_back() {
    let stage = Stage::new().await;
    let user = UserId::new("user").unwrap();
    let cookie = stage.sign_in(&user).await;
    stage.redis.kill();
    let answer = stage.request(&cookie, |s| async move { s.user().map(drop) }).await;
    assert_eq!((answer.status, answer.cookie), (StatusCode::SERVICE_UNAVAILABLE, None));
    stage.redis.restart().await;
    let deadline = Instant::now() + RECOVERY;
    while stage.sessions.ping().await.is_err() {
        assert!(Instant::now() < deadline, "not found again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Redis came back empty, so the session is really gone.
    let answer = stage.request(&cookie, |s| async move { s.user().map(drop) }).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let cookie = stage.sign_in(&user).await;
    stage.works_again(&cookie).await;
    assert!(stage.sessions.open(&HeaderMap::new()).await.available().is_ok());
}
