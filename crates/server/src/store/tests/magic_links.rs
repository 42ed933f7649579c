use std::net::Ipv4Addr;

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{NOW, at_once, email, on_both_databases};
use crate::domain::email::Email;
use crate::domain::provider::{Identity, Provider};
use crate::store::Database;
use crate::store::magic_links::{
    ClaimedLink, MailTrouble, NewMagicLink, PendingLink, WaitingIdentity, cancel_all,
    cancel_outstanding, claim_by_token, create, is_claimed, note_mail, peek, progress,
    purge_expired, release,
};
use crate::store::users::find_or_create_by_verified_email;

on_both_databases!(
    a_link_is_claimed_once_of_a_hundred_times,
    a_link_ends_with_its_time,
    a_link_with_a_fraction_of_a_second_never_lives_longer,
    a_newer_link_ends_the_older_of_the_same_browser_and_address_only,
    links_made_at_once_by_others_all_work_up_to_ten,
    of_one_network_the_oldest_goes_first,
    the_eleventh_network_comes_too_late_unless_its_browser_is_known,
    looking_at_a_link_does_not_use_it,
    an_identity_waits_for_the_browser_that_brought_it,
    a_released_link_works_again,
    cancelling_ends_what_is_outstanding,
    a_link_cancelled_while_it_is_redeemed_does_not_return,
    expired_rows_go_when_the_next_link_is_made,
    a_delayed_mail_is_given_up_when_its_link_expires,
);

const LIFE: Duration = Duration::minutes(10);

pub(super) fn link(email: &Email, token: u8) -> NewMagicLink<'_> {
    NewMagicLink {
        email,
        token_hash: [token; 32],
        visitor_hash: None,
        code_hash: None,
        expires_at: NOW + LIFE,
        device: "Firefox on Linux",
        ip: Ipv4Addr::new(192, 0, 2, 7).into(),
        network: "192.0.2.0/24",
        is_known: false,
        waiting: None,
    }
}

/// The details that another browser sees.
async fn looked_at(db: &Database, token: u8, now: OffsetDateTime) -> Option<PendingLink> {
    peek(db, &[token; 32], &[99; 32], None, now).await.unwrap()
}

async fn claim(db: &Database, token: u8, now: OffsetDateTime) -> Option<ClaimedLink> {
    claim_by_token(db, &[token; 32], now).await.unwrap()
}

async fn a_link_is_claimed_once_of_a_hundred_times(db: Database) {
    let alice = email("alice@example.com");
    create(&db, &link(&alice, 1), NOW).await.unwrap();
    let claims = at_once(100, |_| {
        let db = db.clone();
        async move { claim(&db, 1, NOW).await }
    })
    .await;
    let claimed: Vec<_> = claims.into_iter().flatten().collect();
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].email, alice);
    assert_eq!(claim(&db, 1, NOW).await, None);
}

async fn a_link_ends_with_its_time(db: Database) {
    let alice = email("alice@example.com");
    create(&db, &link(&alice, 1), NOW).await.unwrap();
    let end = NOW + LIFE;
    for too_late in [end, end + Duration::seconds(1), end + Duration::days(400)] {
        assert_eq!(looked_at(&db, 1, too_late).await, None);
        assert_eq!(claim(&db, 1, too_late).await, None);
    }
    assert!(claim(&db, 1, end - Duration::seconds(1)).await.is_some());
}

async fn a_link_with_a_fraction_of_a_second_never_lives_longer(db: Database) {
    let alice = email("alice@example.com");
    let end = NOW + LIFE + Duration::milliseconds(500);
    create(&db, &NewMagicLink { expires_at: end, ..link(&alice, 1) }, NOW).await.unwrap();
    assert_eq!(claim(&db, 1, end).await, None);
    assert_eq!(claim(&db, 1, end - Duration::milliseconds(1)).await, None);
    assert!(claim(&db, 1, end - Duration::seconds(1)).await.is_some());
}

async fn a_newer_link_ends_the_older_of_the_same_browser_and_address_only(db: Database) {
    let (alice, bob) = (email("alice@example.com"), email("bob@example.com"));
    let asked_by = |browser, link| NewMagicLink { visitor_hash: Some([browser; 32]), ..link };
    for (browser, address, token) in
        [(1, &bob, 9), (2, &alice, 8), (1, &alice, 1), (1, &alice, 2), (1, &alice, 3)]
    {
        assert!(create(&db, &asked_by(browser, link(address, token)), NOW).await.unwrap());
    }
    assert_eq!(claim(&db, 1, NOW).await, None);
    assert_eq!(claim(&db, 2, NOW).await, None);
    for (token, owner) in [(3, &alice), (8, &alice), (9, &bob)] {
        assert_eq!(claim(&db, token, NOW).await.unwrap().email, *owner, "{token}");
    }
}

