//! The accounts.

use time::OffsetDateTime;
use uuid::Uuid;

use super::column::{Timestamp, from_row, text_column};
use super::{Database, StoreError, on_pool};
use crate::domain::email::Email;
use crate::domain::provider::Provider;

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sees their own things only. The default.
    User,
    /// Runs the service.
    Admin,
}

impl Role {
    /// The name in the database and in answers.
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
    /// Proved to be theirs. `None` for an account that only ever signed in through Steam.
    pub email: Option<Email>,
    /// As the provider gave it: text to escape, not to trust.
    pub name: Option<String>,
    /// As the provider gave it.
    pub avatar_url: Option<String>,
    /// What they may do.
    pub role: Role,
    /// When the account was made, to the second.
    pub created_at: OffsetDateTime,
    /// When the address was first proved; set exactly if there is an address.
    pub email_verified_at: Option<OffsetDateTime>,
    /// Who vouched for the address while its mailbox has not been shown to be theirs; `None` once
    /// it has.
    pub email_vouched_by: Option<Provider>,
    /// When the operator disabled the account: nobody gets in.
    pub disabled_at: Option<OffsetDateTime>,
    /// When the account will be deleted, as its owner asked.
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

/// The user whose proved address this is.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn find_by_email(db: &Database, email: &Email) -> Result<Option<User>, StoreError> {
    let sql = "SELECT * FROM users WHERE email = $1";
    on_pool!(db, pool => sqlx::query_as(sql).bind(email).fetch_optional(pool).await).await
}

/// Up to `limit` users, the oldest accounts first, behind the one with this creation and id.
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

/// The user of this address, made now if there is none; the flag says whether it was. The caller
/// has just seen proof that the address is theirs. Any number of callers at once get one user.
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
    // The insert waits for one in flight of the same address, so the row is there to be read.
    let select = "SELECT * FROM users WHERE email = $1";
    let user: User = on_pool!(db, pool => {
        sqlx::query(insert).bind(id).bind(email).bind(now).execute(pool).await?;
        sqlx::query_as(select).bind(email).fetch_one(pool).await
    })
    .await?;
    let created = user.id == id;
    Ok((user, created))
}

/// Removes the user and everything that belongs to them; `false` if there was no such user. Their
/// sessions live elsewhere and are the caller's to end. `SQLite` overwrites what it removes, and
/// its log is emptied, which holds it too.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn delete(db: &Database, id: Uuid) -> Result<bool, StoreError> {
    delete_where(db, id, None).await
}

/// The same if the user's [time](User::delete_at) has come.
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
        // One that is not due keeps its links.
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

/// Up to `limit` users whose [time](User::delete_at) has come.
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

/// The mailbox of the account's address has been shown to be theirs.
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
