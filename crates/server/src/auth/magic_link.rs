//! Sign-in by e-mail: a link that works once, anywhere, and a six-digit code that works in the
//! browser that asked.
//!
//! 1. Asking answers the same, and does the same work, whether or not the address is known.
//! 2. The newest link of an address is the one that works. The database knows hashes only.
//! 3. Looking at a link changes nothing; redeeming it is one atomic step, undone if no session
//!    could be made.
//! 4. An address that gets no mail costs the same work as one that does.
//! 5. An address gets at most [`MAILS_PER_ADDRESS`] mails in [`MAIL_WINDOW`], whoever asks; a mail
//!    sent before that stays good, and no other way in is touched. Redeeming a link clears the
//!    count. Mails that confirm an address for an account are counted apart, so that nobody's
//!    account can use up another's sign-in mails.
//! 6. An address gets at most [`CODES_PER_ADDRESS`] codes in [`CODE_WINDOW`], five guesses each;
//!    then its mails bring a link only, which nobody can guess.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use time::OffsetDateTime;
use tracera_guard::{RateLimit, RateLimitError, RateLimiter};
use url::Url;
use uuid::Uuid;

use crate::auth::client::ClientInfo;
use crate::auth::service_error::ServiceError;
use crate::auth::token::{fresh_token, pasted, token_hash};
use crate::domain::email::Email;
use crate::mail::{Mailer, SignInMail};
use crate::store::magic_links::{
    self, ClaimedLink, CodeOutcome, MAX_WRONG_CODES, NewMagicLink, PendingLink, VisitorCode,
    WrongCode,
};
use crate::store::redemptions::RedemptionKey;
use crate::store::{Database, StoreError};
use crate::telemetry::metrics;

/// How many mails one address gets in [`MAIL_WINDOW`] without signing in.
pub const MAILS_PER_ADDRESS: u32 = 5;
/// See [`MAILS_PER_ADDRESS`].
pub const MAIL_WINDOW: Duration = Duration::from_mins(10);
/// How many mails that confirm an address one user may ask for, and one address gets, in
/// [`MAIL_WINDOW`].
pub const CONFIRMATIONS: u32 = 5;
/// How many codes one address gets in [`CODE_WINDOW`].
pub const CODES_PER_ADDRESS: u32 = 10;
/// See [`CODES_PER_ADDRESS`].
pub const CODE_WINDOW: Duration = Duration::from_hours(24);

/// Sends links and redeems them.
#[derive(Debug, Clone)]
pub struct MagicLinks {
    database: Database,
    mailer: Mailer,
    per_address: RateLimiter,
    confirmations: RateLimiter,
    codes: RateLimiter,
    key: Key,
    verify_url: Url,
    expiry: Duration,
}

/// Keys the hashes of codes and addresses. Prints nothing.
#[derive(Clone)]
struct Key([u8; 32]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// The limits on mails, in whichever store the service keeps limits.
#[derive(Debug, Clone)]
pub struct MailLimits {
    per_address: RateLimiter,
    confirmations: RateLimiter,
    codes: RateLimiter,
}

impl MailLimits {
    /// With limiters that `limiter` makes.
    pub fn new(limiter: impl Fn(RateLimit) -> RateLimiter) -> Self {
        Self {
            per_address: limiter(RateLimit::new("mail", MAILS_PER_ADDRESS, MAIL_WINDOW)),
            confirmations: limiter(RateLimit::new("confirmation", CONFIRMATIONS, MAIL_WINDOW)),
            codes: limiter(RateLimit::new("code", CODES_PER_ADDRESS, CODE_WINDOW)),
        }
    }
}

/// Who asks for a link, for the mail and the confirm page.
#[derive(Debug)]
pub struct Requester<'a> {
    /// What the code will be bound to: bytes that no other browser has. Without it the mail brings
    /// a link only.
    pub browser: Option<&'a [u8]>,
    /// The client, as the mail names it.
    pub client: &'a ClientInfo,
}

/// What somebody presents to sign in.
pub struct Proof {
    /// The token or the code.
    pub secret: Secret,
    /// The browser that presents it, see [`Requester::browser`].
    pub browser: Vec<u8>,
}

/// What a mail brings.
pub enum Secret {
    /// The token of the link, as it was pasted.
    Token(String),
    /// The code, as it was typed. It works in the browser that asked.
    Code(String),
}

