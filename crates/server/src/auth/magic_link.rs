//! Sign-in by e-mail: a link that works once in any browser, and a six-digit code that works in the
//! requesting browser.
//!
//! 1. The response and the work are the same whether or not the address has an account.
//! 2. Of the links one browser requested, only the newest works. Requests from other browsers do
//!    not void it. The database keeps hashes only.
//! 3. Opening a link changes nothing. Redeeming it is one atomic step, undone if no session could
//!    be created.
//! 4. A request that sends no mail does the same work as one that does.
//! 5. [`MailLimits`] limits the mails and codes per mailbox; [`CodeBudget`] limits the wrong codes.

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
    VisitorCode, WaitingIdentity, WrongCode,
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

/// The requesting client, for the mail and the confirm page.
#[derive(Debug)]
pub struct Requester<'a> {
    /// Bytes unique to the browser. The code is bound to them; without them the mail contains a
    /// link only.
    pub browser: Option<&'a [u8]>,
    /// The client, as described in the mail.
    pub client: &'a ClientInfo,
    /// What is linked when the mailbox is proved in the browser that brought it.
    pub waiting: Option<&'a WaitingIdentity>,
}

/// A credential from a sign-in mail.
pub struct Credential {
    /// The token or the code.
    pub secret: Secret,
    /// The presenting browser's bytes, see [`Requester::browser`].
    pub browser: Vec<u8>,
    /// What its transaction cookie holds: an identity it brought from a provider is linked.
    pub transaction: Option<String>,
}

/// The secret in a mail.
pub enum Secret {
    /// The token of the link, as pasted.
    Token(String),
    /// The code, as typed. It works only in the requesting browser.
    Code(String),
}

/// Why a credential was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// The credential is wrong, used, superseded or expired.
    #[error("the link or code does not work")]
    Invalid,
    /// The code is wrong, and it is the first wrong code for the latest mails to these addresses.
    #[error("the code is wrong")]
    WrongCode(Vec<Email>),
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl MagicLinks {
    /// Sends links under `base_url` that are valid for `expiry`.
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

    /// Sends a link to `email`, unless the mailbox has reached its limit.
    ///
    /// # Errors
    /// [`ServiceError`] when the database, the limits' store or the mail queue is unavailable.
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
        // A refused request creates a link for a non-existent mailbox, so that the response takes
        // as long.
        let is_sent = decision == MailDecision::Sent;
        let email = if is_sent { email } else { nobody() };
        let token = fresh_token();
        // That link must not use this browser's hash: it would void the browser's valid link.
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
            waiting: requester.waiting.filter(|_| is_sent),
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

    /// The requester of a mail, for the limits.
    async fn mail_requester(
        &self,
        email: &Email,
        network: &str,
        client: &ClientInfo,
    ) -> Result<MailRequester, StoreError> {
        // The query also runs without a token, so that the response takes as long.
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

    /// The limits on mails per mailbox.
    pub fn limits(&self) -> &MailLimits {
        &self.limits
    }

    /// The mailer that sends the links.
    pub fn mailer(&self) -> &Mailer {
        &self.mailer
    }

    /// The link's details for the confirm page in this browser; `None` if it no longer works. The
    /// browser is identified as in [`Credential`].
    ///
    /// # Errors
    /// [`StoreError`] as for every store operation.
    pub async fn peek(
        &self,
        token: &str,
        browser: &[u8],
        transaction: Option<&str>,
        now: OffsetDateTime,
    ) -> Result<Option<PendingLink>, StoreError> {
        let (token, visitor) = (token_hash(pasted(token)), self.visitor_hash(browser));
        let transaction = transaction.map(token_hash);
        magic_links::peek(&self.database, &token, &visitor, transaction.as_ref(), now).await
    }

    /// The recipient of a link, valid or not; `None` if its row has been removed.
    ///
    /// # Errors
    /// [`StoreError`] as for every store operation.
    pub async fn recipient(&self, token: &str) -> Result<Option<Email>, StoreError> {
        magic_links::recipient(&self.database, &token_hash(pasted(token))).await
    }

    /// The state of the sign-in that this browser requested last.
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

    /// Claims a link by its token or code.
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

    /// The key under which the outcome of this credential in its browser is stored.
    pub fn redemption_key(&self, credential: &Credential) -> RedemptionKey {
        let browser_hash = self.visitor_hash(&credential.browser);
        let proof_hash = match &credential.secret {
            Secret::Token(token) => token_hash(pasted(token)),
            Secret::Code(code) => self.key.hash("redemption", digits(code).as_bytes()),
        };
        RedemptionKey { proof_hash, browser_hash }
    }

    /// Makes a claimed link usable again because no session could be created.
    pub async fn release(&self, claimed: &ClaimedLink) {
        if let Err(error) = magic_links::release(&self.database, claimed.id).await {
            tracing::error!(%error, "a link stays used although nobody was signed in");
        }
    }

    /// Lifts the limits on mails after a sign-in.
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

    /// Keyed hash of the browser's bytes, for the database.
    fn visitor_hash(&self, browser: &[u8]) -> [u8; 32] {
        self.key.hash("visitor", browser)
    }
}

/// Stores delivery trouble with each link. If it cannot be stored, the waiting page does not show
/// it.
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

/// A non-existent mailbox: `.invalid` is reserved (RFC 2606).
fn nobody() -> Email {
    Email::parse("nobody@throttled.invalid").expect("this is an address")
}

fn digits(typed: &str) -> String {
    typed.chars().filter(char::is_ascii_digit).collect()
}

/// Six digits, uniformly distributed.
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
