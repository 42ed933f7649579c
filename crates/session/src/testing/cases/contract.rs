//! The contract of each method of the store.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::keyring::{KeyId, KeyRing};
use crate::record::{Epoch, Record, envelope};
use crate::store::{
    At, Budget, Committed, Created, FORWARD, FieldName, FieldOp, FieldReply, Found, NewSession,
    Rotated, Rotation, SessionStore,
};
use crate::testing::stage::{HOUR, SECRET, Stage, new_user};
use crate::token::{NewToken, SessionId, Tag, UserId};

/// A session's record as a sign-in writes it.
pub(super) fn record(created: Timestamp, lifetime: Duration, epoch: Epoch) -> Record {
    let bare = Record::bare(created, lifetime, KeyId([1, 2, 3, 4]));
    Record { epoch, client: "Firefox|Linux".into(), ..bare }
}

pub(super) fn new_id(user: &UserId) -> SessionId {
    SessionId { tag: Tag::of_user(user), field: new_field() }
}

pub(super) fn name(name: &str) -> FieldName {
    FieldName::new(name).expect("a good name")
}

/// Creates a session that lives an hour.
pub(super) async fn create(store: &dyn SessionStore, user: &UserId, at: At) -> SessionId {
    let id = new_id(user);
    let epoch = store.epoch(&id.tag).await.unwrap();
    let record = record(at.now, HOUR, epoch).encode();
    let new = NewSession {
        id,
        user: Some(user),
        record,
        epoch,
        replaces: None,
        max_sessions: 100,
        carry: &[],
        data: &[],
    };
    assert_eq!(store.create(&new, at).await.unwrap(), Created::Created);
    id
}

pub(super) async fn commit(
    store: &dyn SessionStore,
    id: &SessionId,
    changes: &[(FieldName, FieldOp)],
    at: At,
) -> Committed {
    store.commit(id, changes, None, Budget::default(), at).await.unwrap()
}

pub(super) async fn set(
    store: &dyn SessionStore,
    id: &SessionId,
    field: &str,
    value: &str,
    at: At,
) -> bool {
    let changes = [(name(field), FieldOp::Set(value.into()))];
    matches!(commit(store, id, &changes, at).await, Committed::Done { .. })
}

pub(super) async fn get(store: &dyn SessionStore, id: &SessionId, field: &str) -> Option<Vec<u8>> {
    let stored = store.load(id, &[name(field)]).await.unwrap();
    stored.and_then(|stored| stored.values.into_iter().next().flatten())
}

async fn load(store: &dyn SessionStore, id: &SessionId) -> Option<Record> {
    let stored = store.load(id, &[]).await.unwrap()?;
    Record::decode(&stored.record).ok()
}

fn rotation(record: &Record) -> (Field, Rotation) {
    let to = new_field();
    (to, Rotation { to, record: record.encode() })
}

type Field = [u8; 16];

/// A random field.
pub(super) fn new_field() -> Field {
    NewToken::mint(&KeyRing::new(SECRET).unwrap(), Tag::random()).id.field
}

pub(super) async fn what_is_created_is_loaded_by_every_instance(stage: Stage) {
    let [a, b] = stage.stores();
    let user = new_user();
    let id = create(a, &user, stage.at()).await;
    assert!(set(a, &id, "cart", "[1]", stage.at()).await);
    for store in [a, b] {
        let stored = store.load(&id, &[name("none"), name("cart")]).await.unwrap().unwrap();
        assert_eq!(stored.user.as_ref(), Some(&user));
        assert_eq!(stored.epoch, Epoch::default());
        assert_eq!(stored.values, [None, Some(b"[1]".to_vec())]);
        let read = Record::decode(&stored.record).unwrap();
        let expected = record(stage.clock.now(), HOUR, Epoch::default());
        assert_eq!(read, Record { data_fields: 1, data_bytes: 7, ..expected });
    }
}

pub(super) async fn absence_is_an_answer_and_not_an_error(stage: Stage) {
    let [a, _] = stage.stores();
    let user = new_user();
    let known = create(a, &user, stage.at()).await;
    for id in [new_id(&new_user()), new_id(&user)] {
        assert_eq!(a.load(&id, &[name("x")]).await.unwrap(), None);
        assert!(!set(a, &id, "x", "1", stage.at()).await);
        assert_eq!(a.destroy(&id, stage.at()).await.unwrap(), Found::Gone);
        let (_, rotation) = rotation(&record(stage.clock.now(), HOUR, Epoch::default()));
        assert_eq!(a.rotate(&id, &rotation, stage.at()).await.unwrap(), Rotated::Gone);
    }
    let (epoch, sessions) = a.list(&Tag::of_user(&new_user())).await.unwrap();
    assert_eq!((epoch, sessions.len()), (Epoch::default(), 0));
    assert!(load(a, &known).await.is_some());
}

