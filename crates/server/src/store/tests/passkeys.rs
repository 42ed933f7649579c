use super::{NOW, at_once, email, on_both_databases};
use crate::domain::provider::{Identity, Provider};
use crate::store::identities::{self, SignInMethods, Unlinking};
use crate::store::passkeys::{
    self, Adding, MAX_PER_USER, NewChallenge, NewPasskey, Removal, Requester,
};
use crate::store::users::{User, find_or_create_by_verified_email};
use crate::store::{Database, recovery_codes, tokens};

on_both_databases!(
    a_challenge_is_spent_once_by_its_browser_for_its_ceremony_in_time,
    a_counter_only_grows_whoever_asks_at_once,
    the_last_sign_in_method_stays_and_so_does_what_passkey_only_needs,
    an_account_has_so_many_passkeys_and_no_credential_is_there_twice,
    a_recovery_code_is_claimed_once_of_many_times,
    an_account_that_is_stripped_or_reset_has_no_passkey_left,
);

fn ways(email: bool) -> SignInMethods {
    SignInMethods { email, providers: Provider::ALL.to_vec() }
}

async fn user(db: &Database) -> User {
    find_or_create_by_verified_email(db, &email("a@example.com"), NOW).await.unwrap().0
}

fn passkey(credential_id: &[u8]) -> NewPasskey<'_> {
    NewPasskey {
        credential_id,
        public_key: b"key",
        counter: 0,
        aaguid: [0; 16],
        name: "Phone",
        transports: "internal",
        backup_eligible: true,
        backed_up: false,
    }
}

async fn add(db: &Database, user: &User, credential_id: &[u8]) -> uuid::Uuid {
    match passkeys::add(db, user.id, &passkey(credential_id), NOW).await.unwrap() {
        Adding::Added(id) => id,
        refused => panic!("{refused:?}"),
    }
}

async fn a_challenge_is_spent_once_by_its_browser_for_its_ceremony_in_time(db: Database) {
    let user = user(&db).await;
    let requester = Some(Requester { user: user.id, session_hash: [3; 32] });
    let ends = NOW + time::Duration::minutes(10);
    for registers in [false, true] {
        let new = NewChallenge {
            challenge_hash: [1; 32],
            browser_hash: [2; 32],
            registers,
            requester,
            expires_at: ends,
        };
        passkeys::begin(&db, &new, NOW).await.unwrap();
        let spend = |challenge, browser, registers, now| {
            let db = db.clone();
            async move {
                passkeys::spend(&db, &[challenge; 32], &[browser; 32], registers, now)
                    .await
                    .unwrap()
            }
        };
        assert_eq!(spend(9, 2, registers, NOW).await, None, "another challenge");
        assert_eq!(spend(1, 9, registers, NOW).await, None, "another browser");
        assert_eq!(spend(1, 2, !registers, NOW).await, None, "another ceremony");
        assert_eq!(spend(1, 2, registers, ends).await, None, "too late");
        let winners = at_once(10, |_| spend(1, 2, registers, NOW)).await;
        assert_eq!(winners.iter().flatten().collect::<Vec<_>>(), [&requester]);
    }
}

async fn a_counter_only_grows_whoever_asks_at_once(db: Database) {
    let user = user(&db).await;
    let id = add(&db, &user, b"one").await;
    let note = |counter| {
        let db = db.clone();
        async move { passkeys::note_use(&db, id, counter, true, NOW).await.unwrap() }
    };
    assert!(note(0).await && note(0).await, "none at all");
    let noted = at_once(10, |_| note(7)).await;
    assert_eq!(noted.iter().filter(|noted| **noted).count(), 1);
    assert!(!note(7).await && !note(6).await && !note(0).await && note(8).await);
    let kept = passkeys::find(&db, b"one").await.unwrap().unwrap();
    assert_eq!((kept.counter, kept.backed_up, kept.last_used_at), (8, true, Some(NOW)));
}

