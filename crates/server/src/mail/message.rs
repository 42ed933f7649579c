//! Composes mails.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use askama::Template;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};
use url::Url;
use uuid::Uuid;

use crate::domain::email::Email;

/// Headers that mark an automatic mail, so that no out-of-office reply is sent.
pub(super) const AUTOMATIC: [(&str, &str); 2] =
    [("Auto-Submitted", "auto-generated"), ("X-Auto-Response-Suppress", "All")];

/// Longest description of a device, in characters.
const MAX_DEVICE_CHARS: usize = 60;

/// A mail with a sign-in link and a code. `Debug` shows neither.
#[derive(Clone, Copy)]
pub struct SignInMail<'a> {
    /// The recipient.
    pub to: &'a Email,
    /// The URL of the confirm page, with the token.
    pub link: &'a Url,
    /// The six-digit code.
    pub code: &'a str,
    /// How long both are valid, from `requested_at` on.
    pub valid_for: Duration,
    /// When the mail was requested; also the date of the mail.
    pub requested_at: OffsetDateTime,
    /// The requesting client: "Firefox on Linux". The text comes from the client, so characters
    /// that could form a link, markup or a new line are dropped.
    pub device: &'a str,
    /// The requesting client's address.
    pub ip: IpAddr,
}

impl fmt::Debug for SignInMail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignInMail")
            .field("to", self.to)
            .field("valid_for", &self.valid_for)
            .field("requested_at", &self.requested_at)
            .finish_non_exhaustive()
    }
}

/// A composed mail, for any transport.
pub(super) struct Message {
    pub(super) id: Uuid,
    pub(super) to: Email,
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: String,
    pub(super) link: String,
    pub(super) code: String,
    pub(super) requested_at: OffsetDateTime,
    pub(super) valid_for: Duration,
}

#[derive(Template)]
#[template(path = "mail/sign_in.txt")]
struct TextPart<'a> {
    mail: &'a Content<'a>,
}

#[derive(Template)]
#[template(path = "mail/sign_in.html")]
struct HtmlPart<'a> {
    mail: &'a Content<'a>,
}

struct Content<'a> {
    to: &'a Email,
    link: &'a Url,
    code: &'a str,
    validity: String,
    asked_at: String,
    device: String,
    ip: IpAddr,
}

impl Message {
    pub(super) fn compose(mail: &SignInMail<'_>) -> Self {
        let content = Content {
            to: mail.to,
            link: mail.link,
            code: mail.code,
            validity: minutes(mail.valid_for),
            asked_at: at_minute(mail.requested_at),
            device: plain_words(mail.device),
            ip: mail.ip,
        };
        Self {
            id: Uuid::new_v4(),
            to: mail.to.clone(),
            // The subject has no code: phones show subjects on locked screens.
            subject: "Sign in to Tracera".to_owned(),
            text: TextPart { mail: &content }.render().expect("writing to a string does not fail"),
            html: HtmlPart { mail: &content }.render().expect("writing to a string does not fail"),
            link: mail.link.to_string(),
            code: mail.code.to_owned(),
            requested_at: mail.requested_at,
            valid_for: mail.valid_for,
        }
    }

    /// The mail of `tracera send-test-mail`.
    pub(super) fn test(to: &Email, at: OffsetDateTime) -> Self {
        let text = "This is what `tracera send-test-mail` sends. Mail from Tracera arrives here.";
        Self {
            id: Uuid::new_v4(),
            to: to.clone(),
            subject: "Test mail from Tracera".to_owned(),
            text: format!("{text}\n"),
            html: format!("<!doctype html><title>Tracera</title><p>{text}</p>\n"),
            link: String::new(),
            code: String::new(),
            requested_at: at,
            valid_for: Duration::from_hours(1),
        }
    }