pub(super) async fn a_tag_belongs_to_one_user(stage: Stage) {
    let [a, b] = stage.stores();
    let (user, other) = (new_user(), new_user());
    let first = create(a, &user, stage.at()).await;
    let record = record(stage.clock.now(), HOUR, Epoch::default()).encode();
    for owner in [Some(&other), None] {
        let id = SessionId { field: new_field(), ..first };
        let epoch = Epoch::default();
        let new = NewSession {
            id,
            user: owner,
            record: record.clone(),
            epoch,
            replaces: None,
            max_sessions: 1,
            carry: &[],
            data: &[],
        };
        assert_eq!(b.create(&new, stage.at()).await.unwrap(), Created::Collision);
        assert_eq!(a.load(&id, &[]).await.unwrap(), None);
    }
    assert!(load(a, &first).await.is_some());
}

pub(super) async fn each_change_gives_its_answer(stage: Stage) {
    let [a, b] = stage.stores();
    let id = create(a, &new_user(), stage.at()).await;
    let changes = [
        (name("a"), FieldOp::Set(b"x".to_vec())),
        (name("a"), FieldOp::SetIfAbsent(b"y".to_vec())),
        (name("b"), FieldOp::SetIfAbsent(b"z".to_vec())),
        (name("n"), FieldOp::Increment(5)),
        (name("n"), FieldOp::Increment(-7)),
        (name("a"), FieldOp::Take),
        (name("a"), FieldOp::Take),
        (name("b"), FieldOp::Remove),
        (name("none"), FieldOp::Remove),
    ];
    let expected = [
        FieldReply::Done,
        FieldReply::WasAbsent(false),
        FieldReply::WasAbsent(true),
        FieldReply::Number(5),
        FieldReply::Number(-2),
        FieldReply::Taken(Some(b"x".to_vec())),
        FieldReply::Taken(None),
        FieldReply::Done,
        FieldReply::Done,
    ];
    let done = commit(a, &id, &changes, stage.at()).await;
    assert_eq!(
        done,
        Committed::Done { answers: expected.to_vec(), forwarded: false, changed: true }
    );
    for (field, value) in [("a", None), ("b", None), ("n", Some(b"-2".to_vec()))] {
        assert_eq!(get(b, &id, field).await, value, "{field}");
    }
    assert_eq!(
        load(a, &id).await.map(|record| (record.data_fields, record.data_bytes)),
        Some((1, 3))
    );
}

pub(super) async fn a_commit_is_all_or_nothing(stage: Stage) {
    let [a, _] = stage.stores();
    let id = create(a, &new_user(), stage.at()).await;
    assert!(set(a, &id, "text", "abc", stage.at()).await);
    let before = load(a, &id).await;
    let set_new = (name("new"), FieldOp::Set(b"1".to_vec()));
    let take = (name("text"), FieldOp::Take);

    let not_a_number = [set_new.clone(), (name("text"), FieldOp::Increment(1)), take.clone()];
    assert_eq!(commit(a, &id, &not_a_number, stage.at()).await, Committed::NotANumber);
    let too_much = [take, set_new, (name("long"), FieldOp::Set(vec![b'x'; 5000]))];
    assert_eq!(commit(a, &id, &too_much, stage.at()).await, Committed::OverBudget);

    assert_eq!(get(a, &id, "new").await, None);
    assert_eq!(get(a, &id, "text").await, Some(b"abc".to_vec()));
    assert_eq!(load(a, &id).await, before);
}

