use time::Duration;

use super::magic_links::link;
use super::{NOW, at_once, email, on_both_databases};
use crate::domain::email::Email;
use crate::store::Database;
use crate::store::magic_links::{
    CodeOutcome, NewMagicLink, VisitorCode, WrongCode, claim_by_code, claim_by_token, create,
    release,
};

on_both_databases!(
    a_right_code_uses_the_link_up,
    a_right_code_is_claimed_once_of_a_hundred_times,
    five_wrong_codes_void_the_code_but_not_the_link,
    guessing_in_parallel_buys_no_more_than_five_tries,
    a_code_works_for_its_visitor_and_its_time_only,
    a_link_without_a_code_has_none,
    each_code_of_a_visitor_works,
    a_wrong_code_counts_for_each_of_a_visitors_links,
    a_new_link_brings_new_tries,
    a_released_code_works_again,
    while_codes_are_withheld_those_of_known_browsers_work,
);

const RIGHT: u8 = 100;
const WRONG: u8 = 200;

fn code(visitor: u8, code: u8) -> VisitorCode {
    VisitorCode { visitor_hash: [visitor; 32], code_hash: [code; 32] }
}

fn link_with_code(email: &Email, token: u8, visitor: u8) -> NewMagicLink<'_> {
    NewMagicLink {
        visitor_hash: Some([visitor; 32]),
        code_hash: Some([RIGHT; 32]),
        ..link(email, token)
    }
}

/// A wrong code for Alice.
fn wrong(tries_left: u32) -> CodeOutcome {
    CodeOutcome::Wrong(vec![WrongCode { email: email("alice@example.com"), tries_left }])
}

async fn try_code(db: &Database, visitor: u8, typed: u8) -> CodeOutcome {
    claim_by_code(db, &code(visitor, typed), false, NOW).await.unwrap()
}

async fn a_right_code_uses_the_link_up(db: Database) {
    let alice = email("alice@example.com");
    create(&db, &link_with_code(&alice, 1, 7), NOW).await.unwrap();
    assert_eq!(try_code(&db, 7, WRONG).await, wrong(4));
    let CodeOutcome::Claimed(claimed) = try_code(&db, 7, RIGHT).await else {
        panic!("the code is right");
    };
    assert_eq!(claimed.email, alice);
    assert_eq!(try_code(&db, 7, RIGHT).await, CodeOutcome::Nothing);
    assert_eq!(claim_by_token(&db, &[1; 32], NOW).await.unwrap(), None);
}

async fn a_right_code_is_claimed_once_of_a_hundred_times(db: Database) {
    create(&db, &link_with_code(&email("alice@example.com"), 1, 7), NOW).await.unwrap();
    let outcomes = at_once(100, |_| {
        let db = db.clone();
        async move { try_code(&db, 7, RIGHT).await }
    })
    .await;
    assert_eq!(
        outcomes.iter().filter(|outcome| matches!(outcome, CodeOutcome::Claimed(_))).count(),
        1
    );
    assert_eq!(
        outcomes.iter().filter(|outcome| matches!(outcome, CodeOutcome::Nothing)).count(),
        99
    );
}

async fn five_wrong_codes_void_the_code_but_not_the_link(db: Database) {
    create(&db, &link_with_code(&email("alice@example.com"), 1, 7), NOW).await.unwrap();
    for tries_left in (0..5).rev() {
        assert_eq!(try_code(&db, 7, WRONG).await, wrong(tries_left));
    }
    assert_eq!(try_code(&db, 7, WRONG).await, CodeOutcome::Nothing);
    assert_eq!(try_code(&db, 7, RIGHT).await, CodeOutcome::Nothing);
    assert!(claim_by_token(&db, &[1; 32], NOW).await.unwrap().is_some());
}

async fn guessing_in_parallel_buys_no_more_than_five_tries(db: Database) {
    create(&db, &link_with_code(&email("alice@example.com"), 1, 7), NOW).await.unwrap();
    let outcomes = at_once(50, |_| {
        let db = db.clone();
        async move { try_code(&db, 7, WRONG).await }
    })
    .await;
    let mut left: Vec<u32> = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            CodeOutcome::Wrong(wrong) => Some(wrong[0].tries_left),
            CodeOutcome::Claimed(_) | CodeOutcome::Nothing => None,
        })
        .collect();
    left.sort_unstable();
    assert_eq!(left, [0, 1, 2, 3, 4]);
    assert_eq!(try_code(&db, 7, RIGHT).await, CodeOutcome::Nothing);
}

