//! Sign-in by e-mail: a link that works once, anywhere, and a six-digit code that works in the
//! browser that asked.
//!
//! 1. Asking answers the same, and does the same work, whether or not the address is known.
//! 2. Of the links one browser asked for, the newest works. Requests of other browsers do not end
//!    it. The database has hashes only.
//! 3. Looking at a link changes nothing; redeeming it is one atomic step, undone if no session
//!    could be made.
//! 4. An address that gets no mail costs the same work as one that does.
//! 5. How many mails and codes a mailbox gets is decided by [`MailLimits`], and how many wrong
//!    codes are taken by [`CodeBudget`].

use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::mpsc::UnboundedReceiver;
use tracera_guard::RateLimitError;
use url::Url;

use crate::auth::client::ClientInfo;
use crate::auth::code_budget::CodeBudget;
use crate::auth::mail_limits::{MailDecision, MailLimits, MailRequester, network_of};
use crate::auth::one_time_key::OneTimeKey;
use crate::auth::service_error::ServiceError;
use crate::auth::token::{fresh_token, pasted, token_hash};
use crate::domain::email::Email;
use crate::mail::troubles::Told;
use crate::mail::{Mailer, Origin, SignInMail};
use crate::store::magic_links::{
    self, ClaimedLink, CodeOutcome, MAX_WRONG_CODES, NewMagicLink, PendingLink, Progress,
    VisitorCode, WrongCode,
};
use crate::store::redemptions::RedemptionKey;
use crate::store::{Database, StoreError, events};
use crate::telemetry::metrics;

/// Sends links and redeems them.
#[derive(Debug, Clone)]
pub struct MagicLinks {
    database: Database,
    mailer: Mailer,
    limits: MailLimits,
    budget: CodeBudget,
    key: OneTimeKey,
    verify_url: Url,
    expiry: Duration,
}

/// Who asks for a link, for the mail and the confirm page.
#[derive(Debug)]
pub struct Requester<'a> {
    /// Bytes unique to the browser, to which the code is bound. Without them the mail has a link
    /// only.
    pub browser: Option<&'a [u8]>,
    /// The client, as the mail names it.
    pub client: &'a ClientInfo,
}

/// What somebody presents to sign in.
pub struct Credential {
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
    /// Links under `base_url` that live for `expiry`.
    pub fn new(
        database: Database,
        mailer: Mailer,
        (limits, budget): (MailLimits, CodeBudget),
        key: OneTimeKey,
        base_url: &Url,
        expiry: Duration,
    ) -> Self {
        let mut verify_url = base_url.clone();
        verify_url.set_path("/api/v1/auth/magic/verify");
        tokio::spawn(note_troubles(database.clone(), mailer.troubles()));
        Self { database, mailer, limits, budget, key, verify_url, expiry }
    }

    /// Sends a link to `email`, unless the mailbox has had its share.
    ///
    /// # Errors
    /// [`ServiceError`] when the database, the limit's store or the mail queue cannot take it.
    pub async fn request(
        &self,
        email: Email,
        requester: &Requester<'_>,
        now: OffsetDateTime,
    ) -> Result<MailDecision, ServiceError> {
        let network = network_of(requester.client.ip);
        let mail_requester = self.mail_requester(&email, &network, requester.client).await?;
        let is_known = matches!(mail_requester, MailRequester::KnownDevice(_));
        let place = self.mailer.reserve(&email, &Origin { network: &network, is_known })?;
        let mut decision = self.limits.admit(&email, &mail_requester).await?;
        // What a mailbox gets that has had its share is made for nobody, so that the answer takes
        // as long.
        let is_sent = decision == MailDecision::Sent;
        let email = if is_sent { email } else { nobody() };
        let token = fresh_token();
        // Nobody's link is in no browser: in this one it would void the one it has.
        let browser =
            requester.browser.map(|browser| if is_sent { browser } else { token.as_bytes() });
        let may_have_code = self.may_have_code(&email, &mail_requester, &network, now).await?;
        let code = browser.filter(|_| may_have_code || !is_sent).map(|_| fresh_code());
        let ClientInfo { client, ip, .. } = requester.client;
        let (device, ip) = (client.phrase(), *ip);
        let link = NewMagicLink {
            email: &email,
            token_hash: token_hash(&token),
            visitor_hash: browser.map(|browser| self.visitor_hash(browser)),
            code_hash: code.as_deref().map(|code| self.code_hash(code)),
            expires_at: now + self.expiry,
            device: &device,
            ip,
            network: &network,
            is_known,
        };
        if !magic_links::create(&self.database, &link, now).await? && is_sent {
            let to = email.masked();
            tracing::warn!(event = "mail_limited", %to, "the mailbox has too many links that work");
            decision = MailDecision::Later(self.expiry);
        }
        let mut url = self.verify_url.clone();
        url.query_pairs_mut().append_pair("token", &token);
        let mail = SignInMail {
            to: &email,
            link: &url,
            code: code.as_deref().unwrap_or_default(),
            valid_for: self.expiry,
            requested_at: now,
            device: &device,
            ip,
        };
        if decision == MailDecision::Sent {
            place.send(&mail).await?;
            tracing::info!(event = "link_sent", "queued a sign-in mail");
        } else {
            place.discard(&mail).await?;
        }
        Ok(decision)
    }

    /// By whom a mail to the address is asked for.
    async fn mail_requester(
        &self,
        email: &Email,
        network: &str,
        client: &ClientInfo,
    ) -> Result<MailRequester, StoreError> {
        // Asked also without a token, so that the answer takes as long.
        let device = token_hash(client.device_token.as_deref().unwrap_or_default());
        let is_known = events::is_known_device(&self.database, email, &device).await?;
        Ok(if is_known {
            MailRequester::KnownDevice(device)
        } else {
            MailRequester::Stranger(network.to_owned())
        })
    }

