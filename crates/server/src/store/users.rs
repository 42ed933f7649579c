//! User accounts.

use time::OffsetDateTime;
use uuid::Uuid;

use super::column::{Timestamp, from_row, text_column};
use super::{Database, StoreError, on_pool};
use crate::domain::email::Email;
use crate::domain::provider::Provider;

/// A user's role. No permission depends on it today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// An ordinary user. The default.
    User,
    /// A user who runs the service.
    Admin,
}

impl Role {
    /// The name in the database and in responses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::User, Self::Admin].into_iter().find(|role| role.as_str() == name)
    }
}

text_column!(Role, Role::parse);

/// One account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Random, never reused.
    pub id: Uuid,
    /// The verified address, if any. An account created through Steam starts without one.
    pub email: Option<Email>,
    /// The name from the provider: untrusted text, to be escaped.
    pub name: Option<String>,
    /// The avatar URL from the provider.
    pub avatar_url: Option<String>,
    /// The user's role.
    pub role: Role,
    /// When the account was made, to the second.
    pub created_at: OffsetDateTime,
    /// When the address was first verified; set exactly when there is an address.
    pub email_verified_at: Option<OffsetDateTime>,
    /// The provider that vouched for the address, until the user proves access to the mailbox; then
    /// `None`.
    pub email_vouched_by: Option<Provider>,
    /// When the operator disabled the account. Nobody can sign in to it.
    pub disabled_at: Option<OffsetDateTime>,
    /// When the account will be deleted, at its owner's request.
    pub delete_at: Option<OffsetDateTime>,
}

from_row!(User {
    id,
    email,
    name,
    avatar_url,
    role,
    created_at,
    email_verified_at,
    email_vouched_by,
    disabled_at,
    delete_at
});

/// The user with this id.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn find_by_id(db: &Database, id: Uuid) -> Result<Option<User>, StoreError> {
    let sql = "SELECT * FROM users WHERE id = $1";
    on_pool!(db, pool => sqlx::query_as(sql).bind(id).fetch_optional(pool).await).await
}

/// The user with this verified address.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn find_by_email(db: &Database, email: &Email) -> Result<Option<User>, StoreError> {
    let sql = "SELECT * FROM users WHERE email = $1";
    on_pool!(db, pool => sqlx::query_as(sql).bind(email).fetch_optional(pool).await).await
}

/// Up to `limit` users, oldest accounts first, after the one with this creation time and id.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn page(
    db: &Database,
    after: Option<(OffsetDateTime, Uuid)>,
    limit: u32,
) -> Result<Vec<User>, StoreError> {
    let (created, id) = after.unwrap_or((OffsetDateTime::UNIX_EPOCH, Uuid::nil()));
    let sql = "SELECT * FROM users WHERE created_at > $1 OR (created_at = $1 AND id > $2)
        ORDER BY created_at, id LIMIT $3";
    on_pool!(db, pool => {
        let query = sqlx::query_as(sql).bind(Timestamp::from(created)).bind(id);
        query.bind(i64::from(limit)).fetch_all(pool).await
    })
    .await
}

/// Whether the operator has disabled the account.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn is_disabled(db: &Database, id: Uuid) -> Result<bool, StoreError> {
    Ok(find_by_id(db, id).await?.is_some_and(|user| user.disabled_at.is_some()))
}

/// Disables the account, or enables it with `None`.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn set_disabled(
    db: &Database,
    id: Uuid,
    at: Option<OffsetDateTime>,
) -> Result<(), StoreError> {
    let sql = "UPDATE users SET disabled_at = $2 WHERE id = $1";
    on_pool!(db, pool => {
        let query = sqlx::query(sql).bind(id).bind(at.map(Timestamp::from));
        query.execute(pool).await.map(drop)
    })
    .await
}

