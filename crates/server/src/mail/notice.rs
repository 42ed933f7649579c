//! Notices by mail, each with one button.

use std::net::IpAddr;
use std::time::Duration;

use askama::Template;
use time::OffsetDateTime;
use url::Url;
use uuid::Uuid;

use super::message::{Message, at_minute, plain_words};
use crate::domain::email::Email;

/// How long delivery of a notice is tried.
const VALID_FOR: Duration = Duration::from_hours(24);

/// A notice to an account's owner about an event, with its cause.
#[derive(Clone, Copy)]
pub struct NoticeMail<'a> {
    /// The recipient.
    pub to: &'a Email,
    /// The subject, also used as the headline.
    pub subject: &'a str,
    /// The event, in one or two sentences written by this program.
    pub text: &'a str,
    /// The label of the button.
    pub button: &'a str,
    /// The URL of the button.
    pub link: &'a Url,
    /// When it happened; also the date of the mail.
    pub at: OffsetDateTime,
    /// The client: "Firefox on Linux". The text comes from the client and is reduced to words.
    pub device: &'a str,
    /// The client's address.
    pub ip: IpAddr,
    /// The advice for an owner who did not cause it.
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