    async fn may_have_code(
        &self,
        email: &Email,
        mail_requester: &MailRequester,
        network: &str,
        now: OffsetDateTime,
    ) -> Result<bool, RateLimitError> {
        let is_stranger = matches!(mail_requester, MailRequester::Stranger(_));
        if is_stranger && self.budget.is_spent(network, now) {
            return Ok(false);
        }
        let admitted = self.limits.admit_code(email, mail_requester).await?;
        if !admitted {
            let to = email.masked();
            tracing::warn!(event = "code_limited", %to, "the mailbox has had its codes for today");
        }
        Ok(admitted)
    }

    /// What decides how many mails a mailbox gets.
    pub fn limits(&self) -> &MailLimits {
        &self.limits
    }

    /// Where the mails go.
    pub fn mailer(&self) -> &Mailer {
        &self.mailer
    }

    /// What the confirm page shows of a link to this browser; `None` when it no longer works.
    ///
    /// # Errors
    /// [`StoreError`] as for every store operation.
    pub async fn peek(
        &self,
        token: &str,
        browser: &[u8],
        now: OffsetDateTime,
    ) -> Result<Option<PendingLink>, StoreError> {
        let (token, visitor) = (token_hash(pasted(token)), self.visitor_hash(browser));
        magic_links::peek(&self.database, &token, &visitor, now).await
    }

    /// To whom a link was mailed, whether it still works or not; `None` if it is not known any
    /// more.
    ///
    /// # Errors
    /// [`StoreError`] as for every store operation.
    pub async fn recipient(&self, token: &str) -> Result<Option<Email>, StoreError> {
        magic_links::recipient(&self.database, &token_hash(pasted(token))).await
    }

    /// How far the sign-in is for which this browser asked for a link last.
    ///
    /// # Errors
    /// [`StoreError`] as for every store operation.
    pub async fn progress(
        &self,
        browser: &[u8],
        now: OffsetDateTime,
    ) -> Result<Progress, StoreError> {
        magic_links::progress(&self.database, &self.visitor_hash(browser), now).await
    }

    /// Uses a link up.
    ///
    /// # Errors
    /// [`ClaimError`], which does not distinguish wrong, used, superseded and expired.
    pub async fn claim(
        &self,
        credential: &Credential,
        client: &ClientInfo,
        now: OffsetDateTime,
    ) -> Result<ClaimedLink, ClaimError> {
        let network = network_of(client.ip);
        let claimed = match &credential.secret {
            Secret::Token(token) => {
                magic_links::claim_by_token(&self.database, &token_hash(pasted(token)), now).await?
            }
            Secret::Code(code) => {
                let code = VisitorCode {
                    visitor_hash: self.visitor_hash(&credential.browser),
                    code_hash: self.code_hash(&digits(code)),
                };
                let only_known = self.budget.is_spent(&network, now);
                match magic_links::claim_by_code(&self.database, &code, only_known, now).await? {
                    CodeOutcome::Claimed(link) => Some(link),
                    CodeOutcome::Wrong(tries) => {
                        self.budget.count(&network, now).await;
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
        if let Err(error) = self.forgive(&claimed.email, &network, client).await {
            tracing::warn!(%error, "the mailbox's count of mails stays as it is");
        }
        Ok(claimed)
    }

    /// What a redemption of this credential by its browser is known by.
    pub fn redemption_key(&self, credential: &Credential) -> RedemptionKey {
        let browser_hash = self.visitor_hash(&credential.browser);
        let proof_hash = match &credential.secret {
            Secret::Token(token) => token_hash(pasted(token)),
            Secret::Code(code) => self.key.hash("redemption", digits(code).as_bytes()),
        };
        RedemptionKey { proof_hash, browser_hash }
    }

    /// Gives a claimed link back because no session could be made of it.
    pub async fn release(&self, claimed: &ClaimedLink) {
        if let Err(error) = magic_links::release(&self.database, claimed.id).await {
            tracing::error!(%error, "a link stays used although nobody was signed in");
        }
    }

    /// After a sign-in the next mail may be requested at once.
    async fn forgive(
        &self,
        email: &Email,
        network: &str,
        client: &ClientInfo,
    ) -> Result<(), ServiceError> {
        let mail_requester = self.mail_requester(email, network, client).await?;
        self.limits.forgive(email, &MailRequester::Stranger(network.to_owned())).await?;
        if let MailRequester::KnownDevice(_) = mail_requester {
            self.limits.forgive(email, &mail_requester).await?;
        }
        Ok(())
    }

    fn code_hash(&self, code: &str) -> [u8; 32] {
        self.key.hash("code", code.as_bytes())
    }

    /// What the database knows the asking browser by.
    fn visitor_hash(&self, browser: &[u8]) -> [u8; 32] {
        self.key.hash("visitor", browser)
    }
}

/// Keeps with each link what keeps its mail from leaving. What cannot be kept is told of by nobody,
/// and the page goes on waiting.
async fn note_troubles(database: Database, mut troubles: UnboundedReceiver<Told>) {
    while let Some(Told { link, trouble }) = troubles.recv().await {
        let link = Url::parse(&link).ok();
        let token = link.as_ref().and_then(|link| {
            link.query_pairs().find(|(name, _)| name == "token").map(|(_, token)| token)
        });
        let Some(token) = token else { continue };
        let noted = magic_links::note_mail(&database, &token_hash(&*token), trouble).await;
        if let Err(error) = noted {
            tracing::warn!(%error, "the page that waits for a mail is not told what became of it");
        }
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
