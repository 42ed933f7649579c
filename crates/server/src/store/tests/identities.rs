use time::Duration;
use uuid::Uuid;

use super::portfolio::page;
use super::{NOW, at_once, email, on_both_databases};
use crate::domain::provider::{Identity, Provider};
use crate::store::events::{self, NewEvent};
use crate::store::identities::{
    Creation, Linking, NewAccount, SignInMethods, Unlinking, create_account, link, of_user, owner,
    strip_account, undo_link, unlink,
};
use crate::store::portfolio::snapshots::{self, Snapshot};
use crate::store::portfolio::{Claim, Source, claim, holdings, publish, stage};
use crate::store::users::{User, confirm_mailbox, find_by_id, find_or_create_by_verified_email};
use crate::store::{Database, StoreError};

on_both_databases!(
    an_account_and_its_identity_are_made_together,
    many_first_sign_ins_at_once_make_one_account,
    an_identity_is_never_moved,
    of_many_accounts_one_gets_an_identity,
    an_account_has_one_identity_of_a_provider,
    what_is_taken_back_is_that_identity_of_that_account,
    another_issuer_is_another_identity,
    only_ways_that_are_on_offer_count,
    removing_both_ways_at_once_leaves_one,
    a_stripped_account_keeps_nothing_but_its_address,
    nobody_links_to_an_account_that_is_not_there,
);

fn ways(email: bool, providers: &[Provider]) -> SignInMethods {
    SignInMethods { email, providers: providers.to_vec() }
}

fn identity(provider: Provider, subject: &str) -> Identity {
    Identity { provider, issuer: "https://issuer.example".to_owned(), subject: subject.to_owned() }
}

async fn account(db: &Database, identity: &Identity) -> User {
    let new = NewAccount { identity, email: None, name: Some("Robin"), avatar_url: None };
    match create_account(db, &new, NOW).await.unwrap() {
        Creation::Created(user) => user,
        Creation::Taken => panic!("{identity:?} is taken"),
    }
}

async fn an_account_and_its_identity_are_made_together(db: Database) {
    let (alice, github) = (email("a@example.com"), identity(Provider::Github, "1"));
    let new = NewAccount {
        identity: &github,
        email: Some((&alice, Some(Provider::Github))),
        name: Some("Alice"),
        avatar_url: Some("https://avatars.example/1"),
    };
    let Creation::Created(user) = create_account(&db, &new, NOW).await.unwrap() else {
        panic!("not created")
    };
    assert_eq!(
        (user.email.as_ref(), user.email_vouched_by),
        (Some(&alice), Some(Provider::Github))
    );
    assert_eq!((user.name.as_deref(), user.email_verified_at), (Some("Alice"), Some(NOW)));
    assert_eq!(owner(&db, &github).await.unwrap(), Some(user.id));

    // The address is taken, so the identity is not stored either.
    let other = identity(Provider::Github, "2");
    let again = NewAccount { identity: &other, ..new };
    assert_eq!(create_account(&db, &again, NOW).await.unwrap(), Creation::Taken);
    assert_eq!(owner(&db, &other).await.unwrap(), None);
    // The identity is taken, so the account is not stored either.
    let bob = email("b@example.com");
    let again =
        NewAccount { identity: &github, email: Some((&bob, None)), name: None, avatar_url: None };
    assert_eq!(create_account(&db, &again, NOW).await.unwrap(), Creation::Taken);
    let (_, created) = find_or_create_by_verified_email(&db, &bob, NOW).await.unwrap();
    assert!(created);

    confirm_mailbox(&db, user.id, NOW + Duration::days(1)).await.unwrap();
    let user = find_by_id(&db, user.id).await.unwrap().unwrap();
    assert_eq!(
        (user.email_vouched_by, user.email_verified_at),
        (None, Some(NOW + Duration::days(1)))
    );
}

async fn many_first_sign_ins_at_once_make_one_account(db: Database) {
    let results = at_once(20, |_| {
        let db = db.clone();
        async move {
            let steam = identity(Provider::Steam, "76561197960435530");
            let new = NewAccount { identity: &steam, email: None, name: None, avatar_url: None };
            create_account(&db, &new, NOW).await.unwrap()
        }
    })
    .await;
    let created = results.iter().filter(|result| matches!(result, Creation::Created(_))).count();
    assert_eq!(created, 1);
}