async fn links_made_at_once_by_others_all_work_up_to_ten(db: Database) {
    let made = at_once(20, |at| {
        let db = db.clone();
        let token = u8::try_from(at).unwrap();
        async move { create(&db, &link(&email("alice@example.com"), token), NOW).await }
    })
    .await;
    assert!(made.iter().all(Result::is_ok));
    // Overlapping inserts do not see each other's rows; the next insert does.
    create(&db, &link(&email("alice@example.com"), 20), NOW).await.unwrap();
    let mut working = 0;
    for token in 0..=20 {
        working += usize::from(claim(&db, token, NOW).await.is_some());
    }
    assert!((1..=10).contains(&working), "{working}");
}

async fn of_one_network_the_oldest_goes_first(db: Database) {
    let alice = email("alice@example.com");
    let tagged = email("alice+tag@example.com");
    let own = NewMagicLink { network: "198.51.100.0/24", ..link(&alice, 100) };
    assert!(create(&db, &own, NOW).await.unwrap());
    for token in 0..30 {
        let at = NOW + Duration::seconds(i64::from(token));
        let address = if token % 2 == 0 { &alice } else { &tagged };
        assert!(create(&db, &link(address, token), at).await.unwrap(), "{token}");
    }
    let now = NOW + Duration::seconds(30);
    assert!(claim(&db, 100, now).await.is_some(), "the one of the other network");
    for token in 0..30 {
        assert_eq!(claim(&db, token, now).await.is_some(), token >= 21, "{token}");
    }
}

async fn the_eleventh_network_comes_too_late_unless_its_browser_is_known(db: Database) {
    let alice = email("alice@example.com");
    let networks: Vec<_> = (0..40).map(|n| format!("198.51.{n}.0/24")).collect();
    for (token, network) in (0..).zip(&networks) {
        let link = NewMagicLink { network, ..link(&alice, token) };
        assert_eq!(create(&db, &link, NOW).await.unwrap(), token < 10, "{token}");
    }
    assert!(claim(&db, 0, NOW).await.is_some() && claim(&db, 10, NOW).await.is_none());
    let known = NewMagicLink { is_known: true, network: "203.0.113.0/24", ..link(&alice, 100) };
    for token in 100..105 {
        let known = NewMagicLink { token_hash: [token; 32], ..known };
        assert!(create(&db, &known, NOW).await.unwrap(), "{token}");
    }
    assert!(claim(&db, 100, NOW).await.is_some() && claim(&db, 104, NOW).await.is_some());
}

async fn looking_at_a_link_does_not_use_it(db: Database) {
    let alice = email("alice@example.com");
    create(&db, &link(&alice, 1), NOW).await.unwrap();
    for _ in 0..10 {
        let shown = PendingLink {
            email: alice.clone(),
            device: "Firefox on Linux".to_owned(),
            ip: "192.0.2.7".to_owned(),
            created_at: NOW,
            expires_at: NOW + LIFE,
            is_own: false,
            links: None,
        };
        assert_eq!(looked_at(&db, 1, NOW).await, Some(shown));
    }
    assert_eq!(looked_at(&db, 2, NOW).await, None);
    assert!(claim(&db, 1, NOW).await.is_some());
    assert_eq!(looked_at(&db, 1, NOW).await, None);
    let own = NewMagicLink { visitor_hash: Some([99; 32]), ..link(&alice, 3) };
    create(&db, &own, NOW).await.unwrap();
    assert!(looked_at(&db, 3, NOW).await.unwrap().is_own);
}

async fn an_identity_waits_for_the_browser_that_brought_it(db: Database) {
    let alice = email("alice@example.com");
    let identity = Identity {
        provider: Provider::Oidc,
        issuer: "https://id.example".to_owned(),
        subject: "1".to_owned(),
    };
    let waiting = WaitingIdentity { identity, browser_hash: [7; 32] };
    let new = NewMagicLink { waiting: Some(&waiting), ..link(&alice, 1) };
    create(&db, &new, NOW).await.unwrap();
    for (browser, is_own, links) in [
        (Some([7; 32]), true, Some(Provider::Oidc)),
        (Some([8; 32]), false, None),
        (None, false, None),
    ] {
        let shown = peek(&db, &[1; 32], &[99; 32], browser.as_ref(), NOW).await.unwrap().unwrap();
        assert_eq!((shown.is_own, shown.links), (is_own, links), "{browser:?}");
    }
    let claimed = claim(&db, 1, NOW).await.unwrap();
    assert_eq!(claimed.identity_for(&[7; 32]), Some(&waiting.identity));
    assert_eq!(claimed.identity_for(&[8; 32]), None);
    create(&db, &link(&alice, 2), NOW).await.unwrap();
    assert_eq!(claim(&db, 2, NOW).await.unwrap().identity_for(&[7; 32]), None);
}

