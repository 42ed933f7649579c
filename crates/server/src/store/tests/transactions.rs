use time::Duration;
use uuid::Uuid;

use super::magic_links::link;
use super::{NOW, at_once, email, on_both_databases};
use crate::domain::provider::Provider;
use crate::store::events::{self, KEPT, NewEvent};
use crate::store::transactions::{Link, NewTransaction, begin, reserve_steam_nonce, spend};
use crate::store::users::find_or_create_by_verified_email;
use crate::store::{Database, StoreError, email_changes, magic_links};

on_both_databases!(
    of_many_callbacks_one_gets_the_transaction,
    a_transaction_keeps_what_it_is_for,
    what_is_over_is_removed_by_the_next,
    of_many_equal_nonces_one_is_new,
    events_are_paged_and_end_after_ninety_days,
    an_address_is_given_once_and_to_one,
);

fn transaction(state: u8, link: Option<Link>) -> NewTransaction<'static> {
    NewTransaction {
        state_hash: [state; 32],
        browser_hash: [7; 32],
        provider: Provider::Github,
        link,
        confirms: false,
        is_own: true,
        nonce: "nonce",
        verifier: "verifier",
        return_to: Some("/account"),
        expires_at: NOW + Duration::minutes(10),
    }
}

async fn of_many_callbacks_one_gets_the_transaction(db: Database) {
    begin(&db, &transaction(1, None), NOW).await.unwrap();
    assert!(
        spend(&db, &[1; 32], &[8; 32]).await.unwrap().is_none(),
        "another browser's callback spends nothing"
    );
    let results = at_once(50, |_| {
        let db = db.clone();
        async move { spend(&db, &[1; 32], &[7; 32]).await.unwrap().is_some() }
    })
    .await;
    assert_eq!(results.iter().filter(|got| **got).count(), 1);
}

async fn a_transaction_keeps_what_it_is_for(db: Database) {
    let (user, _) =
        find_or_create_by_verified_email(&db, &email("a@example.com"), NOW).await.unwrap();
    let link = Some(Link { user: user.id, session_hash: [9; 32] });
    begin(&db, &transaction(1, link), NOW).await.unwrap();
    let spent = spend(&db, &[1; 32], &[7; 32]).await.unwrap().unwrap();
    assert_eq!((spent.provider, spent.link), (Provider::Github, link));
    assert_eq!((&*spent.nonce, &*spent.verifier), ("nonce", "verifier"));
    assert_eq!(spent.return_to.as_deref(), Some("/account"));
    assert_eq!(spent.expires_at, NOW + Duration::minutes(10));
    let nobody = Some(Link { user: Uuid::new_v4(), session_hash: [9; 32] });
    assert!(matches!(begin(&db, &transaction(2, nobody), NOW).await, Err(StoreError::Conflict(_))));
}

async fn what_is_over_is_removed_by_the_next(db: Database) {
    begin(&db, &transaction(1, None), NOW).await.unwrap();
    begin(&db, &transaction(2, None), NOW + Duration::minutes(10)).await.unwrap();
    assert!(spend(&db, &[1; 32], &[7; 32]).await.unwrap().is_none());
    assert!(spend(&db, &[2; 32], &[7; 32]).await.unwrap().is_some());
}

async fn of_many_equal_nonces_one_is_new(db: Database) {
    let until = NOW + Duration::minutes(15);
    let results = at_once(50, |_| {
        let db = db.clone();
        async move { reserve_steam_nonce(&db, &[1; 32], until, NOW).await.unwrap() }
    })
    .await;
    assert_eq!(results.iter().filter(|new| **new).count(), 1);
    assert!(
        !reserve_steam_nonce(&db, &[1; 32], until, until - Duration::seconds(1)).await.unwrap()
    );
    assert!(reserve_steam_nonce(&db, &[1; 32], until, until).await.unwrap());
}

