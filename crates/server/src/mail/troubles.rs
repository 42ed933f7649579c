//! Reports delivery trouble to a listener.

use std::sync::OnceLock;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::store::magic_links::MailTrouble;

/// The delivery state of a mail after an attempt.
#[derive(Debug)]
pub struct Told {
    /// The link in the mail.
    pub link: String,
    /// Why the mail has not been delivered; `None` without trouble.
    pub trouble: Option<MailTrouble>,
}

/// The listener, if there is one.
#[derive(Default)]
pub(super) struct Troubles(OnceLock<UnboundedSender<Told>>);

impl Troubles {
    /// Returns the reports from now on. Only the first caller gets any.
    pub(super) fn listen(&self) -> UnboundedReceiver<Told> {
        let (sender, receiver) = unbounded_channel();
        self.0.get_or_init(|| sender);
        receiver
    }

    pub(super) fn tell(&self, link: &str, trouble: Option<MailTrouble>) {
        if let Some(listener) = self.0.get() {
            // A listener that has gone away needs no report.
            let _ = listener.send(Told { link: link.to_owned(), trouble });
        }
    }
}
