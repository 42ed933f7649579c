//! Notices by mail, each with one button.

use std::net::IpAddr;
use std::time::Duration;

use askama::Template;
use time::OffsetDateTime;
use url::Url;
use uuid::Uuid;

use super::message::{Message, at_minute, plain_words};
use crate::domain::email::Email;

/// How long it is tried to send a notice.
const VALID_FOR: Duration = Duration::from_hours(24);

/// Something the owner of an account should know, and what brought it about.
#[derive(Clone, Copy)]
pub struct NoticeMail<'a> {
    /// The one recipient.
    pub to: &'a Email,
    /// Also the headline.
    pub subject: &'a str,
    /// What happened, in a sentence or two of our own.
    pub text: &'a str,
    /// The label of the button.
    pub button: &'a str,
    /// Where it leads.
    pub link: &'a Url,
    /// When it happened; the date of the mail.
    pub at: OffsetDateTime,
    /// With what: "Firefox on Linux". Comes from the client and is reduced to words.
    pub device: &'a str,
    /// From where.
    pub ip: IpAddr,
    /// What to do if it was somebody else.
    pub advice: &'a str,
}

#[derive(Template)]
#[template(path = "mail/notice.txt")]
struct TextPart<'a> {
    mail: &'a Content<'a>,
}

#[derive(Template)]
#[template(path = "mail/notice.html")]
struct HtmlPart<'a> {
    mail: &'a Content<'a>,
}

struct Content<'a> {
    notice: &'a NoticeMail<'a>,
    at: String,
    device: String,
}

impl Message {
    pub(super) fn notice(notice: &NoticeMail<'_>) -> Self {
        let content =
            Content { notice, at: at_minute(notice.at), device: plain_words(notice.device) };
        Self {
            id: Uuid::new_v4(),
            to: notice.to.clone(),
            subject: notice.subject.to_owned(),
            text: TextPart { mail: &content }.render().expect("writing to a string does not fail"),
            html: HtmlPart { mail: &content }.render().expect("writing to a string does not fail"),
            link: notice.link.to_string(),
            code: String::new(),
            requested_at: notice.at,
            valid_for: VALID_FOR,
        }
    }
}
