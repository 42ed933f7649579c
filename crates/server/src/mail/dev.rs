//! Prints mails on the terminal and keeps them in memory, for `tracera dev`. Nothing leaves the
//! machine.
//!
//! The mailbox page requires a key that only the terminal shows. So a proxy or tunnel in front of
//! the service exposes no mail.

use std::collections::VecDeque;
use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use subtle::ConstantTimeEq;
use time::OffsetDateTime;
use uuid::Uuid;

use super::message::Message;
use crate::domain::email::Email;

/// Maximum number of mails kept.
const CAPACITY: usize = 50;

/// The last 50 mails. Cheap to clone; clones share the mailbox.
#[derive(Clone)]
pub struct Mailbox(Arc<Inner>);

struct Inner {
    /// 122 random bits in hexadecimal.
    key: String,
    mails: Mutex<VecDeque<DevMail>>,
}

/// A printed mail. `Debug` shows neither link nor code.
#[derive(Clone)]
pub struct DevMail {
    /// The recipient.
    pub to: Email,
    /// The subject line.
    pub subject: String,
    /// The text part.
    pub text: String,
    /// The HTML part.
    pub html: String,
    /// The sign-in link, or the link of a notice.
    pub link: String,
    /// The sign-in code; empty in a notice.
    pub code: String,
    /// When it was requested.
    pub requested_at: OffsetDateTime,
}

impl Mailbox {
    /// An empty mailbox with a fresh key.
    pub(super) fn new() -> Self {
        let key = Uuid::new_v4().simple().to_string();
        Self(Arc::new(Inner { key, mails: Mutex::default() }))
    }

    /// The key to the mailbox page, for the operator's terminal.
    pub fn key(&self) -> &str {
        &self.0.key
    }

    /// Whether the text is the key, compared in constant time.
    pub fn opens(&self, key: &str) -> bool {
        key.as_bytes().ct_eq(self.0.key.as_bytes()).into()
    }

    /// The mails, newest first.
    pub fn messages(&self) -> Vec<DevMail> {
        let mails = self.0.mails.lock().unwrap_or_else(PoisonError::into_inner);
        mails.iter().cloned().collect()
    }

    pub(super) fn deliver(&self, message: &Message) {
        // A failure to print is ignored: the mailbox has the mail too.
        let code = if message.code.is_empty() {
            String::new()
        } else {
            format!("    code  {}\n", message.code)
        };
        let (to, subject, link) = (&message.to, &message.subject, &message.link);
        let _ =
            writeln!(std::io::stdout(), "\n  Mail to {to}: {subject}\n    link  {link}\n{code}");
        let mut mails = self.0.mails.lock().unwrap_or_else(PoisonError::into_inner);
        mails.truncate(CAPACITY - 1);
        mails.push_front(DevMail {
            to: message.to.clone(),
            subject: message.subject.clone(),
            text: message.text.clone(),
            html: message.html.clone(),
            link: message.link.clone(),
            code: message.code.clone(),
            requested_at: message.requested_at,
        });
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mailbox").field(&self.messages()).finish()
    }
}

impl fmt::Debug for DevMail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevMail")
            .field("to", &self.to)
            .field("requested_at", &self.requested_at)
            .finish_non_exhaustive()
    }
}
