//! Random sequences of operations over several handles and users, compared with a plain reference
//! model.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod reference;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};
use tracera_session::store::{At, FieldName, FieldOp, NewSession, Rotation, SessionId, Tag};
use tracera_session::{Budget, EmbeddedStore, Epoch, RedisStore, SessionStore, Timestamp, UserId};
use tracera_testkit::RedisServer;

use self::reference::{Field, Model, Verdict};

/// Counterexamples, which are tried first in the next run.
const REGRESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/model/regressions.txt");

const USERS: usize = 2;
const LIFETIME: Duration = Duration::from_secs(3600);
const BUDGET: Budget = Budget { fields: 3, bytes: 40 };

#[derive(Debug, Clone)]
enum Step {
    Create { user: usize, replaces: Option<usize>, outdated: bool, most: usize },
    Commit { session: usize, changes: Vec<(&'static str, FieldOp)>, touch: Option<Duration> },
    Rotate { session: usize },
    Destroy { session: usize },
    Abandon { session: usize },
    RevokeAll { user: usize, keep: Option<usize> },
    Advance(Duration),
}

fn change() -> impl Strategy<Value = FieldOp> {
    let value = prop_oneof![
        Just(b"1".to_vec()),
        Just(b"-7".to_vec()),
        Just(b"9007199254740991".to_vec()),
        Just(b"\"text\"".to_vec()),
        Just(vec![b'x'; 20]),
        Just(Vec::new()),
    ];
    prop_oneof![
        3 => value.clone().prop_map(FieldOp::Set),
        1 => value.clone().prop_map(FieldOp::SetIfAbsent),
        1 => Just(FieldOp::Remove),
        1 => Just(FieldOp::Take),
        2 => (prop::option::of(value.clone()), prop::option::of(value.clone()))
            .prop_map(|(expected, new)| FieldOp::CompareAndSet { expected, new }),
        2 => prop_oneof![Just(1), Just(-3), Just(1 << 52),
            Just(i64::MAX)].prop_map(FieldOp::Increment),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let (user, session) = (0..USERS, any::<u8>().prop_map(usize::from));
    let changes =
        prop::collection::vec((prop::sample::select(&["a", "b", "c", "dd"][..]), change()), 0..4);
    let touch =
        prop::option::of(prop::sample::select(&[0, 1, 60][..]).prop_map(Duration::from_secs));
    let advance =
        prop::sample::select(&[1, 999, 1_000, 30_000, 60_000, 600_000, 1_800_000, 3_600_000][..]);
    prop_oneof![
        4 => (user.clone(), prop::option::of(session.clone()), prop::bool::weighted(0.1),
            1..5_usize)
            .prop_map(|(user, replaces, outdated, most)| Step::Create { user, replaces, outdated,
                most }),
        8 => (session.clone(), changes, touch)
            .prop_map(|(session, changes, touch)| Step::Commit { session, changes, touch }),
        3 => session.clone().prop_map(|session| Step::Rotate { session }),
        2 => session.clone().prop_map(|session| Step::Destroy { session }),
        2 => session.clone().prop_map(|session| Step::Abandon { session }),
        1 => (user, prop::option::of(session)).prop_map(|(user, keep)| Step::RevokeAll { user,
            keep }),
        3 => advance.prop_map(|millis| Step::Advance(Duration::from_millis(millis))),
    ]
}

/// One run, on the model and on the store.
struct Run<'a> {
    handles: [&'a dyn SessionStore; 2],
    users: Vec<(UserId, Tag, Model)>,
    /// Every id so far, with the index of its user.
    ids: Vec<(usize, Field)>,
    at: At,
}

impl<'a> Run<'a> {
    fn new(handles: [&'a dyn SessionStore; 2], idle: Option<Duration>) -> Self {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let run = RUNS.fetch_add(1, Ordering::SeqCst);
        let user = |n| {
            let user = UserId::new(format!("{run}-{n}")).unwrap();
            let tag = Tag::of_user(&user);
            (user, tag, Model::default())
        };
        let now = Timestamp::from_millis(1_800_000_000_000);
        Self {
            handles,
            users: (0..USERS).map(user).collect(),
            ids: Vec::new(),
            at: At { now, idle },
        }
    }

    /// An id that was handed out before, and its user.
    fn pick(&self, session: usize) -> Option<(usize, Field)> {
        self.ids.get(session.checked_rem(self.ids.len())?).copied()
    }

    fn mint(&mut self, user: usize) -> Field {
        let number = u128::try_from(self.ids.len() + 1).unwrap();
        // Spread over the bytes, as the bits of a hash are.
        let field = number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes();
        self.ids.push((user, field));
        field
    }

    async fn take(&mut self, number: usize, step: Step) {
        let store = self.handles[number % 2];
        let at = self.at;
        match step {
            Step::Create { user, replaces, outdated, most } => {
                let replaces = replaces.and_then(|n| self.pick(n)).filter(|(of, _)| *of == user);
                let replaces = replaces.map(|(_, field)| field);
                let field = self.mint(user);
                let (id, tag, model) = &mut self.users[user];
                let epoch = model.epoch() + u64::from(outdated);
                let record = reference::record(at.now.as_millis(), LIFETIME, epoch);
                let new = NewSession {
                    id: SessionId { tag: *tag, field },
                    user: Some(id),
                    record,
                    epoch: Epoch::new(epoch),
                    replaces,
                    max_sessions: most,
                    carry: &[],
                    data: &[],
                };
                let expected = model.create(field, epoch, replaces, most, LIFETIME, at);
                assert_eq!(store.create(&new, at).await.unwrap(), expected);
                // The order of two sessions is defined only if they were not created at the same
                // instant.
                self.at.now = self.at.now.plus(Duration::from_millis(1));
            }
            Step::Commit { session, changes, touch } => {
                let Some((user, field)) = self.pick(session) else { return };
                let (_, tag, model) = &mut self.users[user];
                let expected = model.commit(field, &changes, touch, BUDGET, at);
                let changes: Vec<_> = changes
                    .into_iter()
                    .map(|(name, change)| (FieldName::new(name).unwrap(), change))
                    .collect();
                let id = SessionId { tag: *tag, field };
                assert_eq!(store.commit(&id, &changes, touch, BUDGET, at).await.unwrap(), expected);
            }
            Step::Rotate { session } => {
                let Some((user, field)) = self.pick(session) else { return };
                let to = self.mint(user);
                let (_, tag, model) = &mut self.users[user];
                let expected = model.rotate(field, to, at);
                // The store keeps all of the record except the key id.
                let rotation = Rotation { to, record: reference::record(1, Duration::ZERO, 7) };
                let id = SessionId { tag: *tag, field };
                assert_eq!(store.rotate(&id, &rotation, at).await.unwrap(), expected);
            }
            Step::Destroy { session } => {
                let Some((user, field)) = self.pick(session) else { return };
                let (_, tag, model) = &mut self.users[user];
                let found = store.destroy(&SessionId { tag: *tag, field }, at).await.unwrap();
                if let Some(expected) = model.destroy(field, at) {
                    assert_eq!(found, expected);
                }
            }
            Step::Abandon { session } => {
                let Some((user, field)) = self.pick(session) else { return };
                let (_, tag, model) = &mut self.users[user];
                let found = store.abandon(&SessionId { tag: *tag, field }, at).await.unwrap();
                if let Some(expected) = model.abandon(field, at) {
                    assert_eq!(found, expected);
                }
            }
            Step::RevokeAll { user, keep } => {
                let keep = keep.and_then(|n| self.pick(n)).filter(|(of, _)| *of == user);
                let keep = keep.map(|(_, field)| field);
                let (_, tag, model) = &mut self.users[user];
                let expected = model.revoke_all(keep, LIFETIME, at);
                assert_eq!(
                    store.revoke_all(tag, keep.as_ref(), LIFETIME, at).await.unwrap(),
                    expected
                );
            }
            Step::Advance(by) => self.at.now = self.at.now.plus(by),
        }
    }

    /// Checks that all answers of the store are those of the model.
    async fn compare(&mut self, number: usize) {
        let store = self.handles[(number + 1) % 2];
        let at = self.at;
        for (user, (_, tag, model)) in self.users.iter_mut().enumerate() {
            let (epoch, listed) = store.list(tag).await.unwrap();
            assert_eq!(store.epoch(tag).await.unwrap(), epoch);
            model.forget_if(epoch.get() == 0, at);
            assert_eq!(epoch.get(), model.epoch());
            let mut alive: Vec<_> = listed
                .into_iter()
                .filter(|session| {
                    reference::judge(&session.record, epoch.get(), at) == Verdict::Alive
                })
                .map(|session| (session.id.field, session.record))
                .collect();
            alive.sort();
            assert_eq!(alive, model.alive(at));
            for (_, field) in self.ids.iter().filter(|(of, _)| *of == user) {
                let names = ["a", "b", "c", "dd"].map(|name| FieldName::new(name).unwrap());
                let stored =
                    store.load(&SessionId { tag: *tag, field: *field }, &names).await.unwrap();
                let seen = stored
                    .filter(|stored| {
                        reference::judge(&stored.record, stored.epoch.get(), at) == Verdict::Alive
                    })
                    .map(|stored| stored.values);
                assert_eq!(seen, model.values(field, &["a", "b", "c", "dd"], at));
            }
        }
    }
}

fn check(cases: u32, handles: [&dyn SessionStore; 2], runtime: &tokio::runtime::Runtime) {
    let config = Config {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
        ..Config::default()
    };
    let idle = prop::option::of(Just(Duration::from_secs(1200)));
    let runs = (idle, prop::collection::vec(step(), 1..40));
    let outcome = TestRunner::new(config).run(&runs, |(idle, steps)| {
        runtime.block_on(async {
            let mut run = Run::new(handles, idle);
            for (number, step) in steps.into_iter().enumerate() {
                run.take(number, step).await;
                run.compare(number).await;
            }
        });
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME
        .get_or_init(|| tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap())
}

#[test]
fn the_embedded_store_does_what_the_model_does() {
    let store = EmbeddedStore::in_memory().unwrap();
    check(100, [&store, &store.clone()], runtime());
}

#[test]
fn the_redis_store_does_what_the_model_does() {
    let redis = runtime().block_on(RedisServer::start());
    let connect = || runtime().block_on(RedisStore::connect(&redis.url())).unwrap();
    let (one, two) = (connect(), connect());
    check(60, [&one, &two], runtime());
}
