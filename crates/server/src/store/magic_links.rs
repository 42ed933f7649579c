//! Sign-in links that are on their way, and the six-digit codes that come with them.
//!
//! 1. The store sees hashes only; nothing in it can be presented as a link or a code.
//! 2. A browser has at most one unused link of an address: a newer one ends the older. Requests of
//!    other browsers end none of them, within the next rule.
//! 3. A mailbox has at most [`MAX_ALIVE`] unused links. Beyond that the network with the most loses
//!    its oldest; if all have equally many, the newest request is refused. Links of known browsers
//!    are kept before all others.
//! 4. A link is claimed once, by one `UPDATE`. Looking at it never claims it.
//! 5. A code works only for the visitor who asked, and [`MAX_WRONG_CODES`] wrong ones void it.
//!    Count and comparison are one `UPDATE`, so parallel guesses gain nothing. The link itself
//!    stays good: it cannot be guessed.
//! 6. The next request for a link removes expired rows.

use std::fmt;
use std::net::IpAddr;

use time::OffsetDateTime;
use uuid::Uuid;

use super::column::{Timestamp, from_row, text_column};
use super::{Database, StoreError, on_pool};
use crate::domain::email::Email;

/// How many wrong codes void a code.
pub const MAX_WRONG_CODES: u32 = 5;
/// How many unused links a mailbox has at most.
pub const MAX_ALIVE: u32 = 10;

/// A link to be sent.
pub struct NewMagicLink<'a> {
    /// Who it is for.
    pub email: &'a Email,
    /// Hash of the token in the link.
    pub token_hash: [u8; 32],
    /// Hash of what the asking browser holds; `None` if it is not to be known again.
    pub visitor_hash: Option<[u8; 32]>,
    /// Keyed hash of the code of the same mail; `None` if only the link shall work.
    pub code_hash: Option<[u8; 32]>,
    /// When link and code end.
    pub expires_at: OffsetDateTime,
    /// What asked, for the confirm page: "Firefox on Linux".
    pub device: &'a str,
    /// From where it was asked.
    pub ip: IpAddr,
    /// The network of that address, by which links are counted.
    pub network: &'a str,
    /// Whether a browser asked that had signed in to the account before.
    pub is_known: bool,
}

/// A code that one visitor may type.
#[derive(Clone, Copy)]
pub struct VisitorCode {
    /// Hash of what the visitor's browser holds.
    pub visitor_hash: [u8; 32],
    /// Keyed hash of the code: six digits would not survive a plain one.
    pub code_hash: [u8; 32],
}

impl fmt::Debug for NewMagicLink<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewMagicLink")
            .field("email", self.email)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for VisitorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VisitorCode(..)")
    }
}

/// A link that has just been used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedLink {
    /// For [`release`], should the sign-in fail after this.
    pub id: Uuid,
    /// The address that is proved by it.
    pub email: Email,
}

from_row!(ClaimedLink { id, email });

/// What a confirm page shows of a link that still works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingLink {
    /// Who it is for.
    pub email: Email,
    /// What asked for it: text to escape.
    pub device: String,
    /// From where it was asked, for display.
    pub ip: String,
    /// When it was asked for, to the second.
    pub created_at: OffsetDateTime,
    /// When it ends, to the second.
    pub expires_at: OffsetDateTime,
    /// Whether the browser that looks at it asked for it.
    pub is_own: bool,
}

from_row!(PendingLink { email, device, ip, created_at, expires_at, is_own });

/// A wrong code was counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongCode {
    /// Whose sign-in was tried.
    pub email: Email,
    /// How many tries are left; with 0 the code is void.
    pub tries_left: u32,
}

/// The result of a typed code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodeOutcome {
    /// It was right, and the link is used up with it.
    Claimed(ClaimedLink),
    /// It was wrong, and that was counted for each address this visitor has a code of.
    Wrong(Vec<WrongCode>),
    /// This visitor has no valid code: none requested, used, expired or void.
    Nothing,
}