pub(super) async fn only_whole_numbers_below_2_to_53_are_incremented(stage: Stage) {
    const MOST: i64 = (1 << 53) - 1;
    let [a, _] = stage.stores();
    let id = create(a, &new_user(), stage.at()).await;
    for (old, by, sum) in [
        (Some("41"), 1, Some(42)),
        (Some("-3"), 3, Some(0)),
        (None, MOST, Some(MOST)),
        (None, -MOST, Some(-MOST)),
        (None, MOST + 1, None),
        (None, i64::MAX, None),
        (None, i64::MIN, None),
        (Some("9007199254740991"), 1, None),
        (Some("-9007199254740991"), -1, None),
        (Some("9007199254740993"), -10, None),
        (Some("99999999999999999999"), 1, None),
        (Some(""), 1, None),
        (Some("1.5"), 1, None),
        (Some("1e3"), 1, None),
        (Some("0x10"), 1, None),
        (Some("+5"), 1, None),
        (Some(" 5"), 1, None),
        (Some("null"), 1, None),
    ] {
        let before = old.map_or(FieldOp::Remove, |old| FieldOp::Set(old.into()));
        commit(a, &id, &[(name("n"), before)], stage.at()).await;
        let answer = commit(a, &id, &[(name("n"), FieldOp::Increment(by))], stage.at()).await;
        let expected = sum.map_or(Committed::NotANumber, |sum| Committed::Done {
            answers: vec![FieldReply::Number(sum)],
            forwarded: false,
            changed: old != Some(&*sum.to_string()),
        });
        assert_eq!(answer, expected, "{old:?} + {by}");
    }
}

pub(super) async fn rotation_keeps_deadline_data_and_usage(stage: Stage) {
    let [a, b] = stage.stores();
    let user = new_user();
    let old = create(a, &user, stage.at()).await;
    assert!(set(a, &old, "cart", "[1,2]", stage.at()).await);
    stage.clock.advance(Duration::from_secs(300));
    // The caller's copy of the record is outdated, except for the part it changes.
    let outdated =
        Record { client: "New".into(), ..record(stage.clock.now(), HOUR * 9, Epoch::new(7)) };
    let (to, rotation) = rotation(&outdated);
    assert_eq!(b.rotate(&old, &rotation, stage.at()).await.unwrap(), Rotated::Rotated);

    let new = SessionId { field: to, ..old };
    let expected = record(stage.clock.now(), HOUR, Epoch::default());
    let created = Timestamp::from_millis(stage.clock.now().as_millis() - 300_000);
    let expected = Record {
        created,
        last_seen: created,
        data_fields: 1,
        data_bytes: 9,
        client: "New".into(),
        ..expected
    };
    assert_eq!(load(a, &new).await, Some(expected));
    assert_eq!(get(a, &new, "cart").await, Some(b"[1,2]".to_vec()));
    assert_eq!(load(a, &old).await, None);
    assert_eq!(get(a, &old, "cart").await, None);
}

pub(super) async fn a_second_rotation_changes_nothing(stage: Stage) {
    let [a, b] = stage.stores();
    let old = create(a, &new_user(), stage.at()).await;
    let record = record(stage.clock.now(), HOUR, Epoch::default());
    let ((first, one), (second, two)) = (rotation(&record), rotation(&record));
    assert_eq!(a.rotate(&old, &one, stage.at()).await.unwrap(), Rotated::Rotated);
    assert_eq!(b.rotate(&old, &two, stage.at()).await.unwrap(), Rotated::Before);
    assert!(load(a, &SessionId { field: first, ..old }).await.is_some());
    assert_eq!(load(a, &SessionId { field: second, ..old }).await, None);
}

pub(super) async fn writes_follow_a_rotated_id_for_a_minute_and_loads_never(stage: Stage) {
    let [a, b] = stage.stores();
    let old = create(a, &new_user(), stage.at()).await;
    let record = record(stage.clock.now(), HOUR, Epoch::default());
    let ((middle, one), (last, two)) = (rotation(&record), rotation(&record));
    let [middle, last] = [middle, last].map(|field| SessionId { field, ..old });
    a.rotate(&old, &one, stage.at()).await.unwrap();
    a.rotate(&middle, &two, stage.at()).await.unwrap();

    let changes = [(name("a"), FieldOp::Set(b"1".to_vec()))];
    let expected =
        Committed::Done { answers: vec![FieldReply::Done], forwarded: true, changed: true };
    assert_eq!(commit(b, &old, &changes, stage.at()).await, expected);
    assert_eq!(get(a, &last, "a").await, Some(b"1".to_vec()));
    assert_eq!((load(a, &old).await, load(a, &middle).await), (None, None));

    stage.clock.advance(FORWARD);
    assert_eq!(commit(b, &old, &changes, stage.at()).await, Committed::Gone);
    assert!(set(b, &last, "a", "2", stage.at()).await);
}