/// Why nothing was claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// It is wrong, used, superseded or expired.
    #[error("the link or code does not work")]
    Invalid,
    /// The same, and it is the first wrong code since these addresses were sent one.
    #[error("the code is wrong")]
    WrongCode(Vec<Email>),
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl MagicLinks {
    /// Links under `base_url` that live for `expiry`; `key` is used for nothing else.
    pub fn new(
        database: Database,
        mailer: Mailer,
        limits: MailLimits,
        key: [u8; 32],
        base_url: &Url,
        expiry: Duration,
    ) -> Self {
        let mut verify_url = base_url.clone();
        verify_url.set_path("/api/v1/auth/magic/verify");
        let MailLimits { per_address, confirmations, codes } = limits;
        Self {
            database,
            mailer,
            per_address,
            confirmations,
            codes,
            key: Key(key),
            verify_url,
            expiry,
        }
    }

    /// Sends a link to `email`, unless the address has had its share.
    ///
    /// # Errors
    /// [`ServiceError`] when the database, the limit's store or the mail queue cannot take it.
    pub async fn request(
        &self,
        email: Email,
        requester: &Requester<'_>,
        now: OffsetDateTime,
    ) -> Result<(), ServiceError> {
        let place = self.mailer.reserve()?;
        let may_mail = self.may_mail(&email).await?;
        // What an address gets that has had its share is made for nobody, so that the answer takes
        // as long.
        let email = if may_mail { email } else { nobody() };
        let token = fresh_token();
        let code = match requester.browser {
            Some(browser) if self.may_have_code(&email).await? => Some((fresh_code(), browser)),
            _ => None,
        };
        let ClientInfo { client, ip, .. } = requester.client;
        let (device, ip) = (client.phrase(), *ip);
        let link = NewMagicLink {
            email: &email,
            token_hash: token_hash(&token),
            // Nobody's would void the one this visitor has.
            code: code
                .as_ref()
                .filter(|_| may_mail)
                .map(|(code, browser)| self.visitor_code(code, browser)),
            expires_at: now + self.expiry,
            device: &device,
            ip,
        };
        magic_links::create(&self.database, &link, now).await?;
        let mut url = self.verify_url.clone();
        url.query_pairs_mut().append_pair("token", &token);
        let mail = SignInMail {
            to: &email,
            link: &url,
            code: code.as_ref().map_or("", |(code, _)| code),
            valid_for: self.expiry,
            requested_at: now,
            device: &device,
            ip,
        };
        if may_mail {
            if requester.browser.is_some() && code.is_none() {
                let to = mail.to.masked();
                tracing::warn!(event = "code_limited", %to,
                    "the address has had its codes for today");
            }
            place.send(&mail);
            tracing::info!(event = "link_sent", "queued a sign-in mail");
        } else {
            place.discard(&mail);
        }
        Ok(())
    }

    /// Counts a mail that confirms the address for the user; `false` when either has had its share.
    ///
    /// # Errors
    /// [`RateLimitError`] when the limit's store does not answer.
    pub async fn may_confirm(&self, user: Uuid, email: &Email) -> Result<bool, RateLimitError> {
        // The user first: who has had their share takes nothing from the address.
        for key in [self.user_key(user), self.address_key(email)] {
            if !self.confirmations.check(&key).await?.allowed {
                let to = email.masked();
                tracing::warn!(event = "mail_limited", %user, %to,
                    "no more mails to confirm an address for now");
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Counts a sign-in mail to the address; `false` when it has had its share.
    async fn may_mail(&self, email: &Email) -> Result<bool, RateLimitError> {
        let decision = self.per_address.check(&self.address_key(email)).await?;
        if !decision.allowed {
            tracing::warn!(event = "mail_limited", to = %email.masked(),
                "the address has had its mails for now");
        }
        Ok(decision.allowed)
    }

    /// Where the mails go.
    pub fn mailer(&self) -> &Mailer {
        &self.mailer
    }

    /// What the confirm page shows of a link; `None` when it no longer works.
    ///
    /// # Errors
    /// [`StoreError`] as for every store operation.
    pub async fn peek(
        &self,
        token: &str,
        now: OffsetDateTime,
    ) -> Result<Option<PendingLink>, StoreError> {
        magic_links::peek(&self.database, &token_hash(pasted(token)), now).await
    }

    /// To whom a link was mailed, whether it still works or not; `None` if it is not known any
    /// more.
    ///
    /// # Errors
    /// [`StoreError`] as for every store operation.
    pub async fn recipient(&self, token: &str) -> Result<Option<Email>, StoreError> {
        magic_links::recipient(&self.database, &token_hash(pasted(token))).await
    }

    /// Whether the newest link this browser asked for was used, wherever.
    ///
    /// # Errors
    /// [`StoreError`] as for every store operation.
    pub async fn is_used(&self, browser: &[u8], now: OffsetDateTime) -> Result<bool, StoreError> {
        magic_links::is_used(&self.database, &self.visitor_hash(browser), now).await
    }

    /// Uses a link up.
    ///
    /// # Errors
    /// [`ClaimError`], which does not tell wrong, used, superseded and expired apart.
    pub async fn claim(
        &self,
        proof: &Proof,
        now: OffsetDateTime,
    ) -> Result<ClaimedLink, ClaimError> {
        let claimed = match &proof.secret {
            Secret::Token(token) => {
                magic_links::claim_by_token(&self.database, &token_hash(pasted(token)), now).await?
            }
            Secret::Code(code) => {
                let code = self.visitor_code(&digits(code), &proof.browser);
                match magic_links::claim_by_code(&self.database, &code, now).await? {
                    CodeOutcome::Claimed(link) => Some(link),
                    CodeOutcome::Wrong(tries) => {
                        tracing::warn!(
                            event = "sign_in_failed",
                            method = "email",
                            "a code was wrong"
                        );
                        metrics::tried_to_sign_in("email", "failed");
                        let first = |tried: &WrongCode| tried.tries_left == MAX_WRONG_CODES - 1;
                        let first = tries.into_iter().filter(first).map(|tried| tried.email);
                        return Err(ClaimError::WrongCode(first.collect()));
                    }
                    CodeOutcome::Nothing => None,
                }
            }
        };
        let Some(claimed) = claimed else {
            tracing::warn!(
                event = "sign_in_failed",
                method = "email",
                "a link or code did not work"
            );
            metrics::tried_to_sign_in("email", "failed");
            return Err(ClaimError::Invalid);
        };
        if let Err(error) = self.per_address.forget(&self.address_key(&claimed.email)).await {
            tracing::warn!(%error, "the address's mail count stays as it is");
        }
        Ok(claimed)
    }

    /// What a redemption of this proof by its browser is known by.
    pub fn redemption_key(&self, proof: &Proof) -> RedemptionKey {
        let browser_hash = self.visitor_hash(&proof.browser);
        let proof_hash = match &proof.secret {
            Secret::Token(token) => token_hash(pasted(token)),
            Secret::Code(code) => self.keyed("redemption", digits(code).as_bytes()),
        };
        RedemptionKey { proof_hash, browser_hash }
    }

    /// Gives a claimed link back because no session could be made of it.
    pub async fn release(&self, claimed: &ClaimedLink) {
        if let Err(error) = magic_links::release(&self.database, claimed.id).await {
            tracing::error!(%error, "a link stays used although nobody was signed in");
        }
    }

    /// Whether the address gets a code with its link. What a guesser used up is not given back by a
    /// sign-in.
    async fn may_have_code(&self, email: &Email) -> Result<bool, RateLimitError> {
        Ok(self.codes.check(&self.address_key(email)).await?.allowed)
    }

    fn visitor_code(&self, code: &str, browser: &[u8]) -> VisitorCode {
        VisitorCode {
            visitor_hash: self.visitor_hash(browser),
            code_hash: self.keyed("code", code.as_bytes()),
        }
    }

    /// What the database knows the asking browser by.
    fn visitor_hash(&self, browser: &[u8]) -> [u8; 32] {
        self.keyed("visitor", browser)
    }

    /// Forgets how many mails and codes the user and their address have had, when the account goes.
    ///
    /// # Errors
    /// [`RateLimitError`] when the limit's store does not answer.
    pub async fn forget(&self, user: Uuid, email: Option<&Email>) -> Result<(), RateLimitError> {
        self.confirmations.forget(&self.user_key(user)).await?;
        let Some(email) = email else { return Ok(()) };
        let key = self.address_key(email);
        for limiter in [&self.per_address, &self.confirmations, &self.codes] {
            limiter.forget(&key).await?;
        }
        Ok(())
    }

    fn user_key(&self, user: Uuid) -> String {
        URL_SAFE_NO_PAD.encode(self.keyed("user", user.as_bytes()))
    }

    fn address_key(&self, email: &Email) -> String {
        URL_SAFE_NO_PAD.encode(self.keyed("address", email.as_str().as_bytes()))
    }

    fn keyed(&self, purpose: &str, message: &[u8]) -> [u8; 32] {
        Hmac::<Sha256>::new_from_slice(&self.key.0)
            .expect("HMAC takes keys of any length")
            .chain_update(purpose)
            .chain_update([0])
            .chain_update(message)
            .finalize()
            .into_bytes()
            .into()
    }
}

/// No mailbox: `.invalid` is reserved for that.
fn nobody() -> Email {
    Email::parse("nobody@throttled.invalid").expect("this is an address")
}

fn digits(typed: &str) -> String {
    typed.chars().filter(char::is_ascii_digit).collect()
}

/// Six digits, each number as likely as any other.
fn fresh_code() -> String {
    const CODES: u32 = 1_000_000;
    loop {
        let mut bytes = [0; 4];
        getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
        let number = u32::from_be_bytes(bytes);
        if number < u32::MAX - u32::MAX % CODES {
            return format!("{:06}", number % CODES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_six_digits() {
        for _ in 0..1000 {
            let code = fresh_code();
            assert!(code.len() == 6 && code.bytes().all(|digit| digit.is_ascii_digit()), "{code}");
        }
    }
}
