//! Limits on mails and codes per mailbox, across all requesters.
//!
//! 1. A mailbox is an address without its tag; see [`Email::mailbox`].
//! 2. A network is an IPv4 /24 or an IPv6 /48, the most that one customer usually gets.
//! 3. One network can have [`MAILS_PER_NETWORK`] mails in [`MAIL_WINDOW`] sent to a mailbox, and
//!    [`MAILS_PER_NETWORK_AND_DAY`] in a day. So the waiting time grows: none, ten minutes, a day.
//! 4. All networks together can have [`MAILS_PER_DAY`] mails in a day sent to a mailbox.
//! 5. A browser that has signed in to the account before has its own daily limit, counted by its
//!    device. So strangers cannot keep a mail or a code from it.
//! 6. A sign-in by a link resets the counts of its own network or device.
//! 7. All strangers together can have [`CODES_PER_DAY`] codes in a day sent to a mailbox. Later
//!    mails contain a link only, which nobody can guess.
//! 8. Mails that verify an address for an account are counted separately. So no account can use up
//!    another's sign-in mails.
//!
//! Each decision is one call to the limits' store.

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tracera_guard::{ClientAddr, RateLimit, RateLimitError, RateLimiter};
use uuid::Uuid;

use crate::auth::one_time_key::OneTimeKey;
use crate::domain::email::Email;

/// Mails that one network can have sent to one mailbox in [`MAIL_WINDOW`].
pub const MAILS_PER_NETWORK: u32 = 6;
/// The period for [`MAILS_PER_NETWORK`].
pub const MAIL_WINDOW: Duration = Duration::from_mins(10);
/// Mails that one network, or one known device, can have sent to one mailbox in a day.
pub const MAILS_PER_NETWORK_AND_DAY: u32 = 20;
/// Mails that all networks together can have sent to one mailbox in a day.
pub const MAILS_PER_DAY: u32 = MAILS_PER_NETWORK_AND_DAY * NETWORKS;
const NETWORKS: u32 = 5;
/// Codes that all strangers together, or one known device, can have sent to one mailbox in a day.
pub const CODES_PER_DAY: u32 = 10;
/// Verification mails that one user may request, and one mailbox may get, in [`MAIL_WINDOW`].
pub const CONFIRMATIONS: u32 = 5;

const DAY: Duration = Duration::from_hours(24);

/// The limits, kept in the service's rate limit store.
#[derive(Debug, Clone)]
pub struct MailLimits {
    lately: RateLimiter,
    today: RateLimiter,
    codes: RateLimiter,
    confirmations: RateLimiter,
    key: OneTimeKey,
}

/// The requester of a mail, as seen by the limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailRequester {
    /// A browser that has signed in to the account before, by the hash of its device token.
    KnownDevice([u8; 32]),
    /// Any other browser, by its network.
    Stranger(String),
}

/// Whether a mail is sent. It reveals how often mails to the mailbox were requested, but nothing
/// about an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailDecision {
    /// The mail is sent.
    Sent,
    /// The mail is not sent; a request after this time may succeed.
    Later(Duration),
}

/// The network under which a client is counted.
pub fn network_of(ip: IpAddr) -> String {
    ClientAddr::from(ip).network(24, 48)
}

impl MailLimits {
    /// Creates the limiters through `limiter`; `key` hides the addresses in their store.
    pub fn new(key: OneTimeKey, limiter: impl Fn(RateLimit) -> RateLimiter) -> Self {
        Self {
            lately: limiter(RateLimit::new("mail", MAILS_PER_NETWORK, MAIL_WINDOW)),
            today: limiter(RateLimit::new("mail-day", MAILS_PER_NETWORK_AND_DAY, DAY)),
            codes: limiter(RateLimit::new("code", CODES_PER_DAY, DAY)),
            confirmations: limiter(RateLimit::new("confirmation", CONFIRMATIONS, MAIL_WINDOW)),
            key,
        }
    }

    /// Counts a sign-in mail.
    ///
    /// # Errors
    /// [`RateLimitError`] when the limit's store does not answer.
    pub async fn admit(
        &self,
        email: &Email,
        requester: &MailRequester,
    ) -> Result<MailDecision, RateLimitError> {
        let (mailbox, own) = (self.mailbox_key(email), self.own_key(email, requester));
        let budgets = [(&*own, 1), (&*mailbox, NETWORKS)];
        let decision = if let MailRequester::KnownDevice(_) = requester {
            self.today.check(&own).await?
        } else {
            let lately = self.lately.check(&own).await?;
            if lately.allowed { self.today.check_all(&budgets).await? } else { lately }
        };
        if decision.allowed {
            return Ok(MailDecision::Sent);
        }
        tracing::warn!(event = "mail_limited", to = %email.masked(),
            "the mailbox has had its mails for now");
        Ok(MailDecision::Later(decision.reset_after))
    }

    /// Whether a mail contains a code beside its link. A sign-in does not reset this limit, because
    /// guesses count against it.
    ///
    /// # Errors
    /// [`RateLimitError`] when the limit's store does not answer.
    pub async fn admit_code(
        &self,
        email: &Email,
        requester: &MailRequester,
    ) -> Result<bool, RateLimitError> {
        let key = match requester {
            MailRequester::KnownDevice(_) => self.own_key(email, requester),
            MailRequester::Stranger(_) => self.mailbox_key(email),
        };
        Ok(self.codes.check(&key).await?.allowed)
    }