pub(super) async fn destroying_a_rotated_id_ends_its_successor(stage: Stage) {
    let [a, b] = stage.stores();
    let old = create(a, &new_user(), stage.at()).await;
    set(a, &old, "a", "1", stage.at()).await;
    let (to, rotation) = rotation(&record(stage.clock.now(), HOUR, Epoch::default()));
    a.rotate(&old, &rotation, stage.at()).await.unwrap();
    assert_eq!(b.destroy(&old, stage.at()).await.unwrap(), Found::Alive);
    let new = SessionId { field: to, ..old };
    for id in [old, new] {
        assert_eq!(a.load(&id, &[]).await.unwrap(), None);
        assert!(!set(a, &id, "a", "2", stage.at()).await);
    }
    assert_eq!(a.list(&old.tag).await.unwrap().1, []);
}

pub(super) async fn nothing_acts_on_what_was_destroyed(stage: Stage) {
    let [a, b] = stage.stores();
    let user = new_user();
    let (id, other) = (create(a, &user, stage.at()).await, create(a, &user, stage.at()).await);
    set(a, &id, "a", "1", stage.at()).await;
    assert_eq!(a.destroy(&id, stage.at()).await.unwrap(), Found::Alive);

    assert_eq!(b.destroy(&id, stage.at()).await.unwrap(), Found::Gone);
    assert!(!set(b, &id, "a", "2", stage.at()).await);
    let touch =
        b.commit(&id, &[], Some(Duration::ZERO), Budget::default(), stage.at()).await.unwrap();
    assert_eq!(touch, Committed::Gone);
    let (_, rotation) = rotation(&record(stage.clock.now(), HOUR, Epoch::default()));
    assert_eq!(b.rotate(&id, &rotation, stage.at()).await.unwrap(), Rotated::Gone);
    let kept = b.revoke_all(&id.tag, Some(&id.field), HOUR, stage.at()).await.unwrap();
    assert_eq!(kept, Found::Gone);

    let (_, left) = a.list(&id.tag).await.unwrap();
    assert_eq!(left.iter().map(|session| session.id).collect::<Vec<_>>(), [other]);
    assert_eq!(get(a, &id, "a").await, None);
}

pub(super) async fn a_replacement_ends_the_old_session_with_its_data(stage: Stage) {
    let [a, b] = stage.stores();
    let user = new_user();
    let old = create(a, &user, stage.at()).await;
    set(a, &old, "old", "1", stage.at()).await;
    let new_id = new_id(&user);
    let epoch = Epoch::default();
    let new = NewSession {
        id: new_id,
        user: Some(&user),
        record: record(stage.clock.now(), HOUR, epoch).encode(),
        epoch,
        replaces: Some(old.field),
        max_sessions: 100,
        carry: &[],
        data: &[],
    };
    assert_eq!(a.create(&new, stage.at()).await.unwrap(), Created::Created);
    assert_eq!(load(b, &old).await, None);
    assert_eq!(get(b, &new_id, "old").await, None);
    assert!(set(b, &old, "late", "1", stage.at()).await, "the write follows");
    assert_eq!(get(b, &new_id, "late").await, Some(b"1".to_vec()));
    let (_, sessions) = b.list(&old.tag).await.unwrap();
    assert_eq!(sessions.iter().map(|session| session.id).collect::<Vec<_>>(), [new_id]);
}

pub(super) async fn an_abandoned_id_leads_nowhere_for_a_minute(stage: Stage) {
    let [a, b] = stage.stores();
    let user = new_user();
    let old = create(a, &user, stage.at()).await;
    set(a, &old, "a", "1", stage.at()).await;
    let record = record(stage.clock.now(), HOUR, Epoch::default());
    let (to, rotated) = rotation(&record);
    a.rotate(&old, &rotated, stage.at()).await.unwrap();
    let new = SessionId { field: to, ..old };
    assert_eq!(b.abandon(&old, stage.at()).await.unwrap(), Found::Alive);

    let is_known = async |id: &SessionId| {
        let stored = b.load(id, &[name("a")]).await.unwrap();
        stored.is_some_and(|stored| {
            assert_eq!(stored.values, [None]);
            envelope::forward(&stored.record).is_some_and(|left| stage.clock.now() < left.until)
        })
    };
    for id in [old, new] {
        assert!(is_known(&id).await);
        assert!(!set(a, &id, "late", "1", stage.at()).await);
        assert_eq!(a.rotate(&id, &rotation(&record).1, stage.at()).await.unwrap(), Rotated::Gone);
        assert_eq!(a.destroy(&id, stage.at()).await.unwrap(), Found::Gone);
        assert_eq!(a.abandon(&id, stage.at()).await.unwrap(), Found::Gone);
        let kept = a.revoke_all(&id.tag, Some(&id.field), HOUR, stage.at()).await.unwrap();
        assert_eq!(kept, Found::Gone);
    }
    // The forward counts as no session, and the end of another session does not remove it.
    assert_eq!(b.list(&old.tag).await.unwrap().1, []);
    let other = create(a, &user, stage.at()).await;
    a.destroy(&other, stage.at()).await.unwrap();
    assert!(is_known(&new).await);
    stage.clock.advance(FORWARD);
    create(a, &user, stage.at()).await;
    assert_eq!((b.load(&old, &[]).await.unwrap(), b.load(&new, &[]).await.unwrap()), (None, None));
}