/// Stores a link by the rules above; `false` if the mailbox has too many from elsewhere, so that
/// this one does not work. Removes expired rows.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn create(
    db: &Database,
    link: &NewMagicLink<'_>,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    purge_expired(db, now).await?;

    let insert = "INSERT INTO magic_links
            (id, email, token_hash, code_hash, visitor_hash, created_at, expires_at, device, ip,
            mailbox, network, is_known)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    let end_older = "DELETE FROM magic_links
        WHERE email = $1 AND visitor_hash = $2 AND used_at IS NULL AND id <> $3";
    // By turns: the newest of each network, then the second of each, and so on.
    let trim = "DELETE FROM magic_links WHERE id IN (
            SELECT id FROM (
                SELECT id, row_number() OVER (
                    ORDER BY is_known DESC, turn, created_at, id = $4
                ) AS place FROM (
                    SELECT id, is_known, created_at, row_number() OVER (
                        PARTITION BY network, is_known ORDER BY created_at DESC, id = $4 DESC
                    ) AS turn
                    FROM magic_links WHERE mailbox = $1 AND used_at IS NULL AND expires_at > $2
                ) AS by_network
            ) AS in_order WHERE place > $3
        ) RETURNING id";
    let (id, mailbox) = (Uuid::new_v4(), link.email.mailbox());
    let visitor_hash = link.visitor_hash.as_ref().map(|hash| &hash[..]);
    let removed: Vec<Uuid> = on_pool!(db, pool => {
        sqlx::query(insert)
            .bind(id)
            .bind(link.email)
            .bind(&link.token_hash[..])
            .bind(link.code_hash.as_ref().map(|hash| &hash[..]))
            .bind(visitor_hash)
            .bind(Timestamp::from(now))
            .bind(Timestamp::from(link.expires_at))
            .bind(link.device)
            .bind(link.ip.to_string())
            .bind(&mailbox)
            .bind(link.network)
            .bind(link.is_known)
            .execute(pool)
            .await?;
        sqlx::query(end_older)
            .bind(link.email)
            .bind(visitor_hash)
            .bind(id)
            .execute(pool)
            .await?;
        sqlx::query_scalar(trim)
            .bind(&mailbox)
            .bind(Timestamp::from(now))
            .bind(i64::from(MAX_ALIVE))
            .bind(id)
            .fetch_all(pool)
            .await
    })
    .await?;
    Ok(!removed.contains(&id))
}

/// Uses the link up. Of any number of callers at once, one gets it; `None` for a link that is
/// unknown, used, superseded or expired.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn claim_by_token(
    db: &Database,
    token_hash: &[u8; 32],
    now: OffsetDateTime,
) -> Result<Option<ClaimedLink>, StoreError> {
    let sql = "UPDATE magic_links SET used_at = $2
        WHERE token_hash = $1 AND used_at IS NULL AND expires_at > $2
        RETURNING id, email";
    let now = Timestamp::from(now);
    on_pool!(db, pool => {
        sqlx::query_as(sql).bind(&token_hash[..]).bind(now).fetch_optional(pool).await
    })
    .await
}

/// Uses up the visitor's link if the code is right for one, else counts the try for each of their
/// links. With `only_known` only links count that a known browser asked for.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn claim_by_code(
    db: &Database,
    code: &VisitorCode,
    only_known: bool,
    now: OffsetDateTime,
) -> Result<CodeOutcome, StoreError> {
    struct Tried {
        id: Uuid,
        email: Email,
        wrong_codes: i32,
        claimed: bool,
    }

    from_row!(Tried { id, email, wrong_codes, claimed });

    // All links this visitor asked for, so that two tabs with two addresses both work. A code that
    // is right for one of them is not wrong for the others.
    let sql = "UPDATE magic_links SET
            used_at = CASE WHEN code_hash = $2 THEN $3 END,
            wrong_codes = wrong_codes + CASE WHEN EXISTS (
                SELECT 1 FROM magic_links known
                WHERE known.visitor_hash = $1 AND known.code_hash = $2 AND known.used_at IS NULL
                    AND known.expires_at > $3 AND known.wrong_codes < $4
                    AND (known.is_known OR NOT $5)
            ) THEN 0 ELSE 1 END
        WHERE visitor_hash = $1 AND code_hash IS NOT NULL AND used_at IS NULL
            AND expires_at > $3 AND wrong_codes < $4 AND (is_known OR NOT $5)
        RETURNING id, email, wrong_codes, used_at IS NOT NULL AS claimed";
    let tried: Vec<Tried> = on_pool!(db, pool => {
        sqlx::query_as(sql)
            .bind(&code.visitor_hash[..])
            .bind(&code.code_hash[..])
            .bind(Timestamp::from(now))
            .bind(MAX_WRONG_CODES.cast_signed())
            .bind(only_known)
            .fetch_all(pool)
            .await
    })
    .await?;

    if let Some(right) = tried.iter().find(|tried| tried.claimed) {
        return Ok(CodeOutcome::Claimed(ClaimedLink { id: right.id, email: right.email.clone() }));
    }
    let wrong = tried.into_iter().map(|Tried { email, wrong_codes, .. }| WrongCode {
        email,
        tries_left: MAX_WRONG_CODES.saturating_sub(wrong_codes.cast_unsigned()),
    });
    let wrong: Vec<_> = wrong.collect();
    Ok(if wrong.is_empty() { CodeOutcome::Nothing } else { CodeOutcome::Wrong(wrong) })
}

/// Gives a claimed link back, if the session could not be made, so that the user can try again.
/// `false` if it was cancelled, or has expired and was removed.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn release(db: &Database, id: Uuid) -> Result<bool, StoreError> {
    let sql = "UPDATE magic_links SET used_at = NULL WHERE id = $1";
    on_pool!(db, pool => {
        sqlx::query(sql).bind(id).execute(pool).await.map(|done| done.rows_affected() == 1)
    })
    .await
}