async fn a_code_works_for_its_visitor_and_its_time_only(db: Database) {
    create(&db, &link_with_code(&email("alice@example.com"), 1, 7), NOW).await.unwrap();
    create(&db, &link_with_code(&email("bob@example.com"), 2, 8), NOW).await.unwrap();
    for _ in 0..9 {
        assert_eq!(try_code(&db, 9, RIGHT).await, CodeOutcome::Nothing);
    }
    let end = NOW + Duration::minutes(10);
    assert_eq!(
        claim_by_code(&db, &code(7, RIGHT), false, end).await.unwrap(),
        CodeOutcome::Nothing
    );
    let CodeOutcome::Claimed(claimed) = try_code(&db, 7, RIGHT).await else {
        panic!("the code is right");
    };
    assert_eq!(claimed.email, email("alice@example.com"));
    assert!(
        claim_by_token(&db, &[2; 32], NOW).await.unwrap().is_some(),
        "the other one is untouched"
    );
}

async fn a_link_without_a_code_has_none(db: Database) {
    let alice = email("alice@example.com");
    let link = NewMagicLink { code_hash: None, ..link_with_code(&alice, 1, 7) };
    create(&db, &link, NOW).await.unwrap();
    assert_eq!(try_code(&db, 7, RIGHT).await, CodeOutcome::Nothing);
}

async fn each_code_of_a_visitor_works(db: Database) {
    let (bob, alice) = (email("bob@example.com"), email("alice@example.com"));
    create(&db, &link_with_code(&bob, 1, 7), NOW).await.unwrap();
    let second = NewMagicLink { code_hash: Some([101; 32]), ..link_with_code(&alice, 2, 7) };
    create(&db, &second, NOW).await.unwrap();
    for (typed, owner) in [(101, alice), (RIGHT, bob)] {
        let CodeOutcome::Claimed(claimed) = try_code(&db, 7, typed).await else {
            panic!("the code is right");
        };
        assert_eq!(claimed.email, owner);
    }
}

async fn a_wrong_code_counts_for_each_of_a_visitors_links(db: Database) {
    for (token, address) in [(1, "alice@example.com"), (2, "bob@example.com")] {
        create(&db, &link_with_code(&email(address), token, 7), NOW).await.unwrap();
    }
    for left in (0..5).rev() {
        let CodeOutcome::Wrong(wrong) = try_code(&db, 7, WRONG).await else {
            panic!("it is wrong")
        };
        let mut tries: Vec<_> =
            wrong.iter().map(|tried| (tried.email.as_str(), tried.tries_left)).collect();
        tries.sort_unstable();
        assert_eq!(tries, [("alice@example.com", left), ("bob@example.com", left)]);
    }
    assert_eq!(try_code(&db, 7, RIGHT).await, CodeOutcome::Nothing);
}

async fn a_new_link_brings_new_tries(db: Database) {
    let alice = email("alice@example.com");
    create(&db, &link_with_code(&alice, 1, 7), NOW).await.unwrap();
    assert_eq!(try_code(&db, 7, WRONG).await, wrong(4));
    create(&db, &link_with_code(&alice, 2, 7), NOW).await.unwrap();
    assert_eq!(try_code(&db, 7, WRONG).await, wrong(4));
}

async fn a_released_code_works_again(db: Database) {
    create(&db, &link_with_code(&email("alice@example.com"), 1, 7), NOW).await.unwrap();
    let CodeOutcome::Claimed(claimed) = try_code(&db, 7, RIGHT).await else {
        panic!("the code is right");
    };
    assert!(release(&db, claimed.id).await.unwrap());
    assert_eq!(try_code(&db, 7, RIGHT).await, CodeOutcome::Claimed(claimed));
}

async fn while_codes_are_withheld_those_of_known_browsers_work(db: Database) {
    let alice = email("alice@example.com");
    create(&db, &link_with_code(&alice, 1, 7), NOW).await.unwrap();
    let known = NewMagicLink { is_known: true, ..link_with_code(&alice, 2, 8) };
    create(&db, &known, NOW).await.unwrap();
    let stranger = claim_by_code(&db, &code(7, RIGHT), true, NOW).await.unwrap();
    assert_eq!(stranger, CodeOutcome::Nothing);
    let known = claim_by_code(&db, &code(8, RIGHT), true, NOW).await.unwrap();
    assert!(matches!(known, CodeOutcome::Claimed(_)));
    let later = claim_by_code(&db, &code(7, RIGHT), false, NOW).await.unwrap();
    assert!(matches!(later, CodeOutcome::Claimed(_)), "no try was counted meanwhile");
}