pub(super) async fn listings_hold_all_records_and_no_forwards(stage: Stage) {
    let [a, b] = stage.stores();
    let user = new_user();
    let one = create(a, &user, stage.at()).await;
    let two = create(a, &user, stage.at()).await;
    set(a, &two, "a-data-field", "1", stage.at()).await;
    let (to, rotation) = rotation(&record(stage.clock.now(), HOUR, Epoch::default()));
    a.rotate(&one, &rotation, stage.at()).await.unwrap();
    create(a, &new_user(), stage.at()).await;
    stage.clock.advance(HOUR * 2);

    let (epoch, mut listed) = b.list(&two.tag).await.unwrap();
    listed.sort_by_key(|session| session.id.field);
    let mut expected = [SessionId { field: to, ..one }, two];
    expected.sort_by_key(|id| id.field);
    assert_eq!(epoch, Epoch::default());
    assert_eq!(listed.iter().map(|session| session.id).collect::<Vec<_>>(), expected);
    assert!(listed.iter().all(|session| Record::decode(&session.record).is_ok()));
}

pub(super) async fn fields_of_the_crate_itself_go_with_their_session_and_are_nobody_elses(
    stage: Stage,
) {
    let [a, b] = stage.stores();
    let (user, at) = (new_user(), stage.at());
    let [bound, key] = ["BOUND", "DEVICE"].map(FieldName::reserved);
    let device = create(a, &user, at).await;
    let other = create(a, &user, at).await;
    set(a, &other, "cart", "1", at).await;
    let register = async |store, id: &SessionId, byte: u8| {
        let both = [(&bound, 15), (&key, 64)]
            .map(|(name, len)| (name.clone(), FieldOp::SetIfAbsent(vec![byte; len])));
        let Committed::Done { answers, .. } = commit(store, id, &both, at).await else {
            panic!("it lives")
        };
        answers
    };
    assert_eq!(register(a, &device, 0).await, [const { FieldReply::WasAbsent(true) }; 2]);
    assert_eq!(
        register(b, &device, 1).await,
        [const { FieldReply::WasAbsent(false) }; 2],
        "for good"
    );

    let (to, rotation) = rotation(&record(at.now, HOUR, Epoch::default()));
    b.rotate(&device, &rotation, at).await.unwrap();
    let device = SessionId { field: to, ..device };
    let names = [bound.clone(), key.clone()];
    let values = a.load(&device, &names).await.unwrap().unwrap().values;
    assert_eq!(values, [Some(vec![0; 15]), Some(vec![0; 64])]);
    assert_eq!(a.load(&other, &names).await.unwrap().unwrap().values, [None, None]);

    let fields = async |store: &dyn SessionStore| {
        let mut all = store.fields(&device.tag).await.unwrap();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all.into_iter().map(|field| (field.session, field.name, field.value)).collect::<Vec<_>>()
    };
    let cart = (other.field, name("cart"), b"1".to_vec());
    let expected = [(to, bound, vec![0; 15]), (to, key, vec![0; 64]), cart.clone()];
    assert_eq!(fields(b).await, expected);

    // The next sign-in in that browser.
    let next = SessionId { field: new_field(), ..device };
    let new = NewSession {
        id: next,
        user: Some(&user),
        record: record(at.now, HOUR, Epoch::default()).encode(),
        epoch: Epoch::default(),
        replaces: Some(to),
        max_sessions: 100,
        carry: &[],
        data: &[],
    };
    assert_eq!(a.create(&new, at).await.unwrap(), Created::Created);
    assert_eq!(fields(b).await, [cart]);
}
