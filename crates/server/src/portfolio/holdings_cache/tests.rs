use std::time::Duration;

use serde_json::json;
use time::OffsetDateTime;
use time::macros::datetime;

use super::*;
use crate::domain::email::Email;
use crate::portfolio::inventory::{self, Reply};
use crate::store::portfolio::{Claim, Source, claim, publish, stage};
use crate::store::users;

const NOW: OffsetDateTime = datetime!(2026-05-01 12:00:00 UTC);

struct Users {
    db: Database,
    _dir: tempfile::TempDir,
}

impl Users {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { db: Database::sqlite(&dir.path().join("test.db")).await.unwrap(), _dir: dir }
    }

    async fn add(&self, email: &str) -> Uuid {
        let email = Email::parse(email).unwrap();
        users::find_or_create_by_verified_email(&self.db, &email, NOW).await.unwrap().0.id
    }

    /// Publishes an import of `count` different items for the user.
    async fn import(&self, user: Uuid, count: usize) {
        let Claim::Granted(import) = claim(&self.db, user, NOW).await.unwrap() else {
            panic!("not granted")
        };
        let ids = || (1..=count).map(|id| id.to_string());
        let assets: Vec<_> =
            ids().map(|id| json!({"assetid": id, "classid": id, "amount": "1"})).collect();
        let described: Vec<_> = ids()
            .map(|id| json!({"classid": id, "market_hash_name": format!("Item {id}")}))
            .collect();
        let page = json!({"assets": assets, "descriptions": described,
            "total_inventory_count": count, "success": 1})
        .to_string();
        let Reply::Page(page) = inventory::parse(page.as_bytes()).unwrap() else {
            panic!("no page")
        };
        stage(&self.db, user, import, &page).await.unwrap();
        assert!(
            publish(&self.db, user, import, None, Source::Steam, NOW, Duration::ZERO)
                .await
                .unwrap()
        );
    }
}

#[tokio::test]
async fn holdings_are_read_once_until_another_import_is_in_force() {
    let users = Users::new().await;
    let (alice, bob) = (users.add("alice@example.com").await, users.add("bob@example.com").await);
    let cache = HoldingsCache::new();
    assert!(cache.get(&users.db, alice).await.unwrap().is_none());

    users.import(alice, 3).await;
    let first = cache.get(&users.db, alice).await.unwrap().unwrap().held;
    let again = cache.get(&users.db, alice).await.unwrap().unwrap().held;
    assert_eq!(first.stacks.len(), 3);
    assert!(Arc::ptr_eq(&first.stacks, &again.stacks), "the rows are not read again");
    assert!(cache.get(&users.db, bob).await.unwrap().is_none());

    users.import(bob, 1).await;
    users.import(alice, 2).await;
    let next = cache.get(&users.db, alice).await.unwrap().unwrap().held;
    assert_eq!(next.stacks.len(), 2);
    assert_ne!(next.summary.import_id, first.summary.import_id);
    assert_eq!(cache.get(&users.db, bob).await.unwrap().unwrap().held.stacks.len(), 1);
    assert_eq!(cache.0.len(), 2, "what was held before is not kept");
}

#[tokio::test]
async fn nothing_is_kept_of_a_deleted_account() {
    let users = Users::new().await;
    let alice = users.add("alice@example.com").await;
    users.import(alice, 3).await;
    let cache = HoldingsCache::new();
    cache.get(&users.db, alice).await.unwrap().unwrap();

    users::delete(&users.db, alice).await.unwrap();
    assert!(
        cache.get(&users.db, alice).await.unwrap().is_none(),
        "the account is gone for every instance"
    );
    cache.remove(alice);
    assert_eq!((cache.0.len(), cache.0.weight()), (0, 0));

    let bob = users.add("bob@example.com").await;
    users.import(bob, 3).await;
    cache.get(&users.db, bob).await.unwrap().unwrap();
    cache.clear();
    assert_eq!((cache.0.len(), cache.0.weight()), (0, 0));
}

#[tokio::test]
async fn what_is_kept_stays_within_its_bound() {
    let users = Users::new().await;
    let cache = HoldingsCache::with_capacity(40_000);
    for at in 0..12 {
        let user = users.add(&format!("user{at}@example.com")).await;
        users.import(user, 12).await;
        assert_eq!(cache.get(&users.db, user).await.unwrap().unwrap().held.stacks.len(), 12);
        assert!(cache.0.weight() <= 40_000);
    }
    assert!((3..10).contains(&cache.0.len()), "{} are kept", cache.0.len());

    let large = users.add("large@example.com").await;
    users.import(large, 100).await;
    assert_eq!(cache.get(&users.db, large).await.unwrap().unwrap().held.stacks.len(), 100);
    assert!(cache.0.weight() <= 40_000);
    assert!(cache.0.peek(&large).is_none(), "it is larger than all that may be kept");
}
