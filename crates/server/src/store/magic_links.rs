//! Pending sign-in links and the six-digit codes in the same mails.
//!
//! 1. The store keeps hashes only. No row can be used as a link or a code.
//! 2. A browser has at most one unused link per address: a newer one voids the older. Requests from
//!    other browsers void none of them, up to the limit of rule 3.
//! 3. A mailbox has at most [`MAX_ALIVE`] unused links. Above that, the network with the most links
//!    loses its oldest. If all have equally many, the newest request is refused. Links requested by
//!    known browsers are kept before all others.
//! 4. A link is claimed once, by one `UPDATE`. Looking at it never claims it.
//! 5. A code works only for the visitor who requested it. [`MAX_WRONG_CODES`] wrong codes void it.
//!    Counting and comparison are one `UPDATE`, so parallel guesses gain nothing. The link stays
//!    valid: it cannot be guessed.
//! 6. The next request for a link removes expired rows.

use std::fmt;
use std::net::IpAddr;

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::column::{Timestamp, from_row, hash_of, text_column};
use super::{Database, StoreError, on_pool};
use crate::domain::email::Email;
use crate::domain::provider::{Identity, Provider};

/// Number of wrong codes that void a code.
pub const MAX_WRONG_CODES: u32 = 5;
/// Maximum number of unused links per mailbox.
pub const MAX_ALIVE: u32 = 10;

/// A link to be sent.
pub struct NewMagicLink<'a> {
    /// The recipient.
    pub email: &'a Email,
    /// Hash of the token in the link.
    pub token_hash: [u8; 32],
    /// Hash of the requesting browser's cookie; `None` if the browser is not to be recognised.
    pub visitor_hash: Option<[u8; 32]>,
    /// Keyed hash of the code in the same mail; `None` if only the link is to work.
    pub code_hash: Option<[u8; 32]>,
    /// When link and code expire.
    pub expires_at: OffsetDateTime,
    /// The requesting client, for the confirm page: "Firefox on Linux".
    pub device: &'a str,
    /// The requesting client's address.
    pub ip: IpAddr,
    /// The network of that address. Links are counted per network.
    pub network: &'a str,
    /// Whether the requesting browser has signed in to the account before.
    pub is_known: bool,
    /// What is linked as well, if the link is used in the right browser.
    pub waiting: Option<&'a WaitingIdentity>,
}

/// An identity that is linked when a mailbox is proved in the browser that brought it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingIdentity {
    /// The identity.
    pub identity: Identity,
    /// Hash of that browser's transaction cookie.
    pub browser_hash: [u8; 32],
}

/// A code and the visitor who typed it.
#[derive(Clone, Copy)]
pub struct VisitorCode {
    /// Hash of the visitor's cookie.
    pub visitor_hash: [u8; 32],
    /// Keyed hash of the code: a plain hash of six digits could be reversed by trial.
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
    /// The id for [`release`], in case the sign-in fails later.
    pub id: Uuid,
    /// The address that the link verifies.
    pub email: Email,
    /// What was to be linked as well.
    pub waiting: Option<WaitingIdentity>,
}

impl ClaimedLink {
    /// The identity to link, if the link was used in the browser that brought it.
    pub fn identity_for(&self, browser_hash: &[u8; 32]) -> Option<&Identity> {
        let waiting = self.waiting.as_ref()?;
        (waiting.browser_hash == *browser_hash).then_some(&waiting.identity)
    }
}

struct ClaimedRow {
    id: Uuid,
    email: Email,
    browser_hash: Option<Vec<u8>>,
    identity_provider: Option<Provider>,
    identity_issuer: Option<String>,
    identity_subject: Option<String>,
}

from_row!(ClaimedRow {
    id,
    email,
    browser_hash,
    identity_provider,
    identity_issuer,
    identity_subject
});