/// The user with this address, created if there is none; the flag says whether it was. The caller
/// has just verified the address. Concurrent callers get the same user.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn find_or_create_by_verified_email(
    db: &Database,
    email: &Email,
    now: OffsetDateTime,
) -> Result<(User, bool), StoreError> {
    let id = Uuid::new_v4();
    let now = Timestamp::from(now);
    let insert = "INSERT INTO users (id, email, created_at, email_verified_at) VALUES ($1, $2, \
                  $3, $3)
        ON CONFLICT (email) DO NOTHING";
    // The insert waits for a concurrent one with the same address, so the row is visible
    // afterwards.
    let select = "SELECT * FROM users WHERE email = $1";
    let user: User = on_pool!(db, pool => {
        sqlx::query(insert).bind(id).bind(email).bind(now).execute(pool).await?;
        sqlx::query_as(select).bind(email).fetch_one(pool).await
    })
    .await?;
    let created = user.id == id;
    Ok((user, created))
}

/// Deletes the user and all their data; `false` if there was no such user. Sessions are stored
/// elsewhere: the caller ends them. `SQLite` overwrites deleted data, and the write-ahead log is
/// truncated because it holds copies.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn delete(db: &Database, id: Uuid) -> Result<bool, StoreError> {
    delete_where(db, id, None).await
}

/// Deletes the user if their [deletion time](User::delete_at) has come.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn delete_if_due(
    db: &Database,
    id: Uuid,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    delete_where(db, id, Some(now)).await
}

async fn delete_where(
    db: &Database,
    id: Uuid,
    due: Option<OffsetDateTime>,
) -> Result<bool, StoreError> {
    let links = "DELETE FROM magic_links WHERE email = (SELECT email FROM users WHERE id = $1)";
    // Every table that refers to users does so ON DELETE CASCADE.
    let user = match due {
        None => "DELETE FROM users WHERE id = $1",
        Some(_) => "DELETE FROM users WHERE id = $1 AND delete_at <= $2",
    };
    let deleted = on_pool!(db, pool => {
        let mut transaction = pool.begin().await?;
        sqlx::query(links).bind(id).execute(&mut *transaction).await?;
        let query = sqlx::query(user).bind(id);
        let query = match due {
            None => query,
            Some(now) => query.bind(Timestamp::from(now)),
        };
        let deleted = query.execute(&mut *transaction).await?.rows_affected();
        // A user who is not due keeps their links.
        if deleted == 1 {
            transaction.commit().await?;
        }
        Ok(deleted == 1)
    })
    .await?;
    if deleted {
        db.empty_log().await;
    }
    Ok(deleted)
}

/// Sets the time of deletion unless one is set; `None` cancels it. `false` if nothing was changed.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn set_deletion(
    db: &Database,
    id: Uuid,
    at: Option<OffsetDateTime>,
) -> Result<bool, StoreError> {
    let sql = match at {
        Some(_) => "UPDATE users SET delete_at = $2 WHERE id = $1 AND delete_at IS NULL",
        None => "UPDATE users SET delete_at = $2 WHERE id = $1 AND delete_at IS NOT NULL",
    };
    on_pool!(db, pool => {
        let query = sqlx::query(sql).bind(id).bind(at.map(Timestamp::from));
        query.execute(pool).await.map(|done| done.rows_affected() == 1)
    })
    .await
}

/// Up to `limit` users whose [deletion time](User::delete_at) has come.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn due_for_deletion(
    db: &Database,
    now: OffsetDateTime,
    limit: u32,
) -> Result<Vec<User>, StoreError> {
    let sql = "SELECT * FROM users WHERE delete_at <= $1 ORDER BY delete_at LIMIT $2";
    on_pool!(db, pool => {
        let query = sqlx::query_as(sql).bind(Timestamp::from(now)).bind(i64::from(limit));
        query.fetch_all(pool).await
    })
    .await
}

/// Records that the user has proved access to their mailbox.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn confirm_mailbox(
    db: &Database,
    user: Uuid,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let sql = "UPDATE users SET email_vouched_by = NULL, email_verified_at = $2
        WHERE id = $1 AND email_vouched_by IS NOT NULL";
    on_pool!(db, pool => {
        sqlx::query(sql).bind(user).bind(Timestamp::from(now)).execute(pool).await.map(drop)
    })
    .await
}