async fn a_released_link_works_again(db: Database) {
    let alice = email("alice@example.com");
    create(&db, &link(&alice, 1), NOW).await.unwrap();
    let claimed = claim(&db, 1, NOW).await.unwrap();
    assert!(release(&db, claimed.id).await.unwrap());
    assert_eq!(claim(&db, 1, NOW).await, Some(claimed));
    assert!(!release(&db, Uuid::new_v4()).await.unwrap());
}

async fn cancelling_ends_what_is_outstanding(db: Database) {
    let (alice, bob) = (email("alice@example.com"), email("bob@example.com"));
    create(&db, &link(&alice, 1), NOW).await.unwrap();
    create(&db, &link(&bob, 2), NOW).await.unwrap();
    cancel_outstanding(&db, &alice).await.unwrap();
    assert_eq!(claim(&db, 1, NOW).await, None);
    assert!(claim(&db, 2, NOW).await.is_some());
}

async fn a_link_cancelled_while_it_is_redeemed_does_not_return(db: Database) {
    let (alice, bob) = (email("alice@example.com"), email("bob@example.com"));
    let (user, _) = find_or_create_by_verified_email(&db, &alice, NOW).await.unwrap();
    for (address, token) in [(&alice, 1), (&bob, 2)] {
        create(&db, &link(address, token), NOW).await.unwrap();
    }
    let (claimed, others) = (claim(&db, 1, NOW).await.unwrap(), claim(&db, 2, NOW).await.unwrap());
    create(&db, &link(&alice, 3), NOW).await.unwrap();
    assert!(is_claimed(&db, claimed.id).await.unwrap());
    cancel_all(&db, user.id).await.unwrap();
    assert!(
        !is_claimed(&db, claimed.id).await.unwrap() && is_claimed(&db, others.id).await.unwrap()
    );
    assert!(!release(&db, claimed.id).await.unwrap() && release(&db, others.id).await.unwrap());
    assert_eq!((claim(&db, 1, NOW).await, claim(&db, 3, NOW).await), (None, None));
    assert_eq!(claim(&db, 2, NOW).await, Some(others));
}

async fn expired_rows_go_when_the_next_link_is_made(db: Database) {
    let (alice, bob, carol) =
        (email("alice@example.com"), email("bob@example.com"), email("carol@example.com"));
    create(&db, &link(&alice, 1), NOW).await.unwrap();
    create(&db, &link(&bob, 2), NOW).await.unwrap();
    claim(&db, 2, NOW).await.unwrap();
    assert_eq!(purge_expired(&db, NOW + LIFE - Duration::seconds(1)).await.unwrap(), 0);

    let later = NOW + LIFE;
    create(&db, &NewMagicLink { expires_at: later + LIFE, ..link(&carol, 3) }, later)
        .await
        .unwrap();
    assert_eq!(purge_expired(&db, later).await.unwrap(), 0, "nothing is left to remove");
    assert_eq!(purge_expired(&db, later + LIFE).await.unwrap(), 1, "only the new one was there");
}

async fn a_delayed_mail_is_given_up_when_its_link_expires(db: Database) {
    let alice = email("alice@example.com");
    let asked = NewMagicLink { visitor_hash: Some([7; 32]), ..link(&alice, 1) };
    create(&db, &asked, NOW).await.unwrap();
    note_mail(&db, &[1; 32], Some(MailTrouble::Delayed)).await.unwrap();
    let (last, end) = (NOW + LIFE - Duration::seconds(1), NOW + LIFE);
    let over = end + Duration::minutes(10);
    for (at, trouble) in [
        (NOW, Some(MailTrouble::Delayed)),
        (last, Some(MailTrouble::Delayed)),
        (end, Some(MailTrouble::GivenUp)),
        (over - Duration::seconds(1), Some(MailTrouble::GivenUp)),
        (over, None),
    ] {
        purge_expired(&db, at).await.unwrap();
        let found = progress(&db, &[7; 32], at).await.unwrap();
        assert_eq!((found.is_used, found.mail_trouble), (false, trouble), "{at}");
    }
}