impl ClaimedRow {
    fn into_link(self) -> Result<ClaimedLink, StoreError> {
        let Self { id, email, .. } = self;
        let identity = (self.identity_provider, self.identity_issuer, self.identity_subject);
        let waiting = match (self.browser_hash, identity) {
            (Some(hash), (Some(provider), Some(issuer), Some(subject))) => Some(WaitingIdentity {
                identity: Identity { provider, issuer, subject },
                browser_hash: hash_of(hash)?,
            }),
            _ => None,
        };
        Ok(ClaimedLink { id, email, waiting })
    }
}

/// The details of a valid link, for the confirm page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingLink {
    /// The recipient.
    pub email: Email,
    /// The requesting client: untrusted text, to be escaped.
    pub device: String,
    /// The requesting client's address, for display.
    pub ip: String,
    /// When the link was requested, to the second.
    pub created_at: OffsetDateTime,
    /// When it expires, to the second.
    pub expires_at: OffsetDateTime,
    /// Whether this browser requested it.
    pub is_own: bool,
    /// The provider whose identity it links as well, in this browser.
    pub links: Option<Provider>,
}

from_row!(PendingLink { email, device, ip, created_at, expires_at, is_own, links });

/// A counted attempt with a wrong code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongCode {
    /// The address whose sign-in was attempted.
    pub email: Email,
    /// The number of attempts left; at 0 the code is void.
    pub tries_left: u32,
}

/// The result of a typed code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodeOutcome {
    /// The code was right. It and its link are used up.
    Claimed(ClaimedLink),
    /// The code was wrong. The attempt is counted for each address this visitor has a code for.
    Wrong(Vec<WrongCode>),
    /// This visitor has no valid code: none requested, used, expired or void.
    Nothing,
}

/// Stores a link by the rules above. `false` if rule 3 refuses it, so that it does not work.
/// Removes expired rows.
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
            mailbox, network, is_known, browser_hash, identity_provider, identity_issuer,
            identity_subject)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";
    let end_older = "DELETE FROM magic_links
        WHERE email = $1 AND visitor_hash = $2 AND used_at IS NULL AND id <> $3";
    // Round robin over networks: the newest link of each, then the second of each, and so on.
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
    let identity = link.waiting.map(|waiting| &waiting.identity);
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
            .bind(link.waiting.map(|waiting| &waiting.browser_hash[..]))
            .bind(identity.map(|identity| identity.provider.as_str()))
            .bind(identity.map(|identity| &*identity.issuer))
            .bind(identity.map(|identity| &*identity.subject))
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

/// Claims the link. Of concurrent callers, one succeeds. `None` for a link that is unknown, used,
/// superseded or expired.
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
        RETURNING id, email, browser_hash, identity_provider, identity_issuer, identity_subject";
    let now = Timestamp::from(now);
    let row: Option<ClaimedRow> = on_pool!(db, pool => {
        sqlx::query_as(sql).bind(&token_hash[..]).bind(now).fetch_optional(pool).await
    })
    .await?;
    row.map(ClaimedRow::into_link).transpose()
}

/// Claims the visitor's link that the code belongs to; otherwise counts an attempt for each of
/// their links. With `only_known`, considers only links that a known browser requested.
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

    // The query covers all links of this visitor, so that two tabs with two addresses both work. A
    // code that is right for one of them is not wrong for the others.
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
        // A mail for an identity that waits has no code.
        let (id, email) = (right.id, right.email.clone());
        return Ok(CodeOutcome::Claimed(ClaimedLink { id, email, waiting: None }));
    }
    let wrong = tried.into_iter().map(|Tried { email, wrong_codes, .. }| WrongCode {
        email,
        tries_left: MAX_WRONG_CODES.saturating_sub(wrong_codes.cast_unsigned()),
    });
    let wrong: Vec<_> = wrong.collect();
    Ok(if wrong.is_empty() { CodeOutcome::Nothing } else { CodeOutcome::Wrong(wrong) })
}

/// Makes a claimed link usable again after the session could not be created. `false` if the link
/// was cancelled, or expired and was removed.
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

