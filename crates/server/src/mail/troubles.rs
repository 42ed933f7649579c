//! What keeps mails from leaving, told to whoever listens.

use std::sync::OnceLock;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::store::magic_links::MailTrouble;

/// What became of an attempt.
#[derive(Debug)]
pub struct Told {
    /// The link in the mail.
    pub link: String,
    /// What keeps the mail from leaving; `None` when nothing does any more.
    pub trouble: Option<MailTrouble>,
}

/// Who listens, if somebody does.
#[derive(Default)]
pub(super) struct Troubles(OnceLock<UnboundedSender<Told>>);

impl Troubles {
    /// What is told from now on. Only the first listener is told anything.
    pub(super) fn listen(&self) -> UnboundedReceiver<Told> {
        let (sender, receiver) = unbounded_channel();
        self.0.get_or_init(|| sender);
        receiver
    }

    pub(super) fn tell(&self, link: &str, trouble: Option<MailTrouble>) {
        if let Some(listener) = self.0.get() {
            // A listener that has gone need not be told.
            let _ = listener.send(Told { link: link.to_owned(), trouble });
        }
    }
}