async fn an_identity_is_never_moved(db: Database) {
    let steam = identity(Provider::Steam, "1");
    let (one, two) =
        (account(&db, &steam).await, account(&db, &identity(Provider::Github, "2")).await);
    assert_eq!(link(&db, two.id, &steam, NOW).await.unwrap(), Linking::Taken);
    assert_eq!(link(&db, one.id, &steam, NOW).await.unwrap(), Linking::AlreadyTheirs);
    assert_eq!(owner(&db, &steam).await.unwrap(), Some(one.id));
}

async fn of_many_accounts_one_gets_an_identity(db: Database) {
    let mut users = Vec::new();
    for number in 0..50 {
        users.push(account(&db, &identity(Provider::Github, &number.to_string())).await.id);
    }
    let results = at_once(50, |at| {
        let (db, user) = (db.clone(), users[at]);
        async move { link(&db, user, &identity(Provider::Steam, "1"), NOW).await.unwrap() }
    })
    .await;
    assert_eq!(results.iter().filter(|result| **result == Linking::Linked).count(), 1);
    assert_eq!(results.iter().filter(|result| **result == Linking::Taken).count(), 49);
    let at = results.iter().position(|result| *result == Linking::Linked).unwrap();
    assert_eq!(owner(&db, &identity(Provider::Steam, "1")).await.unwrap(), Some(users[at]));
}

async fn an_account_has_one_identity_of_a_provider(db: Database) {
    let user = account(&db, &identity(Provider::Steam, "1")).await;
    assert_eq!(
        link(&db, user.id, &identity(Provider::Steam, "2"), NOW).await.unwrap(),
        Linking::HasAnother
    );
    assert_eq!(owner(&db, &identity(Provider::Steam, "2")).await.unwrap(), None);
    assert_eq!(
        link(&db, user.id, &identity(Provider::Github, "2"), NOW).await.unwrap(),
        Linking::Linked
    );
    let linked: Vec<_> = of_user(&db, user.id)
        .await
        .unwrap()
        .into_iter()
        .map(|it| (it.provider, it.linked_at))
        .collect();
    assert_eq!(linked, [(Provider::Github, NOW), (Provider::Steam, NOW)]);
}

async fn what_is_taken_back_is_that_identity_of_that_account(db: Database) {
    let (steam, github) = (identity(Provider::Steam, "1"), identity(Provider::Github, "1"));
    let (one, other) =
        (account(&db, &steam).await.id, account(&db, &identity(Provider::Steam, "2")).await.id);
    link(&db, one, &github, NOW).await.unwrap();
    undo_link(&db, other, &github).await.unwrap();
    assert_eq!(owner(&db, &github).await.unwrap(), Some(one));
    undo_link(&db, one, &github).await.unwrap();
    assert_eq!(
        (owner(&db, &github).await.unwrap(), owner(&db, &steam).await.unwrap()),
        (None, Some(one))
    );
}

async fn another_issuer_is_another_identity(db: Database) {
    let here = identity(Provider::Github, "1");
    let there = Identity { issuer: "https://github.corp.example".to_owned(), ..here.clone() };
    let google = Identity { provider: Provider::Google, ..here.clone() };
    let users =
        [account(&db, &here).await, account(&db, &there).await, account(&db, &google).await];
    for (identity, user) in [here, there, google].iter().zip(&users) {
        assert_eq!(owner(&db, identity).await.unwrap(), Some(user.id));
    }
}

async fn only_ways_that_are_on_offer_count(db: Database) {
    let user = account(&db, &identity(Provider::Steam, "1")).await;
    let all = ways(true, &Provider::ALL);
    let unlink =
        async |provider, ways: &SignInMethods| unlink(&db, user.id, provider, ways).await.unwrap();
    assert_eq!(unlink(Provider::Steam, &all).await, Unlinking::LastWayIn);
    for other in [Provider::Google, Provider::Github, Provider::Oidc] {
        assert_eq!(unlink(other, &all).await, Unlinking::NotLinked);
        link(&db, user.id, &identity(other, "2"), NOW).await.unwrap();
        let without: Vec<_> = Provider::ALL.into_iter().filter(|one| *one != other).collect();
        let without = ways(true, &without);
        assert_eq!(unlink(Provider::Steam, &without).await, Unlinking::LastWayIn, "{other}");
        assert_eq!(unlink(other, &without).await, Unlinking::Unlinked, "{other}");
        link(&db, user.id, &identity(other, "2"), NOW).await.unwrap();
        assert_eq!(unlink(Provider::Steam, &all).await, Unlinking::Unlinked, "{other}");
        assert_eq!(unlink(other, &all).await, Unlinking::LastWayIn, "{other}");
        link(&db, user.id, &identity(Provider::Steam, "1"), NOW).await.unwrap();
        assert_eq!(unlink(other, &all).await, Unlinking::Unlinked, "{other}");
    }

    let (owner, _) =
        find_or_create_by_verified_email(&db, &email("a@example.com"), NOW).await.unwrap();
    link(&db, owner.id, &identity(Provider::Google, "3"), NOW).await.unwrap();
    let unlink = async |ways: &SignInMethods| {
        super::super::identities::unlink(&db, owner.id, Provider::Google, ways).await.unwrap()
    };
    assert_eq!(unlink(&ways(false, &Provider::ALL)).await, Unlinking::LastWayIn);
    assert_eq!(unlink(&all).await, Unlinking::Unlinked);
}

