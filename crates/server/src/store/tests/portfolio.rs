use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{NOW, at_once, email, on_both_databases};
use crate::domain::item::Page;
use crate::portfolio::inventory::{self, Reply};
use crate::store::Database;
use crate::store::portfolio::former::{self, ALL_KEPT, Amount, KEPT};
use crate::store::portfolio::holdings::{assets, items, list, summary};
use crate::store::portfolio::snapshots::{self, DAYS_KEPT, IMPORTS_KEPT, Snapshot};
use crate::store::portfolio::{
    Claim, LEASE, Source, abandon, claim, linked_steam_id, progress, publish, renew, stage,
};
use crate::store::users::find_or_create_by_verified_email;

on_both_databases!(
    of_many_claims_at_once_one_is_granted,
    a_lease_runs_out_unless_it_is_renewed,
    what_is_staged_is_seen_only_when_it_is_published,
    a_lost_lease_publishes_nothing,
    an_abandoned_import_leaves_nothing_and_no_cooldown,
    a_cooldown_is_kept_to_the_second,
    nobody_has_a_steam_account_by_default,
    what_was_held_before_is_remembered_as_long_as_it_can_be_compared_with,
    old_history_is_one_value_a_day_and_ends_after_five_years,
);

async fn user(db: &Database) -> Uuid {
    find_or_create(db, "alice@example.com").await
}

async fn find_or_create(db: &Database, address: &str) -> Uuid {
    find_or_create_by_verified_email(db, &email(address), NOW).await.unwrap().0.id
}

async fn granted(db: &Database, user: Uuid, now: OffsetDateTime) -> Uuid {
    match claim(db, user, now).await.unwrap() {
        Claim::Granted(id) => id,
        refused => panic!("{refused:?}"),
    }
}

pub(super) fn page(ids: std::ops::Range<u64>) -> Page {
    let assets: Vec<_> = ids
        .map(|id| serde_json::json!({"assetid": id.to_string(), "classid": "7", "amount": "2"}))
        .collect();
    let body = serde_json::json!({"assets": assets, "success": 1, "total_inventory_count": 1,
        "descriptions": [{"classid": "7", "market_hash_name": "A", "tradable": 1, "marketable": 0,
            "market_marketable_restriction": 7}]});
    match inventory::parse(body.to_string().as_bytes()).unwrap() {
        Reply::Page(page) => page,
        other => panic!("{other:?}"),
    }
}

async fn of_many_claims_at_once_one_is_granted(db: Database) {
    let user = user(&db).await;
    for round in 0..2 {
        let now = NOW + LEASE * round;
        let claims = at_once(20, |_| {
            let db = db.clone();
            async move { claim(&db, user, now).await.unwrap() }
        })
        .await;
        assert_eq!(claims.iter().filter(|claim| matches!(claim, Claim::Granted(_))).count(), 1);
        assert_eq!(claims.iter().filter(|claim| matches!(claim, Claim::Running)).count(), 19);
    }
}

async fn a_lease_runs_out_unless_it_is_renewed(db: Database) {
    let user = user(&db).await;
    let first = granted(&db, user, NOW).await;
    let later = NOW + LEASE - Duration::seconds(1);
    assert!(renew(&db, user, first, "{}", later).await.unwrap());
    assert_eq!(progress(&db, user, later).await.unwrap().as_deref(), Some("{}"));
    assert_eq!(claim(&db, user, NOW + LEASE).await.unwrap(), Claim::Running);
    let end = later + LEASE;
    assert_eq!(progress(&db, user, end).await.unwrap(), None);
    let second = granted(&db, user, end).await;
    assert!(!renew(&db, user, first, "{}", end).await.unwrap(), "it is another's now");
    assert!(renew(&db, user, second, "{}", end).await.unwrap());
}

async fn what_is_staged_is_seen_only_when_it_is_published(db: Database) {
    let user = user(&db).await;
    let import = granted(&db, user, NOW).await;
    assert_eq!(stage(&db, user, import, &page(0..450)).await.unwrap(), 450);
    assert_eq!(
        stage(&db, user, import, &page(400..500)).await.unwrap(),
        500,
        "an asset counts once"
    );
    assert_eq!(summary(&db, user).await.unwrap(), None);

    assert!(publish(&db, user, import, Some(501), Source::Steam, NOW, LEASE).await.unwrap());
    let shown = summary(&db, user).await.unwrap().unwrap();
    assert_eq!(
        (shown.import_id, shown.imported_at, shown.reported_items),
        (import, NOW, Some(501))
    );
    let held = list(&db, user, import).await.unwrap();
    assert_eq!(held.iter().map(|it| it.quantity).collect::<Vec<_>>(), [1000]);
    let read = assets(&db, user, import).await.unwrap();
    assert_eq!(read.len(), 500);
    assert!(read.iter().all(|it| it.locked && it.tradable && !it.marketable && it.amount == 2));

    let next = granted(&db, user, NOW + LEASE).await;
    stage(&db, user, next, &page(7..8)).await.unwrap();
    assert!(publish(&db, user, next, None, Source::Steam, NOW + LEASE, LEASE).await.unwrap());
    assert_eq!(
        list(&db, user, import).await.unwrap(),
        [],
        "the rows of the former import are gone"
    );
    assert_eq!(items(&db, user, import, -1, 10).await.unwrap(), []);
    assert_eq!(items(&db, user, next, -1, 10).await.unwrap().len(), 1);
    assert_eq!(list(&db, Uuid::new_v4(), next).await.unwrap(), [], "nor are they anybody else's");
}