    /// The mail in MIME form: the text part first, then HTML.
    pub(super) fn to_mime(&self, from: &Mailbox) -> Result<lettre::Message, lettre::error::Error> {
        let to = Mailbox::new(
            None,
            self.to.as_str().parse().map_err(|_| lettre::error::Error::MissingTo)?,
        );
        let builder = lettre::Message::builder()
            .from(from.clone())
            .to(to)
            .subject(&*self.subject)
            .date(SystemTime::from(self.requested_at))
            .message_id(Some(format!("<{}@{}>", self.id, from.email.domain())));
        AUTOMATIC
            .into_iter()
            .fold(builder, |builder, (name, value)| {
                let name = HeaderName::new_from_ascii_str(name);
                builder.raw_header(HeaderValue::new(name, value.to_owned()))
            })
            .multipart(MultiPart::alternative_plain_html(self.text.clone(), self.html.clone()))
    }
}

/// Formats a time: `1 May 2026, 12:00 UTC`.
pub(super) fn at_minute(at: OffsetDateTime) -> String {
    at.to_offset(UtcOffset::UTC)
        .format(format_description!(
            "[day padding:none] [month repr:long] [year], [hour]:[minute] UTC"
        ))
        .expect("every time has a day, a month, a year, an hour and a minute")
}

fn minutes(duration: Duration) -> String {
    match duration.as_secs() / 60 {
        1 => "1 minute".to_owned(),
        minutes => format!("{minutes} minutes"),
    }
}

/// Keeps words and version numbers, but nothing that a mail program could turn into a link or
/// markup.
pub(super) fn plain_words(text: &str) -> String {
    let chars: Vec<char> = text.chars().take(MAX_DEVICE_CHARS).collect();
    let is_digit = |at: Option<&char>| at.is_some_and(char::is_ascii_digit);
    let kept = chars.iter().enumerate().map(|(at, &c)| match c {
        '-' | '_' | '(' | ')' => c,
        '.' if is_digit(at.checked_sub(1).and_then(|at| chars.get(at)))
            && is_digit(chars.get(at + 1)) =>
        {
            c
        }
        c if c.is_ascii_alphanumeric() => c,
        _ => ' ',
    });
    let kept: String = kept.collect();
    let words: Vec<&str> = kept.split_whitespace().collect();
    if words.is_empty() { "an unknown device".to_owned() } else { words.join(" ") }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_device_is_reduced_to_words() {
        for (device, words) in [
            ("Firefox on Linux", "Firefox on Linux"),
            ("Safari (beta) on Mac OS 10.15", "Safari (beta) on Mac OS 10.15"),
            ("http://evil.example/x", "http evil example x"),
            ("mail me@evil.example", "mail me evil example"),
            ("a\r\nBcc: b@c.de", "a Bcc b c de"),
            ("<img src=x onerror=\"y\">", "img src x onerror y"),
            ("a\u{202e}b\u{2028}c\0d\u{1b}[31m", "a b c d 31m"),
            ("9.9.e.9.", "9.9 e 9"),
            ("\u{1f98a}", "an unknown device"),
            ("", "an unknown device"),
        ] {
            assert_eq!(plain_words(device), words, "{device:?}");
        }
        assert_eq!(plain_words(&"x".repeat(5_000)).len(), MAX_DEVICE_CHARS);
    }

    #[test]
    fn mails_have_the_colours_of_the_pages_and_no_others() {
        let style = include_str!("../../assets/app.css");
        let site = format!("{style}{}", include_str!("../../assets/icon.svg"));
        let colours = |text: &str| -> BTreeSet<String> {
            let hex = text
                .split('#')
                .skip(1)
                .map(|rest| rest.chars().take_while(char::is_ascii_hexdigit).collect::<String>());
            hex.filter(|colour| [3, 6].contains(&colour.len())).collect()
        };
        for mail in [
            include_str!("../../templates/mail/sign_in.html"),
            include_str!("../../templates/mail/notice.html"),
        ] {
            let foreign: Vec<_> = colours(mail).difference(&colours(&site)).cloned().collect();
            assert_eq!(foreign, [""; 0]);
        }
    }

    #[test]
    fn minutes_are_counted_in_english() {
        assert_eq!(minutes(Duration::from_mins(10)), "10 minutes");
        assert_eq!(minutes(Duration::from_mins(1)), "1 minute");
    }
}