async fn removing_both_ways_at_once_leaves_one(db: Database) {
    for round in 0..100 {
        let user = account(&db, &identity(Provider::Steam, &format!("s{round}"))).await.id;
        link(&db, user, &identity(Provider::Github, &format!("g{round}")), NOW).await.unwrap();
        let results = at_once(2, |at| {
            let (db, provider) = (db.clone(), [Provider::Steam, Provider::Github][at]);
            async move { unlink(&db, user, provider, &ways(true, &Provider::ALL)).await.unwrap() }
        })
        .await;
        assert_eq!(of_user(&db, user).await.unwrap().len(), 1, "{results:?}");
        assert!(
            results.contains(&Unlinking::Unlinked) && results.contains(&Unlinking::LastWayIn),
            "{results:?}"
        );
    }
}

/// Publishes a portfolio of one item and its value.
async fn import(db: &Database, user: Uuid) -> Uuid {
    let claimed = claim(db, user, NOW).await.unwrap();
    let Claim::Granted(import) = claimed else { panic!("{claimed:?}") };
    stage(db, user, import, &page(0..1)).await.unwrap();
    assert!(
        publish(db, user, import, None, Source::Steam, NOW, std::time::Duration::ZERO)
            .await
            .unwrap()
    );
    let snapshot = Snapshot {
        taken_at: NOW,
        day: None,
        total_cents: 1,
        currency: "USD".to_owned(),
        items: 1,
        unpriced_items: 0,
        price_source: "test".to_owned(),
        import_id: None,
    };
    snapshots::add(db, user, &snapshot).await.unwrap();
    import
}

async fn a_stripped_account_keeps_nothing_but_its_address(db: Database) {
    let (alice, github) = (email("a@example.com"), identity(Provider::Github, "1"));
    let new = NewAccount {
        identity: &github,
        email: Some((&alice, Some(Provider::Github))),
        name: Some("Mallory"),
        avatar_url: Some("https://avatars.example/1"),
    };
    let Creation::Created(user) = create_account(&db, &new, NOW).await.unwrap() else {
        panic!("not created")
    };
    link(&db, user.id, &identity(Provider::Steam, "1"), NOW).await.unwrap();
    let import = import(&db, user.id).await;
    let signed_in = NewEvent {
        user: user.id,
        kind: "signed_in",
        method: None,
        about: None,
        device: "",
        device_hash: None,
        ip: None,
    };
    events::record(&db, &signed_in, NOW).await.unwrap();
    let running = claim(&db, user.id, NOW + Duration::hours(1)).await.unwrap();
    let Claim::Granted(running) = running else { panic!("{running:?}") };

    strip_account(&db, user.id).await.unwrap();
    let later = NOW + Duration::hours(1);
    assert!(
        !publish(&db, user.id, running, None, Source::Steam, later, std::time::Duration::ZERO)
            .await
            .unwrap()
    );
    assert_eq!(holdings::summary(&db, user.id).await.unwrap(), None);
    assert_eq!(holdings::list(&db, user.id, import).await.unwrap(), []);
    assert_eq!(holdings::items(&db, user.id, import, -1, 10).await.unwrap(), []);
    assert_eq!(snapshots::newest(&db, user.id, 10).await.unwrap(), []);
    assert_eq!(events::list(&db, user.id, None, 10, NOW).await.unwrap(), []);
    assert_eq!(of_user(&db, user.id).await.unwrap(), []);
    let user = find_by_id(&db, user.id).await.unwrap().unwrap();
    assert_eq!((user.email, user.name, user.avatar_url), (Some(alice), None, None));
    assert_eq!(user.email_vouched_by, Some(Provider::Github), "until the sessions are ended too");
}

async fn nobody_links_to_an_account_that_is_not_there(db: Database) {
    let result = link(&db, Uuid::new_v4(), &identity(Provider::Steam, "1"), NOW).await;
    assert!(matches!(result, Err(StoreError::Conflict(_))), "{result:?}");
}