/// The details for the confirm page; `None` as for [`claim_by_token`]. Changes nothing. The browser
/// is known by its visitor cookie, and by its transaction cookie if it has one.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn peek(
    db: &Database,
    token_hash: &[u8; 32],
    visitor_hash: &[u8; 32],
    browser_hash: Option<&[u8; 32]>,
    now: OffsetDateTime,
) -> Result<Option<PendingLink>, StoreError> {
    let sql = "SELECT email, device, ip, created_at, expires_at,
            COALESCE(visitor_hash = $3, FALSE) OR COALESCE(browser_hash = $4, FALSE) AS is_own,
            CASE WHEN browser_hash = $4 THEN identity_provider END AS links
        FROM magic_links WHERE token_hash = $1 AND used_at IS NULL AND expires_at > $2";
    on_pool!(db, pool => {
        sqlx::query_as(sql)
            .bind(&token_hash[..])
            .bind(Timestamp::from(now))
            .bind(&visitor_hash[..])
            .bind(browser_hash.map(|hash| &hash[..]))
            .fetch_optional(pool)
            .await
    })
    .await
}

/// The recipient of a link, in any state until its row is removed.
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

/// How long the page that waits for a mail may ask after the link has expired.
const TOLD_FOR: Duration = Duration::minutes(10);

/// Why a mail has not been delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailTrouble {
    /// The mail server has not accepted it yet; delivery is retried.
    Delayed,
    /// Delivery is not retried.
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

/// The state of a sign-in by mail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Whether the link was used.
    pub is_used: bool,
    /// Why its mail has not been delivered; `None` without trouble.
    pub mail_trouble: Option<MailTrouble>,
}

from_row!(Progress { is_used, mail_trouble });

/// Stores the delivery trouble of a link's mail; `None` clears it.
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

/// The state of the newest link that this visitor requested. Changes nothing. The mail of a link
/// that has expired meanwhile counts as given up if it was delayed.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn progress(
    db: &Database,
    visitor_hash: &[u8; 32],
    now: OffsetDateTime,
) -> Result<Progress, StoreError> {
    let sql = "SELECT used_at IS NOT NULL AS is_used,
            CASE WHEN expires_at > $2 THEN mail_trouble ELSE 'given_up' END AS mail_trouble
        FROM magic_links
        WHERE visitor_hash = $1
            AND (expires_at > $2 OR (used_at IS NULL AND mail_trouble IS NOT NULL))
        ORDER BY created_at DESC, id LIMIT 1";
    let now = Timestamp::from(now);
    let progress: Option<Progress> = on_pool!(db, pool => {
        sqlx::query_as(sql).bind(&visitor_hash[..]).bind(now).fetch_optional(pool).await
    })
    .await?;
    Ok(progress.unwrap_or_default())
}

/// Voids the unused links of this address, so that none stays usable after a sign-in.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn cancel_outstanding(db: &Database, email: &Email) -> Result<(), StoreError> {
    let sql = "DELETE FROM magic_links WHERE email = $1 AND used_at IS NULL";
    on_pool!(db, pool => sqlx::query(sql).bind(email).execute(pool).await.map(drop)).await
}

/// Voids every link to the user's address, including one that is being redeemed: [`is_claimed`]
/// denies it and [`release`] does not restore it. Returns how many were unused.
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

/// Whether the link is still claimed, not cancelled since.
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

/// Removes expired rows, used or not; returns how many. [`create`] calls it, so that the table
/// holds only rows of the last minutes. Rows with mail trouble stay as long as a page may ask.
///
/// # Errors
///
/// [`StoreError`] as for every store operation.
pub async fn purge_expired(db: &Database, now: OffsetDateTime) -> Result<u64, StoreError> {
    let sql = "DELETE FROM magic_links
        WHERE expires_at <= $1 AND (mail_trouble IS NULL OR expires_at <= $2)";
    let (now, told) = (Timestamp::from(now), Timestamp::from(now - TOLD_FOR));
    on_pool!(db, pool => {
        sqlx::query(sql).bind(now).bind(told).execute(pool).await.map(|done| done.rows_affected())
    })
    .await
}