async fn events_are_paged_and_end_after_ninety_days(db: Database) {
    let (alice, _) =
        find_or_create_by_verified_email(&db, &email("a@example.com"), NOW).await.unwrap();
    let (bob, _) =
        find_or_create_by_verified_email(&db, &email("b@example.com"), NOW).await.unwrap();
    let device_hash = Some([1; 32]);
    let event = |user, kind| NewEvent {
        user,
        kind,
        method: Some("email"),
        about: None,
        device: "curl",
        device_hash,
        ip: Some([127, 0, 0, 1].into()),
    };
    assert_eq!(events::known_devices(&db, alice.id, None).await.unwrap(), (false, false));
    for kind in ["signed_in", "linked", "signed_out"] {
        events::record(&db, &event(alice.id, kind), NOW).await.unwrap();
    }
    events::record(&db, &event(bob.id, "signed_in"), NOW).await.unwrap();
    assert_eq!(events::known_devices(&db, alice.id, Some(&[1; 32])).await.unwrap(), (true, true));
    assert_eq!(events::known_devices(&db, alice.id, Some(&[2; 32])).await.unwrap(), (true, false));
    assert_eq!(events::known_devices(&db, alice.id, None).await.unwrap(), (true, false));

    let page = events::list(&db, alice.id, None, 2, NOW).await.unwrap();
    assert_eq!(page.iter().map(|event| &*event.kind).collect::<Vec<_>>(), ["signed_out", "linked"]);
    let rest = events::list(&db, alice.id, Some(page[1].id), 2, NOW).await.unwrap();
    assert_eq!(rest.iter().map(|event| &*event.kind).collect::<Vec<_>>(), ["signed_in"]);

    let later = NOW + KEPT;
    assert_eq!(
        events::list(&db, alice.id, None, 10, later).await.unwrap(),
        [],
        "too old to be shown"
    );
    events::record(&db, &event(bob.id, "signed_out"), later).await.unwrap();
    assert_eq!(
        events::list(&db, alice.id, None, 10, NOW).await.unwrap(),
        [],
        "removed by the next one"
    );
}

async fn an_address_is_given_once_and_to_one(db: Database) {
    let (alice, _) =
        find_or_create_by_verified_email(&db, &email("a@example.com"), NOW).await.unwrap();
    let (bob, _) =
        find_or_create_by_verified_email(&db, &email("b@example.com"), NOW).await.unwrap();
    let until = NOW + Duration::minutes(10);
    let (new, taken) = (email("new@example.com"), email("b@example.com"));
    email_changes::begin(&db, alice.id, &new, &[1; 32], until, NOW).await.unwrap();
    assert_eq!(email_changes::finish(&db, bob.id, &[1; 32], NOW).await.unwrap(), None, "not his");
    assert_eq!(
        email_changes::finish(&db, alice.id, &[1; 32], until).await.unwrap(),
        None,
        "too late"
    );
    let (old, others) = (email("a@example.com"), email("c@example.com"));
    for (token, address) in [(0, &old), (1, &new), (2, &others)] {
        magic_links::create(&db, &link(address, token), NOW).await.unwrap();
    }
    let claimed = magic_links::claim_by_token(&db, &[1; 32], NOW).await.unwrap().unwrap();
    assert_eq!(
        email_changes::finish(&db, alice.id, &[1; 32], NOW).await.unwrap(),
        Some(new.clone())
    );
    assert!(
        !magic_links::release(&db, claimed.id).await.unwrap(),
        "the one being redeemed ends too"
    );
    let mut left = Vec::new();
    for token in 0..3 {
        left.extend(
            magic_links::claim_by_token(&db, &[token; 32], NOW).await.unwrap().map(|it| it.email),
        );
    }
    assert_eq!(left, [others], "links to the old and the new address end");
    assert_eq!(email_changes::finish(&db, alice.id, &[1; 32], NOW).await.unwrap(), None, "used");

    email_changes::begin(&db, alice.id, &taken, &[2; 32], until, NOW).await.unwrap();
    assert!(matches!(
        email_changes::finish(&db, alice.id, &[2; 32], NOW).await,
        Err(StoreError::Conflict(_))
    ));
    email_changes::begin(&db, alice.id, &email("x@example.com"), &[3; 32], until, NOW)
        .await
        .unwrap();
    email_changes::void_for(&db, &email("x@example.com")).await.unwrap();
    assert_eq!(email_changes::finish(&db, alice.id, &[3; 32], NOW).await.unwrap(), None, "void");

    email_changes::begin(&db, alice.id, &new, &[4; 32], until, NOW).await.unwrap();
    email_changes::begin(&db, bob.id, &new, &[5; 32], until + Duration::hours(1), until)
        .await
        .unwrap();
    let removed = email_changes::finish(&db, alice.id, &[4; 32], NOW).await.unwrap();
    assert_eq!(removed, None, "what is over is removed by the next");
}
