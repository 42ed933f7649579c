use time::Duration;
use time::macros::datetime;
use uuid::Uuid;

use super::{NOW, at_once, email, on_both_databases};
use crate::store::users::{Role, find_by_email, find_by_id, find_or_create_by_verified_email};
use crate::store::{Database, StoreError, on_pool};

on_both_databases!(
    a_proved_address_makes_a_user_once,
    times_are_kept_in_utc_to_the_second,
    many_sign_ins_at_once_make_one_user,
    an_address_without_proof_is_refused,
    a_second_user_of_an_address_is_a_conflict,
    a_bad_address_in_a_row_is_not_believed,
);

async fn a_proved_address_makes_a_user_once(db: Database) {
    let alice = email("Alice@Example.com");
    assert_eq!(find_by_email(&db, &alice).await.unwrap(), None);
    assert_eq!(find_by_id(&db, Uuid::new_v4()).await.unwrap(), None);

    let (user, created) = find_or_create_by_verified_email(&db, &alice, NOW).await.unwrap();
    assert!(created);
    assert_eq!(user.email, Some(email("alice@example.com")));
    assert_eq!((user.name.as_ref(), user.avatar_url.as_ref(), user.role), (None, None, Role::User));
    assert_eq!((user.created_at, user.email_verified_at), (NOW, Some(NOW)));

    let later = NOW + Duration::days(1);
    let again =
        find_or_create_by_verified_email(&db, &email("ALICE@example.com"), later).await.unwrap();
    assert_eq!(again, (user.clone(), false));
    assert_eq!(find_by_id(&db, user.id).await.unwrap().as_ref(), Some(&user));
    assert_eq!(find_by_email(&db, &alice).await.unwrap(), Some(user));
}

async fn times_are_kept_in_utc_to_the_second(db: Database) {
    let now = datetime!(2026-05-01 23:59:59.999_999 -01:30);
    let (user, _) =
        find_or_create_by_verified_email(&db, &email("a@example.com"), now).await.unwrap();
    assert_eq!(user.created_at, datetime!(2026-05-02 01:29:59 UTC));
}

async fn many_sign_ins_at_once_make_one_user(db: Database) {
    let results =
        at_once(50, |_| {
            let db = db.clone();
            async move {
                find_or_create_by_verified_email(&db, &email("a@example.com"), NOW).await.unwrap()
            }
        })
        .await;
    assert_eq!(results.iter().filter(|(_, created)| *created).count(), 1);
    assert!(results.iter().all(|(user, _)| user == &results[0].0));
}

async fn an_address_without_proof_is_refused(db: Database) {
    let sql = "INSERT INTO users (id, email, created_at) VALUES ($1, $2, $3)";
    let now = super::super::column::Timestamp::from(NOW);
    let insert = on_pool!(&db, pool => {
        let insert = sqlx::query(sql).bind(Uuid::new_v4()).bind("a@example.com").bind(now);
        insert.execute(pool).await.map(drop)
    });
    assert!(matches!(insert.await, Err(StoreError::Unexpected(_))));
}

async fn a_second_user_of_an_address_is_a_conflict(db: Database) {
    let (user, _) =
        find_or_create_by_verified_email(&db, &email("a@example.com"), NOW).await.unwrap();
    let sql = "INSERT INTO users (id, email, created_at, email_verified_at)
        SELECT $1, email, created_at, email_verified_at FROM users WHERE id = $2";
    let insert = on_pool!(&db, pool => {
        sqlx::query(sql).bind(Uuid::new_v4()).bind(user.id).execute(pool).await.map(drop)
    });
    assert!(matches!(insert.await, Err(StoreError::Conflict(_))));
}

async fn a_bad_address_in_a_row_is_not_believed(db: Database) {
    let (user, _) =
        find_or_create_by_verified_email(&db, &email("a@example.com"), NOW).await.unwrap();
    let sql = "UPDATE users SET email = 'a@example.com,b@example.com'";
    on_pool!(&db, pool => sqlx::query(sql).execute(pool).await.map(drop)).await.unwrap();
    assert!(matches!(find_by_id(&db, user.id).await, Err(StoreError::Unexpected(_))));
}