async fn the_last_sign_in_method_stays_and_so_does_what_passkey_only_needs(db: Database) {
    let user = user(&db).await;
    let identity = Identity {
        provider: Provider::Github,
        issuer: "https://github.com".to_owned(),
        subject: "1".to_owned(),
    };
    let first = add(&db, &user, b"one").await;
    let (all, no_mail) = (ways(true), ways(false));
    let remove = |id, ways| passkeys::remove(&db, user.id, id, ways);
    let only = |enabled| passkeys::set_passkey_only(&db, user.id, enabled);
    assert_eq!(remove(first, &no_mail).await.unwrap(), Removal::LastWayIn);
    assert_eq!(remove(uuid::Uuid::nil(), &all).await.unwrap(), Removal::NotFound);
    assert!(!only(true).await.unwrap() && !passkeys::is_passkey_only(&db, user.id).await.unwrap());

    // A passkey counts as a sign-in method beside a provider, and a provider beside a passkey.
    identities::link(&db, user.id, &identity, NOW).await.unwrap();
    let unlinked = identities::unlink(&db, user.id, Provider::Github, &no_mail).await.unwrap();
    assert_eq!(unlinked, Unlinking::Unlinked);
    identities::link(&db, user.id, &identity, NOW).await.unwrap();
    assert_eq!(remove(first, &no_mail).await.unwrap(), Removal::Removed);
    let unlinked = identities::unlink(&db, user.id, Provider::Github, &no_mail).await.unwrap();
    assert_eq!(unlinked, Unlinking::LastWayIn);

    // Passkey only: two passkeys, or one and recovery codes.
    let (second, third) = (add(&db, &user, b"two").await, add(&db, &user, b"three").await);
    assert!(only(true).await.unwrap());
    assert_eq!(remove(second, &all).await.unwrap(), Removal::Needed);
    recovery_codes::replace(&db, user.id, &[[5; 32]]).await.unwrap();
    assert_eq!(remove(second, &all).await.unwrap(), Removal::Removed);
    assert_eq!(remove(third, &all).await.unwrap(), Removal::Needed);
    assert!(only(false).await.unwrap());
    assert_eq!(remove(third, &all).await.unwrap(), Removal::Removed);
}

async fn an_account_has_so_many_passkeys_and_no_credential_is_there_twice(db: Database) {
    let user = user(&db).await;
    add(&db, &user, b"one").await;
    let again = passkeys::add(&db, user.id, &passkey(b"one"), NOW).await.unwrap();
    assert_eq!(again, Adding::Taken);
    let added = at_once(30, |at| {
        let (db, user) = (db.clone(), user.id);
        async move {
            let credential_id = [u8::try_from(at).unwrap(); 16];
            passkeys::add(&db, user, &passkey(&credential_id), NOW).await.unwrap()
        }
    });
    let added = added.await.into_iter().filter(|adding| matches!(adding, Adding::Added(_))).count();
    assert_eq!(i64::try_from(added).unwrap(), MAX_PER_USER - 1);
}

async fn a_recovery_code_is_claimed_once_of_many_times(db: Database) {
    let user = user(&db).await;
    recovery_codes::replace(&db, user.id, &[[1; 32], [2; 32]]).await.unwrap();
    let claimed = at_once(20, |_| {
        let (db, user) = (db.clone(), user.id);
        async move { recovery_codes::claim(&db, user, &[1; 32]).await.unwrap() }
    });
    assert_eq!(claimed.await.into_iter().filter(|claimed| *claimed).count(), 1);
    assert_eq!(recovery_codes::count(&db, user.id).await.unwrap(), 1);
    recovery_codes::release(&db, user.id, &[1; 32]).await.unwrap();
    assert!(recovery_codes::claim(&db, user.id, &[1; 32]).await.unwrap());
    recovery_codes::replace(&db, user.id, &[[3; 32]]).await.unwrap();
    assert!(!recovery_codes::claim(&db, user.id, &[2; 32]).await.unwrap(), "void");
}

async fn an_account_that_is_stripped_or_reset_has_no_passkey_left(db: Database) {
    let user = user(&db).await;
    for stripped in [true, false] {
        add(&db, &user, b"one").await;
        recovery_codes::replace(&db, user.id, &[[1; 32]]).await.unwrap();
        assert!(passkeys::set_passkey_only(&db, user.id, true).await.unwrap());
        let token = tokens::NewToken {
            token_hash: [4; 32],
            name: "bot",
            scopes: "account:read",
            expires_at: NOW + time::Duration::days(1),
        };
        tokens::create(&db, user.id, &token, NOW).await.unwrap().unwrap();
        if stripped {
            identities::strip_account(&db, user.id).await.unwrap();
        } else {
            passkeys::reset(&db, user.id).await.unwrap();
        }
        assert_eq!(passkeys::of_user(&db, user.id).await.unwrap(), []);
        assert_eq!(recovery_codes::count(&db, user.id).await.unwrap(), 0);
        assert_eq!(tokens::of_user(&db, user.id, NOW).await.unwrap(), []);
        assert!(!passkeys::is_passkey_only(&db, user.id).await.unwrap());
    }
}
