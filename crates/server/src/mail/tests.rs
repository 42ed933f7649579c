//! Tests mail with a real mail server and a fake HTTP service, and checks the log.

use std::net::Ipv4Addr;
use std::time::Duration;

use time::OffsetDateTime;
use time::macros::datetime;
use tracera_testkit::CapturedLog;
use tracing::level_filters::LevelFilter;
use url::Url;

use super::delivery::Limits;
use super::message::Message;
use super::resend::ResendTransport;
use super::{MailError, Mailer, Origin, SignInMail, Transport};
use crate::backoff::Backoff;
use crate::config::{ResendSettings, ServiceUrl};
use crate::domain::email::Email;

mod outbox;
mod queue;
mod resend;
mod smtp;

const NOW: OffsetDateTime = datetime!(2026-05-01 12:34:56 UTC);
const CODE: &str = "031415";
const TOKEN: &str = "canary-token";
/// Longer than any step of the tests.
const LONG: Duration = Duration::from_secs(20);

/// The values that a [`SignInMail`] borrows.
struct Parts {
    to: Email,
    link: Url,
}

impl Parts {
    fn of(to: &str) -> Self {
        let link = format!("https://tracera.example/api/v1/auth/magic/verify?token={TOKEN}&x=1");
        Self { to: Email::parse(to).unwrap(), link: link.parse().unwrap() }
    }

    fn mail(&self) -> SignInMail<'_> {
        SignInMail {
            to: &self.to,
            link: &self.link,
            code: CODE,
            valid_for: Duration::from_mins(10),
            requested_at: NOW,
            device: "Firefox on Linux",
            ip: Ipv4Addr::new(192, 0, 2, 7).into(),
        }
    }
}

fn sender() -> lettre::message::Mailbox {
    "Tracera <sign-in@tracera.example>".parse().unwrap()
}

/// Resend at another URL.
fn resend_at(url: &str) -> Transport {
    let settings = ResendSettings {
        api_key: "canary-key".into(),
        api_url: ServiceUrl::loopback(url),
        from: sender(),
    };
    Transport::Resend(ResendTransport::new(&settings, &quick()).unwrap())
}

/// The default limits with short waits.
fn quick() -> Limits {
    let wait = Duration::from_millis(10);
    Limits { waits: Backoff { first: wait, factor: 1, longest: wait }, ..Limits::default() }
}

/// Accepts a mail requested by a stranger.
fn take_in(mailer: &Mailer, mail: &SignInMail<'_>) -> Result<(), MailError> {
    let origin = Origin { network: "192.0.2.0/24", is_known: false };
    mailer.reserve(mail.to, &origin).map(|place| place.enqueue(Message::compose(mail)))
}

/// Sends one mail and waits until it is sent or given up.
async fn send_one(transport: Transport, limits: Limits) {
    send_one_within(transport, limits, Duration::from_mins(10)).await;
}

/// As [`send_one`], for a link with this lifetime.
async fn send_one_within(transport: Transport, limits: Limits, valid_for: Duration) {
    let mailer = Mailer::with(transport, limits, None);
    let parts = Parts::of("alice@example.com");
    take_in(&mailer, &SignInMail { valid_for, ..parts.mail() }).unwrap();
    assert_eq!(mailer.shutdown(LONG).await, 0, "every mail is done with");
}

/// Captures everything logged on this thread, at the finest level.
struct Log(CapturedLog);

impl Log {
    fn capture() -> Self {
        Self(CapturedLog::at(LevelFilter::TRACE))
    }

    /// The log so far. Fails if it contains a secret.
    fn text(&self) -> String {
        let text = self.0.text();
        for secret in ["alice@", TOKEN, CODE, "canary", "Y2FuYXJ5", "Sign in to Tracera"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        text
    }
}