async fn a_lost_lease_publishes_nothing(db: Database) {
    let user = user(&db).await;
    let slow = granted(&db, user, NOW).await;
    stage(&db, user, slow, &page(0..3)).await.unwrap();
    let fast = granted(&db, user, NOW + LEASE).await;
    assert!(!publish(&db, user, slow, None, Source::Steam, NOW + LEASE, LEASE).await.unwrap());
    assert_eq!(summary(&db, user).await.unwrap(), None);
    abandon(&db, user, slow).await.unwrap();
    assert!(
        renew(&db, user, fast, "", NOW + LEASE).await.unwrap(),
        "giving up a lost lease leaves the new one"
    );
}

async fn an_abandoned_import_leaves_nothing_and_no_cooldown(db: Database) {
    let user = user(&db).await;
    let good = granted(&db, user, NOW).await;
    stage(&db, user, good, &page(0..3)).await.unwrap();
    publish(&db, user, good, None, Source::Steam, NOW, std::time::Duration::ZERO).await.unwrap();
    let bad = granted(&db, user, NOW).await;
    stage(&db, user, bad, &page(0..9)).await.unwrap();
    abandon(&db, user, bad).await.unwrap();
    assert_eq!(items(&db, user, bad, -1, 10).await.unwrap(), []);
    assert_eq!(items(&db, user, good, -1, 10).await.unwrap().len(), 3);
    granted(&db, user, NOW).await;
}

async fn a_cooldown_is_kept_to_the_second(db: Database) {
    let user = user(&db).await;
    let import = granted(&db, user, NOW).await;
    assert!(
        publish(&db, user, import, None, Source::Steam, NOW, std::time::Duration::from_mins(10))
            .await
            .unwrap()
    );
    let until = NOW + Duration::minutes(10);
    assert_eq!(
        claim(&db, user, until - Duration::seconds(1)).await.unwrap(),
        Claim::CoolingDown(until)
    );
    granted(&db, user, until).await;
}

async fn nobody_has_a_steam_account_by_default(db: Database) {
    let user = user(&db).await;
    assert_eq!(linked_steam_id(&db, user).await.unwrap(), None);
}

async fn old_history_is_one_value_a_day_and_ends_after_five_years(db: Database) {
    let (user, other) = (user(&db).await, find_or_create(&db, "bob@example.com").await);
    let snapshot = |taken_at: OffsetDateTime, is_day: bool| Snapshot {
        taken_at,
        day: is_day.then(|| taken_at.date().to_string()),
        total_cents: 1,
        currency: "USD".to_owned(),
        items: 1,
        unpriced_items: 0,
        price_source: String::new(),
        import_id: None,
    };
    let import = snapshot(NOW, false);
    let day = snapshot(NOW, true);
    for user in [user, other] {
        for snapshot in [&import, &day] {
            snapshots::add(&db, user, snapshot).await.unwrap();
        }
    }
    let second = Duration::seconds(1);
    for (passed, left) in [
        (IMPORTS_KEPT - second, vec![&import, &day]),
        (IMPORTS_KEPT, vec![&day]),
        (DAYS_KEPT - second, vec![&day]),
        (DAYS_KEPT, vec![]),
    ] {
        snapshots::thin(&db, user, NOW + passed).await.unwrap();
        let mut history = snapshots::newest(&db, user, 10).await.unwrap();
        history.sort_by_key(|it| it.day.is_some());
        assert_eq!(history.iter().collect::<Vec<_>>(), left, "after {passed}");
    }
    assert_eq!(
        snapshots::newest(&db, other, 10).await.unwrap().len(),
        2,
        "another's history is theirs"
    );
}

async fn what_was_held_before_is_remembered_as_long_as_it_can_be_compared_with(db: Database) {
    let user = user(&db).await;
    let held = async |ids: std::ops::Range<u64>, now: OffsetDateTime| {
        let import = granted(&db, user, now).await;
        stage(&db, user, import, &page(ids)).await.unwrap();
        let cooldown = std::time::Duration::ZERO;
        publish(&db, user, import, None, Source::Steam, now, cooldown).await.unwrap();
        import
    };
    let snapshot = |import_id: Uuid, taken_at: OffsetDateTime, is_day: bool| Snapshot {
        taken_at,
        day: is_day.then(|| taken_at.date().to_string()),
        total_cents: 1,
        currency: "USD".to_owned(),
        items: 1,
        unpriced_items: 0,
        price_source: "x".to_owned(),
        import_id: Some(import_id),
    };
    let noted = held(0..3, NOW).await;
    snapshots::add(&db, user, &snapshot(noted, NOW, true)).await.unwrap();
    let passed = held(0..2, NOW).await;
    snapshots::add(&db, user, &snapshot(passed, NOW, false)).await.unwrap();
    let current = held(0..1, NOW).await;

    let amounts = async |import| former::amounts(&db, user, import).await.unwrap();
    let three = Amount { market_hash_name: "A".to_owned(), phase: String::new(), quantity: 6 };
    assert_eq!(amounts(noted).await, Some(vec![three]));
    assert_eq!(former::amounts(&db, Uuid::new_v4(), noted).await.unwrap(), None, "not another's");
    assert_eq!(amounts(current).await, None, "that is held now");
    let second = Duration::seconds(1);
    for (after, left) in [
        (ALL_KEPT - second, (true, true)),
        (ALL_KEPT, (true, false)),
        (KEPT - second, (true, false)),
        (KEPT, (false, false)),
    ] {
        former::thin(&db, user, NOW + after).await.unwrap();
        let is_left = (amounts(noted).await.is_some(), amounts(passed).await.is_some());
        assert_eq!(is_left, left, "after {after}");
        let all = (NOW - second, NOW);
        let found = snapshots::comparable(&db, user, "USD", all).await.unwrap();
        assert_eq!(found.is_some(), left.0 || left.1, "after {after}");
        assert_eq!(snapshots::comparable(&db, user, "EUR", all).await.unwrap(), None);
    }
}