/// What a confirm page shows to this visitor; `None` as for [`claim_by_token`]. Changes nothing.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn peek(
    db: &Database,
    token_hash: &[u8; 32],
    visitor_hash: &[u8; 32],
    now: OffsetDateTime,
) -> Result<Option<PendingLink>, StoreError> {
    let sql = "SELECT email, device, ip, created_at, expires_at,
            visitor_hash IS NOT NULL AND visitor_hash = $3 AS is_own
        FROM magic_links WHERE token_hash = $1 AND used_at IS NULL AND expires_at > $2";
    on_pool!(db, pool => {
        sqlx::query_as(sql)
            .bind(&token_hash[..])
            .bind(Timestamp::from(now))
            .bind(&visitor_hash[..])
            .fetch_optional(pool)
            .await
    })
    .await
}

/// Whom a link was made for, whatever became of it since.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn recipient(db: &Database, token_hash: &[u8; 32]) -> Result<Option<Email>, StoreError> {
    let sql = "SELECT email FROM magic_links WHERE token_hash = $1";
    on_pool!(db, pool => {
        sqlx::query_scalar(sql).bind(&token_hash[..]).fetch_optional(pool).await
    })
    .await
}

/// What keeps a mail from leaving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailTrouble {
    /// The mail server did not take it yet; it is tried again.
    Delayed,
    /// It is not tried again.
    GivenUp,
}

impl MailTrouble {
    fn as_str(self) -> &'static str {
        match self {
            Self::Delayed => "delayed",
            Self::GivenUp => "given_up",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Delayed, Self::GivenUp].into_iter().find(|it| it.as_str() == name)
    }
}

text_column!(MailTrouble, MailTrouble::parse);

/// How far a sign-in by mail is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Whether the link was used.
    pub is_used: bool,
    /// What keeps its mail from leaving.
    pub mail_trouble: Option<MailTrouble>,
}

from_row!(Progress { is_used, mail_trouble });

/// Says what keeps the mail of a link from leaving; `None` when nothing does any more.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn note_mail(
    db: &Database,
    token_hash: &[u8; 32],
    trouble: Option<MailTrouble>,
) -> Result<(), StoreError> {
    let sql = "UPDATE magic_links SET mail_trouble = $2 WHERE token_hash = $1";
    let trouble = trouble.map(MailTrouble::as_str);
    on_pool!(db, pool => {
        sqlx::query(sql).bind(&token_hash[..]).bind(trouble).execute(pool).await.map(drop)
    })
    .await
}

/// How far the sign-in is for which this visitor asked for a link last, of those not yet expired.
/// Changes nothing.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn progress(
    db: &Database,
    visitor_hash: &[u8; 32],
    now: OffsetDateTime,
) -> Result<Progress, StoreError> {
    let sql = "SELECT used_at IS NOT NULL AS is_used, mail_trouble FROM magic_links
        WHERE visitor_hash = $1 AND expires_at > $2
        ORDER BY created_at DESC, id LIMIT 1";
    let now = Timestamp::from(now);
    let progress: Option<Progress> = on_pool!(db, pool => {
        sqlx::query_as(sql).bind(&visitor_hash[..]).bind(now).fetch_optional(pool).await
    })
    .await?;
    Ok(progress.unwrap_or_default())
}

/// Ends the unused links of this address: after a sign-in none shall be lying
/// about.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn cancel_outstanding(db: &Database, email: &Email) -> Result<(), StoreError> {
    let sql = "DELETE FROM magic_links WHERE email = $1 AND used_at IS NULL";
    on_pool!(db, pool => sqlx::query(sql).bind(email).execute(pool).await.map(drop)).await
}

/// Ends every link to the user's address. One that is being redeemed ends as well: [`is_claimed`]
/// denies it, and [`release`] does not bring it back. Returns how many were unused.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn cancel_all(db: &Database, user: Uuid) -> Result<usize, StoreError> {
    let sql = "DELETE FROM magic_links WHERE email = (SELECT email FROM users WHERE id = $1)
        RETURNING used_at IS NULL";
    let unused: Vec<bool> =
        on_pool!(db, pool => sqlx::query_scalar(sql).bind(user).fetch_all(pool).await).await?;
    Ok(unused.into_iter().filter(|unused| *unused).count())
}

/// Whether the link is still the one that was claimed, and not cancelled since.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn is_claimed(db: &Database, id: Uuid) -> Result<bool, StoreError> {
    let sql = "SELECT count(*) FROM magic_links WHERE id = $1 AND used_at IS NOT NULL";
    let claimed: i64 =
        on_pool!(db, pool => sqlx::query_scalar(sql).bind(id).fetch_one(pool).await).await?;
    Ok(claimed == 1)
}

/// Removes rows whose time is over, used or not; returns how many. [`create`] calls it, so that the
/// table holds only rows of the last minutes.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn purge_expired(db: &Database, now: OffsetDateTime) -> Result<u64, StoreError> {
    let sql = "DELETE FROM magic_links WHERE expires_at <= $1";
    let now = Timestamp::from(now);
    on_pool!(db, pool => {
        sqlx::query(sql).bind(now).execute(pool).await.map(|done| done.rows_affected())
    })
    .await
}