    /// Counts a mail that verifies the address for the user; `false` when either has reached the
    /// limit.
    ///
    /// # Errors
    /// [`RateLimitError`] when the limit's store does not answer.
    pub async fn admit_confirmation(
        &self,
        user: Uuid,
        email: &Email,
    ) -> Result<bool, RateLimitError> {
        // The user's limit comes first: a refusal there does not count against the mailbox.
        for key in [self.user_key(user), self.mailbox_key(email)] {
            if !self.confirmations.check(&key).await?.allowed {
                let to = email.masked();
                tracing::warn!(event = "mail_limited", %user, %to,
                    "no more mails to confirm an address for now");
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Resets the counts of one network or device for the address, after a sign-in by one of its
    /// mails.
    ///
    /// # Errors
    /// [`RateLimitError`] when the limit's store does not answer.
    pub async fn forgive(
        &self,
        email: &Email,
        requester: &MailRequester,
    ) -> Result<(), RateLimitError> {
        let own = self.own_key(email, requester);
        self.lately.forget(&own).await?;
        self.today.forget(&own).await
    }

    /// Resets the counts of the user and their address when the account is deleted.
    ///
    /// # Errors
    /// [`RateLimitError`] when the limit's store does not answer.
    pub async fn forget(&self, user: Uuid, email: Option<&Email>) -> Result<(), RateLimitError> {
        self.confirmations.forget(&self.user_key(user)).await?;
        let Some(email) = email else { return Ok(()) };
        let key = self.mailbox_key(email);
        for limiter in [&self.today, &self.confirmations, &self.codes] {
            limiter.forget(&key).await?;
        }
        Ok(())
    }

    fn user_key(&self, user: Uuid) -> String {
        self.hidden("user", user.as_bytes())
    }

    /// The braces put all keys of a mailbox into one Redis Cluster slot.
    fn mailbox_key(&self, email: &Email) -> String {
        format!("{{{}}}", self.hidden("mailbox", email.mailbox().as_bytes()))
    }

    fn own_key(&self, email: &Email, requester: &MailRequester) -> String {
        let own = match requester {
            MailRequester::KnownDevice(hash) => self.hidden("device", hash),
            MailRequester::Stranger(network) => self.hidden("network", network.as_bytes()),
        };
        self.mailbox_key(email) + &own
    }

    fn hidden(&self, purpose: &str, message: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(self.key.hash(purpose, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> MailLimits {
        MailLimits::new(OneTimeKey::new([7; 32]), RateLimiter::in_memory)
    }

    async fn mails(limits: &MailLimits, to: &str, requester: &MailRequester, times: u32) -> usize {
        let mut sent = 0;
        for _ in 0..times {
            let decision = limits.admit(&Email::parse(to).unwrap(), requester).await.unwrap();
            sent += usize::from(decision == MailDecision::Sent);
        }
        sent
    }

    fn stranger(third_octet: u8) -> MailRequester {
        MailRequester::Stranger(network_of(IpAddr::from([198, 51, third_octet, 7])))
    }

    #[tokio::test]
    async fn a_tag_or_another_address_of_the_network_buys_no_more_mails() {
        let limits = limits();
        let mut sent = 0;
        for n in 0..20 {
            let requester =
                MailRequester::Stranger(network_of(format!("2001:db8:1:{n}::1").parse().unwrap()));
            sent += mails(&limits, &format!("victim+{n}@example.com"), &requester, 1).await;
        }
        assert_eq!(sent, 6);
        assert_eq!(mails(&limits, "victim@example.com", &stranger(1), 1).await, 1);
        assert_eq!(mails(&limits, "other@example.com", &stranger(1), 1).await, 1);
    }

    #[tokio::test]
    async fn all_strangers_together_send_a_hundred_mails_a_day_and_a_known_device_is_exempt() {
        let limits = limits();
        let mut sent = 0;
        for network in 0..40 {
            sent += mails(&limits, "victim@example.com", &stranger(network), 20).await;
        }
        assert_eq!(sent, usize::try_from(MAILS_PER_DAY).unwrap());
        let known = MailRequester::KnownDevice([1; 32]);
        assert_eq!(mails(&limits, "victim@example.com", &known, 30).await, 20);
        let (email, known) = (Email::parse("victim@example.com").unwrap(), known);
        for _ in 0..30 {
            limits.admit_code(&email, &stranger(1)).await.unwrap();
        }
        assert!(!limits.admit_code(&email, &stranger(2)).await.unwrap());
        assert!(limits.admit_code(&email, &known).await.unwrap());
    }

    #[tokio::test]
    async fn who_signs_in_gets_mails_again_and_others_do_not() {
        let limits = limits();
        let (own, other) = (stranger(1), stranger(2));
        for requester in [&own, &other] {
            assert_eq!(mails(&limits, "a@example.com", requester, 10).await, 6);
        }
        limits.forgive(&Email::parse("a@example.com").unwrap(), &own).await.unwrap();
        assert_eq!(mails(&limits, "a@example.com", &own, 10).await, 6);
        assert_eq!(mails(&limits, "a@example.com", &other, 10).await, 0);
    }
}
